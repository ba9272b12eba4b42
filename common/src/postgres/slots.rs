//! Replication slots. No dump has them: a logical one is of one database as it is, and follows neither a restore nor, before 17, an
//! upgrade (`pg_upgrade` in PostgreSQL's manual); a physical one is of the cluster, and follows no upgrade at all. One that nobody
//! reads any more keeps the write-ahead log from being removed.

use super::dump::literal;
use super::server::Database;
use crate::contract::error::Result;

/// A slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Of a logical one: its output plugin, and its database.
    pub logical: Option<(String, String)>,
    /// The command that drops it.
    pub dropping: String,
    /// The command that makes it anew, in a database of the same name.
    pub making: String,
}

/// What a logical slot can have besides: since which major, its column of `pg_replication_slots`, and the argument that gives it.
const OPTIONS: [(u32, &str, &str); 2] = [(14, "two_phase", "twophase"), (17, "failover", "failover")];

/// The slots of a server that outlast their session.
///
/// # Errors
/// When the server cannot be asked.
pub fn all(server: &Database) -> Result<Vec<Slot>> {
    // Before 10 there were none that end with their session.
    let lasting = if server.major() >= 10 { "NOT temporary" } else { "true" };
    let options: Vec<_> = OPTIONS.iter().filter(|(major, ..)| server.major() >= *major).collect();
    let columns = options.iter().map(|(_, column, _)| format!(", {column}")).collect::<Vec<_>>().concat();
    let rows = server.rows(&format!(
        "SELECT slot_name::pg_catalog.text AS name, plugin::pg_catalog.text AS plugin, database::pg_catalog.text AS database{columns}
         FROM pg_catalog.pg_replication_slots WHERE {lasting} ORDER BY 1"
    ))?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let slot = |row: &serde_json::Value| {
        let name = text(&row["name"])?;
        let logical = text(&row["plugin"]).zip(text(&row["database"]));
        let quoted = literal(&name);
        let making = match &logical {
            Some((plugin, database)) => {
                let plugin = literal(plugin);
                let set = options.iter().filter(|(_, column, _)| row[*column] == true);
                let set = set.map(|(.., argument)| format!(", {argument} => true")).collect::<Vec<_>>().concat();
                let sql = format!("SELECT pg_catalog.pg_create_logical_replication_slot({quoted}, {plugin}{set})");
                server.sibling(database).shown(&sql)
            }
            None => server.shown(&format!("SELECT pg_catalog.pg_create_physical_replication_slot({quoted})")),
        };
        let dropping = server.shown(&format!("SELECT pg_catalog.pg_drop_replication_slot({quoted})"));
        Some(Slot { name, logical, dropping, making })
    };
    Ok(rows.iter().filter_map(slot).collect())
}

/// Those of one database.
///
/// # Errors
/// As [`all`].
pub fn of_database(server: &Database, name: &str) -> Result<Vec<Slot>> {
    let is_of = |slot: &Slot| slot.logical.as_ref().is_some_and(|(_, database)| database == name);
    Ok(all(server)?.into_iter().filter(is_of).collect())
}

impl Slot {
    /// What it is, for people.
    pub fn in_words(&self) -> String {
        match &self.logical {
            Some((plugin, database)) => format!("logical slot {} ({plugin}) of {database}", self.name),
            None => format!("slot {}", self.name),
        }
    }
}
