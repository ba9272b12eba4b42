//! The way back of a move where not everything can be reached: the server of the target is gone, and with it the configuration; and
//! what a role that is no superuser can make at a target goes again.

use std::path::PathBuf;

use mm_test_support::cluster::TELLTALE;
use mm_test_support::process::run;

use crate::moving::Moving;
use crate::moving_killed::dies_at;
use crate::repoint_stored::store;

/// A moved server whose configuration is in its database.
pub(crate) fn stored() -> (Moving, PathBuf, String) {
    let moving = Moving::new(false);
    let site = &moving.site;
    store(&site.cluster, "mattermost", site.config());
    let file = site.install().join("config/mattermost.environment");
    let text = format!("MM_CONFIG='{}'\n", site.cluster.url());
    std::fs::write(&file, &text).unwrap();
    run("chown", &["mm-test:mm-test", file.to_str().unwrap()]);
    std::fs::remove_file(site.config_path()).unwrap();
    site.start_with(&[("MM_CONFIG", &site.cluster.url())]);
    moving.answers();
    (moving, file, text)
}

#[test]
fn a_configuration_that_went_with_the_database_comes_back_without_it() {
    let (moving, file, text) = stored();
    let url = moving.target.url();
    moving.with(0, "move", &[&url], &[]);
    assert!(std::fs::read_to_string(&file).unwrap().contains(&url));
    moving.target.stop();
    let (_, said) = moving.pgbump(0, &["rollback"]);
    assert!(said.contains("cannot be told"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    moving.answers();
    let active = moving.site.cluster.query("SELECT value FROM configurations WHERE active");
    assert!(!active.contains(&format!(":{}/", moving.target.port)), "{active}");

    // Cut off when nothing but what leads to the configuration was changed.
    moving.target.start();
    moving.empty_target();
    let target = moving.file(&[&url]);
    dies_at(&moving, "move-store-repointed", &["move", "--target", target.to_str().unwrap()]);
    moving.target.stop();
    let (document, said) = moving.pgbump(1, &["recover"]);
    assert!(said.contains(" again: mm-pgbump rollback --install "), "{document}{said}");
    moving.pgbump(0, &["rollback"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    moving.target.start();
    moving.pgbump(0, &["recover"]);
    moving.site.start_with(&[("MM_CONFIG", &moving.site.cluster.url())]);
    moving.answers();
}

/// Where the target is gone, what names it is all that is known: what somebody has changed since is left as it is.
#[test]
fn a_configuration_in_the_database_that_leads_elsewhere_by_now_is_not_pointed_back() {
    let (moving, file, text) = stored();
    moving.with(0, "move", &[&moving.target.url()], &[]);
    let moved = std::fs::read_to_string(&file).unwrap();
    let elsewhere = moved.replace(&format!(":{}/", moving.target.port), ":1/");
    assert_ne!(moved, elsewhere);
    std::fs::write(&file, &elsewhere).unwrap();
    moving.target.stop();
    let (document, said) = moving.pgbump(5, &["rollback"]);
    let error = document["error"].to_string();
    assert!(
        error.contains("is not known to lead to") && error.contains("mm-pgbump rollback --move"),
        "{document}{said}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), elsewhere);
    std::fs::write(&file, &moved).unwrap();
    moving.pgbump(0, &["rollback"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    moving.answers();
    moving.target.start();
}

/// What a provider gives one: somebody who makes roles and databases, and no superuser anywhere.
#[test]
fn an_administrator_who_is_no_superuser_makes_what_is_not_there_and_no_log_has_a_password() {
    let moving = Moving::new(false);
    let source = moving.source();
    moving.site.cluster.query("CREATE EXTENSION pg_trgm");
    let posts = Moving::posts(&moving.site.cluster, "mattermost");
    let target = &moving.target;
    target.sql("postgres", "ALTER SYSTEM SET log_statement = 'all'; SELECT pg_reload_conf()");
    target.sql("postgres", "CREATE ROLE chief CREATEROLE CREATEDB LOGIN PASSWORD 'geheim2'");
    let port = target.port;
    let app = format!("postgres://app:{TELLTALE}@127.0.0.1:{port}/new?sslmode=require");
    let admin = format!("postgres://chief:geheim2@127.0.0.1:{port}/postgres?sslmode=require");
    let file = moving.file(&[&app, &admin]);
    dies_at(&moving, "move-restored", &["move", "--target", file.to_str().unwrap()]);
    moving.pgbump(0, &["recover"]);
    let left = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname = 'app'), (SELECT count(*) FROM pg_database WHERE datname ~ '^new'), \
        (SELECT count(*) FROM pg_database WHERE datname ~ 'mm_trial')";
    assert_eq!(target.sql("postgres", left), "0|0|0");
    moving.is_as_before(&source);

    moving.with(0, "move", &[&app, &admin], &[]);
    assert_eq!(moving.source(), app);
    assert_eq!(Moving::posts(target, "new"), posts);
    let owners = "SELECT string_agg(DISTINCT tableowner, ','), (SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm') FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(target.sql("new", owners), "app|1");
    assert_eq!(target.sql("postgres", "SELECT pg_has_role('chief', 'app', 'MEMBER')"), "f");
    let log = format!("/var/log/postgresql/postgresql-{}-{}.log", target.major, target.name);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("CREATE ROLE \"app\"") && log.contains("SCRAM-SHA-256"), "nothing was logged");
    for secret in [TELLTALE, "geheim"] {
        assert!(!log.lines().any(|line| line.contains(secret) && !line.contains("CREATE ROLE chief")), "{log}");
    }
    moving.pgbump(0, &["rollback"]);
    assert_eq!(moving.source(), source);
}
