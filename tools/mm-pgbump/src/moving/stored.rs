//! `--from-store`: the database of a restore point, carried into the target. Its own server need not be there any more, so what is
//! compared is what the restore point says of it.

use std::sync::atomic::AtomicBool;

use mm_common::contract::ui;
use mm_common::machine::{signals, threads};
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::stored::Stored;
use mm_common::postgres::besides::Besides;
use mm_common::postgres::definitions::{self, Definitions};
use mm_common::postgres::fingerprint;
use mm_common::postgres::server::Database;
use mm_common::{Error, Kind, Result};

use super::record::{Entry, Facts};
use super::{prove, watch};
use crate::preflight::Seen;

/// The check for a database of the server that holds something else than the restore point, and what lets a move go on.
pub(crate) const NEWER: &str = "move-newer";

const HINT: &str = "without --from-store the move carries what that database holds now; --accept move-newer carries the restore point, and what that database holds besides stays there";

/// What the database of the server has otherwise than the restore point; nothing where it holds no table.
fn differences(point: &Stored, own: &Database) -> Result<Vec<String>> {
    let hash = |own: &Database, _: &AtomicBool| fingerprint::tables_by(own, point.database.hashed, threads::fitting());
    let now = watch::watched(own, &own.name, || 0, |_| (), hash)?;
    Ok(if now.is_empty() { Vec::new() } else { prove::of_rows(&point.database.tables, &now) })
}

/// Whether the database that the server is led to holds something that the restore point has not.
pub(super) fn look(point: &Stored, installation: &Installation) -> Result<Seen> {
    let own = match installation.database() {
        Ok(own) => own,
        Err(error) => {
            let hint = "what was written to it after the restore point is not carried";
            return Ok(Seen::warn(format!("it cannot be asked: {}", error.one_line()), hint));
        }
    };
    let made = format!("as in the restore point of {}", point.created);
    Ok(Seen::list(&differences(point, &own)?, &made, Seen::fail, HINT))
}

/// The same once the server is stopped: it may have written meanwhile. `could`: the database could be asked before; that it cannot be
/// any more says nothing of what it holds.
///
/// # Errors
/// Refused where it has.
pub(super) fn require_nothing_newer(
    point: &Stored,
    installation: &Installation,
    (could, accepted): (bool, bool),
) -> Result<()> {
    let found = match installation.database().and_then(|own| differences(point, &own)) {
        Ok(found) => found,
        Err(error) if could && !accepted => {
            let unknown =
                "whether the database that the server works with is as in the restore point cannot be told any more";
            return Err(error.within(unknown).of_kind(Kind::Refused).hint(HINT));
        }
        Err(error) => {
            signals::check()?;
            ui::warn(&format!("what was written after the restore point cannot be told: {}", error.one_line()));
            return Ok(());
        }
    };
    if found.is_empty() || accepted {
        return Ok(());
    }
    let said = format!("the database that the server works with is not as in the restore point {}", point.id);
    Err(Error::refused(said).because(crate::preflight::shortened(&found)).hint(HINT))
}

/// What the restore point says of its database.
///
/// # Errors
/// When the dump cannot be read.
pub(super) fn facts(point: &Stored) -> Result<Facts> {
    let contents = prove::contents(Besides::of_dump(&point.dump)?, point.database.large_objects.as_ref());
    let (rows, definitions) = (point.database.tables.clone(), definitions::of_dump(&point.dump)?);
    Ok(Facts { rows, contents, definitions, of_mysql: None })
}

/// The same of the target, read by the programs that read the dump; what the restore point does not tell is left out on both sides.
///
/// # Errors
/// When it cannot be asked.
pub(super) fn compared(point: &Stored, own: &Database, then: &mut Facts) -> Result<Facts> {
    let read = |database: &Database, _: &AtomicBool| -> Result<Facts> {
        let rows = fingerprint::tables_by(database, point.database.hashed, threads::fitting())?;
        let definitions = definitions::as_dumped(database)?;
        Ok(Facts { rows, contents: prove::contents_of(database)?, definitions, of_mysql: None })
    };
    let mut now = watch::watched(own, &own.name, || 0, |_| (), read)?;
    if point.database.large_objects.is_none() {
        now.contents.remove(prove::LARGE_OBJECTS);
    }
    // Another pg_dump may write other statements for the same rights; each right that could not be given is told.
    let same_program = is_dumped_by(point, own)?;
    if !same_program {
        ui::warn(&format!("rights are given, and not compared: the dump was written by {}", point.database.dumped_by));
    }
    for side in [&mut then.definitions, &mut now.definitions] {
        keep_comparable(side, same_program);
    }
    Ok(now)
}

/// Whether the program that reads the definitions of a database is the one that wrote the dump.
fn is_dumped_by(point: &Stored, own: &Database) -> Result<bool> {
    Ok(own.command("pg_dump")?.arg("--version").run()?.text().trim() == point.database.dumped_by)
}

/// Without what is seen among the facts, and, where `rights` are not comparable, without those. That a table is a part of another one
/// is a statement of its own, as the programs of 14 and later have it.
fn keep_comparable(side: &mut Definitions, rights: bool) {
    side.retain(|name, _| {
        !name.starts_with("MATERIALIZED VIEW DATA ")
            && !name.starts_with("SEQUENCE SET ")
            && (rights || !name.starts_with("ACL "))
    });
    let mut attached = Definitions::new();
    for (name, text) in side.iter_mut() {
        let Some(table) = name.strip_prefix("TABLE ").filter(|table| !table.starts_with("ATTACH ")) else { continue };
        let (parts, rest): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with("ALTER TABLE ONLY ") && line.contains(" ATTACH PARTITION "));
        if !parts.is_empty() {
            attached.insert(format!("TABLE ATTACH {table}"), parts.join("\n"));
            *text = rest.join("\n");
        }
    }
    side.extend(attached);
}

/// Whether the old database, of which `now` is known, is as it was when its restore point was made: what the dump makes would
/// not be equal to it otherwise, which is found after all of it is loaded.
///
/// # Errors
/// When the dump cannot be read.
pub(super) fn is_of(point: &Stored, (entry, reader): (&Entry, &Database), now: &Facts) -> Result<bool> {
    let part = &point.database;
    if part.hashed != entry.hashed || part.tables != now.rows || part.large_objects.is_none() {
        return Ok(false);
    }
    if prove::contents(Besides::of_dump(&point.dump)?, part.large_objects.as_ref()) != now.contents {
        return Ok(false);
    }
    let read = |reader: &Database, _: &AtomicBool| definitions::as_dumped(reader);
    let label = entry.moved.from.label();
    let (mut then, mut now) = (definitions::of_dump(&point.dump)?, watch::watched(reader, &label, || 0, |_| (), read)?);
    let rights = is_dumped_by(point, reader)?;
    for side in [&mut then, &mut now] {
        keep_comparable(side, rights);
    }
    let found = prove::of_definitions(entry, (&then, &now), (entry.moved.from.major, entry.moved.from.major));
    if let Some(one) = found.first() {
        ui::say(&format!(
            "the definitions are not as in the restore point {}, so the database is dumped anew: {one}",
            point.id
        ));
    }
    Ok(found.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_table_is_one_whatever_program_says_so() {
        let of = |list: &[(&str, &str)]| -> Definitions {
            list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        let (create, attach, owner) = (
            "CREATE TABLE s.p ();",
            "ALTER TABLE ONLY s.t ATTACH PARTITION s.p DEFAULT;",
            "ALTER TABLE s.p OWNER TO mm;",
        );
        let mut then = of(&[("TABLE s.p", &[create, attach, owner].join("\n")), ("ACL s.TABLE p", "x")]);
        let mut now = of(&[("TABLE s.p", &[create, owner].join("\n")), ("TABLE ATTACH s.p", attach)]);
        keep_comparable(&mut then, false);
        keep_comparable(&mut now, false);
        assert_eq!(then, now);
    }
}
