//! What a preflight comes to: one line, what to do first, and the next command.

use std::fmt::Write as _;

use mm_common::contract::sections::{Note, Path, Status};
use mm_common::contract::shell;
use mm_common::contract::terminal::wrap;
use mm_common::contract::ui;
use mm_common::mattermost::catalogue::Severity;

/// Where an installation and its restore points are, for commands that run as they stand.
pub(crate) struct Places<'a> {
    pub(crate) install: &'a std::path::Path,
    pub(crate) store: &'a std::path::Path,
}

/// The end of a plan with `--check`.
pub(crate) fn lines(path: &Path, places: &Places<'_>) -> String {
    let mut text = String::from("\n");
    if path.next.is_none() && path.blockers.is_empty() {
        text.push_str("Nothing to do.\n");
        return text;
    }
    if let Some(first) = path.blockers.first() {
        let more = path.blockers.len() - 1;
        let more = if more == 0 { String::new() } else { format!(", and by {more} more") };
        wrap(&mut text, "", "  ", &format!("Blocked by: {}{more}.", first.title));
        wrap(&mut text, "", "  ", &format!("First: {}", first.action));
        return text;
    }
    let first = to_do(path);
    let line = match first.len() {
        0 => "Ready.".to_owned(),
        count => format!("Ready with {} to do first:", ui::count(count, "thing")),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
    for (number, what) in first.iter().enumerate() {
        wrap(&mut text, &format!("{:>3}. ", number + 1), "     ", what);
    }
    let (install, store) = (shell::word(places.install), shell::word(places.store));
    let _ = writeln!(text, "Next: mm-backup --install {install} --to {store}");
    let _ = writeln!(text, "then: mm-rehearse --install {install} --store {store} --to {}", path.target);
    text
}

/// What is to be done before the upgrade, the most important first: what could not be looked at, what this host was found to
/// lack, then what the notes of the hops and of the path ask for. Each is said once.
fn to_do(path: &Path) -> Vec<String> {
    let of = |status| path.checks.iter().filter(move |check| check.status == status);
    let unseen = of(Status::Error).map(|check| (check.id.as_str(), format!("{}: could not be looked at", check.title)));
    let found = of(Status::Fail).map(|check| (check.id.as_str(), check.title.clone()));
    let mut all: Vec<(&str, String)> = unseen.chain(found).collect();
    let asks = |note: &&Note| note.severity == Severity::Action.name() && note.id != "postgres-upgrade";
    let of_hops = path.hops.iter().flat_map(|hop| hop.notes.iter().filter(asks).map(move |note| (note, Some(&hop.to))));
    let of_path = path.notes.iter().filter(asks).map(|note| (note, None));
    for (note, hop) in of_hops.chain(of_path) {
        if all.iter().all(|(id, _)| *id != note.id) {
            let before = hop.map_or_else(String::new, |hop| format!(" (before {hop})"));
            all.push((&note.id, format!("{}{before}", note.title)));
        }
    }
    all.into_iter().map(|(_, what)| what).collect()
}

#[cfg(test)]
mod tests {
    use mm_common::contract::sections::Preflight;
    use mm_common::contract::version::Edition;
    use mm_common::mattermost::catalogue::Catalogue;

    use super::*;
    use crate::plan::{Start, plan};
    use crate::wish::{Policy, Wish};

    fn path(from: &str, to: &str) -> Path {
        let to = to.parse().unwrap();
        let wish = Wish { to, policy: Policy::Esr, via: Vec::new(), avoid: Vec::new(), postgres: None, edition: None };
        let start = Start::on_paper(from.parse().unwrap(), Edition::Team);
        plan(&Catalogue::embedded().unwrap(), &start, &wish).unwrap().path
    }

    fn check(id: &str, status: Status) -> Preflight {
        let (id, title) = (id.to_owned(), format!("About {id}"));
        let empty = String::new;
        Preflight { id, title, status, severity: empty(), evidence: empty(), hop: None, fix: empty(), source: empty() }
    }

    #[test]
    fn a_preflight_ends_with_what_to_do_and_the_next_command() {
        let said =
            |path: &Path| lines(path, &Places { install: "/opt/matter most".as_ref(), store: "/srv/b".as_ref() });
        let mut ready = path("10.5.14", "10.6.1");
        for note in ready.hops.iter_mut().flat_map(|hop| &mut hop.notes) {
            note.severity = "info".into();
        }
        ready.checks = vec![check("a", Status::Pass), check("b", Status::Warn)];
        let text = said(&ready);
        assert!(text.starts_with("\nReady.\nNext: mm-backup --install '/opt/matter most' --to /srv/b\n"), "{text}");
        assert!(text.ends_with("--store /srv/b --to 10.6.1\n"), "{text}");

        let mut first = path("9.11.18", "12.0");
        first.checks = vec![check("json", Status::Fail), check("disk", Status::Fail), check("db", Status::Error)];
        let text = said(&first);
        let list =
            "things to do first:\n  1. About db: could not be looked at\n  2. About json\n  3. About disk\n  4. ";
        assert!(text.contains(list), "{text}");
        assert!(text.contains("(before 12.0.2)") && text.contains("\nNext: mm-backup"), "{text}");

        first.blockers.push(Note { title: "T".into(), action: "do X".into(), ..first.hops[0].notes[0].clone() });
        assert_eq!(said(&first), "\nBlocked by: T.\nFirst: do X\n");
        assert_eq!(said(&path("10.6.1", "10.6.1")), "\nNothing to do.\n");
    }
}
