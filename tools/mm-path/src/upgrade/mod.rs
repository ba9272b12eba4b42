//! `--upgrade`: what mm-upgrade has to know, as lines that bash reads: the call, the run, the next hop with its commands, how the
//! server is. The script is flags, preflight, window, announcements and the loop; what it decides by comes from here.
//!
//! `mm-path --upgrade STEP [FILE...] -- WORDS` with the words that mm-upgrade was called with. Nothing is changed.

mod called;
mod card;
mod commands;
mod earlier;
mod found;

use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use mm_common::contract::document::Document;
use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::sections::{Hop, Path, Status};
use mm_common::contract::{shell, terminal, ui};
use mm_common::machine::state::STORE;
use mm_common::machine::{files, lock, runs, signals};
use mm_common::run::{Output, Session};
use serde_json::{Value, json};

use self::called::Called;
use self::commands::Commands;
use self::found::{ARGUMENTS, Found, FoundRun, PLAN};
use crate::arguments::PathArguments;
use crate::fold;
use crate::recorded::{self, How, Tale};

/// No document is larger.
const MOST: u64 = 64 * 1024 * 1024;
/// How often what a killed mm-upgrade has left running is looked at, a second apart, before it is told of.
const TRIES: u32 = 60;

/// A document in a file.
fn document(path: &FilePath) -> Result<Document> {
    Document::parse(&files::read(path, MOST)?, &format!("in `{}`", path.display()))
}

/// Lines that set variables of bash.
#[derive(Debug, Default)]
struct Answer(String);

impl Answer {
    fn set(&mut self, name: &str, value: impl AsRef<str>) {
        self.0.push_str(&format!("{name}={}\n", shell::quoted(value.as_ref())));
    }

    fn truth(&mut self, name: &str, value: bool) {
        self.set(name, if value { "true" } else { "false" });
    }

    fn list<T: AsRef<str>>(&mut self, name: &str, words: &[T]) {
        let words: Vec<_> = words.iter().map(|word| shell::quoted(word.as_ref())).collect();
        self.0.push_str(&format!("{name}=({})\n", words.join(" ")));
    }
}

/// Carries it out.
///
/// # Errors
/// As the step that is asked for.
pub(crate) fn act(session: &mut Session, arguments: &PathArguments) -> Result<String> {
    let words = &arguments.words;
    let (step, files) = arguments.upgrade.split_first().map_or(("", &[][..]), |(step, files)| (step.as_str(), files));
    let file = |at: usize| {
        let path = files.get(at).ok_or_else(|| Error::usage(format!("--upgrade {step} needs a file")))?;
        Ok::<_, Error>(PathBuf::from(path))
    };
    let mut answer = Answer::default();
    match step {
        "call" => call(session, arguments, &mut answer)?,
        "find" => find(session, words, &mut answer)?,
        "status" => return status(session, words),
        "rehearsal" => answer.0 = rehearsal(&file(0)?)?,
        "plan" => {
            let called = Called::of(words)?;
            answer.0 = found::with_call(document(&file(0)?)?, &called, words)?.to_json();
        }
        "planned" => planned(&file(0)?, &Called::of(words)?, &mut answer)?,
        "fetched" => fetched(session, (&file(0)?, &file(1)?), &Called::of(words)?, &mut answer)?,
        "findings" => {
            let of = |file: PathBuf| path_in(&document(&file)?);
            let before = file(1).ok().map(of).transpose()?;
            answer.list("findings", &card::findings(&of(file(0)?)?, before.as_ref(), before.is_none()));
        }
        "card" => {
            let (called, document) = (Called::of(words)?, document(&file(0)?)?);
            let commands = Commands::of(&called, called.install.as_deref());
            answer.list("lines", &card::lines(&document, &path_in(&document)?, &called, &commands)?);
        }
        "hop" => {
            let now = files.get(1).and_then(|now| called::minutes(now));
            hop(session, &document(&file(0)?)?, &Called::of(words)?, now, &mut answer)?;
        }
        "end" => end(session, files.first().map(String::as_str), &Called::of(words)?, &mut answer)?,
        "said" => said(&document(&file(0)?)?, &mut answer)?,
        _ => return Err(Error::usage(format!("--upgrade knows no step '{step}'")).hint("it is for mm-upgrade")),
    }
    session.output = Output::Text(answer.0);
    Ok(String::new())
}

fn path_in(document: &Document) -> Result<Path> {
    document.section("path")?.ok_or_else(|| {
        Error::new(Kind::BadDocument, "the document has no plan").hint("begin with mm-path --to VERSION")
    })
}

/// What a tool has said in the end: its line, as people may see it, whether it has changed something, and its exit code.
fn said(document: &Document, answer: &mut Answer) -> Result<()> {
    let message = document.get("msg").and_then(Value::as_str).unwrap_or_default();
    answer.set("message", ui::clean(message).replace(['\n', '\t'], " "));
    let is = |key: &str, value: bool| document.get(key).and_then(Value::as_bool) == Some(value);
    answer.truth("changed", is("changed", true));
    let code = document.failure()?.map_or(u8::from(!is("failed", false)), |failure| failure.code.max(1));
    answer.set("ended_with", code.to_string());
    Ok(())
}

/// What the call says, and, of `run`, everything for its first stage.
fn call(session: &Session, arguments: &PathArguments, answer: &mut Answer) -> Result<()> {
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
fn settings(called: &Called, answer: &mut Answer) {
    answer.set("to", &called.to);
    answer.set("announce", &called.announce);
    answer.set("on_failure", &called.on_failure);
    answer.set("watch", called.watch.trim_start_matches('0'));
    answer.truth("public", called.public);
    answer.set("window", called.window.map_or_else(String::new, |window| window.to_string()));
}

/// Which run a later verb is about, with its commands. What still works on it is waited for.
fn find(session: &mut Session, words: &[String], answer: &mut Answer) -> Result<()> {
    answer.set("settled", "");
    match found::find(session, words)? {
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
            let run = if run.called.verb == "resume" { wait(session, *run)? } else { *run };
            let FoundRun { words: whole, called, tale, is_entered } = &run;
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
            answer.set("id", &tale.run);
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

fn recoveries(commands: &Commands<'_>, tools: &[&str], answer: &mut Answer) -> Result<()> {
    answer.list("recoveries", tools);
    for tool in RECOVERING {
        answer.list(&format!("recover_{}", &tool[3..]), &commands.stage(&[tool, "recover"])?);
    }
    Ok(())
}

/// The commands for the end of a run, whichever way it ends.
fn ways(commands: &Commands<'_>, called: &Called, run: &str, answer: &mut Answer) -> Result<()> {
    answer.list("restore", &commands.stage(&["mm-backup", "restore", "--run", run, "--stop"])?);
    answer.list("publish", &commands.stage(&["mm-swap", "publish"])?);
    answer.set("let_in", commands.typed(&["mm-swap", "publish"])?);
    answer.list("watching", &commands.stage(&["mm-verify", "watch", "--for", &format!("{}s", called.watch)])?);
    Ok(())
}

fn wait(session: &mut Session, mut run: FoundRun) -> Result<FoundRun> {
    for _ in 0..TRIES {
        if run.tale.how != How::Running {
            return Ok(run);
        }
        signals::check()?;
        std::thread::sleep(Duration::from_secs(1));
        run.tale = recorded::look(session, Some(&run.tale.run))?;
    }
    let who =
        run.tale.working.as_ref().map_or_else(String::new, |working| {
            format!("{} {} (process {})", working.tool, working.verb, working.process)
        });
    Err(Error::new(Kind::Locked, format!("{who} still works on the run {}", run.tale.run))
        .hint(format!("mm-upgrade status --runs {}", shell::word(&run.called.runs))))
}

/// `mm-upgrade status`.
fn status(session: &mut Session, words: &[String]) -> Result<String> {
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
    let text = match found::find(session, words)? {
        Found::Planning(_) if planning.is_some() => told,
        Found::Planning(_) => format!("stopped while it planned, nothing was changed; {resume}\n"),
        Found::Earlier(earlier) => earlier.text()?,
        Found::Run(run) => {
            let tale = if called.follow { recorded::follow(session, Some(&run.tale.run))? } else { run.tale };
            if is_json {
                session.document.set("status", &tale)?;
                session.document.report(false, false, &format!("the run {} is at {}", tale.run, tale.now));
                session.document.to_json()
            } else {
                told + &tale.text()
            }
        }
    };
    session.output = Output::Text(if is_json { text } else { terminal::for_people(&text) });
    Ok(String::new())
}

/// Of a rehearsal, what a plan reads.
fn rehearsal(path: &FilePath) -> Result<String> {
    let is_none = || {
        Error::new(Kind::BadDocument, format!("{} is not the rehearsal.json of mm-rehearse", path.display()))
            .hint("give that file as it is: --rehearsal /var/lib/mm-tools/rehearsal/rehearsal.json")
    };
    let text = files::read(&std::fs::canonicalize(path).map_err(|error| is_none().because(error))?, MOST)?;
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
fn planned(file: &FilePath, called: &Called, answer: &mut Answer) -> Result<()> {
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

fn target(called: &Called) -> Option<String> {
    called.postgres_target.as_ref().map(|target| target.display().to_string())
}

/// The run that mm-fetch has made, and what is left to be done before the first hop.
fn fetched(
    session: &mut Session,
    (file, plan): (&FilePath, &FilePath),
    called: &Called,
    answer: &mut Answer,
) -> Result<()> {
    let document = document(file)?;
    let (path, id) = (path_in(&document)?, document.run()?.map(|run| run.id).unwrap_or_default());
    let run = place(session, called, &id)?;
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

/// The directory of a run.
fn place(session: &mut Session, called: &Called, id: &str) -> Result<PathBuf> {
    found::work_as(session, called)?;
    let ground = session.ground()?;
    Ok(runs::Runs::of(ground.state.path()).named(Some(id))?.path)
}

/// The next hop: its words and its commands. `now` is the time of day, in minutes.
fn hop(
    session: &mut Session,
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
    let run = place(session, called, &id)?;
    stages(hop, called, &run, is_private, answer)
}

fn stages(hop: &Hop, called: &Called, run: &FilePath, is_private: bool, answer: &mut Answer) -> Result<()> {
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
fn end(session: &mut Session, id: Option<&str>, called: &Called, answer: &mut Answer) -> Result<()> {
    found::work_as(session, called)?;
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
