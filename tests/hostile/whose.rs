//! Whose database it is: a configuration, or a name, that would lead a superuser to somebody else's.

use mm_test_support::site::Site;

use crate::sql::run;

/// A database of somebody else in the same cluster, and what is in it.
pub(crate) fn other_application(site: &Site) -> impl Fn(&Site) -> String + use<> {
    site.cluster.sql("postgres", "CREATE ROLE otherapp LOGIN; CREATE DATABASE otherapp OWNER otherapp");
    site.cluster.sql(
        "otherapp",
        "CREATE TABLE public.bills (n int); INSERT INTO bills VALUES (1), (2); ALTER TABLE bills OWNER TO otherapp",
    );
    |site| {
        let facts = "SELECT (SELECT count(*) FROM public.bills), (SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace > 16000 OR
             relname IN ('users', 'channels')), (SELECT oid FROM pg_database WHERE datname = 'otherapp'),
             (SELECT count(*) FROM pg_database WHERE datname LIKE 'otherapp%')";
        site.cluster.sql("otherapp", facts)
    }
}

fn name_the_database(site: &Site, name: &str) {
    use mm_test_support::cluster::{PASSWORD, encoded};
    let (port, password) = (site.cluster.port, encoded(PASSWORD));
    let source = format!("postgres://mmuser:{password}@127.0.0.1:{port}/{}?sslmode=disable", encoded(name));
    site.set("SqlSettings", "DataSource", serde_json::json!(source));
}

#[test]
fn a_configuration_that_names_somebody_elses_database_leads_no_superuser_there() {
    for major in [13, 15] {
        let site = Site::builder("10.5.14").postgres(major).build();
        let other = other_application(&site);
        let before = other(&site);
        let (code, said) = run(&site, "mm-backup", &["--to", site.store().to_str().unwrap()]);
        assert_eq!(code, Some(0), "{said}");
        name_the_database(&site, "otherapp");
        let store = site.store();
        let store = store.to_str().unwrap();
        for forged in [false, true] {
            if forged && major == 13 {
                // Everybody may make a table there, also one of this name.
                site.cluster.sql("otherapp", "SET SESSION AUTHORIZATION mmuser; CREATE TABLE public.posts (id text)");
            }
            let (code, said) = run(&site, "mm-backup", &["--to", store, "restore", "latest", "--database"]);
            assert_eq!(code, Some(5), "{said}");
            let (code, said) = run(&site, "mm-pgbump", &["check", "--to", "15"]);
            assert!(major == 15 || code == Some(4) && said.contains("--accept database"), "{said}");
            // The role's own rights are all that a backup of it has.
            let (code, said) = run(&site, "mm-backup", &["--to", store]);
            assert_ne!(code, Some(0), "{said}");
            assert_eq!(other(&site), before, "{said}");
        }
        name_the_database(&site, "mattermost");
        let (code, said) = run(&site, "mm-backup", &["--to", store, "restore", "latest", "--database"]);
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
fn a_database_that_the_cluster_does_not_know_as_the_servers_is_accepted_once_and_for_that_database() {
    let site = Site::builder("10.5.14").build();
    site.cluster.sql("postgres", "CREATE ROLE dba; ALTER DATABASE mattermost OWNER TO dba");
    site.cluster.query(
        "CREATE TABLE of_the_dba (n int); ALTER TABLE of_the_dba OWNER TO dba; GRANT SELECT ON of_the_dba TO mmuser",
    );
    let check = |flags: &[&str]| run(&site, "mm-pgbump", &[&["check", "--to", "15"], flags].concat());
    let (code, said) = check(&[]);
    assert!(code == Some(4) && said.contains("public.of_the_dba of dba"), "{said}");
    let (code, said) = check(&["--accept", "database"]);
    assert_eq!(code, Some(0), "{said}");
    let store = site.store();
    let (code, said) = run(&site, "mm-backup", &["--to", store.to_str().unwrap(), "--accept", "database"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check(&[]);
    assert_eq!(code, Some(0), "it is remembered: {said}");
    // Another database of that name is another one.
    site.cluster.sql(
        "postgres",
        "ALTER DATABASE mattermost RENAME TO away; CREATE DATABASE mattermost TEMPLATE away OWNER dba",
    );
    let (code, said) = check(&[]);
    assert_eq!(code, Some(4), "{said}");
}

#[test]
fn a_name_that_libpq_would_read_as_parameters_stays_a_name() {
    let name = "dbname=otherapp application_name=x";
    for major in [13, 15] {
        let site = Site::builder("10.5.14").postgres(major).build();
        let other = other_application(&site);
        let before = other(&site);
        site.cluster.sql("postgres", &format!("ALTER DATABASE mattermost RENAME TO \"{name}\""));
        name_the_database(&site, name);
        let store = site.store();
        let store = store.to_str().unwrap();
        let (code, said) = run(&site, "mm-backup", &["--to", store]);
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = run(&site, "mm-backup", &["--to", store, "restore", "latest", "--database"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(other(&site), before);
        let quoted = format!("dbname='{}'", name.replace('\'', "''"));
        assert_ne!(site.cluster.sql(&quoted, "SELECT count(*) FROM public.posts"), "0");
    }
}
