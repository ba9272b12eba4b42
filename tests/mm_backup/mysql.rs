//! A server that works with `MariaDB`: its database is in the restore point as a dump of `MariaDB`'s own, every row counted.

use std::path::Path;
use std::process::Command;

use mm_common::contract::digest::of_bytes;
use mm_test_support::cluster::TELLTALE;
use mm_test_support::mariadb::{Mariadb, PASSWORD};
use mm_test_support::site::Site;
use serde_json::Value;

use crate::{make, verify};

fn shell(script: &str) {
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Exit code of mm-backup and all that it said, in which no password may be.
fn backup(site: &Site, words: &[&str]) -> (i32, String) {
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(words).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(!said.contains(PASSWORD) && !said.contains(TELLTALE), "{said}");
    (output.status.code().unwrap(), said)
}

#[test]
fn a_dump_of_mariadb_is_stored_counted_verified_and_can_be_loaded() {
    let site = Site::builder("10.5.14").build();
    let mariadb = Mariadb::under(&site);
    mariadb.sql("CREATE TABLE `od``d (` (x int, t text, b blob)");
    mariadb.set("INSERT INTO `od``d (` VALUES (1, 'it''s (1),(2);', ?)", b"\0\\'\n\xff");
    // The columns of such a table are named before the rows.
    mariadb.sql("CREATE TABLE made (a int, hidden int INVISIBLE, b int AS (a + 1) STORED)");
    mariadb.sql("INSERT INTO made (a) VALUES (4711), (4712)");
    let (rows, posts) = (mariadb.state(), mariadb.column("SELECT COUNT(*) FROM Posts").remove(0));

    // The schema of MySQL is no business of ours: an account that reads is enough.
    let made = make(&site, &["--stop", "--freeze"]);
    assert_eq!((&made["database"], &made["cold"]), (&Value::Bool(false), &Value::Bool(true)), "{made}");
    let path = Path::new(made["mysql"]["path"].as_str().unwrap());
    assert!(path.ends_with("database/mattermost.sql.gz") && path.is_file(), "{made}");
    let tables = mariadb.column("SHOW TABLES").len();
    assert_eq!(made["mysql"]["tables"], tables, "{made}");
    let manifest = std::fs::read_to_string(made["manifest"].as_str().unwrap()).unwrap();
    assert!(manifest.contains(&format!("\"Posts\":{posts}")) || manifest.contains(&format!("\"Posts\": {posts}")));
    assert_eq!(verify(&site, &[]).0, 0);
    assert!(backup(&site, &["list", "--format", "human"]).1.contains("mattermost (MySQL 10.11."));

    // What it says to load it with does.
    let load = made["mysql"]["load"].as_str().unwrap();
    let socket = mariadb.socket();
    mariadb.sql("CREATE DATABASE second");
    let there = load.replace("mariadb mattermost", &format!("mariadb -u root -S '{}' second", socket.display()));
    assert_ne!(there, load);
    shell(&there);
    assert_eq!(mariadb.state_of("second").replace("second.", "mattermost."), rows);

    // Our own restore brings back the files, and says what it leaves; the database of MySQL is never written to.
    let id = made["id"].as_str().unwrap();
    let notice = site.install().join("NOTICE.txt");
    std::fs::write(&notice, "changed").unwrap();
    let (code, said) = backup(&site, &["restore", id]);
    assert!(code == 0 && said.contains("to load the stored one into an empty database: zcat "), "{said}");
    assert_ne!(std::fs::read_to_string(&notice).unwrap(), "changed");
    let (code, said) = backup(&site, &["restore", id, "--database"]);
    assert!(code == 5 && said.contains("zcat ") && said.contains("MySQL 10.11."), "{said}");
    assert_eq!(mariadb.state(), rows);

    // Damage is found: a bit, and with digests that are made to fit an end or a row that is missing.
    let whole = std::fs::read(path).unwrap();
    crate::damage::flip_a_bit(path, whole.len() as u64 / 2);
    let (code, said) = verify(&site, &[]);
    assert!(code == 4 && said.contains("mattermost.sql.gz") && said.contains("SHA-256"), "{said}");
    let place = Path::new(made["manifest"].as_str().unwrap());
    for (script, word) in [("sed '$d'", "does not come to its end"), ("sed 's/(4711,[^)]*),//'", "it holds other rows")]
    {
        std::fs::write(path, &whole).unwrap();
        let shown = path.display();
        shell(&format!("zcat '{shown}' | LC_ALL=C {script} | gzip > '{shown}.new'; mv '{shown}.new' '{shown}'"));
        let forged = std::fs::read(path).unwrap();
        let text = [": ", ":"].iter().fold(manifest.replace(&of_bytes(&whole), &of_bytes(&forged)), |text, colon| {
            text.replace(&format!("\"bytes\"{colon}{},", whole.len()), &format!("\"bytes\"{colon}{},", forged.len()))
        });
        std::fs::write(place, &text).unwrap();
        let digest = place.with_file_name("manifest.json.sha256");
        std::fs::write(digest, format!("{}  manifest.json\n", of_bytes(text.as_bytes()))).unwrap();
        let (code, said) = verify(&site, &[]);
        assert!(code == 4 && said.contains(word) && !said.contains("SHA-256"), "{said}");
    }
}

#[test]
fn what_cannot_be_dumped_is_said_before_anything_is_stopped() {
    let site = Site::builder("10.5.14").build();
    let mariadb = Mariadb::under(&site);
    // What is a view may be seen by its account only where that is given (Mattermost has one itself, from 10.5 on).
    let tables = mariadb.column("SHOW TABLES").len();
    mariadb.sql("CREATE VIEW seen AS SELECT Id FROM Posts");
    let (code, said) = backup(&site, &["--stop"]);
    assert!(
        code == 1 && said.contains("cannot dump the database `mattermost`") && said.contains("--no-database"),
        "{said}"
    );
    assert!(!site.store().exists(), "something was made");
    mariadb.sql("GRANT SHOW VIEW ON mattermost.* TO mmuser@'%'");
    site.set("SqlSettings", "DataSource", mariadb.source().replace(PASSWORD, "wrong").into());
    let (code, said) = backup(&site, &[]);
    assert!(code == 1 && said.contains("cannot connect to the database `mattermost` of MySQL"), "{said}");
    site.set("SqlSettings", "DataSource", mariadb.source().into());
    assert_eq!(make(&site, &[])["mysql"]["tables"], tables);
}
