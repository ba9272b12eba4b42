//! Journals that an earlier program left when it was killed: the program of today refuses to begin anything else, and the
//! command that it names ends what was begun.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;

use mm_test_support::pipeline::{self, hop, plan};
use mm_test_support::site::{Releases, Site, quick};
use mm_test_support::tool;

use crate::{ask, document, good, only, put, read, said, state};

const FROM: &str = "10.5.14";
const TO: &str = "10.6.1";

struct Cut {
    site: Site,
    releases: Releases,
    archive: PathBuf,
    history: String,
}

impl Cut {
    fn new() -> Self {
        let site = Site::builder(FROM).running().build();
        let built = [quick(FROM).build(), quick(TO).build()];
        let archive = built[1].tarball.clone();
        let releases = site.releases(&built);
        let history = site.history();
        Self { site, releases, archive, history }
    }

    /// A tool is killed at a checkpoint; the journal that it leaves is made one of the earlier program.
    fn dies(&self, tool: &str, words: &[&str], checkpoint: &str, (journal, recorded): (&str, &str)) {
        let output = self.site.tool(tool).args(words).env("MM_CHECKPOINT", checkpoint).output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "it was to die at `{checkpoint}`: {}", said(&output));
        let journal = state(&self.site).join(journal);
        put(&journal, recorded);
        assert!(read(&journal)["ended_by"].is_null(), "an earlier program did not say who ends it");
    }

    /// Another tool refuses, and what it names ends it.
    fn is_ended_by(&self, ends: &str, (other, words): (&str, &[&str])) {
        let refused = document(&ask(&self.site, other, words), 5);
        let command = refused["error"]["hint"].as_str().unwrap();
        assert!(command.starts_with(&format!("{ends} recover --install ")), "{command}");
        let ended = tool::shell(&format!("{command} </dev/null")).output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{command}: {}", said(&ended));
        let open = fs::read_dir(state(&self.site)).unwrap().flatten().map(|entry| entry.file_name());
        let open: Vec<_> = open.filter(|name| name.to_string_lossy().ends_with(".journal")).collect();
        assert!(open.is_empty(), "{open:?}");
    }

    fn archive(&self) -> &str {
        self.archive.to_str().unwrap()
    }

    fn store(&self) -> String {
        self.site.store().display().to_string()
    }

    fn serves(&self, version: &str) {
        assert_eq!(self.site.running_version().as_deref(), Some(version));
        assert_eq!(self.site.history(), self.history);
    }
}

#[test]
fn a_swap_is_finished() {
    let cut = Cut::new();
    let run = ["run", "--no-backup", "--archive", cut.archive()];
    cut.dies("mm-swap", &run, "exchanged", ("swap.journal", "journals/swap.json"));
    cut.is_ended_by("mm-swap", ("mm-backup", &["--to", &cut.store()]));
    cut.serves(TO);
    assert_eq!(good(&cut.site, "mm-swap", &["status"])["status"]["kept"].as_array().map(Vec::len), Some(1));
}

/// What was asked for is finished, and not taken for a hop that has failed.
#[test]
fn a_rollback_that_was_asked_for_is_finished() {
    let cut = Cut::new();
    let steps = hop(&cut.site, &cut.releases);
    pipeline::run(steps.rsplit_once(" | ").unwrap().0, &plan(&cut.site, &cut.releases, &["--to", TO])).good();
    let back = ["rollback", "--database"];
    cut.dies("mm-swap", &back, "undo-config", ("swap.journal", "journals/swap-undo.json"));
    cut.is_ended_by("mm-swap", ("mm-pgbump", &["--to", "15", "--no-backup"]));
    cut.serves(FROM);
    let record = read(&only(&state(&cut.site).join("swaps")));
    assert_eq!((&record["verdict"], &record["asked"]), (&"undone".into(), &true.into()), "{}", record["reason"]);
}

#[test]
fn a_restore_is_undone() {
    let cut = Cut::new();
    let store = cut.store();
    let point = good(&cut.site, "mm-backup", &["--to", &store])["backup"]["id"].as_str().unwrap().to_owned();
    let notice = cut.site.install().join("NOTICE.txt");
    fs::write(&notice, "changed").unwrap();
    let restore = ["restore", &point, "--stop", "--to", &store];
    cut.dies("mm-backup", &restore, "restore-moved", ("restore.journal", "journals/restore.json"));
    cut.is_ended_by("mm-backup", ("mm-swap", &["stage", "--archive", cut.archive()]));
    assert_eq!(fs::read_to_string(&notice).unwrap(), "changed", "it is undone, and not begun again");
    cut.site.start();
    cut.serves(FROM);
    good(&cut.site, "mm-backup", &restore);
    assert_ne!(fs::read_to_string(&notice).unwrap(), "changed");
    cut.serves(FROM);
}

#[test]
fn an_upgrade_of_postgresql_is_taken_back() {
    let cut = Cut::new();
    let run = ["run", "--to", "15", "--no-backup"];
    cut.dies("mm-pgbump", &run, "proving", ("pgbump.journal", "journals/pgbump.json"));
    cut.is_ended_by("mm-pgbump", ("mm-swap", &["stage", "--archive", cut.archive()]));
    let port = cut.site.cluster.port;
    assert_eq!(cut.site.cluster.all_of_this_name(), [(13, port, "online".to_owned())]);
    cut.serves(FROM);
}
