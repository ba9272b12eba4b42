//! `scripts/mm-upgrade` where a hop fails, or cannot be judged: what runs then, and who is let in.

use std::fs;

use mm_test_support::site::quick;
use mm_test_support::upgrade::Upgrade;
use mm_test_support::{process, tool};

use crate::run::good;

#[test]
fn a_hop_that_fails_leaves_the_last_good_release_public_and_can_be_resumed() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1").fault("crash-at-start")]);
    let site = &upgrade.site;
    let history = site.history();
    let output = upgrade.run("run", &["--to", "10.6.1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("mm-swap: error:") && said.contains("mm-upgrade resume"), "{said}");
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"), "public, on its own port");
    assert_eq!(site.history(), history);
    let status = String::from_utf8(upgrade.run("status", &[]).stdout).unwrap();
    assert!(status.contains("now      10.5.14") && status.contains("error    mm-swap: "), "{status}");
    // A run that never begins does not take the place of the one that is to be resumed.
    assert_eq!(upgrade.run("run", &["--to", "9.5.14"]).status.code(), Some(5));

    // The cause is removed: the release site now has a sound one, with another digest.
    let sound = [quick("9.11.18"), quick("10.5.14"), quick("10.6.1")].map(|order| order.build());
    fs::remove_dir_all(upgrade.releases.directory.join("10.6.1")).unwrap();
    mm_test_support::release::publish(&upgrade.releases.directory, &sound);
    fs::write(&upgrade.releases.catalogue, mm_test_support::release::catalogue(&sound).to_string()).unwrap();
    good(&upgrade.run("resume", &[]));
    assert_eq!(site.running_version().as_deref(), Some("10.6.1"));
    assert_eq!(site.history(), history);
    assert_eq!(upgrade.last("final.json")["done"].as_array().unwrap().len(), 2);
}

#[test]
fn a_private_server_that_no_verification_has_passed_lets_nobody_in() {
    let broken = quick("10.5.14").fault("call-broken=GET /users/*/teams/*/channels/members");
    let upgrade = Upgrade::of(&[quick("9.11.18"), broken, quick("10.6.1")]);
    let site = &upgrade.site;
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let output = upgrade.run("run", &["--to", "10.6.1"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert_eq!(site.running_version(), None, "users can get in");
    let text = said(&output);
    let mut last = text.lines().rev();
    let (back, inward) = (last.next().unwrap(), last.next().unwrap());
    assert!(back.contains("mm-upgrade rollback --runs "), "{text}");
    let (_, command) = inward.split_once("To let them in: ").unwrap_or_else(|| panic!("{text}"));
    assert!(command.starts_with("mm-swap publish --install "), "{text}");
    let status = String::from_utf8(upgrade.run("status", &[]).stdout).unwrap();
    assert!(status.contains("runs     10.5.14, privately: users are not let in"), "{status}");

    // Going on changes nothing of that, unless it is wanted.
    let output = upgrade.run("resume", &[]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert_eq!(site.running_version(), None, "users can get in");
    let output = mm_test_support::tool::shell(&format!("{command} --dry-run")).output().unwrap();
    assert!(output.status.success() && said(&output).is_empty(), "{command}: {}", said(&output));
    let output = upgrade.run("resume", &["--on-failure", "publish"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"), "{}", said(&output));
    let status = String::from_utf8(upgrade.run("status", &[]).stdout).unwrap();
    assert!(status.contains("runs     10.5.14\n"), "{status}");
}

/// The last hop serves before it is verified, and so does every one with `--public`.
#[test]
fn a_public_server_that_no_verification_has_passed_is_said_to_serve() {
    let broken = quick("10.5.14").fault("call-broken=GET /users/*/teams/*/channels/members");
    let upgrade = Upgrade::of(&[quick("9.11.18"), broken, quick("10.6.1")]);
    let site = &upgrade.site;
    let history = site.history();
    for flags in [&["--to", "10.5.14"][..], &["--to", "10.6.1", "--public"]] {
        let output = upgrade.run("run", flags);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{flags:?}: {said}");
        assert_eq!(site.running_version().as_deref(), Some("10.5.14"), "{flags:?}: {said}");
        let mut last = said.lines().rev();
        let (back, state, on) = (last.next().unwrap(), last.next().unwrap(), last.next().unwrap());
        assert!(state.contains("the server runs 10.5.14, public: users are in, though its verification"), "{said}");
        assert!(!said.contains("mm-swap publish"), "they are in already: {said}");
        let status = String::from_utf8(upgrade.run("status", &[]).stdout).unwrap();
        assert!(status.contains("runs     10.5.14\n"), "{status}");
        // Both commands, as they stand there.
        for (line, verb, code) in [(on, "resume", 4), (back, "rollback", 0)] {
            assert!(line.ends_with(&format!(": mm-upgrade {verb} --runs {}", upgrade.runs().display())), "{said}");
            let output = upgrade.run(verb, &[]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{verb}: {said}");
        }
        assert_eq!(site.running_version().as_deref(), Some("9.11.18"));
        assert_eq!(site.history(), history);
    }
}

#[test]
fn a_server_that_stays_stopped_is_said_to_be() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14")]);
    let site = &upgrade.site;
    // In place of mm-pgbump, once: a backup has the lock, for longer than it waits.
    upgrade.shim("mm-pgbump", "echo \"$@\" >\"$0.called\"; exit 75");
    let output = upgrade.run("run", &["--to", "10.5.14"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{said}");
    let called = fs::read_to_string(site.directory().join("shims/mm-pgbump.called")).unwrap();
    assert!(called.contains("--lock-wait 3600"), "{called}");
    assert!(site.pids().is_empty() && said.contains("the server 9.11.18 is STOPPED, nothing is half done"), "{said}");
    good(&upgrade.run("resume", &[]));
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));
}

#[test]
fn a_server_that_cannot_be_looked_at_lets_nobody_in() {
    let broken = quick("10.5.14").fault("call-broken=GET /users/*/teams/*/channels/members");
    let upgrade = Upgrade::of(&[quick("9.11.18"), broken, quick("10.6.1")]);
    let site = &upgrade.site;
    // In place of mm-path, from the first swap on: it cannot tell how the run stands.
    let shims = site.directory().join("shims");
    fs::create_dir(&shims).unwrap();
    let real = tool::executable("mm-path");
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' --upgrade end '*) ls {}/last/*-mm-swap-run.json >/dev/null 2>&1 && exit 1 ;; esac\nexec {} \"$@\"\n",
        upgrade.runs().display(),
        real.display()
    );
    fs::write(shims.join("mm-path"), text).unwrap();
    process::run("chmod", &["755", &shims.join("mm-path").display().to_string()]);
    let output = upgrade.run("run", &["--to", "10.6.1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert_eq!(site.running_version(), None, "users can get in: {said}");
    assert!(said.contains("what runs could not be seen") && said.contains("mm-swap publish --install "), "{said}");
}

#[test]
fn a_hop_whose_swap_could_not_report_is_verified_all_the_same_and_can_be_taken_back() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14")]);
    let site = &upgrade.site;
    let (history, files) = (site.history(), site.user_files());
    // In place of mm-swap, once: the swap succeeds, its document is lost, and mm-upgrade is killed.
    upgrade.shim("mm-swap", "REAL \"$@\" >/dev/null\nkill -KILL $PPID");
    let output = upgrade.run("run", &["--to", "10.5.14"]);
    assert_eq!(output.status.code(), None, "killed: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));

    good(&upgrade.run("resume", &[]));
    let done = upgrade.last("final.json")["done"].clone();
    assert_eq!(done.as_array().unwrap().len(), 1);
    assert_eq!(done[0]["swap"]["to"], "10.5.14", "{}", done[0]["swap"]);
    assert!(done[0]["verify"]["counts"]["pass"].as_u64().unwrap() > 0, "{}", done[0]["verify"]);
    assert!(done[0]["backup"]["id"].is_string(), "{}", done[0]["backup"]);

    good(&upgrade.run("rollback", &[]));
    process::wait_until("the first server to answer", std::time::Duration::from_secs(60), || site.answers());
    assert_eq!(site.running_version().as_deref(), Some("9.11.18"));
    assert_eq!((site.history(), site.user_files()), (history, files));
}

#[test]
fn what_fails_can_go_back_to_the_start_by_itself() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1").fault("crash-at-start")]);
    let site = &upgrade.site;
    let (history, files, config) = (site.history(), site.user_files(), site.config());
    let output = upgrade.run("run", &["--to", "10.6.1", "--on-failure", "rollback"]);
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
    process::wait_until("the first server to answer", std::time::Duration::from_secs(60), || site.answers());
    assert_eq!(site.running_version().as_deref(), Some("9.11.18"));
    assert_eq!((site.history(), site.user_files(), site.config()), (history, files, config));

    let pids = site.pids();
    let status = String::from_utf8(upgrade.run("status", &[]).stdout).unwrap();
    assert!(status.contains("now      9.11.18, rolled back"), "{status}");
    assert_eq!(upgrade.run("resume", &[]).status.code(), Some(5));
    assert!(good(&upgrade.run("rollback", &[])).contains("rolled back already"));
    assert_eq!(site.pids(), pids, "the server was touched");
}
