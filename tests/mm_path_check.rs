//! The preflight checks of the database on real PostgreSQL 13 and 15: each is silent on a healthy database and bites
//! when the one thing it is about is broken.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::LazyLock;

use mm_common::contract::sections::{Hop, Preflight, Status};
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::Catalogue;
use mm_common::mattermost::roles;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_path::Server;
use mm_path::check::{Way, database};
use mm_path::plan::{Start, plan};
use mm_path::wish::{Policy, Wish};
use mm_test_support::cluster::{self, Cluster};
use semver::Version;
use serde_json::{Value, json};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::embedded().unwrap());

/// One fault: on which way, what breaks it, and what the check must say.
struct Case {
    check: &'static str,
    from: &'static str,
    to: &'static str,
    edition: Edition,
    /// The installed one, when the way changes it.
    before: Option<Edition>,
    config: &'static str,
    /// Run as the server's user, unless it begins with `-- superuser`.
    broken: &'static str,
    severity: &'static str,
    evidence: &'static str,
}

const fn case(
    check: &'static str,
    (from, to): (&'static str, &'static str),
    broken: &'static str,
    (severity, evidence): (&'static str, &'static str),
) -> Case {
    Case { check, from, to, edition: Edition::Team, before: None, config: "{}", broken, severity, evidence }
}

const OLD: (&str, &str) = ("5.37.10", "6.3");
const MIDDLE: (&str, &str) = ("8.1.0", "9.5");
const NEW: (&str, &str) = ("10.11.15", "11.7");

/// A way that crosses 10.8, with a licence that is good for it, and with one that is not.
const LICENCE: (&str, &str) = ("10.5.14", "10.11");
/// {"features":{"compliance":true}}
const OLD_LICENCE: &str = "UPDATE licenses SET bytes = 'eyJmZWF0dXJlcyI6eyJjb21wbGlhbmNlIjp0cnVlfX0='";

const CASES: &[Case] = &[
    case(
        "jumped-columns",
        MIDDLE,
        "UPDATE channelmembers SET msgcountroot = NULL; UPDATE sidebarcategories SET muted = NULL",
        ("action", "channelmembers.msgcountroot is NULL in 2 rows; sidebarcategories.muted is NULL in 1 rows"),
    ),
    case("jumped-columns", MIDDLE, "UPDATE uploadsessions SET remoteid = NULL", ("action", "uploadsessions.remoteid")),
    case(
        "scheme-guest",
        MIDDLE,
        "UPDATE teammembers SET schemeguest = NULL",
        ("action", "teammembers.schemeguest is NULL in 2 rows"),
    ),
    case(
        "systems-key",
        MIDDLE,
        "ALTER TABLE systems DROP CONSTRAINT systems_pkey",
        ("block", "systems has no primary key"),
    ),
    case("primary-keys", OLD, "ALTER TABLE teams DROP CONSTRAINT teams_pkey", ("warn", "teams has none")),
    case("missing-tables", OLD, "DROP TABLE sidebarcategories", ("block", "sidebarcategories is missing")),
    case(
        "schema-behind",
        MIDDLE,
        "DELETE FROM db_migrations WHERE version = 109",
        ("action", "109 create_persistent_notifications"),
    ),
    case("schema-behind", OLD, "UPDATE systems SET value = '5.31.0' WHERE name = 'Version'", ("action", "5.31.0")),
    case(
        "migration-names",
        MIDDLE,
        "INSERT INTO db_migrations VALUES (111, 'nightly')",
        ("block", "111 is nightly here and update_vacuuming in 9.5.14"),
    ),
    case(
        "migration-names",
        ("10.11.15", "11.2"),
        "INSERT INTO db_migrations VALUES (142, 'add_schemeid_to_roles')",
        ("block", "142 is add_schemeid_to_roles here and create_content_flagging_tables in 11.2.4"),
    ),
    case(
        "json-text",
        OLD,
        r#"UPDATE posts SET props = '{"a": "x\u0000y"}' WHERE id = 'p1'"#,
        ("block", r"posts.props holds \u0000 in 1 rows"),
    ),
    case("json-text", OLD, "UPDATE users SET timezone = ''", ("block", "users.timezone is an empty text in 2 rows")),
    case(
        "json-defaults",
        OLD,
        "ALTER TABLE users ALTER timezone SET DEFAULT '{}'",
        ("block", "users.timezone has the default"),
    ),
    case(
        "duplicates",
        OLD,
        "ALTER TABLE teams DROP CONSTRAINT teams_name_key; UPDATE teams SET name = 'alpha'",
        ("action", "teams (name): 1, for example `alpha`"),
    ),
    case(
        "invalid-indexes",
        OLD,
        "-- superuser\nUPDATE pg_index SET indisvalid = false WHERE indexrelid = 'teams_name_key'::regclass",
        ("warn", "teams_name_key on teams"),
    ),
    case(
        "collation",
        OLD,
        "-- superuser\nCREATE COLLATION drift (provider = icu, locale = 'en-US'); ALTER TABLE teams ADD note text COLLATE drift; \
         UPDATE pg_collation SET collversion = '0.1' WHERE collname = 'drift'",
        ("action", "collation drift was made with 0.1"),
    ),
    case("roles", OLD, "DELETE FROM roles WHERE name = 'team_user'", ("action", "team_user is missing")),
    case(
        "roles",
        OLD,
        "UPDATE roles SET permissions = '' WHERE name = 'channel_user'",
        ("action", "channel_user has no permissions"),
    ),
    Case {
        edition: Edition::Enterprise,
        ..case(
            "entry-history",
            NEW,
            "INSERT INTO posts (id, message, props, deleteat) SELECT 'n' || n, '', '{}', 0 FROM generate_series(1, 10000) n",
            ("action", "shows the last 10000 of your 10002 messages"),
        )
    },
    case(
        "team-users",
        NEW,
        "INSERT INTO users (id, username, email, deleteat) SELECT 'n' || n, 'n' || n, 'n' || n, 0 FROM generate_series(1, 250) n",
        ("action", "252 active users"),
    ),
    case("logins", NEW, "UPDATE users SET authservice = 'gitlab'", ("action", "2 active users log in through GitLab")),
    Case {
        before: Some(Edition::Enterprise),
        ..case(
            "logins",
            OLD,
            "UPDATE users SET authservice = 'ldap' WHERE id = 'u1'; UPDATE users SET roles = 'system_guest' WHERE id = 'u2'",
            (
                "action",
                "1 active users log in through ldap, which Team Edition does not have; 1 active users are guests",
            ),
        )
    },
    Case {
        edition: Edition::Enterprise,
        ..case("licence", LICENCE, OLD_LICENCE, ("action", "it is an E20, which 10.8"))
    },
    Case {
        edition: Edition::Enterprise,
        // {"expires_at":86400000,"sku_short_name":"professional","features":{"users":1}}
        ..case(
            "licence",
            LICENCE,
            "UPDATE licenses SET bytes = 'eyJleHBpcmVzX2F0Ijo4NjQwMDAwMCwic2t1X3Nob3J0X25hbWUiOiJwcm9mZXNzaW9uYWwiLCJmZWF0dXJlcyI6eyJ1c2VycyI6MX19'",
            ("action", "days ago; it is for 1 users, and 2 are active"),
        )
    },
    case(
        "db-lock",
        MIDDLE,
        "INSERT INTO db_lock VALUES ('mm-lock-key', extract(epoch FROM now())::bigint + 600)",
        ("action", "mm-lock-key: held by a server that migrates now"),
    ),
    case("db-lock", MIDDLE, "INSERT INTO db_lock VALUES ('mm-lock-key', 1)", ("warn", "left by one that was killed")),
    Case {
        config: r#"{"BleveSettings": {"EnableSearching": true}}"#,
        ..case("search-bleve", ("5.37.10", "7.1"), "", ("warn", "6.1 changes its index: 2 messages"))
    },
    Case {
        config: r#"{"BleveSettings": {"EnableSearching": true}, "SqlSettings": {"DisableDatabaseSearch": true}}"#,
        ..case(
            "search-bleve",
            NEW,
            "",
            (
                "action",
                "11.0 has no Bleve: 2 messages are searched by the database from then on; and the database's search",
            ),
        )
    },
    Case {
        edition: Edition::Enterprise,
        config: r#"{"ElasticsearchSettings": {"EnableIndexing": true}}"#,
        ..case(
            "search-elasticsearch",
            ("5.25.7", "9.11"),
            "",
            ("action", "5.26 needs its index built anew, of 2 messages; 6.0 needs Elasticsearch 7 or newer; 9.11"),
        )
    },
    case(
        "boards",
        MIDDLE,
        "CREATE TABLE focalboard_boards (id varchar(36) PRIMARY KEY); INSERT INTO focalboard_boards VALUES ('b1'), ('b2')",
        ("warn", "2 rows in focalboard_boards"),
    ),
    case(
        "nodes",
        OLD,
        "INSERT INTO clusterdiscovery SELECT 'i' || n, 'node' || n, (extract(epoch FROM now()) * 1000)::bigint FROM generate_series(1, 2) n",
        ("action", "node1; node2"),
    ),
];

/// What a server of this release leaves in a database, as far as the checks look at it.
fn healthy(release: &Version) -> String {
    let modern = *release >= Version::new(6, 0, 0);
    let json = if modern { "jsonb" } else { "varchar(8000)" };
    let mut sql = format!(
        "CREATE TABLE systems (name varchar(64) PRIMARY KEY, value varchar(1024));
         CREATE TABLE teams (id varchar(26) PRIMARY KEY, name varchar(64) CONSTRAINT teams_name_key UNIQUE);
         CREATE TABLE teammembers (teamid varchar(26), userid varchar(26), schemeguest boolean, PRIMARY KEY (teamid, userid));
         CREATE TABLE channels (id varchar(26) PRIMARY KEY, name varchar(64), teamid varchar(26), totalmsgcountroot bigint DEFAULT 0);
         CREATE TABLE channelmembers (channelid varchar(26), userid varchar(26), notifyprops {json}, schemeguest boolean,
             mentioncountroot bigint DEFAULT 0, msgcountroot bigint DEFAULT 0, PRIMARY KEY (channelid, userid));
         CREATE TABLE users (id varchar(26) PRIMARY KEY, username varchar(64), email varchar(128), deleteat bigint DEFAULT 0,
             props {json}, notifyprops {json}, timezone {json}, authservice varchar(32) DEFAULT '', roles varchar(256) DEFAULT '');
         CREATE TABLE licenses (id varchar(26) PRIMARY KEY, bytes varchar(10000));
         CREATE TABLE bots (userid varchar(26) PRIMARY KEY);
         CREATE TABLE posts (id varchar(26) PRIMARY KEY, message varchar(65535), props {json}, deleteat bigint DEFAULT 0);
         CREATE TABLE preferences (userid varchar(26), category varchar(32), name varchar(32), PRIMARY KEY (userid, category, name));
         CREATE TABLE sessions (id varchar(26) PRIMARY KEY, props {json});
         CREATE TABLE fileinfo (id varchar(26) PRIMARY KEY);
         CREATE TABLE roles (id varchar(64) PRIMARY KEY, name varchar(64) UNIQUE, permissions text, deleteat bigint DEFAULT 0);
         CREATE TABLE status (userid varchar(26) PRIMARY KEY);
         CREATE TABLE threads (postid varchar(26) PRIMARY KEY, participants {json});
         CREATE TABLE threadmemberships (postid varchar(26), userid varchar(26), unreadmentions bigint DEFAULT 0, PRIMARY KEY (postid, userid));
         CREATE TABLE sidebarcategories (id varchar(128) PRIMARY KEY, muted boolean DEFAULT false, collapsed boolean DEFAULT false);
         CREATE TABLE reactions (userid varchar(26), postid varchar(26), emojiname varchar(64), PRIMARY KEY (userid, postid, emojiname));
         CREATE TABLE jobs (id varchar(26) PRIMARY KEY, data {json});
         CREATE TABLE linkmetadata (hash bigint PRIMARY KEY, data {json});
         CREATE TABLE uploadsessions (id varchar(26) PRIMARY KEY, remoteid varchar(26) DEFAULT '', reqfileid varchar(26) DEFAULT '');
         CREATE TABLE clusterdiscovery (id varchar(26) PRIMARY KEY, hostname varchar(512), lastpingat bigint);
         INSERT INTO teams VALUES ('t1', 'alpha'), ('t2', 'beta');
         INSERT INTO users VALUES ('u1', 'alice', 'a@x', 0, '{{}}', '{{}}', '{{}}'), ('u2', 'bob', 'b@x', 0, '{{}}', '{{}}', '{{}}');
         INSERT INTO channels VALUES ('c1', 'town', 't1', 0), ('c2', 'town', 't2', 0);
         INSERT INTO teammembers VALUES ('t1', 'u1', false), ('t1', 'u2', false);
         INSERT INTO channelmembers VALUES ('c1', 'u1', '{{}}', false), ('c1', 'u2', '{{}}', false);
         INSERT INTO sidebarcategories VALUES ('favorites', false, false);
         INSERT INTO uploadsessions VALUES ('s1', '', '');
         INSERT INTO clusterdiscovery VALUES ('i0', 'gone-for-long', 1);
         INSERT INTO posts VALUES ('p1', 'hello', '{{}}', 0);
         INSERT INTO licenses VALUES ('l1', '{licence}');
         INSERT INTO systems VALUES ('ActiveLicenseId', 'l1');
         INSERT INTO systems VALUES ('Version', '{version}');\n",
        // {{"sku_short_name":"professional","features":{{"users":1000}}}}
        licence = "eyJza3Vfc2hvcnRfbmFtZSI6InByb2Zlc3Npb25hbCIsImZlYXR1cmVzIjp7InVzZXJzIjoxMDAwfX0=",
        version = if modern { Version::new(6, 4, 0) } else { Version::new(release.major, release.minor, 0) },
    );
    // A text that only looks like the escape of the character 0: the backslash before it is escaped itself.
    let tricky = if modern { "{}" } else { r#"{"a": "\\u0000"}"# };
    writeln!(sql, "INSERT INTO posts VALUES ('p2', 'tricky', '{tricky}', 0);").unwrap();
    for (role, permissions) in roles::built_in(release).unwrap() {
        let permissions = permissions.into_iter().collect::<Vec<_>>().join(" ");
        writeln!(sql, "INSERT INTO roles VALUES ('{role}', '{role}', '{permissions}', 0);").unwrap();
    }
    if *release >= Version::new(9, 5, 0) {
        sql.push_str("CREATE TABLE retentionidsfordeletion (id varchar(26) PRIMARY KEY);\n");
    }
    if *release >= Version::new(6, 4, 0) {
        sql.push_str("CREATE TABLE db_lock (id varchar(64) PRIMARY KEY, expireat bigint);\n");
        sql.push_str("CREATE TABLE db_migrations (version bigint PRIMARY KEY, name varchar NOT NULL);\n");
        let highest = CATALOGUE.migrations().of(release).unwrap().highest.unwrap();
        for known in CATALOGUE.migrations().names.iter().filter(|known| known.number <= highest) {
            writeln!(sql, "INSERT INTO db_migrations VALUES ({}, '{}');", known.number, known.name).unwrap();
        }
    }
    sql
}

struct Lab {
    cluster: Cluster,
    server: Database,
}

impl Lab {
    fn new(major: u32) -> Self {
        let cluster = Cluster::create(major);
        let server = Database::connect(&DataSource::parse(&cluster.url()).unwrap(), None).unwrap();
        Self { cluster, server }
    }

    /// A database as a server of this release leaves it.
    fn database(&self, name: &str, release: &Version) -> Database {
        self.cluster.sql("postgres", &format!("CREATE DATABASE {name} OWNER {}", cluster::ROLE));
        let database = self.server.sibling(name);
        database.execute(&healthy(release)).unwrap();
        database
    }
}

fn hops(from: &Version, to: &str, edition: Edition, postgres: Option<(u32, u32)>) -> Vec<Hop> {
    let mut start = Start::on_paper(from.clone(), edition);
    start.postgres = postgres.map(|(major, _)| Server { major, available: None });
    let wish = Wish {
        to: to.parse().unwrap(),
        policy: Policy::Esr,
        via: Vec::new(),
        avoid: Vec::new(),
        postgres: postgres.map(|(_, wished)| wished),
        edition: None,
    };
    plan(&CATALOGUE, &start, &wish).unwrap().path.hops
}

fn way<'a>(from: &'a Version, hops: &'a [Hop], edition: Edition) -> Way<'a> {
    static NOTHING: LazyLock<Value> = LazyLock::new(|| json!({}));
    Way { catalogue: &CATALOGUE, from, hops, edition, before: None, config: Some(&NOTHING), licence: Some("") }
}

fn find<'a>(findings: &'a [Preflight], id: &str) -> &'a Preflight {
    findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

/// Every case: silent on the healthy database of its way, where nothing else bites either; biting once it is broken.
fn silent_and_biting(major: u32) {
    let lab = Lab::new(major);
    let mut bases: BTreeMap<String, Vec<Preflight>> = BTreeMap::new();
    for (index, case) in CASES.iter().enumerate() {
        let from = Version::parse(case.from).unwrap();
        let hops = hops(&from, case.to, case.edition, None);
        let config = serde_json::from_str(case.config).unwrap();
        let way = Way { before: case.before, ..way(&from, &hops, case.edition) };
        let base =
            format!("base_{}_{}_{}_{}", case.from, case.to, case.edition, case.before.is_some()).replace('.', "_");
        let before = bases.entry(base.clone()).or_insert_with(|| {
            let before = database::findings(&lab.database(&base, &from), way).unwrap();
            for finding in &before {
                assert!(
                    matches!(finding.status, Status::Pass | Status::Skip),
                    "PostgreSQL {major}, {base}: healthy, and yet {finding:?}"
                );
            }
            before
        });
        assert_eq!(find(before, case.check).status, Status::Pass, "{} does not look at {base}", case.check);
        let name = format!("check_{index}");
        lab.cluster.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {base} OWNER {}", cluster::ROLE));
        let database = lab.server.sibling(&name);
        if case.broken.starts_with("-- superuser") {
            lab.cluster.sql(&name, case.broken);
        } else if !case.broken.is_empty() {
            database.execute(case.broken).unwrap();
        }
        let after = database::findings(&database, Way { config: Some(&config), ..way }).unwrap();
        let finding = find(&after, case.check);
        assert_eq!(finding.severity, case.severity, "PostgreSQL {major}, {}: {finding:?}", case.check);
        assert!(finding.evidence.contains(case.evidence), "PostgreSQL {major}, {}: {finding:?}", case.check);
        assert!(matches!(finding.status, Status::Fail | Status::Warn), "{finding:?}");
        assert!(!finding.fix.is_empty() && !finding.source.is_empty(), "{finding:?}");
    }
}

#[test]
fn each_check_is_silent_and_bites_on_postgresql_13() {
    silent_and_biting(13);
}

#[test]
fn each_check_is_silent_and_bites_on_postgresql_15() {
    silent_and_biting(15);
}

#[test]
fn every_check_of_the_database_has_a_case() {
    let cases: BTreeSet<&str> = CASES.iter().map(|case| case.check).collect();
    assert_eq!(cases, database::ids().into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn what_a_check_may_not_read_is_not_a_fault() {
    let lab = Lab::new(15);
    let from = Version::new(5, 37, 10);
    let database = lab.database("closed", &from);
    lab.cluster.sql("closed", "ALTER TABLE posts OWNER TO postgres; REVOKE ALL ON posts FROM PUBLIC");
    let hops = hops(&from, "6.3", Edition::Team, None);
    let findings = database::findings(&database, way(&from, &hops, Edition::Team)).unwrap();
    let closed = find(&findings, "json-text");
    assert_eq!(closed.status, Status::Error, "{closed:?}");
    assert!(closed.evidence.contains("permission denied"), "{closed:?}");
    assert_eq!(find(&findings, "missing-tables").status, Status::Pass, "hidden is not missing");
    assert_eq!(find(&findings, "duplicates").status, Status::Pass, "the others go on");
}

#[test]
fn duplicates_block_where_postgresql_is_upgraded() {
    let lab = Lab::new(13);
    let from = Version::new(5, 37, 10);
    let database = lab.database("bump", &from);
    database.execute("ALTER TABLE teams DROP CONSTRAINT teams_name_key; UPDATE teams SET name = 'alpha'").unwrap();
    let hops = hops(&from, "6.3", Edition::Team, Some((13, 15)));
    let findings = database::findings(&database, way(&from, &hops, Edition::Team)).unwrap();
    let duplicates = find(&findings, "duplicates");
    assert_eq!((duplicates.severity.as_str(), duplicates.hop.as_ref()), ("block", Some(&Version::new(6, 3, 10))));
}

#[test]
fn renumbered_migrations_do_not_block_a_release_that_renumbers_them() {
    let lab = Lab::new(15);
    let from = Version::new(10, 11, 15);
    let database = lab.database("renumbered", &from);
    database.execute("INSERT INTO db_migrations VALUES (142, 'add_schemeid_to_roles')").unwrap();
    let hops = hops(&from, "11.7.10", Edition::Team, None);
    let findings = database::findings(&database, way(&from, &hops, Edition::Team)).unwrap();
    assert_eq!(find(&findings, "migration-names").status, Status::Pass);
}
