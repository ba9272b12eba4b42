//! A hostile database: its owner has put code wherever PostgreSQL lets an owner put it, and waits for a superuser.

use mm_test_support::site::Site;

/// What the code does when it runs: it notes as whom, and where that is a superuser it makes itself one.
const TRAP: &str = r"
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
const PATH: &str = r"
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
const CAST: &str = r"
CREATE FUNCTION evil.posts_text(public.posts) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.spring('cast'); RETURN 'same'; END $$;
CREATE CAST (public.posts AS text) WITH FUNCTION evil.posts_text(public.posts) AS IMPLICIT;
CREATE FUNCTION evil.users_text(public.users) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.spring('cast'); RETURN 'same'; END $$;
CREATE CAST (public.users AS text) WITH FUNCTION evil.users_text(public.users) AS IMPLICIT;
";

/// Runs SQL as the server's role, which owns the database.
fn as_the_owner(site: &Site, sql: &str) {
    site.cluster.query(&format!("SET search_path = pg_catalog, public; SET SESSION AUTHORIZATION mmuser;\n{sql}"));
}

/// Nothing of the database's has run as a superuser.
fn is_not_sprung(site: &Site, said: &str) {
    let seen = site.cluster.query(
        "SET search_path = pg_catalog; SELECT what, who FROM evil.seen; SELECT rolname FROM pg_catalog.pg_roles
        WHERE rolsuper AND rolname <> 'postgres'",
    );
    assert_eq!(seen, "", "ran as a superuser: {said}");
    assert!(!said.contains("TRAP SPRUNG"), "{said}");
}

fn run(site: &Site, tool: &str, arguments: &[&str]) -> (Option<i32>, String) {
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
