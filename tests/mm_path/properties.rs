//! What holds for every plan, whatever is asked for. Pure: nothing is run.

use std::sync::LazyLock;

use mm_common::contract::sections::Hop;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Catalogue, Driver, Level, RuleKind};
use mm_path::Server;
use mm_path::plan::{Plan, Start, plan};
use mm_path::wish::{Policy, Spot, Target, Wish};
use proptest::prelude::*;
use semver::Version;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::embedded().unwrap());

/// Releases from 3.0 on: what the tools plan for.
fn versions() -> Vec<Version> {
    let catalogue = &*CATALOGUE;
    catalogue.releases().map(|release| release.version.clone()).filter(|version| version.major >= 3).collect()
}

prop_compose! {
    /// A start, a wish and its target, older to newer.
    fn journey()(
        pair in proptest::sample::subsequence(versions(), 2),
        policy in prop_oneof![Just(Policy::Esr), Just(Policy::Minor), Just(Policy::Direct)],
        edition in prop_oneof![Just(Edition::Team), Just(Edition::Enterprise)],
        mysql in proptest::bool::weighted(0.2),
        postgres in 9u32..18,
        wished in proptest::option::weighted(0.3, 10u32..19),
        avoid in proptest::sample::subsequence(versions(), 0..4),
        becomes in proptest::option::weighted(0.3, prop_oneof![Just(Edition::Team), Just(Edition::Enterprise)]),
    ) -> (Start, Wish) {
        let mut start = Start::on_paper(pair[0].clone(), edition);
        start.driver = Some(if mysql { Driver::Mysql } else { Driver::Postgres });
        start.postgres = (!mysql).then_some(Server { major: postgres, ..Server::default() });
        let avoid = avoid.into_iter().filter(|version| *version != pair[1]).map(Spot::Version).collect();
        let wish = Wish { to: Target::Spot(Spot::Version(pair[1].clone())), policy, via: Vec::new(), avoid, postgres: wished, edition: becomes };
        (start, wish)
    }
}

fn planned(start: &Start, wish: &Wish) -> Option<Plan> {
    // A release without this edition as the target is refused, and that is right.
    plan(&CATALOGUE, start, wish).ok()
}

/// The hops that change the release; one that changes the database alone comes before them.
fn releases(plan: &Plan) -> impl Iterator<Item = &Hop> {
    plan.path.hops.iter().filter(|hop| !hop.is_of_database_alone())
}

fn stops(plan: &Plan) -> Vec<Version> {
    releases(plan).map(|hop| hop.to.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_hop_breaks_a_rule_and_they_join((start, wish) in journey()) {
        let catalogue = &*CATALOGUE;
        let Some(plan) = planned(&start, &wish) else { return Ok(()) };
        let mut here = start.version.clone();
        // Rules are judged by the edition that runs from the first hop on.
        let driver = Some(Driver::Postgres);
        let running = Start { edition: wish.edition.unwrap_or(start.edition), driver, ..start.clone() };
        let moves = plan.path.hops.iter().position(Hop::is_of_database_alone);
        prop_assert_eq!(moves, (start.driver == Some(Driver::Mysql)).then_some(0));
        for hop in releases(&plan) {
            prop_assert_eq!(&hop.from, &here);
            prop_assert!(hop.to > hop.from);
            for rule in catalogue.rules().iter().filter(|rule| rule.kind == RuleKind::Jump && rule.level == Level::Block) {
                prop_assert!(!rule.objects(&hop.from, &hop.to, &running.facts()), "{} forbids {} to {}", rule.id, hop.from, hop.to);
            }
            here = hop.to.clone();
        }
        if plan.path.blockers.is_empty() {
            prop_assert_eq!(here, plan.path.target);
        }
    }

    #[test]
    fn no_stop_lacks_a_proof((start, wish) in journey()) {
        let catalogue = &*CATALOGUE;
        let Some(plan) = planned(&start, &wish) else { return Ok(()) };
        // Every line that a rule asks for has releases with a digest or at least a signature.
        for hop in releases(&plan).filter(|hop| hop.to != plan.path.target) {
            let artefact = catalogue.artefact(&hop.to, hop.edition, Arch::Amd64).unwrap();
            prop_assert!(artefact.is_released(), "nothing proves {}", hop.to);
        }
    }

    #[test]
    fn what_is_avoided_is_never_stopped_at((start, wish) in journey()) {
        if let Some(plan) = planned(&start, &wish) {
            prop_assert!(stops(&plan).iter().all(|version| !wish.avoids(version)));
            // Nor when one more stop of the path found is avoided.
            if let Some(first) = stops(&plan).first().filter(|first| **first != plan.path.target) {
                let mut stricter = wish.clone();
                stricter.avoid.push(Spot::Version(first.clone()));
                let other = planned(&start, &stricter).unwrap();
                prop_assert!(!stops(&other).contains(first));
            }
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer((start, wish) in journey()) {
        let (one, two) = (planned(&start, &wish), planned(&start, &wish));
        prop_assert_eq!(one.map(|plan| plan.path), two.map(|plan| plan.path));
    }

    #[test]
    fn planning_after_each_hop_goes_on_the_same_way((start, wish) in journey()) {
        let Some(plan) = planned(&start, &wish) else { return Ok(()) };
        let all = stops(&plan);
        let mut later = start.clone();
        let mut done = 0;
        for hop in &plan.path.hops {
            (later.version, later.edition, later.driver) = (hop.to.clone(), hop.edition, Some(Driver::Postgres));
            done += usize::from(!hop.is_of_database_alone());
            if let (Some(major), Some(server)) = (hop.needs.postgres, &mut later.postgres) {
                server.major = major;
            }
            let rest = planned(&later, &wish).unwrap();
            prop_assert_eq!(stops(&rest), &all[done..], "after {}", hop.to);
        }
    }

    #[test]
    fn the_edition_changes_with_the_first_hop_or_never((start, wish) in journey()) {
        let Some(plan) = planned(&start, &wish) else { return Ok(()) };
        let becomes = wish.edition.unwrap_or(start.edition);
        prop_assert!(releases(&plan).all(|hop| hop.edition == becomes));
        let reasons = |hop: &Hop| hop.why.iter().filter(|why| why.rule == "edition").count();
        let said: usize = releases(&plan).map(reasons).sum();
        let changes = becomes != start.edition;
        prop_assert_eq!(said, usize::from(changes && releases(&plan).next().is_some()));
        prop_assert_eq!(releases(&plan).next().map_or(0, reasons), said);
        prop_assert_eq!(plan.path.current_edition, changes.then_some(start.edition));
    }

    #[test]
    fn every_server_on_the_way_accepts_its_postgres((start, wish) in journey()) {
        let catalogue = &*CATALOGUE;
        let Some(plan) = planned(&start, &wish) else { return Ok(()) };
        let Some(server) = start.postgres.clone().filter(|_| plan.path.blockers.is_empty()) else { return Ok(()) };
        let mut major = server.major;
        let mut upgrades = 0;
        for hop in &plan.path.hops {
            if let Some(next) = hop.needs.postgres {
                prop_assert!(next > major);
                upgrades += 1;
                major = next;
            }
            let requirement = catalogue.requirement(&hop.to).unwrap();
            prop_assert!(!requirement.refuses_postgres(major), "{} refuses PostgreSQL {}", hop.to, major);
        }
        prop_assert!(upgrades <= 1);
        if let Some(wished) = wish.postgres.filter(|_| !plan.path.hops.is_empty()) {
            prop_assert_eq!(major, wished);
        }
    }
}
