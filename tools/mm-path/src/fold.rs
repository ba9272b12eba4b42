//! The fold: what a document that comes back from a hop says about how far the upgrade is.

use std::path::{Path as FilePath, PathBuf};

use mm_common::contract::document::Document;
use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::sections::{Hop, Path};
use mm_common::contract::version::Edition;
use mm_common::machine::state::STORE;
use semver::Version;
use serde_json::{Map, Value};

/// The sections that belong to one hop, and move into `done` with it.
const OF_A_HOP: [&str; 5] = ["fetch", "backup", "pgbump", "swap", "verify"];

/// The release that the plan goes on from, and whether a hop was finished.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Progress {
    /// Nothing of the next hop was done yet.
    Before,
    /// This hop is done.
    After(Box<Hop>),
}

/// Looks at what the document says was done and what is installed.
///
/// In a dry run nothing is installed, so a hop is taken as done as soon as the tools have been through it. Refuses
/// (exit 5) when the tools were here and the old release still is: another round would be the same one.
pub(crate) fn progress(
    document: &Document,
    path: &Path,
    (installed, edition): (&Version, Edition),
    is_moved: impl FnOnce(&Hop) -> Result<bool>,
    dry_run: bool,
) -> Result<Progress> {
    let Some(hop) = &path.next else { return Ok(Progress::Before) };
    let touched = OF_A_HOP.iter().any(|key| document.get(key).is_some());
    // A hop may change nothing but the edition, or the database.
    let there = *installed == hop.to && edition == hop.edition && (!hop.is_of_database_alone() || is_moved(hop)?);
    if there || (dry_run && touched) {
        return Ok(Progress::After(Box::new(hop.clone())));
    }
    let acted = OF_A_HOP.iter().filter(|key| **key != "fetch").any(|key| document.get(key).is_some());
    if acted && hop.is_of_database_alone() {
        return Err(Error::refused(format!("the hop is not done: the database of {installed} has not been moved"))
            .hint("in the place of mm-pgbump in the pipeline: mm-pgbump move --target FILE --leave-stopped; to plan afresh, give --to"));
    }
    if acted && *installed == hop.from {
        return Err(Error::refused(format!("the hop from {} to {} is not done: {installed} ({edition}) is still installed", hop.from, hop.to))
            .hint("a pipeline of one hop is mm-fetch | mm-backup | mm-pgbump | mm-swap | mm-verify; to plan afresh, give --to"));
    }
    Ok(Progress::Before)
}

/// Where the restore points of this upgrade go: where the administrator says, where they went in the hops that are done,
/// or where mm-backup puts them when nobody says otherwise.
pub(crate) fn store(document: &Document, given: Option<&FilePath>) -> PathBuf {
    let done = document.get("done").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let sections = document.get("backup").into_iter().chain(done.iter().rev().filter_map(|hop| hop.get("backup")));
    let recorded = sections.filter_map(|backup| backup.get("store")?.as_str()).map(FilePath::new).next();
    given.or(recorded).unwrap_or(FilePath::new(STORE)).to_owned()
}

/// Removes the next hop and what was done in it: what comes next is planned anew.
pub(crate) fn forget_hop(document: &mut Document) -> Result<()> {
    for key in OF_A_HOP {
        document.remove(key);
    }
    let Some(mut path) = document.section::<Path>("path")? else { return Ok(()) };
    path.next = None;
    document.set("path", &path)
}

/// Hops that have been taken back since are done no more: the record ends with the one that has led to what is installed.
/// Where none has, and the first did not begin there either, it stays as it is.
pub(crate) fn keep_what_is_true(
    document: &mut Document,
    (installed, edition): (&Version, Edition),
    is_moved: impl Fn(&Hop) -> Result<bool>,
) -> Result<()> {
    let done: Vec<Map<String, Value>> = document.section("done")?.unwrap_or_default();
    let hops: Vec<Option<Hop>> =
        done.iter().map(|record| serde_json::from_value(record.get("hop")?.clone()).ok()).collect();
    let mut led_there = Vec::new();
    for hop in &hops {
        led_there.push(match hop {
            Some(hop) if hop.is_of_database_alone() => hop.to == *installed && is_moved(hop)?,
            Some(hop) => hop.to == *installed && hop.edition == edition,
            None => false,
        });
    }
    let length = match led_there.iter().rposition(|led| *led) {
        Some(last) => last + 1,
        None if hops.first().is_some_and(|hop| hop.as_ref().is_some_and(|hop| hop.from == *installed)) => 0,
        None => return Ok(()),
    };
    if length < done.len() {
        document.set("done", &&done[..length])?;
    }
    Ok(())
}

/// Moves a finished hop with its sections to the end of `done`.
pub(crate) fn finish(document: &mut Document, hop: &Hop, now: &str) -> Result<()> {
    let mut record = Map::new();
    record.insert(
        "hop".into(),
        serde_json::to_value(hop).map_err(|cause| Error::failed("cannot write a finished hop").because(cause))?,
    );
    record.insert("finished".into(), now.into());
    for key in OF_A_HOP {
        if let Some(section) = document.remove(key) {
            record.insert(key.into(), section);
        }
    }
    let mut done: Vec<Value> = document.section("done")?.unwrap_or_default();
    done.push(record.into());
    document.set("done", &done)
}

/// The release, its edition and the PostgreSQL major that a dry run has come to: those of the last hop in `done`.
pub(crate) fn imagined(document: &Document) -> Result<Option<(Version, Edition, Option<u32>)>> {
    let done: Vec<Map<String, Value>> = document.section("done")?.unwrap_or_default();
    let hops = done.iter().filter_map(|record| serde_json::from_value::<Hop>(record.get("hop")?.clone()).ok());
    let mut reached = None;
    let mut postgres = None;
    for hop in hops {
        postgres = hop.needs.postgres.or(postgres);
        reached = Some((hop.to, hop.edition));
    }
    Ok(reached.map(|(version, edition)| (version, edition, postgres)))
}

/// Refuses the record of a rehearsal (`rehearsal` of a document) that cannot be one: what somebody has cut out of another
/// file would be taken for a rehearsal of nothing.
///
/// # Errors
/// Kind `bad-document` (65).
pub(crate) fn refuse_unfit_rehearsal(document: &Document) -> Result<()> {
    let Some(rehearsal) = document.get("rehearsal") else { return Ok(()) };
    let bad = |what: &str| {
        Err(Error::new(Kind::BadDocument, "the section `rehearsal` of the document is no rehearsal")
            .because(what)
            .hint(
                "give the file that mm-rehearse wrote as it is: --document /var/lib/mm-tools/rehearsal/rehearsal.json",
            ))
    };
    let Some(done) = rehearsal.get("done").and_then(Value::as_array) else {
        return bad("it has no list `done` of the hops that were rehearsed");
    };
    let names =
        |record: &Value, key: &str| record["hop"][key].as_str().is_some_and(|text| Version::parse(text).is_ok());
    match done.iter().position(|record| !(names(record, "from") && names(record, "to"))) {
        Some(at) => bad(&format!("entry {} of its list `done` does not say from which release to which", at + 1)),
        None => Ok(()),
    }
}

/// Seconds until the new server was healthy, by hop, in the record of a rehearsal (`rehearsal.done`).
pub(crate) fn measured(document: &Document) -> impl Iterator<Item = ((Version, Version), f64)> {
    let done = document.get("rehearsal").and_then(|rehearsal| rehearsal.get("done")).and_then(Value::as_array).cloned();
    done.unwrap_or_default().into_iter().filter_map(|record| {
        let version = |key: &str| Version::parse(record.get("hop")?.get(key)?.as_str()?).ok();
        let seconds = record.get("swap")?.get("healthy_after_seconds")?.as_f64()?;
        Some(((version("from")?, version("to")?), seconds))
    })
}

/// Seconds that all of a hop took in a rehearsal.
pub(crate) fn measured_whole(document: &Document, from: &Version, to: &Version) -> Option<f64> {
    let records = document.get("rehearsal")?.get("done")?.as_array()?;
    let is_it = |record: &&Value| {
        let version = |key: &str| record.get("hop")?.get(key)?.as_str().map(str::to_owned);
        version("from") == Some(from.to_string()) && version("to") == Some(to.to_string())
    };
    records.iter().rev().find(is_it)?.get("seconds")?.as_f64()
}

#[cfg(test)]
mod tests {
    use mm_common::mattermost::catalogue::Catalogue;
    use serde_json::json;

    use super::*;
    use crate::plan::{Start, plan};
    use crate::wish::{Policy, Wish};

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn path() -> Path {
        let wish = Wish {
            to: "10.6.1".parse().unwrap(),
            policy: Policy::Esr,
            via: Vec::new(),
            avoid: Vec::new(),
            postgres: None,
            edition: None,
        };
        let start = Start::on_paper(version("10.5.14"), Edition::Team);
        plan(&Catalogue::embedded().unwrap(), &start, &wish).unwrap().path
    }

    fn never(_: &Hop) -> Result<bool> {
        panic!("nobody has to know")
    }

    fn document(sections: &[&str]) -> Document {
        let mut document = Document::default();
        for section in sections {
            document.set(section, &json!({"by": section})).unwrap();
        }
        document
    }

    #[test]
    fn a_hop_is_finished_when_its_release_is_installed() {
        let progress =
            progress(&document(&["swap"]), &path(), (&version("10.6.1"), Edition::Team), never, false).unwrap();
        assert!(matches!(progress, Progress::After(hop) if hop.to == version("10.6.1")));
    }

    #[test]
    fn a_plan_that_was_not_begun_stays() {
        assert_eq!(
            progress(&document(&[]), &path(), (&version("10.5.14"), Edition::Team), never, false).unwrap(),
            Progress::Before
        );
        assert_eq!(
            progress(&document(&["fetch"]), &path(), (&version("10.5.14"), Edition::Team), never, false).unwrap(),
            Progress::Before
        );
    }

    #[test]
    fn a_hop_that_changes_only_the_edition_is_done_when_that_is_installed() {
        let mut path = path();
        let hop = path.next.as_mut().unwrap();
        (hop.to, hop.edition) = (hop.from.clone(), Edition::Enterprise);
        let with = |edition| progress(&document(&["swap"]), &path, (&version("10.5.14"), edition), never, false);
        assert!(matches!(with(Edition::Enterprise).unwrap(), Progress::After(_)));
        assert_eq!(with(Edition::Team).unwrap_err().code(), 5, "nothing has happened yet");
    }

    /// The release is the same before and after.
    #[test]
    fn a_hop_that_changes_only_the_database_is_done_when_that_has_moved() {
        let mut path = path();
        let hop = path.next.as_mut().unwrap();
        (hop.to, hop.changes) = (hop.from.clone(), vec!["database".into()]);
        let with = |sections: &[&str], moved: bool, dry_run: bool| {
            progress(&document(sections), &path, (&version("10.5.14"), Edition::Team), |_| Ok(moved), dry_run)
        };
        assert!(matches!(with(&["pgbump"], true, false).unwrap(), Progress::After(_)));
        assert_eq!(with(&[], false, false).unwrap(), Progress::Before);
        assert_eq!(with(&["fetch"], false, false).unwrap(), Progress::Before);
        let error = with(&["backup"], false, false).unwrap_err();
        assert!(error.code() == 5 && error.next_step().unwrap().contains("mm-pgbump move --target"), "{error:?}");
        assert!(matches!(with(&["pgbump"], false, true).unwrap(), Progress::After(_)));
    }

    #[test]
    fn a_move_that_was_taken_back_is_done_no_more() {
        let hop = |from: &str, to: &str, changes: &str| json!({"hop": {"from": from, "to": to, "changes": [changes], "edition": "team", "url": "", "sha256": []}});
        let left = |installed: &str, moved: bool| {
            let mut document = Document::default();
            let done = [hop("10.5.14", "10.5.14", "database"), hop("10.5.14", "10.6.1", "release")];
            document.set("done", &json!(done)).unwrap();
            keep_what_is_true(&mut document, (&version(installed), Edition::Team), |_| Ok(moved)).unwrap();
            document.get("done").unwrap().as_array().unwrap().len()
        };
        assert_eq!((left("10.6.1", true), left("10.5.14", true), left("10.5.14", false)), (2, 1, 0));
    }

    #[test]
    fn a_round_without_effect_is_refused_so_that_a_loop_ends() {
        let error =
            progress(&document(&["fetch", "backup"]), &path(), (&version("10.5.14"), Edition::Team), never, false)
                .unwrap_err();
        assert_eq!(error.code(), 5);
        assert!(error.message().contains("10.5.14 (team) is still installed"), "{}", error.message());
    }

    #[test]
    fn a_dry_run_goes_on_without_anything_installed() {
        let mut document = document(&["fetch", "swap"]);
        let Progress::After(hop) =
            progress(&document, &path(), (&version("10.5.14"), Edition::Team), never, true).unwrap()
        else {
            panic!()
        };
        finish(&mut document, &hop, "2026-01-01T00:00:00Z").unwrap();
        assert_eq!(imagined(&document).unwrap(), Some((version("10.6.1"), Edition::Team, None)));
        assert_eq!(document.get("swap"), None, "a finished hop takes its sections along");
        let done = document.get("done").unwrap().clone();
        assert_eq!((done[0]["swap"]["by"].as_str(), done[0]["hop"]["from"].as_str()), (Some("swap"), Some("10.5.14")));
    }

    #[test]
    fn hops_that_were_taken_back_are_done_no_more() {
        let hop = |from: &str, to: &str| json!({"hop": {"from": from, "to": to, "edition": "team", "url": "", "sha256": []}, "swap": {}});
        let left = |installed: &str| {
            let mut document = Document::default();
            document.set("done", &json!([hop("9.11.18", "10.5.14"), hop("10.5.14", "10.6.1")])).unwrap();
            keep_what_is_true(&mut document, (&version(installed), Edition::Team), never).unwrap();
            document.get("done").unwrap().as_array().unwrap().len()
        };
        assert_eq!((left("10.6.1"), left("10.5.14"), left("9.11.18"), left("10.6.2")), (2, 1, 0, 2));
    }

    #[test]
    fn restore_points_go_where_they_went_before_unless_somebody_says_otherwise() {
        let mut document = Document::default();
        assert_eq!(store(&document, None), FilePath::new(STORE));
        document.set("done", &json!([{"backup": {"store": "/srv/a"}}, {"backup": {"store": "/srv/b"}}, {}])).unwrap();
        assert_eq!(store(&document, None), FilePath::new("/srv/b"));
        assert_eq!(store(&document, Some(FilePath::new("/srv/c"))), FilePath::new("/srv/c"));
    }

    #[test]
    fn a_rehearsal_tells_how_long_hops_took() {
        let mut document = Document::default();
        let record = json!({"done": [{"hop": {"from": "6.3.10", "to": "7.1.9"}, "swap": {"healthy_after_seconds": 12.5}},
            {"hop": {"from": "7.1.9", "to": "7.8.15"}}]});
        document.set("rehearsal", &record).unwrap();
        refuse_unfit_rehearsal(&document).unwrap();
        let all: Vec<_> = measured(&document).collect();
        assert_eq!(all, [((version("6.3.10"), version("7.1.9")), 12.5)]);
    }

    #[test]
    fn what_is_no_rehearsal_is_refused() {
        refuse_unfit_rehearsal(&Document::default()).unwrap();
        for (record, why) in [
            (json!(null), "no list `done`"),
            (json!({"done": null}), "no list `done`"),
            (json!([]), "no list `done`"),
            (json!({"done": [{"hop": {"from": "6.3.10", "to": "7.1.9"}}, {"hop": {"from": "7.1.9"}}]}), "entry 2"),
            (json!({"done": ["x"]}), "entry 1"),
        ] {
            let mut document = Document::default();
            document.set("rehearsal", &record).unwrap();
            let error = refuse_unfit_rehearsal(&document).unwrap_err();
            assert!(error.code() == 65 && error.one_line().contains(why), "{record}: {}", error.one_line());
        }
    }

    proptest::proptest! {
        /// A finished hop takes its own sections along and nothing else; everything else keeps its place.
        #[test]
        fn the_fold_moves_the_hop_and_leaves_everything_else_in_order(keys in proptest::collection::vec("[a-z]{1,7}", 0..10)) {
            let mut document = Document::default();
            for key in keys.iter().chain(&["swap".to_owned(), "backup".to_owned()]) {
                if !["schema", "done"].contains(&key.as_str()) {
                    document.set(key, &json!({"of": key, "z": 1, "a": 2})).unwrap();
                }
            }
            let before: Map<String, Value> = serde_json::from_str(&document.to_json()).unwrap();
            let hop = path().next.unwrap();
            finish(&mut document, &hop, "2026-01-01T00:00:00Z").unwrap();
            let mut after: Map<String, Value> = serde_json::from_str(&document.to_json()).unwrap();
            let done = after.shift_remove("done").unwrap();
            let others = || before.iter().filter(|(key, _)| !OF_A_HOP.contains(&key.as_str()));
            proptest::prop_assert!(after.keys().eq(others().map(|(key, _)| key)));
            for (key, value) in others() {
                proptest::prop_assert_eq!(after[key].to_string(), value.to_string());
            }
            for key in OF_A_HOP {
                proptest::prop_assert_eq!(done[0].get(key), before.get(key));
            }
        }
    }
}
