//! What mm-pgbump refuses to touch, with what to do instead; and what it only says a word about.

use std::process::Command;
use std::time::Duration;

use mm_test_support::process::{free_port, run, wait_until};

use crate::rig::{Afterwards, Rig, check_of};

/// A server that no `pg_lsclusters` knows: for the tool it is the same as a managed one, one in a container, or one in the
/// layout of another distribution.
#[test]
fn a_database_that_is_in_no_cluster_of_this_machine_is_refused_with_the_way_to_do_it() {
    let rig = Rig::new();
    let data = rig.site.directory().join("elsewhere");
    let (data, port) = (data.to_str().unwrap(), free_port());
    run("install", &["-d", "-o", "postgres", "-m", "700", data]);
    let as_postgres = |program: &str, arguments: &[&str]| {
        let program = format!("/usr/lib/postgresql/13/bin/{program}");
        run("runuser", &[&["-u", "postgres", "--", &program], arguments].concat())
    };
    as_postgres("initdb", &["--no-sync", "--auth=trust", "-D", data]);
    let options = format!("-p {port} -c unix_socket_directories={data} -c fsync=off");
    let log = format!("{data}/log");
    as_postgres("pg_ctl", &["start", "--wait", "--silent", "-D", data, "-l", &log, "-o", &options]);
    let place = data.to_owned();
    let _stop = Afterwards(move || {
        let program = "/usr/lib/postgresql/13/bin/pg_ctl";
        let _ = Command::new("runuser")
            .args(["-u", "postgres", "--", program, "stop", "-m", "immediate", "-D", &place])
            .status();
    });
    as_postgres(
        "psql",
        &["-Xqw", "-h", data, "-p", &port.to_string(), "-d", "postgres", "-c", "CREATE DATABASE mattermost"],
    );

    let source = format!("postgres://postgres:x@127.0.0.1:{port}/mattermost?sslmode=disable");
    let before = rig.site.config()["SqlSettings"]["DataSource"].clone();
    rig.site.set("SqlSettings", "DataSource", source.into());
    for arguments in [&["check", "--to", "15"] as &[&str], &["--to", "15", "--no-backup"]] {
        let (document, said) = rig.pgbump(5, arguments);
        assert!(said.contains("none of this machine's Debian clusters"), "{said}");
        let hint = document["error"]["hint"].as_str().unwrap();
        for word in ["managed service", "mm-pgbump check --target FILE", "mm-pgbump move --target FILE"] {
            assert!(hint.contains(word), "{word}: {hint}");
        }
    }
    rig.site.set("SqlSettings", "DataSource", before);
    // The cluster that is named has to be the server's.
    assert!(rig.upgrade(5, &["--cluster", "13/another"]).1.contains("is not in the cluster 13/another"));
    rig.is_as_before();
}

/// "Needs no upgrade" would be read as: it is on 12, or can be.
#[test]
fn an_earlier_major_is_refused_and_swap_is_no_method() {
    let rig = Rig::new();
    for arguments in [&["check", "--to", "12"] as &[&str], &["--to", "12", "--no-backup"], &["--to", "12", "--dry-run"]]
    {
        let (document, said) = rig.pgbump(5, arguments);
        assert!(said.contains("PostgreSQL cannot be downgraded to 12"), "{said}");
        assert!(document["error"]["hint"].as_str().unwrap().contains("ask for 13 or later"), "{said}");
    }
    assert!(rig.pgbump(0, &["check", "--to", "13"]).1.contains("needs no upgrade"));
    let output = rig.site.tool("mm-pgbump").args(["check", "--to", "15", "--method", "swap"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("there is no way back"), "{said}");
    rig.is_as_before();
}

#[test]
fn what_is_in_the_way_of_the_new_cluster_is_found_and_left_alone() {
    let rig = Rig::new().enrich();
    // A major that is not installed.
    let (document, said) = rig.pgbump(4, &["check", "--to", "39", "--shared-cluster"]);
    let check = check_of(&document, "programs");
    assert!(
        check["status"] == "fail" && check["hint"].as_str().unwrap().contains("apt-get install postgresql-39"),
        "{said}"
    );

    // What is left of something else, where the new cluster and its part of a tablespace would be.
    let data = rig.data(15);
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("kept"), "ours").unwrap();
    let shelf = rig.site.directory().join("tablespace/PG_15_202209061");
    std::fs::create_dir(&shelf).unwrap();
    std::fs::write(shelf.join("kept"), "ours").unwrap();
    let (document, said) = rig.pgbump(4, &["check", "--to", "15", "--shared-cluster"]);
    assert!(check_of(&document, "target")["evidence"].as_str().unwrap().contains("though it is no cluster"), "{said}");
    assert!(check_of(&document, "tablespaces")["evidence"].as_str().unwrap().contains("PG_15_202209061"), "{said}");
    rig.upgrade(5, &["--shared-cluster"]);
    for path in [&data, &shelf] {
        assert_eq!(std::fs::read_to_string(path.join("kept")).unwrap(), "ours");
        std::fs::remove_dir_all(path).unwrap();
    }
    rig.is_as_before();
}

#[test]
fn what_does_not_survive_is_said_and_stands_in_nobodys_way() {
    let rig = Rig::new();
    let name = &rig.site.cluster.name;
    let ask = |sql: &str| rig.site.cluster.query(sql);
    ask("ALTER SYSTEM SET archive_mode = 'on'");
    ask("ALTER SYSTEM SET archive_command = '/bin/true'");
    ask("CREATE TABLE halves AS SELECT 1 AS n; CREATE INDEX halves_n ON halves (n)");
    ask("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'halves_n'::regclass");
    ask("UPDATE pg_collation SET collversion = '1' WHERE collname = 'en-US-x-icu'");
    run("pg_ctlcluster", &["13", name, "stop"]);
    let (inside, outside) = (rig.data(13).join("pg_wal"), rig.site.directory().join("wal"));
    run("mv", &[inside.to_str().unwrap(), outside.to_str().unwrap()]);
    std::os::unix::fs::symlink(&outside, &inside).unwrap();
    run("chmod", &["a+x", rig.site.directory().to_str().unwrap()]);
    run("pg_ctlcluster", &["13", name, "start"]);

    let (document, said) = rig.upgrade(0, &[]);
    for (id, word) in [
        ("archiving", "/bin/true"),
        ("invalid-indexes", "mattermost: public.halves_n"),
        ("collation", "en-US-x-icu was 1"),
        ("log-directory", outside.to_str().unwrap()),
    ] {
        let check = check_of(&document, id);
        assert!(check["status"] == "warn" && check["evidence"].as_str().unwrap().contains(word), "{check}");
        assert!(said.contains(&format!("[{id}]")), "{id}: {said}");
    }
    rig.is_upgraded();
}

#[test]
fn each_method_is_told_the_space_that_it_needs() {
    let rig = Rig::new();
    let needed = |method: &str| {
        let (document, _) =
            rig.pgbump(if method == "clone" { 4 } else { 0 }, &["check", "--to", "15", "--method", method]);
        let evidence = check_of(&document, "disk")["evidence"].as_str().unwrap().to_owned();
        evidence.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let [link, clone, copy, dump] = ["link", "clone", "upgrade", "dump"].map(needed);
    assert!(link == clone && clone < copy && copy < dump, "{link} {clone} {copy} {dump}");
}

/// The new server would not start any more once the old cluster is dropped with what its settings name.
#[test]
fn what_points_into_the_old_cluster_is_found_before_the_upgrade_and_before_it_is_dropped() {
    let rig = Rig::new();
    let (data, name) = (rig.data(13), rig.site.cluster.name.clone());
    let link = rig.site.directory().join("data-link");
    std::os::unix::fs::symlink(&data, &link).unwrap();
    let ask = |sql: &str| rig.site.cluster.sql("postgres", sql);
    let set = |key: &str, value: &str| {
        let change = if value.is_empty() { format!("RESET {key}") } else { format!("SET {key} = '{value}'") };
        ask(&format!("ALTER SYSTEM {change}"));
        ask("SELECT pg_reload_conf()");
        wait_until("the setting", Duration::from_secs(60), || ask(&format!("SHOW {key}")) == value);
    };
    // Those that Debian carries along are none.
    std::fs::write(data.join("server.crt"), "").unwrap();
    rig.pgbump(0, &["check", "--to", "15"]);
    std::fs::remove_file(data.join("server.crt")).unwrap();

    let inside = format!("{}/crl.pem", data.display());
    let linked = format!("{}/dh.pem", link.display());
    for (key, value) in [("ssl_ca_file", "our-ca.crt"), ("ssl_crl_file", &inside), ("ssl_dh_params_file", &linked)] {
        let word = value.rsplit('/').next().unwrap();
        std::fs::write(data.join(word), "").unwrap();
        set(key, value);
        let (document, said) = rig.pgbump(4, &["check", "--to", "15"]);
        let check = check_of(&document, "references");
        assert!(check["status"] == "fail" && check["evidence"].as_str().unwrap().contains(word), "{said}");
        set(key, "");
    }
    rig.upgrade(0, &[]);

    // Somebody has set it since.
    set("ssl_crl_file", &inside);
    let said = rig.pgbump(5, &["drop-old", "--force"]).1;
    assert!(said.contains(&format!("needs files of 13/{name}")) && said.contains("crl.pem"), "{said}");
    assert!(data.is_dir());
    set("ssl_crl_file", "");
    rig.pgbump(0, &["drop-old", "--force"]);
    assert!(!data.exists());
    rig.serves("15");
}
