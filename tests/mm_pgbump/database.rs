//! What `mm_common::postgres` says of real servers, 13 and 15.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mm_common::postgres::fingerprint::{self, Fingerprint, Method};
use mm_common::postgres::proven::Claim;
use mm_common::postgres::server::Database;

use mm_test_support::process::wait_until;

use crate::lab::{Lab, NAME, run};

fn rows(database: &Database) -> Fingerprint {
    fingerprint::tables_by(database, Method::Values, 2).unwrap()
}

/// A role with an awkward password, a database in the shape of a 5.29 server's, and rows that are easy to miss.
fn seed(lab: &Lab, major: u32) {
    lab.sql(
        major,
        "postgres",
        r"CREATE ROLE mmuser LOGIN PASSWORD 'p@ss:w\rd'; CREATE DATABASE mattermost OWNER mmuser;",
    );
    let port = lab.cluster(major).port;
    Lab::connect(port).unwrap().execute(
        "CREATE TABLE posts (id varchar(26) PRIMARY KEY, createat bigint, deleteat bigint, userid varchar(26),
           channelid varchar(26), rootid varchar(26), parentid varchar(26), originalid varchar(26), message varchar(65535),
           type varchar(26), hashtags varchar(1000), filenames varchar(4000), fileids varchar(150), props varchar(8000));
         INSERT INTO posts SELECT 'p' || n, n, 0, 'u' || n % 3, 'c', CASE n % 4 WHEN 0 THEN 'p1' ELSE '' END,
           CASE n % 4 WHEN 1 THEN 'p2' ELSE '' END, '', 'message ' || n, '', '', '[]', '[]', '{}'
           FROM generate_series(1, 100) n;
         CREATE TABLE users (id varchar(26) PRIMARY KEY, users float8, at timestamptz, blob bytea);
         INSERT INTO users VALUES ('a', 0.1, now(), '\\x00ff'), ('b', 1e-7, 'epoch', NULL);
         CREATE SCHEMA \"a.b\"; CREATE TABLE \"a.b\".\"C \"\"d\" (t text); INSERT INTO \"a.b\".\"C \"\"d\" VALUES ('x');",
    )
    .unwrap();
}

/// As on Red Hat's systems: no `pg_lsclusters` lists the cluster (here: it is of another root), and the socket is in the
/// usual place.
#[test]
fn a_server_that_no_list_names_has_its_superuser_by_peer_over_the_usual_socket() {
    let lab = Lab::new();
    lab.create(13, &[]);
    seed(&lab, 13);
    let own = Lab::connect(lab.cluster(13).port).unwrap();
    assert!(mm_common::postgres::cluster::of_database(&own).unwrap().is_none());
    let claim = Claim { role: "mmuser", state: lab.path(), accepted: false, lock: None };
    // The socket of the lab is where nobody looks.
    assert!(claim.superuser(&own).unwrap().is_none());
    lab.ctl(13, "stop");
    run(lab.tool("pg_conftool").args(["13", NAME, "set", "unix_socket_directories", "/run/postgresql"]));
    lab.ctl(13, "start");
    let superuser = claim.superuser(&own).unwrap().unwrap();
    assert_eq!(superuser.value("SELECT current_user::text").unwrap(), "postgres");
    assert!(superuser.is_superuser());
}

#[test]
fn a_server_is_asked_as_mattermost_would_ask_it() {
    let lab = Lab::new();
    let cluster = lab.create(13, &[]);
    seed(&lab, 13);
    let database = Lab::connect(cluster.port).unwrap();
    assert_eq!((database.major(), database.name.as_str()), (13, "mattermost"));
    assert!(database.version.starts_with("13."), "{}", database.version);
    assert_eq!(database.value("SELECT count(*) FROM posts;").unwrap(), 100);
    let rows = database.rows("SELECT 1 AS b, 'x' || chr(10) AS a, '{\"k\": \n1}'::json AS c, NULL AS d").unwrap();
    assert_eq!(rows[0].to_string(), r#"{"b":1,"a":"x\n","c":{"k":1},"d":null}"#);
    assert!(database.value("SELECT 1 WHERE false").is_err());
    // Nothing stays of a transaction that fails at its end.
    database.execute("DELETE FROM users; SELECT 1/0").unwrap_err();
    assert_eq!(database.value("SELECT count(*) FROM users").unwrap(), 2);
    // The programs are those of the server's own major, by full path, and no password is on their command line.
    let dump = database.command("pg_dump").unwrap();
    assert_eq!(dump.line(), "/usr/lib/postgresql/13/bin/pg_dump");
    assert!(dump.args(["-s", "--no-password"]).run().unwrap().text().contains("CREATE TABLE public.posts"));
    // A wrong password says which server and which user, and not the password.
    let wrong = Lab::source(cluster.port).replace("p%40ss", "wrong");
    let source = mm_common::postgres::source::DataSource::parse(&wrong).unwrap();
    let error = mm_common::postgres::server::Database::connect(&source, None).unwrap_err();
    assert!(error.one_line().contains("password authentication failed"), "{error:?}");
    assert!(error.message().contains("as `mmuser`") && !format!("{error:?}").contains("wrong"), "{error:?}");
    // The socket, by peer authentication.
    let superuser = lab.superuser(13, "mattermost");
    assert_eq!(superuser.value("SELECT current_user::text").unwrap(), "postgres");
    assert_eq!(
        cluster.system_identifier().unwrap(),
        lab.value(13, "postgres", "SELECT system_identifier::text FROM pg_control_system()")
    );
}

/// Asked one thing after the other, in one session, which has what it is to have however it began.
#[test]
fn a_superusers_session_is_one_and_has_its_settings_whoever_has_set_others() {
    let lab = Lab::new();
    lab.create(15, &[]);
    seed(&lab, 15);
    lab.sql(
        15,
        "postgres",
        "ALTER DATABASE mattermost SET jit = on; ALTER DATABASE mattermost SET statement_timeout = '7s';
         ALTER DATABASE mattermost SET restrict_nonsystem_relation_kind = ''",
    );
    let seen = |database: &Database| {
        let sql = "SELECT pg_backend_pid() AS pid, current_setting('jit') AS jit, current_setting('statement_timeout') AS ends,
             current_setting('restrict_nonsystem_relation_kind') AS restricts";
        let mut row = database.rows(sql).unwrap().remove(0);
        (row["pid"].take(), [row["jit"].take(), row["restricts"].take(), row["ends"].take()])
    };
    let superuser = lab.superuser(15, "mattermost");
    let (first, settings) = seen(&superuser);
    assert_eq!(settings, ["off", "view,foreign-table", "1min"]);
    let longer = superuser.with_limit(Duration::from_secs(90));
    assert_eq!(seen(&longer), (first.clone(), ["off".into(), "view,foreign-table".into(), "90s".into()]));
    let (other, settings) = seen(&longer.not_cancelled());
    assert_ne!(other, first);
    assert_eq!(settings, ["off", "view,foreign-table", "90s"]);
}

#[test]
fn who_asks_while_the_session_is_busy_does_not_wait() {
    let lab = Lab::new();
    lab.create(15, &[]);
    let done = Arc::new(AtomicBool::new(false));
    let database = lab.superuser(15, "postgres").cancelled_by(&done);
    std::thread::scope(|scope| {
        let sleeps = scope.spawn(|| database.value("SELECT pg_sleep(600)"));
        let seen =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
        wait_until("the other question is seen", Duration::from_secs(60), || database.value(seen).unwrap() == 1);
        done.store(true, Ordering::Relaxed);
        sleeps.join().unwrap().unwrap_err();
    });
}

#[test]
fn fingerprints_are_the_same_on_both_majors_and_miss_nothing() {
    let lab = Lab::new();
    let old = lab.create(13, &["--data-checksums"]);
    let new = lab.create(15, &["--locale", "C"]);
    seed(&lab, 13);
    lab.sql(15, "postgres", r"CREATE ROLE mmuser LOGIN PASSWORD 'p@ss:w\rd'; CREATE DATABASE mattermost OWNER mmuser;");
    let dump = lab.superuser(13, "mattermost").command("pg_dump").unwrap().run().unwrap().text();
    lab.superuser(15, "mattermost").command("psql").unwrap().args(["-Xq", "-f", "-"]).run_with(&dump).unwrap();

    // As the owner and as the superuser, with whatever settings the role and the database have.
    lab.sql(
        15,
        "postgres",
        "ALTER DATABASE mattermost SET timezone = 'Asia/Tokyo'; ALTER ROLE mmuser SET bytea_output = escape;",
    );
    let before = rows(&lab.superuser(13, "mattermost"));
    let after = Lab::connect(new.port).unwrap();
    assert_eq!(before.len(), 3);
    assert_eq!(before["\"a.b\".\"C \"\"d\""].rows, 1);
    assert_eq!(before, rows(&after));
    let history = fingerprint::history(&Lab::connect(old.port).unwrap(), None).unwrap();
    assert_eq!((history.posts.rows, history.counts["users"]), (100, 2));

    // The migration of 6.0 changes the table but not the history.
    after
        .execute(
            "UPDATE posts SET rootid = parentid WHERE rootid = '' AND rootid <> parentid;
         ALTER TABLE posts ALTER COLUMN fileids TYPE varchar(300), ALTER COLUMN props TYPE jsonb USING props::jsonb;
         ALTER TABLE posts DROP COLUMN parentid;",
        )
        .unwrap();
    assert_eq!(history, fingerprint::history(&after, None).unwrap());
    assert_ne!(before, rows(&after));

    // Two messages swapped: same rows, same words, another history.
    after
        .execute(
            "UPDATE posts p SET message = q.message FROM posts q
         WHERE (p.id, q.id) IN (('p1', 'p2'), ('p2', 'p1'))",
        )
        .unwrap();
    assert_ne!(history, fingerprint::history(&after, None).unwrap());
    let cut = fingerprint::history(&after, Some(50)).unwrap();
    assert_eq!((cut.posts.rows, cut.cut), (49, Some(50)));
}

#[test]
fn no_changed_value_has_the_hash_of_the_old_one() {
    let lab = Lab::new();
    for major in [13, 15] {
        lab.create(major, &[]);
        lab.sql(
            major,
            "postgres",
            "SET search_path = public; CREATE TYPE pair AS (a int, b text); CREATE DOMAIN word AS text;
             CREATE TABLE empty (); INSERT INTO empty DEFAULT VALUES;
             CREATE TABLE kinds (id int PRIMARY KEY, gone int, t text, v varchar(9), w word, c char(5), n numeric, f float8, r real, j jsonb,
               b bytea, y bool, s smallint, l bigint, d timestamptz, i interval, a text[], p pair, u uuid, \"odd \"\"name%\" text);
             ALTER TABLE kinds DROP COLUMN gone;
             INSERT INTO kinds SELECT n, 'one', 'two', 'three', 'four', 1.50, 0.1, 0.1, '{\"a\": 1.0}', '\\x00ff', true, 1, 1,
               '2026-01-01 00:00:00+00', '1 day', '{a,b}', '(1,x)', '5b0b0e6c-8b5c-4a3a-9d53-0d5a4d6b6f10', '' FROM generate_series(1, 3) n;
             UPDATE kinds SET t = 'uno', v = 'due', l = 7 WHERE id = 2;
             UPDATE kinds SET t = NULL, v = NULL, l = NULL, a = NULL, \"odd \"\"name%\" = NULL WHERE id = 3",
        );
    }
    let print = |major| rows(&lab.superuser(major, "postgres"));
    let before = print(13);
    // The forms of earlier releases, of which there are records, and restore points.
    for method in [Method::Md5, Method::Hash64] {
        let [old, new] = [13, 15].map(|major| fingerprint::tables_by(&lab.superuser(major, "postgres"), method, 1));
        let (old, new) = (old.unwrap(), new.unwrap());
        assert!(old == new && old["public.kinds"].hash != before["public.kinds"].hash, "{method:?}");
    }
    assert_eq!((before["public.kinds"].rows, before["public.empty"].rows), (3, 1));
    assert_eq!(before, print(15));
    for change in [
        "t = '' WHERE id = 3",
        "a = '{}' WHERE id = 3",
        "\"odd \"\"name%\" = NULL WHERE id = 1",
        "t = v, v = t WHERE id = 1",
        // Exchanged between two rows: every column holds what it held.
        "t = CASE id WHEN 1 THEN 'uno' ELSE 'one' END WHERE id < 3",
        "l = CASE id WHEN 1 THEN 7 ELSE 1 END WHERE id < 3",
        "w = 'three ' WHERE id = 1",
        "c = 'fou' WHERE id = 1",
        "n = 1.5 WHERE id = 1",
        "f = 0.10000000000000002 WHERE id = 1",
        "r = 0.10000001 WHERE id = 1",
        "j = '{\"a\": 1}' WHERE id = 1",
        "b = '\\x00fe' WHERE id = 1",
        "y = false WHERE id = 1",
        "s = 2 WHERE id = 1",
        // What PostgreSQL makes 32 bits of before it hashes a number is the same of both.
        "l = 4294967296 WHERE id = 1",
        "d = '2026-01-01 00:00:00.000001+00' WHERE id = 1",
        "i = '24 hours' WHERE id = 1",
        "a = '{\"a,b\"}' WHERE id = 1",
        "p = '(1,)' WHERE id = 1",
        "u = '5b0b0e6c-8b5c-4a3a-9d53-0d5a4d6b6f11' WHERE id = 1",
    ] {
        lab.sql(15, "postgres", "CREATE TABLE public.kept AS TABLE public.kinds");
        lab.sql(15, "postgres", &format!("UPDATE public.kinds SET {change}"));
        assert_ne!(before["public.kinds"], print(15)["public.kinds"], "{change}");
        lab.sql(
            15,
            "postgres",
            "SET search_path = public; TRUNCATE kinds; INSERT INTO kinds TABLE kept; DROP TABLE kept",
        );
        assert_eq!(before, print(15), "after {change}");
    }
}

#[test]
fn a_snapshot_is_seen_while_it_lasts() {
    let lab = Lab::new();
    let cluster = lab.create(13, &[]);
    seed(&lab, 13);
    let database = Lab::connect(cluster.port).unwrap();
    let before = rows(&database);
    let snapshot = database.snapshot().unwrap();
    database.execute("INSERT INTO posts (id) VALUES ('late')").unwrap();
    assert_eq!(before, fingerprint::tables_at(&database, Method::Values, snapshot.id(), 2).unwrap());
    assert_ne!(before, rows(&database));
    let id = snapshot.id().to_owned();
    drop(snapshot);
    assert!(fingerprint::tables_at(&database, Method::Values, &id, 1).is_err());
    assert!(fingerprint::tables_at(&database, Method::Values, "'; DROP TABLE posts; --", 1).is_err());
}

/// Whoever wants to change a table waits for who reads it, and keeps him waiting for nothing. (Were the table held by another
/// session than the one that reads, both would wait for ever.)
#[test]
fn who_wants_to_change_a_table_that_is_read_waits_and_does_not_stop_the_reading() {
    let lab = Lab::new();
    lab.create(13, &[]);
    seed(&lab, 13);
    let superuser = lab.superuser(13, "mattermost");
    let held = fingerprint::hold(&superuser).unwrap();
    let port = lab.cluster(13).port;
    let change =
        std::thread::spawn(move || Lab::connect(port).unwrap().execute("ALTER TABLE posts ADD COLUMN late int"));
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'";
    wait_until("the change to wait", Duration::from_secs(60), || superuser.value(waits).unwrap() == 1);
    // Nothing that is asked takes its limit of time.
    assert_eq!(
        held.clone().with_limit(Duration::from_secs(10)).value("SELECT count(*) FROM public.posts").unwrap(),
        100
    );
    // What failed has ended the transaction, and no other session reads in its place.
    held.value("SELECT 1/0").unwrap_err();
    change.join().unwrap().unwrap();
    let error = held.value("SELECT count(*) FROM public.posts").unwrap_err();
    assert!(error.one_line().contains("held"), "{error:?}");
}

/// A table that is read in ranges, over several connections, has the hash of one that is read at once, wherever its rows are.
#[test]
fn a_large_table_has_the_same_hash_however_it_is_read() {
    let lab = Lab::new();
    for major in [13, 15] {
        let cluster = lab.create(major, &[]);
        seed(&lab, major);
        // A row to a page.
        let database = Lab::connect(cluster.port).unwrap();
        database
            .execute(
                "CREATE UNLOGGED TABLE large (id int, text text) WITH (fillfactor = 10, autovacuum_enabled = off);
                 INSERT INTO large SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n",
            )
            .unwrap();
        database.execute("UPDATE users SET at = 'epoch'").unwrap();
    }
    let [old, new] = [13, 15].map(|major| Lab::connect(lab.cluster(major).port).unwrap());
    new.execute_each(
        "DELETE FROM large WHERE id < 300; INSERT INTO large SELECT n, repeat('x', 500) FROM generate_series(1, 299) n",
    )
    .unwrap();
    let at_once = fingerprint::tables_by(&new, Method::Values, 1).unwrap();
    assert_eq!(at_once["public.large"].rows, 20_000);
    for (database, method) in [(&old, Method::Values), (&new, Method::Values), (&new, Method::Md5)] {
        let whole = fingerprint::tables_by(database, method, 1).unwrap();
        assert!(method == Method::Md5 || whole == at_once);
        assert_eq!(whole, fingerprint::tables_by(database, method, 4).unwrap());
    }
    // The view of others' that everything is read by.
    let snapshot = new.snapshot().unwrap();
    new.execute("DELETE FROM large WHERE id = 7").unwrap();
    assert_eq!(at_once, fingerprint::tables_at(&new, Method::Values, snapshot.id(), 4).unwrap());
    assert_eq!(rows(&new)["public.large"].rows, 19_999);
    drop(snapshot);
    // Where there are no more connections to be had, it takes longer.
    let now = rows(&new);
    lab.sql(15, "postgres", "ALTER ROLE mmuser CONNECTION LIMIT 3");
    assert_eq!(now, fingerprint::tables_by(&new, Method::Values, 4).unwrap());
}

/// Columns of a parent come first when a dump is read: the order in a table that was given some later is another one then.
#[test]
fn rows_are_the_same_whatever_order_the_columns_are_in() {
    let lab = Lab::new();
    lab.create(15, &[]);
    lab.sql(
        15,
        "postgres",
        "SET search_path = public; CREATE TABLE above (id int); CREATE TABLE below (own text) INHERITS (above); ALTER TABLE above ADD later text;
         INSERT INTO below VALUES (1, 'own', 'later')",
    );
    let dump = lab.superuser(15, "postgres").command("pg_dump").unwrap().run().unwrap().text();
    lab.sql(15, "postgres", "CREATE DATABASE other");
    lab.superuser(15, "other").command("psql").unwrap().args(["-Xq", "-f", "-"]).run_with(&dump).unwrap();
    assert_eq!(rows(&lab.superuser(15, "postgres")), rows(&lab.superuser(15, "other")));
}
