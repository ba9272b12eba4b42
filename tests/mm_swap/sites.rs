//! Servers that are set up otherwise than the usual one: an exchange ends as well there.

use mm_test_support::site::{Site, quick};

use super::{FROM, TO, swap, verb};

#[test]
fn a_server_below_the_path_of_its_site_url_is_looked_for_there() {
    let site = Site::builder(FROM).build();
    site.set("ServiceSettings", "SiteURL", format!("{}/chat", site.url()).into());
    let version = || site.get("/chat/api/v4/config/client?format=old").map(|answer| answer.body);
    swap(&site, &quick(TO).build(), &["--start-timeout", "20"]).with(0);
    assert!(version().unwrap().contains(&format!("\"Version\":\"{TO}\"")), "{:?}", version());
    swap(&site, &quick("10.6.1").build(), &["--start-timeout", "20", "--private"]).with(0);
    assert!(version().is_none(), "users can get in");
    verb(&site, &["publish"]).with(0);
    assert!(version().unwrap().contains("\"Version\":\"10.6.1\""), "{:?}", version());
}
