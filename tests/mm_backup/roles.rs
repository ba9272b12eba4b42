//! What has become of the roles since a restore point was made, and rows that a role does not see: found before anything is
//! stopped or stored.

use mm_test_support::layout::set_peer;
use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::{Value, json};

use crate::{listed, make};

/// Restores the newest point with these flags; the answer is the document, and what was said.
fn restore(site: &Site, flags: &[&str], code: i32) -> (Value, String) {
    let restore = ["restore", "latest", "-v"];
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(restore).args(flags).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{flags:?}: {said}");
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

/// Enters as this role from now on, with this password.
fn enter(site: &Site, role: &str, password: &str) {
    let port = site.cluster.port;
    let source = format!("postgres://{role}:{password}@127.0.0.1:{port}/mattermost?sslmode=disable&connect_timeout=10");
    site.set("SqlSettings", "DataSource", json!(source));
}

fn hint(document: &Value) -> String {
    document["error"]["hint"].as_str().unwrap().to_owned()
}

#[test]
fn a_role_that_was_renamed_or_given_another_password_since_is_found_before_the_server_is_stopped() {
    let site = Site::builder("10.5.14").running().build();
    make(&site, &["--stop"]);
    let pids = site.pids();
    let databases = || site.cluster.sql("postgres", "SELECT count(*) FROM pg_database");
    let before = databases();

    // Another password: the restored configuration would have the former one.
    site.cluster.query("ALTER ROLE mmuser PASSWORD 'geheim'");
    enter(&site, "mmuser", "geheim");
    for flags in [&["--stop", "--dry-run"][..], &["--stop"]] {
        let (document, said) = restore(&site, flags, 5);
        assert!(said.contains("the restored configuration would not let the server into its database"), "{said}");
        assert!(hint(&document).contains("\\password in psql") && !said.contains("geheim"), "{said}");
    }
    assert_eq!((site.pids(), databases()), (pids.clone(), before.clone()), "something was touched");
    let (_, said) = restore(&site, &["--config", "--stop", "--leave-stopped"], 0);
    assert!(said.contains("the restored configuration would not let the server into its database"), "{said}");
    enter(&site, "mmuser", "geheim");
    site.start();
    let pids = site.pids();

    // Another name: what is restored belongs to a role that is not there.
    site.cluster.query("ALTER ROLE mmuser RENAME TO messages; ALTER ROLE messages PASSWORD 'geheim'");
    enter(&site, "messages", "geheim");
    for flags in [&["--database", "--stop", "--dry-run"][..], &["--database", "--stop"]] {
        let (document, said) = restore(&site, flags, 5);
        assert!(said.contains("`mmuser`'s, and was renamed or dropped since; `messages` had nothing there"), "{said}");
        assert!(hint(&document).contains("CREATE ROLE \"mmuser\"; GRANT \"mmuser\" TO \"messages\""), "{document}");
    }
    assert_eq!((site.pids(), databases()), (pids, before), "something was touched");
    let (document, _) = restore(&site, &["--database", "--stop"], 5);
    process::run("sh", &["-c", &hint(&document)]);
    site.cluster.query("DELETE FROM posts");
    restore(&site, &["--database", "--stop"], 0);
    assert!(site.answers());
    assert_eq!(site.cluster.query("SELECT count(*) FROM posts"), "100");

    // All of it, as it was: the role of then is made, and the configuration of then gets in.
    site.cluster.query("REASSIGN OWNED BY mmuser TO messages; DROP OWNED BY mmuser; DROP ROLE mmuser");
    restore(&site, &["--stop", "--dry-run"], 0);
    restore(&site, &["--stop"], 0);
    assert!(site.answers() && site.config()["SqlSettings"]["DataSource"].as_str().unwrap().contains("//mmuser:"));
    // Said, as it is not a restore's to change.
    site.cluster.query("ALTER ROLE mmuser CREATEDB");
    let (_, said) = restore(&site, &["--database", "--stop"], 0);
    assert!(
        said.contains("the role mmuser is not as it was when the restore point was made")
            && said.contains("it has CREATEDB"),
        "{said}"
    );
}

/// Where no superuser is in reach, what only one could make or read is found before anything is begun.
#[test]
fn rows_that_policies_hide_and_roles_that_are_gone_are_found_where_there_is_no_superuser() {
    let site = Site::builder("5.29.0").build();
    site.cluster.query(
        "CREATE ROLE reader; ALTER ROLE mmuser CREATEDB; SET SESSION AUTHORIZATION mmuser; GRANT SELECT ON posts TO reader;
         SELECT lo_from_bytea(4711, 'one'); GRANT SELECT ON LARGE OBJECT 4711 TO reader;
         ALTER TABLE posts ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON posts USING (createat % 2 = 0)",
    );
    let superuser = |sql: &str| {
        set_peer(&site.cluster, true);
        let said = site.cluster.query(sql);
        set_peer(&site.cluster, false);
        said
    };
    // A policy that does not hold for the owner hides nothing from it.
    set_peer(&site.cluster, false);
    make(&site, &[]);
    let (_, said) = restore(&site, &["--database"], 0);
    assert!(!said.contains("large objects are others"), "{said}");
    assert_eq!(superuser("SELECT count(*) FROM posts"), "100");

    superuser("ALTER TABLE posts FORCE ROW LEVEL SECURITY");
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(
        said.contains("of 1 of its tables hold for that role: public.posts") && said.contains("BYPASSRLS"),
        "{said}"
    );
    assert_eq!(listed(&site).0.len(), 1);
    superuser("ALTER ROLE mmuser BYPASSRLS");
    make(&site, &[]);
    restore(&site, &["--database"], 0);
    superuser("ALTER ROLE mmuser NOBYPASSRLS");
    let (_, said) = restore(&site, &["--database"], 5);
    assert!(said.contains("what is restored as the server's role could not be compared"), "{said}");

    superuser("ALTER ROLE mmuser BYPASSRLS; ALTER ROLE reader RENAME TO readers");
    let (document, said) = restore(&site, &["--database"], 5);
    assert!(
        said.contains("are not there any more: reader") && hint(&document).contains("CREATE ROLE \"reader\""),
        "{said}"
    );
    set_peer(&site.cluster, true);
    assert_eq!(site.cluster.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE '%mm_new%'"), "0");
}
