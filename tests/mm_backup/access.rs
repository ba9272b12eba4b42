//! However the server gets to its configuration and its database.

use std::fs;

use mm_test_support::cluster::{PASSWORD, TELLTALE, encoded, url};
use mm_test_support::forwarder::{Forwarder, Unanswered};
use mm_test_support::layout::set_peer;
use mm_test_support::pipeline::{plan, run};
use mm_test_support::process;
use mm_test_support::site::{Site, quick};
use serde_json::{Value, json};

use crate::{make, stored, verify};

pub(crate) fn goes_round(site: &Site) {
    let backup = make(site, &[]);
    assert_eq!(backup["database"], true);
    let (code, said) = verify(site, &["--restore"]);
    assert_eq!(code, 0, "{said}");
    site.cluster.query("DELETE FROM posts");
    let restore =
        site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest", "--database"]).output();
    let output = restore.unwrap();
    for stream in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(stream).contains(TELLTALE), "the password is in the output");
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.cluster.query("SELECT count(*) FROM posts").trim(), "100");
}

#[test]
fn a_unix_socket_with_peer_authentication() {
    let site = Site::builder("5.29.0").build();
    site.cluster.sql("postgres", "CREATE ROLE \"mm-test\" LOGIN; GRANT mmuser TO \"mm-test\"");
    let port = site.cluster.port;
    let source = format!("postgres://mm-test@/mattermost?host=/var/run/postgresql&port={port}");
    site.set("SqlSettings", "DataSource", json!(source));
    goes_round(&site);
}

#[test]
fn a_unix_socket_with_a_password() {
    let site = Site::builder("5.29.0").build();
    // Nobody gets in without the password, the cluster's own user neither.
    let (major, name) = (site.cluster.major, &site.cluster.name);
    let hba = format!("/etc/postgresql/{major}/{name}/pg_hba.conf");
    let open = fs::read_to_string(&hba).unwrap();
    site.cluster.sql("postgres", "ALTER ROLE mmuser CREATEDB");
    let rules = |text: &str| {
        fs::write(&hba, text).unwrap();
        process::run("pg_ctlcluster", &[&major.to_string(), name, "reload"]);
    };
    rules("local all mmuser md5\n");
    let (port, password) = (site.cluster.port, encoded(PASSWORD));
    let source = |password: &str| format!("postgres://mmuser:{password}@%2Fvar%2Frun%2Fpostgresql:{port}/mattermost");
    site.set("SqlSettings", "DataSource", json!(source("wrong")));
    let refused = site.tool("mm-backup").arg("--to").arg(site.store()).output().unwrap();
    site.set("SqlSettings", "DataSource", json!(source(&password)));
    let backup = make(&site, &[]);
    let restore =
        site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest", "--database"]).output();
    rules(&open);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("password authentication failed"), "{said}");
    assert_eq!(backup["database"], true);
    let restore = restore.unwrap();
    assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
}

#[test]
fn words_instead_of_a_url() {
    let site = Site::builder("5.29.0").build();
    let password = PASSWORD.replace('\\', r"\\").replace('\'', r"\'");
    let port = site.cluster.port;
    let source =
        format!("host=127.0.0.1 port={port} user=mmuser password='{password}' dbname=mattermost sslmode=disable");
    site.set("SqlSettings", "DataSource", json!(source));
    goes_round(&site);
}

#[test]
fn the_environment_overrides_the_file() {
    let site = Site::builder("5.29.0").build();
    let url = site.cluster.url();
    site.set("SqlSettings", "DataSource", json!("postgres://nobody@127.0.0.1:1/nothing"));
    let file = site.install().join("config/mattermost.environment");
    fs::write(&file, format!("MM_SQLSETTINGS_DATASOURCE='{}'\n", url.replace('\'', "%27"))).unwrap();
    process::run("chown", &["mm-test:mm-test", file.to_str().unwrap()]);
    goes_round(&site);
    let backup = make(&site, &[]);
    assert!(stored(&site, &backup, "config/mattermost.environment").exists());
}

#[test]
fn an_owner_who_may_create_databases_but_is_no_superuser() {
    let site = Site::builder("5.29.0").build();
    // The cluster's own user is locked out: nothing but the password of the server is left.
    let hba = format!("/etc/postgresql/13/{}/pg_hba.conf", site.cluster.name);
    let open = fs::read_to_string(&hba).unwrap();
    site.cluster.sql("postgres", "ALTER ROLE mmuser CREATEDB");
    let close = |locked: bool| {
        // md5 takes passwords that are kept in either way.
        let rules = "local all all reject\nhost all all 127.0.0.1/32 md5\n";
        fs::write(&hba, if locked { rules } else { open.as_str() }).unwrap();
        process::run("pg_ctlcluster", &["13", &site.cluster.name, "reload"]);
    };
    close(true);
    let backup = make(&site, &[]);
    let manifest = fs::read_to_string(backup["manifest"].as_str().unwrap()).unwrap();
    assert!(manifest.contains("\"role_passwords\": false"));
    let restore = || {
        site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest", "--database"]).output().unwrap()
    };
    let output = restore();
    close(false);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    site.cluster.sql("postgres", "ALTER ROLE mmuser NOCREATEDB");
    close(true);
    let output = restore();
    close(false);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(5), "{document}");
    assert!(document["error"]["hint"].as_str().unwrap().contains("CREATEDB"), "{document}");
}

/// The files of the old release are kept by exchanging them: where that cannot be, it is said before the server is stopped.
#[test]
fn a_release_that_could_not_be_kept_is_said_before_the_server_is_stopped() {
    let site = Site::builder("10.5.14").running().build();
    let releases = site.releases(&[quick("10.5.14").build(), quick("10.6.1").build()]);
    let hop = plan(&site, &releases, &["--to", "10.6.1"]);
    let bin = site.install().join("bin");
    let bin = bin.to_str().unwrap();
    let pids = site.pids();
    let stops = |flags: &[&str], code: i32| {
        let mut command = site.tool("mm-backup");
        let command = command.arg("--to").arg(site.store()).args(["--stop", "-v"]).args(flags);
        let output = command.write_stdin(hop.to_string()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {said}");
        said
    };
    process::run("chattr", &["+i", bin]);
    let said = stops(&[], 5);
    assert!(said.contains("the old release could not be kept beside the new one") && said.contains("lsattr"), "{said}");
    assert_eq!((site.pids(), fs::exists(site.store()).unwrap()), (pids, false), "something was touched");
    let said = stops(&["--accept", "rollback"], 0);
    assert!(said.contains("the way back is closed [rollback]"), "{said}");
    process::run("chattr", &["-i", bin]);
    let said = stops(&[], 0);
    assert!(!said.contains("way back is closed"), "{said}");
    let left = fs::read_dir(site.install().parent().unwrap()).unwrap().flatten();
    let left: Vec<_> =
        left.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("mm-trial")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A role that is no superuser makes what is its own. The rest is left out by name, and so is what it cannot compare.
#[test]
fn what_only_a_superuser_makes_is_named_where_there_is_none() {
    let site = Site::builder("5.29.0").build();
    site.cluster.query(
        "CREATE ROLE reader; ALTER ROLE mmuser CREATEDB; CREATE EXTENSION pg_trgm; CREATE EXTENSION pg_stat_statements;
         GRANT EXECUTE ON FUNCTION similarity(text, text) TO reader; GRANT USAGE ON SCHEMA public TO reader WITH GRANT OPTION;
         ALTER DATABASE mattermost SET work_mem = '5MB'; SET SESSION AUTHORIZATION mmuser;
         CREATE INDEX words ON posts USING gin (message gin_trgm_ops)",
    );
    set_peer(&site.cluster, false);
    make(&site, &[]);
    let restore = ["restore", "latest", "--database", "-v"];
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(restore).output().unwrap();
    set_peer(&site.cluster, true);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for word in [
        "`ACL public.FUNCTION similarity(text, text)` is left out",
        "`EXTENSION pg_stat_statements` is left out",
        "SCHEMA public: it was `owner \"postgres\";",
        "not compared, as the server's role is no superuser: the passwords of roles",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let there = "SELECT count(*) FROM pg_extension WHERE extname LIKE 'pg\\_%'";
    assert_eq!(site.cluster.query(there), "1");
    assert_eq!(site.cluster.query("SHOW work_mem"), "5MB");
}

/// Nothing but the password of the server is left, and its role may create no database: what brings the database back is
/// tried before the server is stopped.
#[test]
fn a_way_back_that_is_closed_is_said_before_the_server_is_stopped_with_what_opens_it() {
    let site = Site::builder("10.5.14").running().build();
    let releases = site.releases(&[quick("10.5.14").build(), quick("10.6.1").build()]);
    let hop = plan(&site, &releases, &["--to", "10.6.1"]);
    let fetch = format!(
        "mm-fetch {} --mirror {} --catalogue {} --cache {}",
        site.flags().join(" "),
        releases.site.url(),
        releases.catalogue.display(),
        site.cache().display()
    );
    let hop = run(&fetch, &hop).good().to_string();
    let hba = format!("/etc/postgresql/13/{}/pg_hba.conf", site.cluster.name);
    let open = fs::read_to_string(&hba).unwrap();
    let superuser = |sql: &str| {
        fs::write(&hba, &open).unwrap();
        process::run("pg_ctlcluster", &["13", &site.cluster.name, "reload"]);
        let said = if sql.is_empty() { String::new() } else { site.cluster.sql("postgres", sql) };
        fs::write(&hba, "local all all reject\nhost all all 127.0.0.1/32 md5\n").unwrap();
        process::run("pg_ctlcluster", &["13", &site.cluster.name, "reload"]);
        said
    };
    superuser("");
    let runs = |tool: &str, words: &[&str], document: &str, code: i32| {
        let mut command = site.tool(tool);
        if tool == "mm-backup" {
            command.arg("--to").arg(site.store());
        }
        let output = command.args(words).write_stdin(document).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{tool} {words:?}: {said}");
        (serde_json::from_slice::<Value>(&output.stdout).unwrap(), said)
    };
    let pids = site.pids();
    let fix = "ALTER ROLE mmuser CREATEDB";
    let (document, _) = runs("mm-backup", &["--stop", "--leave-stopped"], &hop, 5);
    let hint = document["error"]["hint"].as_str().unwrap();
    assert!(hint.contains(fix) && hint.contains("--accept rollback"), "{document}");
    let (document, _) = runs("mm-pgbump", &["check"], &hop, 4);
    let check = &document["pgbump"]["checks"][0];
    assert!(check["id"] == "rollback" && check["hint"].as_str().unwrap().contains(fix), "{document}");
    runs("mm-pgbump", &["check", "--accept", "rollback"], &hop, 0);
    assert_eq!((site.pids(), fs::exists(site.store()).unwrap()), (pids.clone(), false), "something was touched");
    // Of no hop: it is made, and it is said.
    let (_, said) = runs("mm-backup", &["--stop"], "", 0);
    assert!(said.contains("the way back is closed") && said.contains(fix), "{said}");
    let (made, said) = runs("mm-backup", &["--stop", "--accept", "rollback"], &hop, 0);
    assert!(said.contains("the way back is closed"), "{said}");
    // Whoever stops it after that looks as well.
    let pids = site.pids();
    let (document, _) = runs("mm-swap", &[], &made.to_string(), 5);
    assert!(document["error"]["hint"].as_str().unwrap().contains(fix), "{document}");
    assert_eq!(site.pids(), pids);

    superuser(fix);
    // What a killed run has left goes, and nothing new is left.
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'mm_trial_%'";
    let state = fs::read_dir(site.state()).unwrap().flatten().next().unwrap().path();
    let named = format!("printf '%s\\0mattermost\\0%s' '{}' \"$(cat /etc/machine-id)\" | sha256sum", state.display());
    let hash = process::run("sh", &["-c", &named])[..12].to_owned();
    for name in [format!("mm_trial_{hash}"), format!("mm_trial_{hash}_renamed")] {
        superuser(&format!("CREATE DATABASE {name} OWNER mmuser"));
    }
    assert_eq!(superuser(left), "2");
    let (document, _) = runs("mm-pgbump", &["check"], &hop, 0);
    assert_eq!(document["pgbump"]["checks"][0]["status"], "pass", "{document}");
    assert_eq!(superuser(left), "0");
    let (_, said) = runs("mm-backup", &["--stop"], &hop, 0);
    assert!(!said.contains("way back"), "{said}");
    // With a superuser in reach, the role that runs dumps has to be let in.
    fs::write(&hba, "local all postgres peer\nhost mattermost mmuser 127.0.0.1/32 md5\n").unwrap();
    process::run("pg_ctlcluster", &["13", &site.cluster.name, "reload"]);
    let (document, _) = runs("mm-pgbump", &["check"], &hop, 4);
    let hint = document["pgbump"]["checks"][0]["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("local all mm_restore md5"), "{document}");
    fs::write(&hba, &open).unwrap();
    process::run("pg_ctlcluster", &["13", &site.cluster.name, "reload"]);
    runs("mm-pgbump", &["check"], &hop, 0);
}

/// What was given to the database and is not in its dump.
fn given(site: &Site) -> String {
    site.cluster.sql(
        "postgres",
        "SELECT datacl, (SELECT array_agg(coalesce(rolname, '') || ' ' || setconfig::text ORDER BY rolname)
           FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole WHERE setdatabase = pg_database.oid)
         FROM pg_database WHERE datname = 'mattermost'",
    )
}

#[test]
fn rights_and_settings_of_the_database_come_back_as_far_as_they_may_be_set() {
    let site = Site::builder("5.29.0").postgres(15).build();
    site.cluster.sql(
        "postgres",
        "CREATE ROLE \"re porter\"; REVOKE ALL ON DATABASE mattermost FROM PUBLIC;
         GRANT CONNECT, TEMPORARY ON DATABASE mattermost TO \"re porter\";
         ALTER DATABASE mattermost SET search_path TO \"$user\", public, \"an other\";
         ALTER DATABASE mattermost SET \"mm.word\" TO 'it''s \\ one';
         ALTER DATABASE mattermost SET log_lock_waits TO on;
         ALTER ROLE \"re porter\" IN DATABASE mattermost SET work_mem TO '8MB'",
    );
    let before = given(&site);
    make(&site, &[]);
    let restore = || {
        let output =
            site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest", "--database"]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = restore();
    assert_eq!(given(&site), before, "{said}");
    assert!(!said.contains("lacks"), "{said}");

    // Its owner may give rights on it, and settings that any user may change.
    let hba = format!("/etc/postgresql/15/{}/pg_hba.conf", site.cluster.name);
    let open = fs::read_to_string(&hba).unwrap();
    let rules = |text: &str| {
        fs::write(&hba, text).unwrap();
        process::run("pg_ctlcluster", &["15", &site.cluster.name, "reload"]);
    };
    site.cluster.sql("postgres", "ALTER ROLE mmuser CREATEDB");
    rules("local all all reject\nhost all all 127.0.0.1/32 md5\n");
    let said = restore();
    rules(&open);
    assert_eq!(site.cluster.query("SELECT count(*) FROM posts").trim(), "100");
    let after = given(&site);
    for kept in ["\\\"re porter\\\"=Tc", "search_path"] {
        assert!(before.contains(kept) && after.contains(kept), "{kept}: {before} became {after}");
    }
    for lost in ["mm.word (", "log_lock_waits (", "work_mem for \"re porter\" ("] {
        assert!(said.contains(&format!("lacks what was set for it: {lost}")), "{lost}: {said}");
    }
    assert!(!after.contains("log_lock_waits") && !after.contains("work_mem"), "{after}");
}

#[test]
fn a_password_with_every_awkward_character_is_in_nobody_s_sight() {
    // The password of all sites is one; this only makes sure that it stays so.
    for awkward in ['@', ' ', '/', ':', '%', '\'', '"', '\\', '&', '+', '#', '$'] {
        assert!(PASSWORD.contains(awkward) && encoded(PASSWORD) != PASSWORD);
    }
}

/// A connection that is lost at COMMIT says nothing about what has been done: that is looked at.
#[test]
fn an_exchange_of_names_whose_answer_is_lost_is_told_as_it_is() {
    let site = Site::builder("5.29.0").build();
    site.cluster.query("ALTER ROLE mmuser CREATEDB");
    make(&site, &[]);
    let kept = "SELECT count(*) FROM pg_database WHERE datname LIKE 'mattermost\\_mm\\_before\\_%'";
    // As the server's own role, which goes through the tunnel.
    let run = |tunnel: &Forwarder, arguments: &[&str]| {
        site.set("SqlSettings", "DataSource", json!(url(tunnel.port)));
        site.cluster.query("DELETE FROM posts");
        set_peer(&site.cluster, false);
        let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(arguments).output().unwrap();
        set_peer(&site.cluster, true);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let commit = Unanswered { after: "RENAME TO", question: "COMMIT" };
    let restore = ["restore", "latest", "--database"];
    let tunnel = Forwarder::losing(site.cluster.port, commit, false);
    let (code, said) = run(&tunnel, &restore);
    assert!(tunnel.has_come() && code == Some(0), "{said}");
    assert_eq!(site.cluster.query("SELECT count(*) FROM posts"), "100");
    assert_eq!(site.cluster.query(kept), "1");

    // Where the server does not tell either, nobody says that it has failed, and what is true is found when it can be.
    let tunnel = Forwarder::losing(site.cluster.port, commit, true);
    let (code, said) = run(&tunnel, &restore);
    assert!(tunnel.has_come() && code == Some(3) && said.contains("does not tell"), "{said}");
    tunnel.works_again();
    let output = site.tool("mm-backup").arg("recover").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.cluster.query("SELECT count(*) FROM posts"), "100");
    assert_eq!(site.cluster.query(kept), "2");
}
