//! What somebody has changed in a frozen copy since it was made.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Frozen, Noted};
use crate::contract::error::{Context as _, Error, Result};
use crate::contract::ui;
use crate::postgres::dump;
use crate::postgres::guarded::{self, Reading};
use crate::postgres::server::Database;

/// Catalogues that collecting statistics changes.
const STATISTICS: &str = "'pg_statistic', 'pg_statistic_ext_data'";

/// What has become of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What was changed.
    pub found: Vec<String>,
    /// What could not be proven, and why.
    pub unproven: Vec<String>,
}

/// What a later look is compared with. `copy` is reached as a superuser.
pub fn note(copy: &Database, transaction: u64) -> Result<Noted> {
    let facts = facts(copy)?;
    Ok(Noted { transaction, catalogs: catalogs(copy)?, sequences: facts.sequences, counting_since: facts.since })
}

impl Frozen {
    /// What was changed in the copy since it was made. Only with `rows` its tables are read; without, what takes no time is
    /// looked at.
    pub fn changes(&self, copy: &Database, rows: bool) -> Result<Changes> {
        let attempt = || format!("cannot look for changes in the frozen copy `{}`", copy.name);
        let noted = &self.noted;
        let mut changes = Changes::default();
        let facts = facts(copy).context(attempt)?;
        changes.found.extend(facts.counted);
        if facts.since != noted.counting_since {
            changes.unproven.push(
                "whether rows were deleted: the server has begun to count anew since, as it does after a crash".into(),
            );
        }
        if facts.sequences != noted.sequences {
            changes.found.push("a sequence has moved on".into());
        }
        let now = catalogs(copy).context(attempt)?;
        for (catalog, rows) in &noted.catalogs {
            let there = now.get(catalog).copied().unwrap_or_default();
            if there != *rows {
                changes.found.push(format!("{catalog} has {}, and had {rows}", ui::count(there, "row")));
            }
        }
        let (newer, next) = newer(copy, noted.transaction, rows).context(attempt)?;
        if !tells_age(noted.transaction, next) {
            changes.unproven.push(
                "whether rows were written: too many transactions have begun since for their numbers to tell".into(),
            );
        } else if next >> 32 == 0 {
            changes.found.extend(newer);
        } else if !newer.is_empty() {
            // The numbers of transactions have come round: a very old row may look like a new one.
            let which = newer.join(", ");
            changes.unproven.push(format!("whether these are new, for their numbers have come round once: {which}"));
        }
        Ok(changes)
    }
}

/// What the server counts and where sequences stand.
struct Facts {
    /// Tables in which rows were written, in words.
    counted: Vec<String>,
    sequences: String,
    since: Option<String>,
}

fn facts(copy: &Database) -> Result<Facts> {
    let queries = [
        "SELECT schemaname || '.' || relname AS called, n_tup_ins AS ins, n_tup_upd AS upd, n_tup_del AS del
         FROM pg_catalog.pg_stat_user_tables WHERE n_tup_ins + n_tup_upd + n_tup_del > 0 ORDER BY 1",
        "SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(pg_catalog.format('%I.%I=%s', schemaname, sequencename, last_value), ','
           ORDER BY schemaname, sequencename), '')) AS sequences FROM pg_catalog.pg_sequences",
        "SELECT stats_reset::pg_catalog.text AS since FROM pg_catalog.pg_stat_bgwriter",
    ];
    let answers = copy.rows_of_all(&queries.map(str::to_owned))?;
    let row = |index: usize| answers.get(index).and_then(|rows| rows.first()).cloned().unwrap_or_default();
    let counted = answers.first().into_iter().flatten().map(|row| {
        format!(
            "the server has counted {} inserted, {} changed and {} deleted in {}",
            row["ins"],
            row["upd"],
            row["del"],
            row["called"].as_str().unwrap_or_default()
        )
    });
    Ok(Facts {
        counted: counted.collect(),
        sequences: row(1)["sequences"].as_str().unwrap_or_default().to_owned(),
        since: row(2)["since"].as_str().map(str::to_owned),
    })
}

/// The catalogues of a database that only definitions change.
fn of_catalogs(statement: &str) -> String {
    format!(
        "SELECT pg_catalog.format({statement}, relname) FROM pg_catalog.pg_class
         WHERE relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND relkind = 'r' AND NOT relisshared
           AND relname NOT IN ({STATISTICS}) ORDER BY 1 \\gexec\n"
    )
}

fn catalogs(copy: &Database) -> Result<BTreeMap<String, u64>> {
    let statement =
        "'SELECT pg_catalog.json_build_object(''catalog'', %1$L, ''rows'', pg_catalog.count(*)) FROM pg_catalog.%1$I'";
    let rows = copy.script(&of_catalogs(statement))?;
    Ok(rows.iter().filter_map(|row| Some((row["catalog"].as_str()?.to_owned(), row["rows"].as_u64()?))).collect())
}

/// Whether `age` tells what was written between these two transactions: it is a difference of 32 bits with a sign.
fn tells_age(transaction: u64, next: u64) -> bool {
    next.checked_sub(transaction).is_some_and(|distance| distance < i32::MAX as u64)
}

/// What a row version has to be of, to be of `transaction` or later. Rows keep the number of their transaction for good, so
/// that one from more than half a round ago has an age below zero; what initdb has made is of the highest age there is.
fn is_new(transaction: u64) -> String {
    let number = transaction & u64::from(u32::MAX);
    format!("WHERE pg_catalog.age(xmin) BETWEEN 0 AND pg_catalog.age('{number}'::pg_catalog.xid)")
}

/// The catalogues, and with `tables` the tables, that have row versions of `transaction` or later, in words; and the next
/// transaction after that look.
fn newer(copy: &Database, transaction: u64, tables: bool) -> Result<(Vec<String>, u64)> {
    let copy = copy.clone().with_limit(dump::LIMIT);
    let is_new = is_new(transaction);
    let in_literal = is_new.replace('\'', "''");
    let statement = format!(
        "'SELECT pg_catalog.json_build_object(''called'', %1$L, ''rows'', pg_catalog.count(*)) FROM pg_catalog.%1$I {in_literal}'"
    );
    let mut rows = copy.script(&of_catalogs(&statement))?;
    if tables {
        let statement = format!(
            "pg_catalog.format($mm$SELECT pg_catalog.json_build_object('called', %1$L, 'rows', pg_catalog.count(*)) FROM ONLY %2$I.%3$I {is_new}$mm$, nspname || '.' || relname, nspname, relname)"
        );
        let reading = Reading { snapshot: None, settings: "", tables: guarded::ALL, statement: &statement };
        rows.extend(reading.run(&copy)?);
    }
    let next = copy.value("SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) AS next")?;
    let next = next.as_u64().ok_or_else(|| Error::failed("the server does not tell its next transaction"))?;
    let said = |row: &Value| {
        let count = row["rows"].as_u64().filter(|count| *count > 0)?;
        Some(format!(
            "{} has {} written after the freeze",
            row["called"].as_str().unwrap_or_default(),
            ui::count(count, "row version")
        ))
    };
    Ok((rows.iter().filter_map(said).collect(), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_row_tells_only_half_a_round() {
        let half = 1 << 31;
        assert!(tells_age(5, 5) && tells_age(half, half + 1000) && tells_age((1 << 32) - 1, (1 << 32) + 3));
        assert!(!tells_age(5, half + 4) && !tells_age(5, half + 5) && !tells_age(6, 5));
        assert!(is_new((3 << 32) + 7).ends_with("BETWEEN 0 AND pg_catalog.age('7'::pg_catalog.xid)"));
    }
}
