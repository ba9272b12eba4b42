//! Removing what the checks have put into the database and the file store, for good, and proving that nothing is left.
//! The API only marks things as deleted; so this is done in SQL, on every table that names one of our identifiers.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;

use mm_common::contract::error::Context as _;
use mm_common::machine::guise::Guise;
use mm_common::machine::tree::{self, Dir};
use mm_common::mattermost::id;
use mm_common::mattermost::session::Traces;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::server::Database;
use mm_common::{Error, Result};
use serde_json::Value;

/// Names of temporary users and channels begin like this; nothing else is ever removed.
pub(crate) const PREFIX: &str = "mm-verify-";

/// Columns in which an identifier of a user, channel or post of ours may stand.
const COLUMNS: &[(&str, Of)] = &[
    ("userid", Of::User),
    ("creatorid", Of::User),
    ("channelid", Of::Channel),
    ("postid", Of::Post),
    ("rootid", Of::Post),
];

/// What a column names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    User,
    Channel,
    Post,
}

/// Removes whatever the record of traces names: of this run at its end, of a crashed one at the beginning of the next.
/// Returns how many users, channels and sessions were named.
pub(crate) fn sweep(database: &Database, traces: &Traces, installation: &Installation) -> Result<usize> {
    let recorded = traces.read()?;
    if recorded.is_empty() {
        return Ok(0);
    }
    ours(database, "users", "username", &recorded.users)?;
    ours(database, "channels", "name", &recorded.channels)?;
    let places = places(database)?;
    let posts = posts_of(database, &recorded.users, &recorded.channels)?;
    let mut sql = String::from("SET LOCAL lock_timeout = '5s';\n");
    // Posts have their own list: they may be millions, and not all of these columns have an index there.
    for (table, column, of) in places.iter().filter(|(table, _, _)| table != "posts") {
        let ids = match of {
            Of::User => list(&recorded.users),
            Of::Channel => list(&recorded.channels),
            Of::Post => list(&posts),
        };
        let _ = writeln!(sql, "DELETE FROM {table} WHERE {column} IN ({ids});");
    }
    let _ = write!(
        sql,
        "DELETE FROM posts WHERE id IN ({});
         DELETE FROM channels WHERE id IN ({});
         DELETE FROM users WHERE id IN ({});
         DELETE FROM sessions WHERE id IN ({});",
        list(&posts),
        list(&recorded.channels),
        list(&recorded.users),
        list(&recorded.sessions)
    );
    remove_files(database, installation, &recorded.users, &recorded.channels)?;
    mm_common::machine::checkpoint::pass("verify-files-erased");
    database.execute(&sql).context(|| "cannot remove what the checks have put into the database".to_owned())?;
    mm_common::machine::checkpoint::pass("verify-rows-erased");
    let left = left(database, &places, &recorded.users, &recorded.channels, &recorded.sessions)?;
    if !left.is_empty() {
        return Err(Error::failed("something of the checks is left in the database").because(left.join(", ")));
    }
    traces.note(|record| {
        record.users.retain(|id| !recorded.users.contains(id));
        record.channels.retain(|id| !recorded.channels.contains(id));
        record.sessions.retain(|id| !recorded.sessions.contains(id));
    })?;
    Ok(recorded.users.len() + recorded.channels.len() + recorded.sessions.len())
}

/// The posts of our users, and all that stand in our channels.
fn posts_of(database: &Database, users: &[String], channels: &[String]) -> Result<Vec<String>> {
    let rows = database
        .rows(&format!("SELECT id FROM posts WHERE userid IN ({}) OR channelid IN ({})", list(users), list(channels)))
        .context(|| "cannot read which messages the checks have written".to_owned())?;
    Ok(rows.iter().filter_map(|row| row["id"].as_str()).map(str::to_owned).collect())
}

/// Refuses when a recorded identifier belongs to something that is not of our making.
fn ours(database: &Database, table: &str, column: &str, ids: &[String]) -> Result<()> {
    let rows = database.rows(&format!("SELECT id, {column} AS name FROM {table} WHERE id IN ({})", list(ids)))?;
    match rows.iter().find(|row| !row["name"].as_str().unwrap_or_default().starts_with(PREFIX)) {
        None => Ok(()),
        Some(row) => Err(Error::refused(format!("{} of `{table}` is recorded as ours, but is not", row["id"]))
            .because(format!("its {column} is {}", row["name"]))
            .hint("look at the record traces.json in the state directory")),
    }
}

/// Every table and column that may name something of ours: a table that this user may not write to was not written to
/// by the server either.
fn places(database: &Database) -> Result<Vec<(String, String, Of)>> {
    let names = COLUMNS.iter().map(|(column, _)| format!("'{column}'")).collect::<Vec<_>>().join(", ");
    let rows = database
        .rows(&format!(
            "SELECT pg_catalog.quote_ident(c.relname) AS table, a.attname::pg_catalog.text AS column
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
             WHERE n.nspname = pg_catalog.current_schema() AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
               AND a.attname IN ({names}) AND pg_catalog.has_table_privilege(c.oid, 'DELETE') ORDER BY 1, 2"
        ))
        .context(|| "cannot read which tables name users and channels".to_owned())?;
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    Ok(rows
        .iter()
        .filter_map(|row| {
            let column = text(row, "column");
            let of = COLUMNS.iter().find(|(name, _)| *name == column)?.1;
            Some((text(row, "table"), column, of))
        })
        .collect())
}

/// Where anything of ours still stands, as `table.column`.
fn left(
    database: &Database,
    places: &[(String, String, Of)],
    users: &[String],
    channels: &[String],
    sessions: &[String],
) -> Result<Vec<String>> {
    let exists = |table: &str, column: &str, ids: &[String]| {
        format!(
            "SELECT '{table}.{column}' AS place WHERE EXISTS (SELECT 1 FROM {table} WHERE {column} IN ({}))",
            list(ids)
        )
    };
    let mut queries =
        vec![exists("users", "id", users), exists("channels", "id", channels), exists("sessions", "id", sessions)];
    for (table, column, of) in places {
        match of {
            Of::User => queries.push(exists(table, column, users)),
            Of::Channel => queries.push(exists(table, column, channels)),
            // Its posts are gone when no post names the user or the channel.
            Of::Post => {}
        }
    }
    let rows = database
        .rows(&queries.join(" UNION ALL "))
        .context(|| "cannot see whether anything of the checks is left".to_owned())?;
    Ok(rows.iter().filter_map(|row| row["place"].as_str()).map(str::to_owned).collect())
}

/// Removes the uploaded files of our users and the pictures the server drew for them. Files lie in
/// `YYYYMMDD/teams/noteam/channels/CHANNEL/users/USER/FILE/name` and `users/USER` (observed). The configuration says where,
/// rows say which, and the server which channel is ours: so it is done with no more rights than the server has.
fn remove_files(database: &Database, installation: &Installation, users: &[String], channels: &[String]) -> Result<()> {
    let rows = database
        .rows(&format!("SELECT path FROM fileinfo WHERE creatorid IN ({})", list(users)))
        .context(|| "cannot read which files the checks have uploaded".to_owned())?;
    let remove = || -> Result<()> {
        let Ok(root) = Dir::open_following(&installation.data) else { return Ok(()) };
        for row in &rows {
            let path = Path::new(row["path"].as_str().unwrap_or_default());
            let mut above = path.ancestors();
            // The directory that bears the name of our channel, and all below it, is ours alone.
            let ours = above.find(|place| {
                place.file_name().and_then(OsStr::to_str).is_some_and(|name| channels.iter().any(|id| id == name))
            });
            if let Some(place) = ours {
                remove_below(&root, place)?;
            }
        }
        for user in users {
            remove_below(&root, &Path::new("users").join(user))?;
        }
        Ok(())
    };
    Guise::of(&installation.owner)?.map_or_else(remove, |guise| guise.run(remove))
}

/// Removes what is at `place`, and the directories above it that hold nothing else: the first upload of a day made them.
fn remove_below(root: &Dir, place: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else { return Ok(()) };
    match root.descend(parent)? {
        Some(directory) if directory.look(name)?.is_some() => tree::remove_in(&directory, name)?,
        _ => return Ok(()),
    }
    for above in parent.ancestors() {
        let (Some(parent), Some(name)) = (above.parent(), above.file_name()) else { break };
        // One that is not empty refuses to go, and so do those above it: that is the answer wanted.
        let gone = root.descend(parent)?.is_some_and(|directory| directory.remove_directory(name).is_ok());
        if !gone {
            break;
        }
    }
    Ok(())
}

/// Identifiers as a list for `IN`; never empty, as SQL wants one.
fn list(ids: &[String]) -> String {
    let quoted: Vec<String> = ids.iter().filter(|text| id::is_id(text)).map(|id| format!("'{id}'")).collect();
    if quoted.is_empty() { "NULL".to_owned() } else { quoted.join(", ") }
}
