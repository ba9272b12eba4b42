//! The SQL under `data/`: files cut into sections by lines `-- @ NAME`.

use std::collections::BTreeMap;

use crate::emulated::Version;
use crate::text;

const BASE: &str = include_str!("../../data/base.sql");
const LEGACY: &str = include_str!("../../data/legacy.sql");
const EARLY: &str = include_str!("../../data/migrations-early.sql");
const MIDDLE: &str = include_str!("../../data/migrations-middle.sql");
const LATE: &str = include_str!("../../data/migrations-late.sql");
const SETS: &str = include_str!("../../data/migration-sets.tsv");

/// Sections of `base.sql` that a fresh 5.29 does not have yet.
const LATER: [u32; 6] = [31, 32, 35, 36, 37, 53];

/// A schema migration of 6.4 and newer.
#[derive(Debug, Clone)]
pub(crate) struct Migration {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// A step of the upgrade code of 5.x to 6.3.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) version: Version,
    pub(crate) sql: String,
}

fn sections(file: &'static str) -> Vec<(&'static str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for line in file.lines() {
        if let Some(title) = line.strip_prefix("-- @ ") {
            found.push((title, String::new()));
        } else if let Some((_, body)) = found.last_mut() {
            body.push_str(line);
            body.push('\n');
        }
    }
    found
}

fn base() -> BTreeMap<u32, String> {
    sections(BASE).into_iter().filter_map(|(title, body)| Some((title.parse().ok()?, body))).collect()
}

/// The schema of a fresh 5.29.
pub(crate) fn fresh() -> String {
    base().into_iter().filter(|(number, _)| !LATER.contains(number)).map(|(_, body)| body).collect()
}

/// All legacy steps, oldest first.
pub(crate) fn steps() -> Vec<Step> {
    let base = base();
    let mut steps = Vec::new();
    for (title, body) in sections(LEGACY) {
        let Ok(version) = title.parse() else { continue };
        let mut sql = String::new();
        for line in body.lines() {
            if let Some(numbers) = line.strip_prefix("-- include ") {
                sql.extend(numbers.split(' ').filter_map(|number| base.get(&number.parse().ok()?)).map(String::as_str));
            } else {
                sql.push_str(line);
                sql.push('\n');
            }
        }
        steps.push(Step { version, sql });
    }
    steps
}

/// The migrations that a server of 6.4 or newer carries, in the order of their numbers.
pub(crate) fn migrations(version: Version) -> Vec<Migration> {
    let base = base();
    let mut known = BTreeMap::new();
    for (title, body) in [EARLY, MIDDLE, LATE].into_iter().flat_map(sections) {
        let Some((number, name)) = title.split_once(' ') else { continue };
        let Ok(number) = number.parse::<u32>() else { continue };
        known.insert(number, (name.to_owned(), format!("{}{body}", base.get(&number).map_or("", String::as_str))));
    }
    let set = text::rows(SETS)
        .filter(|row| row.first().and_then(|from| from.parse::<Version>().ok()).is_some_and(|from| from <= version));
    let set = set.last().and_then(|row| row.get(1).copied()).unwrap_or_default();
    let mut carried = Vec::new();
    for part in set.split(',') {
        if let Some((number, name)) = part.split_once('=') {
            let sql = known.values().find(|(known, _)| known == name).map(|(_, sql)| sql.clone()).unwrap_or_default();
            carried.extend(number.parse().ok().map(|number| Migration { number, name: name.to_owned(), sql }));
            continue;
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else { continue };
        carried.extend((first..=last).filter_map(|number| {
            let (name, sql) = known.get(&number)?.clone();
            Some(Migration { number, name, sql })
        }));
    }
    carried
}

/// The names of its scripts as a server's program holds them: one behind the other, those of the configuration store and
/// (up to 10.x) of MySQL among them.
pub(crate) fn embedded(version: Version) -> String {
    let carried = migrations(version);
    let mut sets = vec![("postgres", carried.iter().map(|one| (one.number, one.name.as_str())).collect::<Vec<_>>())];
    if !carried.is_empty() {
        sets.push(("postgres", vec![(1, "create_configurations"), (2, "create_configuration_files")]));
    }
    if version.major < 11 {
        let of_mysql = |(number, name)| (number, if number == 92 { "add_createat_to_teammembers" } else { name });
        sets.push(("mysql", sets[0].1.iter().copied().map(of_mysql).collect()));
    }
    let names = sets.iter().flat_map(|(engine, set)| set.iter().map(move |(number, name)| (engine, number, name)));
    ["down", "up"]
        .map(|way| {
            let name = |(engine, number, name)| format!("migrations/{engine}/{number:06}_{name}.{way}.sql");
            names.clone().map(name).collect::<String>()
        })
        .concat()
}

/// The versions at which the set of migrations changed, oldest first.
pub(crate) fn set_versions() -> Vec<Version> {
    text::rows(SETS).filter_map(|row| row.first()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows and highest number as counted on real servers.
    #[test]
    fn every_observed_version_carries_the_observed_number_of_migrations() {
        let observed = [
            ((6, 7, 0), 83, 83),
            ((7, 1, 0), 88, 88),
            ((7, 8, 0), 101, 101),
            ((8, 1, 0), 109, 109),
            ((9, 5, 0), 118, 119),
            ((9, 10, 0), 120, 121),
            ((11, 6, 0), 158, 159),
        ];
        for ((major, minor, patch), count, highest) in observed {
            let carried = migrations(Version::new(major, minor, patch));
            assert_eq!((carried.len(), carried.last().unwrap().number), (count, highest), "{major}.{minor}.{patch}");
        }
    }

    #[test]
    fn no_migration_has_the_number_110() {
        assert!(migrations(Version::new(11, 6, 0)).iter().all(|migration| migration.number != 110));
    }

    #[test]
    fn a_fresh_5_29_has_46_tables() {
        assert_eq!(fresh().matches("CREATE TABLE").count(), 46);
    }
}
