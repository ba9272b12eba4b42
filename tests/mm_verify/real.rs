//! What real servers were seen to do that is no fault, and what is one.

use mm_test_support::process;
use mm_test_support::site::Site;

use crate::lab::{check_of, look, verify};

/// Code of the run, status and evidence of the check of events.
fn websocket(site: &Site) -> (i32, String, String) {
    let (code, document) = verify(site, &["--only", "server.websocket"]);
    let check = check_of(&document, "server.websocket");
    (code, check["status"].as_str().unwrap().to_owned(), check.to_string())
}

/// Up to 7.8.6 the Origin has to be the address asked at, from 7.8.7 on that of the site URL: asked directly, and by a
/// site URL that leads through a proxy.
#[test]
fn events_arrive_whichever_origin_the_release_wants() {
    for version in ["5.37.1", "7.8.15", "10.6.1"] {
        let site = Site::builder(version).build();
        let port = process::free_port();
        site.set("ServiceSettings", "SiteURL", format!("http://127.0.0.1:{port}").into());
        site.start();
        let mut proxy = crate::proxy::start(&site, port, crate::proxy::PASSES);
        let found = websocket(&site);
        proxy.kill().unwrap();
        proxy.wait().unwrap();
        assert_eq!((found.0, found.1.as_str()), (0, "pass"), "{version}: {}", found.2);
    }
}

/// Split DNS, or a router that does not lead back in: users get through all the same.
#[test]
fn a_site_url_that_this_machine_cannot_reach_is_not_called_broken() {
    let site = Site::builder("10.6.1").build();
    for url in ["http://chat.example.invalid".to_owned(), format!("http://127.0.0.1:{}", process::free_port())] {
        site.set("ServiceSettings", "SiteURL", url.as_str().into());
        site.start();
        let (_, status, check) = websocket(&site);
        assert_eq!(status, "error", "{check}");
        assert!(check.contains("cannot be asked from this machine"), "{check}");
        site.stop();
    }
}

#[test]
fn a_proxy_that_changes_the_host_is_named_as_the_cause() {
    // Up to 7.8.6 the Origin is compared with the Host that arrives.
    let site = Site::builder("7.1.9").build();
    let port = process::free_port();
    site.set("ServiceSettings", "SiteURL", format!("http://127.0.0.1:{port}").into());
    site.start();
    let lines = crate::proxy::PASSES.replace("$http_host", "elsewhere.example.org");
    let mut proxy = crate::proxy::start(&site, port, &lines);
    let (_, status, check) = websocket(&site);
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    assert_eq!(status, "fail", "{check}");
    assert!(check.contains("403") && check.contains("Origin") && check.contains("proxy_set_header Host"), "{check}");
}

/// A script of the client, by the beginning of its name.
fn script(site: &Site, begins: &str) -> std::path::PathBuf {
    let files = std::fs::read_dir(site.install().join("client")).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(begins) && path.extension().is_some_and(|extension| extension == "js")
    };
    files.into_iter().find(is_it).unwrap()
}

/// What the checks of the browser say: statuses in their order, and what the first saw.
fn browser(site: &Site, more: &[&str]) -> (Vec<String>, String) {
    let (_, document) = look(site, &[&["--only", "browser"], more].concat());
    let checks = ["open", "teams", "post", "reply"].map(|name| check_of(&document, &format!("browser.{name}")));
    (checks.iter().map(|check| check["status"].as_str().unwrap().to_owned()).collect(), format!("{checks:?}"))
}

/// A new user of 10.6 and later gets a list of first tasks over the page, and an organisation's own terms; and who is not
/// known to the checks is not blamed.
#[test]
fn the_browser_tells_a_good_client_a_white_page_and_an_unknown_client_apart() {
    let site = Site::builder("10.6.1").build();
    site.set("SupportSettings", "CustomTermsOfServiceEnabled", true.into());
    site.start();
    for (number, id) in ["theoldterms234567890123456", "thenewterms234567890123456"].iter().enumerate() {
        let user = "(SELECT min(id) FROM users)";
        site.cluster.query(&format!(
            "INSERT INTO termsofservice (id, createat, userid, text) VALUES ('{id}', {number}, {user}, 'Be kind.')"
        ));
    }
    let (statuses, words) = browser(&site, &[]);
    assert_eq!(statuses, ["pass"; 4], "{words}");

    let chunk = script(&site, "232.");
    let away = chunk.with_extension("away");
    std::fs::rename(&chunk, &away).unwrap();
    // In a run of mm-upgrade, pictures are kept with the other records of the hop.
    let hop = site.directory().join("hop/screenshots");
    let (statuses, words) = browser(&site, &["--screenshots", hop.to_str().unwrap()]);
    assert_eq!(statuses, ["fail", "error", "error", "error"], "{words}");
    let named = words.split("picture: ").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(named, hop.join("1-open.png").display().to_string());
    assert!(words.contains("/login stays white") && std::path::Path::new(named).is_file(), "{words}");
    std::fs::rename(&away, &chunk).unwrap();

    let main = script(&site, "main.");
    let known = std::fs::read_to_string(&main).unwrap();
    std::fs::write(&main, "document.getElementById('root').innerHTML = '<h1>Welcome</h1>';").unwrap();
    let (statuses, words) = browser(&site, &[]);
    assert_eq!(statuses, ["error"; 4], "{words}");
    assert!(words.contains("the page for signing in in no form known"), "{words}");

    // As the client of 2018 had it.
    let old = known.replace("'CENTER_commentIcon_' + post.id", "'commentIcon_' + post.channel_id + '_' + post.id");
    let old = old.replace("{id: 'teamSidebarWrapper'}", "{class: 'team-sidebar'}");
    assert_ne!(old, known);
    std::fs::write(&main, old).unwrap();
    let (statuses, words) = browser(&site, &[]);
    assert_eq!(statuses, ["pass"; 4], "{words}");
}
