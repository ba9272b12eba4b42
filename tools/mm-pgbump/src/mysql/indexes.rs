//! What is made in PostgreSQL once the rows are there. Indexes that make questions faster and keep nothing out are set aside while
//! rows come in, and built afterwards, which takes half as long (observed: 100,000 posts took 7.5 s into the table as it is, and
//! 0.7 s and 4.0 s so); materialized views are filled.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use mm_common::machine::threads;
use mm_common::postgres::dump::{self, identifier, literal};
use mm_common::postgres::server::Database;
use mm_common::{Context as _, Error, Result};

use super::shape::Shapes;
use crate::moving::watch;

/// What they are, each as PostgreSQL itself says.
#[derive(Debug, Default)]
pub(crate) struct Indexes(BTreeSet<Index>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Index {
    schema: String,
    name: String,
    definition: String,
}

impl Indexes {
    /// Those of the server's tables.
    fn of(own: &Database, shapes: &Shapes) -> Result<Self> {
        let rows = own.rows(&format!(
            "SELECT n.nspname AS schema, c.relname AS name, pg_catalog.pg_get_indexdef(i.indexrelid) AS definition
               FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
               JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
              WHERE n.nspname = {} AND t.relkind = 'r' AND c.relkind = 'i' AND i.indisvalid
                AND NOT (i.indisunique OR i.indisprimary OR i.indisexclusion OR i.indisreplident OR i.indisclustered)
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = c.oid)",
            literal(&shapes.schema)
        ))?;
        let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let index =
            |row| Index { schema: text(row, "schema"), name: text(row, "name"), definition: text(row, "definition") };
        Ok(Self(rows.iter().map(index).collect()))
    }

    /// Drops them. What ends a move before they are built again clears the target.
    ///
    /// # Errors
    /// When they cannot be dropped.
    pub(crate) fn set_aside(own: &Database, shapes: &Shapes) -> Result<Self> {
        let all = Self::of(own, shapes)?;
        let names = all.0.iter().map(|index| format!("{}.{}", identifier(&index.schema), identifier(&index.name)));
        let names: Vec<String> = names.collect();
        if !names.is_empty() {
            own.execute_verbatim(&format!("DROP INDEX {}", names.join(", ")))
                .context(|| "cannot set the indexes of the target aside".to_owned())?;
        }
        Ok(all)
    }

    /// Builds them, several at once, and looks whether they are what they were.
    ///
    /// # Errors
    /// When one cannot be built, or is another one.
    pub(crate) fn build(self, own: &Database, (shapes, label): (&Shapes, &str)) -> Result<()> {
        let list: Vec<&Index> = self.0.iter().collect();
        let build = |own: &Database, _: &AtomicBool| {
            let own = own.clone().with_limit(dump::LIMIT);
            let one = |index: &&Index| {
                own.execute_verbatim(&format!("SET LOCAL statement_timeout = 0; {}", index.definition))
                    .context(|| format!("cannot build the index {}", index.name))
            };
            threads::each(threads::fitting(), &list, one).into_iter().collect::<Result<()>>()
        };
        watch::watched(own, label, || 0, |_| (), build)?;
        if Self::of(own, shapes)?.0 == self.0 {
            return Ok(());
        }
        Err(Error::failed("the indexes of the target are not those that the release has made"))
    }
}

/// Materialized views hold what was there when the server made them: nothing.
pub(crate) fn refresh(own: &Database, shapes: &Shapes) -> Result<()> {
    let views = own.rows(&format!(
        "SELECT matviewname AS name FROM pg_catalog.pg_matviews WHERE schemaname = {} ORDER BY 1",
        literal(&shapes.schema)
    ))?;
    for name in views.iter().filter_map(|row| row["name"].as_str()) {
        let view = format!("{}.{}", identifier(&shapes.schema), identifier(name));
        own.clone()
            .with_limit(dump::LIMIT)
            .execute_each(&format!("REFRESH MATERIALIZED VIEW {view}"))
            .context(|| format!("cannot fill the view {view}"))?;
    }
    Ok(())
}
