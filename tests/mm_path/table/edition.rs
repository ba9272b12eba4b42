//! A change of the edition on the way.

use mm_common::contract::version::Edition;
use mm_path::wish::Policy::Esr;
use mm_path::wish::Wish;
use serde_json::{Value, json};

use super::{blockers, planned, start, stops, wish};

/// One change of the edition: from, where to, what blocks it, and what the first hop tells (severity and name).
type Change =
    (&'static str, Edition, &'static str, Value, &'static [&'static str], &'static [&'static str], &'static str);

#[test]
fn the_edition_changes_with_the_first_hop_and_says_what_that_means() {
    use Edition::{Enterprise, Team};
    let cases: [Change; 9] = [
        (
            "9.5.14",
            Enterprise,
            "9.11",
            json!({}),
            &[],
            &["info edition-licence"],
            "before 11 nothing is lost without a licence",
        ),
        (
            "10.11.15",
            Enterprise,
            "11.7",
            json!({}),
            &[],
            &["action edition-entry", "info edition-licence"],
            "Entry hides history",
        ),
        (
            "10.11.15",
            Enterprise,
            "11.7",
            json!({"GitLabSettings": {"Enable": true}}),
            &[],
            &["action edition-entry", "info edition-licence"],
            "Enterprise keeps GitLab, and the first hop has it already",
        ),
        ("9.5.14", Team, "9.11", json!({}), &[], &["info edition-licence-kept"], "nothing in use that would go"),
        (
            "9.5.14",
            Team,
            "9.11",
            json!({"LdapSettings": {"Enable": true}}),
            &["edition-login"],
            &["info edition-licence-kept"],
            "nobody could log in",
        ),
        (
            "9.5.14",
            Team,
            "9.11",
            json!({"ClusterSettings": {"Enable": true}, "GitLabSettings": {"Enable": true}}),
            &["edition-cluster"],
            &["info edition-licence-kept"],
            "below 11 Team Edition has GitLab",
        ),
        (
            "11.0.7",
            Team,
            "11.7",
            json!({"GitLabSettings": {"Enable": true}}),
            &["edition-gitlab"],
            &["warn edition-users", "info edition-licence-kept"],
            "the note of 11.0 lies behind, the login goes all the same",
        ),
        (
            "9.5.14",
            Team,
            "9.11",
            json!({"DataRetentionSettings": {"EnableMessageDeletion": true}}),
            &[],
            &["action edition-features", "info edition-licence-kept"],
            "it stops, and the server runs",
        ),
        (
            "9.5.14",
            Team,
            "9.11",
            json!({"ElasticsearchSettings": {"EnableSearching": true}, "SqlSettings": {"DisableDatabaseSearch": true}}),
            &[],
            &["action edition-search", "info edition-licence-kept"],
            "no search of either kind is left",
        ),
    ];
    for (from, becomes, to, config, blocked, told, because) in cases {
        let installed = if becomes == Team { Enterprise } else { Team };
        let mut site = start(from, installed);
        (site.config, site.licence) = (Some(config), Some(String::new()));
        let plan = planned(&site, &Wish { edition: Some(becomes), ..wish(to, Esr) });
        let title = format!("{from} {installed} to {to} {becomes}: {because}");
        let unchanged = planned(&start(from, becomes), &wish(to, Esr));
        assert_eq!(stops(&plan), stops(&unchanged), "{title}: over the stops of the edition that runs");
        assert_eq!(blockers(&plan), blocked, "{title}");
        let first = plan.path.next.clone().unwrap();
        let notes: Vec<String> = first
            .notes
            .iter()
            .filter(|note| note.id.starts_with("edition-"))
            .map(|note| format!("{} {}", note.severity, note.id))
            .collect();
        assert_eq!(notes, told, "{title}");
        assert_eq!((first.why[0].rule.as_str(), plan.path.current_edition), ("edition", Some(installed)), "{title}");
        for hop in &plan.path.hops {
            assert_eq!(hop.edition, becomes, "{title}");
            assert_eq!(hop.url.contains("-team-"), becomes == Team, "{title}: {}", hop.url);
        }
    }
}

#[test]
fn the_edition_alone_is_a_hop_to_the_same_release() {
    let change = |from: &str, becomes, to: &str| {
        let installed = if becomes == Edition::Team { Edition::Enterprise } else { Edition::Team };
        planned(&start(from, installed), &Wish { edition: Some(becomes), ..wish(to, Esr) })
    };
    for (from, becomes, to) in [
        ("10.6.1", Edition::Enterprise, "10.6.1"),
        ("10.6.1", Edition::Team, "10.6.1"),
        // Newer than what `latest-esr` means: the release stays, the edition changes.
        ("11.10.1", Edition::Enterprise, "latest-esr"),
    ] {
        let plan = change(from, becomes, to);
        let hop = plan.path.next.clone().unwrap();
        assert_eq!((hop.from.to_string(), hop.to.to_string(), hop.edition), (from.into(), from.into(), becomes));
        assert_eq!((plan.path.hops.len(), plan.path.target.to_string()), (1, from.to_owned()));
        assert!(!hop.sha256.is_empty());
    }
    // Being there already is nothing to do, whether the edition is named or not.
    let there = planned(&start("10.6.1", Edition::Team), &Wish { edition: Some(Edition::Team), ..wish("10.6.1", Esr) });
    assert!(there.path.hops.is_empty() && there.path.current_edition.is_none());
}

#[test]
fn what_a_change_of_edition_would_block_has_to_be_looked_at_on_paper() {
    let plan =
        planned(&start("9.5.14", Edition::Enterprise), &Wish { edition: Some(Edition::Team), ..wish("9.11", Esr) });
    assert_eq!(blockers(&plan), [""; 0]);
    let login = plan.path.next.unwrap().notes.into_iter().find(|note| note.id == "edition-login").unwrap();
    assert_eq!(login.severity, "action");
    // An old licence is no obstacle to a way that leaves it behind, and is one for the edition that needs it.
    let mut old = start("10.5.14", Edition::Enterprise);
    old.licence = Some("E20".into());
    assert_eq!(blockers(&planned(&old, &wish("10.11", Esr))), ["10.8-111"]);
    assert_eq!(blockers(&planned(&old, &Wish { edition: Some(Edition::Team), ..wish("10.11", Esr) })), [""; 0]);
}
