//! How old the release data is: what a planner has to say before anybody trusts it.

use std::fmt::Write as _;

use jiff::civil::Date;
use mm_common::contract::sections::Note;
use mm_common::contract::ui;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Catalogue, LONGEST, Line, Release};
use semver::Version;

use crate::wish::{Spot, Target};

/// What brings it up to date.
const REFRESH: &str =
    "Read the newer releases with `mm-fetch refresh` (or give them with --catalogue FILE), and plan again.";

/// A warning when the data is so old that the target is hardly what was meant: `latest` and the like, a line, or a
/// release of a line in which a newer one is known.
pub(crate) fn warning(catalogue: &Catalogue, wished: &Target, target: &Version, today: Date) -> Option<Note> {
    let age = catalogue.age(today);
    let newest = catalogue.releases_of(Line::of(target)).next_back().map(|release| &release.version);
    let overtaken = newest.is_some_and(|newest| newest > target);
    let exact = matches!(wished, Target::Spot(Spot::Version(_)));
    if age <= LONGEST || (exact && !overtaken) {
        return None;
    }
    let (as_of, line) = (catalogue.as_of(), Line::of(target));
    Some(Note {
        id: "catalogue-old".into(),
        severity: "warn".into(),
        title: format!(
            "The release data is of {as_of}, {age} days ago: {line} has had releases with security fixes since, and there are newer lines"
        ),
        action: REFRESH.into(),
        source: "the catalogue".into(),
    })
}

/// A note about upgrade notes that were published after those of the catalogue, on a way to a release that they may be about.
pub(crate) fn unread(catalogue: &Catalogue, target: &Version) -> Option<Note> {
    let unread = catalogue.unread_notes().filter(|unread| unread.count > 0)?;
    let (first, last) = (Version::new(0, 0, 0), Version::new(u64::MAX, 0, 0));
    let newest = catalogue.notes_between(&first, &last).map(|note| &note.version).max()?;
    (target > newest).then(|| Note {
        id: "notes-unread".into(),
        severity: "action".into(),
        title: format!(
            "{} of Mattermost's are newer than this catalogue, and not in this plan",
            ui::count(unread.count, "upgrade note")
        ),
        action: format!("Read those up to {target}: {}", unread.link),
        source: "the catalogue".into(),
    })
}

/// The line whose rules a release follows that came out after the catalogue: its own, while that is supported, or else the
/// newest. None for one that cannot have come out since.
pub(crate) fn newest_before(catalogue: &Catalogue, version: &Version) -> Option<Line> {
    let newest = &catalogue.releases().next_back()?.version;
    let own = Line::of(version);
    match catalogue.releases_of(own).next_back() {
        Some(known) => {
            let ends = catalogue.line(own).and_then(|info| info.end_of_support.as_deref());
            let supported = ends.is_none_or(|end| *end >= *catalogue.as_of().to_string());
            (supported && known.version < *version).then_some(own)
        }
        None => (*newest < *version && version.major <= newest.major + 1).then(|| Line::of(newest)),
    }
}

/// A note about an installed release that is not in the catalogue: newer than it, or one that never came out.
pub(crate) fn unknown(catalogue: &Catalogue, installed: &Version) -> Option<Note> {
    if catalogue.release(installed).is_some() {
        return None;
    }
    let below = catalogue.releases().rfind(|release| release.version < *installed).map(|release| &release.version);
    let above = catalogue.releases().find(|release| release.version > *installed).map(|release| &release.version);
    let is_newer = newest_before(catalogue, installed).is_some();
    let nearest: Vec<String> = [below, above].into_iter().flatten().map(ToString::to_string).collect();
    let (severity, title, action) = if is_newer {
        let title =
            format!("The installed release {installed} is newer than the release data of {}", catalogue.as_of());
        ("info", title, REFRESH.to_owned())
    } else {
        let title = format!("There is no release {installed} of Mattermost; the nearest are {}", nearest.join(" and "));
        ("warn", title, "Look at System Console > About, or give the right one with --from.".to_owned())
    };
    Some(Note {
        id: "installed-unknown".into(),
        severity: severity.into(),
        title,
        action,
        source: "the catalogue".into(),
    })
}

/// `--catalogue-status`.
pub(crate) fn status(catalogue: &Catalogue, today: Date) -> String {
    let mut text = String::new();
    let (age, count) = (catalogue.age(today), catalogue.releases().count());
    // Writing to a String cannot fail.
    let _ = writeln!(text, "The release data is of {}, {age} days old: {count} releases.", catalogue.as_of());
    let _ =
        writeln!(text, "\n{:<7} {:<10} {:<12} {:<5} {:<15} DATA", "LINE", "NEWEST", "RELEASED", "ESR", "SUPPORT ENDS");
    let day = today.to_string();
    for line in catalogue.lines() {
        let ends = catalogue.line(line).and_then(|info| info.end_of_support.as_deref());
        let Some(newest) = catalogue.releases_of(line).next_back() else { continue };
        // Early lines have no date, nor has one that is too new for one.
        let supported = ends.map_or(newest.released.as_deref().is_none_or(|day| day > "2026"), |end| end >= &*day);
        if supported {
            row(&mut text, catalogue, line, newest, ends.unwrap_or("not known"));
        }
    }
    if let Some(unread) = catalogue.unread_notes().filter(|unread| unread.count > 0) {
        let _ =
            writeln!(text, "\n{} newer than this catalogue: {}", ui::count(unread.count, "upgrade note"), unread.link);
    }
    if age > LONGEST {
        let _ = writeln!(text, "\nOlder than {LONGEST} days. {REFRESH}");
    }
    text
}

fn row(text: &mut String, catalogue: &Catalogue, line: Line, newest: &Release, ends: &str) {
    let proof = match newest.artefact(Edition::Team, Arch::Amd64) {
        Some(artefact) if artefact.is_proven() => "digest known",
        _ => "proven by its signature",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:<7} {:<10} {:<12} {:<5} {ends:<15} {}, {proof}",
        line.to_string(),
        newest.version.to_string(),
        newest.released.as_deref().unwrap_or("not known"),
        if catalogue.is_esr(line) { "yes" } else { "" },
        catalogue.origin(&newest.version).name(),
    );
}

#[cfg(test)]
mod tests {
    use mm_common::mattermost::catalogue::Overlay;

    use super::*;

    fn told(wished: &str, target: &str, days: i32) -> bool {
        let catalogue = Catalogue::embedded().unwrap();
        let today = catalogue.as_of().saturating_add(jiff::Span::new().days(days));
        let note = warning(&catalogue, &wished.parse().unwrap(), &target.parse().unwrap(), today);
        note.is_some_and(|note| note.action.contains("mm-fetch refresh") && note.severity == "warn")
    }

    #[test]
    fn old_data_is_said_where_it_matters_from_the_forty_sixth_day_on() {
        assert!(!told("latest-esr", "11.7.15", 45) && told("latest-esr", "11.7.15", 46));
        assert!(told("latest", "12.1.0", 46) && told("11.7", "11.7.15", 46));
        assert!(told("11.7.10", "11.7.10", 46), "11.7.15 is known");
        assert!(!told("11.7.10", "11.7.10", 1), "it was asked for by name");
        assert!(!told("12.1.0", "12.1.0", 400), "nothing newer of that line is known");
    }

    #[test]
    fn a_release_of_after_the_catalogue_follows_the_rules_of_the_line_before_it() {
        let catalogue = Catalogue::embedded().unwrap();
        let newest = catalogue.releases().next_back().unwrap().version.clone();
        let like = |version: Version| newest_before(&catalogue, &version).map(|line| line.to_string());
        let newest_line = Some(Line::of(&newest).to_string());
        assert_eq!(like(Version::new(newest.major, newest.minor, newest.patch + 1)), newest_line);
        assert_eq!(like(Version::new(newest.major, newest.minor + 2, 0)), newest_line);
        assert_eq!(like(Version::new(newest.major + 1, 0, 0)), newest_line);
        assert_eq!(like("11.7.99".parse().unwrap()).as_deref(), Some("11.7"));
        for never in ["99.0.0", "7.3.9", "4.99.1", "11.99.0"] {
            assert_eq!(like(never.parse().unwrap()), None, "{never}");
        }
    }

    #[test]
    fn an_installed_release_that_never_came_out_is_told_with_its_neighbours() {
        let catalogue = Catalogue::embedded().unwrap();
        let told = |version: &str| unknown(&catalogue, &version.parse().unwrap());
        assert!(told("10.6.1").is_none());
        let never = told("4.99.1").unwrap();
        assert!(
            never.severity == "warn" && never.title.contains("4.10.10") && never.title.contains("5.0.0"),
            "{never:?}"
        );
        let since = told("11.7.99").unwrap();
        assert!(since.severity == "info" && since.action.contains("mm-fetch refresh"), "{since:?}");
    }

    #[test]
    fn notes_that_nobody_has_put_into_the_catalogue_are_told_on_the_way_to_what_they_may_be_about() {
        let mut catalogue = Catalogue::embedded().unwrap();
        assert_eq!(unread(&catalogue, &Version::new(12, 99, 0)), None);
        let refreshed =
            r#"{"as_of": "2999-01-01", "unread_notes": {"count": 2, "link": "https://docs.example.com/notes"}}"#;
        catalogue.merge_refreshed(Overlay::parse("refreshed", refreshed).unwrap());
        let told = unread(&catalogue, &Version::new(12, 99, 0)).unwrap();
        assert!(
            told.title.starts_with("2 upgrade notes") && told.action.ends_with("docs.example.com/notes"),
            "{told:?}"
        );
        assert_eq!(unread(&catalogue, &Version::new(10, 6, 1)), None);
    }

    #[test]
    fn the_status_tells_age_lines_and_origin() {
        let catalogue = Catalogue::embedded().unwrap();
        let text = status(&catalogue, "2026-12-01".parse().unwrap());
        assert!(text.starts_with("The release data is of 2026-11-28, 3 days old"), "{text}");
        let esr = text.lines().find(|line| line.starts_with("11.7 ")).unwrap();
        assert!(esr.contains("11.7.15") && esr.contains("yes") && esr.contains("2027-05-15"), "{esr}");
        assert!(esr.ends_with("built in, proven by its signature"), "{esr}");
        assert!(!text.contains("10.11 ") && !text.contains("mm-fetch refresh"), "{text}");
        assert!(status(&catalogue, "2027-03-01".parse().unwrap()).contains("mm-fetch refresh"));
    }
}
