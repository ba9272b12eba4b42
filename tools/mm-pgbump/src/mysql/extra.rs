//! Tables that only MySQL has, such as those of plugins: with `--with-extra-tables` their rows go as they are into a schema of
//! their own, where the server does not look. Numbers and bytes stay such; of all else the text is kept that MySQL shows, so that no
//! date and no fraction is another one afterwards.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mm_common::postgres::dump::identifier;
use mm_common::postgres::server::Database;
use mm_common::{Context as _, Result};

use super::shape::{Column, Pair, Shapes};
use super::source;
use super::value::{Kind, Rule};

/// The schema.
pub(crate) const SCHEMA: &str = "mm_from_mysql";

/// Bytes of a name that PostgreSQL keeps.
const LONGEST_NAME: usize = 63;

/// Makes the tables in the target, without keys and defaults, and adds them to what is carried.
///
/// # Errors
/// When they cannot be made.
pub(crate) fn add(shapes: &mut Shapes, tables: &BTreeMap<String, source::Table>, own: &Database) -> Result<()> {
    let names = std::mem::take(&mut shapes.extra);
    let mut sql = format!("CREATE SCHEMA {SCHEMA}");
    let before = shapes.pairs.len();
    for name in &names {
        let name = name.to_lowercase();
        let Some(table) = tables.get(&name) else { continue };
        let longest = table.columns.iter().map(|column| &column.name).chain([&name]).map(String::len).max();
        if longest.is_some_and(|longest| longest > LONGEST_NAME) {
            shapes
                .misfits
                .push(format!("the table {name}, or a column of it, has a name of more than {LONGEST_NAME} bytes"));
            continue;
        }
        if !table.storage.eq_ignore_ascii_case("innodb") {
            shapes.unsteady.push(format!("{} ({})", table.name, table.storage));
        }
        let pair = pair(&name, table);
        let columns: Vec<String> = pair
            .columns
            .iter()
            .map(|column| format!("{} {}", identifier(&column.to), type_of(&column.rule.kind)))
            .collect();
        // Writing to a String cannot fail.
        let _ = write!(sql, ";\nCREATE TABLE {SCHEMA}.{} ({})", identifier(&name), columns.join(", "));
        shapes.pairs.push(pair);
    }
    if shapes.pairs.len() == before {
        return Ok(());
    }
    own.execute_verbatim(&sql).context(|| "cannot make the tables that only MySQL has".to_owned())
}

fn pair(name: &str, table: &source::Table) -> Pair {
    let column = |column: &source::Column| Column {
        from: column.name.clone(),
        to: column.name.to_lowercase(),
        rule: Rule { kind: kind(&column.data_type, column.is_unsigned), nullable: true, lower: false },
    };
    let mut columns: Vec<Column> = table.columns.iter().map(column).collect();
    columns.sort_by(|one, other| one.to.cmp(&other.to));
    let at = |name: &String| columns.iter().position(|column| column.to == name.to_lowercase());
    let key = table.key.iter().filter_map(at).collect();
    Pair { from: table.name.clone(), to: name.to_owned(), schema: Some(SCHEMA), columns, key, unique: Vec::new() }
}

/// What a type of MySQL is kept as.
fn kind(data_type: &str, is_unsigned: bool) -> Kind {
    const SPATIAL: [&str; 9] = [
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
    ];
    match data_type {
        "tinyint" | "smallint" | "mediumint" | "int" => Kind::Integer(64),
        "bigint" if !is_unsigned => Kind::Integer(64),
        "bit" | "binary" | "varbinary" => Kind::Bytes,
        other if other.ends_with("blob") || SPATIAL.contains(&other) => Kind::Bytes,
        _ => Kind::Text(None),
    }
}

fn type_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Integer(_) => "pg_catalog.int8",
        Kind::Bytes => "pg_catalog.bytea",
        _ => "pg_catalog.text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_read_otherwise_is_kept_as_text() {
        for (data_type, is_unsigned, kept) in [
            ("int", true, "pg_catalog.int8"),
            ("bigint", false, "pg_catalog.int8"),
            ("bigint", true, "pg_catalog.text"),
            ("decimal", false, "pg_catalog.text"),
            ("double", false, "pg_catalog.text"),
            ("datetime", false, "pg_catalog.text"),
            ("json", false, "pg_catalog.text"),
            ("bit", false, "pg_catalog.bytea"),
            ("mediumblob", false, "pg_catalog.bytea"),
            ("point", false, "pg_catalog.bytea"),
        ] {
            assert_eq!(type_of(&kind(data_type, is_unsigned)), kept, "{data_type}");
        }
    }
}
