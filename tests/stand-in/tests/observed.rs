//! The schema and the answers of the stand-in, beside what was observed of real servers.
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

use std::collections::BTreeSet;

use lab::{Answer, Lab, Site};

const VERSIONS: [&str; 10] =
    ["5.29.0", "5.37.1", "6.3.0", "6.7.0", "7.1.0", "7.8.0", "8.1.0", "9.5.0", "9.10.0", "11.6.0"];
const COLUMNS: &str = include_str!("../data/columns.tsv");
const CALLS: &str = include_str!("../data/observed-calls.tsv");

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

fn place(version: &str) -> usize {
    VERSIONS.iter().position(|known| *known == version).unwrap()
}

fn observed(version: &str) -> BTreeSet<String> {
    let seen = |row: &Vec<&str>| place(row[4]) <= place(version) && place(version) <= place(row[5]);
    rows(COLUMNS).filter(seen).map(|row| row[..4].join(" ")).collect()
}

fn columns(lab: &Lab, database: &str) -> BTreeSet<String> {
    let query = "SELECT c.table_name || ' ' || c.column_name || ' ' || c.data_type || coalesce('(' || c.character_maximum_length || ')', '') || ' ' || c.is_nullable
        FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
        WHERE t.table_schema = 'public' AND t.table_type = 'BASE TABLE'";
    lab.sql(database, query).lines().map(str::to_owned).collect()
}

/// Row `Version`, number of migrations and highest one; built-in roles; permissions of the system administrator. Facts of ten real servers one after the other
/// (the last one lost three permissions and its number was not taken).
const STEPS: [(&str, &str, &str, &str); 10] = [
    ("5.29.0", "5.29.0", "17", "107"),
    ("5.37.1", "5.37.0", "17", "245"),
    ("6.3.0", "6.3.0", "21", "259"),
    ("6.7.0", "6.4.0 83 83", "21", "265"),
    ("7.1.0", "6.4.0 88 88", "21", "265"),
    ("7.8.0", "6.4.0 101 101", "22", "267"),
    ("8.1.0", "6.4.0 109 109", "22", "267"),
    ("9.5.0", "6.4.0 118 119", "22", "270"),
    ("9.10.0", "6.4.0 120 121", "22", "279"),
    ("11.6.0", "6.4.0 158 159", "24", ""),
];

/// What an administrator changed in the roles stays changed.
const CUSTOM: &str =
    "UPDATE roles SET permissions = replace(permissions, ' create_team', '') || ' manage_incoming_webhooks'
    WHERE name IN ('system_user', 'team_user')";

fn schema_version(lab: &Lab, database: &str) -> String {
    let row = lab.sql(database, "SELECT value FROM systems WHERE name = 'Version'");
    if lab.sql(database, "SELECT to_regclass('db_migrations') IS NULL") == "t" {
        return row;
    }
    format!("{row} {}", lab.sql(database, "SELECT count(*) || ' ' || max(version) FROM db_migrations"))
}

#[test]
fn ten_steps_leave_the_columns_and_the_version_that_real_servers_leave() {
    let lab = Lab::new();
    let (_, _) = lab.seeded("steps");
    let digest = "SELECT count(*) || md5(string_agg(id || channelid || userid || message || createat || deleteat, ',' ORDER BY id COLLATE \"C\")) FROM posts";
    let history = lab.sql("steps", digest);
    lab.sql("steps", CUSTOM);
    let admin =
        "SELECT array_length(string_to_array(trim(permissions), ' '), 1) FROM roles WHERE name = 'system_admin'";
    for (version, expected, roles, permissions) in STEPS {
        let mut site = lab.server(version, "steps");
        lab.until("steps", "SELECT count(*) FROM roles", roles);
        if !permissions.is_empty() {
            assert_eq!(lab.sql("steps", admin), permissions, "{version}");
        }
        let kept = "SELECT permissions LIKE '% manage_incoming_webhooks%' AND permissions NOT LIKE '% create_team%' FROM roles WHERE name = 'system_user'";
        assert_eq!(lab.sql("steps", kept), "t", "{version}");
        assert_eq!(schema_version(&lab, "steps"), expected, "after {version}");
        let (have, want) = (columns(&lab, "steps"), observed(version));
        assert_eq!(
            have.difference(&want).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{version} has columns that the real one has not"
        );
        assert_eq!(want.difference(&have).collect::<Vec<_>>(), Vec::<&String>::new(), "{version} lacks columns");
        assert_eq!(lab.sql("steps", digest), history, "{version} changed the history");
        site.stop();
    }
    // The steps through 5.35 to 6.3 leave defaults and no NULL.
    assert_eq!(
        lab.sql("steps", "SELECT count(*) FROM channelmembers WHERE mentioncountroot IS NULL OR msgcountroot IS NULL"),
        "0"
    );
    assert_eq!(lab.sql("steps", "SELECT * FROM schema_migrations"), "1|f");
}

#[test]
fn a_fresh_server_of_any_line_has_the_columns_of_an_upgraded_one() {
    let lab = Lab::new();
    for version in ["5.37.1", "6.3.0", "7.8.0", "9.10.0", "11.6.0"] {
        let name = format!("fresh_{}", version.replace('.', "_"));
        lab.create(&name);
        let site = lab.server(version, &name);
        let mut want = observed(version);
        if version != "5.37.1" && version != "6.3.0" {
            want.retain(|column| !column.starts_with("schema_migrations "));
        }
        let have = columns(&lab, &name);
        assert_eq!(have.symmetric_difference(&want).collect::<Vec<_>>(), Vec::<&String>::new(), "{version}");
        drop(site);
    }
    assert_eq!(lab.sql("fresh_5_37_1", "SELECT value FROM systems WHERE name = 'Version'"), "5.37.1");
}

/// Replays the recorded calls with the identifiers of this installation.
fn replay(lab: &Lab, database: &str, site: &Site, version: &str) -> Vec<String> {
    let one = |query: &str| lab.sql(database, query);
    let words = [
        ("{ALICE}", one("SELECT id FROM users WHERE username = 'alice'")),
        ("{DAVE}", one("SELECT id FROM users WHERE username = 'dave'")),
        ("{ALPHA}", one("SELECT id FROM teams WHERE name = 'alpha'")),
        ("{BETA}", one("SELECT id FROM teams WHERE name = 'beta'")),
        (
            "{CHANNEL}",
            one(
                "SELECT c.id FROM channels c JOIN teams t ON t.id = c.teamid WHERE t.name = 'alpha' AND c.name = 'dev'",
            ),
        ),
        (
            "{POST}",
            one(
                "SELECT p.id FROM posts p JOIN channels c ON c.id = p.channelid JOIN teams t ON t.id = c.teamid WHERE t.name = 'alpha' AND c.name = 'dev' AND rootid = '' AND NOT hasreactions LIMIT 1",
            ),
        ),
        (
            "{FILE}",
            one(
                "SELECT f.id FROM fileinfo f JOIN posts p ON p.id = f.postid JOIN channelmembers m ON m.channelid = p.channelid JOIN users u ON u.id = m.userid WHERE u.username = 'alice' LIMIT 1",
            ),
        ),
        ("{HOOK}", one("SELECT id FROM incomingwebhooks LIMIT 1")),
    ];
    let fill = |text: &str| words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value));
    let tokens = ["alice", "dave", "admin"].map(|user| (user, site.token(user)));
    let mut wrong = Vec::new();
    for row in rows(CALLS).filter(|row| row[0] == version) {
        let (call, who, method, path, status, headers, keys) =
            (row[1], row[2], row[3], fill(row[4]), row[5], row[6], row[7]);
        if call.ends_with("-logout") {
            continue;
        }
        let body = fill(match call {
            "login-wrong" => r#"{"login_id":"alice","password":"wrong"}"#,
            "login-alice" => r#"{"login_id":"alice","password":"Sekret-alice-1"}"#,
            "login-dave" => r#"{"login_id":"dave","password":"Sekret-dave-1"}"#,
            "login-admin" => r#"{"login_id":"admin","password":"Sekret-admin-1"}"#,
            "alice-roles-names" | "dave-roles-names" => r#"["system_user","team_user"]"#,
            "alice-post-root" => r#"{"channel_id":"{CHANNEL}","message":"recorded root post"}"#,
            "alice-post-reply" => r#"{"channel_id":"{CHANNEL}","message":"recorded reply","root_id":"{POST}"}"#,
            "alice-post-bad-channel" => r#"{"channel_id":"xxxxxxxxxxxxxxxxxxxxxxxxxx","message":"no such channel"}"#,
            "alice-post-bad-root" => {
                r#"{"channel_id":"{CHANNEL}","message":"bad","root_id":"zzzzzzzzzzzzzzzzzzzzzzzzzz"}"#
            }
            "alice-search" => r#"{"terms":"fox","is_or_search":false}"#,
            "alice-channel-view" => r#"{"channel_id":"{CHANNEL}"}"#,
            "webhook-post" => r#"{"text":"recorded webhook"}"#,
            _ => "",
        });
        let token = tokens.iter().find(|(user, _)| *user == who).map(|(_, token)| token.as_str()).unwrap_or_default();
        let answer = site.call(method, &path, token, &body);
        wrong.extend(differences(&answer, status, headers, keys).map(|what| format!("{version} {call}: {what}")));
    }
    wrong
}

/// Keys that depend on what the seed of the recording had done, not on the version.
const CHANCE: [&str; 5] = ["last_picture_update", "failed_attempts", "props", "file_ids", "has_reactions"];

fn differences(answer: &Answer, status: &str, headers: &str, keys: &str) -> Option<String> {
    if answer.status.to_string() != status {
        return Some(format!(
            "status {} instead of {status}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        ));
    }
    let transport = ["Date", "Content-Length", "Transfer-Encoding", "Connection"];
    let have: BTreeSet<&str> =
        answer.headers.iter().map(|(name, _)| name.as_str()).filter(|name| !transport.contains(name)).collect();
    let want: BTreeSet<&str> = headers.split(',').filter(|name| !name.is_empty()).collect();
    if have != want {
        return Some(format!("headers differ in {:?}", have.symmetric_difference(&want).collect::<Vec<_>>()));
    }
    let body = answer.json();
    let object = if body.is_array() { body.get(0).cloned().unwrap_or_default() } else { body };
    let mut have: Vec<&str> =
        object.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default();
    let mut want: Vec<&str> = keys.split(',').filter(|key| !key.is_empty()).collect();
    if keys == "-" {
        return None;
    }
    have.retain(|key| !CHANCE.contains(key));
    want.retain(|key| !CHANCE.contains(key));
    (have != want).then(|| format!("keys {have:?} instead of {want:?}"))
}

#[test]
fn the_recorded_calls_get_the_recorded_status_headers_and_keys() {
    let lab = Lab::new();
    let (_, _) = lab.seeded("calls");
    let mut wrong = Vec::new();
    for version in ["5.29.0", "5.37.1", "6.3.0", "7.1.0", "8.1.0", "9.10.0"] {
        let mut site = lab.server(version, "calls");
        lab.until("calls", "SELECT count(*) FROM jobs WHERE status <> 'success'", "0");
        // The data directory goes with the installation.
        copy_data(&lab, &site);
        wrong.extend(replay(&lab, "calls", &site, version));
        site.stop();
    }
    assert!(wrong.is_empty(), "{} of the calls differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn copy_data(lab: &Lab, site: &Site) {
    let first = lab.path().join("5.29.0-calls-0/data");
    let copied = std::process::Command::new("cp").arg("-a").arg(first).arg(&site.root).status();
    assert!(copied.unwrap().success());
}
