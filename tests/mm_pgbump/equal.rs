//! What an upgrade of PostgreSQL carries over besides the rows, and what of it is seen when it does not.

use std::path::PathBuf;
use std::time::Duration;

use mm_test_support::cluster::ROLE;
use mm_test_support::layout::{
    self, DISABLED, EXOTIC, EXOTIC_SETTINGS, Layout, Owner, RICHES, SUPERUSER_RICHES, Schema,
};
use mm_test_support::process::{run, wait_until};
use mm_test_support::site::Site;
use serde_json::Value;

use crate::rig::{Afterwards, Rig, VERSION, next_major};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the tool and wants this exit code. The answer is the document, and what was said.
fn pgbump(site: &Site, code: i32, arguments: &[&str]) -> (Value, String) {
    let output = site.tool("mm-pgbump").args(arguments).arg("-v").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "mm-pgbump {arguments:?}: {said}");
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

/// A site with this layout goes to 15, serves there, and goes back, and whoever had a right has it.
fn goes_there_and_back(layout: Layout, riches: bool, method: &str) {
    let site = Site::builder(VERSION).build();
    layout.apply(&site);
    if riches {
        site.cluster.query(&format!("SET SESSION AUTHORIZATION {ROLE}; {RICHES}"));
        site.cluster.query(SUPERUSER_RICHES);
        site.cluster.query(DISABLED);
    }
    site.start();
    let before = layout::rights(&site.cluster);
    pgbump(&site, 0, &["--to", &next_major(), "--no-backup", "--method", method, "--accept", "database"]);
    assert_eq!(layout::rights(&site.cluster), before, "{layout:?}");
    wait_until("the server to answer", PATIENCE, || site.answers());
    let version = site.cluster.query("SHOW server_version_num");
    assert!(version.starts_with(&next_major()), "{version}");
    pgbump(&site, 0, &["rollback"]);
    assert_eq!(layout::rights(&site.cluster), before, "{layout:?}");
    wait_until("the server to answer", PATIENCE, || site.answers());
}

/// As migrations from MySQL leave a database: there is no `public`, and the rights on what it was are in no dump.
#[test]
fn a_database_without_public_goes_to_the_next_major_with_all_its_rights() {
    let layout = Layout { owner: Owner::Role, schema: Schema::Renamed, createdb: false, peer: true };
    goes_there_and_back(layout, true, "upgrade");
}

/// Odd and legal: what PostgreSQL itself does not take to the next major is refused beforehand, all else goes there and back.
fn an_odd_database_goes_there_and_back(method: &str) {
    let site = Site::builder(VERSION).build();
    site.cluster.query(&format!(
        "CREATE ROLE reader; CREATE ROLE third; SET client_min_messages = warning; SET SESSION AUTHORIZATION {ROLE}; {EXOTIC}"
    ));
    site.cluster.query(EXOTIC_SETTINGS);
    site.start();
    // Its owner has a function of his own in a generated column.
    let next = next_major();
    let there = ["--to", &next, "--no-backup", "--method", method, "--accept", "user-code"];
    if method == "upgrade" {
        let (_, said) = pgbump(&site, 5, &there);
        assert!(said.contains("encoding conversions"), "{said}");
        site.cluster.query("DROP CONVERSION exotic.conv");
    }
    let before = layout::rights(&site.cluster);
    pgbump(&site, 0, &there);
    assert_eq!(layout::rights(&site.cluster), before);
    wait_until("the server to answer", PATIENCE, || site.answers());
    pgbump(&site, 0, &["rollback"]);
    assert_eq!(layout::rights(&site.cluster), before);
}

#[test]
fn an_odd_database_goes_there_and_back_by_dump() {
    an_odd_database_goes_there_and_back("dump");
}

#[test]
#[ignore = "long: a second upgrade and rollback of the same"]
fn an_odd_database_goes_there_and_back_by_upgrade() {
    an_odd_database_goes_there_and_back("upgrade");
}

#[test]
#[ignore = "long: an upgrade and a rollback for each layout"]
fn every_layout_goes_there_and_back() {
    for layout in Layout::all().filter(|layout| layout.peer && !layout.createdb) {
        for method in ["upgrade", "dump"] {
            eprintln!("{layout:?} {method}");
            goes_there_and_back(layout, true, method);
        }
    }
}

#[test]
#[ignore = "long: an upgrade and a rollback for each of some random sets of rights"]
fn whatever_the_rights_are_they_are_carried_over_or_it_is_refused() {
    let seeds =
        std::env::var("MM_SEED").ok().and_then(|seed| seed.parse().ok()).map_or(1..9, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let site = Site::builder(VERSION).build();
        let layout = Layout { owner: Owner::Role, schema: Schema::Public, createdb: false, peer: true };
        layout.apply(&site);
        site.cluster.query(&format!("SET SESSION AUTHORIZATION {ROLE}; {RICHES}"));
        site.cluster.query(SUPERUSER_RICHES);
        let changes = layout::scramble(&site.cluster, seed);
        let before = layout::rights(&site.cluster);
        let next = next_major();
        let upgrade = ["--to", &next, "--no-backup", "--accept", "database", "-v"];
        let output = site.tool("mm-pgbump").args(upgrade).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 5)), "MM_SEED={seed} {changes:#?}: {said}");
        assert_eq!(layout::rights(&site.cluster), before, "MM_SEED={seed} {changes:#?}");
        if output.status.success() {
            pgbump(&site, 0, &["rollback"]);
            assert_eq!(layout::rights(&site.cluster), before, "MM_SEED={seed}");
        }
    }
}

/// Changes that no counting of rows shows, and a word of what is said of each.
const CHANGES: &[(&str, &str)] = &[
    ("COMMENT ON TABLE rich.things IS 'others'", "COMMENT rich.TABLE things"),
    ("ALTER TABLE posts ALTER message SET DEFAULT 'x'", "DEFAULT 'x'"),
    ("ALTER FUNCTION rich.add(int, int) OWNER TO third", "FUNCTION rich.add(integer, integer)"),
    ("DROP POLICY own ON rich.things", "POLICY rich.things own: it is gone"),
    ("ALTER DEFAULT PRIVILEGES FOR ROLE mmuser REVOKE EXECUTE ON FUNCTIONS FROM third", "DEFAULT ACL"),
    ("ALTER ROLE reader SET work_mem = '1MB'", "ALTER ROLE reader SET work_mem"),
    ("COMMENT ON ROLE third IS 'the fourth'", "COMMENT ON ROLE third"),
    ("ALTER DATABASE mattermost SET work_mem = '1MB'", "DATABASE PROPERTIES mattermost"),
    ("ALTER ROLE mmuser PASSWORD 'other'", "ALTER ROLE mmuser WITH"),
    ("REVOKE SELECT (id) ON rich.things FROM reader", "ACL rich.COLUMN things.id"),
    ("ALTER PUBLICATION told SET (publish = 'insert')", "PUBLICATION told"),
    (
        "ALTER USER MAPPING FOR reader SERVER far OPTIONS (SET password 'other')",
        "definition of USER MAPPING reader SERVER far:",
    ),
    ("ALTER TABLE rich.things VALIDATE CONSTRAINT later", "later"),
    ("ALTER LARGE OBJECT 4712 OWNER TO third", "owners of large objects"),
    ("CREATE VIEW rich.new AS SELECT 1 AS x", "VIEW rich.new: it was not there before"),
];

#[test]
fn what_a_hook_changes_on_the_way_is_seen_and_leads_back() {
    let rig = Rig::new();
    let name = rig.site.cluster.name.clone();
    rig.site.cluster.query("CREATE ROLE third; CREATE ROLE reader");
    rig.site.cluster.query(&format!("SET SESSION AUTHORIZATION {ROLE}; {RICHES}"));
    rig.site.cluster.query(SUPERUSER_RICHES);
    let hook = PathBuf::from(format!("/etc/postgresql-common/pg_upgradecluster.d/{name}"));
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let path = hook.clone();
    let _remove = Afterwards(move || drop(std::fs::remove_file(&path)));
    let changes: Vec<String> = CHANGES.iter().map(|(sql, _)| format!("{sql};\n")).collect();
    // Other upgrades of this machine are none of its business.
    let script = format!(
        "#!/bin/sh\n[ \"$2\" = {name} ] && [ \"$4\" = finish ] || exit 0\n\
         psql -XqAtw -v ON_ERROR_STOP=1 --cluster \"$3/$2\" -d mattermost <<'END'\nSET search_path = public;\n{}END\n",
        changes.concat()
    );
    std::fs::write(&hook, script).unwrap();
    run("chmod", &["755", hook.to_str().unwrap()]);
    let before = layout::rights(&rig.site.cluster);
    let (document, said) = rig.upgrade(6, &[]);
    let causes = document["error"]["causes"].to_string();
    for (sql, word) in CHANGES {
        assert!(causes.contains(word), "{sql}: {said}");
    }
    for secret in ["geheim", "'other'", "SCRAM"] {
        assert!(!said.contains(secret) && !causes.contains(secret), "{secret}: {said}");
    }
    rig.is_as_before();
    assert_eq!(layout::rights(&rig.site.cluster), before);
}
