//! The later verbs: which run they are about, what comes first, and what `status` tells.

use mm_common::contract::error::Result;
use mm_common::contract::{shell, terminal};
use mm_common::machine::{files, lock};
use mm_common::run::{self as frame, Common, Output, Session};

use super::Answer;
use super::before::settings;
use super::called::Called;
use super::commands::Commands;
use super::found::{self, ARGUMENTS, Found, FoundRun, PLAN};
use super::stages::ways;
use crate::recorded::{self, How};

/// Which run a later verb is about, with its commands, and whether a tool that a killed mm-upgrade has left behind still works on
/// it.
pub(super) fn find(session: &mut Session, host: &Common, words: &[String], answer: &mut Answer) -> Result<()> {
    answer.set("settled", "");
    answer.truth("is_running", false);
    match found::find(session, host, words)? {
        Found::Planning(planned) => {
            answer.set("found", "planning");
            answer.list("arguments", &planned);
        }
        Found::Earlier(earlier) => {
            answer.set("found", "earlier");
            answer.set("run", earlier.place.display().to_string());
            answer.set("settled", earlier.is_settled()?.unwrap_or_default());
            answer.list("arguments", &earlier.words[..earlier.words.len() - words.len()]);
            let commands = Commands::of(&earlier.called, earlier.called.install.as_deref());
            recoveries(&commands, &RECOVERING, answer)?;
            let (point, store) =
                (earlier.point()?.unwrap_or_default(), earlier.called.store.clone().unwrap_or_default());
            let store = store.display().to_string();
            answer.list("restore", &commands.stage(&["mm-backup", "restore", &point, "--to", &store, "--stop"])?);
        }
        Found::Run(run) => {
            let FoundRun { words: whole, called, tale, is_entered } = &*run;
            answer.truth("is_running", tale.how == How::Running);
            let working = tale.working.as_ref().map_or_else(String::new, |working| {
                format!("{} {} (process {})", working.tool, working.verb, working.process)
            });
            answer.set("working", working);
            answer.set("id", &tale.run);
            // Asked again until it has ended.
            if called.verb == "resume" && tale.how == How::Running {
                return Ok(());
            }
            if called.verb == "resume" {
                // The way back is open, whatever the tools have become since.
                Commands::of(called, None).check_flags()?;
            }
            let left = called.runs.join(PLAN).join(ARGUMENTS).exists();
            let ends = !matches!(tale.how, How::Stopped | How::RollingBack);
            let begins = called.verb == "resume" && (!is_entered || left && ends);
            answer.set("found", if begins { "planning" } else { "run" });
            let planned = if begins && *is_entered {
                found::planned_call(&called.runs)?
            } else {
                whole[..whole.len() - words.len()].to_vec()
            };
            answer.list("arguments", if begins { &planned } else { whole });
            answer.set("run", &tale.directory);
            answer.set("from", &tale.from);
            settings(called, answer);
            let commands = Commands::of(called, called.install.as_deref());
            let open: Vec<&str> =
                RECOVERING.into_iter().filter(|tool| tale.open.iter().any(|open| open.tool == *tool)).collect();
            recoveries(&commands, &open, answer)?;
            answer.list("resume", &commands.stage(&["mm-path", "--resume", "--run", &tale.run])?);
            ways(&commands, called, &tale.run, answer)?;
        }
    }
    Ok(())
}

/// What can have been cut off, in the order in which it is ended.
const RECOVERING: [&str; 3] = ["mm-swap", "mm-pgbump", "mm-backup"];

pub(super) fn recoveries(commands: &Commands<'_>, tools: &[&str], answer: &mut Answer) -> Result<()> {
    answer.list("recoveries", tools);
    for tool in RECOVERING {
        answer.list(&format!("recover_{}", &tool[3..]), &commands.stage(&[tool, "recover"])?);
    }
    Ok(())
}

/// `mm-upgrade status`.
pub(super) fn status(session: &mut Session, host: &Common, words: &[String]) -> Result<String> {
    let called = Called::of(words)?;
    let plan = called.runs.join(PLAN);
    let log = plan.join("log");
    let planning = lock::script_at_work(&called.runs);
    let resume = format!("next: mm-upgrade resume --runs {}; its log is {}", shell::word(&called.runs), log.display());
    let told = match (&planning, files::look(&plan.join(ARGUMENTS))) {
        (Some(holder), Ok(Some(_))) => format!("planning {}; its log is {}\n", holder.in_words(), log.display()),
        (None, Ok(Some(_))) if !called.follow => {
            format!("stopped while it planned another run, nothing was changed; {resume}\n")
        }
        _ => String::new(),
    };
    let is_json = called.format == "json";
    let text = match found::find(session, host, words)? {
        Found::Planning(_) if planning.is_some() => told,
        Found::Planning(_) => format!("stopped while it planned, nothing was changed; {resume}\n"),
        Found::Earlier(earlier) => earlier.text()?,
        Found::Run(run) => {
            let tale = if called.follow {
                if !told.is_empty() {
                    frame::tell_again(&told)?;
                }
                recorded::follow(session, Some(&run.tale.run))?
            } else {
                run.tale
            };
            if is_json {
                session.document.set("status", &tale)?;
                session.document.report(false, false, &format!("the run {} is at {}", tale.run, tale.now));
                session.document.to_json()
            } else {
                // Who follows has been told at the beginning, and by now it may be otherwise.
                let told = if called.follow { String::new() } else { told };
                told + &tale.text()
            }
        }
    };
    session.output = Output::Text(if is_json { text } else { terminal::for_people(&text) });
    Ok(String::new())
}
