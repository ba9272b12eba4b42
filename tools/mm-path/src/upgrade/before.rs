//! Of `run`, what comes before its first hop: the call, the plan, and what mm-fetch has brought.

use std::path::Path as FilePath;

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::sections::Status;
use mm_common::contract::shell;
use mm_common::machine::files;
use mm_common::machine::state::STORE;
use mm_common::run::{Common, Session};
use serde_json::{Value, json};

use super::called::Called;
use super::commands::Commands;
use super::found::PLAN;
use super::stages::{place, target, ways};
use super::{Answer, MOST, UpgradeArguments, card, document, path_in};

/// What the call says, and, of `run`, everything for its first stage.
pub(super) fn call(session: &Session, arguments: &UpgradeArguments, answer: &mut Answer) -> Result<()> {
    let mut called = Called::of(&arguments.words)?;
    answer.set("verb", &called.verb);
    answer.set("runs", called.runs.display().to_string());
    answer.set("plan", called.runs.join(PLAN).display().to_string());
    answer.truth("dry_run", called.dry_run);
    if called.verb != "run" {
        return Ok(());
    }
    if called.to.is_empty() {
        let install =
            called.install.as_ref().map_or_else(String::new, |path| format!(" --install {}", shell::word(path)));
        return Err(Error::usage("run needs --to VERSION").hint(format!(
            "where it can go: mm-path{install}; for example: mm-upgrade run --to latest-esr --dry-run"
        )));
    }
    // The tools have it from the environment or the file of the host, where nobody names one.
    if called.store.is_none() {
        let store = arguments.store.clone().unwrap_or_else(|| STORE.into());
        called.store = Some(std::path::absolute(&store).unwrap_or(store));
    }
    // What is said of a flag that nothing takes is said before anything else.
    let commands = Commands::of(&called, called.install.as_deref().or(session.common.install.as_deref()));
    commands.check_flags()?;
    let commands = Commands::of(&called, called.install.as_deref());
    let mut words = arguments.words.clone();
    let (store, target) = (called.store.as_ref(), called.postgres_target.as_ref());
    for (flag, path) in [("--install", called.install.as_ref()), ("--store", store), ("--postgres-target", target)] {
        words.extend(path.into_iter().flat_map(|path| [flag.to_owned(), path.display().to_string()]));
    }
    words.extend(["--announce".to_owned(), called.announce.clone()]);
    answer.list("arguments", &words);
    settings(&called, answer);
    answer.set("rehearsal", called.rehearsal.as_ref().map(|path| path.display().to_string()).unwrap_or_default());
    let place = called.install.as_ref().map_or_else(String::new, |path| format!(" {}", path.display()));
    answer.set("planning_words", format!("planning{place} to {}", called.to));
    let store = store.map(|store| store.display().to_string()).unwrap_or_default();
    let mut planning = vec!["mm-path", "--to", &called.to, "--policy", &called.policy, "--check", "--store", &store];
    for (flag, value) in [("--postgres", &called.postgres), ("--edition", &called.edition)] {
        planning.extend(value.iter().flat_map(|value| [flag, value]));
    }
    answer.list("planning", &commands.stage(&planning)?);
    Ok(())
}

/// What the loop needs of the call.
pub(super) fn settings(called: &Called, answer: &mut Answer) {
    answer.set("to", &called.to);
    answer.set("announce", &called.announce);
    answer.set("on_failure", &called.on_failure);
    answer.set("watch", called.watch.trim_start_matches('0'));
    answer.truth("public", called.public);
    answer.set("window", called.window.map_or_else(String::new, |window| window.to_string()));
}

/// Of a rehearsal, what a plan reads.
pub(super) fn rehearsal(path: &FilePath) -> Result<String> {
    let is_none = || {
        Error::new(Kind::BadDocument, format!("{} is not the rehearsal.json of mm-rehearse", path.display()))
            .hint("give that file as it is: --rehearsal /var/lib/mm-tools/rehearsal/rehearsal.json")
    };
    let whole = std::fs::canonicalize(path).map_err(|error| is_none().because(error))?;
    let text = files::read(&whole, MOST).map_err(|error| is_none().because(error.one_line()))?;
    let document: Value = serde_json::from_slice(&text).map_err(|error| is_none().because(error))?;
    let done = document["rehearsal"]["done"].as_array().ok_or_else(is_none)?;
    let done: Vec<Value> = done
        .iter()
        .map(|hop| {
            json!({"hop": {"from": hop["hop"]["from"], "to": hop["hop"]["to"]}, "seconds": hop["seconds"],
                "swap": {"healthy_after_seconds": hop["swap"]["healthy_after_seconds"]}})
        })
        .collect();
    let rehearsal = json!({"bytes": document["rehearsal"]["bytes"], "done": done});
    Ok(json!({"schema": document["schema"], "rehearsal": rehearsal}).to_string())
}

/// What the plan says: what was found, what is shown, and the stages before the first hop.
pub(super) fn planned(file: &FilePath, called: &Called, answer: &mut Answer) -> Result<()> {
    let document = document(file)?;
    let path = path_in(&document)?;
    // What the host says is looked up once: the whole run is about the installation that was planned for.
    let site = document.site()?.map(|site| site.install);
    let install = called.install.clone().or(site);
    answer.set("install", install.as_ref().map(|path| path.display().to_string()).unwrap_or_default());
    answer.truth("knew_install", called.install.is_some());
    card::refuse_other_nodes(&path)?;
    let commands = Commands::of(called, install.as_deref());
    answer.truth("is_there", path.next.is_none());
    answer.set("current", path.current.to_string());
    let (major, target) = (path.hops.iter().find_map(|hop| hop.needs.postgres), target(called));
    let major = major.map(|major| major.to_string());
    let mut check = vec!["mm-pgbump", "check"];
    check.extend(major.iter().flat_map(|major| ["--to", major]));
    check.extend(target.iter().flat_map(|target| ["--target", target]));
    answer.list("check", &commands.stage(&check)?);
    answer.list("fetch", &commands.stage(&["mm-fetch"])?);
    if called.dry_run && path.next.is_some() {
        let mut shown = called.clone();
        shown.install = install;
        let mut lines = card::lines(&document, &path, &shown, &commands)?;
        lines.extend(card::stages(&path, called, &commands)?);
        answer.list("lines", &lines);
    }
    Ok(())
}

/// The run that mm-fetch has made, and what is left to be done before the first hop.
pub(super) fn fetched(
    (session, host): (&mut Session, &Common),
    (file, plan): (&FilePath, &FilePath),
    called: &Called,
    answer: &mut Answer,
) -> Result<()> {
    let document = document(file)?;
    let (path, id) = (path_in(&document)?, document.run()?.map(|run| run.id).unwrap_or_default());
    let run = place(session, host, called, &id)?;
    answer.set("id", &id);
    answer.set("run", run.display().to_string());
    let commands = Commands::of(called, called.install.as_deref());
    let screenshots = run.join("screenshots").display().to_string();
    answer.list("baseline", &commands.stage(&["mm-verify", "baseline", "--screenshots", &screenshots])?);
    ways(&commands, called, &id, answer)?;
    let is_missing = path.checks.iter().any(|check| check.id == "release-files" && check.status == Status::Error);
    let archive = document.get("fetch").and_then(|fetch| fetch.get("releases")?.get(0)?.get("archive")?.as_str());
    let cache = archive.and_then(|archive| FilePath::new(archive).parent()?.parent());
    answer.truth("looks_again", is_missing && cache.is_some());
    if let (true, Some(cache)) = (is_missing, cache) {
        let store = called.store.clone().unwrap_or_default();
        let words = [plan.display(), store.display(), cache.display()].map(|path| path.to_string());
        let look = ["mm-path", "--document", &words[0], "--check", "--store", &words[1], "--cache", &words[2]];
        answer.list("look", &commands.stage(&look)?);
    }
    Ok(())
}
