//! Which table and column of MySQL becomes which of PostgreSQL: by their names in lower case, and by the types that the
//! server itself has given to its tables in PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};

use mm_common::Result;
use mm_common::postgres::dump::{identifier, literal};
use mm_common::postgres::server::Database;
use serde_json::Value;

use super::source;
use super::value::{Kind, Rule};

/// Tables whose rows stay as the server has made them: they are about the schema, or about who runs at this moment.
const OF_THE_SERVER: [&str; 5] =
    ["db_migrations", "schema_migrations", "db_lock", "db_config_migrations", "clusterdiscovery"];

/// By what the server looks people, teams and channels up, in lower case; the other columns that are unique with it.
const LOWERED: [(&str, &str, &[&str]); 5] = [
    ("users", "username", &[]),
    ("users", "email", &[]),
    ("teams", "name", &[]),
    ("channels", "name", &["teamid"]),
    ("publicchannels", "name", &["teamid"]),
];

/// A column on both sides.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub from: String,
    pub to: String,
    pub rule: Rule,
}

impl Column {
    /// What COPY is to give of it: of a list its JSON, which is one form of it.
    pub(crate) fn shown(&self) -> String {
        let name = identifier(&self.to);
        if matches!(self.rule.kind, Kind::Texts(_)) { format!("pg_catalog.array_to_json({name})") } else { name }
    }
}

/// A table on both sides.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub from: String,
    pub to: String,
    /// Its schema where that is not the server's.
    pub schema: Option<&'static str>,
    /// In the order of their names, in which rows are compared.
    pub columns: Vec<Column>,
    /// Which of them are the primary key.
    pub key: Vec<usize>,
    /// Lists of columns that may not be equal in two rows once they are in lower case.
    pub unique: Vec<Vec<usize>>,
}

/// Both databases side by side.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// The schema of the server in PostgreSQL.
    pub schema: String,
    /// In an order in which no row refers to one that is not there yet.
    pub pairs: Vec<Pair>,
    /// Tables that refer to others, and those that are referred to.
    pub bound: BTreeSet<String>,
    /// Every table in PostgreSQL whose rows are exchanged for those of MySQL.
    pub emptied: Vec<String>,
    /// Tables that only MySQL has.
    pub extra: Vec<String>,
    /// Why the two do not fit, in words.
    pub misfits: Vec<String>,
    /// Tables whose storage engine knows no snapshots.
    pub unsteady: Vec<String>,
}

struct Wanted {
    name: String,
    kind: Option<Kind>,
    kind_in_words: String,
    nullable: bool,
    has_default: bool,
}

/// A value for people: what can be read of its beginning. A row may hold as much as memory does.
pub(crate) fn in_short(value: &[u8]) -> String {
    const MOST: usize = 256;
    let text = String::from_utf8_lossy(&value[..value.len().min(MOST)]);
    let mut short = text.escape_debug().to_string();
    if value.len() > MOST {
        short.push_str("...");
    }
    short
}

impl Pair {
    /// Which row this is, for people: its key.
    pub(crate) fn row(&self, values: &[Option<&[u8]>]) -> String {
        let key = self.key.iter().map(|at| {
            let value = values.get(*at).copied().flatten().map(in_short);
            format!("{}={}", self.columns[*at].to, value.as_deref().unwrap_or("NULL"))
        });
        let key: Vec<String> = key.collect();
        if key.is_empty() { self.to.clone() } else { format!("{} {}", self.to, key.join(" ")) }
    }

    /// What it is called in reports.
    pub(crate) fn told(&self) -> String {
        self.schema.map_or_else(|| self.to.clone(), |schema| format!("{schema}.{}", self.to))
    }

    /// Its columns as MySQL calls them.
    pub(crate) fn columns_there(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.from.clone()).collect()
    }
}

impl Shapes {
    /// Looks at both sides.
    pub(crate) fn of(tables: &BTreeMap<String, source::Table>, own: &Database) -> Result<Self> {
        let schema = own.schemas()?.into_iter().next().unwrap_or_else(|| "public".into());
        let wanted = wanted(own, &schema)?;
        let mut shapes = Self { schema: schema.clone(), ..Self::default() };
        for (name, columns) in &wanted {
            if name == "clusterdiscovery" {
                shapes.emptied.push(name.clone());
            }
            if OF_THE_SERVER.contains(&name.as_str()) {
                continue;
            }
            shapes.emptied.push(name.clone());
            let Some(table) = tables.get(name) else {
                shapes.misfits.push(format!("the release has a table {name}, and MySQL has none"));
                continue;
            };
            if !table.storage.eq_ignore_ascii_case("innodb") {
                shapes.unsteady.push(format!("{} ({})", table.name, table.storage));
            }
            shapes.pair(name, table, columns);
        }
        let carried = |name: &&String| !wanted.contains_key(*name) && !OF_THE_SERVER.contains(&name.as_str());
        shapes.extra = tables.keys().filter(carried).map(|name| tables[name].name.clone()).collect();
        let references = references(own, &schema)?;
        shapes.bound = references.iter().flat_map(|(one, others)| others.iter().chain([one])).cloned().collect();
        shapes.sort(&references);
        Ok(shapes)
    }

    fn pair(&mut self, name: &str, table: &source::Table, columns: &[Wanted]) {
        let there: BTreeMap<String, &source::Column> =
            table.columns.iter().map(|column| (column.name.to_lowercase(), column)).collect();
        let known: BTreeSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        for column in there.keys().filter(|column| !known.contains(column.as_str())) {
            self.misfits.push(format!("MySQL has a column {name}.{column}, and the release has none"));
        }
        let mut pairs = Vec::new();
        for wanted in columns {
            let Some(found) = there.get(&wanted.name) else {
                if !wanted.has_default && !wanted.nullable {
                    self.misfits.push(format!("the release has a column {name}.{}, and MySQL has none", wanted.name));
                }
                continue;
            };
            let Some(kind) = wanted.kind.clone() else {
                let (column, kind) = (&wanted.name, &wanted.kind_in_words);
                self.misfits
                    .push(format!("{name}.{column} is a {kind} in PostgreSQL, and a {} in MySQL", found.data_type));
                continue;
            };
            let lower = LOWERED.iter().any(|(table, column, _)| *table == name && *column == wanted.name);
            let rule = Rule { kind, nullable: wanted.nullable, lower };
            pairs.push(Column { from: found.name.clone(), to: wanted.name.clone(), rule });
        }
        pairs.sort_by(|one, other| one.to.cmp(&other.to));
        let at = |column: &str| pairs.iter().position(|pair| pair.to == column);
        let key = table.key.iter().filter_map(|column| at(&column.to_lowercase())).collect();
        let unique = LOWERED.iter().filter(|(table, ..)| *table == name);
        let unique = unique.map(|(_, column, with)| with.iter().chain([column]).filter_map(|one| at(one)).collect());
        let unique = unique.collect();
        self.pairs.push(Pair {
            from: table.name.clone(),
            to: name.to_owned(),
            schema: None,
            columns: pairs,
            key,
            unique,
        });
    }

    /// Puts what is referred to before what refers to it.
    fn sort(&mut self, references: &BTreeMap<String, BTreeSet<String>>) {
        let mut waiting = std::mem::take(&mut self.pairs);
        while !waiting.is_empty() {
            let names: BTreeSet<String> = waiting.iter().map(|pair| pair.to.clone()).collect();
            let is_free = |pair: &Pair| {
                references.get(&pair.to).is_none_or(|to| to.iter().all(|to| to == &pair.to || !names.contains(to)))
            };
            let (mut free, held): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_free);
            // A circle: PostgreSQL will say so.
            let stuck = free.is_empty();
            self.pairs.append(&mut free);
            waiting = if stuck {
                self.pairs.extend(held);
                Vec::new()
            } else {
                held
            };
        }
    }

    /// A table of the server as SQL names it.
    pub(crate) fn qualified(&self, table: &str) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(table))
    }

    /// As [`Shapes::qualified`], wherever it is.
    pub(crate) fn qualified_pair(&self, pair: &Pair) -> String {
        format!("{}.{}", identifier(pair.schema.unwrap_or(&self.schema)), identifier(&pair.to))
    }
}

const COLUMNS: &str =
    "SELECT c.relname AS table, a.attname AS column, pg_catalog.format_type(a.atttypid, NULL) AS type,
    a.atttypmod AS modifier, NOT a.attnotnull AS nullable, a.atthasdef AS has_default,
    (SELECT pg_catalog.json_agg(e.enumlabel) FROM pg_catalog.pg_enum e WHERE e.enumtypid = a.atttypid) AS labels
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'p') AND n.nspname = ";

fn wanted(own: &Database, schema: &str) -> Result<BTreeMap<String, Vec<Wanted>>> {
    let mut tables: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
    for row in own.rows(&format!("{COLUMNS}{}", literal(schema)))? {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        tables.entry(text("table")).or_default().push(Wanted {
            name: text("column"),
            kind: kind(&text("type"), row["modifier"].as_i64().unwrap_or(-1), &row["labels"]),
            kind_in_words: text("type"),
            nullable: row["nullable"] == true,
            has_default: row["has_default"] == true,
        });
    }
    Ok(tables)
}

/// What a type of PostgreSQL holds; `None` for one that the server has never used.
fn kind(name: &str, modifier: i64, labels: &Value) -> Option<Kind> {
    // The modifier of these types counts four bytes more than characters.
    let most = usize::try_from(modifier - 4).ok();
    Some(match name {
        "boolean" => Kind::Bool,
        "smallint" => Kind::Integer(16),
        "integer" => Kind::Integer(32),
        "bigint" => Kind::Integer(64),
        "text" => Kind::Text(None),
        "character varying" => Kind::Text(most),
        "character" => Kind::Padded(most?),
        "jsonb" => Kind::Json,
        "bytea" => Kind::Bytes,
        "character varying[]" | "text[]" => Kind::Texts(most),
        _ => Kind::Enum(labels.as_array()?.iter().filter_map(|label| label.as_str().map(str::to_owned)).collect()),
    })
}

fn references(own: &Database, schema: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let rows = own.rows(&format!(
        "SELECT c.relname AS table, r.relname AS other FROM pg_catalog.pg_constraint k
           JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f' AND n.nspname = {}",
        literal(schema)
    ))?;
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        found.entry(text("table")).or_default().insert(text("other"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_known_by_their_names() {
        assert_eq!(kind("character varying", 30, &Value::Null), Some(Kind::Text(Some(26))));
        assert_eq!(kind("character varying", -1, &Value::Null), Some(Kind::Text(None)));
        assert_eq!(kind("character varying[]", 30, &Value::Null), Some(Kind::Texts(Some(26))));
        assert_eq!(kind("team_type", -1, &json!(["O", "I"])), Some(Kind::Enum(vec!["O".into(), "I".into()])));
        assert_eq!(kind("numeric", -1, &Value::Null), None);
    }

    #[test]
    fn a_long_value_is_shown_by_its_beginning() {
        assert_eq!(in_short(b"a\x1b[1m\n"), "a\\u{1b}[1m\\n");
        let long = in_short(&vec![b'x'; 1 << 20]);
        assert!(long.len() < 300 && long.ends_with("x..."), "{}", long.len());
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        let pair = |to: &str| Pair {
            from: to.into(),
            to: to.into(),
            schema: None,
            columns: vec![],
            key: vec![],
            unique: vec![],
        };
        let mut shapes = Shapes { pairs: ["a", "b", "c"].map(pair).to_vec(), ..Shapes::default() };
        let references =
            [("a", "c"), ("c", "b"), ("b", "b")].map(|(one, other)| (one.to_owned(), [other.to_owned()].into()));
        shapes.sort(&references.into());
        assert_eq!(shapes.pairs.iter().map(|pair| pair.to.as_str()).collect::<Vec<_>>(), ["b", "c", "a"]);
    }
}
