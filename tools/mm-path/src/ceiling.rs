//! How far this host goes, where its system does not carry every release, and what can be done then.

use mm_common::contract::error::Error;
use mm_common::contract::sections::{Hop, Note, Preflight};
use mm_common::mattermost::catalogue::{Catalogue, Dotted, Line, Severity};
use semver::Version;

use crate::check::{self, Bad, Outcome};
use crate::plan::Start;
use crate::route::Graph;
use crate::wish::Wish;

const SOURCE: &str = "the requirements of the catalogue";

/// What can be done about a system that is too old.
const WAYS_ON: &str = "upgrade the system first (Debian 12, Ubuntu 22.04, RHEL 9 and newer have what it needs), or carry the \
                       site onto a new host with a restore point: mm-upgrade(7), A HOST THAT CANNOT FOLLOW";

/// Whether the system of this host carries a release. What is not known is no reason against it.
fn carries(catalogue: &Catalogue, start: &Start, version: &Version) -> bool {
    let Some(requirement) = catalogue.requirement(version) else { return true };
    let has_postgres = start.postgres.as_ref().is_none_or(|server| {
        let newest = server.available.as_ref().map(|all| all.iter().copied().max().unwrap_or(0).max(server.major));
        newest.is_none_or(|major| !requirement.refuses_postgres(major))
    });
    lacking(catalogue, start.glibc.as_ref(), version).is_none() && has_postgres
}

/// The C library that a release needs and this host does not have.
fn lacking<'a>(catalogue: &'a Catalogue, glibc: Option<&Dotted>, version: &Version) -> Option<&'a Dotted> {
    let needed = catalogue.requirement(version)?.glibc.as_ref()?;
    (glibc? < needed).then_some(needed)
}

/// The newest releases before `release` that can be reached and that this host carries: of all, and of the extended
/// support lines.
fn reached(catalogue: &Catalogue, start: &Start, wish: &Wish, release: &Version) -> Vec<Version> {
    let candidates = catalogue.releases().rev().map(|known| &known.version).filter(|version| {
        **version > start.version
            && *version < release
            && version.pre.is_empty()
            && catalogue.is_offered(version, start.edition, start.arch)
            && carries(catalogue, start, version)
            && !wish.avoids(version)
    });
    let mut found = Vec::new();
    for version in candidates {
        let is_esr = catalogue.is_esr(Line::of(version));
        if !found.is_empty() && !is_esr {
            continue;
        }
        let ends = (&start.version, version);
        if Graph::new(catalogue, wish, start.facts(), start.edition, start.arch, ends).cheapest().is_some() {
            found.push(version.clone());
            if is_esr {
                break;
            }
        }
    }
    found
}

/// How far this host goes on a way that it cannot go to its end: that of `release` is the first system requirement it does
/// not meet.
pub(crate) fn how_far(catalogue: &Catalogue, start: &Start, wish: &Wish, release: &Version) -> String {
    let reached = reached(catalogue, start, wish, release);
    let plan = |version: &Version| {
        let ends = catalogue.line(Line::of(version)).and_then(|info| info.end_of_support.as_deref());
        let until = ends.map_or_else(String::new, |day| format!(" (supported until {day})"));
        format!("{version}{until}: mm-path --to {version}")
    };
    match reached.as_slice() {
        [] => format!("This host goes no further than the installed {}.", start.version),
        [newest] => format!("This host goes as far as {}.", plan(newest)),
        [newest, esr, ..] => {
            format!("This host goes as far as {}. Or to the extended support release {}.", plan(newest), plan(esr))
        }
    }
}

/// What stands in the way of a release on a host whose C library is too old.
pub(crate) fn blocker(catalogue: &Catalogue, start: &Start, wish: &Wish, release: &Version) -> Option<Note> {
    let needed = lacking(catalogue, start.glibc.as_ref(), release)?;
    let present = start.glibc.as_ref()?;
    Some(Note {
        id: "glibc".into(),
        severity: "block".into(),
        title: format!("{release} needs glibc {needed}, and this host has {present}"),
        action: format!("{} Beyond it, {WAYS_ON}.", how_far(catalogue, start, wish, release)),
        source: SOURCE.into(),
    })
}

/// Said long before it matters: the first known release that this host does not carry, where the way ends before it.
pub(crate) fn ahead(catalogue: &Catalogue, start: &Start, target: &Version) -> Option<Note> {
    let present = start.glibc.as_ref()?;
    if lacking(catalogue, Some(present), target).is_some() {
        return None;
    }
    let later = |version: &&Version| *version > target && lacking(catalogue, Some(present), version).is_some();
    let first = catalogue.releases().map(|release| &release.version).find(later)?;
    let needed = lacking(catalogue, Some(present), first)?;
    let ends = catalogue.line(Line::of(target)).and_then(|info| info.end_of_support.as_deref());
    let when = ends.map_or_else(
        || "Before you go there".into(),
        |day| format!("Before support of {} ends on {day}", Line::of(target)),
    );
    Some(Note {
        id: "host-limit".into(),
        severity: "info".into(),
        title: format!("This host has glibc {present}, and releases from {first} on need {needed}"),
        action: format!("{when}, {WAYS_ON}."),
        source: SOURCE.into(),
    })
}

/// The same as a finding of the preflight.
pub(crate) fn finding(catalogue: &Catalogue, glibc: Option<&Dotted>, hops: &[Hop]) -> Preflight {
    let needing = hops.iter().find_map(|hop| {
        let needed = catalogue.requirement(&hop.to)?.glibc.as_ref()?;
        Some((&hop.to, needed))
    });
    let outcome = match (glibc, needing) {
        (Some(present), None) => Ok(Outcome::Good(format!("glibc {present}; no release of the way asks for a newer one"))),
        (Some(present), Some((release, needed))) if present < needed => Ok(Outcome::Bad(Bad {
            severity: Severity::Action,
            evidence: vec![format!("glibc {present}, and {release} needs {needed}")],
            hop: Some(release.clone()),
            fix: WAYS_ON.into(),
        })),
        (Some(present), Some((release, needed))) => {
            Ok(Outcome::Good(format!("glibc {present}, and {release} needs {needed}")))
        }
        (None, None) => Ok(Outcome::Beside("no release of the way asks for one".into())),
        (None, Some((release, needed))) => Err(Error::failed("no glibc was found on this host")
            .because(format!("{release} needs glibc {needed}"))
            .hint("run `ldd --version`: a system with another C library, such as Alpine, runs no Mattermost from there on")),
    };
    check::finding("glibc", "C library of this host", SOURCE, outcome)
}

#[cfg(test)]
mod tests {
    use mm_common::contract::sections::Status;
    use mm_common::contract::version::Edition;

    use super::*;
    use crate::plan::plan;
    use crate::postgres::Server;
    use crate::wish::Policy;

    fn wish(to: &str) -> Wish {
        let to = to.parse().unwrap();
        Wish { to, policy: Policy::Esr, via: Vec::new(), avoid: Vec::new(), postgres: None, edition: None }
    }

    fn host(version: &str, glibc: &str) -> Start {
        let mut start = Start::on_paper(version.parse().unwrap(), Edition::Team);
        start.glibc = Some(glibc.parse().unwrap());
        start
    }

    #[test]
    fn a_host_that_is_too_old_is_told_how_far_it_goes_and_what_can_be_done() {
        let catalogue = Catalogue::embedded().unwrap();
        let path = plan(&catalogue, &host("10.5.14", "2.31"), &wish("latest")).unwrap().path;
        let blocker = path.blockers.iter().find(|note| note.id == "glibc").unwrap();
        assert!(blocker.title.contains("needs glibc 2.34, and this host has 2.31"), "{blocker:?}");
        for words in
            ["as far as 11.11.1", "11.7.15 (supported until 2027-05-15): mm-path --to 11.7.15", "A HOST THAT CANNOT"]
        {
            assert!(blocker.action.contains(words), "{words}: {blocker:?}");
        }
        // Without a package source for a newer PostgreSQL than 13 it goes less far.
        let mut debian_11 = host("10.5.14", "2.31");
        debian_11.postgres = Some(Server { major: 13, available: Some(vec![13]), ..Server::default() });
        let path = plan(&catalogue, &debian_11, &wish("11.7")).unwrap().path;
        let blocker = path.blockers.iter().find(|note| note.id == "postgres").unwrap();
        assert!(
            blocker.action.contains("as far as 10.12") && blocker.action.contains("mm-path --to 10.11."),
            "{blocker:?}"
        );
        let installed = host("11.11.1", "2.31");
        assert!(how_far(&catalogue, &installed, &wish("latest"), &Version::new(12, 0, 0)).contains("no further"));
    }

    #[test]
    fn what_will_stand_in_the_way_later_is_told_before() {
        let catalogue = Catalogue::embedded().unwrap();
        let esr = Version::new(11, 7, 15);
        let note = ahead(&catalogue, &host("10.5.14", "2.31"), &esr).unwrap();
        assert!(
            note.title.contains("from 12.0.0 on need 2.34") && note.action.contains("ends on 2027-05-15"),
            "{note:?}"
        );
        assert_eq!(ahead(&catalogue, &host("10.5.14", "2.36"), &esr), None);
        assert_eq!(ahead(&catalogue, &host("10.5.14", "2.31"), &Version::new(12, 0, 0)), None, "that is a blocker");
        assert_eq!(ahead(&catalogue, &Start::on_paper(esr.clone(), Edition::Team), &esr), None, "nothing is known");
    }

    #[test]
    fn the_preflight_tells_the_same() {
        let catalogue = Catalogue::embedded().unwrap();
        let hops = |to: &str| {
            plan(&catalogue, &Start::on_paper(Version::new(11, 7, 15), Edition::Team), &wish(to)).unwrap().path.hops
        };
        let (old, new): (Dotted, Dotted) = ("2.31".parse().unwrap(), "2.36".parse().unwrap());
        let look = |glibc, to: &str| finding(&catalogue, glibc, &hops(to));
        let failed = look(Some(&old), "12.0");
        assert!(failed.status == Status::Fail && failed.severity == "action" && failed.hop.is_some(), "{failed:?}");
        assert_eq!(look(Some(&new), "12.0").status, Status::Pass);
        assert_eq!(look(Some(&old), "11.11").status, Status::Pass);
        assert_eq!((look(None, "12.0").status, look(None, "11.11").status), (Status::Error, Status::Skip));
    }
}
