//! What is broken, and what each check must say of it.

use mm_common::contract::version::Edition;

/// One fault: on which way, what breaks it, and what the check must say.
pub(crate) struct Case {
    pub(crate) check: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) edition: Edition,
    /// The installed one, when the way changes it.
    pub(crate) before: Option<Edition>,
    pub(crate) config: &'static str,
    /// Run as the server's user, unless it begins with `-- superuser`.
    pub(crate) broken: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) evidence: &'static str,
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

/// A way that crosses 10.6, from which on users are counted.
const COUNTED: (&str, &str) = ("10.5.14", "10.6");
/// A way that crosses 10.8, with a licence that is good for it, and with one that is not.
const LICENCE: (&str, &str) = ("10.5.14", "10.11");
/// {"features":{"compliance":true}}
const OLD_LICENCE: &str = "UPDATE licenses SET bytes = 'eyJmZWF0dXJlcyI6eyJjb21wbGlhbmNlIjp0cnVlfX0='";

pub(crate) const CASES: &[Case] = &[
    case(
        "jumped-columns",
        MIDDLE,
        "UPDATE channelmembers SET msgcountroot = NULL; UPDATE sidebarcategories SET muted = NULL",
        ("action", "channelmembers.msgcountroot is NULL in 2 rows; sidebarcategories.muted is NULL in 1 row"),
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
        "missing-tables",
        ("8.1.13", "9.11"),
        "DROP TABLE retentionidsfordeletion",
        ("block", "retentionidsfordeletion is missing, though the migration"),
    ),
    case(
        "schema-behind",
        MIDDLE,
        "DELETE FROM db_migrations WHERE version = 109",
        ("action", "109 create_persistent_notifications"),
    ),
    case("schema-behind", OLD, "UPDATE systems SET value = '5.31.0' WHERE name = 'Version'", ("action", "5.31.0")),
    case(
        "release-migrations",
        ("10.11.15", "11.2"),
        "INSERT INTO db_migrations VALUES (143, 'of_another_build')",
        ("block", "143 is of_another_build here and content_flagging_table_index there, in 11.2.4"),
    ),
    case(
        "release-migrations",
        ("10.11.15", "11.2"),
        "INSERT INTO db_migrations VALUES (990, 'of_the_future')",
        ("warn", "990 of_the_future is not in 11.2.4"),
    ),
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
        ("block", r"posts.props holds \u0000 in 1 row"),
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
        "unlicensed-users",
        COUNTED,
        "INSERT INTO users (id, username, email, deleteat) SELECT 'n' || n, 'n' || n, 'n' || n, 0 FROM generate_series(1, 2498) n",
        ("warn", "2500 active users; from 10.6 on administrators see a banner"),
    ),
    case(
        "unlicensed-users",
        COUNTED,
        "INSERT INTO users (id, username, email, deleteat) SELECT 'n' || n, 'n' || n, 'n' || n, 0 FROM generate_series(1, 4998) n",
        ("action", "5000 active users; from 10.6 on nobody can be added"),
    ),
    case(
        "plugin-migrations",
        MIDDLE,
        "CREATE TABLE focalboard_schema_migrations (version bigint, dirty boolean); \
         INSERT INTO focalboard_schema_migrations VALUES (18, true)",
        ("action", "focalboard_schema_migrations: migration 18 was not finished (dirty)"),
    ),
    case(
        "plugin-migrations",
        MIDDLE,
        "CREATE TABLE focalboard_schema_migrations (version bigint, name varchar(64)); \
         UPDATE users SET props = 'null' WHERE id = 'u1'",
        ("action", "1 user with the JSON text `null` in users.props"),
    ),
    case(
        "table-owners",
        MIDDLE,
        "-- superuser\nALTER TABLE teams OWNER TO postgres; GRANT ALL ON teams TO PUBLIC",
        ("block", "teams belongs to postgres and not to"),
    ),
    case(
        "team-users",
        NEW,
        "INSERT INTO users (id, username, email, deleteat) SELECT 'n' || n, 'n' || n, 'n' || n, 0 FROM generate_series(1, 250) n",
        ("action", "252 active users"),
    ),
    case("logins", NEW, "UPDATE users SET authservice = 'gitlab'", ("action", "2 active users with a login of GitLab")),
    Case {
        before: Some(Edition::Enterprise),
        ..case(
            "logins",
            OLD,
            "UPDATE users SET authservice = 'ldap' WHERE id = 'u1'; UPDATE users SET roles = 'system_guest' WHERE id = 'u2'",
            ("action", "1 active user with a login of ldap, which Team Edition does not have; 1 active guest,"),
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
            ("action", "days ago; it is for 1 user, and 2 are active"),
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
                "11.0 has no Bleve: 2 messages searched by the database from then on; and the database's search",
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
