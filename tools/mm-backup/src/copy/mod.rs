//! `copy`: a private copy of a site, made of a restore point, that reaches nothing but its own.
//!
//! `choose` finds the restore point, `contents` reads what it says, `build` makes the copy; `place` and `files` are about directories, `settings`,
//! `names` and `proof` about the configuration, `cluster` and `database` about PostgreSQL, `server` about processes. What
//! root knows of a copy is in its `record`.

mod build;
mod choose;
mod cluster;
mod contents;
mod database;
mod files;
mod names;
mod place;
mod proof;
mod record;
mod server;
mod settings;
mod source;

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::{shell, ui};
use mm_common::machine::files as durable;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::State;
use mm_common::machine::user::{self, User};
use mm_common::machine::{checkpoint, disk, tree};
use mm_common::mattermost::site::Installation;
use mm_common::run::Session;
use serde_json::json;

use crate::arguments::CopyArguments;
use crate::store::Point;
use crate::trust;
use contents::Contents;
use record::Record;

/// Makes, starts, stops or removes a copy.
///
/// # Errors
/// Refused where it cannot be made; then, as after a failure, nothing of it is left.
pub(crate) fn copy(session: &mut Session, store: &Path, wanted: &CopyArguments, jobs: usize) -> Result<String> {
    if !user::is_root() {
        return Err(Error::refused("a copy is made by root")
            .because("its files, its server and its database have users of their own")
            .hint("run this again with sudo"));
    }
    let (given, ends) = match (&wanted.into, &wanted.stop, &wanted.remove) {
        (Some(into), _, _) => (into, None),
        (_, Some(stop), _) => (stop, Some(false)),
        (_, _, Some(remove)) => (remove, Some(true)),
        _ => {
            return Err(Error::usage("say what to do with which copy")
                .hint("mm-backup copy --into DIR, --stop DIR or --remove DIR"));
        }
    };
    let directory = resolved(given)?;
    let state = session.state(&directory);
    match ends {
        None => Copying { session, store, wanted, directory, jobs }.into_directory(&state),
        Some(removes) => end(session, &directory, &state, removes),
    }
}

/// The directory by its real name; it may not be there yet.
fn resolved(given: &Path) -> Result<PathBuf> {
    let parent = given.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = std::fs::canonicalize(parent).map_err(|error| {
        Error::refused(format!("there is no directory `{}`", parent.display()))
            .because(error)
            .hint(format!("make it first: mkdir -p {}", shell::word(parent)))
    })?;
    match given.file_name() {
        Some(name) => Ok(parent.join(name)),
        None => Err(Error::usage(format!("`{}` has no name of its own", given.display()))),
    }
}

fn end(session: &mut Session, directory: &Path, state: &State, removes: bool) -> Result<String> {
    let shown = directory.display();
    if Record::read(state)?.is_none() {
        if removes && durable::look(directory)?.is_none() {
            return Ok(format!("there is no copy in {shown}"));
        }
        return Err(Error::refused(format!("`{shown}` is no copy that mm-backup has made"))
            .because(format!("nothing about it is recorded in `{}`", state.path().display()))
            .hint("name the directory that --into had, and --state-dir where that was given"));
    }
    if session.dry_run {
        return Ok(format!("would {} the copy in {shown}", if removes { "remove" } else { "stop" }));
    }
    let lock = state.lock(session.lock_wait())?;
    let Some(record) = Record::read(state)? else { return Ok(format!("there is no copy in {shown}")) };
    session.changed = true;
    if removes {
        remove(&record, state, &lock)?;
        Record::clear(state, lock)?;
        return Ok(format!("the copy in {shown} is removed"));
    }
    if record.is_there()? && record.complete {
        server::stop(&record, session.lock_wait())?;
    }
    Ok(format!("the copy in {shown} is stopped"))
}

/// Removes a copy, also one that is half made: its processes, its clusters, its files, and last what is known of it.
fn remove(record: &Record, state: &State, lock: &LockGuard) -> Result<()> {
    let is_there = record.is_there()?;
    if is_there {
        server::kill_below(&record.directory)?;
    }
    cluster::remove(record)?;
    checkpoint::pass("copy-cluster-removed");
    if is_there {
        tree::remove(&record.directory)?;
    }
    Record::forget(state, lock)
}

struct Copying<'a> {
    session: &'a mut Session,
    store: &'a Path,
    wanted: &'a CopyArguments,
    directory: PathBuf,
    jobs: usize,
}

/// What is known before anything is made.
struct Looked {
    point: Point,
    contents: Contents,
    user: User,
    major: u32,
}

impl Copying<'_> {
    fn into_directory(mut self, state: &State) -> Result<String> {
        if self.session.dry_run {
            return self.foresee(state);
        }
        let lock = state.lock(self.session.lock_wait())?;
        let result = self.make_or_start(state, &lock);
        if Record::read(state)?.is_none() {
            // Nothing has been made: nothing is to be known.
            Record::clear(state, lock)?;
        }
        result
    }

    fn make_or_start(&mut self, state: &State, lock: &LockGuard) -> Result<String> {
        let (record, there) = match Record::read(state)? {
            Some(record) if record.complete && record.is_there()? => {
                self.refuse_another(&record)?;
                let there = server::prove(&record, self.session.common.accepts(proof::ACCEPT))?;
                (record, there)
            }
            Some(record) if record.complete => {
                return Err(Error::refused(format!("the copy in `{}` has lost its files", record.directory.display()))
                    .because("its directory is not there any more, and its database is")
                    .hint(format!(
                        "move the directory back, or remove the rest: mm-backup copy --remove {}",
                        shell::word(&record.directory)
                    )));
            }
            there => {
                if let Some(record) = there {
                    ui::say(&format!(
                        "removing what an earlier run has left of the copy in {}",
                        self.directory.display()
                    ));
                    remove(&record, state, lock)?;
                }
                let looked = self.look()?;
                build::build(self, &looked, state, lock)?
            }
        };
        self.session.changed = true;
        let started = server::start(&record, &there, self.wanted.limit.duration(), self.session.lock_wait());
        started.map_err(|error| {
            let error = error.within(format!("the copy in `{}` is made, and does not run", record.directory.display()));
            let remove = format!("or remove it: mm-backup copy --remove {}", shell::word(&record.directory));
            match error.next_step().map(str::to_owned) {
                Some(next) => error.with_hint(format!("{next}; {remove}")),
                None => {
                    error.hint(format!("look into its log, below {}; {remove}", shell::word(record.place().root())))
                }
            }
        })?;
        self.report(&record, &there)
    }

    fn refuse_another(&self, record: &Record) -> Result<()> {
        match self.wanted.id.as_deref() {
            Some(id) if id != record.point && id != "latest" => {
                Err(Error::refused(format!("`{}` holds a copy of {}", record.directory.display(), record.point))
                    .hint(format!("remove it first: mm-backup copy --remove {}", shell::word(&record.directory))))
            }
            _ => Ok(()),
        }
    }

    /// Everything that can be refused before anything is made.
    fn look(&self) -> Result<Looked> {
        if durable::look(&self.directory)?.is_some() {
            return Err(Error::refused(format!("`{}` is there already", self.directory.display()))
                .because("and is no copy that mm-backup has made")
                .hint("name a directory with --into that is not there yet"));
        }
        let point = choose::choose(self.session, self.store, self.wanted.id.as_deref())?;
        trust::require(&point, self.session.common.accepts(trust::ACCEPT))?;
        point.proven_manifest()?;
        point.require_complete()?;
        let contents = Contents::of(&point)?;
        let user = contents.user()?;
        user::tools()?;
        let head = &point.head;
        if self.directory.starts_with(&head.install)
            || head.roots.iter().any(|root| self.directory.starts_with(&root.path))
        {
            return Err(Error::refused(format!("`{}` is in what is copied", self.directory.display()))
                .hint("name another directory with --into"));
        }
        let database = head.database.as_ref().ok_or_else(|| {
            Error::refused(format!("the restore point {} holds no database", head.id))
                .hint("make one with it: mm-backup without --no-database")
        })?;
        let major = cluster::major(&database.server_version)?;
        files::require_parent(&self.directory, &user)?;
        disk::require(durable::parent(&self.directory)?, contents.bytes, "the files of the copy")?;
        cluster::require_space(head.databases().map(|part| part.bytes).sum())?;
        Ok(Looked { point, contents, user, major })
    }

    fn foresee(&mut self, state: &State) -> Result<String> {
        if let Some(record) = Record::read(state)?.filter(|record| record.complete) {
            self.refuse_another(&record)?;
            return Ok(format!("would start the copy of {} in {}", record.point, self.directory.display()));
        }
        let Looked { point, user, .. } = self.look()?;
        let head = &point.head;
        let plan = json!({
            "copy": {
                "id": head.id, "path": point.path, "created": head.created, "version": head.version, "edition": head.edition,
                "install": head.install, "databases": head.in_cluster(), "directory": self.directory,
                "user": user.name, "uid": user.uid, "gid": user.gid,
            }
        });
        self.session.document.set("plan", &json!({ "mm-backup": plan }))?;
        self.session.human = Some(format!(
            "would copy {} ({} {}, {}) into {}, and start it as {}\n",
            head.id,
            head.version,
            head.edition,
            head.created,
            self.directory.display(),
            user.name
        ));
        Ok(format!("would copy {} into {}", head.id, self.directory.display()))
    }

    fn report(&mut self, record: &Record, there: &Installation) -> Result<String> {
        let place = record.place();
        let url = there.local_url();
        let port = there.source.as_ref().map(|source| source.port);
        self.session.document.set(
            "copy",
            &json!({
                "id": record.point, "directory": record.directory, "install": place.root(), "state_dir": place.state(),
                "of": record.install, "version": there.version, "edition": there.edition, "url": url,
                "cluster": record.cluster, "database_port": port, "user": there.owner.name,
            }),
        )?;
        let flags = format!(
            "--install {} --state-dir {} --service exec",
            shell::word(place.root()),
            shell::word(place.state())
        );
        self.session.human = Some(format!(
            "copy of        {}\naddress        {url}\nfiles          {}\ndatabase       cluster {}, port {}\nflags          {flags}\n",
            record.point,
            place.root().display(),
            record.cluster,
            port.unwrap_or_default()
        ));
        Ok(format!("a copy of {} answers at {url}; its files are in {}", record.point, place.root().display()))
    }
}
