//! Whether PostgreSQL holds what was read from MySQL: table by table, and, where it does not, which rows.

use std::collections::BTreeMap;

use mm_common::contract::ui;
use mm_common::postgres::dump::literal;
use mm_common::postgres::server::Database;
use mm_common::{Error, Result};

use super::copy;
use super::print::{self, Print};
use super::shape::{Pair, Shapes};
use super::source::Source;
use super::value::Cell;

/// How many rows are kept in memory at once while those that differ are looked for.
const AT_ONCE: u64 = 1_000_000;

/// How many rows that differ are told.
const SHOWN: usize = 20;

/// What a table of PostgreSQL holds, or the part of it that the clause of a query says.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn print(own: &Database, of: (&Shapes, &Pair, &str)) -> Result<Print> {
    let mut there = Print::default();
    copy::read_some_back(own, of, &mut |cells| {
        there.add(cells);
        Ok(())
    })?;
    Ok(there)
}

/// The clauses by which a table of PostgreSQL is read in so many parts: by the places of its rows, where the server finds these
/// (from 14 on) without reading the others.
///
/// # Errors
/// When it does not tell how large the table is.
pub(crate) fn parts(own: &Database, (shapes, pair): (&Shapes, &Pair), number: usize) -> Result<Vec<String>> {
    if number < 2 || own.major() < 14 {
        return Ok(vec![String::new()]);
    }
    let blocks = own.value(&format!(
        "SELECT pg_catalog.pg_relation_size({}::pg_catalog.regclass) / pg_catalog.current_setting('block_size')::pg_catalog.int8 AS blocks",
        literal(&shapes.qualified_pair(pair))
    ))?;
    let (blocks, number) = (blocks.as_u64().unwrap_or_default(), number as u64);
    let at = |part: u64| blocks * part / number;
    let clause = |part: u64| {
        let from = format!(" WHERE ctid >= '({},0)'::pg_catalog.tid", at(part));
        // More may have come meanwhile; the last part has no end.
        if part + 1 == number { from } else { format!("{from} AND ctid < '({},0)'::pg_catalog.tid", at(part + 1)) }
    };
    Ok((0..number).map(clause).collect())
}

/// Fails where a table of PostgreSQL holds something else than what was sent.
///
/// # Errors
/// Failed, with the keys of the first rows that differ.
pub(crate) fn table(
    source: &mut Source,
    own: &Database,
    (shapes, pair): (&Shapes, &Pair),
    (sent, there, mends_nul): (Print, Print, bool),
) -> Result<()> {
    if there == sent {
        return Ok(());
    }
    ui::say(&format!("{} differs; looking for the rows", pair.to));
    let mut error = Error::failed(format!("the table `{}` of the target does not hold what was read", pair.to))
        .because(format!("{} rows were read, and {} are there", sent.rows, there.rows));
    for row in differing(source, own, (shapes, pair), (sent.rows, mends_nul))? {
        error = error.because(row);
    }
    Err(error)
}

/// The rows that are on one side only, or not the same on both, in as many passes as memory asks for.
fn differing(
    source: &mut Source,
    own: &Database,
    (shapes, pair): (&Shapes, &Pair),
    (rows, mends_nul): (u64, bool),
) -> Result<Vec<String>> {
    let passes = rows / AT_ONCE + 1;
    let key = |cells: &[Cell]| -> Vec<Cell> {
        if pair.key.is_empty() { cells.to_vec() } else { pair.key.iter().map(|at| cells[*at].clone()).collect() }
    };
    let pass_of = |key: &[u8; 32]| u64::from_le_bytes([key[0], key[1], key[2], key[3], 0, 0, 0, 0]) % passes;
    let mut found = Vec::new();
    for pass in 0..passes {
        let mut waiting: BTreeMap<[u8; 32], ([u8; 32], String)> = BTreeMap::new();
        source.rows(&pair.from, &pair.columns_there(), &mut |values| {
            let cells = copy::again(pair, values, mends_nul)?;
            let key = print::hash(&key(&cells));
            if pass_of(&key) == pass {
                waiting.insert(key, (print::hash(&cells), pair.row(values)));
            }
            Ok(())
        })?;
        copy::read_back(own, (shapes, pair), &mut |cells| {
            let key = print::hash(&key(cells));
            if pass_of(&key) != pass || found.len() >= SHOWN {
                return Ok(());
            }
            match waiting.remove(&key) {
                Some((then, row)) if then != print::hash(cells) => found.push(format!("{row}: it is another")),
                Some(_) => {}
                None => found.push(format!("{}: a row that was not read", named(pair, cells))),
            }
            Ok(())
        })?;
        found.extend(waiting.into_values().map(|(_, row)| format!("{row}: it is not there")));
        if found.len() >= SHOWN {
            break;
        }
    }
    found.truncate(SHOWN);
    Ok(found)
}

fn named(pair: &Pair, cells: &[Cell]) -> String {
    let mut words = vec![pair.to.clone()];
    words.extend(pair.key.iter().filter_map(|at| match cells.get(*at)? {
        Cell::Text(text) => Some(format!("{}={text}", pair.columns[*at].to)),
        Cell::Integer(number) => Some(format!("{}={number}", pair.columns[*at].to)),
        _ => None,
    }));
    words.join(" ")
}
