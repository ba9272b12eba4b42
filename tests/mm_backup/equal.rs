//! What a restore brings back besides the rows: owners, rights, definitions, settings, as they were.

use mm_test_support::cluster::ROLE;
use mm_test_support::layout::{
    self, DISABLED, EXOTIC, EXOTIC_SETTINGS, Layout, Owner, RICHES, SUPERUSER_RICHES, Schema, set_peer,
};
use mm_test_support::process;
use mm_test_support::site::Site;

use crate::{make, verify};

fn restore(site: &Site, code: i32) -> String {
    let restore = ["restore", "latest", "--database", "--accept", "database", "-v"];
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(restore).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// A database with this layout comes back as it was, and the server works in it.
fn comes_back(layout: Layout, major: u32) {
    let site = Site::builder("10.5.14").postgres(major).build();
    layout.apply(&site);
    site.cluster.query(&format!("SET SESSION AUTHORIZATION {ROLE}; {RICHES}{DISABLED}"));
    if layout.peer {
        site.cluster.query(SUPERUSER_RICHES);
    }
    let before = layout::rights(&site.cluster);
    let definitions = || {
        let program = format!("/usr/lib/postgresql/{major}/bin/pg_dump");
        let port = site.cluster.port.to_string();
        let arguments =
            ["-u", "postgres", "--", &program, "-s", "-h", "/var/run/postgresql", "-p", &port, "mattermost"];
        let text = process::run("runuser", &arguments);
        // Rights of schemas are compared as the catalogue has them: a dump is silent about some. And some expressions are
        // written otherwise once they have been read again.
        let otherwise = ["restrict ", "ON SCHEMA ", "-- Name: SCHEMA ", "ARRAY[", " AND "];
        let is_told =
            |line: &&str| !line.is_empty() && *line != "--" && !otherwise.iter().any(|words| line.contains(words));
        let lines: Vec<&str> = text.lines().filter(is_told).collect();
        lines.join("\n")
    };
    let defined = definitions();
    make(&site, &["--accept", "database"]);
    if layout.peer {
        let (code, said) = verify(&site, &["--restore"]);
        assert_eq!(code, 0, "{layout:?}: {said}");
    }
    let tables = site.cluster.query("SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables WHERE tablename = 'posts' AND schemaname <> 'copies'");
    site.cluster.query(&format!("DELETE FROM {tables}; ALTER DATABASE mattermost SET work_mem = '1MB'"));
    set_peer(&site.cluster, layout.peer);
    let said = restore(&site, 0);
    set_peer(&site.cluster, true);
    assert_eq!(layout::rights(&site.cluster), before, "{layout:?}: {said}");
    assert_eq!(definitions(), defined, "{layout:?}: {said}");
    assert_eq!(site.cluster.query(&format!("SELECT count(*) FROM {tables}")), "100");
    site.start();
    site.stop();
}

#[test]
fn a_database_of_a_third_role_comes_back_with_its_owners_and_rights() {
    comes_back(Layout { owner: Owner::Third, schema: Schema::Public, createdb: false, peer: true }, 13);
}

#[test]
fn a_database_of_the_superuser_s_and_without_public_comes_back_with_its_owners_and_rights() {
    comes_back(Layout { owner: Owner::Superuser, schema: Schema::Renamed, createdb: false, peer: true }, 15);
}

#[test]
#[ignore = "long: a restore for each layout and major"]
fn every_layout_comes_back() {
    for layout in Layout::all() {
        // Without a superuser, a role restores what is its own.
        if !layout.peer && (!layout.createdb || layout.owner != Owner::Role || layout.schema != Schema::Own) {
            continue;
        }
        for major in [13, 15] {
            eprintln!("{layout:?} {major}");
            comes_back(layout, major);
        }
    }
}

#[test]
#[ignore = "long: a restore for each of some random sets of rights"]
fn whatever_the_rights_are_they_come_back_or_it_is_refused() {
    let seeds =
        std::env::var("MM_SEED").ok().and_then(|seed| seed.parse().ok()).map_or(1..17, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let site = Site::builder("10.5.14").postgres(if seed % 2 == 0 { 13 } else { 15 }).build();
        Layout { owner: Owner::Role, schema: Schema::Public, createdb: false, peer: true }.apply(&site);
        site.cluster.query(&format!("SET SESSION AUTHORIZATION {ROLE}; {RICHES}"));
        site.cluster.query(SUPERUSER_RICHES);
        let changes = layout::scramble(&site.cluster, seed);
        let before = layout::rights(&site.cluster);
        make(&site, &["--accept", "database"]);
        let (code, said) = verify(&site, &["--restore"]);
        assert_eq!(code, 0, "MM_SEED={seed} {changes:#?}: {said}");
        let arguments = ["restore", "latest", "--database", "--accept", "database"];
        let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 5)), "MM_SEED={seed} {changes:#?}: {said}");
        assert_eq!(layout::rights(&site.cluster), before, "MM_SEED={seed} {changes:#?}: {said}");
    }
}

/// Odd and legal: it is proven, restored, and settled as it was.
#[test]
fn an_odd_database_comes_back() {
    let site = Site::builder("10.5.14").postgres(13).build();
    site.cluster.query(&format!(
        "CREATE ROLE reader; CREATE ROLE third; SET client_min_messages = warning; SET SESSION AUTHORIZATION {ROLE}; {EXOTIC}"
    ));
    site.cluster.query(EXOTIC_SETTINGS);
    // Definitions and values are written as nobody expects them.
    site.cluster.query(
        "ALTER DATABASE mattermost SET quote_all_identifiers = on; ALTER DATABASE mattermost SET bytea_output = escape;
         ALTER DATABASE mattermost SET \"DateStyle\" = 'SQL, DMY'",
    );
    let settled = || {
        site.cluster.sql("postgres", "SELECT coalesce(rolname, ''), setconfig, datconnlimit, shobj_description(d.oid, 'pg_database')
          FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_roles r ON r.oid = setrole WHERE datname = 'mattermost' ORDER BY 1")
    };
    let before = (settled(), layout::rights(&site.cluster));
    make(&site, &[]);
    let (code, said) = verify(&site, &["--restore"]);
    assert_eq!(code, 0, "{said}");
    site.cluster.query("DELETE FROM posts");
    let said = restore(&site, 0);
    assert_eq!((settled(), layout::rights(&site.cluster)), before, "{said}");
    assert!(!said.contains("left out") && !said.contains("lacks"), "{said}");
}

/// Where tables are, what is given to roles by default, who may pass a right on, and how to get to another server.
#[test]
fn what_a_superuser_has_settled_comes_back_as_far_as_it_is_still_so() {
    let site = Site::builder("10.5.14").postgres(15).build();
    let shelf = site.directory().join("shelf");
    std::fs::create_dir(&shelf).unwrap();
    process::run("chown", &["postgres:postgres", shelf.to_str().unwrap()]);
    let superuser = |sql: &str| site.cluster.query(sql).trim().to_owned();
    let far = site.directory().join("far");
    std::fs::create_dir(&far).unwrap();
    process::run("chown", &["postgres:postgres", far.to_str().unwrap()]);
    for place in [&shelf, &far] {
        let name = place.file_name().unwrap().to_str().unwrap();
        site.cluster.sql("postgres", &format!("CREATE TABLESPACE {name} LOCATION '{}'", place.display()));
    }
    // All of it but what has a place of its own.
    site.cluster.sql("postgres", "ALTER DATABASE mattermost SET TABLESPACE far");
    let default = "ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES TO reader";
    superuser(&format!(
        "CREATE ROLE reader NOLOGIN; ALTER TABLE posts SET TABLESPACE shelf; {default};
         GRANT CONNECT ON DATABASE mattermost TO reader WITH GRANT OPTION; CREATE EXTENSION postgres_fdw;
         CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
         CREATE USER MAPPING FOR reader SERVER far OPTIONS (password 'former')"
    ));
    make(&site, &[]);
    let (code, said) = verify(&site, &["--restore"]);
    assert_eq!(code, 0, "where there are no tablespaces: {said}");
    superuser("ALTER USER MAPPING FOR reader SERVER far OPTIONS (SET password 'present')");
    // What a restore has left that was killed while it ran the dump.
    superuser("CREATE ROLE mm_restore LOGIN; GRANT CREATE ON TABLESPACE shelf TO mm_restore");

    let said = restore(&site, 0);
    assert!(said.contains("USER MAPPING reader SERVER far is as the replaced database has it now"), "{said}");
    for (what, sql) in [
        (
            "shelf",
            "SELECT spcname FROM pg_tablespace s JOIN pg_class c ON c.reltablespace = s.oid WHERE relname = 'posts'",
        ),
        (
            "far",
            "SELECT spcname FROM pg_tablespace s JOIN pg_database d ON d.dattablespace = s.oid WHERE datname = 'mattermost'",
        ),
        ("{password=present}", "SELECT umoptions FROM pg_user_mappings"),
        (
            "t",
            "SELECT a.is_grantable FROM pg_database, aclexplode(datacl) a WHERE datname = 'mattermost' AND grantee = 'reader'::regrole",
        ),
        ("1", "SELECT count(*) FROM pg_default_acl WHERE defaclrole = 'postgres'::regrole"),
        ("0", "SELECT count(*) FROM pg_tablespace WHERE spcacl::text LIKE '%mm_restore%'"),
        ("0", "SELECT count(*) FROM pg_roles WHERE rolname = 'mm_restore'"),
    ] {
        assert_eq!(superuser(sql), what, "{sql}: {said}");
    }
    // A superuser's default that is no longer so is not made so by a dump.
    superuser(&default.replace("GRANT", "REVOKE").replace(" TO ", " FROM "));
    let said = restore(&site, 0);
    assert!(said.contains("left out: ALTER DEFAULT PRIVILEGES FOR ROLE postgres"), "{said}");
}

/// As in images and on hosts where somebody wanted no trouble: nothing of its own is kept back from it.
#[test]
fn a_role_that_is_a_superuser_gets_back_what_is_its_own() {
    let site = Site::builder("10.5.14").postgres(15).build();
    site.cluster.query(&format!(
        "ALTER ROLE {ROLE} SUPERUSER; SET SESSION AUTHORIZATION {ROLE}; CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE PUBLICATION everything FOR ALL TABLES"
    ));
    make(&site, &[]);
    let said = restore(&site, 0);
    assert!(!said.contains("left out"), "{said}");
    assert_eq!(site.cluster.query("SELECT count(*) FROM pg_publication WHERE pubname = 'everything'").trim(), "1");
}

/// A setting that changes what the words of a dump mean.
#[test]
fn a_definition_that_does_not_come_back_as_it_was_is_seen() {
    let site = Site::builder("5.29.0").build();
    site.cluster.query(&format!(
        "SET SESSION AUTHORIZATION {ROLE}; CREATE TABLE lists (words text[] DEFAULT '{{a,NULL}}'::text[])"
    ));
    site.cluster.query(&format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO {ROLE}"));
    make(&site, &[]);
    site.cluster.sql("postgres", "ALTER ROLE ALL SET array_nulls = off");
    let said = restore(&site, 1);
    assert!(said.contains("TABLE public.lists") && said.contains("{a,NULL}"), "{said}");
    site.cluster.sql("postgres", "ALTER ROLE ALL RESET array_nulls");
    // A right on what is not the dump's, and that nobody has now: it is not given, and that is no difference.
    site.cluster.query(&format!("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() FROM {ROLE}"));
    let said = restore(&site, 0);
    assert!(said.contains("left out: the rights that the dump calls `ACL pg_catalog.FUNCTION pg_ls_waldir("), "{said}");
    let has = format!("SELECT has_function_privilege('{ROLE}', 'pg_catalog.pg_ls_waldir()', 'execute')");
    assert_eq!(site.cluster.query(&has), "f");
}
