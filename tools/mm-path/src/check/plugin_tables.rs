//! Check of what plugins have put into the database: their own migrations, which the server knows nothing of.

use std::time::Duration;

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::machine::budget::Budget;
use mm_common::mattermost::catalogue::Severity;

use super::database::{DatabaseView, text};
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<DatabaseView<'a>>> {
    vec![Check {
        id: "plugin-migrations",
        title: "Migrations of plugins",
        source: "public reports of Boards after 6.3, 7.1, 7.4 and 7.8",
        look: plugin_migrations,
    }]
}

/// A table of this plugin's.
const BOARDS: &str = "focalboard_schema_migrations";

/// Tables with the columns that plugins record their migrations in.
const RECORDS: &str = "SELECT c.relname AS name, pg_catalog.quote_ident(c.relname) AS quoted FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = pg_catalog.current_schema() AND c.relkind = 'r' AND c.relname LIKE '%migrations'
      AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'version')
      AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'dirty'
        AND a.atttypid = 'boolean'::pg_catalog.regtype AND NOT a.attisdropped) ORDER BY 1";

/// A plugin whose own migration was cut off does not start: the server is healthy, and the plugin gone from the menu.
fn plugin_migrations(view: &DatabaseView<'_>) -> Result<Outcome> {
    let (mut evidence, mut fixes) = (Vec::new(), Vec::new());
    let budget = Budget::new("tables of migrations", 1000, u64::MAX, Duration::from_secs(300));
    for table in view.rows(RECORDS)? {
        budget.spend(0)?;
        let (name, quoted) = (text(&table, "name"), text(&table, "quoted"));
        for row in
            view.rows(&format!("SELECT version::pg_catalog.text AS version FROM {quoted} WHERE dirty ORDER BY 1"))?
        {
            evidence.push(format!("{name}: migration {} was not finished (dirty)", text(&row, "version")));
        }
        if !evidence.is_empty() && fixes.is_empty() {
            fixes.push(format!(
                "let the plugin finish on the installed release (switch it off and on, and read the server's log); where its \
                 tables are whole: UPDATE {quoted} SET dirty = false"
            ));
        }
    }
    if view.has_table(BOARDS) {
        let users = view.count("users", "props::pg_catalog.text = 'null'")?;
        if users > 0 {
            evidence.push(format!(
                "{} with the JSON text `null` in users.props, at which Boards 7.4 stops",
                ui::count(users, "user")
            ));
            fixes.push("UPDATE users SET props = '{}' WHERE props::pg_catalog.text = 'null'".into());
        }
    }
    Ok(Outcome::of(evidence, "none was left unfinished", |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: None,
        fix: fixes.join("; "),
    }))
}
