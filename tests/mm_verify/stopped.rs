//! mm-verify asked to stop at its checkpoints: nothing of what it has made stays.

use mm_test_support::asked::{Asked, nothing_is_open};
use mm_test_support::site::Site;

use crate::lab::traces;

#[test]
fn asked_at_any_step_it_takes_away_what_it_has_made() {
    let site = Site::builder("10.6.1").running().build();
    let before = (site.history(), site.counts(), site.user_files());
    let asked = Asked::of(&site, "mm-verify", &["--browser", "no"]);
    let checkpoints = asked.checkpoints();
    let mut codes = Vec::new();
    asked.at_each(&checkpoints, |ended| {
        assert_eq!(traces(&site), "0", "{}: {}", ended.at, ended.said);
        assert_eq!((site.history(), site.counts(), site.user_files()), before, "{}: {}", ended.at, ended.said);
        nothing_is_open(&site, &ended.at);
        codes.push(ended.code);
    });
    assert!(codes.contains(&1), "{codes:?} at {checkpoints:?}");
}
