//! The run in the state directory: nothing is lost with a pipe, and what is left to do is known without a document.

use std::fs;
use std::path::{Path, PathBuf};

use mm_test_support::pipeline::{self, hop, plan};
use mm_test_support::release::Release;
use mm_test_support::site::{Releases, Site, quick};
use mm_test_support::{process, tool};
use serde_json::Value;

struct Recorded {
    site: Site,
    releases: Releases,
}

impl Recorded {
    fn of(versions: &[&str]) -> Self {
        let site = Site::builder(versions[0]).running().build();
        let built: Vec<Release> = versions.iter().map(|version| quick(version).build()).collect();
        let releases = site.releases(&built);
        Self { site, releases }
    }

    /// The command line of the tools of a hop, from the first to the last that is named.
    fn steps(&self, last: &str) -> String {
        let all = hop(&self.site, &self.releases);
        let all: Vec<String> = all
            .split(" | ")
            .map(|step| step.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
            .collect();
        let end = all.iter().position(|command| command.starts_with(last)).unwrap();
        all[..=end].join(" | ")
    }

    fn flags(&self) -> String {
        self.site.flags().join(" ")
    }

    /// What mm-path answers to a verb about runs.
    fn asks(&self, verb: &str) -> (i32, Value, String) {
        let script = format!("mm-path {verb} {} --catalogue {}", self.flags(), self.releases.catalogue.display());
        let output = tool::shell(&format!("{script} --format json </dev/null")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
    }

    fn resumed(&self) -> Value {
        let (code, document, said) = self.asks("--resume");
        assert_eq!(code, 0, "{said}");
        document
    }

    /// The only run.
    fn run(&self) -> PathBuf {
        let state = PathBuf::from(self.asks("--status").1["status"]["directory"].as_str().unwrap());
        assert!(state.starts_with(self.site.state()), "{}", state.display());
        state
    }

    fn documents(&self) -> Vec<String> {
        let names = fs::read_dir(self.run()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            names.filter(|name| name.rsplit_once('.').is_some_and(|(_, end)| end == "json")).collect();
        names.sort_unstable();
        names
    }

    fn points(&self) -> usize {
        let entries = fs::read_dir(self.site.store()).unwrap();
        entries.filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count()
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_hop_that_could_not_report_is_given_once_more_and_only_verified() {
    let recorded = Recorded::of(&["9.11.18", "10.5.14", "10.6.1"]);
    let site = &recorded.site;
    let document = plan(site, &recorded.releases, &["--to", "10.6.1"]);
    assert!(!site.state().exists(), "mm-path has written something");
    assert_eq!(recorded.asks("--resume").0, 5, "there is no run yet");

    // Nobody takes the document of mm-swap, and a full disk takes none.
    let script = format!("{} >/dev/full", recorded.steps("mm-swap --install"));
    let output = tool::shell(&script).write_stdin(document.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{said}");
    let lies = said
        .lines()
        .find(|line| line.starts_with("hint: ") && line.contains("lies in"))
        .unwrap_or_else(|| panic!("{said}"));
    assert!(lies.contains("0005-mm-swap-run.json") && lies.contains("mm-path --resume --install "), "{lies}");
    let steps = ["mm-path-plan", "mm-fetch-run", "mm-swap-stage", "mm-backup-create", "mm-pgbump-run", "mm-swap-run"];
    let names: Vec<String> = steps.iter().enumerate().map(|(at, name)| format!("{at:04}-{name}.json")).collect();
    assert_eq!(recorded.documents(), names);
    let run = recorded.run();
    assert_eq!((mode(&run), mode(&run.join("0005-mm-swap-run.json"))), (0o700, 0o600));

    let (_, status, _) = recorded.asks("--status");
    let status = &status["status"];
    assert_eq!(
        (&status["how"], &status["hop"]["in_place"], &status["now"]),
        (&"stopped".into(), &true.into(), &"9.11.18".into())
    );
    assert_eq!(status["server"]["installed"], "10.5.14", "{status}");

    // It is in place and nobody has looked: the hop is given again, and nothing but that is done.
    let given = recorded.resumed();
    assert_eq!((&given["path"]["next"]["to"], &given["backup"]["id"]), (&"10.5.14".into(), &status_point(&run)));
    let pids = site.pids();
    let done = pipeline::run(&hop(site, &recorded.releases), &given).good();
    assert_eq!((site.pids(), recorded.points()), (pids, 1), "it was stopped again, or a second point was made");
    assert_eq!(done["backup"]["id"], given["backup"]["id"]);
    assert!(done["verify"]["counts"]["pass"].as_u64().unwrap() > 5, "{}", done["verify"]);

    // The fold needs no document.
    let next = recorded.resumed();
    assert_eq!((&next["path"]["next"]["to"], next["done"].as_array().unwrap().len()), (&"10.6.1".into(), 1));
    assert!(next["done"][0]["backup"]["id"] == given["backup"]["id"] && next["backup"].is_null(), "{next}");
    pipeline::run(&hop(site, &recorded.releases), &next).good();
    let last = recorded.resumed();
    assert!(last["path"]["next"].is_null() && last["done"].as_array().unwrap().len() == 2, "{}", last["path"]);
    assert_eq!(recorded.asks("--status").1["status"]["how"], "finished");
    assert_eq!(site.running_version().as_deref(), Some("10.6.1"));
}

/// The restore point that the documents of a run name.
fn status_point(run: &Path) -> Value {
    let text = fs::read(run.join("0003-mm-backup-create.json")).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["backup"]["id"].clone()
}

#[test]
fn another_state_directory_or_manager_than_the_run_began_with_is_refused() {
    let recorded = Recorded::of(&["10.5.14", "10.6.1"]);
    let site = &recorded.site;
    let document = plan(site, &recorded.releases, &["--to", "10.6.1"]);
    let pids = site.pids();
    let elsewhere = site.directory().join("elsewhere");
    let root = site.install().display().to_string();
    let state = site.state().display().to_string();
    for (flags, words) in [
        (format!("--state-dir {} --service exec", elsewhere.display()), "--state-dir "),
        (format!("--state-dir {state} --service sysv:mattermost"), "--service sysv:mattermost is not"),
    ] {
        let store = site.store().display().to_string();
        let outcome = pipeline::run(&format!("mm-backup --to {store} --stop --install {root} {flags}"), &document);
        assert_eq!(outcome.code, 5, "{}", outcome.said);
        assert!(outcome.said.contains(words), "{}", outcome.said);
    }
    assert!(!elsewhere.exists() && !site.store().exists());
    // A state directory that others can write to is nobody's.
    fs::create_dir(&elsewhere).unwrap();
    process::run("chmod", &["777", elsewhere.to_str().unwrap()]);
    let output =
        tool::shell(&format!("mm-path --to 10.6.1 --install {root} --state-dir {} </dev/null", elsewhere.display()));
    let output = { output }.output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.pids(), pids, "the server was touched");
    // Without a flag it is the run's.
    let step = recorded.steps("mm-fetch").replace(&format!(" --state-dir {state}"), "");
    pipeline::run(&step, &document).good();
    assert_eq!(recorded.documents(), ["0000-mm-path-plan.json", "0001-mm-fetch-run.json"]);
}

#[test]
fn a_run_is_taken_back_to_its_start_and_closed() {
    let recorded = Recorded::of(&["9.11.18", "10.5.14", "10.6.1"]);
    let site = &recorded.site;
    let (history, files) = (site.history(), site.user_files());
    let document = plan(site, &recorded.releases, &["--to", "10.6.1"]);
    let done = pipeline::run(&hop(site, &recorded.releases), &document).good();
    let first = done["backup"]["id"].as_str().unwrap().to_owned();
    pipeline::run(&hop(site, &recorded.releases), &recorded.resumed()).good();
    assert_eq!(site.running_version().as_deref(), Some("10.6.1"));

    let restore = |more: &str| {
        let script = format!("mm-backup restore --run last --stop {} {more} </dev/null", recorded.flags());
        let output = tool::shell(&script).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = restore("-v");
    assert!(said.contains(&first), "{said}");
    process::wait_until("the first server to answer", std::time::Duration::from_secs(60), || site.answers());
    assert_eq!(site.running_version().as_deref(), Some("9.11.18"));
    assert_eq!((site.history(), site.user_files()), (history, files));
    // Again, what was written since would be lost.
    let pids = site.pids();
    assert!(restore("-v").contains("has been rolled back already"));
    assert_eq!(site.pids(), pids, "the server was touched");
    let (code, _, said) = recorded.asks("--resume");
    assert!(code == 5 && said.contains("has been rolled back"), "{said}");
    assert_eq!(recorded.asks("--status").1["status"]["how"], "rolled-back");

    let pinned = || process::run("sh", &["-c", &format!("ls -A {} | grep -c ^.pin- || true", site.store().display())]);
    assert_eq!(pinned().trim(), "2");
    let (code, _, said) = recorded.asks("--close");
    assert_eq!(code, 0, "{said}");
    assert_eq!(pinned().trim(), "0");
}

#[cfg(feature = "checkpoints")]
#[test]
fn a_run_with_an_open_journal_names_the_command_that_comes_first() {
    let recorded = Recorded::of(&["10.5.14", "10.6.1"]);
    let site = &recorded.site;
    let document = plan(site, &recorded.releases, &["--to", "10.6.1"]);
    let script = recorded
        .steps("mm-swap --install")
        .replace("| mm-swap --install", "| MM_CHECKPOINT=exchanged mm-swap --install");
    let output = tool::shell(&script).write_stdin(document.to_string()).output().unwrap();
    assert!(output.stdout.is_empty(), "it was to be killed: {}", String::from_utf8_lossy(&output.stderr));
    let (code, refused, said) = recorded.asks("--resume");
    assert_eq!(code, 5, "{said}");
    let command = refused["error"]["hint"].as_str().unwrap();
    assert_eq!(recorded.asks("--status").1["status"]["next"], command);
    let fixed = tool::shell(&format!("{command} </dev/null")).output().unwrap();
    assert!(fixed.status.success(), "{command}: {}", String::from_utf8_lossy(&fixed.stderr));
    let given = recorded.resumed();
    assert_eq!(given["path"]["next"]["to"], "10.6.1", "the new release was wholly in place: it is to be verified");
    pipeline::run(&hop(site, &recorded.releases), &given).good();
    assert!(recorded.resumed()["path"]["next"].is_null());
    assert_eq!((site.running_version().as_deref(), recorded.points()), (Some("10.6.1"), 1));
}

#[test]
fn a_run_is_closed_with_its_last_retired_release() {
    let recorded = Recorded::of(&["9.11.18", "10.5.14", "10.6.1"]);
    let site = &recorded.site;
    let prune = |keep: &str| {
        let output = site.tool("mm-swap").args(["prune", "--keep", keep, "-v"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let how = || recorded.asks("--status").1["status"]["how"].clone();
    let document = plan(site, &recorded.releases, &["--to", "10.6.1"]);
    pipeline::run(&hop(site, &recorded.releases), &document).good();
    // Not at its end, the run goes on without a way back.
    prune("0");
    pipeline::run(&hop(site, &recorded.releases), &recorded.resumed()).good();
    let pinned = || process::run("sh", &["-c", &format!("ls -A {} | grep -c ^.pin- || true", site.store().display())]);
    prune("1");
    assert_eq!((how(), pinned().trim() == "0"), ("finished".into(), false));
    let foreseen = || {
        let output = site.tool("mm-swap").args(["prune", "--keep", "0", "--dry-run"]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["msg"].as_str().unwrap().to_owned()
    };
    let said = foreseen();
    assert!(said.contains("would close the run ") && said.contains("cannot be taken back any more"), "{said}");
    assert_eq!((how(), pinned().trim() == "0"), ("finished".into(), false));
    let said = prune("0");
    assert!(said.contains("has no retired release left and is closed"), "{said}");
    assert!(!foreseen().contains("would close"), "{}", foreseen());
    assert_eq!((how(), pinned().trim()), ("closed".into(), "0"));
    let said = prune("0");
    assert!(!said.contains("is closed"), "{said}");
}

/// Who works for a run has its lock: the run is under way, and no reason to fail.
#[test]
fn a_run_that_a_tool_works_for_is_not_closed_with_its_last_retired_release() {
    let recorded = Recorded::of(&["10.5.14", "10.6.1"]);
    let site = &recorded.site;
    let document = plan(site, &recorded.releases, &["--to", "10.6.1"]);
    pipeline::run(&hop(site, &recorded.releases), &document).good();
    let lock = fs::File::options().write(true).open(recorded.run().join("lock")).unwrap();
    lock.lock().unwrap();
    let prune = || {
        let output = site.tool("mm-swap").args(["prune", "--keep", "0", "-v"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    };
    let said = prune();
    assert!(!said.contains("is closed"), "{said}");
    drop(lock);
    let said = prune();
    assert!(said.contains("has no retired release left and is closed"), "{said}");
}

/// Whoever had the lock may have been killed meanwhile.
#[test]
fn a_run_is_not_closed_beside_what_was_cut_off_while_that_was_waited_for() {
    let recorded = Recorded::of(&["10.5.14", "10.6.1"]);
    let site = &recorded.site;
    let document = plan(site, &recorded.releases, &["--to", "10.6.1"]);
    pipeline::run(&recorded.steps("mm-fetch"), &document).good();
    let state = recorded.run().parent().unwrap().parent().unwrap().to_owned();
    let (lock, journal) = (state.join("lock"), state.join("swap.journal"));
    let held = fs::File::options().create(true).truncate(false).write(true).open(&lock).unwrap();
    held.lock().unwrap();
    let mut closing = std::process::Command::new(tool::executable("mm-path"))
        .args(["--close", "--lock-wait", "60"])
        .args(site.flags())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let patience = std::time::Duration::from_secs(60);
    process::wait_until("it to wait", patience, || process::has_open(closing.id(), &lock));
    fs::write(&journal, r#"{"verdict": "open", "to": "10.6.1"}"#).unwrap();
    drop(held);
    assert_eq!(closing.wait().unwrap().code(), Some(5));
    assert_ne!(recorded.asks("--status").1["status"]["how"], "closed");
    fs::remove_file(&journal).unwrap();
    let (code, _, said) = recorded.asks("--close");
    assert_eq!(code, 0, "{said}");
    assert_eq!(recorded.asks("--status").1["status"]["how"], "closed");
}

#[test]
fn from_three_open_runs_on_there_is_a_warning() {
    let recorded = Recorded::of(&["10.5.14", "10.6.1"]);
    let site = &recorded.site;
    let warned = || -> Option<String> {
        let document = plan(site, &recorded.releases, &["--to", "10.6.1"]);
        let notes = document["path"]["notes"].as_array().unwrap().clone();
        let note = notes.into_iter().find(|note| note["id"] == "open-runs")?;
        Some(note["action"].as_str().unwrap().to_owned())
    };
    for begun in 0..3 {
        assert_eq!(warned(), None, "{begun} runs were begun");
        let document = plan(site, &recorded.releases, &["--to", "10.6.1"]);
        pipeline::run(&recorded.steps("mm-fetch"), &document).good();
    }
    let command = warned().unwrap().split_once(": ").unwrap().1.to_owned();
    let closed = tool::shell(&format!("{command} </dev/null")).output().unwrap();
    assert!(closed.status.success(), "{command}: {}", String::from_utf8_lossy(&closed.stderr));
    assert_eq!(warned(), None);
}
