//! `repair`: the documented fix for the known aftermath of a jump, in one transaction, with the way back saved first.

use mm_common::contract::error::Context as _;
use mm_common::contract::{shell, time, ui};
use mm_common::machine::files::{self, Access};
use mm_common::mattermost::session::Session as ServerSession;
use mm_common::postgres::server::Database;
use mm_common::run::{Output, Session};
use mm_common::{Error, Kind, Result};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;

use crate::arguments::{Options, Repair};
use crate::checks::nulls;
use crate::look::Look;
use crate::people::LIFE;
use crate::statements::{self, Statements};

/// A repair.
struct Definition {
    id: &'static str,
    title: &'static str,
    /// What is broken that this mends; empty when nothing is.
    broken: fn(&Look) -> Result<Vec<String>>,
    /// The statements that mend it, and those that take it back.
    statements: fn(&Look) -> Result<Statements>,
}

const ALL: &[Definition] = &[
    Definition {
        id: "null-counts",
        title: "fill the counts that a jump over 5.35 to 6.3 left empty with the real ones, and set the defaults",
        broken: |look| broken(look, "null-counts"),
        statements: statements::null_counts,
    },
    Definition {
        id: "last-root-post",
        title: "fill channels.lastrootpostat where it is empty",
        broken: |look| broken(look, "last-root-post"),
        statements: statements::last_root_post,
    },
    Definition {
        id: "scheme-guest",
        title: "set schemeguest to false where it is empty",
        broken: |look| broken(look, "scheme-guest"),
        statements: statements::scheme_guest,
    },
    Definition {
        id: "permissions",
        title: "give back permissions that the baseline had, or without one those nobody can do without",
        broken: statements::lost_permissions,
        statements: statements::permissions,
    },
];

fn broken(look: &Look, id: &str) -> Result<Vec<String>> {
    let empty = nulls::empty(look)?;
    let mut broken: Vec<String> = empty
        .iter()
        .filter(|empty| empty.column.repair == id)
        .map(|empty| {
            format!("{}.{} is NULL in {}", empty.column.table, empty.column.name, ui::count(empty.rows, "row"))
        })
        .collect();
    // A database that 6.4 or later made first lacks the defaults as well; without NULLs that is no damage.
    let from_5 = look.level()?.systems_version.is_some_and(|version| version.starts_with("5."));
    if id == "null-counts" && (from_5 || !broken.is_empty()) {
        broken.extend(nulls::without_default(look)?.into_iter().map(|name| format!("{name} has no default")));
    }
    Ok(broken)
}

/// `repair`.
pub(crate) fn repair(session: &mut Session, options: Options, wanted: &Repair) -> Result<String> {
    if !wanted.list {
        session.refuse_open(&[])?;
    }
    let look = Look::at(session, options)?;
    let database = look.database()?;
    let is_known = |id: &String| id == "all" || ALL.iter().any(|repair| repair.id == *id);
    if let Some(id) = wanted.fix.iter().find(|id| !is_known(id)) {
        let known = ALL.iter().map(|repair| repair.id).collect::<Vec<_>>().join(", ");
        return Err(Error::usage(format!("there is no repair `{id}`")).hint(format!("the repairs are: {known}, all")));
    }
    let mut report = Vec::new();
    let mut text = String::new();
    let mut chosen = Vec::new();
    for repair in ALL {
        let broken = (repair.broken)(&look)?;
        let is_wanted = wanted.fix.iter().any(|id| id == "all" || id == repair.id);
        let _ = writeln!(text, "{:15} {}", repair.id, repair.title);
        if broken.is_empty() {
            text.push_str("                not needed\n");
        }
        for line in &broken {
            let _ = writeln!(text, "                needed: {line}");
        }
        report.push(json!({ "id": repair.id, "title": repair.title, "needed": broken }));
        if is_wanted && !broken.is_empty() {
            chosen.push(repair);
        }
    }
    session.document.set("repair", &report)?;
    if wanted.list {
        session.human = Some(text);
        return Ok(format!("{} repairs are known", ALL.len()));
    }
    if chosen.is_empty() {
        return Ok("nothing to repair".into());
    }
    if session.dry_run {
        let scripts = chosen.iter().map(|repair| (repair.statements)(&look).map(|s| s.apply));
        session.output = Output::Text(scripts.collect::<Result<Vec<_>>>()?.join("\n"));
        return Ok(format!("would apply {}", names(&chosen)));
    }
    let guard = look.installation.state.lock(session.lock_wait())?;
    session.refuse_open(&[])?;
    look.prepare_state()?;
    let mut undo_files = Vec::new();
    let mut script = String::from("SET LOCAL lock_timeout = '5s';\n");
    for repair in &chosen {
        let statements = (repair.statements)(&look)?;
        let state = look.state();
        let name = files::free_name(&state, &format!("undo-{}-{}", time::stamp(), repair.id), ".sql")?;
        let undo = state.join(name);
        files::write(&undo, statements.undo.as_bytes(), Access::PRIVATE)?;
        ui::say(&format!("the way back is in {}", undo.display()));
        script.push_str(&statements.apply);
        undo_files.push(undo);
    }
    mm_common::machine::checkpoint::pass("verify-undo-saved");
    database.execute(&script).context(|| format!("cannot apply {}", names(&chosen))).map_err(|error| {
        error.hint(
            "nothing was changed. If a lock was in the way, look for idle sessions in pg_stat_activity, and try again",
        )
    })?;
    session.changed = true;
    mm_common::machine::checkpoint::pass("verify-repaired");
    for (repair, undo) in chosen.iter().zip(&undo_files) {
        let left = (repair.broken)(&look)?;
        if !left.is_empty() {
            return Err(Error::new(Kind::HalfDone, format!("the repair {} did not fix all", repair.id))
                .because(left.join("; "))
                .hint(format!("to undo it: {}", taken_back(database, &look, undo))));
        }
    }
    forget_caches(&look);
    drop(guard);
    session
        .document
        .set("repaired", &json!({ "ids": chosen.iter().map(|r| r.id).collect::<Vec<_>>(), "undo": undo_files }))?;
    let paths: Vec<String> = undo_files.iter().map(|path| path.display().to_string()).collect();
    Ok(format!("applied {}; what undoes it is in {}", names(&chosen), paths.join(", ")))
}

/// The command that takes a repair back: psql asks for the password where the data source has one.
fn taken_back(database: &Database, look: &Look, undo: &Path) -> String {
    let (host, port) = database.reached_at();
    let source = look.installation.source.as_ref();
    let (user, name) = source.map_or(("", ""), |source| (source.user.as_str(), source.database.as_str()));
    let as_user =
        database.other_user().map_or_else(String::new, |user| format!("runuser -u {} -- ", shell::word(&user.name)));
    let words = [host, user, name].map(shell::word);
    format!("{as_user}psql -h {} -p {port} -U {} -d {} <{}", words[0], words[1], words[2], shell::word(undo))
}

fn names(repairs: &[&Definition]) -> String {
    repairs.iter().map(|repair| repair.id).collect::<Vec<_>>().join(", ")
}

/// The server keeps channel members and roles in memory. What was healed in the database showed at once (observed), so
/// this is only to be sure; that the server does not run is fine.
fn forget_caches(look: &Look) {
    let result = look.database().and_then(|database| {
        let rows = database.rows(
            "SELECT id FROM users WHERE deleteat = 0 AND ' ' || roles || ' ' LIKE '% system_admin %' ORDER BY createat LIMIT 1",
        )?;
        let Some(id) = rows.first().and_then(|row| row["id"].as_str()) else { return Ok(()) };
        let session = ServerSession::open(database, &look.traces, id, "system_user system_admin", LIFE)?;
        let answer = look.server.post("/api/v4/caches/invalidate", Some(session.token.reveal()), &json!({}));
        session.close(&look.server, database, &look.traces)?;
        let answer = answer?;
        if answer.is_success() {
            return Ok(());
        }
        Err(Error::failed("cannot make the server forget its caches").because(answer.verdict()))
    });
    if let Err(error) = result {
        ui::warn(&format!("{}; restart the server if users do not see the repair", error.one_line()));
    }
}
