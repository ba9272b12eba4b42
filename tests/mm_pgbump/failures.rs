//! What goes wrong with a major upgrade, made to happen on real clusters: found before, or caught after, and the old
//! cluster serves.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mm_test_support::process::{TEST_USER, run, wait_until};

use crate::rig::{Afterwards, Rig, check_of};

fn owner_gets_in(rig: &Rig) -> bool {
    let port = rig.site.cluster.port.to_string();
    let arguments = ["-u", "postgres", "--", "psql", "-XqAtw", "-p", &port, "-d", "postgres", "-c", "SELECT 1"];
    Command::new("runuser").args(arguments).output().unwrap().status.success()
}

#[test]
fn what_would_fail_is_found_before_anything_is_touched() {
    let rig = Rig::new();
    let name = rig.site.cluster.name.clone();
    rig.site.cluster.sql("postgres", "ALTER SYSTEM SET max_prepared_transactions = 2");
    run("pg_ctlcluster", &["13", &name, "restart"]);

    // An extension and a library that only the old major has.
    let library = format!("/usr/lib/postgresql/13/lib/{name}.so");
    let control = format!("/usr/share/postgresql/13/extension/{name}.control");
    let script = format!("/usr/share/postgresql/13/extension/{name}--1.sql");
    let files = [library.clone(), control.clone(), script.clone()];
    let _remove = Afterwards(|| {
        for file in &files {
            let _ = std::fs::remove_file(file);
        }
    });
    std::fs::copy("/usr/lib/postgresql/13/lib/auto_explain.so", &library).unwrap();
    std::fs::write(&control, "default_version = '1'\n").unwrap();
    std::fs::write(&script, "SELECT 1;\n").unwrap();
    run("chmod", &["644", &control, &script, &library]);

    let extension = format!("CREATE EXTENSION {name}");
    // Of a database, so that it holds for the next session, and not only once the server has read its files again.
    let preload = format!("ALTER DATABASE mattermost SET session_preload_libraries = '{name}'");
    rig.finds(&[
        ("extensions", &name, &extension, &extension.replace("CREATE", "DROP")),
        ("libraries", &name, &preload, "ALTER DATABASE mattermost RESET session_preload_libraries"),
        (
            "prepared",
            "left",
            "CREATE TABLE t (x int); BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'left'",
            "ROLLBACK PREPARED 'left'",
        ),
        (
            "replication",
            "slot kept",
            "SELECT pg_create_physical_replication_slot('kept')",
            "SELECT pg_drop_replication_slot('kept')",
        ),
        (
            "replication",
            "subscription told of mattermost",
            "CREATE SUBSCRIPTION told CONNECTION 'host=/nowhere dbname=x' PUBLICATION p WITH (connect = false, slot_name = 'p'); ALTER SUBSCRIPTION told ENABLE",
            "ALTER SUBSCRIPTION told DISABLE; ALTER SUBSCRIPTION told SET (slot_name = NONE); DROP SUBSCRIPTION told",
        ),
        ("other-databases", "other of postgres", "CREATE DATABASE other", "SELECT 1"),
        ("duplicates", "has 1 of its keys more than once", DUPLICATE, "DROP TABLE labels"),
    ]);
    rig.finds(&[(
        "rehearsal",
        "public.gather(anyelement)",
        "CREATE AGGREGATE gather (anyelement) (SFUNC = array_append, STYPE = anyarray, INITCOND = '{}')",
        "DROP AGGREGATE gather (anyelement)",
    )]);
    rig.site.cluster.query("CREATE DATABASE foreign_words");
    rig.finds(&[
        ("connections", "other", "ALTER DATABASE other ALLOW_CONNECTIONS false", "DROP DATABASE other"),
        (
            "locales",
            "xx_XX.UTF-8",
            "UPDATE pg_database SET datcollate = 'xx_XX.UTF-8' WHERE datname = 'foreign_words'",
            "DROP DATABASE foreign_words",
        ),
    ]);

    // A cluster whose owner may not get in.
    let hba = rig.configuration(13).join("pg_hba.conf");
    let text = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("host all mmuser 127.0.0.1/32 md5\nlocal all all reject\n{text}")).unwrap();
    run("pg_ctlcluster", &["13", &name, "reload"]);
    wait_until("the owner to be turned away", Duration::from_secs(60), || !owner_gets_in(&rig));
    let (document, said) = rig.pgbump(4, &["check", "--to", "15"]);
    assert_eq!(check_of(&document, "superuser")["status"], "fail", "{said}");
    assert!(said.contains("local all postgres peer"), "{said}");
    std::fs::write(&hba, text).unwrap();
    run("pg_ctlcluster", &["13", &name, "reload"]);
    wait_until("the owner to get in", Duration::from_secs(60), || owner_gets_in(&rig));

    // A setting in conf.d that the new major does not know.
    let part = rig.configuration(13).join("conf.d/ours.conf");
    std::fs::write(&part, "vacuum_cleanup_index_scale_factor = 0.2\n").unwrap();
    let (document, _) = rig.pgbump(4, &["check", "--to", "15"]);
    assert!(
        check_of(&document, "settings")["evidence"].as_str().unwrap().contains("vacuum_cleanup_index_scale_factor")
    );
    std::fs::remove_file(&part).unwrap();

    // A method that this file system does not have.
    let (document, _) = rig.pgbump(4, &["check", "--to", "15", "--method", "clone"]);
    assert!(check_of(&document, "rehearsal")["evidence"].as_str().unwrap().contains("could not clone file"));

    rig.pgbump(0, &["check", "--to", "15"]);
    rig.is_as_before();
}

/// As a collation leaves it that the system has changed under the index: a key twice under a unique index.
const DUPLICATE: &str = "CREATE TABLE labels (name text); CREATE UNIQUE INDEX labels_name_key ON labels (name); \
    INSERT INTO labels SELECT 'n' || n FROM generate_series(1, 1000) n; \
    UPDATE pg_index SET indisunique = false WHERE indexrelid = 'labels_name_key'::regclass; \
    INSERT INTO labels VALUES ('n1'); \
    UPDATE pg_index SET indisunique = true WHERE indexrelid = 'labels_name_key'::regclass;";

#[test]
fn a_table_that_a_dump_loses_without_a_word_is_caught() {
    let rig = Rig::running();
    rig.site.cluster.query(DUPLICATE);
    // Found before; forced through, caught after.
    assert!(rig.upgrade(5, &["--method", "dump"]).1.contains("[duplicates]"));
    let (document, said) = rig.upgrade(6, &["--method", "dump", "--accept", "duplicates"]);
    assert_eq!(document["error"]["kind"], "rolled-back");
    assert!(said.contains("duplicate key value violates unique constraint"), "{said}");
    rig.is_as_before();
    assert_eq!(rig.site.cluster.query("SELECT count(*) FROM labels"), "1001");
    wait_until("the server", Duration::from_secs(60), || rig.site.answers());
    // pg_upgrade takes the files as they are: nothing is lost.
    rig.upgrade(0, &["--accept", "duplicates"]);
    rig.is_upgraded();
    assert_eq!(rig.site.cluster.query("SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SET enable_indexscan = off; SELECT count(*) FROM labels"), "1001");
}

#[test]
fn what_pg_upgradecluster_says_nothing_of_is_caught_by_the_proof() {
    let rig = Rig::new();
    // It can be filled no more: a dump leaves it empty, and pg_upgradecluster is content.
    rig.site.cluster.query(
        "CREATE TABLE divisors (n int); INSERT INTO divisors VALUES (1); \
         CREATE MATERIALIZED VIEW shares AS SELECT 1 / n AS share FROM divisors; INSERT INTO divisors VALUES (0)",
    );
    let (_, said) = rig.upgrade(6, &["--method", "dump"]);
    assert!(said.contains("does not hold what") && said.contains("shares"), "{said}");
    rig.is_as_before();
    assert_eq!(rig.site.cluster.query("SELECT share FROM shares"), "1");
}

#[test]
fn a_check_that_needs_another_table_is_caught() {
    let rig = Rig::new();
    rig.site.cluster.query(
        "CREATE TABLE zz_owners (id int); INSERT INTO zz_owners VALUES (1); \
         CREATE FUNCTION known(int) RETURNS bool LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM zz_owners WHERE id = $1)'; \
         CREATE TABLE aa_things (owner int CHECK (known(owner))); INSERT INTO aa_things VALUES (1)",
    );
    let (_, said) = rig.upgrade(6, &["--method", "dump"]);
    assert!(said.contains("aa_things"), "{said}");
    rig.is_as_before();
    rig.upgrade(0, &[]);
    rig.is_upgraded();
}

#[test]
fn a_damaged_page_is_found_and_not_carried_over() {
    let rig = Rig::new();
    rig.site
        .cluster
        .query("CREATE TABLE torn AS SELECT n, repeat('x', 500) AS t FROM generate_series(1, 1000) n; CHECKPOINT");
    let file = rig.data(13).join(rig.site.cluster.query("SELECT pg_relation_filepath('torn')"));
    run("pg_ctlcluster", &["13", &rig.site.cluster.name, "stop"]);
    let mut page = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    page.seek(SeekFrom::Start(8192 * 5)).unwrap();
    page.write_all(&[0xA5; 8192]).unwrap();
    drop(page);
    run("pg_ctlcluster", &["13", &rig.site.cluster.name, "start"]);
    let (_, said) = rig.upgrade(6, &[]);
    assert!(said.contains("invalid page in block 5"), "{said}");
    rig.is_as_before();
}

#[test]
fn a_cluster_that_lost_its_data_does_not_hide_the_others() {
    let rig = Rig::new();
    // In a list of its own: for whoever asks pg_lsclusters, the others would be gone.
    let root = rig.site.directory().join("etc");
    let stale = root.join("13/stale");
    std::fs::create_dir_all(&stale).unwrap();
    let link = root.join("13").join(&rig.site.cluster.name);
    std::os::unix::fs::symlink(rig.configuration(13), &link).unwrap();
    std::fs::write(stale.join("postgresql.conf"), "data_directory = '/nowhere'\nport = 1\n").unwrap();
    run("chown", &["-R", "postgres:postgres", root.to_str().unwrap()]);
    run("chmod", &["-R", "a+rX", root.to_str().unwrap()]);
    let listed = Command::new("pg_lsclusters").env("PG_CLUSTER_CONF_ROOT", &root).output().unwrap();
    assert!(!listed.status.success(), "pg_lsclusters has learnt it: the test shows nothing any more");
    let check = |code: i32| {
        let mut tool = rig.site.tool("mm-pgbump");
        let output = tool.env("PG_CLUSTER_CONF_ROOT", &root).args(["check", "--to", "15"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    };
    check(0);
    // The link leads to what somebody else may write.
    let theirs = rig.site.directory().join("theirs");
    run("cp", &["-r", rig.configuration(13).to_str().unwrap(), theirs.to_str().unwrap()]);
    run("chown", &["-R", TEST_USER, theirs.to_str().unwrap()]);
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&theirs, &link).unwrap();
    let said = check(1);
    assert!(said.contains("what it leads to does not belong to `postgres`"), "{said}");
}

#[test]
fn a_full_disk_is_seen_before_and_survived_after() {
    let rig = Rig::new();
    let disk = rig.site.directory().join("disk");
    let small = disk.join("15");
    std::fs::create_dir_all(&small).unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=70m", "tmpfs", small.to_str().unwrap()]);
    let unmount = small.clone();
    let _unmount = Afterwards(move || {
        let _ = Command::new("umount").arg("-l").arg(&unmount).status();
    });
    rig.move_data(&disk);
    rig.site.cluster.query("CREATE TABLE large AS SELECT n, repeat('x', 1000) AS t FROM generate_series(1, 60000) n");
    let (_, said) = rig.upgrade(5, &[]);
    assert!(said.contains("[disk]") && said.contains("free"), "{said}");
    for method in ["upgrade", "dump"] {
        let (_, said) = rig.upgrade(6, &["--accept", "disk", "--method", method]);
        assert!(said.contains("No space left on device") || said.contains("server closed the connection"), "{said}");
        assert_eq!(rig.clusters(), [(13, true, "online".to_owned())]);
        assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0, "the failed copy is left over");
        rig.serves("13");
    }
    let _ = Command::new("pg_dropcluster").args(["--stop", "13", &rig.site.cluster.name]).status();
}

#[test]
fn the_data_stays_on_its_own_disk() {
    let rig = Rig::new();
    let disk = rig.site.directory().join("disk");
    rig.move_data(&disk);
    rig.upgrade(0, &[]);
    rig.is_upgraded();
    assert!(disk.join("15").join(&rig.site.cluster.name).join("PG_VERSION").exists());
    for major in ["13", "15"] {
        let _ = Command::new("pg_dropcluster").args(["--stop", major, &rig.site.cluster.name]).status();
    }
}

#[test]
fn a_link_that_fails_half_way_is_undone() {
    let rig = Rig::new();
    rig.site.cluster.query("CREATE TABLE wide AS SELECT repeat('x', 500) AS t FROM generate_series(1, 1000)");
    rig.site.cluster.query("ALTER TABLE wide SET (autovacuum_enabled = false)");
    rig.site.cluster.query("VACUUM wide");
    // So that the server has nothing more to write into it, and nothing to do again should it not end in peace.
    rig.site.cluster.query("CHECKPOINT");
    run("pg_ctlcluster", &["13", &rig.site.cluster.name, "restart"]);
    rig.site.cluster.query("CHECKPOINT");
    // A part of the table that is not read, only linked.
    let file = rig.data(13).join(rig.site.cluster.query("SELECT pg_relation_filepath('wide') || '_fsm'"));
    run("chattr", &["+i", file.to_str().unwrap()]);
    let path = file.clone();
    let _put_back = Afterwards(move || {
        let _ = Command::new("chattr").arg("-i").arg(&path).status();
    });
    let (_, said) = rig.upgrade(6, &["--method", "link"]);
    assert!(said.contains("Operation not permitted") || said.contains("pg_upgrade run failed"), "{said}");
    run("chattr", &["-i", file.to_str().unwrap()]);
    rig.is_as_before();
    rig.upgrade(0, &["--method", "link"]);
    rig.is_upgraded();
}

#[test]
fn hooks_of_the_administrator_that_fail_are_survived() {
    let rig = Rig::new();
    let name = rig.site.cluster.name.clone();
    let hook = PathBuf::from(format!("/etc/postgresql-common/pg_upgradecluster.d/{name}"));
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let path = hook.clone();
    let _remove = Afterwards(move || {
        let _ = std::fs::remove_file(&path);
    });
    for phase in ["init", "finish"] {
        // Other upgrades of this machine are none of its business.
        let script = format!("#!/bin/sh\n[ \"$2\" = {name} ] && [ \"$4\" = {phase} ] && exit 3\nexit 0\n");
        std::fs::write(&hook, script).unwrap();
        run("chmod", &["755", hook.to_str().unwrap()]);
        rig.upgrade(6, &[]);
        rig.is_as_before();
    }
    std::fs::write(&hook, format!("#!/bin/sh\necho \"$4\" >>/tmp/{name}.hook\n")).unwrap();
    let told = PathBuf::from(format!("/tmp/{name}.hook"));
    rig.upgrade(0, &[]);
    rig.is_upgraded();
    assert!(std::fs::read_to_string(&told).unwrap().contains("init\nfinish\n"));
    std::fs::remove_file(&told).unwrap();
}

#[test]
fn a_client_with_an_open_transaction_is_cut_off_and_leaves_nothing() {
    let rig = Rig::new();
    let mut client = Command::new(mm_test_support::cluster::psql())
        .args(["-XqAtw", &rig.site.cluster.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(b"BEGIN; INSERT INTO systems VALUES ('open', 'transaction');\n\\echo ready\n").unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(client.stdout.take().unwrap()), &mut line).unwrap();
    rig.upgrade(0, &[]);
    rig.is_upgraded();
    assert_eq!(rig.site.cluster.query("SELECT count(*) FROM systems WHERE name = 'open'"), "0");
    let _ = client.kill();
    let _ = client.wait();
}

#[test]
fn a_port_taken_in_between_needs_a_person_and_then_one_more_run() {
    let rig = Rig::new();
    let port = rig.site.cluster.port;
    let deadline = Instant::now() + Duration::from_secs(120);
    let thief = std::thread::spawn(move || {
        while Instant::now() < deadline {
            // Only while the cluster is down does this succeed.
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                return Some(listener);
            }
        }
        None
    });
    let (document, said) = rig.upgrade(3, &[]);
    assert!(document["error"]["hint"].as_str().unwrap().contains("run mm-pgbump again"), "{document}");
    assert!(said.contains("Address already in use") || said.contains("could not bind"), "{said}");
    drop(thief.join().unwrap().unwrap());
    rig.upgrade(0, &[]);
    rig.is_upgraded();
}

#[test]
fn a_signal_leads_back() {
    let rig = Rig::new();
    let log = rig.site.state();
    let tool = mm_test_support::tool::executable("mm-pgbump");
    let mut child = Command::new(tool)
        .args(rig.site.flags())
        .args(["--to", "15", "--no-backup"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("pg_upgradecluster", Duration::from_secs(120), || crate::rig::find_below(&log, "pgbump.log").is_some());
    run("kill", &["-TERM", &child.id().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(6));
    rig.is_as_before();
}

/// What waits for somebody else's lock ends when it is asked to, whatever it waits for.
#[test]
fn a_table_that_somebody_holds_is_waited_for_no_longer_than_a_signal() {
    let rig = Rig::new();
    let port = rig.site.cluster.port.to_string();
    let mut holder = Command::new("runuser")
        .args(["-u", "postgres", "--", "psql", "-XqAtw", "-p", &port, "-d", "mattermost"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    holder.stdin.as_mut().unwrap().write_all(b"BEGIN; LOCK TABLE posts IN ACCESS EXCLUSIVE MODE;\n").unwrap();
    let waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'posts'::regclass";
    let held = "SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'posts'::regclass";
    wait_until("the lock", Duration::from_secs(60), || rig.site.cluster.query(held) == "t");
    for words in [&["check", "--to", "15"][..], &["run", "--to", "15", "--no-backup"]] {
        let mut child = Command::new(mm_test_support::tool::executable("mm-pgbump"))
            .args(rig.site.flags())
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("it to wait for the table", Duration::from_secs(120), || rig.site.cluster.query(waits) == "t");
        run("kill", &["-TERM", &child.id().to_string()]);
        let asked = Instant::now();
        let code = child.wait().unwrap().code();
        assert!(asked.elapsed() < Duration::from_secs(10), "{words:?} went on for {:?}", asked.elapsed());
        assert_eq!(code, Some(1), "{words:?}");
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    rig.is_as_before();
}
