//! The next hop with its commands, and how a run and its server are.

use std::path::{Path as FilePath, PathBuf};

use mm_common::contract::document::Document;
use mm_common::contract::error::Result;
use mm_common::contract::sections::Hop;
use mm_common::machine::runs;
use mm_common::run::{Common, Session};
use serde_json::Value;

use super::called::{self, Called};
use super::commands::Commands;
use super::{Answer, found, path_in};
use crate::fold;
use crate::recorded::{self, Tale};

/// The next hop: its words and its commands. `now` is the time of day, in minutes.
pub(super) fn hop(
    (session, host): (&mut Session, &Common),
    document: &Document,
    called: &Called,
    now: Option<u32>,
    answer: &mut Answer,
) -> Result<()> {
    let path = path_in(document)?;
    let done = document.get("done").and_then(Value::as_array).map_or(0, Vec::len);
    let Some(hop) = &path.next else {
        answer.set("to", "");
        answer.set("arrived", path.current.to_string());
        return Ok(());
    };
    let (from, to) = (hop.from.to_string(), hop.to.to_string());
    let expected = fold::measured_whole(document, &hop.from, &hop.to)
        .or_else(|| hop.estimate.get("seconds").and_then(Value::as_f64))
        .unwrap_or_default();
    let fits = |window: called::Window| now.is_some_and(|now| window.holds(now, expected));
    answer.truth("in_window", called.window.is_none_or(fits));
    answer.set("from", &from);
    answer.set("to", &to);
    answer.set("hop", format!("hop {} of {}, {}", done + 1, done + path.hops.len(), hop.in_words()));
    let is_of_database = hop.changes == ["database"];
    let unpacks =
        if is_of_database { "nothing to unpack".into() } else { format!("unpacking {to}; users notice nothing") };
    let starts = if is_of_database {
        format!("starting {to} on the moved database")
    } else {
        format!("exchanging the release and starting {to}")
    };
    let is_private = !called.public && hop.to != path.target;
    let kept = if is_private { "; users are kept out" } else { "" };
    answer.set("unpacks", unpacks);
    answer.set("starts", starts);
    answer.set("verifies", format!("verifying {to}{kept}"));
    let id = document.run()?.map(|run| run.id).unwrap_or_default();
    let run = place(session, host, called, &id)?;
    stages(hop, called, &run, is_private, answer)
}

pub(super) fn stages(hop: &Hop, called: &Called, run: &FilePath, is_private: bool, answer: &mut Answer) -> Result<()> {
    let commands = Commands::of(called, called.install.as_deref());
    let (store, target) = (called.store.clone().unwrap_or_default().display().to_string(), target(called));
    let mut backup = vec!["mm-backup", "--to", &store, "--stop", "--freeze", "--leave-stopped"];
    if called.shared_cluster && hop.needs.postgres.is_some() {
        backup.push("--whole-cluster");
    }
    let mut bump = vec!["mm-pgbump"];
    bump.extend(target.iter().flat_map(|target| ["move", "--target", target]));
    bump.push("--leave-stopped");
    let swap: &[&str] = if is_private { &["mm-swap", "--private"] } else { &["mm-swap"] };
    let screenshots = run.join(format!("screenshots-{}", hop.to)).display().to_string();
    answer.list("fetch", &commands.stage(&["mm-fetch"])?);
    answer.list("unpack", &commands.stage(&["mm-swap", "stage"])?);
    answer.list("backup", &commands.stage(&backup)?);
    answer.list("bump", &commands.stage_while_stopped(&bump)?);
    answer.list("swap", &commands.stage_while_stopped(swap)?);
    answer.list("complete", &commands.stage(&["mm-backup", "complete"])?);
    answer.list("verify", &commands.stage(&["mm-verify", "--screenshots", &screenshots])?);
    answer.list("fold", &commands.stage(&["mm-path"])?);
    Ok(())
}

/// How the run and the server are now, and what can be typed about it.
pub(super) fn end(
    (session, host): (&mut Session, &Common),
    id: Option<&str>,
    called: &Called,
    answer: &mut Answer,
) -> Result<()> {
    found::work_as(session, host, called)?;
    let tale = recorded::look(session, id.filter(|id| !id.is_empty()))?;
    let Tale { end, .. } = &tale;
    answer.truth("kept_out", end.kept_out);
    answer.set("state", &end.sentence);
    answer.set("began", &tale.from);
    // What was given for mm-swap alone is not known to mm-path.
    let is_given = called.hands("mm-swap").next().is_some();
    let commands = Commands::of(called, called.install.as_deref());
    let way = match (&end.publish, &end.start) {
        (Some(_), _) if is_given => format!(". To let them in: {}", commands.typed(&["mm-swap", "publish"])?),
        (Some(publish), _) => format!(". To let them in: {publish}"),
        (None, Some(start)) => format!(". To start it as it is: {start}"),
        (None, None) => String::new(),
    };
    answer.set("way", way);
    Ok(())
}

/// The commands for the end of a run, whichever way it ends.
pub(super) fn ways(commands: &Commands<'_>, called: &Called, run: &str, answer: &mut Answer) -> Result<()> {
    answer.list("restore", &commands.stage(&["mm-backup", "restore", "--run", run, "--stop"])?);
    answer.list("publish", &commands.stage(&["mm-swap", "publish"])?);
    answer.set("let_in", commands.typed(&["mm-swap", "publish"])?);
    answer.list("watching", &commands.stage(&["mm-verify", "watch", "--for", &format!("{}s", called.watch)])?);
    Ok(())
}

/// The directory of a run.
pub(super) fn place(session: &mut Session, host: &Common, called: &Called, id: &str) -> Result<PathBuf> {
    found::work_as(session, host, called)?;
    let ground = session.ground()?;
    Ok(runs::Runs::of(ground.state.path()).named(Some(id))?.path)
}

pub(super) fn target(called: &Called) -> Option<String> {
    called.postgres_target.as_ref().map(|target| target.display().to_string())
}
