//! `mm-fetch`: the releases, proven.

pub mod answer;
mod arguments;
mod armor;
mod bundle;
mod cache;
mod download;
pub mod plan;
mod progress;
mod refresh;
mod report;
mod signature;
mod source;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory as _;
use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::{Fetch, Fetched, Missing, Path};
use mm_common::contract::ui;
use mm_common::contract::version::Edition;
use mm_common::machine::http::{self, Client};
use mm_common::machine::{disk, files, signals, state};
use mm_common::mattermost::catalogue::{Arch, Catalogue, NONE};
use mm_common::run::{self, Session};
use serde_json::Value;

pub use arguments::{FetchArguments, Given, LimitArguments, Refresh, Verb};

use cache::Cache;
use download::Patience;
use plan::{Asked, Release, Step, Want};
use progress::Board;
use signature::Keyring;
use source::{Places, Source};
use work::{Done, Task, Workshop};

/// Room that a manifest and directories take beside a tarball (a manifest of 10,000 entries has 3 MB).
const BESIDE: u64 = 8 * 1024 * 1024;

/// How long a server may take to say how large a file is. It is asked for convenience only.
const SIZE_LIMIT: Duration = Duration::from_secs(10);

/// The command line, for man pages and completions.
pub fn command() -> clap::Command {
    FetchArguments::command()
}

/// Runs the tool.
pub fn main() -> ExitCode {
    run::main("mm-fetch", |session, arguments: FetchArguments| act(session, &arguments))
}

fn act(session: &mut Session, arguments: &FetchArguments) -> Result<String> {
    if let Some(Verb::Refresh(refresh)) = &arguments.verb {
        return refresh::act(session, arguments, refresh);
    }
    let path: Option<Path> = session.document.section("path")?;
    let overlay = overlay(arguments, path.as_ref());
    // What the document names is not the administrator's word.
    let load = if arguments.catalogue.is_some() { Catalogue::load } else { Catalogue::load_recorded };
    let catalogue = load(overlay.as_deref(), arguments.common.state_dir.as_deref())?;
    let arch = arguments.arch.or_else(Arch::of_host).ok_or_else(|| {
        Error::refused("there are no Mattermost releases for the processor of this machine")
            .hint("give --arch amd64 or --arch arm64 to fetch for another machine")
    })?;
    let keyring = match &arguments.keyring {
        Some(path) => Keyring::at(path)?,
        None => Keyring::of_mattermost(catalogue.signing_key())?,
    };
    let asked = Asked {
        releases: asked(session, arguments, path.as_ref())?,
        given: arguments.sha256.clone(),
        accept_document: arguments.common.accepts(plan::DOCUMENT_DIGEST),
    };
    let wants = plan::wants(&asked, &catalogue, arch)?;
    let places = Places::of(arguments.mirror.as_deref(), arguments.offline, arguments.from_bundle.as_deref())?;
    let cache = Cache::at(&arguments.cache)?;
    let mut planned = Planned { steps: Vec::new(), missing: Vec::new() };
    for want in wants {
        planned.add(want, &cache, &places)?;
    }
    if session.dry_run {
        session.human = Some(report::plan(&planned.steps, &planned.missing));
        return Ok(report::intention(&planned.steps));
    }
    if planned.steps.iter().any(|(task, _)| task.want.needed && task.want.proof == plan::SIGNATURE) {
        Keyring::usable()?;
    }
    cache.create()?;
    let workshop = Workshop {
        cache,
        client: Client::new(arguments.limits.http(arguments.ca.clone()))?,
        patience: patience(arguments),
        limits: arguments.limits.archive(),
        lock_wait: session.lock_wait(),
        keyring,
        every_signature: arguments.keyring.is_some(),
        accept_unsigned: arguments.common.accepts("unsigned"),
        board: Arc::new(Board::default()),
    };
    let done = fetch(session, &workshop, planned, arguments)?;
    let mut message = done.message;
    if let Some(directory) = &arguments.bundle {
        session.changed |= {
            let carried = carried(overlay.as_deref(), arguments.common.state_dir.as_deref())?;
            bundle::write(directory, &done.releases, &session.document.to_json(), carried.as_deref())?
        };
        message.push_str("; the bundle is complete");
    }
    Ok(message)
}

/// The overlay of the catalogue: the flag's, or the one that the path was planned with.
fn overlay(arguments: &FetchArguments, path: Option<&Path>) -> Option<PathBuf> {
    let recorded = || path?.wish.get("catalogue").and_then(Value::as_str).map(PathBuf::from);
    arguments.catalogue.clone().or_else(recorded)
}

/// The catalogue that goes into a bundle: what was refreshed here, with the file that was given laid over it.
fn carried(overlay: Option<&std::path::Path>, base: Option<&std::path::Path>) -> Result<Option<String>> {
    if overlay == Some(std::path::Path::new(NONE)) {
        return Ok(None);
    }
    let refreshed = match state::catalogue(base) {
        Some(path) if files::look(&path)?.is_some() => Some(refresh::read(&path)?),
        _ => None,
    };
    // Behind a link, too, as everywhere else where the catalogue is the administrator's own.
    let given = overlay.map(|path| std::fs::canonicalize(path).map_err(|error| Error::io("find", path, error)));
    let given = given.transpose()?.map(|path| refresh::read(&path)).transpose()?;
    let joined = match (refreshed, given) {
        (Some(refreshed), Some(given)) => refresh::joined(refreshed, &given),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Ok(None),
    };
    Ok(Some(format!("{joined:#}\n")))
}

fn patience(arguments: &FetchArguments) -> Patience {
    let limits = &arguments.limits;
    Patience {
        retries: limits.retries,
        first: Duration::from_secs(limits.retry_wait),
        most: Duration::from_secs(limits.retry_wait_max),
        stall: Duration::from_secs(limits.stall_timeout),
        bytes: limits.max_bytes,
    }
}

/// The releases that are asked for: those of the command line, or all that remain of the document's path, behind the
/// running one.
fn asked(session: &mut Session, arguments: &FetchArguments, path: Option<&Path>) -> Result<Vec<Release>> {
    let release = |version: &semver::Version, edition, needed| Release {
        version: version.clone(),
        edition,
        url: None,
        sha256: Vec::new(),
        needed,
    };
    if !arguments.versions.is_empty() {
        let edition = edition(session, arguments, path)?;
        return Ok(arguments.versions.iter().map(|version| release(version, edition, true)).collect());
    }
    let Some(path) = path else {
        if let Some(directory) = &arguments.from_bundle {
            return bundle::contents(directory);
        }
        return Err(Error::usage("nothing says which releases to fetch").hint(
            "give versions, as in mm-fetch --edition team 10.6.1, or a document: mm-path --to 10.6.1 | mm-fetch",
        ));
    };
    let Some(next) = path.hops.first() else { return Ok(Vec::new()) };
    let mut releases = vec![release(&path.current, path.current_edition.unwrap_or(next.edition), false)];
    // What the document says is about the processor of this machine.
    let same = arguments.arch.is_none() || arguments.arch == Arch::of_host();
    let hops = path.hops.iter().filter(|hop| !hop.is_of_database_alone());
    releases.extend(hops.map(|hop| Release {
        url: (same && !hop.url.is_empty()).then(|| hop.url.clone()),
        sha256: if same { hop.sha256.clone() } else { Vec::new() },
        ..release(&hop.to, hop.edition, true)
    }));
    Ok(releases)
}

/// The edition of releases that are named on the command line.
fn edition(session: &mut Session, arguments: &FetchArguments, path: Option<&Path>) -> Result<Edition> {
    if let Some(edition) = arguments.edition {
        return Ok(edition);
    }
    if let Some(hop) = path.and_then(|path| path.hops.first()) {
        return Ok(hop.edition);
    }
    session.probe().map(|installation| installation.edition).map_err(|error| {
        Error::usage("nothing says which edition to fetch")
            .because(error.one_line())
            .hint("give --edition team or --edition enterprise")
    })
}

/// What this run will do.
struct Planned {
    steps: Vec<(Task, Step)>,
    missing: Vec<Missing>,
}

impl Planned {
    /// # Errors
    /// Refused when a needed release is neither in the cache nor available.
    fn add(&mut self, want: Want, cache: &Cache, places: &Places) -> Result<()> {
        let source = places.source(&want.version, &want.file, &want.url)?;
        let found = cache.look(&want)?;
        let step = plan::step(&found, source.is_some());
        if step == Step::Lacking {
            let reason = places.lacking(&want.version, &want.file);
            if want.needed {
                return Err(Error::refused(format!("the {} release {} is unavailable", want.edition, want.version))
                    .because(reason)
                    .hint(places.elsewhere()));
            }
            self.missing.push(Missing { version: want.version, reason });
            return Ok(());
        }
        self.steps.push((Task { want, source, size: None }, step));
        Ok(())
    }
}

/// What came of it.
struct Fetching {
    releases: Vec<Done>,
    message: String,
}

fn fetch(session: &mut Session, workshop: &Workshop, planned: Planned, arguments: &FetchArguments) -> Result<Fetching> {
    let Planned { mut steps, mut missing } = planned;
    let options = arguments.limits.http(arguments.ca.clone());
    let sizes = Client::new(http::Options { first_byte: options.first_byte.min(SIZE_LIMIT), ..options })?;
    ask_sizes(&sizes, &mut steps, &mut missing)?;
    check_space(workshop, &steps)?;
    let tasks: Vec<Task> = steps.into_iter().map(|(task, _)| task).collect();
    let mut releases = Vec::new();
    let mut failure = None;
    for (task, result) in tasks.iter().zip(workshop.run(&tasks, usize::from(arguments.jobs))) {
        match result {
            Ok(one) => releases.push(one),
            Err(error) if task.may_be_missing(&error) => {
                missing.push(Missing { version: task.want.version.clone(), reason: error.one_line() });
            }
            Err(error) => failure = Some(first(failure, error)),
        }
    }
    session.changed |= releases.iter().any(|one| one.fetched);
    let section = Fetch { releases: releases.iter().map(fetched).collect(), missing };
    session.document.set("fetch", &section)?;
    session.human = Some(report::table(&releases, &section.missing));
    if let Some(error) = failure {
        return Err(error);
    }
    for one in &section.missing {
        ui::warn(&format!("the running release {} is unavailable: {}", one.version, one.reason));
    }
    let message = report::summary(&releases, &section.missing);
    Ok(Fetching { releases, message })
}

/// The failure that the others followed from is the one to report.
fn first(before: Option<Error>, error: Error) -> Error {
    match before {
        Some(before) if !report::is_consequence(&before) => before,
        _ => error,
    }
}

fn fetched(done: &Done) -> Fetched {
    Fetched {
        version: done.want.version.clone(),
        edition: done.want.edition,
        archive: done.held.archive.clone(),
        sha256: done.held.sha256.clone(),
        bytes: done.held.bytes,
        manifest: done.held.manifest.clone(),
        url: done.from.clone(),
        transferred: done.transferred,
        proof: done.want.proof.to_owned(),
        digest_source: done.want.source.clone(),
        signed_by: done.signed_by.clone(),
    }
}

/// Asks how large the files are that will be fetched. A server that does not say is no reason to stop here: the
/// download itself will fail with a better reason, or not at all. After one that cannot be reached no more are asked.
///
/// # Errors
/// When a needed release is not where it should be: better now than after hours of fetching the others.
fn ask_sizes(client: &Client, steps: &mut Vec<(Task, Step)>, missing: &mut Vec<Missing>) -> Result<()> {
    let mut reachable = true;
    for (mut task, step) in std::mem::take(steps) {
        match (&step, &task.source) {
            (Step::Get(_), Some(Source::File(path))) => task.size = std::fs::metadata(path).ok().map(|data| data.len()),
            (Step::Get(_), Some(Source::Web(url))) if reachable => match client.head_unless(url, &signals::check) {
                Ok(answer) if matches!(answer.status, 404 | 410) => {
                    let error = http::status_error(url, answer.status);
                    if task.want.needed {
                        return Err(error.within(task.want.attempt()));
                    }
                    missing.push(Missing { version: task.want.version, reason: error.one_line() });
                    continue;
                }
                Ok(answer) => task.size = answer.length().filter(|_| answer.status == 200),
                Err(_) => {
                    signals::check()?;
                    reachable = false;
                }
            },
            _ => {}
        }
        steps.push((task, step));
    }
    Ok(())
}

/// Refuses before the first byte when what is known not to fit would be fetched.
fn check_space(workshop: &Workshop, steps: &[(Task, Step)]) -> Result<()> {
    let bytes = steps.iter().map(|(task, step)| match (step, task.size) {
        (Step::Get(have), Some(size)) => size.saturating_sub(*have) + BESIDE,
        _ => 0,
    });
    disk::require(workshop.cache.root(), bytes.sum(), "the releases to be fetched")
}
