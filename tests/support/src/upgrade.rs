//! `scripts/mm-upgrade` on a site with releases of its own.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::release::{Order, Release};
use crate::site::{Builder, Releases, Site};
use crate::{process, tool};

/// The directory of the scripts.
pub const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts");

/// A site with its releases, and `mm-upgrade` with the flags that confine it to them.
#[derive(Debug)]
pub struct Upgrade {
    /// The site that is upgraded.
    pub site: Site,
    /// What it can be upgraded to.
    pub releases: Releases,
}

impl Upgrade {
    /// A running site of the first of these releases.
    pub fn of(versions: &[Order]) -> Self {
        let first = versions.first().expect("there is one to begin with");
        Self::from(Site::builder(&first.version).running(), versions)
    }

    /// A site of another kind.
    pub fn from(site: Builder, versions: &[Order]) -> Self {
        let site = site.build();
        let built: Vec<Release> = versions.iter().map(Order::build).collect();
        let releases = site.releases(&built);
        Self { site, releases }
    }

    /// Where its runs are kept.
    pub fn runs(&self) -> PathBuf {
        self.site.directory().join("runs")
    }

    /// The words after `mm-upgrade` for a verb. The flags of the first run are remembered, so later ones need only
    /// `--runs`.
    pub fn arguments(&self, verb: &str, more: &[&str]) -> Vec<String> {
        let site = &self.site;
        let mut all = vec![verb.to_owned(), "--runs".into(), self.runs().display().to_string()];
        if verb == "run" {
            let mut flag = |tool: &str, flag: String| all.extend(["--flag".into(), format!("{tool}={flag}")]);
            for tool in tool::TOOLS {
                flag(tool, format!("--state-dir={}", site.state().display()));
                flag(tool, "--service=exec".into());
            }
            for tool in ["mm-path", "mm-fetch"] {
                flag(tool, format!("--catalogue={}", self.releases.catalogue.display()));
            }
            flag("mm-fetch", format!("--mirror={}", self.releases.site.url()));
            flag("mm-fetch", format!("--cache={}", site.cache().display()));
            flag("mm-verify", "--browser=no".into());
            flag("mm-swap", "--start-timeout=20".into());
            all.extend(["--install".into(), site.install().display().to_string()]);
            all.extend(["--store".into(), site.store().display().to_string(), "--watch".into(), "0".into()]);
        }
        all.extend(more.iter().map(|&word| word.to_owned()));
        all
    }

    /// The script that runs `mm-upgrade` with the arguments that bash is given. What stands in `shims` below the site's
    /// directory comes before the tools.
    pub fn script(&self) -> String {
        let shims = self.site.directory().join("shims");
        format!("PATH='{}':$PATH exec {SCRIPTS}/mm-upgrade \"$@\"", shims.display())
    }

    /// Puts a script into the place of a tool, `REAL` in it being the tool, for the first time that it is called for work on the server.
    pub fn shim(&self, tool: &str, script: &str) {
        let shims = self.site.directory().join("shims");
        fs::create_dir(&shims).expect("it is not there yet");
        let shim = shims.join(tool);
        let text = format!(
            "#!/bin/sh\ncase \" $* \" in *' --help '* | ' check '* | ' stage '*) exec REAL \"$@\" ;; esac\nrm \"$0\"\n{script}\n"
        );
        let real = tool::executable(tool);
        fs::write(&shim, text.replace("REAL", &format!("'{}'", real.display()))).expect("it can be written");
        process::run("chmod", &["755", &shim.display().to_string()]);
    }

    /// Runs a verb.
    pub fn run(&self, verb: &str, more: &[&str]) -> Output {
        let mut command = tool::shell(&self.script());
        command.arg("mm-upgrade").args(self.arguments(verb, more)).output().expect("bash is there")
    }

    /// Starts a script with these words as its own, in a process group of its own and as from a terminal: signals do what
    /// they always do. What it says is in [`Upgrade::said`].
    pub fn start(&self, script: &str, words: &[String]) -> Child {
        let said = fs::File::options().create(true).append(true).open(self.said_in()).expect("it can be written");
        Command::new("/usr/bin/env")
            .args(["--default-signal=HUP,INT,TERM", "bash", "-c", script, "mm-upgrade"])
            .args(words)
            .env_clear()
            .env("PATH", format!("{}:{}", tool::directory().display(), process::PATH))
            .env(tool::PACE.0, tool::PACE.1)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .process_group(0)
            .spawn()
            .expect("env is there")
    }

    fn said_in(&self) -> PathBuf {
        self.site.directory().join("said")
    }

    /// What all that was started has said.
    pub fn said(&self) -> String {
        fs::read_to_string(self.said_in()).unwrap_or_default()
    }

    /// A document of the last run.
    pub fn last(&self, document: &str) -> Value {
        let path = self.runs().join("last").join(document);
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).expect("a document is JSON")
    }
}
