//! Killed at the calls that change names, owners and attributes or make them durable: after one more mm-swap the release
//! is wholly the old or wholly the new one.

use std::collections::BTreeMap;
use std::ffi::OsString;

use mm_test_support::faults::Tool;
use mm_test_support::release::Release;
use mm_test_support::site::{Site, quick};

use super::tree::{self, Tree};
use super::{FROM, TO};

fn swap(site: &Site, release: &Release, flags: &[&str]) -> Tool {
    let mut arguments: Vec<OsString> = site.flags().into_iter().map(Into::into).collect();
    arguments.extend(["--no-backup", "--start-timeout", "120"].iter().chain(flags).map(Into::into));
    arguments.extend(["--archive".into(), release.tarball.clone().into()]);
    Tool::new("mm-swap", arguments, site.directory())
}

/// The tree is the old or the new one, and what is the user's is what and where it was. Returns the version.
fn standing(site: &Site, old: &Tree, new: &Tree, context: &str) -> &'static str {
    let now = tree::of(&site.install());
    assert!(tree::users(&now) == tree::users(old), "the user's files, {context}");
    match tree::released(&now) {
        released if released == tree::released(old) => FROM,
        released if released == tree::released(new) => TO,
        released => panic!("neither the old nor the new release, {context}: {:?}", released.keys()),
    }
}

/// Back to the old release, and nothing left of the runs before, so that the next makes the same calls.
fn reset(site: &Site, stands: &str) {
    if stands == TO {
        site.tool("mm-swap").arg("rollback").assert().success();
    }
    for place in [site.directory().join("opt/.mattermost.mm"), site.state()] {
        if place.exists() {
            std::fs::remove_dir_all(place).unwrap();
        }
    }
}

#[test]
fn with_the_server_stopped_one_more_run_completes_it_and_a_recovery_leaves_one_release() {
    let site = Site::builder(FROM).build();
    tree::adorn(&site);
    let release = quick(TO).build();
    let old = tree::of(&site.install());
    let tool = swap(&site, &release, &["--no-start"]);
    let deaths = tool.deaths(&[("renameat2", 25), ("rename", 25), ("fsync", 25), ("fchown", 4), ("fsetxattr", 4)]);
    let new = tree::of(&site.install());
    assert_ne!(tree::released(&old), tree::released(&new));
    reset(&site, TO);

    let mut stood = BTreeMap::new();
    for (number, death) in deaths.into_iter().enumerate() {
        tool.dies(death);
        let context = format!("killed at {death:?}");
        // Both ways of going on, in turn.
        let recovers = number % 3 != 0;
        let stands = if recovers {
            site.tool("mm-swap").arg("recover").assert().success();
            standing(&site, &old, &new, &context)
        } else {
            let again = tool.undisturbed();
            assert_eq!(again.code, 0, "run again, {context}: {}", again.said);
            assert_eq!(standing(&site, &old, &new, &context), TO, "{context}");
            TO
        };
        *stood.entry((recovers, stands)).or_insert(0) += 1;
        reset(&site, stands);
        assert_eq!(standing(&site, &old, &new, &context), FROM, "{context}");
    }
    eprintln!("recovered or run again, and what stood there then: {stood:?}");
    assert!(stood.contains_key(&(true, FROM)) && stood.contains_key(&(true, TO)), "{stood:?}");
}

#[test]
fn with_the_server_running_the_server_of_the_release_that_stands_runs() {
    let site = Site::builder(FROM).running().build();
    tree::adorn(&site);
    let release = quick(TO).build();
    let old = tree::of(&site.install());
    let tool = swap(&site, &release, &[]);
    let (history, files) = (site.history(), site.user_files());
    let mut deaths = tool.deaths(&[("renameat2", 4), ("fsync", 5), ("rename", 3)]);
    let new = tree::of(&site.install());
    // The first of each come while the old server still runs, as with a stopped one.
    deaths.retain(|death| death.when > 1);
    reset(&site, TO);

    for (number, death) in deaths.into_iter().enumerate() {
        tool.dies(death);
        let context = format!("killed at {death:?}");
        if number % 2 == 0 {
            site.tool("mm-swap").args(["recover", "--start-timeout", "120"]).assert().success();
        } else {
            let again = tool.undisturbed();
            assert_eq!(again.code, 0, "run again, {context}: {}", again.said);
        }
        let stands = standing(&site, &old, &new, &context);
        assert!(number % 2 == 0 || stands == TO, "run again, {context}");
        assert_eq!(site.running_version().as_deref(), Some(stands), "{context}");
        assert_eq!((site.history(), site.user_files()), (history.clone(), files.clone()), "{context}");
        reset(&site, stands);
    }
}
