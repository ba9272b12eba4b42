//! The configuration that the server keeps in a database (`MM_CONFIG=postgres://...`). The active row of table
//! `configurations` is the one it reads; a change is a new row, and the one before stays with `active` NULL
//! (server/config/database.go, 5.x to 10.x).
//!
//! A change of ours is a new row too. Editing the active one would leave its `sha` of the text before (6.0 and newer),
//! by which the server decides whether there is anything to save: settings saved later that bring that very text back
//! would be dropped. And the row before is what an administrator goes back to by hand.

use super::token::Edits;
use crate::contract::error::{Error, Result};
use crate::machine::user::User;
use crate::postgres::dump;
use crate::postgres::fingerprint;
use crate::postgres::server::Database;
use crate::postgres::source::DataSource;

/// Its name.
pub(super) const TABLE: &str = "configurations";

/// A row of `configurations`.
pub(super) struct Row {
    id: String,
    pub(super) value: String,
}

/// Connects to the database that a configuration is kept in.
///
/// # Errors
/// Refused when it is one of MySQL.
pub(super) fn open(place: &str, owner: &User) -> Result<Database> {
    if place.starts_with("mysql://") {
        return Err(Error::refused("the configuration is in a MySQL database (MM_CONFIG)").because("these tools read it from a file or from PostgreSQL").hint(
            "make a file of it, as the user of the server and with the MM_CONFIG of its unit: bin/mattermost config migrate \"$MM_CONFIG\" config/config.json (6.0 and later: bin/mmctl --local config migrate); then take MM_CONFIG out of the unit or its environment file, and restart the server",
        ));
    }
    Database::connect(&DataSource::parse_for(place, &owner.name)?, Some(owner))
}

/// What a write of the table would run besides: nothing, where this holds of it. Its owner can put functions of his own
/// into each of them, and they would run as the superuser.
const PLAIN: &str = "SELECT NOT c.relhasrules AND NOT c.relhastriggers AND NOT c.relrowsecurity AND c.relkind = 'r'
  AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype NOT IN ('p', 'u', 'n'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid = c.oid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      AND (t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace OR coalesce(pg_catalog.to_jsonb(a)->>'attgenerated', '') <> ''
           OR a.atthasdef AND a.attname NOT IN ('id', 'value', 'createat', 'active', 'sha')))
  FROM pg_catalog.pg_class c WHERE c.oid = ";

/// The table of the configurations as SQL names it: where the session of its role finds it, or, for a superuser's, where
/// that one does. `None` where there is none.
pub(super) fn table(database: &Database) -> Result<Option<String>> {
    let schemas = database.schemas()?;
    let list: Vec<String> = schemas.iter().map(|name| dump::literal(name)).collect();
    let rows = database.rows(&format!(
        "SELECT name FROM (
           SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, c.relkind
           FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[]) WITH ORDINALITY AS s(name, place)
           JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) s.name::pg_catalog.name
           JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid
            AND c.relname OPERATOR(pg_catalog.=) '{TABLE}'::pg_catalog.name
           WHERE c.relkind::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'f'])
           ORDER BY s.place LIMIT 1) AS first
         WHERE relkind OPERATOR(pg_catalog.=) 'r'",
        list.join(", ")
    ))?;
    Ok(rows.first().and_then(|row| row["name"].as_str()).map(str::to_owned))
}

fn named(database: &Database) -> Result<String> {
    table(database)?
        .ok_or_else(|| Error::failed(format!("the database `{}` holds no table `configurations`", database.name)))
}

/// The row that the server reads.
pub(super) fn active(database: &Database) -> Result<Row> {
    active_if_any(database)?.ok_or_else(|| {
        Error::failed(format!("the database `{}` holds no active configuration", database.name))
            .hint("start the server once: it makes one")
    })
}

/// As [`active`], where there is one.
pub(super) fn active_if_any(database: &Database) -> Result<Option<Row>> {
    let held = if database.is_superuser() { fingerprint::hold_table(database, TABLE)? } else { database.clone() };
    let rows = held.rows(&format!("SELECT id, value FROM ONLY {} WHERE active", named(&held)?))?;
    let text = |key: &str| rows.first().and_then(|row| row[key].as_str()).map(str::to_owned);
    Ok(text("id").zip(text("value")).map(|(id, value)| Row { id, value }))
}

/// Whether there is a row with this id.
pub(super) fn has(database: &Database, id: &str) -> Result<bool> {
    Ok(database.value(&format!("SELECT pg_catalog.count(*) FROM {} WHERE id = {}", named(database)?, quoted(id)))? != 0)
}

/// Makes a new active row of `row`, with `edits` made in the strings that begin at the given bytes. The text itself is
/// put together by the database: it holds passwords, and a statement may be quoted in an error.
pub(super) fn replace(database: &Database, row: &Row, id: &str, edits: &[(usize, Edits)], new: &str) -> Result<()> {
    let old = quoted(&row.id);
    let table = named(database)?;
    let oid = format!("{}::pg_catalog.regclass", dump::literal(&table));
    let has_sum = database.value(&format!(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute WHERE attrelid = {oid} AND attname = 'sha' AND NOT attisdropped"
    ))? != 0;
    let (sum, of_text) =
        if has_sum { (", sha", ", encode(sha256(convert_to(text, 'UTF8')), 'hex')") } else { ("", "") };
    let statements = format!(
        "UPDATE ONLY {table} SET active = NULL WHERE active AND id = {old};
         INSERT INTO {table} (id, value, createat, active{sum})
         SELECT {}, text, (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint, true{of_text}
         FROM (SELECT {} AS text FROM ONLY {table} WHERE id = {old}) AS changed",
        quoted(id),
        expression(&row.value, edits)
    );
    if database.is_superuser() {
        // Looked at under a lock that keeps it so.
        database.execute(&format!(
            "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;
             SELECT ({PLAIN}{oid}) AS mm_plain \\gset\n\\if :mm_plain\n{statements};\n\\endif\n"
        ))?;
    } else {
        database.execute(&statements)?;
    }
    let written = active(database)?;
    if written.id == id && written.value == new {
        return Ok(());
    }
    Err(Error::failed("the configuration in the database is not as it was written")
        .because(format!("the active row of `configurations` is {}", written.id))
        .because("somebody else changed it at the same time, or the table has triggers, rules, constraints or types of its owner's")
        .hint("run this again; if it stays so, change the address in the row by hand"))
}

/// `value` with the edits made, as SQL. It counts characters where a text is counted in bytes here.
fn expression(value: &str, edits: &[(usize, Edits)]) -> String {
    let mut changes: Vec<(usize, usize, &str)> = edits
        .iter()
        .flat_map(|(begin, edits)| edits.each().map(move |(at, bytes, new)| (begin + at, bytes, new)))
        .collect();
    changes.sort_unstable();
    let count = |from: usize, to: usize| value.get(from..to).map_or(0, |part| part.chars().count());
    let (mut pieces, mut at, mut characters) = (Vec::new(), 0, 0);
    for (place, bytes, new) in changes {
        let kept = count(at, place);
        pieces.push(format!("substr(value, {}, {kept})", characters + 1));
        pieces.push(quoted(new));
        characters += kept + count(place, place + bytes);
        at = place + bytes;
    }
    pieces.push(format!("substr(value, {})", characters + 1));
    pieces.join(" || ")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::super::token::{Replacement, Token};
    use super::*;

    #[test]
    fn the_statement_holds_nothing_but_the_change() {
        let value = r#"{"a":"é","b":"postgres://u:hunter2@h:5432/d"}"#;
        let begin = value.find("\"postgres").unwrap();
        let token = Token::json(value, begin..value.len() - 1).unwrap();
        let port = token.value.find("5432").unwrap();
        let edits = token.edits(value, &[Replacement { range: port..port + 4, with: "5433".into() }]).unwrap();
        let sql = expression(value, &[(begin, edits)]);
        let before = value[..begin + 1 + port].chars().count();
        assert_eq!(sql, format!("substr(value, 1, {before}) || '5433' || substr(value, {})", before + 5));
    }
}
