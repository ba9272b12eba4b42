//! The statements of the repairs and of their way back.

use mm_common::Result;
use mm_common::contract::error::Context as _;
use mm_common::mattermost::roles::{self, Roles};
use std::fmt::Write as _;

use crate::checks::{nulls, roles as role_checks};
use crate::look::Look;

/// What mends, and what takes it back.
pub(crate) struct Statements {
    /// To be run in one transaction; it checks itself and fails when something stays broken.
    pub(crate) apply: String,
    /// The way back, as a script for psql.
    pub(crate) undo: String,
}

/// Key columns of the tables in which columns are filled.
const KEYS: &[(&str, &[&str])] = &[
    ("channelmembers", &["channelid", "userid"]),
    ("channels", &["id"]),
    ("sidebarcategories", &["id"]),
    ("teammembers", &["teamid", "userid"]),
    ("threadmemberships", &["postid", "userid"]),
    ("uploadsessions", &["id"]),
];

/// Servers 5.35 to 6.3 leave zero in the counts of unread channels; the real counts are nicer and computed here.
/// Thread memberships come first, because mentions in threads are subtracted from those of the channel.
pub(crate) fn null_counts(look: &Look) -> Result<Statements> {
    let apply = "ALTER TABLE threadmemberships ALTER unreadmentions SET DEFAULT 0;
UPDATE threadmemberships SET unreadmentions = 0 WHERE unreadmentions IS NULL;
ALTER TABLE channels ALTER totalmsgcountroot SET DEFAULT 0;
UPDATE channels c SET totalmsgcountroot =
    (SELECT pg_catalog.count(*) FROM posts p WHERE p.channelid = c.id AND p.rootid = '')
  WHERE totalmsgcountroot IS NULL;
ALTER TABLE channelmembers ALTER mentioncountroot SET DEFAULT 0, ALTER msgcountroot SET DEFAULT 0;
UPDATE channelmembers m SET mentioncountroot = greatest(0, coalesce(m.mentioncount, 0) - coalesce((
    SELECT pg_catalog.sum(tm.unreadmentions) FROM threadmemberships tm JOIN threads t ON t.postid = tm.postid
    WHERE tm.userid = m.userid AND t.channelid = m.channelid), 0))
  WHERE mentioncountroot IS NULL;
UPDATE channelmembers m SET msgcountroot = (
    SELECT pg_catalog.count(*) FROM posts p
    WHERE p.channelid = m.channelid AND p.rootid = '' AND p.createat <= coalesce(m.lastviewedat, 0))
  WHERE msgcountroot IS NULL;
ALTER TABLE sidebarcategories ALTER muted SET DEFAULT false, ALTER collapsed SET DEFAULT false;
UPDATE sidebarcategories SET muted = coalesce(muted, false), collapsed = coalesce(collapsed, false)
  WHERE muted IS NULL OR collapsed IS NULL;
ALTER TABLE uploadsessions ALTER remoteid SET DEFAULT '', ALTER reqfileid SET DEFAULT '';
UPDATE uploadsessions SET remoteid = coalesce(remoteid, ''), reqfileid = coalesce(reqfileid, '')
  WHERE remoteid IS NULL OR reqfileid IS NULL;
";
    finish(look, "null-counts", apply)
}

/// What migration 76 fills in: the time of the newest root post.
pub(crate) fn last_root_post(look: &Look) -> Result<Statements> {
    let apply = "ALTER TABLE channels ALTER lastrootpostat SET DEFAULT 0;
UPDATE channels c SET lastrootpostat =
    coalesce((SELECT pg_catalog.max(p.createat) FROM posts p WHERE p.channelid = c.id AND p.rootid = ''), 0)
  WHERE lastrootpostat IS NULL;
";
    finish(look, "last-root-post", apply)
}

/// The fix that the maintainers give for servers of 9.4.
pub(crate) fn scheme_guest(look: &Look) -> Result<Statements> {
    let apply = "UPDATE channelmembers SET schemeguest = false WHERE schemeguest IS NULL;
UPDATE teammembers SET schemeguest = false WHERE schemeguest IS NULL;
";
    finish(look, "scheme-guest", apply)
}

/// Adds the test that nothing stays broken, and makes the way back from the rows as they are now.
fn finish(look: &Look, repair: &str, apply: &str) -> Result<Statements> {
    let columns: Vec<&nulls::Column> = nulls::COLUMNS.iter().filter(|column| column.repair == repair).collect();
    let still: Vec<String> = columns
        .iter()
        .map(|column| format!("EXISTS (SELECT 1 FROM {} WHERE {} IS NULL)", column.table, column.name))
        .collect();
    let proof = format!(
        "DO $mm$ BEGIN IF {} THEN RAISE EXCEPTION 'a NULL is left, so nothing is changed'; END IF; END $mm$;\n",
        still.join(" OR ")
    );
    let mut undo = String::from("BEGIN;\nSET LOCAL lock_timeout = '5s';\n");
    for column in &columns {
        undo.push_str(&undo_of(look, column)?);
    }
    for name in nulls::without_default(look)?.iter().filter_map(|name| name.split_once('.')) {
        if apply.contains(&format!("ALTER TABLE {} ", name.0))
            && apply.contains(&format!("ALTER {} SET DEFAULT", name.1))
        {
            let _ = writeln!(undo, "ALTER TABLE {} ALTER {} DROP DEFAULT;", name.0, name.1);
        }
    }
    undo.push_str("COMMIT;\n");
    Ok(Statements { apply: format!("{apply}{proof}"), undo })
}

/// Statements that empty again what is empty now.
fn undo_of(look: &Look, column: &nulls::Column) -> Result<String> {
    let (table, name) = (column.table, column.name);
    let keys = KEYS.iter().find(|(known, _)| *known == table).map_or(&[] as &[&str], |(_, keys)| keys);
    let condition = keys.iter().map(|key| format!("{key} = %L")).collect::<Vec<_>>().join(" AND ");
    let rows = look
        .database()?
        .rows(&format!(
            "SELECT pg_catalog.format('UPDATE {table} SET {name} = NULL WHERE {condition};', {}) AS line FROM {table} \
             WHERE {name} IS NULL ORDER BY 1",
            keys.join(", ")
        ))
        .context(|| format!("cannot save the way back for {table}.{name}"))?;
    let lines = rows.iter().filter_map(|row| row["line"].as_str());
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

/// What a member cannot do without: given back even without a baseline.
const VITAL: &[(&str, &[&str])] = &[
    ("system_user", &["view_members"]),
    ("team_user", &["view_team"]),
    ("channel_user", &["create_post", "read_channel"]),
];

/// What roles should have: what the baseline had, else what nobody takes away on purpose.
fn wanted(look: &Look) -> Roles {
    if let Some(before) = look.baseline.as_ref().and_then(|baseline| baseline.roles.clone()) {
        return before;
    }
    let set = |permissions: &[&str]| permissions.iter().map(|permission| (*permission).to_owned()).collect();
    VITAL.iter().map(|(role, permissions)| ((*role).to_owned(), set(permissions))).collect()
}

/// Permissions that are lost, as `role: permission`. Roles that are gone altogether cannot be given any.
pub(crate) fn lost_permissions(look: &Look) -> Result<Vec<String>> {
    let now = roles::read(look.database()?)?;
    let mut wanted = wanted(look);
    wanted.retain(|role, _| now.contains_key(role));
    role_checks::lacking(&now, &wanted)
}

/// Adds the lost permissions to their roles.
pub(crate) fn permissions(look: &Look) -> Result<Statements> {
    let database = look.database()?;
    let mut apply = String::new();
    let mut undo = String::from("BEGIN;\n");
    let mut by_role = Roles::new();
    for lost in lost_permissions(look)? {
        if let Some((role, permission)) = lost.split_once(": ") {
            let name = roles::name_in(permission, look.release())?;
            by_role.entry(role.to_owned()).or_default().insert(name.to_owned());
        }
    }
    for (role, lost) in &by_role {
        let role = role.replace('\'', "''");
        let rows = database.rows(&format!(
            "SELECT pg_catalog.format('UPDATE roles SET permissions = %L, updateat = %s WHERE name = %L;', permissions, updateat, name) AS line
             FROM roles WHERE name = '{role}'"
        ))?;
        undo.extend(rows.iter().filter_map(|row| row["line"].as_str()).map(|line| format!("{line}\n")));
        let lost: Vec<String> = lost.iter().map(|permission| permission.replace('\'', "''")).collect();
        let _ = write!(
            apply,
            "UPDATE roles SET permissions = permissions || ' {}', updateat = (extract(epoch FROM pg_catalog.now()) * 1000)::bigint
  WHERE name = '{role}';\n",
            lost.join(" ")
        );
    }
    undo.push_str("COMMIT;\n");
    Ok(Statements { apply, undo })
}
