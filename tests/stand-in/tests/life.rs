//! Start, configuration, trouble, stop.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_push_string,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod lab;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use lab::{Lab, Site};
use serde_json::{Value, json};
use stand_in::seed::{self, Plan};

fn config(site: &Site) -> Value {
    serde_json::from_str(&fs::read_to_string(site.root.join("config/config.json")).unwrap()).unwrap()
}

fn change(site: &Site, section: &str, key: &str, value: Value) {
    let mut config = config(site);
    config[section][key] = value;
    fs::write(site.root.join("config/config.json"), config.to_string()).unwrap();
}

#[test]
fn the_configuration_is_rewritten_before_the_database_is_touched() {
    let lab = Lab::new();
    for version in ["5.29.0", "9.5.0"] {
        let mut site = lab.install(version, "nowhere");
        change(&site, "ServiceSettings", "NoSuchKey", json!(1));
        change(&site, "NoSuchSection", "Foo", json!(true));
        // Written by an older server: the key in its old spelling only.
        let mut old = config(&site);
        old["SamlSettings"].as_object_mut().unwrap().remove("IdpURL");
        old["SamlSettings"]["IdpUrl"] = json!("https://idp.example/?a=1&b=2");
        fs::write(site.root.join("config/config.json"), old.to_string()).unwrap();
        let mut command = site.command(&[]);
        command.env("MM_SERVICESETTINGS_SITEURL", "http://over.example");
        site.spawn(command);
        site.until_log("Failed to ping DB");
        let text = fs::read_to_string(site.root.join("config/config.json")).unwrap();
        assert!(
            text.starts_with("{\n    \"ServiceSettings\": {\n        \"SiteURL\": \"\",") && !text.ends_with('\n'),
            "{text}"
        );
        assert!(!text.contains("NoSuch") && !text.contains("over.example"));
        assert!(text.contains("https://idp.example/?a=1\\u0026b=2"), "{version}");
        let key = if version == "5.29.0" { "\"IdpUrl\"" } else { "\"IdpURL\"" };
        assert!(text.contains(key), "{version} spells it {key}");
    }
}

#[test]
fn a_database_that_is_away_is_waited_for_as_long_as_the_version_does() {
    let lab = Lab::new();
    for (version, tries, code) in [("5.37.10", 17, 102), ("7.8.15", 17, 1), ("9.5.14", 4, 1)] {
        let mut site = lab.install(version, "nowhere");
        site.start("ping-retry=0.01");
        assert_eq!(site.ended().code(), Some(code), "{version}");
        let lines = site.log().matches("\"Failed to ping DB\"").count();
        assert_eq!(lines, tries, "{version}");
        assert!(site.log().contains(r#"pq: database \"nowhere\" does not exist"#), "{}", site.log());
    }
}

#[test]
fn a_broken_configuration_is_refused_in_the_words_of_the_version() {
    let lab = Lab::new();
    for (version, words) in [
        ("5.29.0", "failed to load: failed to unmarshal config with env overrides: parsing error at line 2"),
        ("9.5.14", "failed to create store: unable to load on store creation: parsing error at line 2"),
    ] {
        let mut site = lab.install(version, "nowhere");
        fs::write(site.root.join("config/config.json"), "{\n").unwrap();
        site.start("");
        assert_eq!(site.ended().code(), Some(1));
        assert!(site.console().contains(words), "{}", site.console());
    }
}

#[test]
fn signals_do_what_they_do_to_the_real_one() {
    let lab = Lab::new();
    lab.create("x");
    let mut site = lab.server("9.5.14", "x");
    site.signal("TERM");
    assert_eq!(site.ended().code(), Some(0));
    assert!(site.log().lines().last().unwrap().contains("Server stopped"));
    site.start("");
    site.wait();
    site.signal("HUP");
    assert_eq!(site.ended().signal(), Some(1));
    // Before it listens there is no handler.
    site.start("hang-before-listening");
    site.until_log("Starting up plugins");
    site.signal("TERM");
    assert_eq!(site.ended().signal(), Some(15));
}

#[test]
fn ready_is_told_after_listening() {
    let lab = Lab::new();
    lab.create("x");
    let path = lab.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut site = lab.install("9.11.18", "x");
    let mut command = site.command(&[]);
    command.env("NOTIFY_SOCKET", &path);
    site.spawn(command);
    let mut bytes = [0; 64];
    let length = socket.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"READY=1");
    assert!(site.log().contains("Server is listening on 127.0.0.1:"));
    assert_eq!(site.try_get("/api/v4/system/ping").unwrap().status, 200);
}

#[test]
fn a_taken_port_is_found_only_after_the_migrations() {
    let lab = Lab::new();
    lab.create("x");
    let mut site = lab.install("9.5.14", "x");
    let _taken = std::net::TcpListener::bind(("127.0.0.1", site.port)).unwrap();
    site.start("");
    assert_eq!(site.ended().code(), Some(1));
    assert!(site.console().contains("bind: address already in use"), "{}", site.console());
    assert_eq!(lab.sql("x", "SELECT max(version) FROM db_migrations"), "122");
}

#[test]
fn a_failing_migration_leaves_what_was_before_it_and_a_sound_server_goes_on_from_there() {
    let lab = Lab::new();
    let (_, _) = lab.seeded("x");
    let mut site = lab.install("9.5.14", "x");
    site.start("fail-migration=create_enums");
    assert_eq!(site.ended().code(), Some(1));
    assert!(
        site.console()
            .contains("failed to apply database migrations: driver: postgres, message: failed to execute migration"),
        "{}",
        site.console()
    );
    assert_eq!(lab.sql("x", "SELECT max(version) FROM db_migrations"), "89");
    assert_eq!(lab.sql("x", "SELECT count(*) FROM db_lock"), "0");
    site.start("");
    site.wait();
    assert_eq!(lab.sql("x", "SELECT max(version) FROM db_migrations"), "122");
    site.stop();

    lab.create("y");
    drop(lab.server("5.29.0", "y"));
    let mut site = lab.install("6.3.10", "y");
    site.start("fail-migration=6.0.0");
    assert_eq!(site.ended().code(), Some(1));
    assert_eq!(lab.sql("y", "SELECT value FROM systems WHERE name = 'Version'"), "5.39.0");
}

#[test]
fn the_numbers_of_10_11_16_stop_an_11_that_does_not_correct_them() {
    let lab = Lab::new();
    lab.create("x");
    drop(lab.server("10.11.23", "x"));
    let numbers =
        "SELECT string_agg(version::text, ' ' ORDER BY version) FROM db_migrations WHERE name LIKE '%schemeid%'";
    assert_eq!(lab.sql("x", numbers), "142 143 144");
    let mut clashes = lab.install("11.7.2", "x");
    clashes.start("");
    assert_eq!(clashes.ended().code(), Some(1));
    assert!(clashes.console().contains("db_migrations_pkey"), "{}", clashes.console());
    drop(lab.server("11.7.10", "x"));
    assert_eq!(lab.sql("x", numbers), "156 157 158");
}

#[test]
fn a_lock_that_a_killed_server_left_is_waited_for() {
    let lab = Lab::new();
    lab.create("x");
    let tables = "CREATE TABLE db_migrations (version bigint PRIMARY KEY, name varchar NOT NULL);
        CREATE TABLE db_lock (id varchar(64) PRIMARY KEY, expireat bigint)";
    lab.sql("x", tables);
    let left = "INSERT INTO db_lock VALUES ('mm-lock-key', extract(epoch FROM now())::bigint + 3) RETURNING expireat";
    let expiry = lab.sql("x", left);
    let mut site = lab.install("9.5.14", "x");
    site.start("");
    site.until_log("Pinging SQL");
    assert_eq!(lab.sql("x", "SELECT count(*) FROM db_migrations"), "0");
    site.wait();
    assert_eq!(lab.sql("x", &format!("SELECT extract(epoch FROM now()) >= {expiry}")), "t");
    assert_eq!(lab.sql("x", "SELECT count(*) FROM db_lock"), "0");
}

#[test]
fn a_database_lost_while_running_shows_only_in_the_long_ping() {
    let lab = Lab::new();
    lab.seeded("x");
    let site = lab.server("9.5.14", "x");
    lab.stop_postgres();
    assert_eq!(site.get("/api/v4/system/ping", "").status, 200);
    let long = site.get("/api/v4/system/ping?get_server_status=true", "");
    assert_eq!((long.status, long.header("Database_status")), (500, Some("UNHEALTHY")));
    assert_eq!(site.login("alice").status, 401);
    lab.start_postgres();
    assert_eq!(site.get("/api/v4/system/ping?get_server_status=true", "").status, 200);
    assert_eq!(site.login("alice").status, 200);
}

#[test]
fn the_start_touches_what_release_checksums_know_and_makes_its_directories() {
    let lab = Lab::new();
    lab.create("x");
    let mut site = lab.install("9.5.14", "x");
    let page = site.root.join("client/root.html");
    let before = fs::metadata(&page).unwrap().modified().unwrap();
    fs::set_permissions(site.root.join("config/config.json"), fs::Permissions::from_mode(0o600)).unwrap();
    site.start("");
    site.wait();
    assert!(fs::metadata(&page).unwrap().modified().unwrap() > before);
    for made in ["plugins", "client/plugins", "logs", "data"] {
        assert!(site.root.join(made).is_dir(), "{made}");
    }
    assert!(!site.root.join("data/testfile").exists());
    assert_eq!(fs::metadata(site.root.join("config/config.json")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_row_in_sessions_is_a_session_and_a_row_without_expirednotify_is_none() {
    let lab = Lab::new();
    lab.seeded("x");
    for (version, broken) in [("5.29.0", 500), ("9.10.0", 401)] {
        let site = lab.server(version, "x");
        let insert = |token: &str, notify: &str| {
            lab.sql("x", &format!(
                "INSERT INTO sessions (id, token, createat, expiresat, lastactivityat, userid, deviceid, roles, isoauth, expirednotify, props)
                 SELECT '{token}', '{token}', 1, 9999999999999, 1, id, '', 'system_user', false, {notify}, '{{}}' FROM users WHERE username = 'alice'"
            ))
        };
        let (good, bad) = (format!("good{}", "a".repeat(22)), format!("bad{}", "a".repeat(23)));
        insert(&good, "false");
        insert(&bad, "NULL");
        assert_eq!(site.get("/api/v4/users/me", &good).json()["username"], "alice");
        assert_eq!(site.get("/api/v4/users/me", &bad).status, broken, "{version}");
        let cookie = format!("Cookie: MMAUTHTOKEN={good}");
        assert_eq!(site.request("GET", "/api/v4/users/me", &[&cookie], "").unwrap().status, 200);
        assert_eq!(
            site.request("POST", "/api/v4/roles/names", &[&cookie], "[]").unwrap().status,
            401,
            "a cookie alone must not write"
        );
        assert_eq!(site.call("POST", "/api/v4/users/logout", &good, "").status, 200);
        assert_eq!(site.get("/api/v4/users/me", &good).status, 401);
        lab.sql("x", "DELETE FROM sessions");
    }
}

#[test]
fn a_server_of_any_line_can_be_installed_filled_and_written_to() {
    let lab = Lab::new();
    let versions = [
        "5.31.9", "5.35.3", "6.0.4", "6.4.3", "6.6.2", "7.0.2", "7.1.9", "7.2.1", "7.4.1", "7.5.2", "7.7.4", "7.8.15",
        "7.10.5", "8.0.4", "9.0.5", "9.4.5", "9.5.14", "10.0.4", "10.3.4", "10.11.17", "11.0.5", "11.7.0",
    ];
    for version in versions {
        let name = format!("v{}", version.replace('.', "_"));
        lab.create(&name);
        let site = lab.server(version, &name);
        let plan = Plan { posts: 30, ..Plan::default() };
        let seeded =
            seed::seed(&lab.url(&name), &site.root, &plan).unwrap_or_else(|error| panic!("{version}: {error}"));
        let token = site.token("alice");
        let channel = seeded.channels.iter().find(|channel| channel.name == "dev").unwrap();
        let post = format!(r#"{{"channel_id":"{}","message":"hello"}}"#, channel.id);
        let root = site.call("POST", "/api/v4/posts", &token, &post);
        assert_eq!(root.status, 201, "{version}: {}", site.log());
        let post = format!(r#"{{"channel_id":"{}","message":"@bob hello","root_id":"{}"}}"#, channel.id, root.id());
        assert_eq!(site.call("POST", "/api/v4/posts", &token, &post).status, 201, "{version}: {}", site.log());
        let members = format!("/api/v4/users/me/teams/{}/channels/members", seeded.teams[0].id);
        assert_eq!(site.get(&members, &token).status, 200, "{version}");
    }
}
