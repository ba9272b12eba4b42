//! The loop of the README, typed by hand and killed at random moments: what brings it to its end is what the README says.

use std::time::Instant;

use mm_test_support::pipeline::hop;
use mm_test_support::site::{Site, quick};
use mm_test_support::upgrade::Upgrade;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::killed::{PATIENCE, Random, number};

/// What the loop says when the first document is there.
const BEGUN: &str = "the run is begun";

/// The loop, begun or gone on with.
fn script(upgrade: &Upgrade, target: &str) -> String {
    let (site, releases) = (&upgrade.site, &upgrade.releases);
    let flags = format!("{} --catalogue {}", site.flags().join(" "), releases.catalogue.display());
    let plain = site.flags().join(" ");
    format!(
        "if [ \"$1\" = begin ]; then
            doc=$(mm-path --to {target} --postgres 15 {flags}) || exit
            echo '{BEGUN}' >&2
        else
            for tool in mm-pgbump mm-swap; do $tool recover {plain} </dev/null >/dev/null; done
            doc=$(mm-path --resume {flags} </dev/null) || exit
        fi
        until [ \"$(jq -r .path.next <<<\"$doc\")\" = null ]; do
            doc=$({} | mm-path {plain}) || exit
        done",
        hop(site, releases).replacen(" | ", " <<<\"$doc\" | ", 1)
    )
}

fn has_no_run(said: &str) -> bool {
    !said.contains(BEGUN) && said.trim_end().lines().rev().take(4).any(|line| line.contains("there is no earlier run"))
}

fn is_killed(way: &[&str], kills: usize) {
    let versions: Vec<_> = way.iter().map(|version| quick(version)).collect();
    let upgrade = Upgrade::from(Site::builder(way[0]).postgres(13).posts(500).running(), &versions);
    let site = &upgrade.site;
    let (history, counts, files) = (site.history(), site.counts(), site.user_files());
    let target = way.last().unwrap();
    let script = script(&upgrade, target);
    let mut random = Random(number("MM_KILL_SEED", 1).into());
    let (mut hit, mut verb) = (0, "begin");
    let code = loop {
        let mut child = upgrade.start(&script, &[verb.to_owned()]);
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let began = Instant::now();
        let moment = (hit < kills).then(|| random.moment());
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if moment.is_some_and(|moment| began.elapsed() >= moment) {
                let _ = killpg(group, Signal::SIGKILL);
                hit += 1;
                break child.wait().unwrap();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end: {}", upgrade.said());
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        match status.code() {
            None => verb = "resume",
            // Killed before the first tool has begun the run; what it has said once is kept.
            Some(5) if verb == "resume" && has_no_run(&upgrade.said()) => verb = "begin",
            Some(code) => break code,
        }
    };
    assert_eq!(code, 0, "{}", upgrade.said());
    assert!(hit * 10 >= kills * 7, "it was killed {hit} times only: {}", upgrade.said());
    assert_eq!(site.running_version().as_deref(), Some(*target), "{}", upgrade.said());
    assert_eq!((site.history(), site.counts(), site.user_files()), (history, counts, files), "{}", upgrade.said());
    let clusters = site.cluster.all_of_this_name();
    assert!(clusters.contains(&(15, site.cluster.port, "online".into())), "{clusters:?}");
}

#[test]
fn the_loop_of_the_readme_killed_anywhere_is_gone_on_with_as_it_says() {
    is_killed(&["10.5.14", "10.6.1"], 5);
}

#[test]
#[ignore = "long: part of scripts/test --all"]
fn the_loop_of_the_readme_killed_fifty_times_ends_as_if_undisturbed() {
    is_killed(&["8.1.13", "9.5.14", "9.11.18", "10.5.14", "10.6.1", "10.11.23"], 50);
}
