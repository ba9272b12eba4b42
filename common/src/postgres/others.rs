//! Rights on what a dump does not make: members of extensions, and what every database has. They are a superuser's to give,
//! and the words of them are not trusted either: they are given where the database that is replaced has the very same ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::definitions::{self, RightsOf};
use super::dump::identifier;
use super::rights::{bare, is_right};
use super::server::Database;
use super::untrusted;
use crate::contract::error::Result;

/// Kinds by which rights name something, and kinds of entries that make such a thing.
const MAKERS: &[(&str, &[&str])] = &[
    ("TABLE", &["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"]),
    ("COLUMN", &["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"]),
    ("SEQUENCE", &["SEQUENCE"]),
    ("FUNCTION", &["FUNCTION", "AGGREGATE"]),
    ("PROCEDURE", &["PROCEDURE"]),
    ("TYPE", &["TYPE", "DOMAIN", "SHELL TYPE"]),
];

/// Whether an entry of a dump's table of contents is about rights on something that none of its `entries` makes.
pub(super) fn is_of_others(entry: &str, entries: &BTreeSet<String>) -> bool {
    let Some(about) = entry.strip_prefix("ACL ").filter(|about| !about.starts_with("- ")) else { return false };
    // A schema, too, may have such a word in its name: whatever it may mean is looked for.
    let readings = MAKERS.iter().flat_map(|(kind, makers)| {
        let word = format!(" {kind} ");
        let places: Vec<usize> = about.match_indices(&word).map(|(at, _)| at).collect();
        places.into_iter().map(move |at| (*kind, *makers, &about[..at], &about[at + kind.len() + 2..]))
    });
    let mut any = false;
    for (kind, makers, schema, named) in readings {
        any = true;
        if makers.iter().any(|maker| is_made(kind, &format!("{maker} {schema} "), named, entries)) {
            return false;
        }
    }
    any
}

/// Whether something is made by an entry that begins so.
fn is_made(kind: &str, start: &str, named: &str, entries: &BTreeSet<String>) -> bool {
    match kind {
        "FUNCTION" | "PROCEDURE" => {
            let Some((signature, owner)) = named.rsplit_once(") ") else { return false };
            let end = if signature.starts_with('"') {
                definitions::quoted(signature, '"')
            } else {
                signature.find('(').unwrap_or(0)
            };
            let (name, arguments) = signature.split_at(end);
            let Some(arguments) = arguments.strip_prefix('(') else { return false };
            let start = format!("{start}{}(", bare(name));
            let end = format!(") {owner}");
            let of_this_name = entries.range(start.clone()..).take_while(|entry| entry.starts_with(&start));
            of_this_name
                .filter_map(|entry| entry.strip_prefix(&start)?.strip_suffix(&end))
                .any(|types| are_of(arguments, types))
        }
        "COLUMN" => {
            let table = |entry: &String| {
                let (name, owner) = entry.strip_prefix(start)?.rsplit_once(' ')?;
                let column =
                    [name, &identifier(name)].iter().find_map(|name| named.strip_prefix(name)?.strip_prefix('.'))?;
                column.strip_suffix(owner)?.strip_suffix(' ')
            };
            entries
                .range(start.to_owned()..)
                .take_while(|entry| entry.starts_with(start))
                .any(|entry| table(entry).is_some())
        }
        _ => {
            let unquoted = named.rsplit_once(' ').map(|(name, owner)| format!("{start}{} {owner}", bare(name)));
            entries.contains(&format!("{start}{named}")) || unquoted.is_some_and(|entry| entries.contains(&entry))
        }
    }
}

/// Whether arguments (`a integer, VARIADIC b text[]`) are of these types (`integer, text[]`).
fn are_of(arguments: &str, types: &str) -> bool {
    let mut arguments = list(arguments);
    arguments.retain(|argument| !argument.starts_with("OUT "));
    let types = list(types);
    let is_of = |(argument, kind): (&String, &String)| {
        argument.strip_suffix(kind.as_str()).is_some_and(|before| before.is_empty() || before.ends_with(' '))
    };
    arguments.len() == types.len() && arguments.iter().zip(&types).all(is_of)
}

/// What commas divide, but for those in a quoted name.
fn list(text: &str) -> Vec<String> {
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    while let Some(first) = text[at..].chars().next() {
        if text[at..].starts_with(", ") {
            parts.push(text[start..at].to_owned());
            at += 2;
            start = at;
        } else {
            at += if first == '"' { definitions::quoted(&text[at..], '"') } else { first.len_utf8() };
        }
    }
    parts.push(text[start..].to_owned());
    parts.retain(|part| !part.is_empty());
    parts
}

/// The rights in a dump on what it does not make.
fn of(dump: &Path) -> Result<BTreeMap<String, RightsOf>> {
    let entries = untrusted::entries(dump)?;
    Ok(definitions::rights(&untrusted::printed(dump, &|entry| is_of_others(entry, &entries))?))
}

/// Gives the rights of `dump` on what it does not make, in the database that `superuser` is connected to, as far as `trusted`
/// has the same ones: a dump of the database that is replaced, or of what an administrator vouches for. Returns what was left
/// out, as a dump announces it: `ACL public.TABLE pg_stat_statements`.
pub fn give(dump: &Path, superuser: &Database, trusted: Option<&Path>) -> Result<BTreeSet<String>> {
    let mut left = BTreeSet::new();
    let wanted = of(dump)?;
    if wanted.is_empty() {
        return Ok(left);
    }
    let known = trusted.map(of).transpose()?.unwrap_or_default();
    for (object, rights) in wanted {
        let is_known = known.get(&object) == Some(&rights) && rights.iter().all(|(_, statement)| is_right(statement));
        if !is_known || superuser.execute_verbatim(&script(&rights)).is_err() {
            left.insert(object);
        }
    }
    Ok(left)
}

fn script(rights: &RightsOf) -> String {
    let one = |(session, statement): &(Option<String>, String)| match session {
        Some(role) => format!("SET LOCAL ROLE {};\n{statement}\nRESET ROLE;\n", identifier(&bare(role))),
        None => format!("{statement}\n"),
    };
    rights.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_of_others_where_the_dump_makes_nothing_of_that_name() {
        let entries: BTreeSet<String> = [
            "TABLE public posts mm",
            "TABLE a b Odd name mm",
            "VIEW public seen mm",
            "SEQUENCE public n mm",
            "FUNCTION public similarity(text) mm",
            "FUNCTION public f(integer, text[]) mm",
            "AGGREGATE public total(integer) mm",
            "PROCEDURE public noop(integer) mm",
            "DOMAIN public positive mm",
            "FUNCTION public fun()ny, name(integer, text) mm",
        ]
        .map(str::to_owned)
        .into();
        for own in [
            "ACL public TABLE posts mm",
            "ACL public COLUMN posts.\"an id\" mm",
            "ACL a b TABLE \"Odd name\" mm",
            "ACL a b COLUMN \"Odd name\".id mm",
            "ACL public TABLE seen mm",
            "ACL public SEQUENCE n mm",
            "ACL public FUNCTION f(a integer, VARIADIC b text[]) mm",
            "ACL public FUNCTION total(integer) mm",
            "ACL public PROCEDURE noop(IN a integer) mm",
            "ACL public TYPE positive mm",
            "ACL public FUNCTION \"fun()ny, name\"(\"arg, x\" integer, y text) mm",
            "ACL - SCHEMA public mm",
            "ACL - LARGE OBJECT 4712 mm",
            "TABLE public posts mm",
        ] {
            assert!(!is_of_others(own, &entries), "{own}");
        }
        for other in [
            "ACL public TABLE pg_stat_statements postgres",
            "ACL public COLUMN pg_stat_statements.query postgres",
            "ACL public FUNCTION similarity(text, text) postgres",
            "ACL public FUNCTION similarity(a text) postgres",
            "ACL pg_catalog FUNCTION pg_read_file(text) postgres",
            "ACL information_schema TABLE columns postgres",
        ] {
            assert!(is_of_others(other, &entries), "{other}");
        }
    }
}
