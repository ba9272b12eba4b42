//! A dump of a database of MySQL or `MariaDB`, made by the program of theirs that is installed, packed with gzip, and its rows
//! counted on the way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Builder;
use std::time::Duration;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::rows::Counter;
use super::{Address, options};
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::command::{self, Cmd, Output};
use crate::machine::signals;
use crate::machine::user::User;
use crate::postgres::passfile::Passfile;

/// The programs, by the names they have had: `MariaDB`'s own first, which also dumps MySQL.
const DUMPERS: [&str; 2] = ["mariadb-dump", "mysqldump"];
const CLIENTS: [&str; 2] = ["mariadb", "mysql"];

/// How long a dump may take; nothing but its end ends one that goes on.
const LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is asked for: one view of all, without holding anybody up; nothing that only its administrator may read.
const FLAGS: [&str; 6] =
    ["--single-transaction", "--skip-lock-tables", "--quick", "--routines", "--hex-blob", "--no-tablespaces"];

/// Rows by table.
pub type Rows = BTreeMap<String, u64>;

/// Whoever dumps a database.
pub struct Dumper {
    database: String,
    dumps: &'static str,
    client: &'static str,
    file: Passfile,
    user: User,
}

/// The programs that are installed.
///
/// # Errors
/// Refused when there are none.
pub fn programs() -> Result<(&'static str, &'static str)> {
    let one_of = |names: [&'static str; 2]| names.into_iter().find(|name| command::exists(name));
    one_of(DUMPERS).zip(one_of(CLIENTS)).ok_or_else(|| {
        Error::refused("no program that dumps a database of MySQL is installed")
            .because(format!("there is no {}", DUMPERS.join(", and no ")))
            .hint("apt-get install mariadb-client (dnf install mariadb); or leave the database out: --no-database")
    })
}

impl Dumper {
    /// For a database, as the server reaches it. `user` is the user of the server, as whom the programs run.
    ///
    /// # Errors
    /// Refused when no program is installed.
    pub fn new(address: &Address, user: &User) -> Result<Self> {
        let (dumps, client) = programs()?;
        let file = Passfile::holding(options::text(address).reveal(), Some(user))?;
        Ok(Self { database: address.database.clone(), dumps, client, file, user: user.clone() })
    }

    fn command(&self, program: &str) -> Cmd {
        let cmd = Cmd::new(program).arg(format!("--defaults-file={}", self.file.path().display()));
        let memory = if program == self.client { command::TO_ASK } else { command::TO_CARRY };
        cmd.user(&self.user).within(memory).interruptible()
    }

    fn ask(&self, sql: &str) -> Result<Output> {
        self.command(self.client).args(["--batch", "--raw", "--skip-column-names", &self.database]).run_with(sql)
    }

    /// Connects, and lets the program write what a dump begins with: that it can is known before anybody waits for it. Returns the
    /// server's version, and how many bytes its tables take.
    ///
    /// # Errors
    /// When it cannot.
    pub fn rehearse(&self) -> Result<(String, u64)> {
        let answer = self.ask(
            "SELECT VERSION(), COALESCE(SUM(data_length), 0) FROM information_schema.tables WHERE table_schema = DATABASE()",
        );
        let text = answer.map_err(|error| self.unreached(error))?.text();
        let (version, bytes) = text.trim_end().split_once('\t').unwrap_or((text.trim_end(), "0"));
        self.command(self.dumps).args(FLAGS).args(["--no-data", &self.database]).run().map_err(|error| {
            error
                .within(format!("cannot dump the database `{}`", self.database))
                .hint("its account needs SELECT, SHOW VIEW and TRIGGER on the database; or leave it out: --no-database")
        })?;
        Ok((version.to_owned(), bytes.parse().unwrap_or_default()))
    }

    fn unreached(&self, error: Error) -> Error {
        error
            .within(format!("cannot connect to the database `{}` of MySQL", self.database))
            .hint("the database has to be reachable as the server reaches it; start it, or fix its data source")
    }

    /// Dumps it into `path`. Setting `cancel` ends that. Returns the rows of each table, and the program's version.
    ///
    /// # Errors
    /// When the program fails, or does not come to the end of its dump.
    pub fn dump(&self, path: &Path, cancel: &Arc<AtomicBool>) -> Result<(Rows, String)> {
        let version = Cmd::new(self.dumps).arg("--version").run()?.text();
        let attempt = || format!("cannot dump the database `{}`", self.database);
        let (reader, writer) = std::io::pipe().context(attempt)?;
        let writer = File::from(OwnedFd::from(writer));
        let command = self.command(self.dumps).args(FLAGS).arg(&self.database).limit(LIMIT).cancelled_by(cancel);
        let (said, packed) = std::thread::scope(|scope| {
            let dumping = Builder::new().spawn_scoped(scope, move || command.run_into(writer, path));
            // With no thread the other end of the pipe is closed already, and there is nothing to read.
            let packed = pack(reader, path);
            let said = match dumping {
                Ok(dumping) => dumping.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(error) => Err(Error::failed("no thread can be made").because(error)),
            };
            (said, packed)
        });
        // Whoever cannot write has ended the program, too.
        let counted = packed.context(attempt)?;
        said.context(attempt)?;
        Ok((complete(counted, path)?, version.trim().to_owned()))
    }

    /// The rows of each table, as the server counts them now.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn count(&self) -> Result<Rows> {
        let list = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'";
        let tables = self.ask(list)?.text();
        let tables: Vec<&str> = tables.lines().collect();
        let each = tables.iter().map(|table| format!("SELECT COUNT(*) FROM `{}`;\n", table.replace('`', "``")));
        let counts = self.command(self.client).limit(LIMIT);
        let counts = counts.args(["--batch", "--raw", "--skip-column-names", &self.database]);
        let counts = counts.run_with(&each.collect::<String>())?.text();
        let numbers = counts.lines().map(|line| line.trim().parse::<u64>().unwrap_or_default());
        Ok(tables.iter().map(|&table| table.to_owned()).zip(numbers).collect())
    }
}

/// The rows of each table of a dump, read to its end.
///
/// # Errors
/// When it cannot be read, or is cut off.
pub fn read(path: &Path) -> Result<Rows> {
    let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    let mut counter = Counter::default();
    pass(MultiGzDecoder::new(file), |bytes| {
        counter.pass(bytes);
        Ok(())
    })
    .context(|| format!("cannot read `{}` to its end", path.display()))?;
    complete(counter, path)
}

fn complete(counter: Counter, path: &Path) -> Result<Rows> {
    if counter.is_complete() {
        return Ok(counter.tables);
    }
    Err(Error::failed(format!("the dump `{}` does not come to its end", path.display()))
        .because("its last line is not that of a dump which was completed"))
}

/// Counts and packs what comes from the program.
fn pack(from: impl Read, path: &Path) -> Result<Counter> {
    let write = |error| Error::io("write", path, error);
    let mut counter = Counter::default();
    let mut packer = GzEncoder::new(File::create(path).map_err(write)?, Compression::fast());
    pass(from, |bytes| {
        counter.pass(bytes);
        packer.write_all(bytes).map_err(write)
    })?;
    packer.finish().and_then(|file| file.sync_all()).map_err(write)?;
    Ok(counter)
}

fn pass(mut from: impl Read, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        signals::check()?;
        let read = from.read(&mut buffer).context(|| "cannot read on".to_owned())?;
        if read == 0 {
            return Ok(());
        }
        each(&buffer[..read])?;
    }
}
