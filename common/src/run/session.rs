//! One run of a tool: what it was given, where it works, and what it hands on.

use std::path::PathBuf;
use std::time::Duration;

use semver::Version;

use super::arguments::{Common, Output};
use super::{record, same};
use crate::contract::call::{self, Call};
use crate::contract::document::Document;
use crate::contract::error::Result;
use crate::contract::sections::{Backup, Hop, Path, Run};
use crate::contract::{shell, time, ui};
use crate::machine::door::Open;
use crate::machine::state::{BASE, STORE, State};
use crate::machine::{door, host, runs};
use crate::mattermost::site::{self, Ground, Installation, Supposed, Wanted};
use crate::mattermost::way_back;

/// Seconds that a tool of a pipeline waits for another run; the checks of mm-verify take a few.
const PIPELINE_WAIT: u64 = 60;

/// One run of a tool: what came in, and what will go out.
#[derive(Debug)]
pub struct Session {
    /// Name of the tool.
    pub tool: &'static str,
    /// Its verb, also where that is the default.
    pub verb: String,
    /// The document; a fresh one when none came in.
    pub document: Document,
    /// Whether one came in.
    pub had_document: bool,
    /// The flags all tools have.
    pub common: Common,
    /// Nothing may be changed.
    pub dry_run: bool,
    /// Whether this tool changed anything so far.
    pub changed: bool,
    /// What a terminal gets instead of the document.
    pub human: Option<String>,
    /// What stdout gets, whatever the format: set by verbs that do not report through the document.
    pub output: Output,
    /// Where the document is put down when this tool ends.
    pub(super) record: Option<record::Record>,
    /// The service is stopped because somebody wants it so, and not for the next tool.
    pub stopped_for_good: bool,
}

impl Session {
    /// The commands that our texts name lead from here on to what the flags and the document say.
    pub fn introduce_call(&self) {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let Common { install, state_dir, service, stop_command, start_command, .. } = &self.common;
        let site = self.document.site().ok().flatten();
        let run = same::of_this_machine(self).ok().flatten();
        let began = run.and_then(|run| run.state_dir).filter(|began| began != std::path::Path::new(BASE));
        let words = [("--service", service), ("--stop-command", stop_command), ("--start-command", start_command)];
        let words = words.iter().filter_map(|(flag, value)| Some(format!(" {flag} {}", shell::word(value.as_ref()?))));
        Call {
            install: install.clone().or_else(|| site.map(|site| site.install)).map(absolute),
            state_dir: state_dir.clone().or(began).map(absolute),
            service: words.collect(),
            store: None,
        }
        .made();
        if let Ok(Some(backup)) = self.document.section::<Backup>("backup") {
            self.keep_in(&backup.store);
        }
    }

    /// From here on the store that this tool works with is known, and so to the commands that our texts name.
    pub fn keep_in(&self, store: &std::path::Path) {
        if store != std::path::Path::new(STORE) {
            call::store(&std::path::absolute(store).unwrap_or_else(|_| store.into()));
        }
    }

    /// The state directory of an installation.
    pub fn state(&self, install: &std::path::Path) -> State {
        State::of(install, self.common.state_dir.as_deref())
    }

    /// How long to wait for another run: with a document the tool before this one may have stopped the server, and
    /// giving up at once for a check from cron would leave it so.
    pub fn lock_wait(&self) -> Duration {
        Duration::from_secs(self.common.lock_wait.unwrap_or(if self.had_document { PIPELINE_WAIT } else { 0 }))
    }

    /// Which installation the flags or the document name.
    pub fn wanted(&self) -> Result<Wanted> {
        let recorded = self.document.site()?;
        Ok(Wanted {
            install: self.common.install.clone().or_else(|| recorded.as_ref().map(|site| site.install.clone())),
            service: self.common.service.clone(),
            stop_command: self.common.stop_command.clone(),
            start_command: self.common.start_command.clone(),
            state_dir: self.common.state_dir.clone(),
            recorded,
            owner: None,
        })
    }

    /// Observes the installation that the flags or the document name, and puts `site` into the document when it has
    /// none yet.
    pub fn probe(&mut self) -> Result<Installation> {
        let wanted = self.wanted()?;
        let installation = site::probe(&wanted)?;
        self.note(&wanted, installation)
    }

    /// As [`Session::probe`], for what repairs an installation whose executable may be damaged or gone.
    ///
    /// # Errors
    /// As [`site::probe_ruin`].
    pub fn probe_ruin(&mut self, supposed: &Supposed) -> Result<Installation> {
        let wanted = self.wanted()?;
        let installation = site::probe_ruin(&wanted, supposed)?;
        self.note(&wanted, installation)
    }

    /// Refuses while a run of any tool is open here that was cut off, but for those whose journal is in `own`: before
    /// anything is looked at, as what is half-made may not be fit to be looked at. Whoever takes the lock asks again.
    ///
    /// # Errors
    /// As [`door::refuse_open`].
    pub fn refuse_open(&self, own: &[&str]) -> Result<()> {
        // What is wrong with the place is for the look at it to say.
        self.ground().map_or(Ok(()), |ground| door::refuse_open(&ground.state, &ground.root, own))
    }

    /// As [`Session::refuse_open`], for what mm-swap may ask of this tool.
    ///
    /// # Errors
    /// As [`door::refuse_open_unless_asked`].
    pub fn refuse_open_unless_asked(&self, own: &[&str]) -> Result<()> {
        self.ground().map_or(Ok(()), |ground| door::refuse_open_unless_asked(&ground.state, &ground.root, own))
    }

    /// Says which runs were cut off here, where there is an installation to ask about: for a verb that only looks at something
    /// else.
    pub fn tell_open(&self) {
        let open = self.ground().and_then(|ground| door::open(&ground.state, &ground.root, &[]));
        for Open { tool, command, .. } in open.unwrap_or_default() {
            ui::warn(&format!("an earlier run of {tool} was cut off, which is ended by: {command}"));
        }
    }

    /// Where the flags or the document say that the installation is; its executable may be gone.
    ///
    /// # Errors
    /// As [`site::ground_of_ruin`].
    pub fn ground(&self) -> Result<Ground> {
        let wanted = self.wanted()?;
        site::ground(&wanted).or_else(|_| site::ground_of_ruin(&wanted))
    }

    fn note(&mut self, wanted: &Wanted, installation: Installation) -> Result<Installation> {
        if wanted.recorded.is_none() {
            self.document.set("site", &installation.section())?;
        }
        Ok(installation)
    }

    /// The release that the way of the document has arrived at: no hop is left, so a tool that is part of a hop has
    /// nothing to do.
    ///
    /// # Errors
    /// When the document's `path` cannot be understood.
    pub fn arrived(&self) -> Result<Option<Version>> {
        let path: Option<Path> = self.document.section("path")?;
        Ok(path
            .filter(|path| path.next.is_none() && path.hops.is_empty() && path.blockers.is_empty())
            .map(|path| path.current))
    }

    /// Whether what the hop of the document changes is in place already, so that a step of it has nothing to do.
    ///
    /// # Errors
    /// When the document's `path` cannot be understood.
    pub fn hop_in_place(&self, installation: &Installation) -> Result<Option<Hop>> {
        let path: Option<Path> = self.document.section("path")?;
        let Some(hop) = path.and_then(|path| path.next) else { return Ok(None) };
        if installation.version != hop.to || installation.edition != hop.edition {
            return Ok(None);
        }
        let database = way_back::database_for(&hop, installation)?;
        Ok(hop.is_in_place((&installation.version, installation.edition), database).then_some(hop))
    }

    /// From here on this tool works for a run, as if it had been given a document of it: its own is put down there.
    ///
    /// # Errors
    /// Kind `locked` (exit 75) while another tool works on the run.
    pub fn join(&mut self, run: runs::Run, install: &std::path::Path) -> Result<()> {
        self.record = Some(record::Record::of(run, install, Some(self.lock_wait()))?);
        Ok(())
    }

    /// The `run` of the document; a new one is begun when it has none.
    pub fn ensure_run(&mut self) -> Result<Run> {
        let mut run = self.document.run()?.unwrap_or_else(|| Run {
            id: format!("{}-{}", time::stamp(), std::process::id()),
            started: time::now(),
            dry_run: false,
            host: None,
            state_dir: None,
        });
        run.dry_run |= self.dry_run;
        self.document.set("run", &run)?;
        Ok(run)
    }

    /// Notes in the document's `run` which machine and which state directory it belongs to, unless that stands there.
    pub fn place_run(&mut self) -> Result<()> {
        let mut run = self.ensure_run()?;
        if run.host.is_none() {
            run.host = Some(host::identity());
            let base = self.common.state_dir.clone().unwrap_or_else(|| BASE.into());
            run.state_dir = Some(std::path::absolute(&base).unwrap_or(base));
            self.document.set("run", &run)?;
        }
        Ok(())
    }
}
