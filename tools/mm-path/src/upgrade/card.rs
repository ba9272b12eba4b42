//! What an mm-upgrade is about to do: the card that is shown before anything is stopped, and all its commands.

use mm_common::contract::document::Document;
use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::sections::{Hop, Path, Preflight, Status};
use mm_common::contract::{shell, ui};

use super::called::Called;
use super::commands::Commands;
use crate::fold;

fn time(seconds: f64) -> String {
    if seconds < 90.0 { format!("{:.0} s", seconds.ceil()) } else { format!("{:.0} min", (seconds / 60.0).ceil()) }
}

fn number(hop: &Hop, key: &str) -> Option<f64> {
    hop.estimate.get(key).and_then(serde_json::Value::as_f64)
}

/// The card, in lines. No line with a command has anything behind it.
pub(super) fn lines(document: &Document, path: &Path, called: &Called, commands: &Commands<'_>) -> Result<Vec<String>> {
    let site = document.site()?;
    let install = site.as_ref().map(|site| shell::word(&site.install)).unwrap_or_default();
    let store = called.store.as_ref().map(shell::word).unwrap_or_default();
    let count = path.hops.len();
    let measured: Vec<Option<f64>> =
        path.hops.iter().map(|hop| fold::measured_whole(document, &hop.from, &hop.to)).collect();
    let many = if count == 1 { "" } else { "s" };
    let mut lines = vec![format!("Upgrade of {install} from {} to {}, {count} hop{many}", path.current, path.target)];
    for (at, (hop, measured)) in path.hops.iter().zip(&measured).enumerate() {
        let database = match hop.needs.postgres {
            Some(major) if hop.needs.is_move => format!(", moved to PostgreSQL {major}"),
            Some(major) => format!(", PostgreSQL {major}"),
            None => String::new(),
        };
        let takes = match (measured, number(hop, "seconds")) {
            (Some(measured), _) => format!(", {}", time(*measured)),
            (None, Some(guess)) => format!(", about {} of migrations", time(guess)),
            (None, None) => String::new(),
        };
        lines.push(format!("  hop {} of {count}: {} to {}{database}{takes}", at + 1, hop.from, hop.to));
    }
    let mut say = |line: String| lines.push(line);
    say("Users are out from the restore point of a hop until its release serves,".into());
    if called.public {
        say("  and are let in between hops:".into());
    } else if count > 1 {
        say("  and between hops:".into());
    }
    if measured.iter().all(Option::is_some) {
        say(format!("  {} in all, as the rehearsal measured", time(measured.iter().flatten().sum())));
    } else {
        say("  how long has not been measured on this data; this measures it:".into());
        say(format!("  mm-rehearse --to {} --store {store} --install {install}", path.target));
    }
    for check in path.checks.iter().filter(|check| check.id == "disk") {
        for part in check.evidence.split("; ") {
            say(format!("Space: {}", part.split(" (").next().unwrap_or_default()));
        }
    }
    say("Back, when an exchange or the database's upgrade fails: by itself, exit status 6.".into());
    let stays = match called.on_failure.as_str() {
        "rollback" => "back to the start",
        "publish" => "it stays, users are let in",
        _ if called.public || count == 1 => "it stays, users are in",
        _ => "it stays, without users (after the last hop they are in)",
    };
    say(format!("When a verification fails: {stays}."));
    let restores = path
        .hops
        .first()
        .and_then(|hop| number(hop, "restore_seconds"))
        .map(|seconds| format!("about {}", time(seconds)));
    let longer = restores.as_deref().unwrap_or("longer");
    say(format!("Back, one hop, in seconds ({longer} where the database has to be restored from its dump):"));
    say(format!("  {}", commands.typed(&["mm-swap", "rollback", "--database"])?));
    let takes = restores.map_or_else(String::new, |about| format!(", {about} for the database"));
    say(format!("Back to now, all hops{takes}; what was written since is lost:"));
    say(format!("  mm-upgrade rollback --runs {}", shell::word(&called.runs)));
    let database = site.and_then(|site| site.database.name).unwrap_or_default();
    say(format!("  It restores files, uploads, configuration and the database {database} from the"));
    say(format!("  first restore point, in {store}."));
    let others = if called.shared_cluster { "." } else { "," };
    say(format!("Not covered: what is outside of the server (proxy, search engine, files in S3){others}"));
    if !called.shared_cluster {
        say("  other databases of the PostgreSQL cluster.".into());
    }
    say("Nothing is stopped yet: Ctrl-C now costs nothing.".into());
    Ok(lines)
}

/// All stages, with their commands, as they would be run.
pub(super) fn stages(path: &Path, called: &Called, commands: &Commands<'_>) -> Result<Vec<String>> {
    let mut lines = vec!["Before the first hop, with the plan on standard input, while users work:".to_owned()];
    let run = |words: &[&str]| -> Result<String> { Ok(format!("  {}", shell::words(&commands.stage(words)?))) };
    let target = called.postgres_target.as_ref().map(|target| target.display().to_string());
    let target: Vec<&str> = target.iter().flat_map(|target| ["--target", target]).collect();
    lines.push(run(&[&["mm-pgbump", "check"][..], &target].concat())?);
    lines.push(run(&["mm-fetch"])?);
    lines.push(run(&["mm-verify", "baseline"])?);
    lines.push("Each hop, every command with the document of the one before on its standard input:".into());
    lines.push(run(&["mm-fetch"])?);
    lines.push(run(&["mm-swap", "stage"])?);
    lines.push("  users are out from here on".into());
    let store = called.store.as_ref().map(|store| store.display().to_string()).unwrap_or_default();
    let mut backup = vec!["mm-backup", "--to", &store, "--stop", "--freeze", "--leave-stopped"];
    if called.shared_cluster {
        backup.push("--whole-cluster");
    }
    lines.push(run(&backup)?);
    let moves: &[&str] = if target.is_empty() { &["mm-pgbump"] } else { &["mm-pgbump", "move"] };
    lines.push(run(&[moves, &target, &["--leave-stopped"]].concat())?);
    let is_private = !called.public && path.hops.len() > 1;
    lines.push(run(if is_private { &["mm-swap", "--private"] } else { &["mm-swap"] })?);
    if is_private {
        lines.push("    (the last hop without --private)".into());
    }
    lines.push(run(&["mm-backup", "complete"])?);
    lines.push(run(&["mm-verify"])?);
    lines.push(run(&["mm-path"])?);
    if !called.watch.trim_start_matches('0').is_empty() {
        lines.push("At the end, users being in:".into());
        lines.push(run(&["mm-verify", "watch", "--for", &format!("{}s", called.watch)])?);
    }
    Ok(lines)
}

/// The findings that are to be told, but for those that an earlier look has had. Without the releases, their list of files
/// is not missed yet: `is_first` says that they are still to come.
pub(super) fn findings(path: &Path, before: Option<&Path>, is_first: bool) -> Vec<String> {
    let said: Vec<&str> =
        before.into_iter().flat_map(|path| found(path, true)).map(|check| check.id.as_str()).collect();
    found(path, is_first).filter(|check| !said.contains(&check.id.as_str())).map(told).collect()
}

fn found(path: &Path, is_first: bool) -> impl Iterator<Item = &Preflight> {
    path.checks.iter().filter(move |check| match check.status {
        Status::Fail | Status::Warn => true,
        Status::Error => !(is_first && check.id == "release-files"),
        Status::Pass | Status::Skip => false,
    })
}

fn told(check: &Preflight) -> String {
    let status = match check.status {
        Status::Fail => "fail",
        Status::Warn => "warn",
        _ => "error",
    };
    let fix = if check.fix.is_empty() { String::new() } else { format!("; {}", check.fix) };
    // Names of plugins and messages of servers: no terminal obeys them.
    ui::clean(&format!("preflight, {status}: {}: {}{fix}", check.title, check.evidence)).replace('\n', " ")
}

/// Refuses while other nodes run that cannot be upgraded in turn: another node would write beside a restore point that is taken
/// for cold, and into a schema that is not its own. One that was killed is one of them until it has been silent for ten minutes.
///
/// # Errors
/// A failed check (exit 4).
pub(super) fn refuse_other_nodes(path: &Path) -> Result<()> {
    let nodes = path.checks.iter().find(|check| check.id == "nodes" && check.status == Status::Fail);
    let Some(nodes) = nodes.filter(|_| path.hops.iter().any(|hop| !hop.rolling)) else { return Ok(()) };
    let message = format!("several nodes use the database ({}), and they cannot be upgraded in turn", nodes.evidence);
    Err(Error::new(Kind::CheckSaysNo, message)
        .because("what the others write meanwhile would be lost on the way back")
        .hint("upgrade all with cluster.yml of the playbooks, or stop all but this one, wait ten minutes if one was killed, and run this again"))
}
