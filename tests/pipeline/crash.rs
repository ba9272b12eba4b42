//! Power cuts in a pipeline: mm-fetch and mm-backup are killed with SIGKILL at every one of their checkpoints and run
//! again with the same document. The second run has to arrive where an undisturbed one arrives. (The tools that change
//! the server have modules of their own: `mm_swap::killed` and `mm_pgbump::kill`.)

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Output;

use mm_test_support::matrix;
use mm_test_support::pipeline::{hop, plan, run};
use mm_test_support::release::hex;
use mm_test_support::site::{Releases, Site, quick};
use mm_test_support::tool::shell;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const FROM: &str = "10.5.14";
const TO: &str = "10.6.1";

/// A planned hop, on a server that these two tools do not change.
struct Hop {
    site: Site,
    releases: Releases,
    document: Value,
}

impl Hop {
    fn planned() -> Self {
        let site = Site::builder(FROM).running().build();
        let releases = site.releases(&[quick(FROM).build(), quick(TO).build()]);
        let document = plan(&site, &releases, &["--to", TO]);
        Self { site, releases, document }
    }

    /// The command line of a tool of this hop.
    fn command(&self, tool: &str) -> String {
        let pipeline = hop(&self.site, &self.releases);
        pipeline.split(" | ").find(|command| command.starts_with(tool)).unwrap().to_owned()
    }

    fn run_with(&self, tool: &str, variable: &str) -> Output {
        let script = format!("export {variable}; exec {}", self.command(tool));
        shell(&script).write_stdin(self.document.to_string()).output().unwrap()
    }

    /// The checkpoints that an undisturbed run passes, each once.
    fn checkpoints(&self, tool: &str) -> Vec<String> {
        let log = self.site.directory().join("checkpoints");
        let output = self.run_with(tool, &format!("MM_CHECKPOINT_LOG={}", log.display()));
        assert!(output.status.success(), "{tool}, undisturbed: {}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(&log).unwrap_or_else(|_| panic!("{tool} passes no checkpoint"));
        let mut names: Vec<String> = Vec::new();
        for name in text.lines() {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// Kills the tool at each of its checkpoints and runs it again. `again` is what has to be undone before a run does
    /// everything anew, `is_done` looks at the document of the second run.
    fn survives(&self, tool: &str, again: impl Fn(&Site), is_done: impl Fn(&Site, &Value)) {
        let history = self.site.history();
        let checkpoints = self.checkpoints(tool);
        let checkpoints = matrix::some(checkpoints);
        for name in &checkpoints {
            again(&self.site);
            let output = self.run_with(tool, &format!("MM_CHECKPOINT={name}"));
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.signal(), Some(9), "{tool} was to die at `{name}`: {said}");
            let second = run(&self.command(tool), &self.document);
            assert_eq!(second.code, 0, "{tool}, run again after it was killed at `{name}`: {}", second.said);
            is_done(&self.site, &second.document);
        }
        assert_eq!(self.site.history(), history);
        eprintln!("{tool}: killed at {} checkpoints: {}", checkpoints.len(), checkpoints.join(", "));
    }
}

#[test]
fn mm_fetch_killed_anywhere_fetches_when_run_again() {
    Hop::planned().survives(
        "mm-fetch",
        |site| {
            std::fs::remove_dir_all(site.cache()).unwrap();
        },
        |_, document| {
            let releases = document["fetch"]["releases"].as_array().unwrap();
            assert_eq!(releases.len(), 2);
            for release in releases {
                let archive = std::fs::read(Path::new(release["archive"].as_str().unwrap())).unwrap();
                assert_eq!(hex(&Sha256::digest(archive)), release["sha256"]);
            }
        },
    );
}

#[test]
fn mm_backup_killed_anywhere_makes_its_restore_point_when_run_again() {
    Hop::planned().survives(
        "mm-backup",
        |site| {
            // The run before has left the server stopped for a next tool that there is not here.
            if !site.answers() {
                site.start();
            }
        },
        |site, document| {
            let id = document["backup"]["id"].as_str().unwrap();
            site.tool("mm-backup").args(["verify", id, "--to"]).arg(site.store()).assert().success();
            assert!(!site.answers(), "it was to leave the server stopped");
        },
    );
}
