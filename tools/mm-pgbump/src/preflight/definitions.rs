//! Checks of what a dump by the new major says of the definitions: whether the new major takes it.

use std::collections::BTreeSet;

use mm_common::Result;
use mm_common::contract::error::Kind;
use mm_common::postgres::members;
use mm_common::postgres::programs::{Part, install};
use mm_common::postgres::remade::{self, Refused};
use mm_common::postgres::server::Database;

use super::{Question, Seen, shortened};
use crate::debian::Script;
use crate::evidence::Facts;

/// All that an administrator may set for a column with `ALTER COLUMN ... SET (...)` (ALTER TABLE, PostgreSQL's manual).
const OPTIONS: [&str; 2] = ["n_distinct", "n_distinct_inherited"];

/// Options of columns that the server keeps for itself, and that `pg_dump` of the new major writes down: the new server refuses them,
/// whatever the method (observed: 17.12 has `pg_attver`, which 18.6 does not know).
pub(super) fn column_options(question: &Question<'_>, facts: &Facts) -> Seen {
    let unknown: BTreeSet<&str> = facts.values().flat_map(|text| text.lines()).flat_map(options).collect();
    let unknown: Vec<&str> = unknown.into_iter().filter(|name| !OPTIONS.contains(name)).collect();
    if unknown.is_empty() {
        return Seen::pass("they are options of both");
    }
    Seen::fail(
        format!(
            "pg_dump of {} writes `{}`, which its server does not take: every method fails at it",
            question.major,
            unknown.join("`, `")
        ),
        format!(
            "bring PostgreSQL {} to a minor release that is as new as that of {}: apt-get update, then {}",
            question.major,
            question.old.major,
            install(question.major, Part::Server)
        ),
    )
}

/// The names of the options in a statement that sets some for a column.
fn options(line: &str) -> Vec<&str> {
    let of_column = line.strip_prefix("ALTER ").filter(|rest| rest.contains(" ALTER COLUMN "));
    let Some((_, list)) = of_column.and_then(|rest| rest.rsplit_once(" SET (")) else { return Vec::new() };
    let Some(list) = list.strip_suffix(");") else { return Vec::new() };
    list.split(", ").filter_map(|one| one.split_once('=')).map(|(name, _)| name).collect()
}

/// Whether the new major takes every definition as `--method dump` makes it.
pub(super) fn remade(question: &Question<'_>, databases: &[String], runs_nothing: bool) -> Result<Seen> {
    if !runs_nothing {
        return Ok(Seen::skip("not tried: functions of users would run by that", "see the check user-code"));
    }
    let connect = |name: &String| Database::superuser(question.old, name);
    let sources = databases.iter().map(connect).collect::<Result<Vec<_>>>()?;
    let refused = match remade::refused(&sources, question.major) {
        Err(error) if error.kind() == Kind::Refused => {
            let hint = error.next_step().unwrap_or("it is seen when the server is stopped").to_owned();
            return Ok(Seen::skip(format!("not tried: {}", error.one_line()), hint));
        }
        refused => refused?,
    };
    // One that wants to be loaded by the server at its start cannot be tried, nor can what depends on it.
    let is_of_extension = |one: &&(String, Refused)| one.1.statement.starts_with("CREATE EXTENSION ");
    if let Some((name, extension)) = refused.iter().find(is_of_extension) {
        let evidence = format!("not tried: {name}: {}", in_words(extension));
        return Ok(Seen::skip(evidence, "it is seen when the server is stopped"));
    }
    let goes_on = !Script::of_this_machine()?.ends_at_errors();
    let mut found = Vec::new();
    for source in &sources {
        let members = if goes_on { members::read(source)? } else { Vec::new() };
        let of_this = refused.iter().filter(|(name, _)| *name == source.name);
        let left = of_this.filter(|(_, one)| !members::is_carried(&one.error, &members));
        found.extend(left.map(|(name, one)| format!("{name}: {}", in_words(one))));
    }
    let hint = "leave out --method dump, which makes nothing anew; or take away what is named, and make it again after the upgrade (rights on \
                functions of extensions are given by name then: REVOKE and GRANT)";
    Ok(if found.is_empty() {
        Seen::pass("each was made in a throw-away server")
    } else {
        Seen::fail(shortened(&found), hint)
    })
}

fn in_words(refused: &Refused) -> String {
    let said = refused.error.trim_start_matches("ERROR:").trim();
    format!("`{}`: {said}", refused.statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_columns_are_read_from_the_statements_that_set_them() {
        let told = options("ALTER TABLE ONLY public.t ALTER COLUMN name SET (pg_attver=22150672, n_distinct=-0.5);");
        assert_eq!(told, ["pg_attver", "n_distinct"]);
        for other in [
            "ALTER TABLE ONLY public.t ALTER COLUMN name SET STATISTICS 77;",
            "ALTER TABLE public.t SET (fillfactor=70);",
            "    \"x ALTER COLUMN y SET (a=1);\" text,",
            "CREATE TABLE public.t (",
        ] {
            assert!(options(other).is_empty(), "{other}");
        }
    }
}
