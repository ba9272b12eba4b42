//! Dumps that a plain `pg_restore` reads, made under one exported snapshot, and their restoration.
//!
//! The format is `pg_dump`'s own with the lightest compression. Measured on a million posts (602 MB, two cores): it is
//! written in 5.8 s (112 MB), against 15.5 s (104 MB) at the default level and 12.3 s for the directory format with two
//! jobs. The default level restores in 30.6 s with two processes, the directory in 32.1 s; decompression is a small part
//! of that. Plain SQL through zstd is written in 2.9 s, but restores in 40.6 s, and `pg_restore` cannot read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::server::{Database, program_of};
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::command::{self, Cmd};
use crate::machine::files;
use crate::machine::user::User;

/// How long a dump or a restore may take: a day, which at the rates measured is more than a terabyte.
pub const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How long `pg_dump` waits for a table that somebody holds exclusively, in milliseconds. A migration of a large table
/// takes minutes; a lock held longer is a fault, and the backup should say so.
const LOCK_WAIT: &str = "600000";

/// The argument of `pg_dump` that makes it wait no longer than that.
pub(super) fn lock_wait() -> String {
    format!("--lock-wait-timeout={LOCK_WAIT}")
}

/// What `pg_dump` for this server calls itself; it is asked once.
///
/// # Errors
/// Refused when there is none of a sufficient major.
pub fn called(database: &Database) -> Result<String> {
    static CALLED: Mutex<BTreeMap<u32, String>> = Mutex::new(BTreeMap::new());
    let mut known = CALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = known.get(&database.major()) {
        return Ok(name.clone());
    }
    let name = database.command("pg_dump")?.arg("--version").run()?.text().trim().to_owned();
    known.insert(database.major(), name.clone());
    Ok(name)
}

/// Writes a dump of the whole database as `snapshot` shows it to the new file `to` (0600). Returns what `pg_dump`
/// calls itself.
pub fn dump(database: &Database, snapshot: &str, to: &Path) -> Result<String> {
    let attempt = || format!("cannot dump the database `{}`", database.name);
    let command = database.command("pg_dump").context(attempt)?;
    let version = called(database).context(attempt)?;
    without_quotes(database, command)
        .context(attempt)?
        .args(["--format=custom", "--compress=1", "--no-password"])
        .arg(lock_wait())
        .arg(format!("--snapshot={snapshot}"))
        .arg(format!("--dbname={}", database.address()))
        .limit(LIMIT)
        .interruptible()
        .run_into(create(to)?, to)
        .context(attempt)?;
    Ok(version)
}

/// Has names that need no quotes written without them, as a superuser's session writes those of the database that comes
/// back. Where nobody has set it otherwise it is not said: a pooler before the database refuses it.
fn without_quotes(database: &Database, command: Cmd) -> Result<Cmd> {
    let asked = "SELECT pg_catalog.current_setting('quote_all_identifiers')::pg_catalog.bool";
    let quotes_all = !database.is_superuser() && database.value(asked)?.as_bool().unwrap_or(false);
    Ok(if quotes_all { command.env("PGOPTIONS", "-c quote_all_identifiers=off") } else { command })
}

/// Writes the definitions of a database, and no rows, to the new file `to` (0600), by the program of at least `major`.
pub(super) fn definitions(database: &Database, major: u32, to: &Path) -> Result<()> {
    let command = database.command_of("pg_dump", major)?.args(["--format=custom", "--schema-only", "--no-password"]);
    without_quotes(database, command)?.arg(lock_wait()).interruptible().run_into(create(to)?, to).map(drop)
}

/// Writes the roles of the server to the new file `to` (0600): with their passwords when `database` is reached as a
/// superuser, which is what `true` means.
pub fn globals(database: &Database, to: &Path) -> Result<bool> {
    let attempt = || "cannot dump the roles of the database server".to_owned();
    let superuser =
        database.value("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").context(attempt)?;
    let passwords = superuser.as_bool().unwrap_or(false);
    let command = database.command("pg_dumpall").context(attempt)?;
    let command = command
        .args(["--globals-only", "--no-password"])
        .arg(format!("--database={}", connection_string(&database.name)));
    let command = if passwords { command } else { command.arg("--no-role-passwords") };
    command.interruptible().run_into(create(to)?, to).context(attempt)?;
    Ok(passwords)
}

fn create(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::io("create", path, error))
}

/// Reads a dump to its end with `pg_restore`, which decompresses and checks it. `pg_restore --list` would say yes to a
/// truncated one.
pub fn read_through(dump: &Path) -> Result<()> {
    newest("pg_restore")?
        .args(["--file=/dev/null", "--"])
        .arg(dump)
        .limit(LIMIT)
        .interruptible()
        .run()
        .map(drop)
        .context(|| format!("the dump `{}` cannot be read to its end", dump.display()))
}

/// The roles that own something in a dump.
pub fn owners(dump: &Path) -> Result<BTreeSet<String>> {
    let reader = newest("pg_restore")?.args(["--schema-only", "--file=-", "--"]).arg(dump);
    let text = reader.interruptible().run().context(|| format!("cannot read the dump `{}`", dump.display()))?.text();
    Ok(super::definitions::statements(&text)
        .into_iter()
        .map(|(owner, ..)| owner)
        .filter(|owner| owner != "-")
        .collect())
}

/// The lines of a dump's table of contents. Each dump is read once.
pub(super) fn contents(dump: &Path) -> Result<Vec<String>> {
    /// A file as it was when it was read.
    type Seen = (u64, u64, i64, i64);
    static KNOWN: Mutex<BTreeMap<Seen, Vec<String>>> = Mutex::new(BTreeMap::new());
    let data = std::fs::metadata(dump).map_err(|error| Error::io("look at", dump, error))?;
    let seen = (data.dev(), data.ino(), data.ctime(), data.ctime_nsec());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(lines) = known.get(&seen) {
        return Ok(lines.clone());
    }
    let listed = newest("pg_restore")?.args(["--list", "--"]).arg(dump).run()?.text();
    let lines: Vec<String> = listed.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect();
    known.insert(seen, lines.clone());
    Ok(lines)
}

/// The program of the newest major that is installed: it reads the dumps of all earlier ones.
pub(super) fn newest(program: &str) -> Result<Cmd> {
    let path =
        (9..=40).rev().find_map(|major| program_of(program, major)).map_or_else(|| command::find(program), Ok)?;
    Ok(Cmd::new(path.display().to_string()))
}

/// Restores a dump into the empty database `into`. Anything that does not restore is an error. `jobs` processes load
/// tables and build indexes.
pub fn restore(dump: &Path, into: &Database, jobs: usize) -> Result<()> {
    let attempt = || format!("cannot restore `{}` into the database `{}`", dump.display(), into.name);
    restore_with(dump, into, jobs, &[]).context(attempt)
}

pub(super) fn restore_with(dump: &Path, into: &Database, jobs: usize, flags: &[String]) -> Result<()> {
    // Where it attaches indexes of partitions, processes of pg_restore wait for each other (observed with 13: "deadlock
    // detected"); and where one switches policies on, another may not check a foreign key any more (observed with 15).
    let is_alone = |line: &String| [" INDEX ATTACH ", " ROW SECURITY "].iter().any(|kind| line.contains(kind));
    let is_alone = contents(dump)?.iter().any(is_alone);
    let jobs = if is_alone || !finds_blocks(into.version_num) { 1 } else { jobs };
    let command = into
        .command("pg_restore")?
        .args(["--exit-on-error", "--no-password"])
        .args(flags)
        // As a list of parameters: as a mere name it would be read as one where it has a `=`.
        .arg(format!("--dbname={}", into.address()))
        .limit(LIMIT)
        .interruptible()
        // What a killed run has begun must not go on beside the one that clears it away.
        .ends_with_us();
    let parallel = command.clone().arg(format!("--jobs={jobs}")).arg("--");
    let Some(user) = into.other_user() else { return parallel.arg(dump).run().map(drop) };
    // Several processes open the dump again and again, which that user may not: neither the file nor the directories
    // above it. So the file is of its group for this time, and it reaches it through an open descriptor. Where that cannot
    // be had, one process reads it from its standard input.
    match Lent::to(user, dump) {
        Ok(lent) => parallel.arg("/proc/self/fd/0").run_from(lent.open()?),
        Err(_) => command.run_from(files::open_nofollow(dump)?),
    }
    .map(drop)
}

/// Whether several processes of this version can restore a dump that went through a pipe, which does not say where each
/// table's rows begin: those before do not always find them (release notes of 12.4, 11.9, 10.14 and 9.6.19).
const fn finds_blocks(version_num: u32) -> bool {
    match version_num / 10_000 {
        ..10 => version_num >= 90_619,
        10 => version_num >= 100_014,
        11 => version_num >= 110_009,
        12 => version_num >= 120_004,
        _ => true,
    }
}

/// A file that another user may read until this is dropped, by its group; it stays ours. Nobody else can reach it meanwhile
/// who could not before: the directories above it stay closed.
struct Lent<'a> {
    path: &'a Path,
    before: (u32, u32),
}

impl<'a> Lent<'a> {
    fn to(user: &User, path: &'a Path) -> Result<Self> {
        let data = files::open_nofollow(path)?.metadata().map_err(|error| Error::io("look at", path, error))?;
        let lent = Self { path, before: (data.gid(), data.mode() & 0o7777) };
        lent.give(user.gid, (lent.before.1 & 0o700) | 0o040)?;
        Ok(lent)
    }

    fn open(&self) -> Result<File> {
        files::open_nofollow(self.path)
    }

    fn give(&self, gid: u32, mode: u32) -> Result<()> {
        let file = self.open()?;
        std::os::unix::fs::fchown(&file, None, Some(gid))
            .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(mode)))
            .map_err(|error| Error::io("change the group of", self.path, error))
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // A killed run leaves it readable for the other user, who cannot get to it any more.
        let _ = self.give(self.before.0, self.before.1);
    }
}

/// A database by its name and nothing else, for programs that take a name and a list of libpq's parameters in one argument.
pub fn connection_string(name: &str) -> String {
    format!("dbname='{}'", name.replace('\\', r"\\").replace('\'', r"\'"))
}

/// An SQL identifier, quoted.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An SQL literal, quoted.
pub fn literal(text: &str) -> String {
    // E'' where there is a backslash: what a plain one means depends on a setting.
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_dump_is_not_read_through() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.dump");
        files::write(&path, b"PGDMP and nothing more", files::Access::PRIVATE).unwrap();
        assert_eq!(read_through(&path).unwrap_err().code(), 1);
    }
}
