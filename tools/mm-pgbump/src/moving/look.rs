//! What is looked at before a move, with the server running. At the old database nothing is written; at the target only what
//! is taken back at once.

mod contents;
mod host;

pub(crate) use contents::extensions_of;

use std::collections::BTreeSet;

use mm_common::contract::sections::{Path, Status};
use mm_common::contract::shell;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back;
use mm_common::postgres::hidden;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::run::Session;
use mm_common::{Error, Result};

use super::nodes;
use super::origin::{Old, Origin};
use super::point;
use super::record::Entry;
use super::roles::RoleMap;
use super::stored;
use super::target::{self, Target};
use crate::Options;
use crate::preflight::{Findings, List, Seen};

/// The check for what no role without a superuser's power can carry; accepted, it stays behind.
pub(crate) const LEFT_BEHIND: &str = "move-left-behind";

/// The check for a target that holds something. Nobody can accept it: what is filled is emptied again when a move fails.
const TARGET: &str = "move-target";

/// What to do about such a target.
const TARGET_HINT: &str =
    "name an empty database, or one that is not there; or --replace, which renames this one and keeps it";

/// What is to be moved where.
pub(crate) struct Question<'a> {
    pub installation: &'a Installation,
    /// The data source of the server.
    pub data: &'a DataSource,
    pub old: &'a Old,
    pub origin: &'a Origin,
    pub target: &'a Target,
    /// The earliest major that the remaining hops accept.
    pub needed: Option<u32>,
    /// `--replace`.
    pub replace: bool,
}

/// What was found.
pub(crate) struct Looked {
    /// Every check.
    pub findings: Findings,
    /// Whose things will be whose.
    pub roles: RoleMap,
    /// What is not carried, in words.
    pub left_behind: Vec<String>,
}

/// The earliest major that is needed: by the flags, or by any hop that remains.
pub(crate) fn needed(session: &Session, options: &Options) -> Result<Option<u32>> {
    let path: Option<Path> = session.document.section("path")?;
    let hops = path.iter().flat_map(|path| path.next.iter().chain(&path.hops));
    Ok(hops.filter_map(|hop| hop.needs.postgres).chain(options.to).max())
}

/// The roles of the target.
fn roles(question: &Question<'_>) -> Result<RoleMap> {
    let rows = question.target.front.rows("SELECT rolname AS name FROM pg_catalog.pg_roles")?;
    let mut there: BTreeSet<String> = rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect();
    there.insert(question.target.role().to_owned());
    Ok(RoleMap { from: question.origin.user.clone(), to: question.target.role().to_owned(), there })
}

/// Looks at everything. A look that could not be made is a finding of its own, never a pass.
///
/// # Errors
/// Refused when the target is the server's present database; when neither side can be asked at all.
pub(crate) fn all(question: &Question<'_>) -> Result<Looked> {
    let (old, origin, target) = (question.old, question.origin, question.target);
    let map = roles(question)?;
    let mut left_behind = Vec::new();
    let mut list = List::default();
    list.add("move-version", "The target's PostgreSQL fits every hop", || Ok(version(question)));
    list.add("move-server", "The target can be written to", || host::writable(target));
    list.add(TARGET, "The target is empty", || empty(target, question.replace));
    list.add("move-rights", "The role of the target may make what is carried", || {
        let schemas: Vec<String> = origin.properties.spaces().unwrap_or_default().into_keys().collect();
        contents::rights(target, question.replace, &schemas)
    });
    list.add("move-encoding", "Both sides keep text alike", || contents::encoding(question));
    list.add("move-extensions", "The target has the extensions", || contents::extensions(question));
    list.add("move-roles", "The roles are there, or somebody stands for them", || contents::roles(question, &map));
    list.add(LEFT_BEHIND, "Everything can be carried", || {
        let seen = match old {
            Old::Living(source) if !source.reader.is_superuser() => hidden::refuse(&source.reader),
            _ => Ok(()),
        };
        match seen {
            Ok(()) => contents::left_behind(question, &mut left_behind),
            Err(error) => refused_as_finding(&error),
        }
    });
    list.add("move-space", "There is room", || host::space(question));
    list.add("move-replicas", "No replica of the old database stays in use", || {
        Ok(Seen::list(
            &point::replicas(question.installation, question.data),
            "none is configured beside the database itself",
            Seen::fail,
            "take them out of the configuration: they would go on showing the old database. Put those of the target in after the move",
        ))
    });
    match old {
        Old::Living(source) => {
            list.add(nodes::ACCEPT, "No other node works with the old database", || nodes::look(source));
        }
        Old::Stored(point) => list.add(stored::NEWER, "The server's own database holds nothing else", || {
            stored::look(point, question.installation)
        }),
    }
    list.add("move-configuration", "The data source can be changed where it stands", || {
        point::rehearse(question.installation, question.data, &target.named)
            .map(|()| Seen::pass("rehearsed"))
            .or_else(|error| refused_as_finding(&error))
    });
    list.add("move-tls", "The connection is as the data source says", || host::tls(target));
    list.add("move-clock", "The target's clock is right", || host::clock(target));
    list.add("move-network", "How fast the target can be reached", || host::network(question));
    Ok(Looked { findings: Findings { checks: list.checks, clone_works: false }, roles: map, left_behind })
}

/// A refusal is what was looked for; anything else is a look that could not be made.
fn refused_as_finding(error: &Error) -> Result<Seen> {
    if error.kind() == mm_common::Kind::Refused {
        return Ok(Seen::fail(error.one_line(), error.next_step().unwrap_or_default()));
    }
    Err(error.clone())
}

fn version(question: &Question<'_>) -> Seen {
    let (from, to) = (question.origin, &question.target.front);
    if let Some(needed) = question.needed.filter(|needed| to.major() < *needed) {
        let said = format!("it runs {}, and the hops that remain need {needed}", to.version);
        return Seen::fail(said, format!("take a server of PostgreSQL {needed} or later"));
    }
    if to.major() < from.major {
        let said = format!("it runs {}, the present one {}", to.version, from.version);
        return Seen::fail(
            said,
            "a dump of a later major does not go into an earlier one: take a server that is not older",
        );
    }
    Seen::pass(format!("from {} to {}", from.version, to.version))
}

/// What is looked at of a target wherever the database comes from.
#[cfg(feature = "mysql")]
pub(crate) fn of_target(target: &Target, replace: bool, schemas: &[String], list: &mut List) {
    list.add("move-server", "The target can be written to", || host::writable(target));
    list.add(TARGET, "The target is empty", || empty(target, replace));
    list.add("move-rights", "The role of the target may make what is carried", || {
        contents::rights(target, replace, schemas)
    });
    list.add("move-tls", "The connection is as the data source says", || host::tls(target));
    list.add("move-clock", "The target's clock is right", || host::clock(target));
}

fn empty(target: &Target, replace: bool) -> Result<Seen> {
    let name = target.name();
    let Some(own) = &target.own else {
        if target.has_database {
            return Ok(Seen::fail(
                format!("the database `{name}` is there, and the role `{}` is not", target.role()),
                "create the role and let it own the database, or name another database",
            ));
        }
        return Ok(Seen::pass(format!("the database `{name}` is not there yet and is made")));
    };
    let found = target::contents(own)?;
    if found.is_empty() {
        return Ok(Seen::pass(format!("the database `{name}` holds nothing")));
    }
    let said = format!("the database `{name}` holds {}", crate::preflight::shortened(&found));
    if replace {
        return Ok(Seen::warn(said, "it is renamed to NAME_mm_before_TIME and kept (--replace)"));
    }
    Ok(Seen::fail(said, TARGET_HINT))
}

/// Lets findings pass that the administrator has accepted, but for those that nobody can accept.
pub(crate) fn accept(findings: &mut Findings, ids: &[String]) {
    let ids: Vec<String> = ids.iter().filter(|id| *id != TARGET).cloned().collect();
    findings.accept(&ids);
}

/// What a move makes or fills, an undo removes: it must be nobody's, whatever was accepted. Asked when that is written down,
/// since what was looked at may be another by then.
///
/// # Errors
/// Refused when something of that name is there, or the database to be filled is not empty.
pub(crate) fn require_free(entry: &Entry, target: &Target) -> Result<()> {
    let name = target.name();
    let is_there = |name: &str| Error::refused(format!("the database `{name}` is there")).hint(TARGET_HINT);
    match (&entry.replaced, &target.own) {
        (Some(kept), _) if way_back::exists(&target.front, kept)? => return Err(is_there(kept)),
        (Some(_), _) => {}
        (None, _) if entry.makes_database => {
            if way_back::exists(&target.front, name)? {
                return Err(is_there(name));
            }
        }
        (None, Some(own)) => {
            let found = target::contents(own)?;
            if !found.is_empty() {
                let held = crate::preflight::shortened(&found);
                return Err(Error::refused(format!("the database `{name}` holds {held}")).hint(TARGET_HINT));
            }
        }
        (None, None) => return Err(Error::failed(format!("the database `{name}` cannot be asked"))),
    }
    if entry.makes_role && Target::has_role(&target.front, target.role())? {
        return Err(Error::refused(format!("the role `{}` is there by now", target.role())).hint("run this again"));
    }
    Ok(())
}

/// Whether the target is the very database that the server works with, whatever it is called.
pub(crate) fn is_source(old: &Old, installation: &Installation, own: &Database) -> Result<bool> {
    match old {
        Old::Living(source) => source.own.is_same_as(own),
        // It need not be there any more.
        Old::Stored(_) => installation.database().map_or(Ok(false), |present| present.is_same_as(own)),
    }
}

/// What is said of that.
pub(crate) fn refuse_source(old: &Old) -> Error {
    let refused = Error::refused("the target is the database that the server works with now");
    match old {
        Old::Living(_) => refused.hint("name another database in line 1 of the target's file"),
        Old::Stored(point) => refused.hint(format!(
            "name another database in line 1 of the target's file; or restore into this one: mm-backup restore {} --to {} --database",
            point.id,
            shell::word(&point.store)
        )),
    }
}

/// Puts warnings on stderr, and refuses where something stands in the way.
pub(crate) fn judge(findings: &Findings, obstacle: &str) -> Result<()> {
    for check in findings.checks.iter().filter(|check| check.status == Status::Warn) {
        mm_common::contract::ui::warn(&format!("{} [{}]: {}", check.title, check.id, check.evidence));
    }
    findings.refusal(obstacle).map_or(Ok(()), Err)
}
