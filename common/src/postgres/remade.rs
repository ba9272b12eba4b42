//! Definitions of a server made anew by statements in one of a later major, as a dump and its restore do it: whether that takes
//! them is tried in a throw-away server, before anything is stopped.

use super::dump::{self, identifier, literal};
use super::scratch::Scratch;
use super::server::Database;
use super::untrusted::Schema;
use crate::contract::error::{Context as _, Result};
use crate::machine::files;

/// What `pg_restore` calls an error, and the statement that it is about.
const ERROR: &str = "pg_restore: error: could not execute query: ";
const COMMAND: &str = "Command was: ";

/// A statement that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What the server said: `ERROR:  ...`.
    pub error: String,
    /// The statement, or its beginning.
    pub statement: String,
}

/// What a server of `major` refuses of the definitions in these databases of one server, each with the name of its database.
///
/// They are made by the throw-away server's superuser: nothing of them may run functions of others.
///
/// # Errors
/// As [`Scratch::start`]; failed also when a database cannot be dumped by the programs of `major`.
pub fn refused(databases: &[Database], major: u32) -> Result<Vec<(String, Refused)>> {
    let Some(first) = databases.first() else { return Ok(Vec::new()) };
    let scratch = Scratch::start(major)?;
    let front = scratch.database("postgres")?;
    let roles = first.rows(
        "SELECT pg_catalog.format('CREATE ROLE %I%s;', rolname, CASE WHEN rolsuper THEN ' SUPERUSER' ELSE '' END) AS sql
         FROM pg_catalog.pg_roles WHERE rolname <> 'postgres' AND rolname !~ '^pg_'",
    )?;
    let roles: Vec<&str> = roles.iter().filter_map(|row| row["sql"].as_str()).collect();
    if !roles.is_empty() {
        front.execute_verbatim(&roles.join("\n"))?;
    }
    let mut found = Vec::new();
    for (number, database) in databases.iter().enumerate() {
        let attempt = || format!("cannot try the definitions in the database `{}`", database.name);
        let name = format!("mm_{number}");
        // Collations are of an encoding, and the locale `C` is one of all.
        let encoding = "SELECT pg_catalog.pg_encoding_to_char(encoding) AS encoding FROM pg_catalog.pg_database
            WHERE datname = pg_catalog.current_database()";
        let encoding = database.value(encoding).context(attempt)?;
        front.execute_each(&format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'",
            identifier(&name),
            literal(encoding.as_str().unwrap_or("UTF8"))
        ))?;
        let schema = Schema::by(database, major).context(attempt)?;
        let into = scratch.database(&name)?;
        let restore = into
            .command("pg_restore")?
            .args(["--no-password", "--no-tablespaces"])
            .arg(format!("--dbname={}", into.address()))
            .limit(dump::LIMIT)
            .interruptible()
            .ends_with_us();
        let output = restore.output_from(files::open_nofollow(&schema.path)?)?;
        let refused = read(&output.stderr);
        if refused.is_empty() && !output.status.success() {
            return Err(restore.failure(&output).within(attempt()));
        }
        found.extend(refused.into_iter().map(|refused| (database.name.clone(), refused)));
    }
    Ok(found)
}

fn read(said: &str) -> Vec<Refused> {
    let mut found: Vec<Refused> = Vec::new();
    for line in said.lines() {
        if let Some(error) = line.strip_prefix(ERROR) {
            found.push(Refused { error: error.to_owned(), statement: String::new() });
        } else if let (Some(statement), Some(last)) = (line.strip_prefix(COMMAND), found.last_mut()) {
            statement.clone_into(&mut last.statement);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_told_with_its_statement() {
        let said = "pg_restore: while PROCESSING TOC:\npg_restore: from TOC entry 3; 1 2 TABLE t mmuser\n\
            pg_restore: error: could not execute query: ERROR:  unrecognized parameter \"x\"\n\
            Command was: ALTER TABLE ONLY t ALTER COLUMN a SET (x=1);\n\n\n\
            pg_restore: error: could not execute query: ERROR:  syntax error\nLINE 1: x\nCommand was: x\ny\n\
            pg_restore: warning: errors ignored on restore: 2\n";
        let one = |error: &str, statement: &str| Refused { error: error.into(), statement: statement.into() };
        let wanted = [
            one("ERROR:  unrecognized parameter \"x\"", "ALTER TABLE ONLY t ALTER COLUMN a SET (x=1);"),
            one("ERROR:  syntax error", "x"),
        ];
        assert_eq!(read(said), wanted);
        assert!(read("pg_restore: connecting to database for restore\n").is_empty());
    }
}
