//! A restore into place: everything that takes time is done beside what is there, which is then exchanged.

mod stages;

use mm_common::contract::error::{Kind, Result};
use mm_common::contract::time;
use mm_common::run::Session;

use super::ready::{self, Terms};
use crate::arguments::RestoreArguments;
use crate::flip::{self, Recovered};
use crate::store::Point;
use crate::wish::Wish;
use crate::{again, complete, salvage, target};

use stages::Work;

/// Restores into place, or says what that would do. Returns the line that says it.
pub(super) fn restore(
    session: &mut Session,
    point: &Point,
    wanted: &RestoreArguments,
    wish: &Wish,
    jobs: usize,
) -> Result<String> {
    let terms = Terms::of(session, jobs);
    let install = target::own_root(session, point)?;
    let state = session.state(&install);
    let guard = if session.dry_run { None } else { Some(state.lock(session.lock_wait())?) };
    target::refuse_foreign_journals(&state, &install, wish)?;
    // After a disaster there may be nothing to observe: then the files come first, and say the rest.
    session.common.install.get_or_insert_with(|| install.clone());
    let mut installation = target::observe(session, point, wish, &install)?;
    let Some(lock) = guard else {
        let mut plan = ready::in_place(point, (wanted, wish, terms), installation.as_ref(), None)?;
        plan.first = flip::interrupted(&state)?.map(|open| open.id);
        let steps = plan.steps();
        return super::foretell(session, point, wish, &steps);
    };
    let mut wish = wish.clone();
    let recovered = flip::recover(&state, installation.as_ref(), &lock)?;
    if recovered != Recovered::Nothing {
        installation = target::observe(session, point, &wish, &install)?;
    }
    if recovered == Recovered::Finished(point.head.id.clone()) && point.head.incomplete().is_some() {
        // The copy it was frozen in is the server's database now.
        wish.database = false;
    }
    ready::before_storing(point, (wanted, &wish), installation.as_ref())?;
    let completed = complete::before_restore(session, point, &wish, installation.as_ref(), (jobs, &lock))?;
    let (point, wish) = (completed.as_ref().unwrap_or(point), &wish);
    let plan = ready::in_place(point, (wanted, wish, terms), installation.as_ref(), Some(&lock))?;
    let (stopped, start) = (plan.stop, plan.start);
    let work = Work {
        point,
        wish,
        terms,
        stamp: time::stamp(),
        leaves_out: session.common.accepts(salvage::ACCEPT),
        state: &state,
        installation: installation.as_ref(),
        lock: &lock,
    };
    let result = work.carry_out(session, plan);
    if let Some(installation) = installation {
        let would_start = if result.is_ok() { start } else { stopped };
        let starts = would_start && !installation.service.is_running()?;
        match &result {
            Ok(_) if starts => {
                again::start(session, installation, "everything is restored", wanted.limit.duration(), &lock)?;
            }
            // A failure leaves the service as it was, whatever the next tool would have wanted.
            Err(error) if starts && error.kind() != Kind::HalfDone => drop(installation.service.start(&[], &lock)),
            _ => {}
        }
    }
    let (mut done, left_out) = result?;
    if done.is_empty() {
        done = "what was cut off is finished".into();
    }
    session.changed = true;
    salvage::all_or_most(&point.head, &left_out, format!("restored {} of {}: {done}", wish.in_words(), point.head.id))
}
