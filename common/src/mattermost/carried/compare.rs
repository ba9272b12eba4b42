//! What a database's `db_migrations` says beside what a release carries.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::Carried;
use crate::mattermost::catalogue::Catalogue;

/// Names that databases have although no release of today carries them: those of the MySQL set, which 11 dropped, where
/// it differs (the file names of both sets up to 10.x compared).
const FROM_MYSQL: [(u64, &str); 1] = [(92, "add_createat_to_teammembers")];

/// What 10.11.16 and newer of that line applied under 142 to 144, and later releases renumber by themselves.
pub const RENUMBERED: [&str; 3] = ["add_schemeid_to_roles", "backfill_roles_schemeid", "add_roles_schemeid_index"];

/// The rule of the catalogue that names the releases which do not renumber.
const RULE: &str = "collision-142";

/// A release beside a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Numbers that mean something else in the database: the server would stop in the middle of its migrations, with
    /// `duplicate key value violates unique constraint "db_migrations_pkey"`.
    pub clashes: Vec<String>,
    /// What the first start of the release adds, by number and name.
    pub added: Vec<(u64, String)>,
    /// What the database has beyond the highest number of the release.
    pub ahead: Vec<String>,
}

/// Whether this database name is one that the release moves to its own number before it migrates.
pub fn renumbers(catalogue: &Catalogue, release: &Version, name: &str) -> bool {
    let lacks = catalogue.rules().iter().find(|rule| rule.id == RULE).is_some_and(|rule| rule.to.contains(release));
    RENUMBERED.contains(&name) && !lacks
}

impl Carried {
    /// Compares with the rows of `db_migrations` (absent: there is no such table yet). `is_renumbered` tells which of
    /// their names the release moves to a number of its own. The server compares names: a number clashes when its name
    /// is none of the release's for it, and the release would apply one of them.
    pub fn against(&self, applied: Option<&[(u64, String)]>, is_renumbered: impl Fn(&str) -> bool) -> Comparison {
        let applied = applied.unwrap_or_default();
        let mut names: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for (number, name) in &self.postgres {
            names.entry(*number).or_default().push(name);
        }
        let is_foreign = |number: u64, name: &str| {
            let of_mysql = || self.mysql.iter().any(|(known, other)| (*known, other.as_str()) == (number, name));
            !names[&number].contains(&name) && !FROM_MYSQL.contains(&(number, name)) && !of_mysql()
        };
        let there: BTreeSet<&str> = applied.iter().map(|(_, name)| name.as_str()).collect();
        let by_number: BTreeMap<u64, &str> = applied.iter().map(|(number, name)| (*number, name.as_str())).collect();
        let carries = |name: &str| self.postgres.iter().any(|(_, known)| known == name);
        let moves = |name: &str| carries(name) && is_renumbered(name);
        let highest = self.postgres.last().map_or(0, |(number, _)| *number);

        let mut comparison = Comparison::default();
        for (number, name) in &by_number {
            let Some(known) = names.get(number) else {
                if *number > highest && !carries(name) {
                    comparison.ahead.push(format!("{number} {name}"));
                }
                continue;
            };
            let pending = !known.iter().any(|known| there.contains(known));
            if is_foreign(*number, name) && pending && !moves(name) {
                comparison.clashes.push(format!("{number} is {name} here and {} there", known.join(" or ")));
            }
        }
        for (number, known) in &names {
            let is_there = known.iter().any(|known| there.contains(known));
            let is_free = by_number.get(number).is_none_or(|name| moves(name));
            if !is_there && is_free {
                comparison.added.push((*number, known.join(" or ")));
            }
        }
        comparison
    }
}

impl Carried {
    /// The rows of `db_migrations` after the start of the release that `comparison` is of.
    pub fn extend(&self, rows: &mut Vec<(u64, String)>, comparison: &Comparison) {
        let added: BTreeSet<u64> = comparison.added.iter().map(|(number, _)| *number).collect();
        rows.extend(self.postgres.iter().filter(|(number, _)| added.contains(number)).cloned());
    }
}

impl Comparison {
    /// What is added, in one line; none when nothing is.
    pub fn added_line(&self) -> Option<String> {
        /// So many are named; the first of an old database may be a hundred.
        const NAMED: usize = 6;
        let (first, last) = (self.added.first()?, self.added.last()?);
        let mut named: Vec<String> =
            self.added.iter().take(NAMED).map(|(number, name)| format!("{number} {name}")).collect();
        if self.added.len() > NAMED {
            named.push(format!("and {} more, the last is {} {}", self.added.len() - NAMED, last.0, last.1));
        }
        let count = crate::contract::ui::count(self.added.len(), "migration");
        Some(if self.added.len() == 1 {
            format!("{count}: {} {}", first.0, first.1)
        } else {
            format!("{count}: {}", named.join(", "))
        })
    }
}
