//! The direct jump over 5.35 to 6.3, and going back: states that follow from the rows, not from a switch.
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

use lab::{Lab, Site};

/// The statuses a user meets: teams/unread, channels, members, categories, threads, posts/unread, in the team alpha and its channel dev.
fn statuses(lab: &Lab, site: &Site, database: &str, user: &str) -> Vec<u16> {
    let id = lab.sql(database, &format!("SELECT id FROM users WHERE username = '{user}'"));
    let team = lab.sql(database, "SELECT id FROM teams WHERE name = 'alpha'");
    let channel = lab.sql(database, &format!("SELECT id FROM channels WHERE name = 'dev' AND teamid = '{team}'"));
    let token = site.token(user);
    let calls = [
        "users/me/teams/unread".to_owned(),
        format!("users/me/teams/{team}/channels"),
        format!("users/me/teams/{team}/channels/members"),
        format!("users/me/teams/{team}/channels/categories"),
        format!("users/{id}/teams/{team}/threads?per_page=10"),
        format!("users/me/channels/{channel}/posts/unread"),
    ];
    calls.iter().map(|call| site.get(&format!("/api/v4/{call}"), &token).status).collect()
}

const DEFAULTS: &str = "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema() AND column_default IS NULL AND
    (table_name, column_name) IN (('channelmembers','mentioncountroot'),('channelmembers','msgcountroot'),('channels','totalmsgcountroot'),
    ('threadmemberships','unreadmentions'),('sidebarcategories','muted'),('sidebarcategories','collapsed'))";

const HEAL: &str = "UPDATE threadmemberships SET unreadmentions = 0 WHERE unreadmentions IS NULL;
    UPDATE channels SET totalmsgcountroot = 0 WHERE totalmsgcountroot IS NULL;
    UPDATE channelmembers SET mentioncountroot = coalesce(mentioncountroot, 0), msgcountroot = coalesce(msgcountroot, 0);
    UPDATE sidebarcategories SET muted = coalesce(muted, false), collapsed = coalesce(collapsed, false)";

#[test]
fn a_jump_breaks_the_members_and_a_repair_of_the_rows_heals_them_at_once() {
    let lab = Lab::new();
    lab.seeded("origin");
    // posts/unread: 500 up to 8.x, 200 after; categories: 404, in 11.x 500.
    for (version, row, categories, unread) in [
        ("6.7.0", "6.4.0", 404, 500),
        ("8.1.0", "5.29.0", 404, 500),
        ("9.5.0", "5.29.0", 404, 200),
        ("11.6.0", "5.29.0", 500, 200),
    ] {
        let name = format!("jump_{}", version.replace('.', "_"));
        lab.copy("origin", &name);
        let site = lab.server(version, &name);
        assert_eq!(lab.sql(&name, "SELECT value FROM systems WHERE name = 'Version'"), row, "{version}");
        assert_eq!(lab.sql(&name, DEFAULTS), "6", "{version}");
        assert_eq!(lab.sql(&name, "SELECT to_regclass('schema_migrations') IS NULL"), "t");
        // Every category row that was there is NULL; whoever had read everything has his counts.
        assert_eq!(
            lab.sql(&name, "SELECT count(*) FROM sidebarcategories WHERE muted IS NOT NULL OR collapsed IS NOT NULL"),
            "0"
        );
        let reader = "SELECT count(*) FROM channelmembers m JOIN users u ON u.id = m.userid WHERE u.username = 'bob' AND mentioncountroot IS NULL";
        assert_eq!(lab.sql(&name, reader), "0");
        assert_ne!(lab.sql(&name, &reader.replace("bob", "alice")), "0");

        assert_eq!(statuses(&lab, &site, &name, "alice"), [500, 500, 500, categories, 500, unread], "{version}");
        // The outsider meets no error of that kind.
        assert_eq!(site.get("/api/v4/users/me/teams/unread", &site.token("dave")).status, 200);
        // What people usually look at is well.
        let token = site.token("alice");
        assert_eq!(site.get("/api/v4/users/me/teams", &token).json().as_array().unwrap().len(), 2);
        let channel = lab.sql(&name, "SELECT id FROM channels WHERE name = 'dev' LIMIT 1");
        let post = format!(r#"{{"channel_id":"{channel}","message":"after the jump"}}"#);
        assert_eq!(site.call("POST", "/api/v4/posts", &token, &post).status, 201);

        lab.sql(&name, HEAL);
        for user in ["alice", "bob", "carol", "admin"] {
            assert_eq!(statuses(&lab, &site, &name, user), [200; 6], "{user} of {version} after the repair");
        }
    }
}

#[test]
fn the_refusals_carry_the_identifiers_and_the_words_of_the_version() {
    let lab = Lab::new();
    lab.seeded("origin");
    let site = lab.server("9.5.0", "origin");
    let team = lab.sql("origin", "SELECT id FROM teams WHERE name = 'alpha'");
    let answer = site.get(&format!("/api/v4/users/me/teams/{team}/channels/members"), &site.token("alice"));
    assert_eq!(answer.id(), "app.channel.get_members.app_error");
    let detail = answer.json()["detailed_error"].as_str().unwrap().to_owned();
    assert!(detail.contains(r#"name "mentioncountroot": converting NULL to int64 is unsupported"#), "{detail}");
    let answer = site.get(&format!("/api/v4/users/me/teams/{team}/channels/categories"), &site.token("alice"));
    assert_eq!((answer.id().as_str(), answer.status), ("app.channel.sidebar_categories.app_error", 404));
    assert!(site.log().contains(r#""err_where":"GetChannelMembersForUser""#));
}

#[test]
fn the_way_through_5_37_leaves_nothing_broken() {
    let lab = Lab::new();
    lab.seeded("steps");
    let site = lab.stepwise("steps", &["5.37.10", "10.6.1"]);
    assert_eq!(lab.sql("steps", DEFAULTS), "0");
    assert_eq!(lab.sql("steps", "SELECT value FROM systems WHERE name = 'Version'"), "5.37.0");
    for user in ["alice", "bob", "carol", "admin"] {
        assert_eq!(statuses(&lab, &site, "steps", user), [200; 6], "{user}");
    }
}

/// Starts a server that is expected to refuse.
fn refused(lab: &Lab, version: &str, database: &str) -> (Option<i32>, String) {
    let mut site = lab.install(version, database);
    site.start("");
    (site.ended().code(), site.console())
}

#[test]
fn older_servers_on_a_newer_schema_do_what_was_observed() {
    let lab = Lab::new();
    lab.seeded("origin");
    drop(lab.stepwise("origin", &["5.37.1"]));
    lab.copy("origin", "at_5_37");
    let site = lab.server("5.29.0", "at_5_37");
    assert!(site.log().contains("The database schema version and model versions do not match"));
    assert_eq!(statuses(&lab, &site, "at_5_37", "alice"), [200, 200, 200, 200, 404, 200]);
    drop(site);

    drop(lab.stepwise("origin", &["6.3.0"]));
    for version in ["5.29.0", "5.37.1"] {
        let (code, console) = refused(&lab, version, "origin");
        assert_eq!(code, Some(1));
        assert!(console.contains(&format!("Database schema version 6.3.0 is not supported. This Mattermost server supports only >={version}, <6.0.0.")), "{console}");
    }
    drop(lab.stepwise("origin", &["7.1.9", "9.10.0"]));
    // Starts, answers ping, and lets nobody in.
    for version in ["6.7.0", "7.1.0"] {
        let site = lab.server(version, "origin");
        assert_eq!(site.login("alice").status, 401, "{version}");
        assert!(site.log().contains("missing destination name"), "{version}");
    }
    for version in ["6.3.0", "7.8.0", "9.5.0"] {
        let site = lab.server(version, "origin");
        assert_eq!(statuses(&lab, &site, "origin", "alice"), [200; 6], "{version}");
    }
}

#[test]
fn an_old_server_on_a_jumped_database_starts_without_a_word_and_cannot_write() {
    let lab = Lab::new();
    lab.seeded("origin");
    drop(lab.server("9.5.0", "origin"));
    for (version, row) in [("5.29.0", "5.29.0"), ("5.37.1", "5.37.0")] {
        let site = lab.server(version, "origin");
        assert!(!site.log().contains("do not match"));
        let token = site.token("alice");
        let channel = lab.sql("origin", "SELECT id FROM channels WHERE name = 'dev' LIMIT 1");
        assert_eq!(site.get(&format!("/api/v4/channels/{channel}/posts"), &token).status, 200);
        let post = format!(r#"{{"channel_id":"{channel}","message":"too late"}}"#);
        let answer = site.call("POST", "/api/v4/posts", &token, &post);
        assert_eq!((answer.status, answer.id().as_str()), (500, "app.post.save.app_error"));
        assert!(
            site.log().contains(r#"pq: column \"parentid\" of relation \"posts\" does not exist"#),
            "{}",
            site.log()
        );
        assert_eq!(lab.sql("origin", "SELECT value FROM systems WHERE name = 'Version'"), row);
    }
    assert_eq!(lab.sql("origin", DEFAULTS), "6");
}
