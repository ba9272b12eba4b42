//! A move whose target goes away, hangs, runs full, or was something before: the server has its old database at once, and the
//! target is as it was, then or when it can be reached again.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mm_test_support::cluster::{ROLE, url};
use mm_test_support::forwarder::{Forwarder, Trouble};
use mm_test_support::process::{run, wait_until};

use crate::moving::Moving;
use crate::moving_killed::dies_at;
use crate::rig::{Afterwards, find_below};

/// More than the sample of the network, and less than what is restored.
const IN_THE_ROWS: u64 = 5_000_000;

#[test]
fn a_connection_that_is_lost_in_the_middle_leads_back() {
    let moving = Moving::new(true);
    let source = moving.source();
    moving.large();
    let tunnel = Forwarder::with(moving.target.port, Trouble::Cut, IN_THE_ROWS);
    let (document, said) = moving.with(6, "move", &[&url(tunnel.port)], &[]);
    assert!(tunnel.has_come(), "{said}");
    assert!(document["error"]["hint"].as_str().unwrap().contains("old database as before"), "{said}");
    moving.is_as_before(&source);
    moving.answers();
    moving.with(0, "move", &[&url(tunnel.port)], &[]);
    assert_eq!(moving.source(), url(tunnel.port));
    moving.answers();
}

/// The server does not stay away because the target has.
#[test]
fn a_target_that_is_gone_for_good_costs_the_server_nothing_and_is_cleared_when_it_is_back() {
    let moving = Moving::new(true);
    let source = moving.source();
    moving.large();
    let tunnel = Forwarder::with(moving.target.port, Trouble::CutAll, IN_THE_ROWS);
    let (document, said) = moving.with(6, "move", &[&url(tunnel.port)], &[]);
    assert!(document["error"]["causes"].to_string().contains("still there"), "{said}");
    assert!(document["error"]["hint"].as_str().unwrap().contains("mm-pgbump recover"), "{said}");
    moving.answers();
    assert_eq!(moving.source(), source);
    let tables = "SELECT count(*) > 0 FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(moving.target.query(tables), "t", "nothing was filled: {said}");
    // Still away: said, and other tools work.
    let (_, said) = moving.pgbump(1, &["recover"]);
    assert!(said.contains("--accept move-leftovers"), "{said}");
    moving.pgbump(0, &["check"]);
    tunnel.works_again();
    // Somebody has made something else of it.
    let mut psql = Command::new(mm_test_support::cluster::psql());
    psql.arg(moving.target.url()).env("PGAPPNAME", "theirs").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut guest = psql.spawn().unwrap();
    let there = "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'theirs'";
    wait_until("the guest", Duration::from_secs(20), || moving.target.query(there) == "t");
    let (_, said) = moving.pgbump(1, &["recover"]);
    assert!(said.contains("somebody works in"), "{said}");
    guest.kill().unwrap();
    guest.wait().unwrap();
    wait_until("the guest to go", Duration::from_secs(20), || moving.target.query(there) == "f");
    let (_, said) = moving.pgbump(0, &["recover"]);
    assert!(said.contains("is removed"), "{said}");
    moving.is_as_before(&source);

    // And one that never comes back is forgotten, with its passwords, when that is said.
    let tunnel = Forwarder::with(moving.target.port, Trouble::CutAll, IN_THE_ROWS);
    moving.with(6, "move", &[&url(tunnel.port)], &[]);
    moving.pgbump(0, &["recover", "--accept", "move-leftovers"]);
    assert!(find_below(&moving.site.state(), "pgmove.leftovers").is_none());
    moving.pgbump(0, &["recover"]);
    moving.answers();
}

/// For the system all is well with such a connection, so nothing but a look at the server tells.
#[test]
fn a_connection_that_hangs_ends_in_a_bounded_time() {
    let moving = Moving::new(true);
    let source = moving.source();
    moving.large();
    let begun = Instant::now();
    let tunnel = Forwarder::with(moving.target.port, Trouble::Hang, IN_THE_ROWS);
    let (document, said) = moving.with(6, "move", &[&url(tunnel.port)], &[]);
    assert!(document["error"]["causes"].to_string().contains("hang: nothing has gone on"), "{said}");
    moving.is_as_before(&source);
    moving.answers();
    let tunnel = Forwarder::with(moving.target.port, Trouble::HangAll, IN_THE_ROWS);
    let (document, said) = moving.with(6, "move", &[&url(tunnel.port)], &[]);
    assert!(document["error"]["causes"].to_string().contains("has not answered for"), "{said}");
    assert_eq!(moving.source(), source);
    moving.answers();
    tunnel.works_again();
    moving.pgbump(0, &["recover"]);
    moving.is_as_before(&source);
    assert!(begun.elapsed() < Duration::from_secs(400), "{:?}", begun.elapsed());
}

#[test]
fn a_target_that_runs_full_is_emptied_again() {
    let moving = Moving::new(true);
    let source = moving.source();
    moving.large();
    let small = moving.site.directory().join("small");
    std::fs::create_dir(&small).unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=14m,mode=755", "tmpfs", small.to_str().unwrap()]);
    let place = small.clone();
    let _unmount = Afterwards(move || {
        let _ = Command::new("umount").arg("-l").arg(&place).status();
    });
    run("chown", &["postgres:", small.to_str().unwrap()]);
    run("chmod", &["a+x", moving.site.directory().to_str().unwrap()]);
    moving.target.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", small.display()));
    moving.target.sql("postgres", "ALTER DATABASE mattermost SET TABLESPACE small");
    let (_, said) = moving.with(6, "move", &[&moving.target.url()], &[]);
    assert!(said.contains("No space left on device"), "{said}");
    moving.is_as_before(&source);
    moving.answers();
    moving.target.sql("postgres", "ALTER DATABASE mattermost SET TABLESPACE pg_default");
    moving.with(0, "move", &[&moving.target.url()], &[]);
    moving.answers();
}

/// Settings, comments, rights, extensions, default privileges: what a provider has set stays, what we have set goes.
#[test]
fn an_empty_database_that_was_filled_is_what_it_was() {
    let moving = Moving::new(false);
    let source = moving.source();
    let here = &moving.site.cluster;
    here.query(&format!(
        "CREATE EXTENSION hstore; ALTER DATABASE mattermost SET work_mem = '9MB'; ALTER ROLE {ROLE} IN DATABASE mattermost SET lock_timeout = '9s';
         COMMENT ON DATABASE mattermost IS 'ours'; COMMENT ON SCHEMA public IS 'our schema'; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
         CREATE SCHEMA more AUTHORIZATION {ROLE}; CREATE TABLE more.t (h public.hstore); ALTER TABLE more.t OWNER TO {ROLE};
         ALTER DEFAULT PRIVILEGES FOR ROLE {ROLE} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
         ALTER DEFAULT PRIVILEGES FOR ROLE {ROLE} IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC"
    ));
    moving.target.query(
        "ALTER DATABASE mattermost SET work_mem = '5MB'; ALTER DATABASE mattermost SET statement_timeout = '2h'; COMMENT ON DATABASE mattermost IS 'theirs';
         COMMENT ON SCHEMA public IS 'their schema'; CREATE EXTENSION pg_trgm",
    );
    let before = moving.described("mattermost");
    let file = moving.file(&[&moving.target.url()]);
    let run = ["move", "--target", file.to_str().unwrap()];
    dies_at(&moving, "move-read-back", &run);
    let filled = moving.described("mattermost");
    for what in ["more.t", "hstore", "9MB", "DEFAULT PRIVILEGES"] {
        assert!(filled.contains(what), "the move does not carry {what}: {filled}");
    }
    moving.pgbump(0, &["recover"]);
    assert_eq!(moving.described("mattermost"), before);
    moving.is_as_before(&source);
}

/// What a killed tool has started would go on filling what is being emptied.
#[test]
fn a_restore_ends_with_the_tool_that_began_it() {
    let moving = Moving::new(false);
    let source = moving.source();
    // On the target a row takes so long to be checked that the restore is met at it.
    moving.site.cluster.query(&format!(
        "SET SESSION AUTHORIZATION {ROLE};
         CREATE FUNCTION slow() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
           IF pg_catalog.current_setting('server_version_num')::int >= 150000 THEN PERFORM pg_catalog.pg_sleep(0.2); END IF; RETURN true; END $$;
         CREATE TABLE slow (n int CHECK (public.slow())); INSERT INTO slow SELECT 1 FROM generate_series(1, 100)"
    ));
    let file = moving.file(&[&moving.target.url()]);
    let mut tool = Command::new(mm_test_support::tool::executable("mm-pgbump"))
        .args(moving.site.flags())
        .args(["move", "--target", file.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let works = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'pg_restore' AND query ~ 'COPY public.slow'";
    wait_until("the restore to be at its rows", Duration::from_secs(60), || moving.target.query(works) == "t");
    tool.kill().unwrap();
    tool.wait().unwrap();
    let port = moving.target.port.to_string();
    let restores = || {
        let of = |entry: &std::fs::DirEntry| std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let named = |entry: &std::fs::DirEntry| std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter(|entry| named(entry).trim() == "pg_restore" && String::from_utf8_lossy(&of(entry)).contains(&port))
            .count()
    };
    wait_until("the restore to end", Duration::from_secs(5), || restores() == 0);
    moving.pgbump(0, &["recover"]);
    moving.is_as_before(&source);
}
