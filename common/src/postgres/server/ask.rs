//! What a database is asked, and what it is told to do: the one is answered in rows, the other runs whole or not at all.

use serde_json::Value;

use super::Database;
use crate::contract::error::{Error, Result};
use crate::postgres::dump::literal;

impl Database {
    /// The rows of a query, each a JSON object by column name.
    pub fn rows(&self, sql: &str) -> Result<Vec<Value>> {
        let query = sql.trim().trim_end_matches(';');
        self.script(&format!("SELECT pg_catalog.row_to_json(\"mm row\") FROM (\n{query}\n) AS \"mm row\";\n"))
    }

    /// The rows of several queries, asked in one run of `psql`.
    ///
    /// # Errors
    /// When one of them fails, all do.
    pub fn rows_of_all(&self, queries: &[String]) -> Result<Vec<Vec<Value>>> {
        let numbered = queries.iter().enumerate().map(|(index, query)| {
            format!("SELECT pg_catalog.json_build_array({index}, pg_catalog.row_to_json(\"mm row\")) FROM (\n{query}\n) AS \"mm row\";\n")
        });
        let mut answers = vec![Vec::new(); queries.len()];
        for mut row in self.script(&numbered.collect::<String>())? {
            let place = row[0].as_u64().and_then(|index| answers.get_mut(usize::try_from(index).ok()?));
            if let Some(answer) = place {
                answer.push(row[1].take());
            }
        }
        Ok(answers)
    }

    /// The single value of a query of one row and one column.
    ///
    /// # Errors
    /// Also when there is not exactly one row with one column.
    pub fn value(&self, sql: &str) -> Result<Value> {
        let rows = self.rows(sql)?;
        match rows.as_slice() {
            [Value::Object(row)] if row.len() == 1 => Ok(row.values().next().cloned().unwrap_or_default()),
            _ => Err(Error::failed(format!("`{}` of the database `{}` gave not one value", sql.trim(), self.name))
                .because(format!("it gave {} rows", rows.len()))),
        }
    }

    /// Runs statements in one transaction; nothing of it stays when one fails.
    pub fn execute(&self, sql: &str) -> Result<()> {
        let statements = sql.trim().trim_end_matches(';');
        self.psql()?.run_with(&format!("BEGIN;\n{statements}\n;\nCOMMIT;\n")).map(drop)
    }

    /// As [`Database::execute`], for statements that name what somebody else has thought of, or are somebody else's words:
    /// `psql` hands them to the server as they are. In what it reads itself it puts `:DBNAME` and its other variables,
    /// unquoted.
    ///
    /// # Errors
    /// When one of them fails; none of them has had an effect then.
    pub fn execute_verbatim(&self, sql: &str) -> Result<()> {
        let script = verbatim("", sql);
        if self.steady {
            return self.kept.ask(|| self.psql(), &script).map(drop);
        }
        // A signal that ends what is asked must not end what is done.
        self.psql()?.run_with(&script).map(drop)
    }

    /// As [`Database::execute_verbatim`], as a superuser, for a statement with a password in it: the server's log gets
    /// neither it nor the literal in which `psql` hands it over.
    ///
    /// # Errors
    /// As [`Database::execute_verbatim`].
    pub fn execute_unlogged(&self, sql: &str) -> Result<()> {
        self.psql()?.run_with(&verbatim(UNLOGGED, sql)).map(drop)
    }

    /// Runs statements that may not stand in a transaction, such as `VACUUM` or `REINDEX DATABASE`, one after the
    /// other, up to the first that fails.
    pub fn execute_each(&self, sql: &str) -> Result<()> {
        let statements = sql.trim().trim_end_matches(';');
        self.psql()?.run_with(&format!("{statements}\n;\n")).map(drop)
    }

    /// Runs a script of `psql` (`\gexec` and the like included) and reads everything it prints as JSON values. It may wait
    /// for what somebody else holds, and leaves nothing behind: a signal ends it.
    pub fn script(&self, script: &str) -> Result<Vec<Value>> {
        let psql = || Ok(if self.steady { self.psql()? } else { self.psql()?.interruptible() });
        let answer = self.kept.ask(psql, script)?;
        serde_json::Deserializer::from_slice(&answer)
            .into_iter::<Value>()
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| {
                Error::failed(format!("cannot understand what the database `{}` answered", self.name)).because(error)
            })
    }
}

/// Nothing of the transaction gets into the server's log, nor into what extensions keep of statements: pgaudit logs them,
/// `auto_explain` logs them with their plans, `pg_stat_statements` and `pg_stat_monitor` show them to their readers.
const UNLOGGED: &str = "SET LOCAL log_statement = none;\nSET LOCAL log_min_duration_statement = -1;\n\
     SET LOCAL log_min_error_statement = panic;\n\
     SELECT pg_catalog.set_config(s.name, o.value, true) FROM pg_catalog.pg_settings s, (VALUES \
     ('log_min_duration_sample', '-1'), ('log_transaction_sample_rate', '0'), ('debug_print_parse', 'off'), \
     ('debug_print_rewritten', 'off'), ('debug_print_plan', 'off'), ('pgaudit.log', 'none'), \
     ('auto_explain.log_min_duration', '-1'), ('pg_stat_statements.track', 'none'), ('pg_stat_monitor.pgsm_track', 'none')\
     ) AS o (name, value) WHERE s.name = o.name;\n";

/// A script in which `psql` reads nothing of `sql`: there are no variables inside of a literal, nor in what `\gexec` runs.
/// `first` is ours.
fn verbatim(first: &str, sql: &str) -> String {
    format!("BEGIN;\n{first}SELECT {} \\gexec\nCOMMIT;\n", literal(sql))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_to_the_server_is_a_literal_for_psql() {
        assert_eq!(
            verbatim("", "SELECT :'x', $$a$$;\n\\! id"),
            "BEGIN;\nSELECT E'SELECT :''x'', $$a$$;\n\\\\! id' \\gexec\nCOMMIT;\n"
        );
    }
}
