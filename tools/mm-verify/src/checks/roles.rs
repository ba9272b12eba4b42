//! Roles and permissions: who could post, list and join teams before must still be able to.

use mm_common::Result;
use mm_common::contract::ui;
use mm_common::mattermost::roles::{self, Roles};

use crate::check::{Finding, some};
use crate::look::Look;

/// What an ordinary member needs, by role. An administrator may have taken some away on purpose, so beside a baseline
/// only what was lost counts as a fault.
const NEEDED: &[(&str, &[&str])] = &[
    ("system_user", &["list_public_teams", "join_public_teams", "view_members", "create_direct_channel"]),
    ("team_user", &["view_team", "list_team_channels", "join_public_channels", "read_public_channel"]),
    ("channel_user", &["create_post", "read_channel", "upload_file", "edit_post", "add_reaction"]),
];

/// Without these a member cannot use the server at all; nobody takes them away on purpose.
const VITAL: &[&str] = &["view_team", "create_post", "read_channel", "view_members"];

pub(crate) fn needed(look: &mut Look) -> Result<Finding> {
    let now = roles::read(look.database()?)?;
    let before = look.baseline.as_ref().and_then(|baseline| baseline.roles.as_ref());
    let has = |roles: &Roles, role: &str, permission: &str| {
        roles.get(role).is_some_and(|permissions| permissions.contains(permission))
    };
    let (mut lost, mut absent) = (Vec::new(), Vec::new());
    for (role, permissions) in NEEDED {
        for permission in permissions.iter().filter(|permission| !has(&now, role, permission)) {
            let is_lost = before.map_or_else(|| VITAL.contains(permission), |before| has(before, role, permission));
            if is_lost { &mut lost } else { &mut absent }.push(format!("{role}: {permission}"));
        }
    }
    let finding = if !lost.is_empty() {
        Finding::fail(format!("missing: {}", some(&lost, 8))).hint("mm-verify repair --fix permissions")
    } else if absent.is_empty() {
        Finding::pass("members have what they need")
    } else if before.is_some() {
        Finding::pass(format!("missing now as before: {}", some(&absent, 8)))
    } else {
        Finding::warn(format!("missing, perhaps on purpose: {}", some(&absent, 8)))
    };
    Ok(match &look.baseline {
        Some(baseline) => finding.against(format!("the baseline of {}", baseline.created)),
        None => finding,
    })
}

pub(crate) fn kept(look: &mut Look) -> Result<Finding> {
    let now = roles::read(look.database()?)?;
    let release = look.release().clone();
    let built_in = roles::built_in(&release)?;
    let absent: Vec<&String> = built_in.keys().filter(|role| !now.contains_key(*role)).collect();
    if !absent.is_empty() {
        return Ok(Finding::fail(format!("built-in roles that are not there: {}", some(&absent, 5)))
            .against(format!("the roles of {release}"))
            .hint("the server makes them while it starts; look into its log, then restart it"));
    }
    let before = look.baseline.as_ref().and_then(|baseline| baseline.roles.clone());
    let Some(before) = before else {
        let lacking = lacking(&now, &built_in)?;
        let finding = if lacking.is_empty() {
            Finding::pass(format!("{} roles have what {release} gives them", now.len()))
        } else {
            let count = ui::count(lacking.len(), "permission");
            Finding::pass(format!("{count} not given, perhaps on purpose: {}", some(&lacking, 5)))
        };
        return Ok(finding.against(format!("the roles of {release}")));
    };
    let lost = lacking(&now, &before)?;
    let finding = if lost.is_empty() {
        Finding::pass(format!("{} roles have all they had", before.len()))
    } else {
        // Nothing was ever taken away by a release up to 9.10 (observed).
        Finding::fail(format!("lost: {}", some(&lost, 8))).hint("mm-verify repair --fix permissions")
    };
    Ok(match &look.baseline {
        Some(baseline) => finding.against(format!("the baseline of {} ({})", baseline.created, baseline.version)),
        None => finding,
    })
}

/// What `wanted` has and `now` has not, as `role: permission`.
pub(crate) fn lacking(now: &Roles, wanted: &Roles) -> Result<Vec<String>> {
    let mut lacking = Vec::new();
    for (role, permissions) in wanted {
        for permission in permissions {
            let held = now.get(role).map_or(Ok(false), |held| roles::holds(held, permission))?;
            if !held {
                lacking.push(format!("{role}: {permission}"));
            }
        }
    }
    Ok(lacking)
}
