//! The examples for cron and systemd.

use std::fs;
use std::process::Command;

use mm_test_support::process;
use mm_test_support::site::Site;
use mm_test_support::tool;

use crate::listed;

#[test]
fn the_lines_for_cron_work_and_are_silent() {
    let site = Site::builder("5.29.0").build();
    let table = fs::read_to_string(process::workspace().join("scripts/systemd/mm-backup.cron")).unwrap();
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(lines.len(), 2, "a backup and its proof");
    for line in lines {
        // Five fields for the time, the user, the command.
        let (_, command) = line.split_once(" root  ").unwrap();
        let mut command = tool::shell(command);
        // As /etc/mm-tools.conf would say it.
        command.env("MM_INSTALL", site.install()).env("MM_STATE_DIR", site.state()).env("MM_SERVICE", "exec");
        let output = command.env("MM_STORE", site.store()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len(), said.as_str()), (Some(0), 0, ""), "{command:?}");
        assert_eq!(listed(&site).0.len(), 1);
    }
    let table = fs::read_to_string(process::workspace().join("scripts/systemd/mm-fetch-refresh.cron")).unwrap();
    let (_, command) = table.trim_end().rsplit_once(" root  ").unwrap();
    let (page, state) = (site.directory().join("page.md"), site.directory().join("refreshed"));
    fs::write(&page, "| v12.91 | 2027-03-16 | 2028-03-15 |\n").unwrap();
    let from = format!("refresh --from {} --state-dir {}", page.display(), state.display());
    let output = tool::shell(&command.replace("refresh", &from)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len(), said.as_str()), (Some(0), 0, ""));
    assert!(state.join("catalogue.json").is_file());
}

#[test]
fn systemd_accepts_the_units_and_the_tools_accept_their_command_lines() {
    let directory = tempfile::tempdir().unwrap();
    let [tool, fetch] = ["mm-backup", "mm-fetch"].map(|name| tool::executable(name).to_str().unwrap().to_owned());
    for name in [
        "mm-backup.service",
        "mm-backup.timer",
        "mm-backup-verify.service",
        "mm-backup-verify.timer",
        "mm-fetch-refresh.service",
        "mm-fetch-refresh.timer",
    ] {
        let unit = fs::read_to_string(process::workspace().join("scripts/systemd").join(name)).unwrap();
        let unit = unit.replace("/usr/local/bin/mm-backup", &tool).replace("/usr/local/bin/mm-fetch", &fetch);
        fs::write(directory.path().join(name), &unit).unwrap();
        let Some((_, command)) =
            unit.replace("\\\n", " ").split_once("ExecStart=").map(|(a, b)| (a.to_owned(), b.to_owned()))
        else {
            continue;
        };
        // What the command line says is looked at before anything else: a wrong flag is 2.
        let command = command.lines().next().unwrap();
        // Where no pages are, and no network is asked.
        let command = command.replace(" refresh ", " refresh --from /nonexistent --state-dir /nonexistent/state ");
        let mut shell = tool::shell(&format!("{command} </dev/null"));
        shell.env("MM_INSTALL", "/nonexistent/mattermost").env("MM_STORE", "/nonexistent/store");
        let code = shell.output().unwrap().status.code();
        assert_eq!(code, Some(if name.starts_with("mm-fetch") { 1 } else { 5 }), "{name}");
    }
    let text = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    // It only warns of what it does not know, and goes on.
    for timer in ["mm-backup.timer", "mm-backup-verify.timer", "mm-fetch-refresh.timer"] {
        let units = [text(timer), text(&timer.replace("timer", "service"))];
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let about_ours =
            said.lines().filter(|line| line.contains("mm-backup") || line.contains("mm-fetch")).collect::<Vec<_>>();
        assert!(output.status.success() && about_ours.is_empty(), "{said}");
    }
}
