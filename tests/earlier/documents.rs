//! Documents of earlier programs, given to the programs of today.

use mm_test_support::pipeline::{hop, plan, run};
use mm_test_support::site::{Site, quick};

use crate::{document, filled, good};

/// The hop is carried out with the document of an earlier mm-path, and from the middle with that of an earlier mm-fetch.
#[test]
fn a_hop_goes_on_with_the_document_of_an_earlier_tool() {
    let site = Site::builder("9.11.18").posts(20).running().build();
    let releases = site.releases(&["9.11.18", "10.5.14", "10.6.1"].map(|version| quick(version).build()));
    let history = site.history();
    let planned = filled("documents/mm-path.json", &plan(&site, &releases, &["--to", "10.6.1"]));
    assert!(planned["run"]["host"].is_null(), "an earlier program named no host");
    let steps = hop(&site, &releases);
    let (fetch, rest) = steps.split_once(" | ").unwrap();
    let fetched = run(fetch, &planned).good();
    let fetched = filled("documents/mm-fetch.json", &fetched);
    let fold = format!("{rest} | mm-path {} --catalogue {}", site.flags().join(" "), releases.catalogue.display());
    let folded = run(&fold, &fetched).good();
    assert_eq!((&folded["path"]["current"], &folded["path"]["next"]["to"]), (&"10.5.14".into(), &"10.6.1".into()));
    let done = &folded["done"][0];
    assert!(done["backup"]["id"].is_string() && done["verify"]["counts"]["pass"].as_u64() > Some(5), "{done}");
    assert_eq!((site.running_version().as_deref(), site.history()), (Some("10.5.14"), history));
}

/// A restore point that an earlier document names is one that mm-swap goes by, and goes back with.
#[test]
fn a_swap_goes_by_the_restore_point_of_an_earlier_document() {
    let site = Site::builder("9.11.18").posts(20).running().build();
    let history = site.history();
    let made = good(&site, "mm-backup", &["--to", site.store().to_str().unwrap(), "--stop"]);
    let given = filled("documents/mm-backup-alone.json", &made);
    let archive = quick("10.5.14").build().tarball;
    let mut swap = site.tool("mm-swap");
    swap.arg("--archive").arg(archive).write_stdin(given.to_string());
    let swapped = document(&swap.output().unwrap(), 0);
    assert_eq!(swapped["swap"]["to"], "10.5.14", "{swapped}");
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));
    good(&site, "mm-swap", &["rollback", "--database"]);
    assert_eq!((site.running_version().as_deref(), site.history()), (Some("9.11.18"), history));
}
