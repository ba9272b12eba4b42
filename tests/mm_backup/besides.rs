//! What is in a database besides the rows of its tables: large objects, where sequences stand, which views are filled; and
//! how the rows are hashed.

use std::fs;
use std::path::Path;

use mm_common::postgres::fingerprint::{self, Method};
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_test_support::cluster::ROLE;
use mm_test_support::site::Site;
use serde_json::Value;

use crate::{make, verify};

fn restore(site: &Site, code: i32) -> String {
    let restore = ["restore", "latest", "--database", "-v"];
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(restore).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// Changes the head of a manifest.
fn rewrite(backup: &Value, change: impl FnOnce(&mut Value)) {
    let manifest = Path::new(backup["manifest"].as_str().unwrap());
    let text = fs::read_to_string(manifest).unwrap();
    let (head, entries) = text.split_once("\"entries\": [").unwrap();
    let mut head: Value = serde_json::from_str(&format!("{}}}", head.trim_end().trim_end_matches(','))).unwrap();
    change(&mut head);
    let head = serde_json::to_string_pretty(&head).unwrap();
    let text = format!("{},\n  \"entries\": [{entries}", head.trim_end().trim_end_matches('}').trim_end());
    fs::write(manifest, &text).unwrap();
    let line = format!("{}  manifest.json\n", mm_common::contract::digest::of_bytes(text.as_bytes()));
    fs::write(manifest.with_extension("json.sha256"), line).unwrap();
}

#[test]
fn large_objects_sequences_and_views_come_back_and_are_compared() {
    let site = Site::builder("10.5.14").build();
    // One with a hole, which a dump fills with zeros, and one that is empty.
    site.cluster.query(&format!(
        "SET SESSION AUTHORIZATION {ROLE}; SELECT lo_from_bytea(4711, 'one'), lo_create(4713), lo_put(lo_create(4712), 70000, 'far');
         COMMENT ON LARGE OBJECT 4711 IS 'first'; CREATE SEQUENCE \"s, 1\"; SELECT setval('\"s, 1\"', 77, false);
         CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY); INSERT INTO counted DEFAULT VALUES;
         CREATE MATERIALIZED VIEW filled AS SELECT 1 AS one; CREATE MATERIALIZED VIEW empty AS SELECT 1 AS one WITH NO DATA"
    ));
    let backup = make(&site, &[]);
    let (code, said) = verify(&site, &["--restore"]);
    assert_eq!(code, 0, "{said}");
    site.cluster.query("SELECT lo_put(4711, 0, 'two'), setval('\"s, 1\"', 1)");
    restore(&site, 0);
    for (value, sql) in [
        ("one", "SELECT convert_from(lo_get(4711), 'UTF8')"),
        ("77|f", "SELECT last_value, is_called FROM \"s, 1\""),
        (
            "filled",
            "SELECT string_agg(relname, ',') FROM pg_class WHERE relkind = 'm' AND relispopulated AND relname IN ('filled', 'empty')",
        ),
    ] {
        assert_eq!(site.cluster.query(sql), value, "{sql}");
    }

    // What is not as it was is seen: in the proof, and before it takes the place of what is there.
    let damaged = |key: &str, words: &str| {
        let mut was = Value::Null;
        rewrite(&backup, |head| was = std::mem::replace(&mut head["database"]["large_objects"][key], "7".into()));
        let (code, said) = verify(&site, &["--restore"]);
        assert!(code == 4 && said.contains(words), "{code} {said}");
        let said = restore(&site, 1);
        assert!(said.contains(words), "{said}");
        rewrite(&backup, |head| head["database"]["large_objects"][key] = was);
    };
    damaged("hash", "the contents of large objects differ");
    damaged("settled", "owners, rights or comments of large objects are others");
    // A view whose filling moves a sequence on: what is restored is not what was dumped.
    site.cluster.query(&format!(
        "SET SESSION AUTHORIZATION {ROLE}; CREATE MATERIALIZED VIEW drawn AS SELECT nextval('\"s, 1\"') AS n"
    ));
    make(&site, &[]);
    let said = restore(&site, 1);
    assert!(said.contains("the sequence public.s, 1 is at `78 true` and was at `77 true`"), "{said}");
}

/// A restore point of an earlier release has the hashes of that, and is proven by them.
#[test]
fn a_restore_point_with_hashes_of_the_earlier_form_is_proven_by_those() {
    let site = Site::builder("5.29.0").build();
    let backup = make(&site, &[]);
    let database = Database::connect(&DataSource::parse(&site.cluster.url()).unwrap(), None).unwrap();
    let tables = fingerprint::tables_by(&database, Method::Md5, 1).unwrap();
    rewrite(&backup, |head| {
        let part = head["database"].as_object_mut().unwrap();
        assert_eq!(part.remove("hashed").unwrap(), "values");
        assert!(part.remove("large_objects").is_some());
        part["tables"] = serde_json::to_value(&tables).unwrap();
    });
    let (code, said) = verify(&site, &["--restore"]);
    assert_eq!(code, 0, "{said}");
    restore(&site, 0);
    rewrite(&backup, |head| head["database"]["tables"]["public.posts"]["hash"] = "7".into());
    let (code, said) = verify(&site, &["--restore"]);
    assert!(code == 4 && said.contains("rows of the table public.posts differ"), "{said}");
}

/// A logical slot is of one database, and no restore takes it along: that is known beforehand, and a command ends it.
#[test]
fn a_replication_slot_of_the_database_is_named_with_what_to_do_about_it() {
    let site = Site::builder("10.5.14").build();
    site.cluster.query("ALTER SYSTEM SET wal_level = logical");
    site.cluster.stop();
    site.cluster.start();
    site.cluster.query("SELECT pg_create_logical_replication_slot('told', 'test_decoding')");
    site.cluster.query("SELECT pg_create_physical_replication_slot('standby')");
    make(&site, &[]);
    let restore = |flags: &[&str]| {
        let mut command = site.tool("mm-backup");
        let output =
            command.arg("--to").arg(site.store()).args(["restore", "latest", "--database"]).args(flags).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap(), said)
    };
    let slot = "the logical slot told (test_decoding) of mattermost";
    let (document, _) = restore(&["--dry-run"]);
    let steps = document["plan"]["mm-backup"]["steps"].to_string();
    assert!(steps.contains(&format!("leave {slot} with the database that is there now")), "{steps}");
    assert!(!steps.contains("standby"), "{steps}");
    let (_, said) = restore(&[]);
    let command = said.split("When the restore is done: ").nth(1).unwrap_or_else(|| panic!("{said}"));
    assert!(said.contains(&format!("{slot} stays with the database")), "{said}");
    let of = || site.cluster.sql("postgres", "SELECT database FROM pg_replication_slots WHERE slot_name = 'told'");
    assert!(of().starts_with("mattermost_mm_before_"), "{}", of());
    mm_test_support::process::run("sh", &["-c", command.lines().next().unwrap()]);
    assert_eq!(of(), "mattermost");
}
