//! The aftermath of a jump over 5.35 to 6.3: columns that the server reads into numbers and booleans, empty in old rows.
//!
//! Servers 5.30 to 6.3 add eight columns with defaults; the migrations used from 6.4 on add the same columns without
//! defaults and fill only some rows (observed for jumps from 5.29.0 to 6.7.0 and later). `lastrootpostat` was left empty
//! by a later migration on some servers (reported for 6.x). `schemeguest` is empty in every membership from before 5.12,
//! which brought the column; that hurts in 9.4 alone (reported), as every other release takes NULL for false.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use mm_common::Result;
use mm_common::contract::ui;
use semver::Version;

use crate::check::{Finding, some};
use crate::look::Look;

/// A column that must not be NULL.
pub(crate) struct Column {
    /// Its table.
    pub(crate) table: &'static str,
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether a server of 5.30 to 6.3 gives it a default.
    has_default: bool,
    /// The column that names the user who suffers.
    user: Option<&'static str>,
    /// What fails.
    breaks: &'static str,
    /// The repair that mends it.
    pub(crate) repair: &'static str,
}

const MEMBERS: &str =
    "GET /users/me/teams/TEAM/channels/members (no team opens, no text box) and GET /users/me/teams/unread";
const CATEGORIES: &str = "GET /users/me/teams/TEAM/channels/categories";
const CHANNELS: &str = "GET /users/me/teams/TEAM/channels";
const GUESTS: &str = "reading memberships in 9.4, and nothing in other releases";
const COUNTS: &str = "null-counts";

/// All of them.
pub(crate) const COLUMNS: &[Column] = &[
    column("channelmembers", "mentioncountroot", true, Some("userid"), MEMBERS, COUNTS),
    column("channelmembers", "msgcountroot", true, Some("userid"), MEMBERS, COUNTS),
    column("channels", "totalmsgcountroot", true, None, CHANNELS, COUNTS),
    column("threadmemberships", "unreadmentions", true, Some("userid"), "GET /users/ID/teams/TEAM/threads", COUNTS),
    column("sidebarcategories", "muted", true, Some("userid"), CATEGORIES, COUNTS),
    column("sidebarcategories", "collapsed", true, Some("userid"), CATEGORIES, COUNTS),
    column("uploadsessions", "remoteid", true, None, "resuming an upload", COUNTS),
    column("uploadsessions", "reqfileid", true, None, "resuming an upload", COUNTS),
    column("channels", "lastrootpostat", false, None, CHANNELS, "last-root-post"),
    column("channelmembers", "schemeguest", false, Some("userid"), GUESTS, "scheme-guest"),
    column("teammembers", "schemeguest", false, Some("userid"), GUESTS, "scheme-guest"),
];

const fn column(
    table: &'static str,
    name: &'static str,
    has_default: bool,
    user: Option<&'static str>,
    breaks: &'static str,
    repair: &'static str,
) -> Column {
    Column { table, name, has_default, user, breaks, repair }
}

/// The columns that this database has; older releases lack some.
fn present(look: &Look) -> Result<Vec<&'static Column>> {
    let tables: BTreeSet<&str> = COLUMNS.iter().map(|column| column.table).collect();
    let there = look.columns(&tables.into_iter().collect::<Vec<_>>())?;
    Ok(COLUMNS.iter().filter(|column| there.contains(&format!("{}.{}", column.table, column.name))).collect())
}

/// A column with NULL rows.
pub(crate) struct Empty {
    /// The column.
    pub(crate) column: &'static Column,
    /// How many rows.
    pub(crate) rows: u64,
    users: Vec<String>,
    user_count: u64,
}

/// Which columns have NULL rows, and who suffers.
pub(crate) fn empty(look: &Look) -> Result<Vec<Empty>> {
    let present = present(look)?;
    let counts: Vec<String> = present
        .iter()
        .enumerate()
        .map(|(at, column)| {
            format!("SELECT {at} AS at, pg_catalog.count(*) AS n FROM {} WHERE {} IS NULL", column.table, column.name)
        })
        .collect();
    if counts.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for row in look.database()?.rows(&format!("{} ORDER BY 1", counts.join(" UNION ALL ")))? {
        let rows = row["n"].as_u64().unwrap_or_default();
        let at = row["at"].as_u64().and_then(|at| usize::try_from(at).ok());
        let Some(column) = at.and_then(|at| present.get(at)).filter(|_| rows > 0) else { continue };
        let (users, user_count) = who_suffers(look, column)?;
        found.push(Empty { column, rows, users, user_count });
    }
    Ok(found)
}

fn who_suffers(look: &Look, column: &Column) -> Result<(Vec<String>, u64)> {
    let Some(user) = column.user else { return Ok((Vec::new(), 0)) };
    let who = look.database()?.rows(&format!(
        "SELECT pg_catalog.count(*) OVER () AS n, u.username FROM
           (SELECT DISTINCT {user} AS id FROM {} WHERE {} IS NULL) AS x JOIN users u ON u.id = x.id
         WHERE u.deleteat = 0 ORDER BY u.username LIMIT 5",
        column.table, column.name
    ))?;
    let count = who.first().and_then(|row| row["n"].as_u64()).unwrap_or_default();
    Ok((who.iter().filter_map(|row| row["username"].as_str()).map(str::to_owned).collect(), count))
}

impl Empty {
    /// Whether `release` cannot read it.
    fn hurts(&self, release: &Version) -> bool {
        self.column.name != "schemeguest" || (release.major, release.minor) == (9, 4)
    }

    fn words(&self) -> String {
        let mut words =
            format!("{}.{} is NULL in {}", self.column.table, self.column.name, ui::count(self.rows, "row"));
        if !self.users.is_empty() {
            let more = self.user_count.saturating_sub(self.users.len() as u64);
            let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let _ = write!(words, " of {} ({}{and_more})", ui::count(self.user_count, "user"), self.users.join(", "));
        }
        words.push_str(", which breaks ");
        words.push_str(self.column.breaks);
        words
    }
}

pub(crate) fn nulls(look: &mut Look) -> Result<Finding> {
    let empty = empty(look)?;
    if empty.is_empty() {
        return Ok(Finding::pass(format!("none of {} columns has a NULL", present(look)?.len())));
    }
    let words: Vec<String> = empty.iter().map(Empty::words).collect();
    let why = if has_jumped(look)? {
        ". Why: this database was younger than 5.35 when a server of 6.4 or later first met it (an upgrade that left out \
         5.35 to 6.3), and that server's migrations fill these columns only in part"
    } else {
        ""
    };
    let fixes: BTreeSet<&str> = empty.iter().map(|empty| empty.column.repair).collect();
    let fixes: Vec<String> = fixes.iter().map(|id| format!("--fix {id}")).collect();
    let evidence = format!("{}{why}", words.join("; "));
    let hurts = empty.iter().any(|empty| empty.hurts(look.release()));
    let finding = if hurts { Finding::fail(evidence) } else { Finding::warn(evidence) };
    Ok(finding.hint(format!("mm-verify repair {}", fixes.join(" "))))
}

/// Whether the database skipped the releases that would have filled the columns: the defaults they set are missing.
/// A database first made by 6.4 or later never had them either, so this says something only beside NULLs.
fn has_jumped(look: &Look) -> Result<bool> {
    Ok(look.level()?.migrations.is_some() && !without_default(look)?.is_empty())
}

/// Columns among those present that lack the default a server of 5.30 to 6.3 would have set.
pub(crate) fn without_default(look: &Look) -> Result<Vec<String>> {
    let pairs: Vec<String> = COLUMNS
        .iter()
        .filter(|column| column.has_default)
        .map(|column| format!("('{}','{}')", column.table, column.name))
        .collect();
    let rows = look.database()?.rows(&format!(
        "SELECT table_name || '.' || column_name AS name FROM information_schema.columns
         WHERE table_schema = pg_catalog.current_schema() AND column_default IS NULL
           AND (table_name, column_name) IN ({}) ORDER BY 1",
        pairs.join(", ")
    ))?;
    Ok(rows.iter().filter_map(|row| row["name"].as_str()).map(str::to_owned).collect())
}

pub(crate) fn defaults(look: &mut Look) -> Result<Finding> {
    let without = without_default(look)?;
    if without.is_empty() {
        return Ok(Finding::pass("all have them, or this release does not have the columns yet"));
    }
    let evidence = format!("without a default: {}", some(&without, 8));
    // A Version row of 5.x beside db_migrations is left by a jump only (observed).
    if look.level()?.systems_version.as_deref().is_some_and(|version| version.starts_with("5.")) {
        return Ok(Finding::warn(format!("{evidence}; this database jumped over 5.35 to 6.3"))
            .hint("mm-verify repair --fix null-counts sets them"));
    }
    Ok(Finding::pass(format!("{evidence}, as on every database that 6.4 or later made first")))
}
