//! Whether the target still gets corrections.

use mm_common::contract::sections::Note;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Catalogue, Line};
use semver::Version;

use crate::target;
use crate::wish::Target;

/// A warning when the support of the target's line ended before `today` (`2026-11-22`), with the way out of it for a
/// server that is on `current`.
pub(crate) fn ended(
    catalogue: &Catalogue,
    (edition, arch): (Edition, Arch),
    (current, target): (&Version, &Version),
    today: &str,
) -> Option<Note> {
    let end = |version: &Version| catalogue.line(Line::of(version)).and_then(|info| info.end_of_support.as_deref());
    let ended = end(target).filter(|end| *end < today)?;
    let esr = target::resolve(catalogue, &Target::LatestEsr, edition, arch).ok();
    let supported = esr.as_ref().and_then(|esr| Some((esr, end(esr).filter(|end| *end >= today)?)));
    let action = match supported {
        Some((esr, end)) if esr > current => {
            format!("Choose {esr}: the newest extended support release, supported until {end}.")
        }
        Some(_) => "No extended support release that is newer than yours is known: choose a newer release.".into(),
        None => {
            "No extended support release that is supported is known: read newer ones with `mm-fetch refresh`.".into()
        }
    };
    Some(Note {
        id: "support-ended".into(),
        severity: "warn".into(),
        title: format!("Support of {} ended on {ended}: it gets no security fixes any more", Line::of(target)),
        action,
        source: "the catalogue".into(),
    })
}

/// What comes next for a server that has arrived on `installed`: how long it gets corrections, and where to go then.
pub(crate) fn next(catalogue: &Catalogue, installed: &Version, today: &str) -> Option<Note> {
    let line = Line::of(installed);
    let end = catalogue.line(line).and_then(|info| info.end_of_support.as_deref()).filter(|end| *end >= today)?;
    let later = |next: &Line| {
        *next > line && catalogue.line(*next).is_some_and(|info| info.end_of_support.as_deref() > Some(end))
    };
    let then = match catalogue.lines().filter(|next| catalogue.is_esr(*next)).find(later) {
        Some(esr) => format!("Before that day go on to {esr}, the next extended support release: mm-path --to {esr}."),
        None => "The extended support release after it is not known yet: mm-fetch refresh, then mm-path --to latest-esr, tells when it is.".into(),
    };
    Some(Note {
        id: "next-step".into(),
        severity: "info".into(),
        title: format!("{line} gets security fixes until {end}"),
        action: format!("Take its dot releases, about one a month: mm-fetch refresh, then mm-path --to {line}. {then}"),
        source: "the catalogue".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_warned_of_from_the_day_after_its_last() {
        let catalogue = Catalogue::embedded().unwrap();
        let note = |current: &str, target: &str, today: &str| {
            let way = (&current.parse().unwrap(), &target.parse().unwrap());
            ended(&catalogue, (Edition::Team, Arch::Amd64), way, today)
        };
        let esr = target::resolve(&catalogue, &Target::LatestEsr, Edition::Team, Arch::Amd64).unwrap();
        let last = catalogue.line(Line::of(&esr)).unwrap().end_of_support.clone().unwrap();

        assert!(note("5.29.0", "5.37.10", "2022-04-15").is_none(), "the last day");
        let told = note("5.29.0", "5.37.10", "2022-04-16").unwrap();
        assert_eq!((told.id.as_str(), told.severity.as_str()), ("support-ended", "warn"));
        assert!(told.title.contains("5.37 ended on 2022-04-15"), "{}", told.title);
        assert!(told.action.contains(&format!("Choose {esr}: ")) && told.action.contains(&last), "{}", told.action);
        assert!(note("5.29.0", &esr.to_string(), &last).is_none());

        let told = note(&esr.to_string(), "5.37.10", &last).unwrap();
        assert!(told.action.contains("newer than yours"), "no way leads back: {}", told.action);
        let told = note("5.29.0", &esr.to_string(), "2999-01-01").unwrap();
        assert!(told.action.contains("mm-fetch refresh"), "{}", told.action);
        // What comes next: of a line with a successor, of the last one, of one that is over.
        let next = |installed: &str, today: &str| next(&catalogue, &installed.parse().unwrap(), today);
        let told = next("9.11.18", "2024-10-01").unwrap();
        assert!(told.title.contains("9.11 gets security fixes until 20"), "{told:?}");
        assert!(told.action.contains("mm-path --to 10.5.") && told.action.contains("mm-path --to 9.11."), "{told:?}");
        let told = next(&esr.to_string(), &last).unwrap();
        assert!(told.action.contains("not known yet"), "{told:?}");
        assert!(next("5.37.10", "2022-04-16").is_none());
        // A line without a date.
        assert!(note("5.29.0", "12.0.0", "2999-01-01").is_none());
    }
}
