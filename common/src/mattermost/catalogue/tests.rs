//! What the committed data promises, and how queries and overlays behave.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn line(text: &str) -> Line {
    text.parse().unwrap()
}

fn embedded() -> Catalogue {
    Catalogue::embedded().unwrap()
}

fn overlay(value: &serde_json::Value) -> Result<Catalogue> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("overlay.json");
    #[expect(clippy::disallowed_methods, reason = "a file of the test's own, whose durability does not matter")]
    std::fs::write(&path, value.to_string()).unwrap();
    Catalogue::load(Some(&path), None)
}

/// The keys of a committed file in the order in which they stand there.
fn keys(text: &str, key: &str) -> Vec<String> {
    let records: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    records.iter().map(|record| record[key].as_str().unwrap().to_owned()).collect()
}

#[test]
fn committed_releases_are_sorted_unique_and_well_formed() {
    let versions = keys(include_str!("../../../catalogue/releases.json"), "version");
    let versions: Vec<Version> = versions.iter().map(|text| version(text)).collect();
    assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "not in ascending order, or a version stands twice");
    assert_eq!(versions.len(), embedded().releases().count());
    for release in embedded().releases() {
        assert_eq!(release.fault(), None);
    }
}

#[test]
fn committed_ids_are_unique() {
    for (name, text) in [
        ("rules", include_str!("../../../catalogue/rules.json")),
        ("notes", include_str!("../../../catalogue/notes.json")),
        ("rates", include_str!("../../../catalogue/rates.json")),
    ] {
        let ids = keys(text, "id");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id stands twice in {name}.json");
    }
}

#[test]
fn no_two_releases_share_a_digest_that_is_trusted() {
    let catalogue = embedded();
    let mut seen = std::collections::BTreeMap::new();
    for release in catalogue.releases() {
        for edition in [Edition::Team, Edition::Enterprise] {
            let Some(artefact) = release.artefact(edition, Arch::Amd64).filter(Artefact::is_proven) else { continue };
            for digest in artefact.sha256 {
                let name = format!("{edition} {}", release.version);
                if let Some(other) = seen.insert(digest.clone(), name.clone()) {
                    panic!("{digest} stands for {other} and for {name}");
                }
            }
        }
    }
    assert!(seen.len() > 1200, "the catalogue has lost digests: {}", seen.len());
}

#[test]
fn every_rule_can_matter_to_some_pair_of_releases() {
    let catalogue = embedded();
    let mysql = Facts { driver: Some(Driver::Mysql), ..Facts::default() };
    let old = "2.28".parse().unwrap();
    let config = json!({"PluginSettings": {"Plugins": {"jira": {"secret": "x"}}}});
    let facts = Facts { glibc: Some(&old), config: Some(&config), ..mysql };
    let versions: Vec<&Version> = catalogue.releases().map(|release| &release.version).collect();
    for rule in catalogue.rules() {
        let matters = versions.iter().any(|from| versions.iter().any(|to| rule.objects(from, to, &facts)));
        assert!(matters, "rule {} never applies", rule.id);
    }
}

#[test]
fn finds_tarballs_by_version_edition_and_processor() {
    let catalogue = embedded();
    let team = catalogue.artefact(&version("5.37.10"), Edition::Team, Arch::Amd64).unwrap();
    assert_eq!(team.url, "https://releases.mattermost.com/5.37.10/mattermost-team-5.37.10-linux-amd64.tar.gz");
    assert!(team.sha256[0].starts_with("3d8efd53"), "{team:?}");
    assert!(team.is_proven());
    let enterprise = catalogue.artefact(&version("5.37.10"), Edition::Enterprise, Arch::Amd64).unwrap();
    assert_ne!(enterprise.sha256, team.sha256);
    assert!(!enterprise.url.contains("team"));
    let early = catalogue.artefact(&version("3.0.3"), Edition::Enterprise, Arch::Amd64).unwrap();
    assert!(early.url.contains("mattermost-enterprise-3.0.3"), "{early:?}");
    assert_eq!(catalogue.artefact(&version("0.6.0"), Edition::Enterprise, Arch::Amd64), None);
    let arm = catalogue.artefact(&version("10.6.1"), Edition::Team, Arch::Arm64).unwrap();
    assert_eq!((arm.trust, arm.sha256.len()), (Trust::ThirdParty, 1));
    assert!(arm.is_proven() && arm.source == Some("YunoHost-Apps/mattermost_ynh"), "{arm:?}");
}

#[test]
fn an_older_published_digest_is_accepted_but_not_that_of_another_release() {
    let catalogue = embedded();
    let twice = catalogue.artefact(&version("9.5.5"), Edition::Team, Arch::Amd64).unwrap();
    assert_eq!(twice.sha256.len(), 2, "both values of 9.5.5 were published for it");
    let slip = catalogue.artefact(&version("10.5.1"), Edition::Team, Arch::Amd64).unwrap();
    assert_eq!(slip.sha256.len(), 1, "the older value of 10.5.1 is that of 10.4.2");
    let suspect = catalogue.artefact(&version("3.9.2"), Edition::Team, Arch::Amd64).unwrap();
    assert!(!suspect.is_proven(), "3.9.2 is listed with the digest of 3.9.1");
}

#[test]
fn requirements_hold_until_the_next_record() {
    let catalogue = embedded();
    let postgres = |text: &str| catalogue.requirement(&version(text)).unwrap().postgres;
    assert_eq!(postgres("5.31.9"), None);
    assert_eq!(postgres("5.32.0"), Some(10));
    assert_eq!(postgres("7.10.5"), Some(10));
    assert_eq!(postgres("8.0.0"), Some(11));
    assert_eq!(postgres("10.5.14"), Some(11));
    assert_eq!(postgres("10.6.1"), Some(13));
    assert_eq!(postgres("11.10.1"), Some(14));
    assert_eq!(postgres("12.0.0"), Some(15));
    assert!(catalogue.requirement(&version("10.11.23")).unwrap().mysql.is_some());
    assert!(catalogue.requirement(&version("10.12.0")).unwrap().mysql.is_none());
}

#[test]
fn knows_extended_support_lines_and_migrations() {
    let catalogue = embedded();
    assert!(catalogue.is_esr(line("5.37")) && catalogue.is_esr(line("10.11")));
    assert!(!catalogue.is_esr(line("10.6")));
    assert_eq!(catalogue.line(line("5.37")).unwrap().end_of_support.as_deref(), Some("2022-04-15"));
    assert_eq!(catalogue.migrations().of(&version("7.8.4")).unwrap().count, Some(101));
    assert_eq!(catalogue.migrations().of(&version("7.8.5")).unwrap().count, Some(103));
    assert_eq!(catalogue.migrations().of(&version("6.3.10")).map(|count| count.count), None);
    assert_eq!(catalogue.migrations().name(110), None);
    assert_eq!(catalogue.migrations().name(111).unwrap().name, "update_vacuuming");
}

#[test]
fn a_note_carried_back_is_told_once() {
    let catalogue = embedded();
    let ids = |from: &str, to: &str| -> Vec<String> {
        catalogue.notes_between(&version(from), &version(to)).map(|note| note.id.clone()).collect()
    };
    let within = ids("7.8.0", "7.8.15");
    assert!(within.iter().any(|id| id == "7.8-185"), "7.8.5 deletes thread memberships: {within:?}");
    let beyond = ids("7.8.0", "8.1.13");
    assert!(!beyond.iter().any(|id| id == "7.8-185"), "8.0 says the same: {beyond:?}");
    assert!(beyond.iter().any(|id| id == "8.0-173"));
}

#[test]
fn a_note_about_a_key_that_is_not_set_reaches_who_has_not_set_it() {
    let catalogue = Catalogue::load(None, None).unwrap();
    let config = json!({"ServiceSettings": {"AllowCorsFrom": "", "EnableReliableWebSockets": false}});
    let facts = Facts { config: Some(&config), ..Facts::default() };
    let (from, to) = (version("5.29.0"), version("8.1.13"));
    for id in ["8.0-170", "6.0-236", "5.37-242"] {
        let note = catalogue.notes_between(&from, &to).find(|note| note.id == id).unwrap();
        let expected = if id == "5.37-242" { Verdict::No } else { Verdict::Yes };
        assert_eq!(note.when.holds(&facts), expected, "{id}: {}", note.title);
    }
}

#[test]
fn a_note_reaches_whom_it_is_about_and_nobody_else() {
    let catalogue = embedded();
    let (from, to) = (version("4.10.0"), version("7.8.0"));
    let told = |id: &str, config: serde_json::Value| {
        let facts = Facts { edition: Some(Edition::Enterprise), config: Some(&config), ..Facts::default() };
        let note = catalogue.notes_between(&from, &to).find(|note| note.id == id).unwrap();
        note.when.holds(&facts)
    };
    // What makes these matter is a switch that is off.
    let cluster =
        |gossip: serde_json::Value| json!({"ClusterSettings": {"Enable": true, "UseExperimentalGossip": gossip}});
    assert_eq!(told("5.36-245", cluster(json!(false))), Verdict::Yes);
    assert_eq!(told("5.36-245", json!({"ClusterSettings": {"Enable": true}})), Verdict::Yes);
    assert_eq!(told("5.36-245", cluster(json!(true))), Verdict::No);
    assert_eq!(told("5.36-245", json!({"ClusterSettings": {"Enable": false}})), Verdict::No, "it is alone");
    let materialized = |on: bool| json!({"SqlSettings": {"EnablePublicChannelsMaterialization": on}});
    assert_eq!(told("5.6-304", materialized(false)), Verdict::Yes);
    assert_eq!(told("5.6-304", materialized(true)), Verdict::No);
    let jobs = |run: bool| json!({"JobSettings": {"RunJobs": run}});
    assert_eq!(told("5.0-318", jobs(false)), Verdict::Yes);
    assert_eq!(told("5.0-318", jobs(true)), Verdict::No);
    // These come with a key that no older server has in its configuration.
    for id in ["5.28-262", "5.29-259", "7.7-190", "7.8-187"] {
        assert_eq!(told(id, json!({})), Verdict::Yes, "{id}");
    }
}

#[test]
fn conditions_know_what_they_do_not_know() {
    let condition: Condition = serde_json::from_value(json!({
        "edition": "team", "config": {"GitLabSettings.Enable": true}
    }))
    .unwrap();
    let on = json!({"GitLabSettings": {"Enable": true}});
    let off = json!({"GitLabSettings": {"Enable": false}});
    let facts = |edition, config| Facts { edition: Some(edition), config, ..Facts::default() };
    assert_eq!(condition.holds(&facts(Edition::Team, Some(&on))), Verdict::Yes);
    assert_eq!(condition.holds(&facts(Edition::Team, Some(&off))), Verdict::No);
    assert_eq!(condition.holds(&facts(Edition::Team, None)), Verdict::Unknown);
    assert_eq!(condition.holds(&facts(Edition::Enterprise, None)), Verdict::No, "one part that does not hold decides");
}

#[test]
fn keys_in_use_are_those_that_are_set_to_something() {
    let condition: Condition = serde_json::from_value(json!({"config_in_use": ["A.Key", "B"]})).unwrap();
    let holds = |config: serde_json::Value| condition.holds(&Facts { config: Some(&config), ..Facts::default() });
    for unused in [json!({}), json!({"A": {"Key": ""}}), json!({"A": {"Key": 0}, "B": {"Enable": false, "List": []}})] {
        assert_eq!(holds(unused), Verdict::No);
    }
    for used in [json!({"A": {"Key": "x"}}), json!({"a": {"KEY": "x"}}), json!({"B": {"Enable": true}})] {
        assert_eq!(holds(used), Verdict::Yes);
    }
}

#[test]
fn an_overlay_adds_and_replaces() {
    let digest = "ab".repeat(32);
    let catalogue = overlay(&json!({
        "releases": [
            {"version": "11.10.2", "team": {"sha256": [digest]}},
            {"version": "13.0.0", "released": "2027-10-16", "team": {"sha256": [digest], "url": "https://example.org/m.tar.gz"}},
        ],
        "lines": [{"line": "11.10", "esr": true}],
        "requirements": [{"from": "13.0.0", "postgres": 16, "source": "a test"}],
        "rates": [{"id": "posts-jsonb", "version": "6.0.0", "table": "posts", "seconds_per_million": 1.0, "title": "t", "source": "s"}],
    }))
    .unwrap();
    let known = catalogue.artefact(&version("11.10.2"), Edition::Team, Arch::Amd64).unwrap();
    assert!(known.is_proven());
    assert!(
        catalogue.artefact(&version("11.10.2"), Edition::Enterprise, Arch::Amd64).is_none(),
        "a record is replaced whole"
    );
    let new = catalogue.artefact(&version("13.0.0"), Edition::Team, Arch::Amd64).unwrap();
    assert_eq!(new.url, "https://example.org/m.tar.gz");
    assert!(catalogue.is_esr(line("11.10")));
    assert_eq!(catalogue.requirement(&version("13.0.0")).unwrap().postgres, Some(16));
    let (from, to) = (version("5.39.0"), version("6.0.0"));
    let rates: Vec<f64> = catalogue.rates_between(&from, &to).map(|rate| rate.seconds_per_million).collect();
    assert_eq!(rates, [1.0]);
}

#[test]
fn a_broken_overlay_is_refused_with_its_path_and_its_fault() {
    let broken = [
        (json!({"releases": [{"version": "11.10", "team": {"sha256": []}}]}), "version"),
        (json!({"releases": [{"version": "11.10.2", "team": {"sha256": ["abc"]}}]}), "64 lower-case"),
        (json!({"releases": [{"version": "11.10.2", "team": {}}]}), "status"),
        (json!({"releases": [{"version": "11.10.2"}]}), "neither"),
        (json!({"releases": [{"version": "11.10.2", "tema": {}}]}), "unknown field"),
        (
            json!({"rules": [{"id": "x", "kind": "jump", "level": "block", "to": ["newer"], "title": "", "text": "", "action": "", "source": ""}]}),
            "unexpected character",
        ),
        (json!([]), "catalogue"),
    ];
    for (value, expected) in broken {
        let error = overlay(&value).unwrap_err();
        assert_eq!(error.code(), 5, "{value}");
        let line = error.one_line();
        assert!(line.contains("overlay.json") && line.contains(expected), "{value}: {line}");
        assert!(error.next_step().is_some(), "{value}");
    }
    let missing = Catalogue::load(Some(Path::new("/nonexistent/overlay.json")), None).unwrap_err();
    assert_eq!(missing.code(), 5);
    assert!(missing.one_line().contains("/nonexistent/overlay.json"));
}

#[test]
fn an_unknown_release_can_be_taken_to_be_like_a_line() {
    let mut catalogue = embedded();
    catalogue.assume(&version("12.4.0"), line("11.7")).unwrap();
    let artefact = catalogue.artefact(&version("12.4.0"), Edition::Enterprise, Arch::Amd64).unwrap();
    assert_eq!(artefact.trust, Trust::Unknown);
    assert_eq!(catalogue.requirement(&version("12.4.0")).unwrap().postgres, Some(14));
    assert_eq!(catalogue.assume(&version("12.4.0"), line("99.1")).unwrap_err().code(), 5);
}

#[test]
fn a_note_is_in_the_catalogue_or_left_out_with_a_reason() {
    let left_out: BTreeMap<String, String> =
        serde_json::from_str(include_str!("../../../catalogue/left-out.json")).unwrap();
    assert!(left_out.values().all(|reason| reason.len() > 10));
    let notes = embedded().notes;
    assert_eq!(notes.iter().find(|note| left_out.contains_key(&note.id)).map(|note| &note.id), None);
}

#[test]
fn a_refreshed_record_hides_no_digest_that_is_built_in() {
    let parse = |value: serde_json::Value| Overlay::parse("refreshed", &value.to_string()).unwrap();
    let refreshed = json!({"as_of": "2999-01-01", "unread_notes": {"count": 2, "link": "x"}, "releases": [
        {"version": "10.6.1", "released": "2025-03-20", "team": {"status": "signed"}, "enterprise": {"sha256": ["a".repeat(64)]}},
        {"version": "12.1.0", "team": {"sha256": ["b".repeat(64)]}},
    ]});
    let mut catalogue = embedded();
    catalogue.merge_refreshed(parse(refreshed.clone()));
    let of = |catalogue: &Catalogue, text: &str, edition, arch| {
        let artefact = catalogue.artefact(&version(text), edition, arch).unwrap();
        (artefact.trust, artefact.sha256.first().cloned().unwrap_or_default())
    };
    for arch in [Arch::Amd64, Arch::Arm64] {
        assert_eq!(of(&catalogue, "10.6.1", Edition::Team, arch), of(&embedded(), "10.6.1", Edition::Team, arch));
    }
    assert_eq!(of(&catalogue, "10.6.1", Edition::Enterprise, Arch::Amd64), (Trust::Published, "a".repeat(64)));
    assert_eq!(of(&catalogue, "12.1.0", Edition::Team, Arch::Amd64), (Trust::Published, "b".repeat(64)));
    assert_eq!(of(&catalogue, "12.1.0", Edition::Enterprise, Arch::Amd64).0, Trust::Signed);
    assert_eq!(catalogue.unread_notes().map(|unread| unread.count), Some(2));

    // Tools that are newer than what was refreshed know the notes that were counted then.
    let mut older = refreshed;
    older["as_of"] = json!("2001-01-01");
    let mut catalogue = embedded();
    catalogue.merge_refreshed(parse(older));
    assert_eq!((catalogue.unread_notes(), catalogue.as_of()), (None, embedded().as_of()));
}
