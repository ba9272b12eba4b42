//! A site that is carried onto a new host, as `mm-upgrade(7)` has it: all that comes along is the restore point.

use std::fs;

use mm_test_support::cluster::{ROLE, TELLTALE};
use mm_test_support::process;
use mm_test_support::site::Site;
use mm_test_support::tool::shell;

#[test]
fn a_site_comes_to_a_new_host_with_a_newer_postgres_from_its_restore_point_alone() {
    let site = Site::builder("9.11.18").postgres(13).running().build();
    let (history, counts, files) = (site.history(), site.counts(), site.user_files());
    let (flags, sent) = (site.flags().join(" "), site.directory().join("sent"));
    let run = |script: &str| {
        let output = shell(script).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(&format!("mm-backup {flags} --to {} --stop --leave-stopped </dev/null >/dev/null", site.store().display()));
    run(&format!(
        "set -o pipefail; mm-backup export {flags} --to {} </dev/null | (mkdir -p -m 0700 {1} && tar -xpf - -C {1})",
        site.store().display(),
        sent.display()
    ));

    // The new host: an empty cluster of a newer major where the data source says, and nothing else.
    let (name, port) = (site.cluster.name.as_str(), format!("--port={}", site.cluster.port));
    process::run("pg_dropcluster", &["--stop", "13", name]);
    // It logs every statement, as some do, and extensions keep statements and log them.
    let options = [
        "--locale=C.UTF-8",
        "--encoding=UTF8",
        "--pgoption=fsync=off",
        "--pgoption=log_statement=all",
        "--pgoption=shared_preload_libraries=pg_stat_statements,auto_explain",
        "--pgoption=auto_explain.log_min_duration=0",
        "--start",
    ];
    process::run("pg_createcluster", &[&options[..], &[&port, "15", name, "--", "--no-sync"]].concat());
    for directory in [site.install(), site.state(), site.store(), site.cache()] {
        let _ = fs::remove_dir_all(directory);
    }

    run(&format!("mm-backup verify --restore --to {} </dev/null >/dev/null", sent.display()));
    run(&format!("mm-backup restore latest {flags} --to {} </dev/null >/dev/null", sent.display()));
    // PostgreSQL 13 keeps a password as MD5, and what a newer one's pg_hba.conf asks for is another form of the same one.
    let kept = format!("SELECT left(rolpassword, 5) FROM pg_authid WHERE rolname = '{ROLE}'");
    assert_eq!(site.cluster.sql("postgres", &kept).trim(), "SCRAM");
    let log = fs::read_to_string(format!("/var/log/postgresql/postgresql-15-{name}.log")).unwrap();
    assert!(log.contains("statement: ALTER DATABASE"), "nothing is logged there");
    assert!(log.contains("Query Text: "), "no plan is logged there");
    assert!(!log.contains(TELLTALE) && !log.contains("PASSWORD"), "a password is in the server's log");
    let kept = "CREATE EXTENSION pg_stat_statements; SELECT query FROM pg_stat_statements";
    let kept = site.cluster.sql("postgres", kept);
    assert!(kept.contains("ALTER DATABASE") && !kept.contains(TELLTALE) && !kept.contains("PASSWORD"), "{kept}");
    site.start();
    run(&format!("mm-verify {flags} --browser no </dev/null >/dev/null"));
    assert!(site.cluster.query("SHOW server_version").starts_with("15"));
    assert_eq!((site.history(), site.counts(), site.user_files()), (history, counts, files));
}
