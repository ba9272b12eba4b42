//! What a server comes to whose administrator has not said where to go: what runs, how long it is supported, what the newest
//! releases would take, and the next command.

use std::fmt::Write as _;

use jiff::civil::Date;
use mm_common::contract::sections::Path;
use mm_common::contract::terminal::wrap;
use mm_common::contract::ui;
use mm_common::mattermost::catalogue::{Catalogue, Driver, LONGEST, Line};
use serde_json::Value;

use crate::human::duration;
use crate::moves;
use crate::plan::Start;

/// What is asked about, with the way there.
pub(crate) struct Ways {
    pub(crate) latest_esr: Path,
    pub(crate) latest: Path,
}

/// The text of it. `install` is the install root as the shell takes it.
pub(crate) fn text(catalogue: &Catalogue, start: &Start, install: &str, ways: &Ways, today: Date) -> String {
    let mut text = String::new();
    let database = match &start.postgres {
        Some(server) => format!(" on PostgreSQL {}", server.major),
        None if start.driver == Some(Driver::Mysql) => format!(" on {}", moves::engine(start)),
        None => String::new(),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Mattermost {} ({}){database} in {install}.", start.version, start.edition);
    let _ = writeln!(text, "{}", support(catalogue, start, today));
    let (esr, latest) = (&ways.latest_esr, &ways.latest);
    wrap(&mut text, "Latest ESR  ", "            ", &way(catalogue, esr));
    if latest.target != esr.target {
        wrap(&mut text, "Latest      ", "            ", &way(catalogue, latest));
    }
    let age = catalogue.age(today);
    if age > LONGEST {
        let _ = writeln!(text, "The release data is {age} days old: mm-fetch refresh brings what came out since.");
    }
    let to = if esr.next.is_some() || !esr.blockers.is_empty() { "latest-esr" } else { "latest" };
    let chosen = if to == "latest" { latest } else { esr };
    if chosen.next.is_some() || !chosen.blockers.is_empty() {
        let _ = writeln!(text, "Next: mm-path --install {install} --to {to} --check --format human");
    } else {
        let _ = writeln!(text, "Nothing to do, by the release data of {}.", catalogue.as_of());
    }
    text
}

fn support(catalogue: &Catalogue, start: &Start, today: Date) -> String {
    let line = Line::of(&start.version);
    let today = today.to_string();
    match catalogue.line(line).and_then(|info| info.end_of_support.as_deref()) {
        Some(end) if *end < *today => format!("Support of {line} ended on {end}: it gets no security fixes any more."),
        Some(end) => format!("{line} gets security fixes until {end}."),
        None => format!("When the support of {line} ends is not known here."),
    }
}

/// One way in a sentence.
fn way(catalogue: &Catalogue, path: &Path) -> String {
    let until = catalogue.line(Line::of(&path.target)).and_then(|info| info.end_of_support.as_deref());
    let until = until.map_or_else(String::new, |day| format!(" (supported until {day})"));
    if let Some(first) = path.blockers.first() {
        return format!("{}{until}: blocked: {}", path.target, first.title);
    }
    if path.hops.is_empty() {
        return format!("{}: installed, or something newer is", path.target);
    }
    let stops = path.hops.iter().filter(|hop| !hop.is_of_database_alone());
    let stops: Vec<String> = stops.map(|hop| hop.to.to_string()).collect();
    let mut text = format!("{}{until}: {}", path.target, ui::count(path.hops.len(), "hop"));
    if stops.len() > 1 {
        let _ = write!(text, " ({})", stops.join(", "));
    }
    if let Some((needs, major)) = path.hops.iter().find_map(|hop| Some((&hop.needs, hop.needs.postgres?))) {
        let how = if needs.is_move { "moved to " } else { "" };
        let _ = write!(text, ", {how}PostgreSQL {major} on the way");
    }
    let seconds = path.hops.iter().filter_map(|hop| hop.estimate.get("seconds").and_then(Value::as_f64));
    let seconds: f64 = seconds.sum();
    if seconds >= 1.0 {
        let _ = write!(text, ", about {} of migrations", duration(seconds));
    }
    text
}

#[cfg(test)]
mod tests {
    use mm_common::contract::version::Edition;

    use super::*;
    use crate::plan::plan;
    use crate::wish::{Policy, Wish};

    #[test]
    fn a_server_is_told_where_it_stands_and_what_comes_next() {
        let catalogue = Catalogue::embedded().unwrap();
        let said = |version: &str, glibc: &str, today: &str| {
            let mut start = Start::on_paper(version.parse().unwrap(), Edition::Team);
            start.glibc = Some(glibc.parse().unwrap());
            start.rows.insert("posts".into(), 12_000_000);
            let way = |to: &str| {
                let (to, policy) = (to.parse().unwrap(), Policy::Esr);
                let wish = Wish { to, policy, via: Vec::new(), avoid: Vec::new(), postgres: None, edition: None };
                plan(&catalogue, &start, &wish).unwrap().path
            };
            let ways = Ways { latest_esr: way("latest-esr"), latest: way("latest") };
            text(&catalogue, &start, "/opt/mattermost", &ways, today.parse().unwrap())
        };
        let old = said("9.11.18", "2.36", "2026-12-01");
        for words in [
            "Mattermost 9.11.18 (team) in /opt/mattermost.\nSupport of 9.11 ended on 2025-05-15",
            "Latest ESR  11.7.15 (supported until 2027-05-15): 3 hops (10.5.14, 10.11.",
            "Latest      12.1.0: ",
            "min of migrations",
            "\nNext: mm-path --install /opt/mattermost --to latest-esr --check --format human\n",
        ] {
            assert!(old.contains(words), "{words}: {old}");
        }
        let limited = said("11.7.15", "2.31", "2027-02-01");
        assert!(limited.contains("11.7 gets security fixes until 2027-05-15."), "{limited}");
        assert!(
            limited.contains("blocked: 12.1.0 needs glibc 2.34") && limited.contains("mm-fetch refresh"),
            "{limited}"
        );
        assert!(limited.contains("--to latest --check"), "{limited}");
        assert!(said("12.1.0", "2.36", "2026-12-01").ends_with("Nothing to do, by the release data of 2026-11-28.\n"));
    }
}
