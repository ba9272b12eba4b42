//! What the checks have found and `--accept` has let through: it fails or loses something, and ends with the old cluster
//! serving and nothing half-made.

use std::process::Command;

use mm_test_support::process::run;

use crate::rig::{Afterwards, Rig, find_below};

/// Goes on although the checks `accepted` say no, and is taken back.
fn leads_back(rig: &Rig, method: &str, accepted: &[&str], words: &[&str]) {
    let accept: Vec<&str> = accepted.iter().flat_map(|id| ["--accept", id]).collect();
    let (document, said) = rig.upgrade(6, &[&["--method", method, "--shared-cluster"], accept.as_slice()].concat());
    assert_eq!(document["error"]["kind"], "rolled-back");
    assert!(words.iter().any(|word| said.contains(word)), "none of {words:?}: {said}");
    rig.is_as_before();
}

#[test]
fn what_a_dump_loses_is_missed() {
    let rig = Rig::new();
    let ask = |sql: &str| rig.site.cluster.query(sql);
    let name = rig.site.cluster.name.clone();
    ask("ALTER SYSTEM SET max_prepared_transactions = 2");
    run("pg_ctlcluster", &["13", &name, "restart"]);

    // An extension of the old major only, whose table is lost with it.
    let files = ["control", "sql"].map(|end| {
        let dash = if end == "sql" { "--1" } else { "" };
        format!("/usr/share/postgresql/13/extension/{name}{dash}.{end}")
    });
    let paths = files.clone();
    let _remove = Afterwards(move || paths.iter().for_each(|file| drop(std::fs::remove_file(file))));
    std::fs::write(&files[0], "default_version = '1'\n").unwrap();
    std::fs::write(&files[1], "CREATE TYPE shade AS ENUM ('dark');\n").unwrap();
    run("chmod", &["644", &files[0], &files[1]]);
    ask(&format!("CREATE EXTENSION {name}; CREATE TABLE shades AS SELECT 'dark'::shade"));
    leads_back(&rig, "dump", &["extensions"], &["is not available"]);
    ask(&format!("DROP TABLE shades; DROP EXTENSION {name}"));

    // An aggregate over a function that is another one in the new major.
    ask("CREATE AGGREGATE gather (anyelement) (SFUNC = array_append, STYPE = anyarray, INITCOND = '{}')");
    let (_, said) = rig.upgrade(5, &["--method", "dump"]);
    assert!(said.contains("[definitions]") && said.contains("array_append"), "{said}");
    rig.is_as_before();
    leads_back(&rig, "dump", &["definitions"], &["array_append", "gather"]);
    ask("DROP AGGREGATE gather (anyelement)");

    // A transaction that waits for its second phase.
    ask("CREATE TABLE waiting (n int); BEGIN; INSERT INTO waiting VALUES (1); PREPARE TRANSACTION 'left'");
    leads_back(&rig, "dump", &["prepared"], &["prepared transaction left"]);
    leads_back(&rig, "upgrade", &["prepared", "rehearsal"], &["prepared transactions", "pg_upgrade run failed"]);
    ask("COMMIT PREPARED 'left'");
    assert_eq!(ask("SELECT n FROM waiting"), "1");
    rig.upgrade(0, &["--method", "dump"]);
    rig.is_upgraded();
}

#[test]
fn what_pg_upgrade_does_not_take_is_taken_back() {
    let rig = Rig::new();
    let ask = |sql: &str| rig.site.cluster.query(sql);
    let name = rig.site.cluster.name.clone();
    ask("CREATE DATABASE other");
    ask("ALTER DATABASE other ALLOW_CONNECTIONS false");
    leads_back(&rig, "upgrade", &["connections", "rehearsal"], &["datallowconn", "pg_upgrade run failed"]);
    ask("ALTER DATABASE other ALLOW_CONNECTIONS true");

    // A locale that this machine has lost: the database cannot even be read, so nothing is let through.
    ask("UPDATE pg_database SET datcollate = 'xx_XX.UTF-8' WHERE datname = 'other'");
    rig.upgrade(5, &["--shared-cluster", "--accept", "locales", "--accept", "rehearsal", "--accept", "readable"]);
    rig.is_as_before();
    ask("DROP DATABASE other");

    // A library to preload that the new major does not have: its server does not start.
    let library = format!("/usr/lib/postgresql/13/lib/{name}.so");
    let path = library.clone();
    let _remove = Afterwards(move || drop(std::fs::remove_file(&path)));
    std::fs::copy("/usr/lib/postgresql/13/lib/auto_explain.so", &library).unwrap();
    run("pg_conftool", &["13", &name, "set", "shared_preload_libraries", &name]);
    run("pg_ctlcluster", &["13", &name, "restart"]);
    for method in ["upgrade", "dump"] {
        leads_back(&rig, method, &["libraries", "rehearsal"], &["could not access file", "failure", "Could not start"]);
    }
    run("pg_conftool", &["13", &name, "remove", "shared_preload_libraries"]);
    run("pg_ctlcluster", &["13", &name, "restart"]);
    rig.upgrade(0, &[]);
    rig.is_upgraded();
}

/// A setting of the old major that keeps the server of the new one from starting: no rehearsal starts it.
#[test]
fn the_reason_that_only_pg_upgrade_knows_is_told_and_kept() {
    let rig = Rig::new();
    let ask = |sql: &str| rig.site.cluster.query(sql);
    // `pg_upgrade` dumps it with the roles, and the new major does not know it (gone from 14).
    ask("ALTER ROLE mmuser SET operator_precedence_warning = on");
    let (document, said) = rig.upgrade(6, &["--method", "upgrade"]);
    rig.is_as_before();
    let reason = "unrecognized configuration parameter \"operator_precedence_warning\"";
    assert!(document["error"]["causes"].to_string().contains(&reason.replace('"', "\\\"")), "{said}");
    let log = find_below(&rig.site.state(), "pgbump.log").unwrap();
    assert!(said.contains(log.to_str().unwrap()), "{said}");
    assert!(std::fs::read_to_string(&log).unwrap().contains(reason));
    ask("ALTER ROLE mmuser RESET operator_precedence_warning");

    let hba = rig.configuration(13).join("pg_hba.conf");
    let text = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("{text}hostssl all all 10.0.0.1/32 cert clientcert=1\n")).unwrap();
    let (document, said) = rig.upgrade(6, &["--method", "upgrade"]);
    rig.is_as_before();
    assert!(document["error"]["causes"].to_string().contains("clientcert"), "{said}");
    std::fs::write(&hba, text).unwrap();
}

/// The disk of the data has room, that of a tablespace has none: it is found. Accepted, `pg_upgradecluster` says `Success`,
/// and the table is empty.
#[test]
fn a_tablespace_that_runs_full_is_noticed() {
    let rig = Rig::new();
    let shelf = rig.site.directory().join("shelf");
    std::fs::create_dir(&shelf).unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=14m,mode=755", "tmpfs", shelf.to_str().unwrap()]);
    let place = shelf.clone();
    let _unmount = Afterwards(move || {
        let _ = Command::new("umount").arg("-l").arg(&place).status();
    });
    run("chown", &["postgres:", shelf.to_str().unwrap()]);
    run("chmod", &["a+x", rig.site.directory().to_str().unwrap()]);
    rig.site.cluster.query(&format!("CREATE TABLESPACE shelf LOCATION '{}'", shelf.display()));
    rig.site.cluster.query(
        "CREATE TABLE large TABLESPACE shelf AS SELECT n, repeat('x', 1000) AS t FROM generate_series(1, 8000) n",
    );
    let (_, said) = rig.upgrade(5, &["--method", "dump"]);
    assert!(said.contains(&format!("bytes needed at `{}", shelf.display())), "{said}");
    leads_back(&rig, "dump", &["disk"], &["No space left on device", "large"]);
    assert_eq!(rig.site.cluster.query("SELECT count(*) FROM large"), "8000");
    assert_eq!(std::fs::read_dir(&shelf).unwrap().count(), 1, "the part of the new cluster is left over");
    rig.drop_clusters();
}

/// Hard links do not lead to another file system; files are copied there. A configuration directory that somebody has
/// prepared for the new cluster is in nobody's way.
#[test]
fn a_link_to_another_file_system_is_found_and_taken_back() {
    let rig = Rig::new();
    let disk = rig.site.directory().join("disk");
    let old = disk.join("13");
    std::fs::create_dir_all(&old).unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=400m,mode=755", "tmpfs", old.to_str().unwrap()]);
    let _unmount = Afterwards(move || {
        let _ = Command::new("umount").arg("-l").arg(&old).status();
    });
    rig.move_data(&disk);
    let word = "cross-device link";
    let (_, said) = rig.upgrade(5, &["--method", "link"]);
    assert!(said.contains(word), "{said}");
    leads_back(&rig, "link", &["rehearsal"], &[word, "pg_upgrade run failed"]);

    let prepared = std::path::Path::new("/etc/postgresql/15").join(&rig.site.cluster.name);
    std::fs::create_dir_all(&prepared).unwrap();
    run("chown", &["postgres:", prepared.to_str().unwrap()]);
    rig.upgrade(0, &["--method", "upgrade"]);
    rig.is_upgraded();
    rig.drop_clusters();
}
