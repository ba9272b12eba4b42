//! Code of users that a superuser would run by making every object of their databases anew: named before anything is
//! touched, and let through by name only. That it really runs is seen by what it does then.

use mm_test_support::process::run;

use crate::rig::{Rig, check_of};

/// What every piece of code does when it runs as a superuser: it makes the role of its own name one.
const CANARY: &str = r"
CREATE SCHEMA evil;
CREATE FUNCTION evil.spring(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on' THEN
    BEGIN
      EXECUTE pg_catalog.format('ALTER ROLE %I SUPERUSER', 'sprung_' || what);
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING '%: %', what, SQLERRM;
    END;
  END IF;
  RETURN true;
END $$;
CREATE FUNCTION evil.same(n int, what text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.spring(what); RETURN n; END $$;
";

/// Places whose code runs as soon as they are made: the name of each, what the check says of it, and what makes it.
const MADE: &[(&str, &str, &str)] = &[
    (
        "generated",
        "column g of table generated uses the function evil.same(integer,text) of mmuser",
        "CREATE TABLE generated (n int, g int GENERATED ALWAYS AS (evil.same(1, 'generated') + n) STORED)",
    ),
    (
        "operator",
        "column g of table added uses the operator evil.|#|(integer,integer) of mmuser",
        "CREATE FUNCTION evil.added(int, int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
           $$ BEGIN PERFORM evil.spring('operator'); RETURN $1; END $$;
         CREATE OPERATOR evil.|#| (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.added);
         CREATE TABLE added (n int, g int GENERATED ALWAYS AS ((1 OPERATOR(evil.|#|) 1) + n) STORED)",
    ),
    (
        "inlined",
        "column g of table inlined uses the function evil.outer_one(integer) of mmuser",
        "CREATE FUNCTION evil.outer_one(int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT $1 + evil.same(1, 'inlined') $$;
         CREATE TABLE inlined (n int, g int GENERATED ALWAYS AS (evil.outer_one(n)) STORED)",
    ),
    (
        "check",
        "constraint checked on table listed_1 uses the function evil.same(integer,text) of mmuser",
        "CREATE TABLE listed (n int) PARTITION BY LIST (n);
         CREATE TABLE listed_1 PARTITION OF listed (CONSTRAINT checked CHECK (n > evil.same(0, 'check'))) FOR VALUES IN (1)",
    ),
    (
        "cast",
        "constraint checked on table cast_1 converts evil.kind, which calls the function evil.to_kind(text) of mmuser",
        "CREATE TYPE evil.kind AS ENUM ('a', 'b'); CREATE TABLE casts (n int) PARTITION BY LIST (n);
         CREATE TABLE cast_1 PARTITION OF casts (CONSTRAINT checked CHECK (('a'::text)::evil.kind IS NOT NULL)) FOR VALUES IN (1);
         CREATE FUNCTION evil.to_kind(text) RETURNS evil.kind IMMUTABLE LANGUAGE plpgsql AS
           $$ BEGIN PERFORM evil.spring('cast'); RETURN 'a'; END $$;
         CREATE CAST (text AS evil.kind) WITH FUNCTION evil.to_kind(text)",
    ),
    (
        "bound",
        "table bound_1 has a value of the type evil.bound, which calls the function evil.spring(text) of mmuser",
        "CREATE DOMAIN evil.bound AS int CHECK (evil.spring('bound')); CREATE TABLE bound (n evil.bound) PARTITION BY LIST (n);
         CREATE TABLE bound_1 PARTITION OF bound FOR VALUES IN (1)",
    ),
    (
        "row",
        "default value for column p of table rows has a value of the type evil.pair, which calls",
        "CREATE DOMAIN evil.part AS text CHECK (evil.spring('row')); CREATE TYPE evil.pair AS (a evil.part);
         CREATE TABLE rows (p evil.pair DEFAULT '(x)')",
    ),
    (
        "array",
        "rule _RETURN on view seen has a value of the type evil.element[], which calls",
        "CREATE DOMAIN evil.element AS text CHECK (evil.spring('array'));
         CREATE VIEW seen AS SELECT '{a,b}'::evil.element[] AS list",
    ),
    (
        "range",
        "function evil.spanned(evil.span) has a value of the type evil.span, which calls",
        "CREATE DOMAIN evil.edge AS int CHECK (evil.spring('range')); CREATE TYPE evil.span AS RANGE (subtype = evil.edge);
         CREATE FUNCTION evil.spanned(s evil.span DEFAULT '[1,2)') RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ),
    (
        "aggregate",
        "function evil.total(integer) has a value of the type evil.sum, which calls",
        "CREATE DOMAIN evil.sum AS int CHECK (evil.spring('aggregate'));
         CREATE FUNCTION evil.more(evil.sum, int) RETURNS evil.sum LANGUAGE sql AS 'SELECT $1';
         CREATE AGGREGATE evil.total(int) (SFUNC = evil.more, STYPE = evil.sum, INITCOND = '0')",
    ),
    (
        "later",
        "column d of table filled has a value of the type evil.later, which calls",
        "CREATE DOMAIN evil.later AS text; CREATE TABLE filled (n int); INSERT INTO filled VALUES (1);
         ALTER TABLE filled ADD COLUMN d evil.later DEFAULT 'x'; ALTER DOMAIN evil.later ADD CHECK (evil.spring('later'))",
    ),
];

/// Places whose code runs for every row that is inserted, as a dump has a superuser do it: else they are harmless.
const INSERTED: &[(&str, &str, &str)] = &[
    (
        "each_check",
        "constraint each on table each_check uses the function evil.same(integer,text) of mmuser",
        "CREATE TABLE each_check (n int CONSTRAINT each CHECK (evil.same(n, 'each_check') > 0)); INSERT INTO each_check VALUES (1)",
    ),
    (
        "each_generated",
        "column g of table each_generated uses the function evil.same(integer,text) of mmuser",
        "CREATE TABLE each_generated (n int, g int GENERATED ALWAYS AS (evil.same(coalesce(n, 0), 'each_generated')) STORED);
         INSERT INTO each_generated VALUES (1)",
    ),
    (
        "each_domain",
        "column d of table each_domain has a value of the type evil.mail, which calls the function evil.spring(text) of mmuser",
        "CREATE DOMAIN evil.mail AS text CHECK (evil.spring('each_domain')); CREATE TABLE each_domain (d evil.mail);
         INSERT INTO each_domain VALUES ('a')",
    ),
    (
        "each_index",
        "index each_index_n uses the function evil.same(integer,text) of mmuser",
        "CREATE TABLE each_index (n int); CREATE INDEX each_index_n ON each_index (evil.same(n, 'each_index'));
         INSERT INTO each_index VALUES (1)",
    ),
    (
        "each_part",
        "table each_part uses the function evil.same(integer,text) of mmuser",
        "CREATE TABLE each_part (n int) PARTITION BY RANGE (evil.same(n, 'each_part'));
         CREATE TABLE each_part_1 PARTITION OF each_part FOR VALUES FROM (0) TO (10); INSERT INTO each_part VALUES (1)",
    ),
];

type Places<'a> = &'a [(&'a str, &'a str, &'a str)];

/// Runs SQL as the server's role, which owns the database.
fn as_the_owner(rig: &Rig, sql: &str) {
    run(
        mm_test_support::cluster::psql().to_str().unwrap(),
        &["-XqAtw", "-v", "ON_ERROR_STOP=1", "-c", sql, &rig.site.cluster.url()],
    );
}

/// A site with these places in its database.
fn hostile(places: Places) -> Rig {
    let rig = Rig::new();
    for (name, ..) in places {
        rig.site.cluster.query(&format!("CREATE ROLE sprung_{name}"));
    }
    as_the_owner(&rig, CANARY);
    for (_, _, sql) in places {
        as_the_owner(&rig, sql);
    }
    rig
}

/// Each is named, and nothing is touched.
fn are_found(rig: &Rig, places: Places, flags: &[&str]) {
    let (document, said) = rig.pgbump(4, &[&["check", "--to", "15"], flags].concat());
    let check = check_of(&document, "user-code");
    assert_eq!(check["status"], "fail", "{said}");
    let hint = check["hint"].as_str().unwrap();
    assert!(hint.contains("OWNER TO") && hint.ends_with("--accept user-code"), "{hint}");
    assert_eq!(document["error"]["code"], 4, "{said}");
    // The schema of what is in no other one is not of interest here.
    let said = said.replace("public.", "");
    for (_, words, _) in places {
        assert!(said.contains(&format!("mattermost: {words}")), "{words}: {said}");
    }
    rig.upgrade(5, flags);
    rig.is_as_before();
    assert_eq!(rig.site.cluster.query("SELECT count(*) FROM pg_roles WHERE rolsuper"), "1");
}

/// Accepted, all of them run as a superuser, which the proof then sees, as the roles are others.
fn really_run(rig: &Rig, places: Places, flags: &[&str]) {
    let (_, said) = rig.upgrade(6, &[&["--accept", "user-code"], flags].concat());
    for (name, ..) in places {
        assert!(said.contains(&format!("sprung_{name}")), "{name} did not run: {said}");
    }
    rig.is_as_before();
}

#[test]
fn code_that_runs_when_an_object_is_made_is_found_before_anything_is_touched() {
    let rig = hostile(MADE);
    are_found(&rig, MADE, &[]);
    really_run(&rig, MADE, &[]);
}

#[test]
fn code_that_runs_when_a_row_is_inserted_stands_in_the_way_of_a_dump_only() {
    let rig = hostile(INSERTED);
    are_found(&rig, INSERTED, &["--method", "dump"]);
    really_run(&rig, INSERTED, &["--method", "dump"]);
    let (document, said) = rig.pgbump(0, &["check", "--to", "15"]);
    assert_eq!(check_of(&document, "user-code")["status"], "pass", "{said}");
    rig.upgrade(0, &[]);
    rig.is_upgraded();
    assert_eq!(rig.site.cluster.query("SELECT count(*) FROM pg_roles WHERE rolsuper"), "1");
}

/// Until the cluster is shut to everybody, its users can still make such a place.
#[cfg(feature = "checkpoints")]
#[test]
fn code_that_comes_after_the_check_does_not_run_either() {
    use std::process::Stdio;
    use std::time::Duration;

    use mm_test_support::process::{PATH, wait_until};
    use mm_test_support::tool::{PACE, executable};

    let (name, words, sql) = MADE[0];
    let rig = hostile(&[(name, words, "SELECT 1")]);
    let mut command = std::process::Command::new(executable("mm-pgbump"));
    command.env_clear().env("PATH", PATH).env(PACE.0, PACE.1).args(rig.site.flags());
    command.args(["--to", "15", "--no-backup", "-v"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.env("MM_CHECKPOINT_SIGNAL", "SIGSTOP").env("MM_CHECKPOINT", "service-stopped");
    let child = command.spawn().unwrap();
    let process = child.id().to_string();
    let stat = format!("/proc/{process}/stat");
    wait_until("the pause", Duration::from_secs(60), || {
        std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))
    });
    as_the_owner(&rig, sql);
    run("kill", &["-CONT", &process]);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(
        said.replace("public.", "").contains(words) && said.contains("it was not there before the service was stopped"),
        "{said}"
    );
    assert!(!said.contains("sprung_"), "{said}");
    rig.is_as_before();
}

/// What usual applications have: functions of their own over columns, words and mails that are checked, history by month.
#[test]
fn functions_that_are_not_run_by_an_upgrade_are_no_obstacle() {
    let rig = Rig::new();
    as_the_owner(
        &rig,
        "CREATE FUNCTION plain(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN lower($1); END $$;
         CREATE EXTENSION unaccent;
         CREATE FUNCTION without_accents(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT public.unaccent('public.unaccent', $1) $$;
         CREATE FUNCTION is_mail(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1 LIKE '%@%'; END $$;
         CREATE DOMAIN mail AS text CHECK (is_mail(VALUE));
         CREATE TYPE level AS ENUM ('low', 'high');
         CREATE FUNCTION rank(level) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;
         CREATE CAST (level AS int) WITH FUNCTION rank(level);
         CREATE TABLE pages (id serial PRIMARY KEY, title text, body text, owner mail DEFAULT 'a@b', level level DEFAULT 'low',
           words tsvector GENERATED ALWAYS AS (to_tsvector('simple', without_accents(plain(coalesce(title, '') || ' ' || coalesce(body, ''))))) STORED,
           CHECK (plain(title) <> ''), CHECK (level = 'low' OR level::int > 0));
         CREATE INDEX pages_title ON pages (plain(title)) WHERE plain(body) <> ''; CREATE INDEX pages_body ON pages (without_accents(body));
         INSERT INTO pages (title, body) VALUES ('One', NULL);
         CREATE TABLE history (at date, page int REFERENCES pages, level level) PARTITION BY RANGE (at);
         CREATE TABLE history_1 PARTITION OF history (CHECK (plain(at::text) <> '')) FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
         INSERT INTO history VALUES ('2020-02-02', 1, 'high');
         CREATE VIEW shown AS SELECT plain('Constant') AS word, p.* FROM pages p WHERE owner = 'a@b'::mail;
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
         CREATE TRIGGER touched BEFORE INSERT ON pages FOR EACH ROW WHEN (plain('x') = 'x') EXECUTE FUNCTION touch();
         ALTER TABLE pages ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON pages USING (plain('x') = 'x');
         ALTER TABLE pages ALTER title SET DEFAULT plain('Title')",
    );
    let rig = rig.enrich();
    let (document, said) = rig.pgbump(4, &["check", "--to", "15"]);
    assert_eq!(check_of(&document, "user-code")["status"], "pass", "{said}");
    let (document, said) = rig.pgbump(4, &["check", "--to", "15", "--method", "dump"]);
    let check = check_of(&document, "user-code");
    assert_eq!(check["status"], "fail", "{said}");
    for place in [
        "column words of table public.pages",
        "constraint pages_title_check",
        "index public.pages_title",
        "column owner of table public.pages",
    ] {
        assert!(check["evidence"].as_str().unwrap().contains(place), "{place}: {check}");
    }
}

/// A database that does its work in functions. Each may call each, and is looked at: none may be looked for in each.
#[test]
fn thousands_of_functions_are_looked_through_in_one_go() {
    let rig = Rig::new();
    as_the_owner(
        &rig,
        "DO $$ BEGIN FOR i IN 1..5000 LOOP
           EXECUTE pg_catalog.format('CREATE FUNCTION report_%s(text) RETURNS bigint LANGUAGE sql AS %L', i,
             'SELECT count(*) FROM posts WHERE message = $1 OR createat = ' || i);
         END LOOP; END $$;
         CREATE TYPE level AS ENUM ('low', 'high');
         CREATE FUNCTION rank(level) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT length('low') $$;
         CREATE CAST (level AS int) WITH FUNCTION rank(level);
         CREATE TABLE ranked (level level, CHECK (level::int > 0)); CREATE INDEX ranked_level ON ranked (rank(level))",
    );
    let (document, said) = rig.pgbump(0, &["check", "--to", "15"]);
    assert_eq!(check_of(&document, "user-code")["status"], "pass", "{said}");
}
