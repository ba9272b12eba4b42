//! Paths for start and target pairs of all eras, each with the argument for it. Pure: nothing is run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use mm_common::contract::sections::Hop;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Catalogue, Driver};
use mm_path::Server;
use mm_path::plan::{Plan, Start, plan};
use mm_path::wish::{Policy, Wish};
use serde_json::{Value, json};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::embedded().unwrap());

/// One row: from where to where, by which policy, over which stops, and why just these.
struct Case {
    from: &'static str,
    to: &'static str,
    policy: Policy,
    stops: &'static str,
    because: &'static str,
}

const fn case(
    from: &'static str,
    to: &'static str,
    policy: Policy,
    stops: &'static str,
    because: &'static str,
) -> Case {
    Case { from, to, policy, stops, because }
}

use Policy::{Direct, Esr, Minor};

/// Extended support lines: 4.10, 5.9, 5.19, 5.25, 5.31, 5.37, 6.3, 7.1, 7.8, 8.1, 9.5, 9.11, 10.5, 10.11, 11.7.
const CASES: &[Case] = &[
    // 3.x and 4.x: the binaries of 3.4 to 5.x apply the whole chain from 3.0, so only 6.0 and later need a stop.
    case("3.10.0", "5.9", Esr, "4.10.10 5.9.8", "every extended support line on the way, newest dot release of each"),
    case("3.10.3", "5.37.10", Direct, "5.37.10", "any 3.x to any 5.x is one jump"),
    case("3.10.0", "6.0", Direct, "5.37.10 6.0.4", "no jump from 3.x or 4.x over 5.x"),
    case(
        "3.10.0",
        "10.6.1",
        Esr,
        "4.10.10 5.9.8 5.19.3 5.25.7 5.31.9 5.37.10 6.3.10 7.1.9 7.8.15 8.1.13 9.5.14 9.11.18 10.5.14 10.6.1",
        "all lines, the longest way there is",
    ),
    case(
        "4.5.0",
        "5.39.3",
        Esr,
        "4.10.10 5.9.8 5.19.3 5.25.7 5.31.9 5.37.10 5.39.3",
        "a target that is no extended support release ends the chain",
    ),
    case("4.10.0", "6.3.10", Direct, "5.37.10 6.3.10", "4.x needs the stop before 6.0"),
    case("4.10.10", "5.37", Esr, "5.9.8 5.19.3 5.25.7 5.31.9 5.37.10", "X.Y is the newest dot release of the line"),
    // 5.x
    case("5.0.0", "5.37.10", Direct, "5.37.10", "within a major nothing is required"),
    case("5.9.0", "7.1.9", Direct, "5.37.10 7.1.9", "5.37.10 before any 7.x; 7.1 is the target itself"),
    case("5.9.8", "6.3", Esr, "5.19.3 5.25.7 5.31.9 5.37.10 6.3.10", "line by line"),
    case(
        "5.29.0",
        "10.6.1",
        Esr,
        "5.31.9 5.37.10 6.3.10 7.1.9 7.8.15 8.1.13 9.5.14 9.11.18 10.5.14 10.6.1",
        "the case of mattermost/mattermost#30543, done in stages",
    ),
    case(
        "5.29.0",
        "10.6.1",
        Direct,
        "5.37.10 7.1.9 10.6.1",
        "the eight columns and the 7.1 floor are all that is required",
    ),
    case(
        "5.29.0",
        "6.3.10",
        Direct,
        "5.37.10 6.3.10",
        "allowed in one jump, but the documents want 5.37.10 before 6.x",
    ),
    case("5.29.0", "6.4.0", Direct, "5.37.10 6.4.0", "from 6.4 on the eight columns come without defaults"),
    case("5.29.0", "5.29.2", Esr, "5.29.2", "within a line it is one hop"),
    case(
        "5.31.0",
        "9.11",
        Esr,
        "5.37.10 6.3.10 7.1.9 7.8.15 8.1.13 9.5.14 9.11.18",
        "an old dot release of an extended support line is no detour",
    ),
    case("5.31.9", "5.37", Esr, "5.37.10", "from one extended support line to the next"),
    case("5.34.5", "7.8.15", Direct, "5.37.10 7.1.9 7.8.15", "5.34 is the last line before the columns"),
    case("5.35.0", "6.7.2", Direct, "5.37.10 6.7.2", "5.35 has the columns, but the way to 7.x shall stay open"),
    case("5.37.0", "7.8", Direct, "5.37.10 7.1.9 7.8.15", "5.37.0 is not 5.37.10"),
    case("5.37.10", "7.1", Esr, "6.3.10 7.1.9", "6.3 lies between"),
    case("5.37.10", "7.8", Direct, "7.1.9 7.8.15", "from 5.37.10 only the 7.1 floor is left"),
    case("5.38.4", "7.1.9", Direct, "7.1.9", "5.38 is newer than 5.37.10 and has all of it"),
    case("5.39.3", "8.1", Direct, "7.1.9 8.1.13", "the 7.1 floor"),
    // 6.x
    case("6.0.4", "7.1.9", Esr, "6.3.10 7.1.9", "6.3 lies between"),
    case("6.3.10", "9.5", Esr, "7.1.9 7.8.15 8.1.13 9.5.14", "line by line"),
    case("6.3.10", "9.5", Direct, "7.1.9 9.5.14", "the 7.1 floor"),
    case("6.7.2", "7.1.9", Esr, "7.1.9", "nothing lies between"),
    // 7.x
    case("7.0.2", "7.3.1", Direct, "7.1.9 7.3.1", "7.0 is below the 7.1 floor"),
    case("7.1.5", "8.1", Esr, "7.8.15 8.1.13", "7.1.5 is on the 7.1 line, whatever its dot release"),
    case("7.1.9", "10.11", Direct, "10.11.23", "from 7.1 on nothing is required up to 10.11"),
    case("7.8.15", "9.5.14", Esr, "8.1.13 9.5.14", "line by line"),
    case("7.9.4", "7.10", Direct, "7.10.5", "the newest of 7.10 has the migration that 7.9.4 brought"),
    case("7.9.4", "7.10.0", Direct, "7.10.0", "asked for by name it is planned, although 7.10.0 lacks that migration"),
    case("7.9.4", "8.1", Minor, "7.10.5 8.0.4 8.1.13", "every feature line"),
    // 8.x and 9.x
    case(
        "8.1.0",
        "9.11",
        Minor,
        "9.0.5 9.1.5 9.2.6 9.3.3 9.4.5 9.5.6 9.6.3 9.7.6 9.8.3 9.9.3 9.10.3 9.11.18",
        "9.5.6 and not 9.5.14: from 9.5.7 on 9.6 and 9.7 lack a migration",
    ),
    case(
        "8.1.13",
        "10.5",
        Esr,
        "9.5.14 9.11.18 10.5.14",
        "9.5.14 to 9.11 skips 9.6 and 9.7, so the newest of 9.5 will do",
    ),
    case("9.1.0", "9.2", Direct, "9.2.6", "9.2.0 was never in the archive; the newest is taken"),
    case("9.5.3", "9.8", Minor, "9.6.3 9.7.6 9.8.3", "9.5.3 has nothing that 9.6 lacks"),
    case("9.5.7", "9.8", Minor, "9.8.3", "9.5.7 has a migration that 9.6 and 9.7 lack, so they are passed over"),
    case("9.5.7", "9.7.6", Direct, "9.7.6", "asked for by name, there is no other way"),
    case("9.5.7", "9.11", Esr, "9.11.18", "from one extended support line to the next"),
    case("9.11.18", "10.6.1", Esr, "10.5.14 10.6.1", "10.5 lies between"),
    // 10.x and 11.x: the clash of migrations 142 to 144.
    case("10.5.0", "10.5", Esr, "10.5.14", "within a line"),
    case("10.5.14", "11.7", Esr, "10.11.23 11.7.10", "11.7.10 knows what to do about 10.11.16 and newer"),
    case("10.5.14", "11.2", Esr, "10.11.15 11.2.4", "11.2 clashes with 10.11.16 and newer, so 10.11.15 is the stop"),
    case(
        "10.5.14",
        "10.12",
        Minor,
        "10.6.6 10.7.4 10.8.4 10.9.5 10.10.3 10.11.15 10.12.4",
        "10.12 is a dead end for 10.11.16 and newer too",
    ),
    case("10.11.15", "11.0.7", Esr, "11.0.7", "10.11.15 has not yet got the migrations that clash"),
    case("10.11.17", "11.6", Direct, "11.6.6", "11.6.5 and newer repair the numbers"),
    case("10.11.17", "11.7", Esr, "11.7.10", "11.7.3 and newer repair the numbers"),
    case(
        "10.11.17",
        "11.8.0",
        Direct,
        "11.7.10 11.8.0",
        "11.8.0 does not repair them, but after 11.7.10 there is nothing to repair",
    ),
    case("10.12.4", "11.7", Direct, "11.7.10", "10.12 never had the migrations that clash"),
    case("11.0.7", "latest-esr", Esr, "11.7.10", "the newest extended support release with a digest"),
    case("11.0.7", "latest", Esr, "11.7.10 11.10.1", "11.7 lies between; 11.10.2 and newer have no digest"),
    case("11.7.10", "11.10", Minor, "11.8.5 11.9.1 11.10.1", "every feature line"),
    case("11.7.0", "12.0", Esr, "12.0.0", "no digest of 12.0.0 is known, but it was asked for by name"),
    case("10.6.1", "10.6.1", Esr, "", "there is nothing to do"),
    case(
        "11.10.1",
        "latest-esr",
        Esr,
        "",
        "newer than the newest extended support release: nothing to do, and no way back",
    ),
];

fn wish(to: &str, policy: Policy) -> Wish {
    Wish { to: to.parse().unwrap(), policy, via: Vec::new(), avoid: Vec::new(), postgres: None, edition: None }
}

fn start(from: &str, edition: Edition) -> Start {
    let mut start = Start::on_paper(from.parse().unwrap(), edition);
    start.driver = Some(Driver::Postgres);
    start
}

fn with_postgres(from: &str, major: u32) -> Start {
    let mut start = start(from, Edition::Team);
    start.postgres = Some(Server { major, available: None });
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
fn the_same_paths_hold_on_mysql_until_it_ends() {
    for case in CASES {
        let mut start = start(case.from, Edition::Enterprise);
        start.driver = Some(Driver::Mysql);
        start.mysql = Some("8.0.36".parse().unwrap());
        let plan = planned(&start, &wish(case.to, case.policy));
        assert_eq!(stops(&plan), case.stops, "{} to {}", case.from, case.to);
        let beyond = |hop: &Hop| hop.to >= semver::Version::new(10, 12, 0);
        let within = start.version < semver::Version::new(10, 12, 0);
        let expected: &[&str] = if within && plan.path.hops.iter().any(beyond) { &["mysql-gone"] } else { &[] };
        assert_eq!(blockers(&plan), expected, "{} to {}", case.from, case.to);
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
fn postgres_is_placed_where_it_is_first_refused_and_for_all_that_follows() {
    let cases = [
        ("5.29.0", 12, "10.6.1", Some(("10.6.1", 13)), "10.6 is the first to refuse 12"),
        ("5.29.0", 13, "10.6.1", None, "13 will do to the end"),
        ("5.29.0", 9, "10.6.1", Some(("5.37.10", 13)), "5.32 refuses 9.x; 13 at once, because 10.6 will ask for it"),
        ("5.29.0", 10, "9.5", Some(("8.1.13", 11)), "8.0 refuses 10"),
        ("5.29.0", 10, "7.8", None, "7.8 still starts with 10"),
        ("10.5.14", 13, "11.7", Some(("11.7.10", 14)), "11.0 refuses 13"),
        ("10.5.14", 11, "11.7", Some(("10.11.23", 14)), "10.11 refuses 11 and 11.7 will refuse 13: once, not twice"),
        ("11.7.10", 14, "12.0", Some(("12.0.0", 15)), "12.0 asks for 15"),
    ];
    for (from, major, to, expected, because) in cases {
        let plan = planned(&with_postgres(from, major), &wish(to, Esr));
        assert_eq!(placed(&plan), expected, "{from} on {major} to {to}: {because}");
    }
}

fn placed(plan: &Plan) -> Option<(&str, u32)> {
    let mut bumps = plan.path.hops.iter().filter_map(|hop| Some((hop, hop.needs.postgres?)));
    let (hop, major) = bumps.next()?;
    assert!(bumps.next().is_none(), "PostgreSQL is upgraded once");
    // The names in the table are static; a leak of a few bytes in a test does no harm.
    Some((Box::leak(hop.to.to_string().into_boxed_str()), major))
}

#[test]
fn a_wish_for_a_postgres_is_granted_at_the_latest_hop_that_can() {
    let with = |from: &str, major: u32, to: &str, wished: u32| {
        planned(&with_postgres(from, major), &Wish { postgres: Some(wished), ..wish(to, Esr) })
    };
    assert_eq!(placed(&with("5.29.0", 12, "10.6.1", 15)), Some(("10.6.1", 15)), "where 12 is refused");
    assert_eq!(placed(&with("5.29.0", 13, "10.6.1", 15)), Some(("10.6.1", 15)), "nobody asks: on the last hop");
    assert_eq!(placed(&with("5.29.0", 9, "10.6.1", 15)), Some(("5.37.10", 15)), "once, on the first hop that needs it");
    assert_eq!(placed(&with("5.29.0", 15, "10.6.1", 15)), None, "already there");
    assert_eq!(blockers(&with("5.29.0", 15, "10.6.1", 13)), ["postgres"], "never backwards");
    assert_eq!(blockers(&with("10.5.14", 11, "11.7", 13)), ["postgres"], "11.7 refuses what was wished for");
    let none = with("10.6.1", 13, "10.6.1", 15);
    assert!(none.path.hops.is_empty() && none.path.notes.iter().any(|note| note.action.contains("mm-pgbump --to 15")));
}

#[test]
fn the_smallest_installed_postgres_that_suits_all_hops_is_taken() {
    let with = |available: &[u32]| {
        let mut start = with_postgres("10.5.14", 11);
        start.postgres = Some(Server { major: 11, available: Some(available.to_vec()) });
        planned(&start, &wish("11.7", Esr))
    };
    assert_eq!(placed(&with(&[11, 13, 15, 17])), Some(("10.11.23", 15)));
    let none = with(&[11, 13]);
    assert_eq!(blockers(&none), ["postgres"]);
    assert!(none.path.blockers[0].action.contains("postgresql-14"), "{:?}", none.path.blockers);
    // A wish that no release demands has to be one that can be granted all the same.
    let wished = |major: u32| {
        let mut start = with_postgres("9.5.14", 13);
        start.postgres = Some(Server { major: 13, available: Some(vec![13, 15]) });
        planned(&start, &Wish { postgres: Some(major), ..wish("10.6.1", Esr) })
    };
    assert_eq!(placed(&wished(15)), Some(("10.6.1", 15)));
    assert_eq!(wished(17).path.blockers[0].title, "PostgreSQL 17 is asked for; installed or installable here: 13, 15");
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
    assert_eq!(stops(&planned(&start, &avoid("10.5.14"))), "9.11.18 10.5.13 10.6.1");
    assert_eq!(stops(&planned(&start, &avoid("10.5"))), "9.11.18 10.6.1");
    let catalogue = &*CATALOGUE;
    for impossible in [
        avoid("10.6.1"),
        via("11.0"),
        via("9.5.1"),
        via("7.3.2"),
        Wish { avoid: vec!["10.4".parse().unwrap()], ..via("10.4") },
    ] {
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
fn mysql_5_7_ends_with_9_5() {
    let mut old = start("8.1.13", Edition::Team);
    old.driver = Some(Driver::Mysql);
    old.mysql = Some("5.7.44".parse().unwrap());
    assert_eq!(blockers(&planned(&old, &wish("9.5", Esr))), ["mysql-version"]);
    // A live server's version cannot be asked: then it is said what it has to be.
    old.mysql = None;
    let unseen = planned(&old, &wish("9.5", Esr));
    let note = unseen.path.notes.iter().find(|note| note.id == "mysql").unwrap();
    assert!(note.title.contains("9.5.14 needs 8.0.0") && note.action.contains("--no-database"), "{note:?}");
    assert_eq!(blockers(&planned(&old, &wish("9.4", Esr))), [""; 0]);
}

#[test]
fn configuration_that_stops_the_server_blocks_when_it_is_known_and_warns_when_not() {
    let mut site = start("10.11.15", Edition::Team);
    let target = wish("11.7", Esr);
    let of = |plan: &Plan, id: &str| {
        hop(plan, "11.7.10").notes.iter().find(|note| note.id == id).map(|note| note.severity.clone())
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
    let plan = planned(&start("11.7.10", Edition::Team), &wish("12.0", Esr));
    let target = hop(&plan, "12.0.0");
    assert!(target.sha256.is_empty());
    assert!(target.notes.iter().any(|note| note.id == "unproven" && note.severity == "action"), "{:?}", target.notes);
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
    assert_eq!(stops(&plan), "9.5.14 9.11.18 10.5.14 10.11.23 11.7.10");
    for hop in &plan.path.hops {
        assert!(hop.url.ends_with("linux-arm64.tar.gz"), "{}", hop.url);
        assert!(hop.sha256.is_empty() && hop.notes.iter().any(|note| note.id == "unproven"), "{hop:?}");
    }
}

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
