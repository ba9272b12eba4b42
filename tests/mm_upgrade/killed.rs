//! `mm-upgrade` killed at random moments and resumed each time, all the way from 2020 to the newest extended support
//! release: the end is that of an upgrade that nobody disturbed.
//!
//! The whole way with 50 kills is part of `scripts/test --all`; its end with 12 kills is tried with every change.
//! `MM_KILLS` is another number of kills, `MM_KILL_SEED` the seed of their moments and kinds (1).

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use mm_test_support::site::{Site, quick};
use mm_test_support::tool::TOOLS;
use mm_test_support::upgrade::Upgrade;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

const WAY: [&str; 13] = [
    "5.29.0", "5.31.9", "5.37.10", "6.3.10", "7.1.9", "7.8.15", "8.1.13", "9.5.14", "9.11.18", "10.5.14", "10.6.1",
    "10.11.23", "11.7.10",
];

/// The longest that a verb may take when nobody kills it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// `SplitMix64`: a seed gives the same numbers everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// From a twentieth of a second to about 6 seconds, short ones as likely as long ones: that reaches into the middle of
    /// short steps as well as across several tools.
    pub(crate) fn moment(&mut self) -> Duration {
        let octave = 1_u64 << (self.next() % 7);
        Duration::from_millis(50 * octave + self.next() % (50 * octave))
    }
}

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    /// `mm-upgrade` and all that it has started, the server excepted.
    All,
    /// `mm-upgrade` alone: the tool that it has started goes on.
    Script,
    /// The tool that runs at that moment, when there is one.
    Tool,
}

struct Killer {
    upgrade: Upgrade,
    way: &'static [&'static str],
    random: Random,
    kills: usize,
    hit: Vec<String>,
}

impl Killer {
    /// Whether it is time for another kill: they are spread over all hops of the way.
    fn is_due(&self) -> bool {
        let installed = fs::read(self.upgrade.runs().join("last/current.json")).ok();
        let installed = installed.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let at =
            installed.and_then(|document| self.way.iter().position(|version| document["path"]["current"] == *version));
        self.hit.len() < self.kills && self.hit.len() * (self.way.len() - 1) < self.kills * (at.unwrap_or(0) + 1)
    }

    /// Runs a verb and kills it at some moment once a kill is due. Returns its exit code; `None` when it was killed
    /// itself.
    fn run(&mut self, verb: &str, more: &[&str]) -> Option<i32> {
        let mut child = self.upgrade.start(&self.upgrade.script(), &self.upgrade.arguments(verb, more));
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let end = Instant::now() + PATIENCE;
        let mut moment = None;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            let now = Instant::now();
            if moment.is_none() && self.is_due() {
                moment = Some(now + self.random.moment());
            }
            if moment.is_some_and(|moment| now >= moment) {
                let victim = [Victim::All, Victim::Script, Victim::Tool][(self.random.next() % 3) as usize];
                moment = None;
                match (victim, Self::strike(victim, group)) {
                    (Victim::Tool, None) => (),
                    (_, running) => self.hit.push(format!("{victim:?} in {verb} while {running:?} ran")),
                }
            }
            if now >= end {
                let _ = killpg(group, Signal::SIGKILL);
                let _ = child.wait();
                panic!("{verb} does not end: {}", self.context());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the tool that was running.
    fn strike(victim: Victim, group: Pid) -> Option<String> {
        let listed = Command::new("pgrep").args(["-g", &group.to_string(), "-l"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let running: Vec<(&str, &str)> =
            listed.lines().filter_map(|line| line.split_once(' ')).filter(|(_, name)| TOOLS.contains(name)).collect();
        // Each of them may end by itself in this moment.
        let _ = match victim {
            Victim::All => killpg(group, Signal::SIGKILL),
            Victim::Script => kill(group, Signal::SIGKILL),
            Victim::Tool => {
                running.iter().try_for_each(|(pid, _)| kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL))
            }
        };
        running.first().map(|(_, name)| (*name).to_owned())
    }

    fn context(&self) -> String {
        format!("killed so far: {:#?}\n{}", self.hit, self.upgrade.said())
    }

    /// Runs an upgrade to its end, however often it is killed on the way.
    fn arrive(&mut self, target: &str) {
        let begin = ["--to", target, "--postgres", "15"];
        let mut code = self.run("run", &begin);
        while code != Some(0) {
            // 3 would be a server that needs a person, and no kill may bring that about.
            assert_ne!(code, Some(3), "{}", self.context());
            let hit = self.hit.len();
            let last = self.upgrade.runs().join("last");
            let planned = last.join("current.json").exists() && !last.join("final.json").exists();
            code = if planned { self.run("resume", &[]) } else { self.run("run", &begin) };
            if hit == self.hit.len() && code != Some(0) {
                // What a killed script has left running keeps its lock for a while; that is said with 75.
                assert_eq!(code, Some(75), "nobody has killed it: {}", self.context());
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

pub(crate) fn number(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn killed_at_random_moments_and_resumed_it_ends_as_if_undisturbed() {
    is_killed(&WAY[8..12], &["10.6.1", "10.11.23"], 12);
}

#[test]
#[ignore = "long: part of scripts/test --all"]
fn killed_on_the_whole_way_it_ends_as_if_undisturbed() {
    is_killed(&WAY, &["10.6.1", "11.7.10"], 50);
}

/// Goes this way, with a stop at each of the targets, and is killed on it.
fn is_killed(way: &'static [&'static str], targets: &[&str], kills: u32) {
    let versions: Vec<_> = way.iter().map(|version| quick(version)).collect();
    let upgrade = Upgrade::from(Site::builder(way[0]).postgres(13).posts(1000).running(), &versions);
    let (history, counts, files) = (upgrade.site.history(), upgrade.site.counts(), upgrade.site.user_files());
    let kills = number("MM_KILLS", kills) as usize;
    let random = Random(number("MM_KILL_SEED", 1).into());
    let mut killer = Killer { upgrade, way, random, kills, hit: Vec::new() };
    for target in targets {
        killer.arrive(target);
        assert_eq!(killer.upgrade.site.running_version().as_deref(), Some(*target), "public: {}", killer.context());
    }

    let context = killer.context();
    assert!(killer.hit.len() * 10 >= kills * 9, "it was not killed as often as it should: {context}");
    let site = &killer.upgrade.site;
    assert_eq!(site.history(), history, "{context}");
    assert_eq!(site.counts(), counts, "{context}");
    assert_eq!(site.user_files(), files, "{context}");
    let clusters = site.cluster.all_of_this_name();
    assert!(clusters.contains(&(15, site.cluster.port, "online".into())), "{clusters:?}");
    assert!(clusters.iter().all(|(major, _, status)| *major == 15 || status == "down"), "{clusters:?}");
    let left = Command::new("pgrep").args(["-fa", site.state().to_str().unwrap()]).output().unwrap();
    assert!(left.stdout.is_empty(), "still running: {}", String::from_utf8_lossy(&left.stdout));
}
