//! The role and the playbooks of `scripts/ansible`, run by the real ansible-core over ssh, on hosts of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod cluster;
mod collection;
mod fixture;
mod install;

use fixture::{Play, main_pid, packed, user_files};
use mm_test_support::cluster::TELLTALE;
use mm_test_support::host::Host;
use mm_test_support::site::quick;
use serde_json::Value;

#[test]
fn a_host_without_the_tools_is_upgraded_once_and_a_second_run_changes_nothing() {
    let mut play = Play::without_tools(&[quick("10.5.14"), quick("10.6.1")], &["one"]);
    play.set("mm_tools_deb", packed()[0].to_str().unwrap());
    play.set("mm_tools_to", "10.6.1");
    let host = &play.hosts[0];
    let (history, files) = (play.history(), user_files(host));
    let first = play.run("upgrade.yml", &["-vvv"]).good();
    assert!(first.count("one", "changed") > 0 && first.count("one", "failed") == 0);
    assert!(!first.said.contains(TELLTALE), "the password of the database is in the log");
    assert_eq!(play.running_versions(), ["10.6.1"], "public, on its own port");
    assert_eq!((play.history(), user_files(host)), (history, files));
    let pid = main_pid(host);
    play.run("upgrade.yml", &[]).unchanged(&["one"]);
    assert_eq!(main_pid(host), pid);
}

#[test]
#[ignore = "long: minutes of Ansible"]
fn a_check_changes_nothing_and_users_stay_out_between_two_hops() {
    let mut play = Play::without_tools(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1")], &["one"]);
    play.set("mm_tools_deb", packed()[0].to_str().unwrap());
    play.set("mm_tools_to", "10.6.1");
    let host = &play.hosts[0];
    let pid = main_pid(host);
    let nothing = "test ! -e /srv/backup && test ! -e /var/cache/mm-tools/* && test ! -e /var/lib/mm-tools/*";

    let check = play.run("upgrade.yml", &["--check"]).good();
    assert!(check.said.contains("changed: [one]") && check.said.contains("Install them first"), "{}", check.said);
    assert!(!host.inside("command -v mm-path").status.success(), "a check has installed the tools");

    let first = play.run("install.yml", &[]).good();
    assert!(first.count("one", "changed") > 0, "{}", first.said);
    let check = play.run("upgrade.yml", &["--check"]).good();
    assert!(check.count("one", "changed") > 0 && check.said.contains("9.11.18 to 10.5.14"), "{}", check.said);
    assert_eq!(main_pid(host), pid, "the server was touched");
    host.run(nothing);

    play.run("upgrade.yml", &[]).good();
    assert_eq!(play.running_versions(), ["10.6.1"], "public, on its own port");
    let record: Value = serde_json::from_str(&host.run("cat /var/lib/mm-tools/ansible.json")).unwrap();
    let done = record["done"].as_array().unwrap();
    assert_eq!(done.len(), 2, "{record}");
    assert!(done[0]["swap"]["private_address"].is_string(), "users stay out in between: {}", done[0]["swap"]);
    assert_eq!(record["site"]["service"]["unit"], "mattermost.service", "{record}");
}

#[test]
fn a_hop_that_fails_is_told_with_the_tools_message_and_hint() {
    let play = Play::of(&[quick("10.5.14"), quick("10.6.1").fault("crash-at-start")], &["one"]);
    let failed = play.run("upgrade.yml", &["-e", "mm_tools_to=10.6.1"]);
    assert_eq!(failed.code, Some(2), "{}", failed.said);
    let told = failed.said.rsplit_once("The hop has failed").unwrap().1;
    assert!(told.contains("10.5.14 to 10.6.1: mm-swap: ") && told.contains(". Next: "), "{told}");
    assert_eq!(failed.count("one", "failed"), 1);
    assert_eq!(play.running_versions(), ["10.5.14"], "the last good release, public");
}

#[test]
#[ignore = "long: minutes of Ansible"]
fn what_is_set_wrongly_is_told_before_anything_is_changed() {
    let play = Play::of(&[quick("10.5.14"), quick("10.6.1")], &["one"]);
    let refused = play.run("upgrade.yml", &["-e", "mm_tools_to=9.5.14"]);
    assert!(refused.code == Some(2) && refused.said.contains("mm-path: "), "{}", refused.said);
    for (arguments, told) in [
        (&[][..], "Set mm_tools_to"),
        (&["-e", "{mm_tools_to: 10.10}"], "Write mm_tools_to in quotes"),
        (&["-e", "mm_tools_to=10.6.1", "-e", "mm_tools_policy=fast"], "must be one of: esr, minor, direct"),
    ] {
        let wrong = play.run("upgrade.yml", arguments);
        assert!(wrong.code == Some(2) && wrong.said.contains(told), "{}", wrong.said);
        assert_eq!(wrong.count("one", "changed"), 0, "{}", wrong.said);
    }
}

/// As most administrators have it: nobody logs in as root.
#[test]
#[ignore = "long: minutes of Ansible"]
fn an_ordinary_login_with_sudo_is_enough() {
    let mut play = Play::without_tools(&[quick("9.11.18"), quick("10.5.14")], &["one"]);
    play.set("mm_tools_deb", packed()[0].to_str().unwrap());
    play.set("mm_tools_to", "10.5.14");
    let host = &play.hosts[0];
    host.run(
        "useradd --create-home --shell /bin/bash --password '*' deploy; \
         echo 'deploy ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/deploy; chmod 440 /etc/sudoers.d/deploy",
    );
    let (history, files) = (play.history(), user_files(host));
    let login = ["-e", "ansible_user=deploy"];
    let alone = play.run("upgrade.yml", &[&login[..], &["-e", "ansible_become=false"]].concat());
    assert_eq!((alone.code, alone.count("one", "changed")), (Some(2), 0), "{}", alone.said);

    let first = play.run("upgrade.yml", &login).good();
    assert_eq!(play.running_versions(), ["10.5.14"], "{}", first.said);
    assert_eq!((play.history(), user_files(host)), (history, files));
    assert_eq!(host.run("stat -c '%a %U' /var/lib/mm-tools/ansible.json"), "600 root");
    play.run("upgrade.yml", &login).unchanged(&["one"]);
    play.run("backup.yml", &login).good();
    assert_eq!(
        points(host, "/srv/backup"),
        2,
        "the newest of the day, and the one that the way back of the upgrade needs"
    );
    assert_eq!(host.run("find /home/deploy /tmp -user deploy -type f ! -name '.*' ! -path '*/.*'"), "");
}

#[test]
#[ignore = "long: minutes of Ansible"]
fn another_applications_database_is_upgraded_only_with_leave() {
    let mut play = Play::of(&[quick("10.5.14"), quick("10.6.1")], &["one"]);
    play.set("mm_tools_to", "10.6.1");
    play.set("mm_tools_postgres", "15");
    let host = &play.hosts[0];
    let wiki = |host: &Host, sql: &str| host.run(&format!("runuser -u postgres -- psql -XqAt -d wiki -c \"{sql}\""));
    host.run("runuser -u postgres -- createdb wiki");
    wiki(host, "CREATE TABLE pages AS SELECT n FROM generate_series(1, 500) n");
    let version = "SELECT current_setting('server_version_num')::int / 10000, count(*) FROM pages";
    let refused = play.run("upgrade.yml", &[]);
    assert!(refused.code == Some(2) && refused.said.contains("--shared-cluster"), "{}", refused.said);
    assert_eq!((play.running_versions(), wiki(host, version)), (vec!["10.5.14".to_owned()], "13|500".to_owned()));

    play.set("mm_tools_shared_cluster", true);
    let host = &play.hosts[0];
    let first = play.run("upgrade.yml", &[]).good();
    assert_eq!(play.running_versions(), ["10.6.1"], "{}", first.said);
    assert_eq!(wiki(host, version), "15|500");
    host.run("test -s /srv/backup/*/database/other-wiki.dump");
    play.run("upgrade.yml", &[]).unchanged(&["one"]);
}

#[test]
fn restore_points_are_made_now_and_every_night() {
    let play = Play::of(&[quick("9.11.18")], &["one"]);
    let host = &play.hosts[0];
    let first = play.run("backup.yml", &["-e", "mm_tools_prove=true"]).good();
    assert_eq!(first.count("one", "changed"), 2, "the table and a restore point: {}", first.said);
    let table = host.run("cat /etc/cron.d/mm-backup");
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(lines.len(), 2, "{table}");
    for line in lines {
        let command = line.split_once(" root  ").unwrap().1;
        let output = host.inside(command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len(), said.as_str()), (Some(0), 0, ""), "{command}");
    }
    assert_eq!(points(host, "/srv/backup"), 1, "of one day the newest one is kept");
}

#[test]
#[ignore = "long: minutes of Ansible"]
fn restore_points_are_made_by_timers_or_by_cron_and_never_by_both() {
    let mut play = Play::without_tools(&[quick("9.11.18")], &["one"]);
    play.set("mm_tools_deb", packed()[0].to_str().unwrap());
    play.run("install.yml", &[]).good();
    play.run("backup.yml", &["--tags", "schedule"]).good();
    play.run("backup.yml", &["--tags", "schedule"]).unchanged(&["one"]);

    // By timers instead, into a store that means something to systemd.
    let store = "/srv/of ${HOME} 5%";
    play.set("mm_tools_schedule", "systemd");
    play.set("mm_tools_store", store);
    play.set("mm_tools_timer_backup", "*-*-* 02:22:22");
    let host = &play.hosts[0];
    let timers = play.run("backup.yml", &["--tags", "schedule"]).good();
    assert!(timers.count("one", "changed") > 0, "{}", timers.said);
    play.run("backup.yml", &["--tags", "schedule"]).unchanged(&["one"]);
    host.run("test ! -e /etc/cron.d/mm-backup");
    assert_eq!(host.run("systemctl is-active mm-backup.timer mm-backup-verify.timer"), "active\nactive");
    let calendar = host.run("systemctl show -P TimersCalendar mm-backup.timer");
    assert!(calendar.contains("02:22:22") && !calendar.contains("03:00:00"), "{calendar}");
    host.run("systemctl start mm-backup.service; systemctl start mm-backup-verify.service");
    assert_eq!(points(host, store), 1);

    play.run("backup.yml", &["--tags", "schedule", "-e", "mm_tools_schedule=cron"]).good();
    host.run("test -e /etc/cron.d/mm-backup; ! systemctl is-enabled mm-backup.timer mm-backup-verify.timer");
    assert_eq!(host.run("systemctl show -P DropInPaths mm-backup.service"), "");
}

fn points(host: &Host, store: &str) -> usize {
    let list = host.run(&format!("mm-backup list --to '{store}' --format json"));
    let list: Value = serde_json::from_str(&list).unwrap();
    list["points"].as_array().unwrap().len()
}
