//! Blockers and notes: what stands in the way of a path, and what a person should know about it.

use mm_common::contract::sections::Note;
use mm_common::mattermost::catalogue::{
    Artefact, Catalogue, Facts, Level, Line, Note as Known, Rule, RuleKind, Severity, Trust, Verdict,
};
use semver::Version;

use crate::plan::Start;
use crate::postgres::{Bump, Misfit, Server};
use crate::route::Graph;
use crate::wish::{Target, Wish};
use crate::{ceiling, moves};

fn note(id: &str, severity: &str, title: String, action: impl Into<String>, source: impl Into<String>) -> Note {
    Note { id: id.into(), severity: severity.into(), title, action: action.into(), source: source.into() }
}

/// A rule as a blocker.
pub(crate) fn of_rule(rule: &Rule) -> Note {
    note(&rule.id, "block", rule.title.clone(), rule.action.clone(), rule.source.clone())
}

/// No path leads to the target.
pub(crate) fn no_way(graph: &Graph<'_>, wish: &Wish, start: &Version, target: &Version) -> Note {
    let farthest = graph.farthest();
    let objections = graph.objections(farthest, target);
    let rules: Vec<&str> = objections.iter().map(|rule| rule.id.as_str()).collect();
    let because = if rules.is_empty() { String::new() } else { format!(" ({})", rules.join(", ")) };
    let action = if wish.avoid.is_empty() && wish.via.is_empty() {
        let closing = objections.iter().filter(|rule| rule.level == Level::Block && !rule.action.is_empty());
        let mut advice: Vec<String> = closing.map(|rule| format!("{}: {}", rule.title, rule.action)).collect();
        advice.push("Choose another target, or add releases to the catalogue with --catalogue FILE.".into());
        advice.join(" ")
    } else {
        let spots = |spots: &[crate::wish::Spot]| spots.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!(
            "Every other way is closed by --avoid {} or --via {}: lift one of them.",
            spots(&wish.avoid),
            spots(&wish.via)
        )
        .replace("--avoid  or ", "")
        .replace(" or --via :", ":")
    };
    note(
        "no-way",
        "block",
        format!("No path leads from {start} to {target}{because}"),
        action,
        "the rules of the catalogue",
    )
}

/// How far one gets where no path leads to the target.
pub(crate) fn reachable(graph: &Graph<'_>) -> Note {
    note(
        "reachable",
        "info",
        format!("The newest release that can be reached is {}", graph.farthest()),
        "",
        "the rules of the catalogue",
    )
}

/// PostgreSQL cannot be made to fit.
pub(crate) fn of_misfit(misfit: &Misfit) -> Note {
    let listed = |available: &[u32]| available.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let add = |major: u32| format!("Add a package source that has postgresql-{major} (PGDG does), then plan again.");
    let (title, action) = match misfit {
        Misfit::NotHere { wished, available } => (
            format!("PostgreSQL {wished} is asked for; installed or installable here: {}", listed(available)),
            format!("Ask for one of those, or: {}", add(*wished)),
        ),
        Misfit::Backwards { from, wished } => (
            format!("PostgreSQL {from} cannot go back to {wished}"),
            format!("Ask for --postgres {from} or newer, or leave it out."),
        ),
        Misfit::TooOld { wished, needed, release } => (
            format!("{release} refuses PostgreSQL {wished}, it needs {needed}"),
            format!("Ask for --postgres {needed} or newer, or leave it out."),
        ),
        Misfit::NoneAvailable { needed, available, release } => (
            format!(
                "{release} needs PostgreSQL {needed} or newer; installed or installable here: {}",
                listed(available)
            ),
            add(*needed),
        ),
    };
    note("postgres", "block", title, action, "the requirements of the catalogue")
}

/// The PostgreSQL upgrade before a hop.
/// A database that is in no cluster of this host's postgresql-common is `elsewhere`, and moves.
pub(crate) fn of_bump(bump: &Bump, to: &Version, elsewhere: bool) -> Note {
    let title = match &bump.because_of {
        Some(release) => format!("PostgreSQL {} has to become {} before {release} starts", bump.from, bump.to),
        None => format!("PostgreSQL {} becomes {} before {to} starts, as asked for", bump.from, bump.to),
    };
    let action = if elsewhere {
        format!(
            "The database is in no cluster of this host that pg_lsclusters shows. Upgrade it where it runs; or take a server of \
             PostgreSQL {} or later and write its data source into a file (mode 600): {}.",
            bump.to,
            moves::commands()
        )
    } else {
        "mm-pgbump does it in this hop.".to_owned()
    };
    note("postgres-upgrade", "action", title, action, "the requirements of the catalogue")
}

/// Other applications' databases in the cluster that is upgraded: `NAME of OWNER`.
pub(crate) fn shared_cluster(others: &[String]) -> Note {
    let title = format!("The PostgreSQL upgrade stops and upgrades other databases too: {}", others.join(", "));
    let action = "Agree it with their owners and stop their programs; then give --shared-cluster to mm-upgrade, or to \
                  mm-pgbump and --whole-cluster to mm-backup.";
    note("shared-cluster", "action", title, action, "this host: pg_database")
}

/// Stops that were requested and lie at or behind the installed release.
pub(crate) fn behind(wish: &Wish, installed: &Version) -> Option<Note> {
    let behind: Vec<String> =
        wish.via.iter().filter(|spot| spot.is_behind(installed)).map(|spot| format!("--via {spot}")).collect();
    let title = format!("{} lies behind {installed} and counts as done", behind.join(", "));
    (!behind.is_empty()).then(|| note("via-behind", "info", title, "", "the command line"))
}

/// The installed release is newer than everything that `latest` or `latest-esr` can mean.
pub(crate) fn ahead(installed: &Version, newest: &Version) -> Note {
    let title = format!("{installed} is newer than {newest}, the newest that was asked for");
    note("ahead", "info", title, "", "the catalogue")
}

/// A wish for a newer PostgreSQL without any hop to carry it out in.
pub(crate) fn postgres_alone(server: &Server, wished: u32) -> Note {
    let title = format!("PostgreSQL {} stays: there is no hop to upgrade it to {wished} in", server.major);
    let action =
        if server.elsewhere { "mm-pgbump move --target FILE".into() } else { format!("mm-pgbump --to {wished}") };
    note("postgres-upgrade", "action", title, action, "the command line")
}

/// The upgrade notes of a hop that apply to this site, weightiest first, and those that block it.
///
/// A note whose circumstances are not known is kept, and one that would block then asks a person to look.
pub(crate) fn of_hop(catalogue: &Catalogue, start: &Start, from: &Version, to: &Version) -> (Vec<Note>, Vec<Note>) {
    let facts = start.facts();
    let (mut notes, mut blockers) = judged(catalogue.notes_between(from, to), &facts);
    for rule in catalogue.rules().iter().filter(|rule| rule.kind == RuleKind::Avoid && rule.objects(from, to, &facts)) {
        match rule.level {
            Level::Block => blockers.push(of_rule(rule)),
            Level::Warn => notes.push((
                Severity::Warn,
                note(&rule.id, "warn", rule.title.clone(), rule.action.clone(), rule.source.clone()),
            )),
        }
    }
    say_once(&mut notes);
    notes.sort_by_key(|(severity, _)| *severity);
    (notes.into_iter().map(|(_, note)| note).collect(), blockers)
}

/// What the change of the edition means for this site, weightiest first, and what of it blocks.
pub(crate) fn of_edition(catalogue: &Catalogue, start: &Start, target: &Version) -> (Vec<Note>, Vec<Note>) {
    let (mut notes, blockers) = judged(catalogue.notes_of_edition(start.edition, target), &start.facts());
    notes.sort_by_key(|(severity, _)| *severity);
    (notes.into_iter().map(|(_, note)| note).collect(), blockers)
}

/// Sorts known notes into those to keep, with their weight here, and those that block.
fn judged<'a>(known: impl Iterator<Item = &'a Known>, facts: &Facts<'_>) -> (Vec<(Severity, Note)>, Vec<Note>) {
    let (mut notes, mut blockers) = (Vec::new(), Vec::new());
    for known in known {
        let say = |severity: Severity| {
            note(&known.id, severity.name(), known.title.clone(), known.action.clone(), known.source.clone())
        };
        match (known.when.holds(facts), known.severity) {
            (Verdict::No, _) => {}
            (Verdict::Yes, Severity::Block) => blockers.push(say(Severity::Block)),
            (Verdict::Unknown, Severity::Block) => notes.push((Severity::Action, say(Severity::Action))),
            (_, severity) => notes.push((severity, say(severity))),
        }
    }
    (notes, blockers)
}

/// Of notes that say the same (`8.0: ...` and the one carried back as `7.8.7: ...`) only the newest is kept.
fn say_once(notes: &mut Vec<(Severity, Note)>) {
    let subject = |note: &Note| {
        let title = note.title.to_lowercase();
        match title.split_once(": ") {
            Some((version, rest)) if Version::parse(version).is_ok() => rest.to_owned(),
            _ => title,
        }
    };
    let subjects: Vec<String> = notes.iter().map(|(_, note)| subject(note)).collect();
    let mut index = 0;
    notes.retain(|_| {
        index += 1;
        !subjects[index..].contains(&subjects[index - 1])
    });
}

/// What a release asks of the host and the database that is not given. Each is said once, at the first release that
/// asks.
pub(crate) fn of_requirement(
    catalogue: &Catalogue,
    start: &Start,
    wish: &Wish,
    (from, to): (&Version, &Version),
) -> Vec<Note> {
    let (before, Some(now)) = (catalogue.requirement(from), catalogue.requirement(to)) else { return Vec::new() };
    let mut blockers = Vec::new();
    if before.is_none_or(|before| before.glibc != now.glibc) {
        blockers.extend(ceiling::blocker(catalogue, start, wish, to));
    }
    blockers
}

/// What is missing to prove the tarball.
pub(crate) fn of_artefact(artefact: Option<&Artefact<'_>>, to: &Version) -> Option<Note> {
    let trust = artefact.map_or(Trust::Unknown, |artefact| artefact.trust);
    let title = match trust {
        Trust::Published => return None,
        Trust::Signed => {
            let title =
                format!("No digest of {to} is known here: mm-fetch proves it by Mattermost's signature, with gpgv");
            return Some(note("signature-only", "info", title, "", "the catalogue"));
        }
        Trust::ThirdParty => {
            let source = artefact.and_then(|artefact| artefact.source).unwrap_or("a third party");
            let title = format!("The digest of {to} for this processor was computed by {source}, not by Mattermost");
            return Some(note("third-party-digest", "info", title, "", source));
        }
        Trust::Draft => format!("The digest of {to} stands only in a draft of the archive page"),
        Trust::Suspect => format!("The published digest of {to} is that of another release"),
        Trust::Unknown => format!("No digest of {to} is known"),
    };
    Some(note(
        "unproven",
        "action",
        title,
        "mm-fetch takes it only with a good signature of Mattermost. Where there is none, give it --sha256 HEX, or add the digest with --catalogue FILE.",
        "the catalogue",
    ))
}

/// Notes that belong to no single hop.
pub(crate) fn about_the_path(catalogue: &Catalogue, start: &Start, wish: &Wish, stops: &[Version]) -> Vec<Note> {
    let mut notes = Vec::new();
    let Some(target) = stops.last() else { return notes };
    if wish.to == Target::Latest {
        let newer = catalogue
            .releases()
            .rfind(|release| release.version > *target && release.artefact(start.edition, start.arch).is_some());
        if let Some(newer) = newer {
            notes.push(note(
                "newer-known",
                "info",
                format!("{} is newer, but no digest of it is known", newer.version),
                "Read it with `mm-fetch refresh`, or name it with --to.",
                "the catalogue",
            ));
        }
    }
    if start.postgres.is_none() {
        notes.push(note(
            "postgres-unknown",
            "info",
            "The PostgreSQL version is not known, so its upgrade is not placed".into(),
            "Give --from-postgres MAJOR, or plan on the host.",
            "the command line",
        ));
    }
    let tolerated = start.postgres.as_ref().and_then(|server| {
        stops.iter().find(|version| {
            let entry = catalogue.requirement(version);
            let documented = entry
                .and_then(|entry| entry.postgres_documented.as_ref())
                .map_or(0, mm_common::mattermost::catalogue::Dotted::major);
            documented > server.major && entry.is_some_and(|entry| !entry.refuses_postgres(server.major))
        })
    });
    if let Some(version) = tolerated {
        let line = Line::of(version);
        notes.push(note(
            "postgres-tolerated",
            "warn",
            format!("{line} starts with this PostgreSQL, but its documents ask for a newer one"),
            "Keep the stop at this release short.",
            "the requirements of the catalogue",
        ));
    }
    notes
}
