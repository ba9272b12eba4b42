//! A hostile database: its owner has put code wherever PostgreSQL lets an owner put it, and waits for a superuser.

use mm_test_support::site::Site;

/// What the code does when it runs: it notes as whom, and where that is a superuser it makes itself one.
pub(crate) const TRAP: &str = r"
CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.seen (what text, who text);
GRANT ALL ON evil.seen TO PUBLIC;
CREATE FUNCTION evil.spring(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  -- Cheap for everybody else: the owner's own sessions meet it, too.
  IF pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on' THEN
    BEGIN
      INSERT INTO evil.seen VALUES (what, current_user);
      ALTER ROLE mmuser SUPERUSER;
    EXCEPTION WHEN OTHERS THEN
      -- A transaction that may not write still gives away who ran it.
      RAISE WARNING 'TRAP SPRUNG by % in %', current_user, what;
    END;
  END IF;
  RETURN true;
END $$;
";

/// Functions, operators and casts of its own, found before PostgreSQL's by a search path that it has set for everybody.
pub(crate) const PATH: &str = r"
CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.spring('current_setting'); RETURN pg_catalog.current_setting($1); END $$;
CREATE FUNCTION evil.current_database() RETURNS name LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.spring('current_database'); RETURN pg_catalog.current_database(); END $$;
CREATE FUNCTION evil.pg_get_userbyid(oid) RETURNS name LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.spring('pg_get_userbyid'); RETURN pg_catalog.pg_get_userbyid($1); END $$;
CREATE FUNCTION evil.count_up(bigint, anyelement) RETURNS bigint LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.spring('count'); RETURN $1 + 1; END $$;
CREATE FUNCTION evil.ne(name, name) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.spring('<>'); RETURN pg_catalog.namene($1, $2); END $$;
CREATE OPERATOR evil.<> (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.ne);
CREATE VIEW evil.pg_database AS SELECT d.*, evil.spring('pg_database') FROM pg_catalog.pg_database d;
CREATE VIEW evil.pg_roles AS SELECT r.*, evil.spring('pg_roles') FROM pg_catalog.pg_roles r;
GRANT SELECT ON evil.pg_database, evil.pg_roles TO PUBLIC;
ALTER DATABASE mattermost SET search_path = evil, pg_catalog, public;
";

/// A cast of the posts to text, by which a forged message reads as it did.
pub(crate) const CAST: &str = r"
CREATE FUNCTION evil.posts_text(public.posts) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.spring('cast'); RETURN 'same'; END $$;
CREATE CAST (public.posts AS text) WITH FUNCTION evil.posts_text(public.posts) AS IMPLICIT;
CREATE FUNCTION evil.users_text(public.users) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.spring('cast'); RETURN 'same'; END $$;
CREATE CAST (public.users AS text) WITH FUNCTION evil.users_text(public.users) AS IMPLICIT;
";

/// Runs SQL as the server's role, which owns the database: logged in as itself, as its functions undo everything else.
pub(crate) fn as_the_owner(site: &Site, sql: &str) {
    let mut psql = std::process::Command::new(mm_test_support::cluster::psql());
    psql.args(["-XqAtw", "-v", "ON_ERROR_STOP=1", "-c", "SET search_path = pg_catalog, public", "-c", sql]);
    let output = psql.arg(site.cluster.url()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Nothing of the database's has run as a superuser.
pub(crate) fn is_not_sprung(site: &Site, said: &str) {
    let seen = site.cluster.query(
        "SET search_path = pg_catalog; SELECT what, who FROM evil.seen; SELECT rolname FROM pg_catalog.pg_roles
        WHERE rolsuper AND rolname <> 'postgres'",
    );
    assert_eq!(seen, "", "ran as a superuser: {said}");
    assert!(!said.contains("TRAP SPRUNG"), "{said}");
}

pub(crate) fn run(site: &Site, tool: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = site.tool(tool).args(arguments).arg("-v").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

fn back_up(site: &Site) -> String {
    let (code, said) = run(site, "mm-backup", &["--to", site.store().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    is_not_sprung(site, &said);
    said
}

/// What the newest restore point says about the rows of `posts`.
fn posts_of_newest(site: &Site) -> String {
    let shown =
        site.tool("mm-backup").arg("--to").arg(site.store()).args(["list", "--format", "json"]).output().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let id = list["points"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    let text = std::fs::read_to_string(site.store().join(id).join("manifest.json")).unwrap();
    let head: serde_json::Value =
        serde_json::from_str(text.lines().next().unwrap()).or_else(|_| serde_json::from_str(&text)).unwrap();
    head["database"]["tables"]["public.posts"]["hash"].as_str().unwrap().to_owned()
}

#[test]
fn a_search_path_and_what_it_leads_to_is_not_followed_by_a_superuser() {
    for major in [13, 15] {
        let site = Site::builder("10.5.14").postgres(major).build();
        as_the_owner(&site, TRAP);
        as_the_owner(&site, PATH);
        back_up(&site);
        let (_, said) = run(&site, "mm-pgbump", &["check", "--to", "15"]);
        is_not_sprung(&site, &said);
    }
}

/// What the planner computes before it has read a row: whoever plans a statement over the table, runs it.
const PLANNED: &str = r"
CREATE FUNCTION evil.constant(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;
CREATE INDEX planned ON public.posts ((evil.constant(1)));
CREATE INDEX partly ON public.users (id) WHERE evil.constant(2) = 1;
CREATE TABLE public.parts (n int) PARTITION BY RANGE ((evil.constant(3) + n));
CREATE TABLE public.part PARTITION OF public.parts DEFAULT;
CREATE TABLE public.checked (n int CHECK (n > evil.constant(4)));
ALTER DATABASE mattermost SET constraint_exclusion = on;
CREATE OR REPLACE FUNCTION evil.constant(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.spring('planner'); RETURN 1; END $$;
";

#[test]
fn what_is_computed_to_plan_a_statement_does_not_run_as_a_superuser() {
    for major in [13, 15] {
        let site = Site::builder("10.5.14").postgres(major).build();
        as_the_owner(&site, TRAP);
        as_the_owner(&site, PLANNED);
        if major >= 14 {
            as_the_owner(
                &site,
                "CREATE STATISTICS evil.planned ON (evil.constant(5) + createat), id FROM public.posts",
            );
        }
        let said = back_up(&site);
        assert!(said.contains("index public.planned uses the function evil.constant(integer) of mmuser"), "{said}");
        let (code, said) = run(&site, "mm-backup", &["verify", "--restore", "--to", site.store().to_str().unwrap()]);
        assert!(code == Some(0) && !said.contains("TRAP SPRUNG"), "{said}");
        let (code, said) = run(&site, "mm-pgbump", &["check", "--to", "15", "--accept", "user-code"]);
        is_not_sprung(&site, &said);
        if major == 13 {
            assert!(
                code == Some(4) && said.contains("ALTER FUNCTION evil.constant(integer) OWNER TO"),
                "{code:?} {said}"
            );
            let (code, said) = run(&site, "mm-pgbump", &["run", "--to", "15", "--no-backup"]);
            is_not_sprung(&site, &said);
            assert_eq!(code, Some(5), "{said}");
        }
        let (code, said) =
            run(&site, "mm-backup", &["restore", "latest", "--database", "--to", site.store().to_str().unwrap()]);
        is_not_sprung(&site, &said);
        assert!(code == Some(0) && said.contains("were not compared"), "{code:?} {said}");

        // A superuser has read it, and answers for it.
        as_the_owner(
            &site,
            "CREATE OR REPLACE FUNCTION evil.constant(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'",
        );
        site.cluster.query("ALTER FUNCTION evil.constant(int) OWNER TO postgres");
        // And one that has to wait for a column does not run at all.
        as_the_owner(
            &site,
            "CREATE FUNCTION evil.later(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
             $$ BEGIN PERFORM evil.spring('index'); RETURN $1; END $$; CREATE INDEX later ON public.posts (evil.later(id))",
        );
        let said = back_up(&site);
        assert!(!said.contains("not as a superuser"), "{said}");
    }
}

#[test]
fn a_cast_of_the_owners_neither_runs_nor_hides_a_forged_message() {
    for major in [13, 15] {
        let site = Site::builder("10.5.14").postgres(major).build();
        let hash = |site: &Site| {
            back_up(site);
            posts_of_newest(site)
        };
        as_the_owner(&site, TRAP);
        let before = hash(&site);
        as_the_owner(&site, CAST);
        assert_eq!(hash(&site), before, "the hash of a row is that of before the cast was there");
        as_the_owner(&site, "UPDATE public.posts SET message = 'forged'");
        assert_ne!(hash(&site), before, "a forged message shows");
    }
}

#[test]
fn no_restore_gives_a_role_powers_or_a_database_a_library_of_a_superusers() {
    let site = Site::builder("10.5.14").postgres(15).build();
    let store = site.store();
    let store = store.to_str().unwrap();
    site.cluster.sql(
        "postgres",
        "CREATE ROLE helper SUPERUSER CREATEROLE CREATEDB REPLICATION BYPASSRLS LOGIN CONNECTION LIMIT 3 PASSWORD 'x';
         CREATE ROLE helpers; GRANT helpers TO helper; GRANT pg_read_all_data TO helper;
         GRANT CONNECT ON DATABASE mattermost TO helper, helpers;
         ALTER DATABASE mattermost SET session_preload_libraries = 'auto_explain';
         ALTER ROLE postgres IN DATABASE mattermost SET work_mem = '5MB';
         ALTER DATABASE mattermost SET work_mem = '6MB'",
    );
    let settings = |site: &Site| {
        site.cluster.sql("postgres", "SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = 'mattermost' ORDER BY 1::text")
    };
    let before = settings(&site);
    let password = site.cluster.sql("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'helper'");
    let (code, said) = run(&site, "mm-backup", &["--to", store]);
    assert_eq!(code, Some(0), "{said}");
    let restore = |further: &[&str]| {
        let (code, said) =
            run(&site, "mm-backup", &[&["--to", store, "restore", "latest", "--database"], further].concat());
        assert_eq!(code, Some(0), "{said}");
        said
    };
    // What the database has now, it has afterwards.
    restore(&[]);
    assert_eq!(settings(&site), before);
    site.cluster.sql(
        "postgres",
        "ALTER DATABASE mattermost RESET session_preload_libraries; ALTER ROLE postgres IN DATABASE mattermost RESET work_mem;
         REVOKE CONNECT ON DATABASE mattermost FROM helper, helpers",
    );
    let kept = site.cluster.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE '%before%'");
    for database in kept.lines() {
        site.cluster.sql("postgres", &format!("DROP DATABASE \"{database}\""));
    }
    site.cluster.sql("postgres", "DROP ROLE helper, helpers");
    let said = restore(&[]);
    assert_eq!(settings(&site), "{work_mem=6MB}", "{said}");
    assert!(said.contains("session_preload_libraries") && said.contains("SUPERUSER of the role helper"), "{said}");
    let facts = site.cluster.sql(
        "postgres",
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin, rolconnlimit, rolpassword,
           (SELECT string_agg(roleid::regrole::text, ' ') FROM pg_auth_members m WHERE m.member = a.oid)
         FROM pg_authid a WHERE rolname = 'helper'",
    );
    assert_eq!(facts, format!("f|f|f|f|f|t|3|{password}|helpers"));
    restore(&["--accept", "superuser-objects"]);
    assert_eq!(settings(&site), before);
}

/// A constraint whose function does what it can as whoever checks it, and notes who that was. A restore checks it anew.
pub(crate) const CHECKED: &str = r"
CREATE FUNCTION evil.checked(text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE was text := session_user;
BEGIN
  BEGIN
    RESET SESSION AUTHORIZATION; RESET ROLE;
    EXECUTE 'COPY (SELECT session_user) TO PROGRAM ''id > /var/tmp/mm-hostile-sprung''';
  EXCEPTION WHEN OTHERS THEN NULL;
  END;
  BEGIN
    ALTER ROLE mmuser SUPERUSER;
  EXCEPTION WHEN OTHERS THEN NULL;
  END;
  RETURN true;
END $$;
ALTER TABLE public.posts ADD CONSTRAINT checked CHECK (evil.checked(id));
CREATE FUNCTION evil.indexed(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.checked($1); RETURN $1; END $$;
CREATE INDEX indexed ON public.posts (evil.indexed(id));
CREATE DOMAIN evil.word AS text CHECK (evil.checked(VALUE));
CREATE TABLE public.words (w evil.word, g text GENERATED ALWAYS AS (evil.indexed(w::text)) STORED);
INSERT INTO public.words VALUES ('a'), ('b');
CREATE MATERIALIZED VIEW public.seen AS SELECT evil.checked('x');
";

#[test]
fn a_dump_that_is_tried_runs_as_nobody() {
    let sprung = std::path::Path::new("/var/tmp/mm-hostile-sprung");
    for major in [13, 15] {
        let site = Site::builder("10.5.14").postgres(major).build();
        let store = site.store();
        let store = store.to_str().unwrap();
        site.cluster.query("CREATE EXTENSION pg_trgm; CREATE SCHEMA extras; CREATE EXTENSION hstore SCHEMA extras; CREATE EXTENSION postgres_fdw;
            CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; CREATE USER MAPPING FOR mmuser SERVER far");
        as_the_owner(&site, TRAP);
        as_the_owner(&site, CHECKED);
        let (code, said) = run(&site, "mm-backup", &["--to", store]);
        assert_eq!(code, Some(0), "{said}");
        let _ = std::fs::remove_file(sprung);
        let (code, said) = run(&site, "mm-backup", &["--to", store, "verify", "--restore"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(!sprung.exists(), "a program was started by a function of the dump");
        is_not_sprung(&site, &said);
    }
}

#[test]
fn a_dump_that_is_restored_runs_as_nobody_and_gives_everything_back_as_it_was() {
    let sprung = std::path::Path::new("/var/tmp/mm-hostile-sprung");
    // The last one in a cluster that no list names, as on Red Hat's systems.
    for (major, is_listed) in [(13, true), (15, true), (15, false)] {
        let site = Site::builder("10.5.14").postgres(major).build();
        if !is_listed {
            site.cluster.hide(site.directory());
        }
        let store = site.store();
        let store = store.to_str().unwrap();
        site.cluster.query(
            "CREATE EXTENSION pg_trgm; CREATE SCHEMA extras; CREATE EXTENSION hstore SCHEMA extras; CREATE EXTENSION postgres_fdw;
             CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; CREATE USER MAPPING FOR mmuser SERVER far; CREATE ROLE reader;
             GRANT USAGE ON FOREIGN SERVER far TO mmuser; CREATE FOREIGN TABLE away (n int) SERVER far;
             CREATE ROLE third; CREATE TABLE of_third (n int); ALTER TABLE of_third OWNER TO third; GRANT SELECT ON of_third TO mmuser, reader;
             CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
             CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION public.watch();
             CREATE TABLE of_the_superuser (n int); COMMENT ON SCHEMA public IS 'ours'; GRANT ALL ON SCHEMA public TO third;
             ALTER DEFAULT PRIVILEGES FOR ROLE mmuser IN SCHEMA public GRANT SELECT ON TABLES TO reader",
        );
        as_the_owner(&site, TRAP);
        as_the_owner(&site, CHECKED);
        as_the_owner(
            &site,
            "GRANT SELECT ON public.posts TO reader; REVOKE EXECUTE ON FUNCTION evil.indexed(text) FROM PUBLIC",
        );
        let facts = || {
            site.cluster.query(
                "SELECT relname, relkind, relowner::regrole, relacl FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'evil'::regnamespace) ORDER BY 1;
                 SELECT nspname, nspowner::regrole, coalesce(nspacl, acldefault('n', nspowner)), obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1;
                 SELECT proname, proowner::regrole, proacl FROM pg_proc WHERE pronamespace IN ('public'::regnamespace, 'evil'::regnamespace) ORDER BY 1;
                 SELECT evtname FROM pg_event_trigger; SELECT srvname, srvowner::regrole, srvacl FROM pg_foreign_server; SELECT * FROM pg_user_mappings WHERE false;
                 SELECT defaclrole::regrole, defaclacl FROM pg_default_acl; SELECT extname, extowner::regrole, extnamespace::regnamespace FROM pg_extension ORDER BY 1;
                 SELECT datdba::regrole, datacl FROM pg_database WHERE datname = 'mattermost'; SELECT rolname, rolsuper FROM pg_roles ORDER BY 1",
            )
        };
        let before = facts();
        let (code, said) = run(&site, "mm-backup", &["--to", store]);
        assert_eq!(code, Some(0), "{said}");
        let _ = std::fs::remove_file(sprung);
        let (code, said) = run(&site, "mm-backup", &["--to", store, "restore", "latest", "--database"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(!sprung.exists(), "a program was started by a function of the dump");
        is_not_sprung(&site, &said);
        assert_same(&before, &facts());
    }
}

/// Equal, or the lines that are not.
fn assert_same(before: &str, after: &str) {
    let only = |one: &str, other: &str| -> Vec<String> {
        one.lines().filter(|line| !other.lines().any(|same| same == *line)).map(str::to_owned).collect()
    };
    assert_eq!((only(before, after), only(after, before)), (Vec::new(), Vec::new()));
}

/// What a killed restore has left runs for ever: the next one ends it.
#[test]
fn a_dump_that_never_ends_keeps_no_later_restore_out() {
    let site = Site::builder("10.5.14").build();
    let store = site.store();
    let store = store.to_str().unwrap();
    let (code, said) = run(&site, "mm-backup", &["--to", store]);
    assert_eq!(code, Some(0), "{said}");
    site.cluster
        .sql("postgres", "CREATE ROLE mm_restore LOGIN PASSWORD 'left'; CREATE DATABASE left_over OWNER mm_restore");
    let mut endless = std::process::Command::new(mm_test_support::cluster::psql())
        .args(["-XqAt", "-c", "SELECT pg_sleep(86400)"])
        .arg(format!("postgres://mm_restore:left@127.0.0.1:{}/left_over?sslmode=disable", site.cluster.port))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let runs = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'mm_restore' AND query LIKE '%pg_sleep%'";
    let limit = std::time::Duration::from_secs(60);
    mm_test_support::process::wait_until("it to run", limit, || site.cluster.sql("postgres", runs).trim() == "1");
    let (code, said) = run(&site, "mm-backup", &["--to", store, "restore", "latest", "--database"]);
    assert_eq!(code, Some(0), "{said}");
    let left = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname = 'mm_restore'), (SELECT count(*) FROM pg_database WHERE datname = 'left_over')";
    assert_eq!(site.cluster.sql("postgres", left).trim(), "0|0");
    endless.kill().unwrap();
    endless.wait().unwrap();
}
