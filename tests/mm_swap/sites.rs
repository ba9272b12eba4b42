//! Servers that are set up otherwise than the usual one: an exchange ends as well there.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use mm_test_support::site::{Site, quick};

use super::{FROM, Said, TO, swap, verb};

#[test]
fn a_server_below_the_path_of_its_site_url_is_looked_for_there() {
    let site = Site::builder(FROM).build();
    site.set("ServiceSettings", "SiteURL", format!("{}/chat", site.url()).into());
    let version = || site.get("/chat/api/v4/config/client?format=old").map(|answer| answer.body);
    swap(&site, &quick(TO).build(), &["--start-timeout", "20"]).with(0);
    assert!(version().unwrap().contains(&format!("\"Version\":\"{TO}\"")), "{:?}", version());
    swap(&site, &quick("10.6.1").build(), &["--start-timeout", "20", "--private"]).with(0);
    assert!(version().is_none(), "users can get in");
    verb(&site, &["publish"]).with(0);
    assert!(version().unwrap().contains("\"Version\":\"10.6.1\""), "{:?}", version());
}

/// A row of a job that this server does not know, so that it stays as it is.
fn job(site: &Site, status: &str) {
    site.cluster.query(&format!(
        "INSERT INTO jobs (id, type, status, priority, createat, startat, lastactivityat, progress, data) VALUES
           (md5('{status}')::char(26), 'delete_dms_preferences_migration', '{status}', 0, 1, 1, 1, 0, '{{}}')"
    ));
}

#[test]
fn a_job_that_a_killed_server_has_left_begun_is_not_waited_for_and_a_pending_one_is() {
    let site = Site::builder(FROM).running().build();
    job(&site, "in_progress");
    swap(&site, &quick(TO).build(), &["--start-timeout", "20"]).with(0);
    verb(&site, &["rollback"]).with(0);
    job(&site, "pending");
    let said = swap(&site, &quick(TO).build(), &["--start-timeout", "10"]).with(6);
    assert!(
        said.document["error"].to_string().contains("delete_dms_preferences_migration (pending)"),
        "{}",
        said.stderr
    );

    // Another node of the cluster is there for it.
    site.set("JobSettings", "RunJobs", false.into());
    swap(&site, &quick(TO).build(), &["--start-timeout", "20"]).with(0);
}

/// Somebody else's, anywhere on the host; here in a namespace of the tool's own, as other tests run beside this one.
#[test]
fn a_mount_point_whose_name_is_not_utf8_does_not_matter() {
    let site = Site::builder(FROM).build();
    let release = quick(TO).build();
    let directory = site.directory().join(OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&directory).unwrap();
    let mut tool = site.tool("mm-swap");
    tool.arg("--archive").arg(&release.tarball).args(["--no-backup", "--dry-run"]);
    let mounted = "mount -t tmpfs none \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", mounted, "sh"]).arg(&directory);
    let said = Said::from(command.arg(tool.get_program()).args(tool.get_args()).output().unwrap()).with(0);
    assert!(!said.document["swap"]["exchanged"].as_array().unwrap().is_empty());
}

/// The server would start, and its users would find no team.
#[test]
fn a_jump_that_the_rules_forbid_is_refused_whoever_names_the_release() {
    let site = Site::builder("5.29.0").build();
    let release = quick("10.6.1").build();
    let said = swap(&site, &release, &["--dry-run"]).with(5);
    let error = said.document["error"].to_string();
    assert!(error.contains("10.6.1 must not be installed over 5.29.0"), "{error}");
    assert!(error.contains("rule eight-columns") && error.contains("rule through-7.1"), "{error}");
    let path = format!("mm-path --install {} --to 10.6.1 --state-dir ", site.install().display());
    assert!(error.contains(&path) && error.contains(" --format human shows the path"), "{error}");
    assert!(error.contains("--accept jump"), "{error}");
    // For who knows better.
    let said = swap(&site, &release, &["--dry-run", "--accept", "jump"]).with(0);
    assert!(!said.document["swap"]["exchanged"].as_array().unwrap().is_empty());
    // A step that they allow needs no word.
    swap(&site, &quick("5.37.10").build(), &["--dry-run"]).with(0);
}

/// What breaks an upgrade: the release wants to apply a migration under a number that the database has used.
#[test]
fn a_number_that_the_release_gives_to_another_migration_is_refused_before_the_stop() {
    let site = Site::builder("10.5.14").running().build();
    let (pids, release) = (site.pids(), quick("10.11.6").build());
    site.cluster.query("INSERT INTO db_migrations VALUES (141, 'of_another_build')");
    for more in [&[][..], &["--dry-run"]] {
        let said = swap(&site, &release, more).with(5);
        let error = said.document["error"].to_string();
        assert!(error.contains("would stop in the migrations"), "{error}");
        assert!(error.contains("141 is of_another_build here and "), "{error}");
        assert!(error.contains(&format!("mm-path --install {}", site.install().display())), "{error}");
    }
    assert_eq!(site.pids(), pids, "the server was stopped");
    site.cluster.query("DELETE FROM db_migrations WHERE version = 141");

    // A name of the MySQL set is known; a row beyond the release is told and stops nothing.
    site.cluster.query("UPDATE db_migrations SET name = 'add_createat_to_teammembers' WHERE version = 92");
    site.cluster.query("INSERT INTO db_migrations VALUES (990, 'of_the_future')");
    let said = swap(&site, &release, &["--dry-run"]).with(0);
    assert!(
        said.stderr.contains("the database is ahead of 10.11.6, which does not have: 990 of_the_future"),
        "{}",
        said.stderr
    );
    site.cluster.query("DELETE FROM db_migrations WHERE version = 990");
    site.cluster.query("UPDATE db_migrations SET name = 'add_createat_to_teamembers' WHERE version = 92");
    let said = swap(&site, &release, &[]).with(0);
    assert!(!said.stderr.contains("migration") && !said.stderr.contains("ahead"), "{}", said.stderr);
    assert_eq!(site.running_version().as_deref(), Some("10.11.6"));
}
