//! Healthy servers that are set up otherwise than the usual one: nothing is to be complained of in them.

use std::time::Duration;

use crate::lab::{check_of, complaints, verify};
use mm_test_support::process;
use mm_test_support::site::{Site, quick};
use serde_json::{Value, json};

/// Exit code and status of one check.
fn status(site: &Site, check: &str) -> (i32, String, Value) {
    let (code, document) = verify(site, &["--only", check]);
    let check = check_of(&document, check);
    (code, check["status"].as_str().unwrap().to_owned(), check)
}

/// Runs the checks that talk to the server, and wants none to complain.
fn is_well(site: &Site) {
    let areas = ["--only", "server", "--only", "web", "--only", "users"];
    let (code, document) = verify(site, &areas);
    assert_eq!((code, complaints(&document)), (0, vec![]), "{document}");
}

#[test]
fn a_site_url_with_a_path_is_the_path_of_the_server_too() {
    let site = Site::builder("10.6.1").build();
    site.set("ServiceSettings", "SiteURL", format!("{}/company/chat/", site.url()).into());
    site.start_with(&[]);
    process::wait_until("the server to answer below its path", Duration::from_secs(60), || {
        site.get("/company/chat/api/v4/system/ping").is_some_and(|answer| answer.status == 200)
    });
    assert_eq!(site.get("/api/v4/system/ping").unwrap().status, 302, "there is nothing but a way there");
    is_well(&site);
}

#[test]
fn a_server_that_names_who_may_ask_is_asked_as_from_its_own_site() {
    let site = Site::builder("10.6.1").build();
    let port = process::free_port();
    site.set("ServiceSettings", "SiteURL", format!("http://127.0.0.1:{port}").into());
    site.set("ServiceSettings", "AllowCorsFrom", "https://elsewhere.example.org".into());
    site.start();
    let mut proxy = crate::proxy::start(&site, port, crate::proxy::PASSES);
    is_well(&site);
    proxy.kill().unwrap();
    proxy.wait().unwrap();
}

/// Each of these sites is well, as its users have it.
#[test]
fn events_are_asked_for_where_the_web_client_asks() {
    let site = Site::builder("10.6.1").build();
    let ports = [(); 3].map(|()| process::free_port());
    let [page, events, closed] = ports.map(|port| format!("http://127.0.0.1:{port}"));
    let set = |key: &str, value: &str| site.set("ServiceSettings", key, value.into());
    // Users come by an address that the server is told of as one that may ask, and not as its own.
    set("SiteURL", "");
    set("AllowCorsFrom", "https://one.example.org https://two.example.org");
    site.start();
    is_well(&site);

    site.stop();
    set("AllowCorsFrom", "");
    set("SiteURL", &page.replace("http", "Http"));
    site.start();
    // What passes no upgrades at the page does at the address for them.
    let mut proxies = [
        crate::proxy::start(&site, ports[0], "proxy_set_header Host $http_host;"),
        crate::proxy::start_as(&site, "events", ports[1], crate::proxy::PASSES),
    ];
    assert_eq!(status(&site, "server.websocket").1, "fail", "no upgrade gets through");
    for address in [events.replace("http:", "ws:"), events.replace("http:", "WS:") + "/"] {
        set("WebsocketURL", &address);
        is_well(&site);
    }
    set("WebsocketURL", &closed.replace("http:", "ws:"));
    assert_eq!(status(&site, "server.websocket").1, "error", "it cannot be asked from here");
    for proxy in &mut proxies {
        proxy.kill().unwrap();
        proxy.wait().unwrap();
    }
}

/// As from http to https. Up to 7.8.6 the server does not care what the address is that it is sent on to.
#[test]
fn a_site_url_that_sends_on_is_followed_as_browsers_follow_it() {
    let site = Site::builder("7.1.9").build();
    let ports = [(); 2].map(|()| process::free_port());
    let [typed, page] = ports.map(|port| format!("http://127.0.0.1:{port}"));
    site.set("ServiceSettings", "SiteURL", typed.into());
    site.start();
    let sends_on = format!("rewrite ^ {page}$request_uri permanent;");
    let mut proxies = [
        crate::proxy::start_as(&site, "sending-on", ports[0], &sends_on),
        crate::proxy::start(&site, ports[1], crate::proxy::PASSES),
    ];
    is_well(&site);
    let (_, document) = verify(&site, &["--only", "server.websocket", "--only", "web.bundles"]);
    for check in ["server.websocket", "web.bundles"] {
        assert!(check_of(&document, check)["evidence"].to_string().contains(&page), "{document}");
    }
    for proxy in &mut proxies {
        proxy.kill().unwrap();
        proxy.wait().unwrap();
    }
}

#[test]
fn a_server_that_speaks_tls_itself_is_reached_under_its_public_name() {
    let site = Site::builder("10.6.1").build();
    let directory = site.directory().join("tls");
    std::fs::create_dir(&directory).unwrap();
    let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (file("key.pem"), file("certificate.pem"));
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=chat -addext \
                 subjectAltName=DNS:chat.example.invalid -addext basicConstraints=critical,CA:FALSE -keyout";
    let words: Vec<&str> = words.split_whitespace().chain([key.as_str(), "-out", certificate.as_str()]).collect();
    process::run("openssl", &words);
    process::run("chown", &["-R", "mm-test:", directory.to_str().unwrap()]);
    // No name service knows it: it is for the certificate, and the server is at its own port.
    site.set("ServiceSettings", "SiteURL", "https://chat.example.invalid".into());
    for (key, value) in [("ConnectionSecurity", "TLS"), ("TLSCertFile", &certificate), ("TLSKeyFile", &key)] {
        site.set("ServiceSettings", key, value.into());
    }
    let start = || {
        site.start_with(&[]);
        process::wait_until("the server to listen", Duration::from_secs(60), || {
            std::net::TcpStream::connect(("127.0.0.1", site.port)).is_ok()
        });
    };
    start();
    let look = || {
        let only = ["server.ping", "server.version", "web", "server.websocket", "users.me"];
        let only: Vec<&str> = only.iter().flat_map(|check| ["--only", check]).collect();
        let (code, document) = verify(&site, &only);
        assert_eq!((code, complaints(&document)), (0, vec![]), "{document}");
        check_of(&document, "server.ping")["evidence"].to_string()
    };
    // This machine does not know who has signed it, as where a company has an authority of its own.
    assert!(look().contains("https://chat.example.invalid"));
    // Nor has the certificate the name that is asked for, where the site URL does not say it.
    site.stop();
    site.set("ServiceSettings", "SiteURL", "".into());
    start();
    assert!(look().contains(&format!("https://127.0.0.1:{}", site.port)));
    // Others have to be who they say.
    let mut other = site.tool("mm-verify");
    other.args(["--browser", "no", "--only", "server.ping", "--format", "json", "--url"]);
    let output = other.arg(format!("https://127.0.0.1:{}", site.port)).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_server_that_limits_the_rate_of_requests_is_not_taken_for_a_broken_one() {
    let site = Site::builder("10.6.1").build();
    for (key, value) in [("Enable", json!(true)), ("PerSec", json!(50)), ("MaxBurst", json!(20))] {
        site.set("RateLimitSettings", key, value);
    }
    site.start();
    is_well(&site);
    let refused = (0..100).filter(|_| site.get("/api/v4/system/ping").is_some_and(|answer| answer.status == 429));
    assert!(refused.count() > 0, "the limit is in force");
}

#[test]
fn a_release_that_names_its_patch_as_build_number_only_is_known() {
    let order = quick("9.11.18").fault("wrong-version=9.11.0").fault("build-number=9.11.18");
    let site = Site::builder("9.11.18").order(order).running().build();
    let (code, status, check) = status(&site, "server.version");
    assert_eq!((code, status.as_str()), (0, "pass"), "{check}");
    assert!(check["evidence"].to_string().contains("9.11.0.9.11.18."), "{check}");
}

/// The column came with 5.12, and older memberships have no value in it.
#[test]
fn a_membership_without_the_flag_of_guests_is_harmless_but_in_9_4() {
    let empty = "UPDATE channelmembers SET schemeguest = NULL WHERE NOT schemeguest";
    for (version, expected) in [("9.11.18", (0, "warn")), ("9.4.0", (4, "fail"))] {
        let site = Site::builder(version).build();
        site.cluster.query(empty);
        let (code, status, check) = status(&site, "database.nulls");
        assert_eq!((code, status.as_str()), expected, "{version}: {check}");
        assert!(check["hint"].to_string().contains("--fix scheme-guest"), "{check}");
    }
}

#[test]
fn playbooks_that_wants_a_licence_is_no_reason_to_go_back() {
    let site = Site::builder("11.1.0").postgres(15).build();
    let plugin = site.install().join("plugins/playbooks");
    std::fs::create_dir_all(&plugin).unwrap();
    let manifest = json!({"id": "playbooks", "name": "Playbooks", "version": "2.4.0", "min_server_version": "10.0.0"});
    std::fs::write(plugin.join("plugin.json"), manifest.to_string()).unwrap();
    let mut enabled = site.config()["PluginSettings"]["PluginStates"].clone();
    enabled["playbooks"] = json!({"Enable": true});
    site.set("PluginSettings", "PluginStates", enabled);
    std::fs::write(site.install().join("bin/.stand-in-faults"), "plugin-inactive=playbooks").unwrap();
    site.start();
    let (code, said, check) = status(&site, "server.plugins");
    assert_eq!((code, said.as_str()), (0, "warn"), "{check}");
    assert!(check["evidence"].to_string().contains("without a licence: playbooks"), "{check}");
}

/// Playbooks removes the plugin that it was before.
#[test]
fn a_plugin_that_goes_on_under_another_name_is_not_missed() {
    let site = Site::builder("7.8.15").build();
    let old = "com.mattermost.plugin-incident-management";
    let install = |id: &str, version: &str| {
        let plugin = site.install().join("plugins").join(id);
        std::fs::create_dir_all(&plugin).unwrap();
        let manifest = json!({"id": id, "name": id, "version": version, "min_server_version": "5.37.0"});
        std::fs::write(plugin.join("plugin.json"), manifest.to_string()).unwrap();
        let mut enabled = site.config()["PluginSettings"]["PluginStates"].clone();
        enabled[id] = json!({"Enable": true});
        site.set("PluginSettings", "PluginStates", enabled);
        plugin
    };
    let plugin = install(old, "1.16.1");
    site.start();
    site.tool("mm-verify").args(["baseline", "--browser", "no"]).assert().success();
    site.stop();
    std::fs::remove_dir_all(&plugin).unwrap();
    site.start();
    let (code, said, check) = status(&site, "server.plugins");
    assert_eq!((code, said.as_str()), (4, "fail"), "neither of them runs: {check}");
    site.stop();
    install("playbooks", "1.36.0");
    site.start();
    let (code, said, check) = status(&site, "server.plugins");
    assert_eq!((code, said.as_str()), (0, "pass"), "{check}");
}

#[test]
fn members_who_may_not_upload_are_told_and_a_server_without_uploads_is_left_alone() {
    let site = Site::builder("10.6.1").running().build();
    site.cluster.query(
        "UPDATE roles SET permissions = replace(permissions, 'upload_file', '')
         WHERE name IN ('channel_user', 'channel_admin')",
    );
    let (code, said, check) = status(&site, "users.file");
    assert_eq!((code, said.as_str()), (0, "warn"), "{check}");
    site.stop();
    site.set("FileSettings", "EnableFileAttachments", false.into());
    site.start();
    let (code, said, check) = status(&site, "users.file");
    assert_eq!((code, said.as_str()), (0, "skip"), "{check}");
}

/// What an administrator has switched off, what a policy has deleted of the busiest channels, and a guest who is in a team and in
/// none of its channels.
#[test]
fn what_is_so_on_purpose_is_no_fault() {
    let site = Site::builder("10.6.1").build();
    site.set("ServiceSettings", "EnablePostSearch", false.into());
    site.set("ServiceSettings", "PostEditTimeLimit", 0.into());
    site.cluster.query(
        "UPDATE posts SET deleteat = 1 WHERE channelid IN (SELECT id FROM channels WHERE name = 'town-square');
         UPDATE channels SET totalmsgcount = totalmsgcount + 1000000 WHERE name = 'town-square';
         DELETE FROM channelmembers WHERE userid = (SELECT id FROM users WHERE username = 'carol')",
    );
    site.start();
    is_well(&site);
}

#[test]
fn a_retention_policy_may_leave_replies_without_their_root() {
    let site = Site::builder("10.6.1").build();
    site.cluster.query("DELETE FROM posts WHERE id = (SELECT min(postid) FROM threads)");
    assert_eq!(status(&site, "history.threads").1, "fail");
    site.set("DataRetentionSettings", "EnableMessageDeletion", true.into());
    let (code, said, check) = status(&site, "history.threads");
    assert_eq!((code, said.as_str()), (0, "warn"), "{check}");
}

/// A second factor is required by a licensed server only.
#[test]
fn a_second_factor_that_nobody_has_keeps_nobody_out() {
    let site = Site::builder("10.6.1").build();
    site.set("ServiceSettings", "EnforceMultifactorAuthentication", true.into());
    site.start();
    is_well(&site);
}

#[test]
fn a_slash_that_the_server_puts_behind_a_directory_is_no_change() {
    let site = Site::builder("10.6.1").running().build();
    site.stop();
    let data = site.install().join("data");
    site.set("FileSettings", "Directory", data.to_str().unwrap().into());
    site.set("ServiceSettings", "SiteURL", format!("{}/", site.url()).into());
    site.tool("mm-verify").args(["baseline", "--browser", "no"]).assert().success();
    site.start();
    assert!(site.config()["FileSettings"]["Directory"].as_str().unwrap().ends_with("/data/"), "as the real one");
    let (code, said, check) = status(&site, "files.settings");
    assert_eq!((code, said.as_str()), (0, "pass"), "{check}");
}

/// The server is healthy, and Boards is gone from the menu.
#[test]
fn a_plugin_that_ran_before_the_upgrade_and_does_not_now_is_a_fault_with_the_line_of_the_log() {
    let site = Site::builder("7.8.15").build();
    let plugin = site.install().join("plugins/focalboard");
    std::fs::create_dir_all(&plugin).unwrap();
    let manifest = json!({"id": "focalboard", "name": "Boards", "version": "7.8.9", "min_server_version": "7.2.0"});
    std::fs::write(plugin.join("plugin.json"), manifest.to_string()).unwrap();
    let mut enabled = site.config()["PluginSettings"]["PluginStates"].clone();
    enabled["focalboard"] = json!({"Enable": true});
    site.set("PluginSettings", "PluginStates", enabled);
    site.start();
    site.tool("mm-verify").args(["baseline", "--browser", "no"]).assert().success();
    site.stop();
    std::fs::write(site.install().join("bin/.stand-in-faults"), "plugin-inactive=focalboard").unwrap();
    site.start();
    let (code, said, check) = status(&site, "server.plugins");
    assert_eq!((code, said.as_str()), (4, "fail"), "{check}");
    let line = "the log says `Unable to activate plugin: focalboard: Table creation / migration failed`";
    assert!(check["evidence"].to_string().contains(line), "{check}");

    // Not even installed any more: it is one that comes with the release, which may be installed later.
    site.stop();
    std::fs::remove_file(site.install().join("bin/.stand-in-faults")).unwrap();
    std::fs::remove_dir_all(&plugin).unwrap();
    site.start();
    let (code, said, check) = status(&site, "server.plugins");
    assert_eq!((code, said.as_str()), (4, "fail"), "{check}");
    assert!(check["evidence"].to_string().contains("active before and not now: focalboard"), "{check}");
}
