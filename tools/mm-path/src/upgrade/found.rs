//! Which run `resume`, `rollback` and `status` are about, and what it was called with. The link `last` only says which
//! installation it is of: the newest run there counts.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use mm_common::contract::document::Document;
use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::shell;
use mm_common::machine::{files, user};
use mm_common::run::{Common, Session};
use serde_json::Value;

use super::called::Called;
use super::commands::Commands;
use super::earlier::Earlier;
use crate::arguments::PathArguments;
use crate::recorded::{self, Tale};

/// The words of a call, each ended by a null byte, while no run is there that they could stand in.
pub(super) const ARGUMENTS: &str = "arguments";
/// Beside the links to the runs: what belongs to a call that has not come to a run yet.
pub(super) const PLAN: &str = "plan";
/// The link to the run that was begun last.
pub(super) const LAST: &str = "last";
/// More than any call has.
const MOST: u64 = 1024 * 1024;

/// What was found.
pub(super) enum Found {
    /// The last call of `run` was planning: there is no run of it. With the words that it was called with.
    Planning(Vec<String>),
    /// A run of an mm-upgrade that kept its documents beside its links.
    Earlier(Box<Earlier>),
    /// A run in the state directory.
    Run(Box<FoundRun>),
}

/// Such a run.
pub(super) struct FoundRun {
    /// The words that it was begun with, those of this call behind them.
    pub(super) words: Vec<String>,
    pub(super) called: Called,
    /// How it is.
    pub(super) tale: Tale,
    /// Whether the call that has begun it knows of it: else it stopped before its first hop, and what it planned lies in
    /// [`PLAN`].
    pub(super) is_entered: bool,
}

/// Looks for it. `words` are those of this call, `host` is what the host says where they do not.
///
/// # Errors
/// Refused (exit 5) where there is none.
pub(super) fn find(session: &mut Session, host: &Common, words: &[String]) -> Result<Found> {
    let called = Called::of(words)?;
    let runs = called.runs.clone();
    let first = std::fs::canonicalize(runs.join(LAST)).ok();
    let planned = arguments_in(&runs.join(PLAN).join(ARGUMENTS))?;
    if let (None, Some(planned), "resume" | "status") = (&first, &planned, called.verb.as_str()) {
        return Ok(Found::Planning(planned.clone()));
    }
    // The last call of `run` may have come to a run and not into it: that one is the newest then, and counts what it was
    // called with.
    if let Some(planned) = planned {
        let words = [&planned[..], words].concat();
        if let Ok((called, tale)) = newest(session, host, &words)
            && files::look(&runs.join(&tale.run))?.is_none()
            && of_run(Path::new(&tale.directory)).is_ok_and(|upgrade| upgrade.runs.as_deref() == Some(&runs))
        {
            return Ok(Found::Run(Box::new(FoundRun { words, called, tale, is_entered: false })));
        }
    }
    let blind = || if user::is_root() { "" } else { " that this user may see" };
    let none = |place: String| {
        Error::refused(format!("there is no earlier run in {place}{}", blind()))
            .hint("begin one: mm-upgrade run --to VERSION")
    };
    let first = match first {
        Some(first) => first,
        None => match newest(session, host, words) {
            Ok((_, tale)) => tale.directory.into(),
            Err(error) if error.kind() == Kind::Refused => return Err(none(runs.display().to_string())),
            Err(error) => return Err(error),
        },
    };
    if let Some(old) = arguments_in(&first.join(ARGUMENTS))? {
        return Earlier::of(first, [&old[..], words].concat()).map(|earlier| Found::Earlier(Box::new(earlier)));
    }
    let begun = of_run(&first)?;
    let with = |begun: &Upgrade| [&begun.words[..], words].concat();
    let mut whole = with(&begun);
    let (mut called, mut tale) = newest(session, host, &whole).map_err(|error| match error.kind() {
        Kind::Refused => {
            let install = Called::of(&whole).ok().and_then(|called| called.install);
            let place = install.map_or_else(|| "the installation".into(), |install| install.display().to_string());
            none(format!("the state directory of {place}"))
        }
        _ => error,
    })?;
    let mut is_ours = !begun.words.is_empty();
    // A newer one than the links tell of has been called with something else.
    if Path::new(&tale.directory) != first {
        let begun = of_run(Path::new(&tale.directory))?;
        is_ours = !begun.words.is_empty();
        if is_ours {
            whole = with(&begun);
            (called, tale) = newest(session, host, &whole)?;
        }
    }
    if !is_ours && called.verb != "status" {
        let install =
            called.install.as_ref().map_or_else(String::new, |install| format!(" --install {}", shell::word(install)));
        return Err(Error::refused(format!("the last run ({}) was not begun by mm-upgrade", tale.run))
            .hint(format!("go on with mm-path --resume{install}")));
    }
    Ok(Found::Run(Box::new(FoundRun { words: whole, called, tale, is_entered: true })))
}

/// The run of the installation that was begun last, looked at with what these words hand to mm-path.
fn newest(session: &mut Session, host: &Common, words: &[String]) -> Result<(Called, Tale)> {
    let called = Called::of(words)?;
    work_as(session, host, &called)?;
    let tale = recorded::look(session, None)?;
    Ok((called, tale))
}

/// From here on this process looks where mm-path would, called with the flags of an mm-upgrade and in the environment of this
/// one. What an earlier call of this has set counts no more.
pub(super) fn work_as(session: &mut Session, host: &Common, called: &Called) -> Result<()> {
    let install = called.install.clone().or_else(|| host.install.clone());
    let line = Commands::of(called, install.as_deref()).stage(&["mm-path", "--status"])?;
    let arguments = PathArguments::try_parse_from(line).map_err(|error| {
        Error::usage("the flags for mm-path cannot be understood").because(error.kind()).hint("see mm-path --help")
    })?;
    let Common { state_dir, service, .. } = arguments.common.clone();
    session.common = Common {
        state_dir: state_dir.or_else(|| host.state_dir.clone()),
        service: service.or_else(|| host.service.clone()),
        ..arguments.common
    };
    session.introduce_call();
    Ok(())
}

/// What stands of mm-upgrade in the document that a run begins with.
struct Upgrade {
    runs: Option<PathBuf>,
    words: Vec<String>,
}

fn of_run(directory: &Path) -> Result<Upgrade> {
    let path = directory.join("0000-mm-path-plan.json");
    let unreadable = |error: Error| {
        Error::refused(format!("the run {} cannot be read", directory.display())).because(error.one_line())
    };
    let document = super::document(&path).map_err(unreadable)?;
    let upgrade = document.get("upgrade");
    let words = upgrade.and_then(|upgrade| upgrade.get("arguments")?.as_array().cloned()).unwrap_or_default();
    Ok(Upgrade {
        runs: upgrade.and_then(|upgrade| upgrade.get("runs")?.as_str().map(PathBuf::from)),
        words: words.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

/// The words of the last call of `run` that has not come to a run.
pub(super) fn planned_call(runs: &Path) -> Result<Vec<String>> {
    Ok(arguments_in(&runs.join(PLAN).join(ARGUMENTS))?.unwrap_or_default())
}

/// The words of a call, where they are there.
fn arguments_in(path: &Path) -> Result<Option<Vec<String>>> {
    match files::look(path) {
        Ok(Some(_)) => {}
        _ => return Ok(None),
    }
    let text = files::read_text(path, MOST)?;
    Ok(Some(text.split_terminator('\0').map(str::to_owned).collect()))
}

/// The document with what mm-upgrade was called with.
pub(super) fn with_call(mut document: Document, called: &Called, words: &[String]) -> Result<Document> {
    let upgrade = serde_json::json!({"runs": called.runs, "arguments": words});
    document.set("upgrade", &upgrade)?;
    Ok(document)
}
