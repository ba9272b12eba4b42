//! On which hop PostgreSQL is upgraded, and to what.

use mm_common::contract::version::Edition;
use mm_path::Server;
use mm_path::plan::{Plan, Start};
use mm_path::wish::Policy::Esr;
use mm_path::wish::Wish;

use super::{blockers, planned, start, wish};

fn with_postgres(from: &str, major: u32) -> Start {
    let mut start = start(from, Edition::Team);
    start.postgres = Some(Server { major, ..Server::default() });
    start
}

#[test]
fn postgres_is_placed_where_it_is_first_refused_and_for_all_that_follows() {
    let cases = [
        ("5.29.0", 12, "10.6.1", Some(("10.6.1", 13)), "10.6 is the first to refuse 12"),
        ("5.29.0", 13, "10.6.1", None, "13 will do to the end"),
        ("5.29.0", 9, "10.6.1", Some(("5.37.10", 13)), "5.32 refuses 9.x; 13 at once, because 10.6 will ask for it"),
        ("5.29.0", 10, "9.5", Some(("8.1.13", 11)), "8.0 refuses 10"),
        ("5.29.0", 10, "7.8", None, "7.8 still starts with 10"),
        ("10.5.14", 13, "11.7", Some(("11.7.15", 14)), "11.0 refuses 13"),
        ("10.5.14", 11, "11.7", Some(("10.11.23", 14)), "10.11 refuses 11 and 11.7 will refuse 13: once, not twice"),
        ("11.7.10", 14, "12.0", Some(("12.0.2", 15)), "12.0 asks for 15"),
    ];
    for (from, major, to, expected, because) in cases {
        let plan = planned(&with_postgres(from, major), &wish(to, Esr));
        assert_eq!(placed(&plan), expected, "{from} on {major} to {to}: {because}");
    }
}

/// Where no tool here can upgrade the server, the same hop is met by a move, to whatever major the rest of the way asks for.
#[test]
fn a_database_elsewhere_moves_in_the_hop_that_needs_it() {
    let mut start = with_postgres("10.5.14", 11);
    start.postgres = Some(Server { major: 11, available: None, elsewhere: true });
    let plan = planned(&start, &wish("11.7", Esr));
    assert_eq!(placed(&plan), Some(("10.11.23", 14)));
    let hop = &plan.path.hops[0];
    assert!(hop.needs.is_move && hop.changes == ["release", "database"] && !hop.is_of_database_alone(), "{hop:?}");
    assert!(hop.notes[0].action.contains("`mm-pgbump move --target FILE`"), "{:?}", hop.notes[0]);
    let here = planned(&with_postgres("10.5.14", 11), &wish("11.7", Esr));
    assert!(!here.path.hops[0].needs.is_move && here.path.hops[0].notes[0].action.contains("mm-pgbump does it"));
    let alone = planned(
        &Start { version: "10.11.23".parse().unwrap(), ..start },
        &Wish { postgres: Some(15), ..wish("10.11.23", Esr) },
    );
    assert!(
        alone.path.notes.iter().any(|note| note.action.contains("mm-pgbump move --target FILE")),
        "{:?}",
        alone.path.notes
    );
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
        start.postgres = Some(Server { major: 11, available: Some(available.to_vec()), ..Server::default() });
        planned(&start, &wish("11.7", Esr))
    };
    assert_eq!(placed(&with(&[11, 13, 15, 17])), Some(("10.11.23", 15)));
    let none = with(&[11, 13]);
    assert_eq!(blockers(&none), ["postgres"]);
    assert!(none.path.blockers[0].action.contains("postgresql-14"), "{:?}", none.path.blockers);
    // A wish that no release demands has to be one that can be granted all the same.
    let wished = |major: u32| {
        let mut start = with_postgres("9.5.14", 13);
        start.postgres = Some(Server { major: 13, available: Some(vec![13, 15]), ..Server::default() });
        planned(&start, &Wish { postgres: Some(major), ..wish("10.6.1", Esr) })
    };
    assert_eq!(placed(&wished(15)), Some(("10.6.1", 15)));
    assert_eq!(wished(17).path.blockers[0].title, "PostgreSQL 17 is asked for; installed or installable here: 13, 15");
}
