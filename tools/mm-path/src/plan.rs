//! The plan: from what is known of a site, what is wanted and what the catalogue says, to the hops, the reasons for
//! them, and what stands in the way. Pure: the same values in give the same plan out.

use std::collections::BTreeMap;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::{CatalogueSeen, Hop, Needs, Note, Path};
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Catalogue, Dotted, Driver, Facts, RuleKind};
use semver::Version;
use serde_json::{Map, Value};

use crate::postgres::{self, Misfit, Server};
use crate::route::Graph;
use crate::target;
use crate::wish::{Policy, Spot, Target, Wish};
use crate::{ceiling, estimate, moves, reason, remark, rolling};

/// What is known of the site. Everything but the release is optional: what is not known is not guessed.
#[derive(Debug, Clone)]
pub struct Start {
    /// The installed release.
    pub version: Version,
    /// Its edition; the path keeps it unless another one is wished for.
    pub edition: Edition,
    /// The processor releases are needed for.
    pub arch: Arch,
    /// The database driver.
    pub driver: Option<Driver>,
    /// The version of a MySQL server.
    pub mysql: Option<Dotted>,
    /// The PostgreSQL server.
    pub postgres: Option<Server>,
    /// The host's C library.
    pub glibc: Option<Dotted>,
    /// The effective configuration.
    pub config: Option<Value>,
    /// Short name of the licence, empty without one.
    pub licence: Option<String>,
    /// Size of the database in bytes.
    pub database_bytes: Option<u64>,
    /// Size of what the installed release owns in the install root.
    pub release_bytes: Option<u64>,
    /// Rows of tables, as far as they are known.
    pub rows: BTreeMap<String, u64>,
    /// Seconds that hops took in a rehearsal, by the releases before and after.
    pub measured: BTreeMap<(Version, Version), f64>,
}

impl Start {
    /// A start of which only the release is known.
    pub fn on_paper(version: Version, edition: Edition) -> Self {
        Self {
            version,
            edition,
            arch: Arch::Amd64,
            driver: None,
            mysql: None,
            postgres: None,
            glibc: None,
            config: None,
            licence: None,
            database_bytes: None,
            release_bytes: None,
            rows: BTreeMap::new(),
            measured: BTreeMap::new(),
        }
    }

    /// The same site with another edition on it: what runs from the first hop of a path that changes it on.
    fn becoming(&self, edition: Edition) -> Self {
        Self { edition, ..self.clone() }
    }

    /// The facts that conditions of rules and notes are judged by.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            edition: Some(self.edition),
            driver: self.driver,
            glibc: self.glibc.as_ref(),
            config: self.config.as_ref(),
            licence: self.licence.as_deref(),
        }
    }
}

/// A jump that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Where it would begin.
    pub from: Version,
    /// Where it would end.
    pub to: Version,
    /// Name of the rule or policy against it.
    pub rule: String,
    /// Why, in a few words.
    pub text: String,
}

/// A finished plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The section for the document, without the wish.
    pub path: Path,
    /// The jumps that were considered and not taken.
    pub rejected: Vec<Rejected>,
}

/// Plans.
///
/// Refuses (exit 5) a target that is unknown, older than the installed release or among those to avoid, and a `--via`
/// that lies beyond the target; one behind the installed release is done, and a note says so. What else stands in the way becomes a blocker of the plan.
pub fn plan(catalogue: &Catalogue, start: &Start, wish: &Wish) -> Result<Plan> {
    if start.driver == Some(Driver::Mysql) {
        moves::out_of_mysql(catalogue, start, wish)
    } else {
        releases(catalogue, start, wish)
    }
}

/// The way of the releases, on PostgreSQL or what is not known.
pub(crate) fn releases(catalogue: &Catalogue, start: &Start, wish: &Wish) -> Result<Plan> {
    let installed = start.edition;
    let start = &start.becoming(wish.edition.unwrap_or(installed));
    let change = (start.edition != installed).then_some(installed);
    let mut target = target::resolve(catalogue, &wish.to, start.edition, start.arch)?;
    let newer_than_known = !matches!(wish.to, Target::Spot(_)) && target < start.version;
    let stays = target == start.version || newer_than_known;
    if stays && change.is_none() {
        return Ok(nothing_to_do(catalogue, start, wish, &target));
    }
    if stays {
        // One hop to the same release in the other edition.
        let same = Target::Spot(Spot::Version(start.version.clone()));
        target = target::resolve(catalogue, &same, start.edition, start.arch)?;
    }
    refuse_impossible(catalogue, start, wish, &target)?;
    let graph = Graph::new(catalogue, wish, start.facts(), start.edition, start.arch, (&start.version, &target));
    let mut blockers = manual(catalogue, start, &target);
    let stops = graph.cheapest().unwrap_or_else(|| {
        blockers.push(remark::no_way(&graph, wish, &start.version, &target));
        Vec::new()
    });
    let bump = bump(catalogue, start, wish, &stops, &mut blockers);
    let mut hops = Vec::new();
    let mut from = start.version.clone();
    for (index, to) in stops.iter().enumerate() {
        let here = bump.as_ref().filter(|bump| bump.hop == index);
        let (hop, blocking) = hop(
            catalogue,
            start,
            wish,
            &graph,
            &Step { from: &from, to, after: stops.get(index + 1), target: &target, bump: here },
        );
        blockers.extend(blocking);
        hops.push(hop);
        from = to.clone();
    }
    if let (Some(installed), Some(first)) = (change, hops.first_mut()) {
        let (notes, blocking) = remark::of_edition(catalogue, start, &target);
        first.why.insert(0, reason::of_edition(installed, start.edition));
        let at = usize::from(first.changes.first().is_some_and(|what| what == "release"));
        first.changes.insert(at, "edition".into());
        first.notes.splice(0..0, notes);
        blockers.extend(blocking);
    }
    let rejected = reason::rejected(&graph, &start.version, &stops);
    let mut notes = remark::about_the_path(catalogue, start, wish, &stops);
    notes.extend(remark::behind(wish, &start.version));
    if stops.is_empty() {
        notes.push(remark::reachable(&graph));
    }
    let path = Path {
        current: start.version.clone(),
        current_edition: change,
        target,
        policy: wish.policy.name().into(),
        wish: Map::new(),
        catalogue: Some(seen(catalogue, &stops)),
        next: hops.first().cloned(),
        hops,
        blockers,
        notes,
        checks: Vec::new(),
    };
    Ok(Plan { path, rejected })
}

/// One hop in its surroundings.
pub(crate) struct Step<'a> {
    pub(crate) from: &'a Version,
    pub(crate) to: &'a Version,
    /// The stop after it.
    pub(crate) after: Option<&'a Version>,
    pub(crate) target: &'a Version,
    pub(crate) bump: Option<&'a postgres::Bump>,
}

/// The age of the catalogue, and where its records of these releases came from.
fn seen(catalogue: &Catalogue, stops: &[Version]) -> CatalogueSeen {
    let source = |version: &Version| (version.to_string(), catalogue.origin(version).name().to_owned());
    CatalogueSeen { as_of: catalogue.as_of().to_string(), sources: stops.iter().map(source).collect() }
}

fn nothing_to_do(catalogue: &Catalogue, start: &Start, wish: &Wish, target: &Version) -> Plan {
    let mut notes = Vec::new();
    if *target < start.version {
        notes.push(remark::ahead(&start.version, target));
    }
    if let (Some(wished), Some(server)) = (wish.postgres, &start.postgres)
        && wished > server.major
    {
        notes.push(remark::postgres_alone(server, wished));
    }
    let path = Path {
        current: start.version.clone(),
        current_edition: None,
        target: start.version.clone(),
        policy: wish.policy.name().into(),
        wish: Map::new(),
        catalogue: Some(seen(catalogue, &[])),
        hops: Vec::new(),
        next: None,
        blockers: Vec::new(),
        notes,
        checks: Vec::new(),
    };
    Plan { path, rejected: Vec::new() }
}

fn refuse_impossible(catalogue: &Catalogue, start: &Start, wish: &Wish, target: &Version) -> Result<()> {
    if *target < start.version {
        return Err(Error::refused(format!("{target} is older than the installed {}", start.version))
            .because("a server does not take a database back to an older schema; from 11.0 on it also stores passwords in a form that older servers cannot read")
            .hint("to go back, restore the restore point made before the upgrade: mm-backup list, then mm-backup restore ID"));
    }
    if wish.avoids(target) {
        return Err(Error::refused(format!("{target} is wanted with --to and unwanted with --avoid"))
            .hint("drop one of the two"));
    }
    for spot in wish.via.iter().filter(|spot| !spot.is_behind(&start.version)) {
        let known = match spot {
            Spot::Version(version) => catalogue.artefact(version, start.edition, start.arch).is_some(),
            Spot::Line(line) => {
                catalogue.releases_of(*line).any(|release| release.artefact(start.edition, start.arch).is_some())
            }
        };
        let beyond = match spot {
            Spot::Version(version) => version > target,
            Spot::Line(line) => line.first() > *target,
        };
        if !known {
            return Err(Error::refused(format!("--via {spot}: the catalogue knows no such {} release", start.edition))
                .hint("name a release that was published, or add it with --catalogue FILE"));
        }
        if beyond {
            return Err(Error::refused(format!("--via {spot} does not lie between {} and {target}", start.version))
                .hint("drop it, or choose another target"));
        }
        if matches!(spot, Spot::Version(version) if wish.avoids(version)) || wish.avoid.contains(spot) {
            return Err(Error::refused(format!("{spot} is wanted with --via and unwanted with --avoid"))
                .hint("drop one of the two"));
        }
    }
    Ok(())
}

/// Steps of the way that no tool can do.
fn manual(catalogue: &Catalogue, start: &Start, target: &Version) -> Vec<Note> {
    let rules = catalogue.rules().iter().filter(|rule| rule.kind == RuleKind::Manual);
    rules.filter(|rule| rule.objects(&start.version, target, &start.facts())).map(remark::of_rule).collect()
}

fn bump(
    catalogue: &Catalogue,
    start: &Start,
    wish: &Wish,
    stops: &[Version],
    blockers: &mut Vec<Note>,
) -> Option<postgres::Bump> {
    let Some(server) = start.postgres.as_ref() else {
        let misfit = wish.postgres.and_then(|wished| postgres::refusal(catalogue, stops, wished));
        blockers.extend(misfit.as_ref().map(remark::of_misfit));
        return None;
    };
    postgres::place(catalogue, stops, server, wish.postgres).unwrap_or_else(|misfit| {
        let mut blocker = remark::of_misfit(&misfit);
        if let Misfit::NoneAvailable { release, .. } = &misfit {
            blocker.action = format!("{} {}", blocker.action, ceiling::how_far(catalogue, start, wish, release));
        }
        blockers.push(blocker);
        None
    })
}

/// One hop, and what stands in its way.
fn hop(catalogue: &Catalogue, start: &Start, wish: &Wish, graph: &Graph<'_>, step: &Step<'_>) -> (Hop, Vec<Note>) {
    let artefact = catalogue.artefact(step.to, start.edition, start.arch);
    let (mut notes, mut blockers) = remark::of_hop(catalogue, start, step.from, step.to);
    blockers.extend(remark::of_requirement(catalogue, start, wish, (step.from, step.to)));
    notes.extend(remark::of_artefact(artefact.as_ref(), step.to));
    let mut needs = Needs { bytes: start.release_bytes.map(estimate::grown), ..Needs::default() };
    if let Some(bump) = step.bump {
        needs.postgres = Some(bump.to);
        needs.is_move = start.postgres.as_ref().is_some_and(|server| server.elsewhere);
        notes.insert(0, remark::of_bump(bump, step.to, needs.is_move));
        if let (Some(bytes), false) = (start.database_bytes, needs.is_move) {
            // Dump and restore leaves the old cluster where it is, so the new one comes on top.
            needs.more.insert("postgres_bytes".into(), bytes.into());
        }
    }
    let (url, sha256) = match artefact {
        // A digest that proves nothing is none.
        Some(artefact) if !artefact.is_proven() => (artefact.url, Vec::new()),
        Some(artefact) => (artefact.url, artefact.sha256.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let rolling = needs.postgres.is_none() && rolling::allowed(catalogue, step.from, step.to);
    let changes = [("release", step.from != step.to), ("database", needs.postgres.is_some())];
    let hop = Hop {
        from: step.from.clone(),
        to: step.to.clone(),
        changes: changes.into_iter().filter(|(_, changes)| *changes).map(|(what, _)| what.to_owned()).collect(),
        edition: start.edition,
        url,
        sha256,
        why: reason::of_hop(catalogue, wish, graph, step),
        needs,
        rolling,
        notes,
        estimate: estimate::of_hop(catalogue, start, step.from, step.to),
    };
    (hop, blockers)
}

impl Policy {
    /// What the policy says about a stop, and who says so.
    pub(crate) fn reason(self, line: &str) -> Option<(&'static str, String, &'static str)> {
        const SOURCE: &str = "mattermost/docs:source/product-overview/common-esr-support-upgrade.md@9dd1c713";
        match self {
            Self::Esr => Some((
                "policy-esr",
                format!("{line} is an extended support line; from one to the next is the way that is tested"),
                SOURCE,
            )),
            Self::Minor => {
                Some(("policy-minor", format!("every feature line is stopped at, and {line} is one"), "--policy minor"))
            }
            Self::Direct => None,
        }
    }
}
