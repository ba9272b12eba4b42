//! `--status`: how far a run is, also while it is under way, and what is really there. Reads, and takes no lock.

use std::io::IsTerminal as _;
use std::time::Duration;

use jiff::Timestamp;
use mm_common::contract::call;
use mm_common::contract::document::Document;
use mm_common::contract::error::Result;
use mm_common::contract::sections::{DatabaseNow, Hop, Path};
use mm_common::contract::shell;
use mm_common::machine::journal::state_flag;
use mm_common::machine::runs::{Ending, Run};
use mm_common::machine::story::Story;
use mm_common::machine::{door, files, signals};
use mm_common::mattermost::site::{self, Installation, private};
use mm_common::mattermost::way_back;
use mm_common::run as frame;
use mm_common::run::Session;
use serde_json::Value;

use super::ends::End;
use super::resume::Installed;
use super::tale::{Current, How, Leg, Server, Tale, Working};
use super::{Decision, Standing, decide};
use crate::arguments::PathArguments;
use crate::fold;

/// How often `--follow` looks.
const PAUSE: Duration = Duration::from_secs(1);
/// More than a log of one run has.
const LOG: u64 = 256 * 1024 * 1024;
/// The lines of mm-upgrade and of the tools that it runs.
const LOG_NAME: &str = "log";

/// Carries it out.
///
/// # Errors
/// Refused (exit 5) when there is no run.
pub(crate) fn status(session: &mut Session, arguments: &PathArguments) -> Result<String> {
    let run = arguments.run.as_deref();
    let tale = if arguments.follow { follow(session, run)? } else { look(session, run)? };
    session.document.set("status", &tale)?;
    session.human = Some(tale.text());
    Ok(format!("the run {} is at {}", tale.run, tale.now))
}

/// How a run is; the last one, where none is named.
///
/// # Errors
/// Refused (exit 5) when there is none.
pub(crate) fn look(session: &Session, run: Option<&str>) -> Result<Tale> {
    tell(session, &Standing::find(session, run)?)
}

/// The same in the end, and told until then whenever it changes.
///
/// # Errors
/// Refused (exit 5) when there is none.
pub(crate) fn follow(session: &Session, run: Option<&str>) -> Result<Tale> {
    let mut told = String::new();
    loop {
        let tale = look(session, run)?;
        if !matches!(tale.how, How::Running | How::Stopped) || signals::caught().is_some() {
            return Ok(tale);
        }
        let text = tale.text();
        if std::io::stdout().is_terminal() || lasting(&told) != lasting(&text) {
            frame::tell_again(&text)?;
        }
        told = text;
        std::thread::sleep(PAUSE);
    }
}

/// All of it but the seconds, which count up by themselves.
fn lasting(text: &str) -> Vec<&str> {
    let without = |line| str::split(line, " s so far").next().unwrap_or_default().trim_end_matches(char::is_numeric);
    text.lines().map(without).collect()
}

fn tell(session: &Session, standing: &Standing) -> Result<Tale> {
    let Standing { root, state, run, later } = standing;
    let is_newest = later.is_none();
    let Story { base, failure, .. } = Story::read(run)?;
    let seen = site::probe(&session.wanted()?).ok();
    let path: Option<Path> = base.section("path")?;
    let mut done: Vec<Leg> = done(&base);
    let mut hops = path.as_ref().map(|path| path.hops.clone()).unwrap_or_default();
    if path.as_ref().is_some_and(|path| path.next.is_none()) {
        hops.clear();
    }
    let mut in_place = false;
    if let Some(later) = later {
        // What is installed now is not this run's any more: it is what the next one has begun with.
        if let Some(hop) = left_behind(&base, later) {
            done.push(Leg::of(&hop));
            hops.remove(0);
        }
    } else if let Some(seen) = &seen {
        // What cannot be asked is not known, and nothing fails for it.
        let asked = hops.first().and_then(|hop| way_back::database_for(hop, seen).ok());
        let database = asked.unwrap_or_default();
        let installed = Installed { version: &seen.version, edition: seen.edition, database };
        match decide(&base, installed)? {
            Decision::Finished(hop) => {
                done.push(Leg::of(&hop));
                hops.remove(0);
            }
            Decision::Again(_) => in_place = true,
            Decision::Afresh => {}
        }
    }
    let end = run.end()?;
    let holder = standing.at_work(hops.is_empty());
    let how = match (end.as_ref().map(|end| end.ending), &holder) {
        (Some(Ending::RolledBack), _) => How::RolledBack,
        (Some(Ending::Closed), _) => How::Closed,
        (_, Some(_)) => How::Running,
        (Some(Ending::RollingBack), None) => How::RollingBack,
        (None, None) if hops.is_empty() => How::Finished,
        (None, None) => How::Stopped,
    };
    let from = done.first().map(|leg| leg.from.clone());
    let current = path.as_ref().map(|path| path.current.to_string()).unwrap_or_default();
    let from = from.unwrap_or_else(|| current.clone());
    let now = match how {
        How::RolledBack => from.clone(),
        _ => done.last().map_or(current, |leg| leg.to.clone()),
    };
    let expected: Vec<Option<f64>> = hops.iter().map(|hop| seconds(&base, hop)).collect();
    let hop = hops.first().filter(|_| matches!(how, How::Running | How::Stopped)).map(|hop| Current {
        number: done.len() + 1,
        of: done.len() + hops.len(),
        from: hop.from.to_string(),
        to: hop.to.to_string(),
        changes: hop.changes.clone(),
        in_place,
        expected_seconds: expected[0],
    });
    // Of a tool that works, also for no run or for another one, the journal is no half-done work.
    let open = if holder.is_none() && standing.holder().is_none() { door::open(state, root, &[])? } else { Vec::new() };
    let flags = format!("--install {}{}", shell::word(root), state_flag(state.path()));
    // mm-upgrade goes on with the newest run, and takes back that one.
    let upgrade = |verb| with_upgrade(&base, verb).filter(|_| is_newest);
    let this = if is_newest { String::new() } else { format!(" --run {}", run.id) };
    let resume = || upgrade("resume").unwrap_or_else(|| format!("mm-path --resume{this} {flags}"));
    let next = match how {
        How::Stopped => Some(open.first().map_or_else(resume, |open| call::hint(&open.command).into_owned())),
        How::RollingBack => Some(restore(&run.id, &flags)),
        _ => None,
    };
    let server = seen.as_ref().map(server).transpose()?;
    let manager = seen.as_ref().map(|seen| &seen.service.manager);
    let mut left = End::of(server.as_ref(), hop.as_ref(), &open, (manager, root));
    let is_changed = !done.is_empty() || in_place;
    if is_changed && matches!(how, How::Stopped | How::Finished) {
        left.back = Some(upgrade("rollback").unwrap_or_else(|| restore(&run.id, &flags)));
    }
    Ok(Tale {
        run: run.id.clone(),
        directory: run.path.display().to_string(),
        started: base.run()?.map(|run| run.started).unwrap_or_default(),
        how,
        since: end.map(|end| end.at),
        working: holder.map(|holder| Working {
            seconds: since(&holder.since),
            tool: holder.tool,
            verb: holder.verb,
            process: holder.process,
            since: holder.since,
        }),
        from,
        now,
        target: path.map(|path| path.target.to_string()).unwrap_or_default(),
        to_do: hops.iter().map(Leg::of).collect(),
        // The sum of nothing would be a negative zero.
        expected_seconds: expected.into_iter().try_fold(0.0, |sum, seconds| Some(sum + seconds?)),
        done,
        hop,
        error: failure,
        open,
        server,
        end: left,
        last_line: last_line(&run.path.join(LOG_NAME)),
        next,
    })
}

/// The hop that was the last one of a run when the next run was begun, where it was finished by then.
fn left_behind(base: &Document, later: &Run) -> Option<Hop> {
    let plan = later.documents().ok()?.into_iter().next()?;
    let then = Document::parse(&plan.read().ok()?, "of the run after it").ok()?.site().ok()??;
    // Only a look at what was carried in there lets a hop of the database alone be taken for verified.
    let database = DatabaseNow { major: then.database.major, is_moved: base.get("verify").is_some() };
    match decide(base, Installed { version: &then.version, edition: then.edition, database }) {
        Ok(Decision::Finished(hop)) => Some(*hop),
        _ => None,
    }
}

/// A verb of mm-upgrade for a run that was begun by it.
fn with_upgrade(base: &Document, verb: &str) -> Option<String> {
    let runs = base.get("upgrade").and_then(|upgrade| upgrade.get("runs")?.as_str())?;
    Some(format!("mm-upgrade {verb} --runs {}", shell::word(runs)))
}

/// The command that takes a run back: the restored server is started as this tool knows how.
fn restore(run: &str, flags: &str) -> String {
    call::hint(&format!("mm-backup restore --run {run} --stop {flags}")).into()
}

fn done(base: &Document) -> Vec<Leg> {
    let records = base.get("done").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let hops = records.iter().filter_map(|record| serde_json::from_value::<Hop>(record.get("hop")?.clone()).ok());
    hops.map(|hop| Leg::of(&hop)).collect()
}

/// How long a hop is expected to take: as a rehearsal has measured it, or as its migrations are estimated.
fn seconds(base: &Document, hop: &Hop) -> Option<f64> {
    let estimate = hop.estimate.get("seconds").and_then(Value::as_f64);
    fold::measured_whole(base, &hop.from, &hop.to).or(estimate)
}

fn server(seen: &Installation) -> Result<Server> {
    let running = seen.service.is_running()?;
    let private = private::noted(&seen.state)?.filter(|_| running);
    Ok(Server {
        installed: seen.version.to_string(),
        edition: seen.edition.to_string(),
        running,
        private_address: private.map(|address| format!("http://{address}")),
    })
}

fn since(time: &str) -> Option<i64> {
    let began: Timestamp = time.parse().ok()?;
    Some(Timestamp::now().as_second() - began.as_second())
}

fn last_line(log: &std::path::Path) -> Option<String> {
    let text = files::read(log, LOG).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
}
