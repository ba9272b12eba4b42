//! Checks of what people would notice: roles, limits of the edition, other nodes.

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::Severity;
use mm_common::mattermost::{nodes, roles};
use semver::Version;

use super::database::DatabaseView;
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<DatabaseView<'a>>> {
    vec![
        Check {
            id: "roles",
            title: "Built-in roles and their permissions",
            source: "roles recorded of each release",
            look: built_in_roles,
        },
        Check {
            id: "entry-history",
            title: "Message history that 11.x shows without a licence",
            source: "mattermost/mattermost#34271",
            look: entry_history,
        },
        Check {
            id: "unlicensed-users",
            title: "Users that 10.6 allows without a licence",
            source: "observed with 10.6.0 and 10.11.6: limits of unlicensed servers",
            look: unlicensed_users,
        },
        Check {
            id: "team-users",
            title: "Users that 11.x allows in Team Edition",
            source: "mattermost/mattermost#33888",
            look: team_users,
        },
        Check {
            id: "nodes",
            title: "Other nodes of a cluster",
            source: "mattermost/docs: high-availability-cluster-based-deployment; important-upgrade-notes v6.0",
            look: other_nodes,
        },
    ]
}

/// The first release with the limits of the new editions.
const LIMITS: Version = Version::new(11, 0, 0);
/// Messages that an unlicensed Enterprise binary shows.
const ENTRY_MESSAGES: u64 = 10_000;
/// Active users of Team Edition.
const TEAM_USERS: u64 = 250;

/// The first release that counts the users of a server without a licence.
const COUNTING: Version = Version::new(10, 6, 0);
/// Active users from which on administrators see a banner there, and from which on no user can be added.
const BANNER: u64 = 2_500;
const FULL: u64 = 5_000;

/// A role that is not there, or may do nothing at all. Permissions that somebody took away are no fault.
fn built_in_roles(view: &DatabaseView<'_>) -> Result<Outcome> {
    let there = roles::read(view.database)?;
    let mut evidence = Vec::new();
    for (name, permissions) in roles::built_in(view.way.from)? {
        match there.get(&name) {
            None => evidence.push(format!("{name} is missing")),
            Some(own) if own.is_empty() && !permissions.is_empty() => {
                evidence.push(format!("{name} has no permissions"));
            }
            Some(_) => {}
        }
    }
    Ok(Outcome::of(evidence, "all are there", |evidence| {
        Bad {
        severity: Severity::Action,
        evidence,
        hop: None,
        fix: "restart the installed release once: it makes its roles at the start; mmctl permissions role reset NAME restores one".into(),
    }
    }))
}

fn entry_history(view: &DatabaseView<'_>) -> Result<Outcome> {
    let Some(hop) = view.way.crossing(&LIMITS) else { return Ok(Outcome::not_crossed("11.0")) };
    if view.way.edition == Edition::Team {
        return Ok(Outcome::Beside("Team Edition shows the whole history".into()));
    }
    if view.way.licence.is_some_and(|licence| !licence.is_empty()) {
        return Ok(Outcome::Beside("there is a licence".into()));
    }
    let messages = view.count("posts", "deleteat = 0")?;
    let evidence = (messages > ENTRY_MESSAGES)
        .then(|| format!("11.x without a licence shows the last {ENTRY_MESSAGES} of your {messages} messages"));
    Ok(Outcome::of(
        evidence.into_iter().collect(),
        &format!("{}, no more than {ENTRY_MESSAGES}", ui::count(messages, "message")),
        |evidence| Bad {
            severity: Severity::Action,
            evidence,
            hop: Some(hop.to.clone()),
            fix: "install a licence, go on as Team Edition, or stay on 10.11".into(),
        },
    ))
}

/// Team Edition has no licence, and an Enterprise binary without one is treated the same.
fn unlicensed_users(view: &DatabaseView<'_>) -> Result<Outcome> {
    let Some(hop) = view.way.crossing(&COUNTING) else { return Ok(Outcome::not_crossed("10.6")) };
    let has_licence = view.way.licence.is_some_and(|licence| !licence.is_empty());
    if view.way.edition != Edition::Team && has_licence {
        return Ok(Outcome::Beside("there is a licence".into()));
    }
    let users = active_users(view)?;
    let (severity, evidence) = if users >= FULL {
        let text = format!("{users} active users; from 10.6 on nobody can be added without a licence from {FULL} on");
        (Severity::Action, Some(text))
    } else {
        let text = format!(
            "{users} active users; from 10.6 on administrators see a banner from {BANNER} on, and from {FULL} on nobody can be added without a licence"
        );
        (Severity::Warn, (users >= BANNER).then_some(text))
    };
    Ok(Outcome::of(evidence.into_iter().collect(), &ui::count(users, "active user"), |evidence| Bad {
        severity,
        evidence,
        hop: Some(hop.to.clone()),
        fix: "deactivate unused accounts, get a licence for Enterprise Edition, or stay on 10.5".into(),
    }))
}

/// Users that a server counts: neither deactivated ones nor bots.
fn active_users(view: &DatabaseView<'_>) -> Result<u64> {
    let bots = if view.has_table("bots") { " AND id NOT IN (SELECT userid FROM bots)" } else { "" };
    view.count("users", &format!("deleteat = 0{bots}"))
}

fn team_users(view: &DatabaseView<'_>) -> Result<Outcome> {
    let Some(hop) = view.way.crossing(&LIMITS) else { return Ok(Outcome::not_crossed("11.0")) };
    if view.way.edition != Edition::Team {
        return Ok(Outcome::Beside("the limit is that of Team Edition".into()));
    }
    let users = active_users(view)?;
    let evidence =
        (users > TEAM_USERS).then(|| format!("{users} active users, and 11.x Team Edition allows {TEAM_USERS}"));
    Ok(Outcome::of(evidence.into_iter().collect(), &ui::count(users, "active user"), |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: Some(hop.to.clone()),
        fix: "deactivate unused accounts, change to Enterprise Edition with a licence, or stay on 10.11".into(),
    }))
}

fn other_nodes(view: &DatabaseView<'_>) -> Result<Outcome> {
    let Some(names) = nodes::reporting(view.database)? else {
        return Ok(Outcome::Beside("there is no table clusterdiscovery".into()));
    };
    let evidence = if names.len() > 1 { names } else { Vec::new() };
    Ok(Outcome::of(evidence, "this is the only one", |evidence| {
        Bad {
        severity: Severity::Action,
        evidence,
        hop: None,
        fix: "stop all other nodes for the whole upgrade: these tools upgrade one, and nodes of 5.x and 6.x must never run together".into(),
    }
    }))
}
