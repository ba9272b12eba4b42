//! Paths for start and target pairs of all eras, each with the argument for it. Pure: nothing is run.

mod cases;
mod edition;
mod postgres;

use std::sync::LazyLock;

use mm_common::contract::sections::Hop;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Catalogue, Driver};
use mm_path::plan::{Plan, Start, plan};
use mm_path::wish::Policy::{self, Direct, Esr, Minor};
use mm_path::wish::Wish;
use serde_json::json;

use cases::CASES;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::embedded().unwrap());

fn wish(to: &str, policy: Policy) -> Wish {
    Wish { to: to.parse().unwrap(), policy, via: Vec::new(), avoid: Vec::new(), postgres: None, edition: None }
}

fn start(from: &str, edition: Edition) -> Start {
    let mut start = Start::on_paper(from.parse().unwrap(), edition);
    start.driver = Some(Driver::Postgres);
    start
}

fn planned(start: &Start, wish: &Wish) -> Plan {
    plan(&CATALOGUE, start, wish).unwrap()
}

fn stops(plan: &Plan) -> String {
    plan.path.hops.iter().map(|hop| hop.to.to_string()).collect::<Vec<_>>().join(" ")
}

fn hop<'a>(plan: &'a Plan, to: &str) -> &'a Hop {
    plan.path
        .hops
        .iter()
        .find(|hop| hop.to.to_string() == to)
        .unwrap_or_else(|| panic!("no hop to {to}: {}", stops(plan)))
}

fn blockers(plan: &Plan) -> Vec<&str> {
    plan.path.blockers.iter().map(|blocker| blocker.id.as_str()).collect()
}

#[test]
fn paths_of_all_eras_in_both_editions() {
    assert!(CASES.len() >= 40);
    for case in CASES {
        for edition in [Edition::Team, Edition::Enterprise] {
            let plan = planned(&start(case.from, edition), &wish(case.to, case.policy));
            let title = format!("{} to {} ({edition}, {}): {}", case.from, case.to, case.policy.name(), case.because);
            assert_eq!(stops(&plan), case.stops, "{title}");
            assert_eq!(blockers(&plan), [""; 0], "{title}");
        }
    }
}

#[test]
fn the_same_paths_hold_behind_the_move_out_of_mysql() {
    for case in CASES {
        let mut start = start(case.from, Edition::Enterprise);
        start.driver = Some(Driver::Mysql);
        start.mysql = Some("8.0.36".parse().unwrap());
        let plan = planned(&start, &wish(case.to, case.policy));
        let all = format!("{} {}", case.from, case.stops);
        assert_eq!(stops(&plan), all.trim_end(), "{} to {}", case.from, case.to);
        let first = &plan.path.hops[0];
        assert!(first.is_of_database_alone() && first.needs.is_move, "{} to {}", case.from, case.to);
        assert_eq!(first.to, start.version);
        assert_eq!(blockers(&plan), [""; 0], "{} to {}", case.from, case.to);
    }
}

#[test]
fn the_indispensable_stop_says_why_and_who_says_so() {
    // With every line on the way it is 5.35 already that sees to the columns.
    for (policy, stop) in [(Esr, "5.37.10"), (Direct, "5.37.10"), (Minor, "5.35.5")] {
        let plan = planned(&start("5.29.0", Edition::Team), &wish("10.6.1", policy));
        let reasons = &hop(&plan, stop).why;
        let columns =
            reasons.iter().find(|why| why.rule == "eight-columns").unwrap_or_else(|| panic!("{policy:?}: {reasons:?}"));
        assert!(columns.text.contains("eight columns"), "{columns:?}");
        assert!(columns.source.contains("#30543"), "{columns:?}");
        assert!(hop(&plan, "7.1.9").why.iter().any(|why| why.rule == "through-7.1"));
        assert!(plan.path.hops.iter().all(|hop| !hop.why.is_empty()), "a hop without a reason");
        assert!(plan.rejected.iter().any(|jump| jump.to.to_string() == "10.6.1" && jump.rule == "eight-columns"));
    }
}

#[test]
fn an_older_dot_release_says_what_is_wrong_with_the_newest() {
    let plan = planned(&start("10.5.14", Edition::Team), &wish("11.2", Esr));
    let why = &hop(&plan, "10.11.15").why;
    assert!(why.iter().any(|why| why.rule == "collision-142" && why.text.contains("10.11.23")), "{why:?}");
}

#[test]
fn a_forbidden_pair_is_blocked_with_its_rule_and_how_far_one_gets() {
    for to in ["11.2", "10.12", "11.0.7", "11.6.4"] {
        let plan = planned(&start("10.11.23", Edition::Team), &wish(to, Esr));
        assert_eq!(blockers(&plan), ["no-way"], "{to}");
        assert!(plan.path.blockers[0].title.contains("collision-142"), "{:?}", plan.path.blockers);
        assert!(plan.path.notes.iter().any(|note| note.id == "reachable"));
    }
}

#[test]
fn before_3_0_a_person_has_to_do_it() {
    assert_eq!(blockers(&planned(&start("2.0.0", Edition::Team), &wish("5.9", Esr))), ["before-3.0"]);
}

#[test]
fn targets_that_cannot_be_are_refused_with_a_way_out() {
    let cases = [
        ("10.6.1", "5.29.0", "older than the installed", "restore"),
        ("10.6.1", "10.5", "older than the installed", "restore"),
        ("5.29.0", "7.6", "knows no team release of 7.6", "--catalogue"),
        ("5.29.0", "7.3.2", "knows no release 7.3.2", "7.3.1"),
        ("5.29.0", "99.0.0", "knows no release 99.0.0", "--assume-like"),
    ];
    for (from, to, message, hint) in cases {
        let error = plan(&CATALOGUE, &start(from, Edition::Team), &wish(to, Esr)).unwrap_err();
        assert_eq!(error.code(), 5, "{from} to {to}");
        assert!(error.message().contains(message), "{from} to {to}: {}", error.message());
        assert!(error.next_step().unwrap_or_default().contains(hint), "{from} to {to}: {:?}", error.next_step());
    }
}

#[test]
fn via_and_avoid_are_kept() {
    let base = wish("10.6.1", Esr);
    let via = |spot: &str| Wish { via: vec![spot.parse().unwrap()], ..base.clone() };
    let avoid = |spot: &str| Wish { avoid: vec![spot.parse().unwrap()], ..base.clone() };
    let start = start("9.5.3", Edition::Team);
    assert_eq!(stops(&planned(&start, &base)), "9.11.18 10.5.14 10.6.1");
    assert_eq!(stops(&planned(&start, &via("10.4.3"))), "9.11.18 10.4.3 10.5.14 10.6.1");
    assert_eq!(stops(&planned(&start, &via("10.4"))), "9.11.18 10.4.5 10.5.14 10.6.1");
    // A stop behind the server is done: a run that goes on is given the flags it began with.
    for behind in ["9.5.3", "9.5.1", "9.5", "7.3.2"] {
        let plan = planned(&start, &via(behind));
        assert_eq!(stops(&plan), "9.11.18 10.5.14 10.6.1", "{behind}");
        let said = format!("--via {behind} lies behind 9.5.3 and counts as done");
        assert!(plan.path.notes.iter().any(|note| note.title == said), "{behind}: {:?}", plan.path.notes);
    }
    assert_eq!(stops(&planned(&start, &avoid("10.5.14"))), "9.11.18 10.5.13 10.6.1");
    assert_eq!(stops(&planned(&start, &avoid("10.5"))), "9.11.18 10.6.1");
    let catalogue = &*CATALOGUE;
    for impossible in
        [avoid("10.6.1"), via("11.0"), via("10.4.99"), Wish { avoid: vec!["10.4".parse().unwrap()], ..via("10.4") }]
    {
        let error = plan(catalogue, &start, &impossible).unwrap_err();
        assert_eq!(error.code(), 5, "{impossible:?}");
    }
}

#[test]
fn avoiding_the_only_way_blocks_and_says_what_to_lift() {
    let wish = Wish { avoid: vec!["7.1".parse().unwrap()], ..wish("10.6.1", Esr) };
    let plan = planned(&start("5.29.0", Edition::Team), &wish);
    assert_eq!(blockers(&plan), ["no-way"]);
    assert!(plan.path.blockers[0].action.contains("--avoid 7.1"), "{:?}", plan.path.blockers);
}

#[test]
fn an_old_c_library_stops_at_11_11_and_shuns_what_was_built_too_new() {
    let mut old = start("10.5.14", Edition::Team);
    old.glibc = Some("2.31".parse().unwrap());
    assert_eq!(blockers(&planned(&old, &wish("12.0", Esr))), ["glibc"]);
    let minor = |start: &Start| {
        stops(&planned(
            start,
            &Wish { avoid: vec!["10.10.2".parse().unwrap(), "10.10.3".parse().unwrap()], ..wish("10.11.1", Minor) },
        ))
    };
    assert!(!minor(&old).contains("10.10"), "10.10.0 and 10.10.1 do not run there: {}", minor(&old));
    old.glibc = Some("2.36".parse().unwrap());
    assert!(minor(&old).contains("10.10.1"), "{}", minor(&old));
    assert_eq!(blockers(&planned(&old, &wish("12.0", Esr))), [""; 0]);
}

#[test]
fn who_would_lose_playbooks_for_want_of_a_licence_is_told_before_the_hop() {
    let told = |from: &str, to: &str, edition: Edition, licence: &str, enabled: bool| {
        let mut start = start(from, edition);
        let states = serde_json::json!({"Enable": true, "PluginStates": {"playbooks": {"Enable": enabled}}});
        start.config = Some(serde_json::json!({ "PluginSettings": states }));
        start.licence = Some(licence.into());
        let hops = planned(&start, &wish(to, Esr)).path.hops;
        let notes = hops.iter().flat_map(|hop| &hop.notes);
        notes.filter(|note| note.id.ends_with("-playbooks-licence")).map(|note| note.title.clone()).collect::<Vec<_>>()
    };
    let found = told("9.11.0", "9.11", Edition::Enterprise, "", true);
    assert!(found.len() == 1 && found[0].starts_with("9.11.12: Playbooks 1 refuses to start"), "{found:?}");
    assert_eq!(told("10.0.0", "10.5", Edition::Enterprise, "", true).len(), 1);
    assert_eq!(told("9.5.14", "10.5.14", Edition::Enterprise, "E20", true), [""; 0]);
    assert_eq!(told("9.5.14", "10.5.14", Edition::Team, "", true), [""; 0]);
    assert_eq!(told("9.5.14", "10.5.14", Edition::Enterprise, "", false), [""; 0]);
}

#[test]
fn mysql_of_any_version_is_left_before_a_release_asks_for_another() {
    let mut old = start("8.1.13", Edition::Team);
    old.driver = Some(Driver::Mysql);
    for version in [Some("5.7.44".parse().unwrap()), None] {
        old.mysql = version;
        // 9.5 asks for 8.0.
        let plan = planned(&old, &wish("9.5", Esr));
        assert_eq!(blockers(&plan), [""; 0]);
        let note = plan.path.hops[0].notes.iter().find(|note| note.id == "mysql").unwrap();
        assert!(note.title.contains("to PostgreSQL 11 or later"), "{note:?}");
    }
}

#[test]
fn configuration_that_stops_the_server_blocks_when_it_is_known_and_warns_when_not() {
    let mut site = start("10.11.15", Edition::Team);
    let target = wish("11.7", Esr);
    let of = |plan: &Plan, id: &str| {
        hop(plan, "11.7.15").notes.iter().find(|note| note.id == id).map(|note| note.severity.clone())
    };
    assert_eq!(of(&planned(&site, &target), "11.0-078").as_deref(), Some("action"), "on paper somebody has to look");
    site.config =
        Some(json!({"GitLabSettings": {"Enable": true}, "TeamSettings": {"ExperimentalViewArchivedChannels": false}}));
    let blocked = planned(&site, &target);
    assert_eq!(blockers(&blocked), ["11.0-078", "11.0-079"]);
    site.config = Some(json!({"GitLabSettings": {"Enable": false}}));
    let free = planned(&site, &target);
    assert_eq!((blockers(&free), of(&free, "11.0-078")), (Vec::new(), None));
    site.edition = Edition::Enterprise;
    site.config = Some(json!({"GitLabSettings": {"Enable": true}}));
    assert_eq!(blockers(&planned(&site, &target)), [""; 0], "Enterprise keeps GitLab");
}

#[test]
fn a_release_that_loses_the_settings_of_a_plugin_blocks_where_it_has_some() {
    let mut site = start("9.11.18", Edition::Team);
    let warned = |plan: &Plan| hop(plan, "10.5.1").notes.iter().any(|note| note.id == "avoid-10.5.0");
    for (plugins, expected) in
        [(json!({"jira": {}}), [""; 0].as_slice()), (json!({"jira": {"secret": "x"}}), &["jira-10.5.0"])]
    {
        site.config = Some(json!({"PluginSettings": {"Plugins": plugins}}));
        let asked_for = planned(&site, &wish("10.5.1", Esr));
        assert_eq!((blockers(&asked_for), warned(&asked_for)), (expected.to_vec(), true));
        assert_eq!(blockers(&planned(&site, &wish("10.5", Esr))), [""; 0], "later ones are sound");
    }
}

#[test]
fn estimates_follow_the_rows_and_a_rehearsal_beats_them() {
    let mut site = start("5.37.10", Edition::Team);
    assert!(hop(&planned(&site, &wish("6.3", Esr)), "6.3.10").estimate.is_empty(), "nothing known, nothing guessed");
    site.rows.insert("posts".into(), 10_000_000);
    let guess = |site: &Start| hop(&planned(site, &wish("6.3", Esr)), "6.3.10").estimate["seconds"].as_f64().unwrap();
    assert!((guess(&site) - 660.0).abs() < 0.1, "11 minutes for 10 million posts: {}", guess(&site));
    site.measured.insert(("5.37.10".parse().unwrap(), "6.3.10".parse().unwrap()), 42.0);
    assert!((guess(&site) - 42.0).abs() < 0.1);
}

#[test]
fn what_cannot_be_proven_says_so() {
    let note = |from: &str, to: &str, id: &str| {
        let plan = planned(&start(from, Edition::Team), &wish(to, Esr));
        let target = hop(&plan, to);
        assert!(target.sha256.is_empty());
        target.notes.iter().find(|note| note.id == id).map(|note| note.severity.clone())
    };
    // Never in the archive; announced, and no digest of it is known yet.
    assert_eq!(note("9.11.18", "10.5.0", "unproven").as_deref(), Some("action"));
    assert_eq!(note("11.7.10", "12.0.2", "signature-only").as_deref(), Some("info"));
}

#[test]
fn an_old_licence_ends_with_10_8() {
    let mut site = start("10.5.14", Edition::Enterprise);
    let target = wish("10.11", Esr);
    for (licence, expected) in [("E20", vec!["10.8-111"]), ("professional", Vec::new()), ("", Vec::new())] {
        site.licence = Some(licence.to_owned());
        assert_eq!(blockers(&planned(&site, &target)), expected, "{licence}");
    }
}

#[test]
fn on_arm_the_way_is_the_same_and_every_tarball_has_to_be_proven_otherwise() {
    let mut arm = start("8.1.13", Edition::Team);
    arm.arch = Arch::Arm64;
    let plan = planned(&arm, &wish("latest-esr", Esr));
    assert_eq!(stops(&plan), "9.5.14 9.11.18 10.5.14 10.11.23 11.7.15");
    for hop in &plan.path.hops {
        assert!(hop.url.ends_with("linux-arm64.tar.gz"), "{}", hop.url);
        let id = if hop.sha256.is_empty() { "signature-only" } else { "third-party-digest" };
        assert!(hop.notes.iter().any(|note| note.id == id), "{hop:?}");
    }
}
