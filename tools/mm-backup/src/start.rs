//! `restore --run`: back to the start of an upgrade run, which is the restore point of its first hop.

use std::path::{Path, PathBuf};

use mm_common::contract::document::Document;
use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::shell;
use mm_common::machine::journal::state_flag;
use mm_common::machine::runs::{End, Ending, Run, Runs};
use mm_common::machine::state::State;
use mm_common::machine::story::Story;
use mm_common::machine::{checkpoint, door};
use mm_common::run::Session;
use serde_json::Value;

use crate::arguments::RestoreArguments;
use crate::restore_files::Planned;
use crate::store::{Point, Store};
use crate::wish::Wish;
use crate::{flip, restore, target, trust, untouched};

/// Carries it out. A run that has been taken back already stays so: what was written since would be lost.
///
/// # Errors
/// Refused (exit 5) when there is no such run, or its restore point is gone; otherwise as a restore.
pub(crate) fn back(session: &mut Session, id: &str, wanted: &RestoreArguments, jobs: usize) -> Result<String> {
    let ground = session.ground()?;
    let run = Runs::of(ground.state.path()).named(Some(id))?;
    let end = run.end()?;
    let begun = end.as_ref().filter(|end| end.ending == Ending::RollingBack);
    let (goes_on, decided) = (begun.is_some(), begun.and_then(|end| end.restores_dump));
    // Once this has begun, what it has asked of mm-pgbump is part of it.
    let own: &[&str] = if goes_on { &[flip::JOURNAL, door::MOVE] } else { &[flip::JOURNAL] };
    door::refuse_open(&ground.state, &ground.root, own)?;
    if let Some(End { ending: Ending::RolledBack, at, .. }) = end {
        return Ok(format!("the run {} has been rolled back already, at {at}", run.id));
    }
    let story = Story::read(&run)?;
    session.common.install = Some(ground.root.clone());
    if !session.dry_run {
        if let Some(of) = story.base.run()? {
            session.document.set("run", &of)?;
        }
        // From here on the run tells of a failure, too.
        session.join(run.clone(), &ground.root)?;
    }
    let Some((place, id)) = first(&story.base)? else {
        return Ok(format!("the run {} has made no restore point: nothing was changed", run.id));
    };
    let point = Store::open(&place)?.find(&id)?;
    trust::require(&point, session.common.accepts(trust::ACCEPT))?;
    let mut wish = Wish::new(&point, wanted)?;
    let moved = untouched::of_run(&ground.state, &run.id)?;
    let restores_dump = match (decided, &moved) {
        (None, Some(moved)) => Some(!untouched::is_of_first_hop(moved, &story.base)?),
        _ => decided,
    };
    wish.database &= restores_dump.unwrap_or(true);
    if session.dry_run {
        let said = carry_out(session, &point, wanted, &wish, jobs)?;
        let back = moved.map(|moved| format!("would point the server at {} again; ", moved.from.label()));
        return Ok(back.unwrap_or_default() + &said);
    }
    if restores_dump.is_some() {
        // The move would be taken back before the restore itself looks.
        target::refuse_running(Some(&ground.service), &ground.root, wanted)?;
        if !goes_on {
            refuse_unfit(session, &point, &wish)?;
            match &moved {
                Some(moved) if wish.database => untouched::require_room(moved, &point.head)?,
                _ => {}
            }
        }
    }
    run.set_end(Ending::RollingBack, Some(&id), restores_dump)?;
    if let Err(error) = untouched::point_back(session, &ground, &run.id) {
        if goes_on || error.kind() == Kind::HalfDone {
            return Err(half_done(error, &run, &ground.root, &ground.state, wanted));
        }
        // What has not begun is not gone on with.
        run.forget_end()?;
        return Err(error);
    }
    checkpoint::pass("restore-pointed-back");
    carry_out(session, &point, wanted, &wish, jobs)
}

/// Looks beforehand at what a restore of files would fail at: what is done before it is not undone.
fn refuse_unfit(session: &Session, point: &Point, wish: &Wish) -> Result<()> {
    point.proven_manifest()?;
    target::own_root(session, point)?;
    wish.files.as_ref().map_or(Ok(()), |selection| Planned::of(point, selection).map(drop))
}

/// The command that goes on with taking a run back.
pub(crate) fn again(run: &Run, root: &Path, state: &State) -> String {
    format!("mm-backup restore --run {} --stop --install {}{}", run.id, shell::word(root), state_flag(state.path()))
}

/// Nothing undoes that a move of the database was taken back: the rest is still to be done.
fn half_done(error: Error, run: &Run, root: &Path, state: &State, wanted: &RestoreArguments) -> Error {
    let first = error.next_step().unwrap_or("fix the cause").to_owned();
    let stopped = if wanted.leave_stopped { " --leave-stopped" } else { "" };
    error
        .within(format!("the run {} is taken back in part, and its server must not be started", run.id))
        .of_kind(Kind::HalfDone)
        .with_hint(format!("{first}; then, to go on: {}{stopped}", again(run, root, state)))
}

/// A restore that may be one to the start of a run, whatever it was asked for by: the run is told what has become of it.
///
/// # Errors
/// As [`restore::restore`].
pub(crate) fn restore(session: &mut Session, point: &Point, wanted: &RestoreArguments, jobs: usize) -> Result<String> {
    carry_out(session, point, wanted, &Wish::new(point, wanted)?, jobs)
}

fn carry_out(
    session: &mut Session,
    point: &Point,
    wanted: &RestoreArguments,
    wish: &Wish,
    jobs: usize,
) -> Result<String> {
    let done = restore::restore(session, point, wanted, wish, jobs);
    if session.dry_run || !wish.is_everything() {
        return done;
    }
    let outcome = Outcome::of(&done, session.changed);
    let install = &point.head.install;
    let state = session.state(install);
    match (done, note(&state, &point.head.id, outcome)?) {
        (Err(error), Some(run)) if outcome == Outcome::AsBefore => {
            session.changed = true;
            Err(half_done(error, &run, install, &state, wanted))
        }
        (done, _) => done,
    }
}

/// The restore point of the first hop, with its store; nothing where no hop has made one.
fn first(base: &Document) -> Result<Option<(PathBuf, String)>> {
    let done = base.get("done").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let section = |hop: &Value| {
        let backup = hop.get("backup")?;
        Some((PathBuf::from(backup.get("store")?.as_str()?), backup.get("id")?.as_str()?.to_owned()))
    };
    if let Some(hop) = done.first() {
        let from = hop.pointer("/hop/from").and_then(Value::as_str).unwrap_or_default();
        return section(hop).map(Some).ok_or_else(|| {
            Error::refused("the first hop of this run has no restore point")
                .because(format!("the hop from {from} was made without one"))
                .hint("mm-backup list shows the restore points that there are; mm-swap rollback takes one hop back")
        });
    }
    let backup = base.get("backup").cloned().map(|backup| serde_json::json!({ "backup": backup }));
    Ok(backup.as_ref().and_then(section))
}

/// What a restore to the start of a run has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The installation is as at the start.
    Restored,
    /// It is as before the restore.
    AsBefore,
    /// It is neither.
    HalfDone,
}

impl Outcome {
    fn of(done: &Result<String>, changed: bool) -> Self {
        match done {
            Err(error) if error.kind() == Kind::HalfDone => Self::HalfDone,
            // Everything is restored; that the server is not healthy is another matter.
            Err(_) if !changed => Self::AsBefore,
            _ => Self::Restored,
        }
    }
}

/// Notes of the runs that were being taken back to this restore point what has become of that. Returns the one that still is:
/// one whose move was taken back is not as before the restore when nothing of that is left.
pub(crate) fn note(state: &State, point: &str, outcome: Outcome) -> Result<Option<Run>> {
    let mut open = None;
    for run in Runs::of(state.path()).all()? {
        let Some(end) = run.end().ok().flatten() else { continue };
        if end.ending != Ending::RollingBack || end.point.as_deref() != Some(point) {
            continue;
        }
        match outcome {
            Outcome::Restored => run.set_end(Ending::RolledBack, Some(point), None)?,
            Outcome::AsBefore if end.restores_dump.is_none() => run.forget_end()?,
            Outcome::AsBefore | Outcome::HalfDone => open = Some(run),
        }
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_start_of_a_run_is_the_restore_point_of_its_first_hop() {
        let point = |id: &str| json!({"id": id, "store": "/srv/backup"});
        let found = |document: Value| first(&Document::parse(document.to_string().as_bytes(), "here").unwrap());
        let schema = "mm.upgrade/1";
        let one = Some(("/srv/backup".into(), "one".to_owned()));
        assert_eq!(found(json!({"schema": schema})).unwrap(), None);
        assert_eq!(found(json!({"schema": schema, "backup": point("one")})).unwrap(), one);
        let done = [json!({"hop": {}, "backup": point("one")}), json!({"hop": {}, "backup": point("two")})];
        assert_eq!(found(json!({"schema": schema, "done": done, "backup": point("three")})).unwrap(), one);
        let error = found(json!({"schema": schema, "done": [{"hop": {"from": "9.11.18"}}]})).unwrap_err();
        assert_eq!(error.code(), 5);
    }
}
