//! What the fetched releases of the way add to the schema, read in their server programs, and what it weighs. This works
//! for releases that no catalogue knows.

use std::collections::BTreeMap;

use mm_common::contract::sections::Path;
use mm_common::mattermost::carried::{Carried, renumbers};
use mm_common::mattermost::catalogue::Catalogue;
use semver::Version;

use crate::estimate::{self, Guess};

/// Seconds for a million rows to build an index on one column: the slowest of those that Mattermost's notes have a time for
/// (1.7, sidebarchannels in 10.9).
const INDEX: f64 = 1.7;

/// Seconds for a million rows to write every one of them anew: the slowest that Mattermost's notes have a time for (66, posts
/// in 6.0).
const REWRITE: f64 = 66.0;

/// Puts into each hop what its release adds, and into its estimate what nobody has measured yet. `applied` is what stands in
/// `db_migrations`; `rows` are the rows of the tables.
pub(crate) fn weigh(
    path: &mut Path,
    catalogue: &Catalogue,
    rows: &BTreeMap<String, u64>,
    mut applied: Option<Vec<(u64, String)>>,
    carried: &BTreeMap<Version, Carried>,
) {
    for hop in &mut path.hops {
        let Some(release) = carried.get(&hop.to) else { continue };
        let comparison = release.against(applied.as_deref(), |name| renumbers(catalogue, &hop.to, name));
        release.extend(applied.get_or_insert_default(), &comparison);
        let guesses = comparison.added.iter().filter_map(|(number, name)| guess(catalogue, rows, *number, name));
        let guesses: Vec<Guess> = guesses.collect();
        let names = comparison.added.iter().map(|(number, name)| format!("{number} {name}")).collect();
        estimate::add_migrations(&mut hop.estimate, names, &guesses);
    }
    path.next = path.hops.first().cloned();
}

/// How long a migration may take that the catalogue does not know, by the words of its name. Those that it knows have a
/// documented rate, or are known to take no time.
fn guess(catalogue: &Catalogue, rows: &BTreeMap<String, u64>, number: u64, name: &str) -> Option<Guess> {
    let known = u32::try_from(number).ok().and_then(|number| catalogue.migrations().name(number));
    if known.is_some_and(|known| known.name == name) {
        return None;
    }
    let words: Vec<&str> = name.split('_').collect();
    let named = rows.iter().filter(|(table, _)| words.contains(&table.as_str()));
    let (table, rows) = named.max_by_key(|(_, rows)| **rows)?;
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
    let seconds_per_million = if has(&["index", "indexes", "idx"]) {
        INDEX
    } else if has(&["create", "add", "drop", "remove", "rename"]) {
        // A table, a column without a default, or a name: the catalogue of PostgreSQL alone changes.
        return None;
    } else {
        REWRITE
    };
    Some(Guess { number, name: name.to_owned(), table: table.clone(), rows: *rows, seconds_per_million })
}

#[cfg(test)]
mod tests {
    use mm_common::contract::version::Edition;
    use serde_json::json;

    use super::*;
    use crate::plan::{Start, plan};
    use crate::wish::{Policy, Wish};

    fn carrying(names: &[(u64, &str)]) -> Carried {
        let postgres = names.iter().map(|(number, name)| (*number, (*name).to_owned())).collect();
        Carried { postgres, mysql: Vec::new() }
    }

    #[test]
    fn what_a_release_adds_is_listed_and_what_nobody_has_measured_weighs() {
        let mut catalogue = Catalogue::embedded().unwrap();
        let (installed, next) = (Version::new(11, 7, 15), Version::new(11, 7, 99));
        catalogue.assume(&next, "11.7".parse().unwrap()).unwrap();
        let to = next.to_string().parse().unwrap();
        let wish = Wish { to, policy: Policy::Esr, via: Vec::new(), avoid: Vec::new(), postgres: None, edition: None };
        let start = Start::on_paper(installed, Edition::Team);
        let mut path = plan(&catalogue, &start, &wish).unwrap().path;
        let there = vec![(1, "create_teams".to_owned())];
        let names = [
            (1, "create_teams"),
            (901, "create_index_on_posts_somewhere"),
            (902, "backfill_posts_somehow"),
            (903, "add_something_to_posts"),
            (904, "backfill_unknown_table"),
        ];
        let carried = BTreeMap::from([(next, carrying(&names))]);
        let rows = BTreeMap::from([("posts".to_owned(), 10_000_000)]);
        weigh(&mut path, &catalogue, &rows, Some(there), &carried);
        let estimate = &path.hops[0].estimate;
        assert_eq!(path.next.as_ref().unwrap().estimate, *estimate);
        assert_eq!(estimate["migrations"].as_array().unwrap().len(), 4);
        assert_eq!(estimate["migrations"][0], "901 create_index_on_posts_somewhere");
        assert_eq!((&estimate["seconds"], estimate["parts"].as_array().unwrap().len()), (&json!(677.0), 2));
        assert!(estimate["basis"].as_str().unwrap().contains("names"), "{estimate:?}");
    }

    #[test]
    fn what_the_catalogue_knows_weighs_as_it_is_documented_and_a_rehearsal_knows_better() {
        let catalogue = Catalogue::embedded().unwrap();
        let rows = BTreeMap::from([("posts".to_owned(), 10_000_000)]);
        let known = catalogue.migrations().names.iter().find(|known| known.name.contains("posts")).unwrap();
        assert!(guess(&catalogue, &rows, known.number.into(), &known.name).is_none(), "{known:?}");
        let guesses = [guess(&catalogue, &rows, 999, "backfill_posts").unwrap()];
        let mut estimate = serde_json::Map::from_iter([
            ("seconds".to_owned(), json!(3.0)),
            ("basis".to_owned(), json!(estimate::MEASURED)),
        ]);
        estimate::add_migrations(&mut estimate, vec!["999 backfill_posts".into()], &guesses);
        assert_eq!((&estimate["seconds"], &estimate["migrations"]), (&json!(3.0), &json!(["999 backfill_posts"])));
        let mut nothing = serde_json::Map::new();
        estimate::add_migrations(&mut nothing, Vec::new(), &[]);
        assert!(nothing.is_empty(), "{nothing:?}");
    }
}
