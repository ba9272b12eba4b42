//! The rows that PostgreSQL cannot hold as they are, each by its key, before anything is carried. The server may run.

use std::collections::{BTreeMap, BTreeSet};

use mm_common::contract::ui;
use mm_common::{Error, Result};

use super::pieces::{self, Marks};
use super::print;
use super::shape::{Pair, Shapes, in_short};
use super::source::{Source, quoted};
use super::value::{Cell, Repair, Unfit};
use crate::preflight::{List, Seen};

/// The check for U+0000; accepted, U+2400 stands for it.
pub(crate) const NUL: &str = "mysql-nul";

/// How many rows of a kind are named.
const NAMED: usize = 100;

/// How many rows there may be that have names which are looked up: each is remembered.
const MOST_NAMES: usize = 20_000_000;

/// Rows of one kind.
#[derive(Debug, Default)]
struct Rows {
    count: u64,
    named: Vec<String>,
}

impl Rows {
    fn add(&mut self, row: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(row());
        }
    }

    fn seen(&self, good: &str, bad: impl FnOnce(String, String) -> Seen, hint: &str) -> Seen {
        if self.count == 0 {
            return Seen::pass(good);
        }
        let shown = crate::preflight::shortened(&self.named);
        bad(format!("{}: {shown}", mm_common::contract::ui::count(self.count, "value")), hint.to_owned())
    }
}

/// What was found in all tables.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    unfit: BTreeMap<Unfit, Rows>,
    lowered: Rows,
    clashes: Rows,
    rows: u64,
    /// Where pieces of large tables begin, by the name of the table.
    pub marks: BTreeMap<String, Vec<String>>,
}

/// What stands in the way of a value, for people.
pub(crate) fn in_words(unfit: Unfit) -> &'static str {
    match unfit {
        Unfit::Nul => "it holds U+0000, which PostgreSQL keeps in no text",
        Unfit::Json => "it is no JSON that PostgreSQL takes",
        Unfit::Long => "it has more characters than the column holds",
        Unfit::Null => "it is NULL, and the column holds none",
        Unfit::Value => "it is not of the kind that the column holds",
    }
}

/// Looks at every value of every table.
///
/// # Errors
/// When MySQL cannot be read.
pub(crate) fn all(source: &mut Source, shapes: &Shapes) -> Result<Examined> {
    let mut found = Examined::default();
    for pair in &shapes.pairs {
        ui::progress(&format!("looking at every row of {}", pair.from));
        table(source, pair, &mut found)?;
    }
    Ok(found)
}

fn table(source: &mut Source, pair: &Pair, found: &mut Examined) -> Result<()> {
    let mut seen: Vec<BTreeSet<[u8; 32]>> = vec![BTreeSet::new(); pair.unique.len()];
    let mut marks = Marks::of(pair);
    let ordered = pieces::column(pair).map(|at| format!(" ORDER BY {}", quoted(&pair.columns[at].from)));
    source.some_rows(&pair.from, &pair.columns_there(), &ordered.unwrap_or_default(), &mut |values| {
        found.rows += 1;
        marks.see(values);
        let mut cells = Vec::with_capacity(values.len());
        for (column, value) in pair.columns.iter().zip(values) {
            let named = || format!("{} ({})", pair.row(values), column.to);
            // Accepted or not, what is accepted is found.
            match column.rule.of_mysql(*value, false) {
                Ok((cell, repair)) => {
                    if repair == Some(Repair::Lower) {
                        found.lowered.add(|| format!("{} {}", named(), shown(*value)));
                    }
                    cells.push(cell);
                }
                Err(unfit) => {
                    found.unfit.entry(unfit).or_default().add(named);
                    cells.push(Cell::Null);
                }
            }
        }
        for (columns, seen) in pair.unique.iter().zip(&mut seen) {
            let values_of: Vec<Cell> = columns.iter().map(|at| cells[*at].clone()).collect();
            let is_null = values_of.contains(&Cell::Null);
            if seen.len() > MOST_NAMES {
                return Err(Error::failed(format!("the table {} has more than {MOST_NAMES} rows", pair.from))
                    .because("no server has so many users, teams or channels"));
            }
            if !is_null && !seen.insert(print::hash(&values_of)) {
                found.clashes.add(|| {
                    let said = columns.iter().map(|at| format!("{}={}", pair.columns[*at].to, shown(values[*at])));
                    format!("{} ({})", pair.row(values), said.collect::<Vec<_>>().join(", "))
                });
            }
        }
        Ok(())
    })?;
    found.marks.insert(pair.from.clone(), marks.keys());
    Ok(())
}

fn shown(value: Option<&[u8]>) -> String {
    in_short(value.unwrap_or_default())
}

impl Examined {
    /// As checks. Nobody can accept but U+0000: nothing is deleted and nothing is shortened here.
    pub(crate) fn checks(&self, list: &mut List) {
        let none = Rows::default();
        let of = |unfit: Unfit| self.unfit.get(&unfit).unwrap_or(&none);
        let good = format!("none in {}", ui::count(self.rows, "row"));
        let correct = "correct these rows in MySQL (the server may run), then run this again";
        let mut add = |id: &str, title: &str, rows: &Rows, hint: &str| {
            list.add(id, title, || Ok(rows.seen(&good, Seen::fail, hint)));
        };
        add(
            NUL,
            "No text holds U+0000",
            of(Unfit::Nul),
            "--accept mysql-nul puts U+2400 in its place, and writes down what was there",
        );
        add("mysql-json", "What is to be JSON is JSON", of(Unfit::Json), correct);
        add("mysql-long", "Every text fits, counted in characters", of(Unfit::Long), correct);
        add("mysql-null", "No value is missing", of(Unfit::Null), correct);
        add("mysql-value", "Every value is of its column's kind", of(Unfit::Value), correct);
        add(
            "mysql-case-clash",
            "No two names become one",
            &self.clashes,
            "the server looks these up in lower case, and PostgreSQL takes each name once: rename one of the two in MySQL",
        );
        list.add("mysql-case", "Names and addresses are in lower case", || {
            Ok(self.lowered.seen(
                &good,
                Seen::warn,
                "the server looks these up in lower case, and PostgreSQL does not find others: they are moved in lower case, and what was there is written down",
            ))
        });
    }
}
