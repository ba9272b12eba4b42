//! Making the checks, one after the other, and removing afterwards what they have put into the database.

use std::time::Instant;

use mm_common::contract::sections::{Check, Status};
use mm_common::contract::ui;
use mm_common::machine::files::{self, Access};
use mm_common::machine::signals;
use mm_common::mattermost::site;
use mm_common::run::Session;
use mm_common::{Error, Kind, Result};

use crate::arguments::Options;
use crate::baseline::Baseline;
use crate::check::{Definition, Finding, Needs};
use crate::look::Look;
use crate::{checks, erase, plan, report};

/// What the checks say, and how long they took.
pub(crate) struct Looked {
    /// The checks, in their order.
    pub(crate) checks: Vec<Check>,
    /// Seconds.
    pub(crate) seconds: f64,
}

/// `run`: makes the checks and says whether the server may be let at its users.
pub(crate) fn run(session: &mut Session, options: Options) -> Result<String> {
    let strict = options.strict;
    let Some((_, looked)) = look(session, options, true)? else {
        return Ok("would make the checks named in the document; nothing was looked at".into());
    };
    session.document.set("verify", &section(&looked))?;
    session.human = Some(report::human(&looked.checks, looked.seconds));
    signals::check()?;
    plan::verdict(&looked.checks, strict)
}

/// `baseline`: makes the same checks and stores them. That some fail is what is to be known.
pub(crate) fn baseline(session: &mut Session, options: Options) -> Result<String> {
    let Some((look, looked)) = look(session, options, false)? else {
        return Ok("would make the checks and store them; nothing was looked at".into());
    };
    signals::check()?;
    session.human = Some(report::human(&looked.checks, looked.seconds));
    let path = look.state().join("baseline.json");
    let summary = plan::summary(&looked.checks);
    let stored = Baseline::of(&look, looked.checks)?;
    stored.write(&path)?;
    session
        .document
        .set("baseline", &serde_json::json!({ "path": path, "created": stored.created, "checks": summary }))?;
    Ok(format!("baseline stored in {}: {summary}", path.display()))
}

/// The section of the document.
pub(crate) fn section(looked: &Looked) -> mm_common::contract::sections::Verify {
    let counts = plan::STATUSES
        .iter()
        .map(|status| (plan::name(*status).to_owned(), plan::count(&looked.checks, *status).into()))
        .collect();
    mm_common::contract::sections::Verify { counts, checks: looked.checks.clone(), seconds: looked.seconds }
}

/// Looks at the site; `None` in a dry run, for which the document says what would be done.
fn look(session: &mut Session, options: Options, compare: bool) -> Result<Option<(Look, Looked)>> {
    let ids: Vec<&str> = checks::ALL.iter().map(|definition| definition.id).chain([CLEAN]).collect();
    plan::unknown_names(&options.only, &ids)?;
    plan::unknown_names(&options.skip, &ids)?;
    let (junit, prometheus) = (options.junit.clone(), options.prometheus.clone());
    let wait = session.lock_wait();
    // Whoever holds the lock may be changing what there is to see.
    let guard = if session.dry_run { None } else { Some(site::ground(&session.wanted()?)?.state.lock(wait)?) };
    let mut look = Look::at(session, options).map_err(|error| half_made(session, error))?;
    if !compare {
        // It is what later looks are compared with.
        session.refuse_open(&[])?;
    }
    if guard.is_none() {
        let checks = checks::ALL.iter().filter(|definition| selected(&look, definition.id));
        let checks = checks.map(|definition| check(definition, Finding::skip("dry run"), 0.0)).collect();
        let looked = Looked { checks, seconds: 0.0 };
        session.document.set("verify", &section(&looked))?;
        session.human = Some(report::human(&looked.checks, 0.0));
        return Ok(None);
    }
    let looked = make(&mut look, compare)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    if let Some(path) = junit {
        files::write(&path, report::junit(&looked.checks, looked.seconds).as_bytes(), Access::PUBLIC)?;
    }
    if let Some(path) = prometheus {
        files::write(&path, report::prometheus(&looked.checks, looked.seconds, now).as_bytes(), Access::PUBLIC)?;
    }
    Ok(Some((look, looked)))
}

/// What is half-made may not be fit to be looked at: then that is what is wrong.
fn half_made(session: &Session, error: Error) -> Error {
    match session.refuse_open(&[]) {
        Ok(()) => error,
        Err(open) => open.of_kind(Kind::CheckSaysNo).because(error.one_line()),
    }
}

/// The check that everything we put into the database is gone again.
const CLEAN: &str = "traces.removed";

fn selected(look: &Look, id: &str) -> bool {
    plan::is_selected(id, &look.options.only, &look.options.skip)
}

/// Makes the checks that are asked for.
pub(crate) fn make(look: &mut Look, compare: bool) -> Result<Looked> {
    let started = Instant::now();
    sweep_before(look)?;
    signals::leads_to("the check under way ends, and what the checks have put into the database is removed");
    let mut checks = Vec::new();
    for definition in checks::ALL {
        if !selected(look, definition.id) {
            continue;
        }
        if signals::caught().is_some() {
            break;
        }
        ui::progress(&format!("looking at {}", definition.title));
        let begun = Instant::now();
        let finding = match forbidden(look, definition.needs) {
            Some(why) => Finding::skip(why),
            None => (definition.look)(look).unwrap_or_else(|error| could_not(&error)),
        };
        let made = check(definition, finding, begun.elapsed().as_secs_f64());
        ui::detail(&format!("{}: {} ({})", made.id, plan::name(made.status), made.evidence));
        checks.push(match look.baseline.as_ref().filter(|_| compare) {
            Some(baseline) => plan::judge(made, baseline.check(definition.id), &baseline.created),
            None => made,
        });
    }
    if look.people.is_some() || look.scratch.is_some() || look.shadow.is_some() {
        checks.push(clean(look));
    }
    ui::progress_done();
    Ok(Looked { checks, seconds: started.elapsed().as_secs_f64() })
}

/// Removes what a run that was cut off has left behind.
fn sweep_before(look: &Look) -> Result<()> {
    look.prepare_state()?;
    if look.traces.read()?.is_empty() || !look.cut_off.is_empty() {
        return Ok(());
    }
    let swept = look.database().and_then(|database| erase::sweep(database, &look.traces, &look.installation));
    match swept {
        Ok(count) => ui::say(&format!("removed {} of a run that was cut off", ui::count(count, "trace"))),
        // That is no reason not to look; the record stays, and the next run tries again.
        Err(error) => ui::warn(&format!("traces of a run that was cut off are still there: {}", error.one_line())),
    }
    Ok(())
}

/// Why a check may not be made in this run.
fn forbidden(look: &Look, needs: Needs) -> Option<&'static str> {
    match needs {
        Needs::Sessions | Needs::Scratch if !look.cut_off.is_empty() => {
            Some("an earlier run was cut off: nothing is put into the database until that is ended")
        }
        Needs::Sessions if look.options.no_sessions && !look.has_account() => {
            Some("--no-sessions forbids it, and no account was given")
        }
        Needs::Scratch if look.options.no_sessions => Some("--no-sessions forbids a temporary user"),
        _ => None,
    }
}

fn could_not(error: &Error) -> Finding {
    let finding = Finding { status: Status::Error, ..Finding::skip(error.one_line()) };
    match error.next_step() {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

fn check(definition: &Definition, mut finding: Finding, seconds: f64) -> Check {
    if finding.status == Status::Fail && finding.hint.is_none() {
        finding = finding.hint("see the server's log, logs/mattermost.log in the install root");
    }
    Check {
        id: definition.id.into(),
        title: definition.title.into(),
        status: finding.status,
        evidence: finding.evidence,
        compared_with: finding.compared_with,
        hint: finding.hint,
        seconds,
    }
}

fn clean(look: &mut Look) -> Check {
    let _clean = signals::finishing("what these checks have put into the database is removed, within some seconds");
    let begun = Instant::now();
    let finding = match look.clear() {
        Ok(()) => Finding::pass("no user, channel, post, file or session of ours is in the database"),
        Err(error) => Finding::fail(error.one_line())
            .hint(format!("run mm-verify again: it removes what {} names", look.traces.path().display())),
    };
    Check {
        id: CLEAN.into(),
        title: "nothing of these checks is left behind".into(),
        status: finding.status,
        evidence: finding.evidence,
        compared_with: None,
        hint: finding.hint,
        seconds: begun.elapsed().as_secs_f64(),
    }
}
