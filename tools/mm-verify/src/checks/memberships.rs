//! Who is in which team.

use std::collections::BTreeMap;

use mm_common::Result;
use mm_common::contract::error::Context as _;
use mm_common::contract::ui;
use serde_json::Value;

use crate::check::{Finding, some};
use crate::look::Look;

/// Members of each team that is not archived, by `name (id)`.
pub(crate) fn by_team(look: &Look) -> Result<BTreeMap<String, u64>> {
    let rows = look
        .database()?
        .rows(
            "SELECT t.name || ' (' || t.id || ')' AS team, pg_catalog.count(m.userid) FILTER (WHERE m.deleteat = 0) AS members
             FROM teams t LEFT JOIN teammembers m ON m.teamid = t.id WHERE t.deleteat = 0 GROUP BY 1",
        )
        .context(|| "cannot read the members of the teams".to_owned())?;
    let team = |row: &Value| row["team"].as_str().unwrap_or_default().to_owned();
    Ok(rows.iter().map(|row| (team(row), row["members"].as_u64().unwrap_or_default())).collect())
}

pub(crate) fn kept(look: &mut Look) -> Result<Finding> {
    let now = by_team(look)?;
    let members: u64 = now.values().sum();
    let evidence = format!("{} with {}", ui::count(now.len(), "team"), ui::count(members, "membership"));
    let orphans = look.database()?.value(
        "SELECT pg_catalog.count(*) FROM teammembers m WHERE m.deleteat = 0
         AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = m.userid)",
    )?;
    if orphans.as_u64().unwrap_or_default() > 0 {
        return Ok(Finding::fail(format!("{evidence}; of a user that is not there: {orphans}"))
            .hint("rows of `users` are missing: compare with the restore point"));
    }
    let Some((baseline, before)) = look.baseline.as_ref().and_then(|it| Some((it, it.teams.as_ref()?))) else {
        // An upgrade of the database cluster can empty a table and still report success (observed).
        let lost = "a restore or an upgrade of the database has lost its rows: compare with the restore point";
        return Ok(match members {
            0 if now.is_empty() => Finding::fail("there is no team").hint(lost),
            0 => Finding::fail(evidence).hint(lost),
            _ => Finding::pass(evidence),
        });
    };
    let mut fewer = Vec::new();
    let mut lost = 0;
    for (team, count) in before {
        let have = now.get(team).copied().unwrap_or_default();
        if have < *count {
            lost += count - have;
            fewer.push(format!("{team} has {have} of {}", ui::count(count, "member")));
        }
    }
    let total: u64 = before.values().sum();
    // People leave teams every day, a few at a time; what loses memberships by mistake loses many.
    let many = lost > 5 && lost * 20 > total;
    let gone = before.keys().any(|team| !now.contains_key(team));
    let finding = if fewer.is_empty() && !gone {
        Finding::pass(evidence)
    } else if many || gone {
        Finding::fail(some(&fewer, 5)).hint("compare `teams` and `teammembers` with the restore point")
    } else {
        Finding::warn(some(&fewer, 5))
    };
    Ok(finding.against(format!(
        "the baseline of {}: {}, {}",
        baseline.created,
        ui::count(before.len(), "team"),
        ui::count(total, "membership")
    )))
}
