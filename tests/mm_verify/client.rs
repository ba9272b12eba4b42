//! Clients that are broken though the server is well: what stands before it, and files that it may not read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use mm_test_support::process;
use mm_test_support::site::{Site, quick};

use crate::lab::{check_of, verify};

/// Code, status and words of `web.bundles` while a proxy with these lines stands at the site URL.
fn behind(site: &Site, port: u16, lines: &str) -> (i32, String, String) {
    let mut proxy = crate::proxy::start(site, port, &format!("{lines} {}", crate::proxy::PASSES));
    let (code, document) = verify(site, &["--only", "web.bundles"]);
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    let check = check_of(&document, "web.bundles");
    (code, check["status"].as_str().unwrap().to_owned(), check.to_string())
}

#[test]
fn a_client_that_is_broken_by_what_stands_before_the_server_is_found_at_the_address_users_type() {
    let site = Site::builder("10.6.1").build();
    let port = process::free_port();
    let public = format!("http://127.0.0.1:{port}");
    site.set("ServiceSettings", "SiteURL", public.as_str().into());
    site.start();

    let (code, status, check) = behind(&site, port, "");
    assert!((code, status.as_str()) == (0, "pass") && check.contains(&format!("the same at {public}")), "{check}");

    // A proxy that has kept the page of the release before: its script is gone.
    let page =
        r#"default_type text/html; return 200 "<div id='root'></div><script src='/static/main.1.js'></script>";"#;
    let (code, status, check) = behind(&site, port, &format!("location = / {{ {page} }}"));
    assert_eq!((code, status.as_str()), (4, "fail"), "{check}");
    assert!(check.contains(&format!("{public}/static/main.1.js: 404")) && check.contains("purge the cache"), "{check}");

    // With that script, too: users have the client of the release before, which works so far.
    let script = "location = /static/main.1.js { types { } default_type application/javascript; return 200 'old'; }";
    let (code, status, check) = behind(&site, port, &format!("location = / {{ {page} }} {script}"));
    assert_eq!((code, status.as_str()), (0, "warn"), "{check}");
    assert!(check.contains("names others") && check.contains("purge the cache"), "{check}");

    // One that answers every address with the page, as for a client without a server.
    let (code, status, check) = behind(&site, port, &format!("location /static/ {{ {page} }}"));
    assert_eq!((code, status.as_str()), (4, "fail"), "{check}");
    assert!(check.contains("type `text/html`"), "{check}");

    // Neither a page of maintenance nor an address that this machine does not reach is a fault.
    let closed = "location = / { default_type text/html; return 503 'We are back at six.'; }";
    let (code, status, check) = behind(&site, port, closed);
    assert_eq!((code, status.as_str()), (0, "pass"), "{check}");
    assert!(check.contains("another page is shown (503)"), "{check}");
    let (code, document) = verify(&site, &["--only", "web.bundles"]);
    let check = check_of(&document, "web.bundles");
    assert_eq!((code, &check["status"]), (0, &"pass".into()), "{check}");
    assert!(check["evidence"].to_string().contains("cannot be asked from this machine"), "{check}");
}

#[test]
fn nodes_of_a_cluster_may_be_at_another_release() {
    let site = Site::builder("10.6.1").build();
    let port = process::free_port();
    site.set("ServiceSettings", "SiteURL", format!("http://127.0.0.1:{port}").into());
    site.set("ClusterSettings", "Enable", true.into());
    site.start();
    let page =
        r#"default_type text/html; return 200 "<div id='root'></div><script src='/static/main.1.js'></script>";"#;
    let (code, status, check) = behind(&site, port, &format!("location = / {{ {page} }}"));
    assert_eq!((code, status.as_str()), (0, "pass"), "{check}");
}

/// As the release has it, and yet not for the server: the page is served, and stays white.
#[test]
fn a_file_that_the_server_may_not_read_is_as_bad_as_one_that_is_missing() {
    let site = Site::builder("9.11.18").running().build();
    let releases = site.releases(&[quick("9.11.18").build()]);
    let cache = site.cache();
    let mut fetch = site.tool("mm-fetch");
    fetch.args(["9.11.18", "--edition", "team", "--mirror", releases.site.url(), "--catalogue"]);
    fetch.arg(&releases.catalogue).arg("--cache").arg(&cache).assert().success();
    let look = || {
        let (code, document) = verify(&site, &["--only", "files.release", "--cache", cache.to_str().unwrap()]);
        let check = check_of(&document, "files.release");
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        (code, text("evidence"), text("hint"))
    };
    assert_eq!(look().0, 0, "{:?}", look());

    let client = site.install().join("client");
    let named = |begins: &str| -> PathBuf {
        let mut names = std::fs::read_dir(&client).unwrap().map(|entry| entry.unwrap().path());
        names.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(begins)).unwrap()
    };
    let close = |path: &PathBuf, owner: &str, mode: u32| {
        process::run("chown", &[owner, path.to_str().unwrap()]);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Closed to others, and the server's own.
    close(&named("232."), "mm-test:", 0o600);
    assert_eq!(look().0, 0, "{:?}", look());
    close(&named("8901."), "root:", 0o600);
    close(&client.join("i18n"), "mm-test:", 0o400);
    let (code, evidence, hint) = look();
    assert_eq!(code, 4, "{evidence}");
    assert!(
        evidence.contains("not readable for mm-test: client/8901.") && evidence.contains("client/i18n"),
        "{evidence}"
    );
    // The hint, as it stands there.
    process::run("sh", &["-c", &hint]);
    let (code, evidence, _) = look();
    assert_eq!(code, 0, "{hint}: {evidence}");
}
