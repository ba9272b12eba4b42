//! The rows, one table after the other: read from MySQL, sent to PostgreSQL by COPY, and counted and hashed on the way.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};

use mm_common::machine::command::kill_group;
use mm_common::postgres::dump::identifier;
use mm_common::postgres::server::Database;
use mm_common::{Context as _, Error, Result};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::json;

use super::pieces::Part;
use super::print::Print;
use super::shape::{Column, Pair, Shapes};
use super::source::Source;
use super::value::{Cell, Repair, unescape};
use super::wait::{self, Pulse};
use crate::moving::watch;

/// How much is collected before it is sent.
const PIECE: usize = 1 << 20;

/// What sessions of ours begin with.
const SESSION: &str =
    "SET statement_timeout = 0; SET client_encoding = 'UTF8'; SET bytea_output = 'hex'; SET synchronous_commit = on;\n";

/// The file with what was there before each repair. It is made with the first one.
pub(crate) struct Undo {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    /// How many values were repaired.
    pub count: u64,
}

impl Undo {
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, count: 0 }
    }

    fn add(&mut self, row: &str, column: &str, repair: Repair, before: &[u8]) -> Result<()> {
        let failed = |error: std::io::Error| Error::io("write", &self.path, error);
        if self.file.is_none() {
            let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&self.path);
            self.file = Some(BufWriter::new(file.map_err(failed)?));
        }
        let what = match repair {
            Repair::Nul => "mysql-nul",
            Repair::Lower => "mysql-case",
        };
        // What is repaired is text.
        let line = json!({"row": row, "column": column, "repair": what, "before": String::from_utf8_lossy(before)});
        self.count += 1;
        match &mut self.file {
            Some(file) => writeln!(file, "{line}").map_err(failed),
            None => Ok(()),
        }
    }

    /// Everything of it is on disk.
    pub(crate) fn close(mut self) -> Result<Option<PathBuf>> {
        let Some(file) = self.file.take() else { return Ok(None) };
        let failed = |error: std::io::Error| Error::io("write", &self.path, error);
        file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
        Ok(Some(self.path))
    }
}

/// A `psql` that is being talked to. It is ended when this is dropped before it has ended by itself: what it had begun is
/// rolled back then.
struct Talk(Option<Child>);

impl Talk {
    fn begin(own: &Database) -> Result<Self> {
        let command = own.command("psql")?.args(["-XAtqw", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        Ok(Self(Some(command.start(Stdio::piped(), Stdio::piped(), Stdio::piped())?)))
    }

    /// Does `work` with it, which beats while it goes on. A `psql` that hangs, or a signal, ends it.
    fn guarded<T>(self, work: impl FnOnce(Self, &Pulse) -> Result<T>) -> Result<T> {
        let pid = self.0.as_ref().and_then(|child| i32::try_from(child.id()).ok()).map(Pid::from_raw);
        let end = || {
            let Some(pid) = pid else { return };
            // It may not lead its group yet, or just have ended by itself.
            let _ = kill(pid, Signal::SIGKILL).and(killpg(pid, Signal::SIGKILL));
        };
        wait::guarded(watch::patience(), end, |pulse| work(self, pulse))
    }

    fn ended(mut self) -> Result<()> {
        let Some(mut child) = self.0.take() else { return Ok(()) };
        drop(child.stdin.take());
        let mut said = String::new();
        if let Some(stderr) = child.stderr.take() {
            // What it does not say is missed by nobody.
            let _ = stderr.take(64 * 1024).read_to_string(&mut said);
        }
        let status = child.wait().map_err(|error| Error::failed("cannot wait for psql").because(error))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::failed("PostgreSQL did not take the rows").because(said.trim()))
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            kill_group(child);
            let _ = child.wait();
        }
    }
}

/// Empties the tables that the server has filled.
pub(crate) fn empty(own: &Database, shapes: &Shapes) -> Result<()> {
    if shapes.emptied.is_empty() {
        return Ok(());
    }
    let tables: Vec<String> = shapes.emptied.iter().map(|table| shapes.qualified(table)).collect();
    own.execute(&format!("TRUNCATE {}", tables.join(", ")))
        .context(|| "cannot empty the tables of the target".to_owned())
}

/// Carries a table, or a part of one. What it held is hashed as it is sent.
pub(crate) fn load(
    source: &mut Source,
    own: &Database,
    (shapes, pair, part): (&Shapes, &Pair, &Part),
    mends_nul: bool,
    undo: &Mutex<Undo>,
) -> Result<Print> {
    let attempt = || format!("cannot carry the table `{}`", pair.from);
    let columns: Vec<String> = pair.columns.iter().map(|column| identifier(&column.to)).collect();
    let begin = format!("{SESSION}BEGIN;\nCOPY {} ({}) FROM STDIN;\n", shapes.qualified_pair(pair), columns.join(", "));
    let talk = Talk::begin(own).context(attempt)?;
    talk.guarded(|talk, pulse| send(source, (talk, pulse, begin.into_bytes()), (pair, part), mends_nul, undo))
        .context(attempt)
}

/// Sends what `piece` begins.
fn send(
    source: &mut Source,
    (mut talk, pulse, mut piece): (Talk, &Pulse, Vec<u8>),
    (pair, part): (&Pair, &Part),
    mends_nul: bool,
    undo: &Mutex<Undo>,
) -> Result<Print> {
    let mut stdin = talk.0.as_mut().and_then(|child| child.stdin.take());
    let mut print = Print::default();
    let mut is_heard = true;
    let mut give = |piece: &mut Vec<u8>| {
        // Where nobody reads any more, psql has something to say.
        is_heard = is_heard && stdin.as_mut().is_some_and(|stdin| stdin.write_all(piece).is_ok());
        piece.clear();
        is_heard
    };
    let read = source.some_rows(&pair.from, &pair.columns_there(), &part.clause(), &mut |values| {
        let cells = cells(pair, values, mends_nul, &mut |at, repair| {
            let mut undo = undo.lock().unwrap_or_else(PoisonError::into_inner);
            undo.add(&pair.row(values), &pair.columns[at].to, repair, values[at].unwrap_or_default())
        })?;
        print.add(&cells);
        pulse.beat();
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                piece.push(b'\t');
            }
            cell.copy(&mut piece);
        }
        piece.push(b'\n');
        if piece.len() > PIECE && !give(&mut piece) {
            return Err(Error::failed("PostgreSQL takes no more rows"));
        }
        Ok(())
    });
    if read.is_ok() {
        piece.extend_from_slice(b"\\.\nCOMMIT;\n");
        give(&mut piece);
    } else if is_heard {
        // It must not take what it has for the whole.
        return read.map(|()| print);
    }
    drop(stdin);
    talk.ended()?;
    read.map(|()| print)
}

/// The values of a row as PostgreSQL is to hold them.
fn cells(
    pair: &Pair,
    values: &[Option<&[u8]>],
    mends_nul: bool,
    repaired: &mut dyn FnMut(usize, Repair) -> Result<()>,
) -> Result<Vec<Cell>> {
    let mut cells = Vec::with_capacity(values.len());
    for (at, (column, value)) in pair.columns.iter().zip(values).enumerate() {
        let (cell, repair) = column.rule.of_mysql(*value, mends_nul).map_err(|unfit| {
            Error::failed(format!("{}: PostgreSQL cannot hold its column {}", pair.row(values), column.to))
                .because(super::examine::in_words(unfit))
                .hint("mm-pgbump check --target FILE names every such row")
        })?;
        if let Some(repair) = repair {
            repaired(at, repair)?;
        }
        cells.push(cell);
    }
    Ok(cells)
}

/// The values of a row that is only looked at: it was carried before.
pub(crate) fn again(pair: &Pair, values: &[Option<&[u8]>], mends_nul: bool) -> Result<Vec<Cell>> {
    cells(pair, values, mends_nul, &mut |_, _| Ok(()))
}

/// Lets `visit` see every row of a table of PostgreSQL.
pub(crate) fn read_back(
    own: &Database,
    (shapes, pair): (&Shapes, &Pair),
    visit: &mut dyn FnMut(&[Cell]) -> Result<()>,
) -> Result<()> {
    read_some_back(own, (shapes, pair, ""), visit)
}

/// As [`read_back`], with what follows the name of the table in the query.
pub(crate) fn read_some_back(
    own: &Database,
    (shapes, pair, clause): (&Shapes, &Pair, &str),
    visit: &mut dyn FnMut(&[Cell]) -> Result<()>,
) -> Result<()> {
    let attempt = || format!("cannot read the table `{}` of the target", pair.to);
    let columns: Vec<String> = pair.columns.iter().map(Column::shown).collect();
    let sql = format!(
        "{SESSION}COPY (SELECT {} FROM {}{clause}) TO STDOUT;\n",
        columns.join(", "),
        shapes.qualified_pair(pair)
    );
    let talk = Talk::begin(own).context(attempt)?;
    talk.guarded(|talk, pulse| receive((talk, pulse, &sql), pair, visit)).context(attempt)
}

/// Asks `sql`, and lets `visit` see the rows.
fn receive(
    (mut talk, pulse, sql): (Talk, &Pulse, &str),
    pair: &Pair,
    visit: &mut dyn FnMut(&[Cell]) -> Result<()>,
) -> Result<()> {
    let (stdin, stdout) = match &mut talk.0 {
        Some(child) => (child.stdin.take(), child.stdout.take()),
        None => (None, None),
    };
    if let Some(mut stdin) = stdin {
        // Where nobody reads any more, psql has something to say.
        let _ = stdin.write_all(sql.as_bytes());
    }
    let mut rows = stdout.map(|stdout| BufReader::with_capacity(PIECE, stdout));
    let mut line = Vec::new();
    while let Some(rows) = &mut rows {
        line.clear();
        rows.read_until(b'\n', &mut line).map_err(|error| Error::failed("psql cannot be read").because(error))?;
        pulse.beat();
        let Some(b'\n') = line.pop() else { break };
        let fields = line.split(|byte| *byte == b'\t');
        let cells: Option<Vec<Cell>> = pair
            .columns
            .iter()
            .zip(fields)
            .map(|(column, field)| column.rule.of_postgres(unescape(field).as_deref()))
            .collect();
        let cells = cells.filter(|cells| cells.len() == pair.columns.len());
        visit(&cells.ok_or_else(|| Error::failed("a row of it is not understood"))?)?;
    }
    talk.ended()
}
