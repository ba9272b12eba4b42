//! The thinking, without touching anything: which checks to make, whom to look as, how a finding is judged beside the
//! baseline, and what the whole says.

use std::collections::BTreeSet;

use mm_common::contract::sections::{Check, Status};
use mm_common::contract::ui;
use mm_common::{Error, Kind, Result};

/// Whether `--only` and `--skip` leave this check in. Both name a check (`web.bundles`) or an area (`web`).
pub(crate) fn is_selected(id: &str, only: &[String], skip: &[String]) -> bool {
    let named = |list: &[String]| list.iter().any(|name| covers(name, id));
    (only.is_empty() || named(only)) && !named(skip)
}

fn covers(name: &str, id: &str) -> bool {
    id == name || id.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
}

/// Refuses a name in `--only` or `--skip` that is no check: a typing error must not pass for a clean bill of health.
pub(crate) fn unknown_names(names: &[String], ids: &[&str]) -> Result<()> {
    match names.iter().find(|name| !ids.iter().any(|id| covers(name, id))) {
        None => Ok(()),
        Some(name) => {
            Err(Error::usage(format!("there is no check `{name}`")).hint(format!("the checks are: {}", ids.join(", "))))
        }
    }
}

/// Puts a check beside what the baseline had. A fault that was there before the upgrade stays visible but is not
/// blamed on it.
pub(crate) fn judge(mut check: Check, before: Option<&Check>, when: &str) -> Check {
    let Some(before) = before else { return check };
    match (check.status, before.status) {
        (Status::Fail, Status::Fail | Status::Warn) => {
            check.status = Status::Warn;
            check.evidence = format!("{}; it was so before the upgrade: {}", check.evidence, before.evidence);
            check.compared_with.get_or_insert_with(|| format!("the baseline of {when}: {}", name(before.status)));
        }
        (Status::Fail | Status::Error, status) => {
            check.compared_with.get_or_insert_with(|| format!("the baseline of {when}: {}", name(status)));
        }
        _ => {}
    }
    check
}

/// A status as people and files know it.
pub(crate) fn name(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Fail => "fail",
        Status::Warn => "warn",
        Status::Skip => "skip",
        Status::Error => "error",
    }
}

/// All statuses, worst first, as they are counted in the document.
pub(crate) const STATUSES: [Status; 5] = [Status::Fail, Status::Error, Status::Warn, Status::Skip, Status::Pass];

/// How many checks have a status.
pub(crate) fn count(checks: &[Check], status: Status) -> usize {
    checks.iter().filter(|check| check.status == status).count()
}

/// What the checks say together: a line for people when all is well.
///
/// # Errors
/// Kind `check-says-no` (exit 4) when a check failed, or, with `strict`, could not be made; kind `failed` (exit 1)
/// when nothing failed but no check of an area that was asked for could be made, so that nothing is known of it.
pub(crate) fn verdict(checks: &[Check], strict: bool) -> Result<String> {
    let counts = summary(checks);
    let bad = |check: &&Check| match check.status {
        Status::Fail => true,
        Status::Error | Status::Skip => strict,
        Status::Pass | Status::Warn => false,
    };
    let failed: Vec<&Check> = checks.iter().filter(bad).collect();
    if let Some(first) = failed.first() {
        let say = if failed.len() == 1 { "says" } else { "say" };
        let said = format!("{} of {} {say} no", failed.len(), ui::count(checks.len(), "check"));
        let mut error = Error::new(Kind::CheckSaysNo, said);
        for check in failed.iter().take(10) {
            error = error.because(format!("{}: {}", check.id, check.evidence));
        }
        let hint = failed.iter().find_map(|check| check.hint.clone());
        return Err(error.hint(hint.unwrap_or_else(|| format!("look at the check {}", first.id))));
    }
    for area in checks.iter().map(|check| area(&check.id)).collect::<BTreeSet<_>>() {
        let mut of_area = checks.iter().filter(|check| area_is(check, area) && check.status != Status::Skip).peekable();
        if let Some(first) = of_area.peek().copied()
            && of_area.all(|check| check.status == Status::Error)
        {
            return Err(Error::failed(format!("none of the checks of `{area}` could be made"))
                .because(format!("{}: {}", first.id, first.evidence))
                .hint(first.hint.clone().unwrap_or_else(|| "fix that and run mm-verify again".into())));
        }
    }
    Ok(counts)
}

fn area(id: &str) -> &str {
    id.split('.').next().unwrap_or(id)
}

fn area_is(check: &Check, wanted: &str) -> bool {
    area(&check.id) == wanted
}

/// `31 pass, 1 warn, 2 skip`.
pub(crate) fn summary(checks: &[Check]) -> String {
    let parts: Vec<String> = STATUSES
        .iter()
        .rev()
        .map(|status| (count(checks, *status), name(*status)))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if parts.is_empty() { "no check was asked for".into() } else { parts.join(", ") }
}

/// Somebody one could look as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// User id.
    pub(crate) id: String,
    /// User name.
    pub(crate) username: String,
    /// Teams the user is a member of.
    pub(crate) teams: u64,
    /// Channels with posts the user has not seen: where counts that a jump left empty are read.
    pub(crate) unread: u64,
    /// Whether the user is a guest.
    pub(crate) guest: bool,
}

/// Chooses whom to look as: by turns the most unread channels, a guest, the most teams, and anybody.
pub(crate) fn sample(candidates: &[Candidate], most: usize) -> Vec<Candidate> {
    let mut chosen: Vec<Candidate> = Vec::new();
    let by = |key: fn(&Candidate) -> u64| {
        let mut order: Vec<&Candidate> = candidates.iter().filter(|candidate| key(candidate) > 0).collect();
        order.sort_by_key(|candidate| (std::cmp::Reverse(key(candidate)), candidate.id.clone()));
        order
    };
    let orders = [
        by(|candidate| candidate.unread),
        by(|candidate| u64::from(candidate.guest)),
        by(|candidate| candidate.teams.saturating_sub(1)),
        by(|_| 1),
    ];
    let rounds = orders.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        for order in &orders {
            if chosen.len() < most
                && let Some(candidate) = order.get(round)
                && !chosen.iter().any(|already| already.id == candidate.id)
            {
                chosen.push((*candidate).clone());
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, status: Status) -> Check {
        Check {
            id: id.into(),
            title: id.into(),
            status,
            evidence: "seen".into(),
            compared_with: None,
            hint: None,
            seconds: 0.0,
        }
    }

    #[test]
    fn only_and_skip_name_checks_and_areas() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(is_selected("web.root", &[], &[]));
        assert!(is_selected("web.root", &list(&["web"]), &[]));
        assert!(!is_selected("web.root", &list(&["web"]), &list(&["web.root"])));
        assert!(!is_selected("website.root", &list(&["web"]), &[]));
        assert!(unknown_names(&list(&["web", "web.root"]), &["web.root"]).is_ok());
        assert_eq!(unknown_names(&list(&["wep"]), &["web.root"]).unwrap_err().code(), 2);
    }

    #[test]
    fn what_was_broken_before_is_not_blamed_on_the_upgrade() {
        let now = |before: Option<Status>| {
            let before = before.map(|status| check("a.b", status));
            judge(check("a.b", Status::Fail), before.as_ref(), "yesterday")
        };
        assert_eq!(now(None).status, Status::Fail);
        assert_eq!(now(Some(Status::Fail)).status, Status::Warn);
        let worse = now(Some(Status::Pass));
        assert_eq!(worse.status, Status::Fail);
        assert_eq!(worse.compared_with.as_deref(), Some("the baseline of yesterday: pass"));
    }

    #[test]
    fn could_not_look_is_neither_a_pass_nor_a_fail() {
        let good = check("a.one", Status::Pass);
        let unknown = check("a.two", Status::Error);
        assert!(verdict(&[good.clone(), unknown.clone()], false).is_ok());
        assert_eq!(verdict(&[good.clone(), unknown.clone()], true).unwrap_err().code(), 4);
        let nothing_known = verdict(&[good.clone(), check("b.one", Status::Error)], false).unwrap_err();
        assert_eq!((nothing_known.code(), nothing_known.causes()[0].as_str()), (1, "b.one: seen"));
        assert!(nothing_known.to_string().contains("`b`"), "{nothing_known}");
        assert_eq!(verdict(&[unknown, check("b.one", Status::Fail)], false).unwrap_err().code(), 4);
        assert_eq!(verdict(&[good.clone(), check("b.one", Status::Skip)], true).unwrap_err().code(), 4);
        assert_eq!(verdict(&[good, check("b.one", Status::Skip)], false).unwrap(), "1 pass, 1 skip");
    }

    #[test]
    fn those_in_whom_a_fault_shows_are_looked_as_first() {
        let candidate =
            |id: &str, teams, unread, guest| Candidate { id: id.into(), username: id.into(), teams, unread, guest };
        let all = [
            candidate("a", 1, 0, false),
            candidate("b", 3, 0, false),
            candidate("c", 1, 9, false),
            candidate("d", 1, 0, true),
            candidate("e", 1, 5, false),
        ];
        let names = |most| sample(&all, most).into_iter().map(|person| person.id).collect::<String>();
        assert_eq!(names(3), "cdb");
        assert_eq!(names(5), "cdbae");
        assert_eq!(names(0), "");
    }
}
