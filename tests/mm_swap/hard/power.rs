//! The order that a power cut has to find on the disk, asserted by `scripts/check-syscalls` from a log of a real run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mm_test_support::process::{PATH, workspace};
use mm_test_support::site::{Site, quick};
use mm_test_support::tool::{PACE, executable};

use super::{FROM, TO};

/// The log of a real run, and the install root in it.
struct Recorded {
    site: Site,
    log: PathBuf,
}

fn script() -> Command {
    let mut command = Command::new(workspace().join("scripts/check-syscalls"));
    command.env_clear().env("PATH", PATH).env(PACE.0, PACE.1).current_dir("/").stdin(Stdio::null());
    command
}

fn record() -> Recorded {
    let site = Site::builder(FROM).running().build();
    std::fs::write(site.install().join("templates/mine"), "mine\n").unwrap();
    let log = site.directory().join("calls");
    let mut command = script();
    command.arg("--record").arg(&log).arg("--").arg(executable("mm-swap")).args(site.flags());
    let output = command.arg("--archive").arg(quick(TO).build().tarball).arg("--no-backup").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.running_version().as_deref(), Some(TO));
    Recorded { site, log }
}

fn check(recorded: &Recorded, log: &Path) -> Output {
    script().arg("--install").arg(recorded.site.install()).arg(log).output().unwrap()
}

/// A log with something wrong in it is told from the real one, by the finding that says so.
fn bites(recorded: &Recorded, lines: &[String], finding: &str) {
    let doctored = recorded.site.directory().join("doctored");
    std::fs::write(&doctored, lines.join("\n")).unwrap();
    let output = check(recorded, &doctored);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{finding}: {said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(finding), "{finding}: {said}");
}

#[test]
fn intent_is_on_disk_before_the_first_exchange_and_nothing_is_deleted() {
    let recorded = record();
    let output = check(&recorded, &recorded.log);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("steps: nothing is lost"), "{said}");

    let text = std::fs::read_to_string(&recorded.log).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let without = |call: &str, part: &str| -> Vec<String> {
        lines.iter().filter(|line| !(line.contains(call) && line.contains(part))).cloned().collect()
    };
    let at = |call: &str, part: &str| lines.iter().position(|line| line.contains(call) && line.contains(part)).unwrap();
    let with = |position: usize, line: &str| {
        let mut doctored = lines.clone();
        doctored.insert(position, line.to_owned());
        doctored
    };
    let root = recorded.site.install().display().to_string();
    let first = at("renameat2", "RENAME_EXCHANGE");
    let last = lines.iter().rposition(|line| line.contains("RENAME_EXCHANGE")).unwrap();
    let moved = |from: usize, to: usize| {
        let mut doctored = lines.clone();
        let line = doctored.remove(from);
        doctored.insert(to, line);
        doctored
    };

    bites(&recorded, &without(" fsync(", "swap.journal."), "swap.journal gets its name before its contents are synced");
    bites(&recorded, &without(" fsync(", "/state/mattermost-"), "is not synced before the first step");
    bites(&recorded, &moved(first, at(" rename(", "swap.journal")), "the first step comes before a journal");
    bites(&recorded, &without(" syncfs(", ".mattermost.mm"), "the staged release is not synced");
    bites(&recorded, &moved(last, first), "comes after entries of bin");
    for directory in ["client", "templates"] {
        let finding = format!("{directory} is not synced between this step and the next process");
        bites(&recorded, &without(" fsync(", &format!("{root}/{directory}>")), &finding);
    }
    let one = lines[first].split(' ').next().unwrap();
    let deleted = format!("{one} unlink(\"{root}/client/root.html\") = 0");
    bites(&recorded, &with(last, &deleted), "client/root.html is deleted");
    bites(&recorded, &with(last, &format!("{one} rmdir(\"/srv/somebody\") = 0")), "/srv/somebody is deleted");
    let over = format!("{one} rename(\"{root}/x\", \"{root}/config/config.json\") = 0");
    bites(&recorded, &with(last, &over), "config/config.json would be overwritten");
    let data =
        format!("{one} renameat2(3<{root}>, \"data\", 4<{root}/../.mattermost.mm/x>, \"data\", RENAME_EXCHANGE) = 0");
    bites(&recorded, &with(first, &data.replace("mattermost/../", "")), "data is the user's");

    let nothing = script().arg("--install").arg("/opt/another").arg(&recorded.log).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2), "a log of something else proves nothing");
}
