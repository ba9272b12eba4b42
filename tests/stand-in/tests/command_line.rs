//! The command line of `bin/mattermost`, version by version.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_push_string,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod lab;

use lab::{Lab, Site};

fn output(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = site.run(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn version_of_old_servers_migrates_the_database_before_it_answers() {
    let lab = Lab::new();
    lab.seeded("origin");
    for (version, row, lines_of_log) in
        [("5.29.0", "5.29.0", false), ("5.37.1", "5.37.0", false), ("6.3.0", "6.3.0", true)]
    {
        let site = lab.install(version, "origin");
        let skipped = output(&site, &["version", "--skip-server-start"]);
        assert_eq!((skipped.0, skipped.1.lines().count(), skipped.2.as_str()), (Some(0), 5, ""), "{version}");
        let (code, stdout, stderr) = output(&site, &["version"]);
        assert_eq!(code, Some(0));
        assert!(stdout.contains(&format!("Version: {version}\nBuild Number: {version}\nBuild Date: ")), "{stdout}");
        assert!(stdout.contains(&format!("Build Enterprise Ready: false\nDB Version: {row}\n")), "{stdout}");
        assert_eq!(stdout.lines().count() > 6, lines_of_log, "{version}: {stdout}");
        assert_eq!(stderr.is_empty(), lines_of_log, "{version}: {stderr}");
        assert_eq!(lab.sql("origin", "SELECT value FROM systems WHERE name = 'Version'"), row);
    }
}

#[test]
fn version_of_newer_servers_is_harmless_and_db_version_is_not() {
    let lab = Lab::new();
    lab.seeded("origin");
    let site = lab.install("9.10.0", "origin");
    let (code, stdout, stderr) = output(&site, &["version"]);
    assert_eq!((code, stdout.lines().count(), stderr.as_str()), (Some(0), 5, ""));
    assert_eq!(lab.sql("origin", "SELECT to_regclass('db_migrations') IS NULL"), "t");
    let (code, _, stderr) = output(&site, &["version", "--skip-server-start"]);
    assert!(code == Some(0) && stderr.starts_with("Flag --skip-server-start has been deprecated"), "{stderr}");

    let (code, stdout, _) = output(&site, &["db", "migrate", "--dry-run"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "Database successfully migrated\n"));
    assert_eq!(lab.sql("origin", "SELECT count(*) FROM db_migrations"), "0");

    let (code, stdout, _) = output(&site, &["db", "version"]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.lines().next().unwrap().contains("Pinging SQL")
            && stdout.ends_with("Current database schema version is: 121\n"),
        "{stdout}"
    );
    assert_eq!(lab.sql("origin", "SELECT count(*) FROM db_migrations"), "120");
    let (_, stdout, _) = output(&site, &["db", "version", "--all"]);
    assert!(stdout.contains("Varsion: 121, Name: remove_true_up_review_history\n"), "{stdout}");
    let (_, stdout, _) = output(&site, &["db", "migrate"]);
    assert_eq!(stdout, "No migrations to apply.\n");
}

#[test]
fn commands_come_and_go() {
    let lab = Lab::new();
    lab.create("x");
    let old = lab.install("5.29.0", "x");
    let (code, _, stderr) = output(&old, &["db", "version"]);
    assert!(code == Some(1) && stderr.starts_with("Error: unknown command \"db\" for \"mattermost\""), "{stderr}");
    let (code, stdout, _) = output(&old, &["config", "get", "ServiceSettings.ListenAddress"]);
    assert_eq!((code, stdout), (Some(0), format!("ServiceSettings.ListenAddress: \"127.0.0.1:{}\"\n", old.port)));
    // The trap: the help of `db`, and 0.
    let (code, stdout, _) = output(&lab.install("6.3.0", "x"), &["db", "version"]);
    assert!(code == Some(0) && stdout.starts_with("Commands related to the database"), "{stdout}");
    let (code, _, stderr) = output(&lab.install("11.6.0", "x"), &["version", "--skip-server-start"]);
    assert!(code == Some(1) && stderr.starts_with("Error: unknown flag: --skip-server-start"), "{stderr}");
    let (code, _, stderr) = output(&lab.install("7.8.15", "x"), &["config", "show"]);
    assert!(code == Some(1) && stderr.starts_with("Error: unknown command \"config\""), "{stderr}");
    let (code, _, stderr) = output(&lab.install("7.8.15", "x"), &["--version"]);
    assert!(code == Some(1) && stderr.starts_with("Error: unknown flag: --version"), "{stderr}");
}
