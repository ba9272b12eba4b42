//! Our units, as they confine the tool, under a real systemd: what they are there for still works.

use std::fs;

use mm_test_support::container::{Container, Network, PATIENCE};
use mm_test_support::process::{self, TEST_USER, run, wait_until};
use mm_test_support::site::Site;
use mm_test_support::tool;

use crate::listed;

const UNITS: [&str; 2] = ["mm-backup.service", "mm-backup-verify.service"];

/// A unit as it stands in the repository, with the tool that was built.
fn unit(name: &str) -> String {
    let text = fs::read_to_string(process::workspace().join("scripts/systemd").join(name)).unwrap();
    text.replace("/usr/local/bin/mm-backup", tool::executable("mm-backup").to_str().unwrap())
}

#[test]
fn the_units_leave_little_to_whoever_gets_hold_of_the_tool() {
    for (name, most) in UNITS.into_iter().zip(["50", "40"]) {
        let path = process::workspace().join("scripts/systemd").join(name);
        let said = run(
            "systemd-analyze",
            &["security", "--offline=true", &format!("--threshold={most}"), path.to_str().unwrap()],
        );
        assert!(said.contains("exposure level"), "{name}: {said}");
    }
}

#[test]
fn backup_stop_proof_and_restore_work_as_the_units_confine_them() {
    let site = Site::builder("10.5.12").build();
    let root = site.install();
    let server = format!(
        "[Service]\nType=notify\nExecStart={0}/bin/mattermost\nWorkingDirectory={0}\nUser={TEST_USER}\nGroup={TEST_USER}\n",
        root.display()
    );
    let conf = format!(
        "MM_INSTALL={}\nMM_STATE_DIR={}\nMM_STORE={}\n",
        root.display(),
        site.state().display(),
        site.store().display()
    );
    // The site lies below /tmp, of which the units have one of their own.
    let place = format!(
        "[Service]\nBindPaths={}\nEnvironment=MM_CHECKPOINT_CONF=/etc/mm-tools.conf\n",
        site.directory().display()
    );
    let [backup, verify] = UNITS.map(unit);
    let container = Container::boot(
        &site,
        Network::Shared,
        &[
            ("etc/mm-tools.conf", conf.as_str()),
            ("etc/systemd/system/mattermost.service", server.as_str()),
            ("etc/systemd/system/mm-backup.service", backup.as_str()),
            ("etc/systemd/system/mm-backup-verify.service", verify.as_str()),
            ("etc/systemd/system/mm-backup.service.d/place.conf", place.as_str()),
            ("etc/systemd/system/mm-backup-verify.service.d/place.conf", place.as_str()),
        ],
    );
    container.run("systemctl", &["start", "mattermost"]);
    wait_until("the server to answer", PATIENCE, || site.answers());
    let start = |name: &str| {
        let output = container.inside("systemctl", &["start", name]);
        let journal = container.inside("journalctl", &["--no-pager", "--output=cat", "--unit", name]);
        let journal = String::from_utf8_lossy(&journal.stdout).into_owned();
        assert!(output.status.success(), "{name}: {journal}");
        journal
    };
    let journal = start("mm-backup");
    let lines: Vec<_> = journal.lines().filter(|line| line.contains("restore point")).collect();
    assert!(
        lines.len() == 1 && lines[0].contains(" of it new, in ") && lines[0].contains("1 restore point in"),
        "{journal}"
    );
    start("mm-backup-verify");

    let again = |flags: &str| {
        let words = format!("{} {flags} --document none --format human", tool::executable("mm-backup").display());
        // A restore puts the server's own unit back, too.
        let text = format!("[Service]\nReadWritePaths=/etc/systemd/system\nExecStart=\nExecStart={words}\n");
        fs::write(container.path("etc/systemd/system/mm-backup.service.d/again.conf"), text).unwrap();
        container.run("systemctl", &["daemon-reload"]);
        start("mm-backup");
        wait_until("the server to answer", PATIENCE, || site.answers());
    };
    again("create --stop");
    assert_eq!(listed(&site).0.len(), 2);
    let config = fs::read(site.config_path()).unwrap();
    let lost = root.join("README.md");
    fs::remove_file(&lost).unwrap();
    again("restore latest --files --stop");
    assert!(lost.exists());
    assert_eq!(fs::read(site.config_path()).unwrap(), config);
}
