//! What a database is besides its rows, as the statements that a dump of it makes: owners, rights, columns, constraints,
//! functions, settings, comments. Two databases are the same when one program writes the same of both. So nothing is missed
//! because nobody has thought of it; what differs between majors and is no loss is named in [`levelled`](fn@levelled), one by one.

mod expression;
mod levelled;
mod maintain;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::dump;
use super::server::Database;
use super::untrusted::Schema;
use crate::contract::error::{Context as _, Result};

pub(super) use levelled::quoted;
pub use levelled::{Majors, level, level_name, levelled};

/// The statements about each object, by the words with which a dump announces it: `TABLE public.posts`.
pub type Definitions = BTreeMap<String, String>;

/// Kinds whose statements are told of as different and no more: they may hold passwords or other people's code.
const CLOSED: &[&str] = &["FUNCTION ", "PROCEDURE ", "USER MAPPING ", "SERVER ", "SUBSCRIPTION ", "ROLE "];

/// How many lines of a difference are shown.
const SHOWN: usize = 3;

/// The definitions in a database, its own properties included, as `pg_dump` of at least `major` writes them.
///
/// # Errors
/// Failed also when a table is locked for longer than a dump waits.
pub fn of_database(database: &Database, major: u32) -> Result<Definitions> {
    let dumped = steady(database).command_of("pg_dump", major).and_then(|command| {
        let flags = ["--schema-only", "--create", "--no-password"];
        command.args(flags).arg(dump::lock_wait()).interruptible().run()
    });
    let text = dumped.context(|| format!("cannot read the definitions in the database `{}`", database.name))?.text();
    Ok(read::sections(&text))
}

/// The roles and tablespaces of the server, each statement under its own name, as `pg_dumpall` of at least `major` writes
/// them. Of a password its digest is kept.
pub fn of_server(database: &Database, major: u32) -> Result<Definitions> {
    let dumped = steady(database).command_of("pg_dumpall", major).and_then(|command| {
        let database = format!("--database={}", dump::connection_string(&database.name));
        command.args(["--globals-only", "--no-password"]).arg(database).interruptible().run()
    });
    let text = dumped.context(|| "cannot read the roles of the database server".to_owned())?.text();
    Ok(read::globals(&text))
}

/// The definitions in a dump.
pub fn of_dump(path: &Path) -> Result<Definitions> {
    let reader = dump::newest("pg_restore")?.args(["--schema-only", "--file=-", "--"]).arg(path);
    let text =
        reader.interruptible().run().context(|| format!("cannot read the definitions in `{}`", path.display()))?;
    Ok(read::sections(&text.text()))
}

/// The definitions in a database as [`of_dump`] reads them: what is printed by the reader of a dump is then printed by the
/// same one.
pub fn as_dumped(database: &Database) -> Result<Definitions> {
    of_dump(&Schema::of(&steady(database))?.path)
}

/// The definitions in a printed dump.
pub(super) fn of_text(text: &str) -> Definitions {
    read::sections(text)
}

/// Every statement of a printed dump about an object, in order: the owner of that, as whom it is to be run where that is
/// somebody else (as a dump writes the name), and the statement.
pub(super) fn statements(text: &str) -> Vec<(String, Option<String>, String)> {
    read::statements(text)
}

/// Rights on one object: each statement, and as whom it is to be run where that is not the owner.
pub(super) type RightsOf = Vec<(Option<String>, String)>;

/// The statements of a printed dump, by the words with which it announces the objects they are about, in order.
pub(super) fn rights(text: &str) -> BTreeMap<String, RightsOf> {
    read::rights(text)
}

/// What the server says of an object, with its expressions written as they are after they have been read once more.
pub(super) fn settled(text: &str) -> String {
    expression::settled(text)
}

/// Times are written as of one time zone, whatever anybody has set.
fn steady(database: &Database) -> Database {
    database.clone().with_options("-c timezone=UTC")
}

/// In which lines two texts of the object `name` differ, in words.
pub fn difference(name: &str, then: &str, now: &str) -> String {
    if CLOSED.iter().any(|kind| name.starts_with(kind)) {
        return "its definition is another one".into();
    }
    let only = |these: &str, those: &str| -> Vec<String> {
        let those: Vec<&str> = those.lines().map(bare).collect();
        these.lines().map(bare).filter(|line| !those.contains(line)).map(str::to_owned).collect()
    };
    match (shortened(&only(then, now)), shortened(&only(now, then))) {
        (Some(then), Some(now)) => format!("it was `{then}` and is `{now}`"),
        (Some(then), None) => format!("it is without `{then}`"),
        (None, Some(now)) => format!("it has `{now}`, which it had not"),
        (None, None) => "the order of its parts is another one".into(),
    }
}

fn bare(line: &str) -> &str {
    line.trim().trim_end_matches(',')
}

/// Definitions in which rights on functions of extensions are named without arguments: an extension that is made anew comes
/// in its newest version, whose functions may take others.
pub fn of_members_by_name(definitions: Definitions) -> Definitions {
    let own: BTreeSet<String> =
        definitions.keys().filter_map(|name| Some(name.split_once('(')?.0.to_owned())).collect();
    let mut found = Definitions::new();
    for (name, text) in definitions {
        let member = name.strip_prefix("ACL ").and_then(|about| about.split_once('(')).and_then(|(about, _)| {
            let (schema, function) = about.split_once(".FUNCTION ")?;
            let is_own =
                ["FUNCTION", "AGGREGATE"].iter().any(|kind| own.contains(&format!("{kind} {schema}.{function}")));
            (!is_own).then(|| format!("ACL {about}"))
        });
        let Some(member) = member else {
            found.insert(name, text);
            continue;
        };
        let without_arguments = |line: &str| match (line.find('('), line.rfind(')')) {
            (Some(from), Some(to)) if from < to => [&line[..from], &line[to + 1..]].concat(),
            _ => line.to_owned(),
        };
        let mut lines: Vec<String> = text.lines().map(without_arguments).collect();
        lines.extend(found.remove(&member).iter().flat_map(|text| text.lines()).map(str::to_owned));
        lines.sort();
        lines.dedup();
        found.insert(member, lines.join("\n"));
    }
    found
}

/// A statement as it is where there are no tablespaces.
pub fn without_tablespace(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" (in the tablespace ") else { return text.to_owned() };
    rest.split_once(')').map_or_else(|| text.to_owned(), |(_, after)| [before, &without_tablespace(after)].concat())
}

fn shortened(lines: &[String]) -> Option<String> {
    let mut text = lines.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(" ");
    if lines.len() > SHOWN {
        text += " and ";
        text += &(lines.len() - SHOWN).to_string();
        text += " more lines";
    }
    (!lines.is_empty()).then_some(text)
}

/// What `now` has not, or has otherwise, or has and `then` had not, in words; each majors' way of writing aside.
pub fn differences(then: &Definitions, now: &Definitions, majors: Majors) -> Vec<String> {
    let (then, now) = (levelled(then, majors), levelled(now, majors));
    let mut found = Vec::new();
    for (name, text) in &then {
        match now.get(name) {
            None => found.push(format!("{name}: it is not there")),
            Some(now) if now != text => found.push(format!("{name}: {}", difference(name, text, now))),
            Some(_) => {}
        }
    }
    let new = now.keys().filter(|name| !then.contains_key(*name));
    found.extend(new.map(|name| format!("{name}: it was not there")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_lines_and_no_secret() {
        let (then, now) = ("CREATE TABLE t (\n  a int,\n  b text\n);", "CREATE TABLE t (\n  a int\n);");
        assert_eq!(difference("TABLE public.t", then, now), "it is without `b text`");
        assert_eq!(difference("TABLE public.t", now, then), "it has `b text`, which it had not");
        assert!(!difference("USER MAPPING x", "OPTIONS (password 'geheim')", "").contains("geheim"));
    }

    #[test]
    fn rights_on_functions_of_extensions_are_compared_whatever_these_take() {
        let of = |arguments: &str, role: &str| -> Definitions {
            let right = |name: &str, arguments: &str| {
                let text = format!("GRANT ALL ON FUNCTION m.{name}({arguments}) TO {role};");
                (format!("ACL m.FUNCTION {name}({arguments})"), text)
            };
            let own = ("FUNCTION m.own(integer)".to_owned(), "CREATE FUNCTION".to_owned());
            of_members_by_name([own, right("own", arguments), right("stat", arguments)].into())
        };
        let (then, now) = (of("a integer", "x"), of("a integer, OUT b bigint", "x"));
        assert_eq!(then["ACL m.FUNCTION stat"], "GRANT ALL ON FUNCTION m.stat TO x;");
        let other: Vec<String> = differences(&then, &now, (13, 15));
        assert!(other.len() == 2 && other.iter().all(|one| one.contains("FUNCTION own(")), "{other:?}");
        assert_eq!(differences(&then, &of("a integer", "y"), (13, 15)).len(), 2, "another role has them");
    }

    #[test]
    fn what_is_gone_new_or_other_is_told() {
        let of = |list: &[(&str, &str)]| -> Definitions {
            list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        let then = of(&[("TABLE a.b", "CREATE TABLE a.b ();"), ("VIEW a.v", "x")]);
        let now = of(&[("TABLE a.b", "CREATE TABLE a.b ();"), ("VIEW a.w", "x")]);
        assert_eq!(differences(&then, &now, (13, 15)), ["VIEW a.v: it is not there", "VIEW a.w: it was not there"]);
        assert!(differences(&then, &then, (13, 18)).is_empty());
    }
}
