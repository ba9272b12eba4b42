//! Runs `pg_upgradecluster`, watches it, and does not believe it.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use mm_common::contract::progress::Meter;
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::{checkpoint, command, files, signals, tree};
use mm_common::postgres::cluster;
use mm_common::{Error, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::control::entries;
use crate::debian;
use crate::finish::Kept;
use crate::logs::Logs;
use crate::plan::Method;
use crate::record::{Entry, Records};
use crate::reports::Reports;

/// Dump and restore of 5 million posts takes 10 minutes (observed); a day is for a hundred times that on slow disks.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How long to wait for others to choose a port, which takes them as long as an initdb.
const TURN_LIMIT: Duration = Duration::from_secs(120);

/// Words in its output that mean a loss, whatever its exit status says: of `pg_restore`'s failures it knows nothing. The
/// words of PostgreSQL itself are followed by two blanks; from postgresql-common 282 on the statements of a dump are in
/// the output as well, and a function may speak of an `ERROR: ` of its own.
const COMPLAINTS: &[&str] = &[
    "ERROR:  ",
    "FATAL:  ",
    "PANIC:  ",
    "pg_restore: error",
    "pg_dump: error",
    "psql: error",
    "errors ignored on restore",
];

/// Carries the cluster over. When this returns without an error, `pg_upgradecluster` claims success and complained of
/// nothing but what is settled afterwards; whether it is true is for the proof to say.
pub(crate) fn run(
    entry: &mut Entry,
    kept: &Kept,
    jobs: Option<u32>,
    records: &Records,
    lock: &LockGuard,
) -> Result<()> {
    let path = records.log();
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| Error::io("open", &path, error))?;
    let begun = log.metadata().map_err(|error| Error::io("look at", &path, error))?.len();
    let copy = log.try_clone().map_err(|error| Error::io("open", &path, error))?;
    let theirs = log.try_clone().map_err(|error| Error::io("open", &path, error))?;
    let logs = Logs::of(entry, files::parent(&path)?)?;
    let program = command(&logs, entry, jobs)?;
    let leftovers = temporary_files()?;
    let turn = turn()?;
    // Whoever chooses has the turn: it goes on choosing when this tool is killed.
    let held = turn.try_clone().map_err(|error| Error::failed("cannot hand the lock on").because(error))?;
    let mut child = program.start(held.into(), theirs.into(), copy.into())?;
    // Its children share its group, and outlive it when it is killed: a later run must be able to find them.
    entry.group = i32::try_from(child.id()).ok();
    records.journal.write(entry, lock)?;
    checkpoint::pass("upgrade-started");
    let said = || {
        let text = files::read(&path, 1 << 30)?;
        let ours = text.get(usize::try_from(begun).unwrap_or_default()..).unwrap_or_default();
        Ok(String::from_utf8_lossy(ours).into_owned())
    };
    let mut reports = Reports::of(entry);
    let status = watch(&mut child, entry, turn, &mut reports, said)?;
    entry.group = None;
    remove_leftovers(&leftovers)?;
    let said = logs.found(said()?);
    let settles = |complaint: &str| entry.method == Method::Dump && kept.settles(complaint);
    judge(&program.line(), status, &said, &settles).map_err(|error| {
        let error = reports.keep(&said, &mut log).into_iter().fold(error, Error::because);
        error.hint(format!("all it said is in {}", path.display()))
    })
}

fn command(logs: &Logs, entry: &Entry, jobs: Option<u32>) -> Result<command::Cmd> {
    let mut command = logs
        .command()
        .args(["--version", &entry.major.to_string(), "--method", entry.method.name()])
        .arg("--logfile")
        .arg(&entry.log);
    if let Some(jobs) = jobs.filter(|_| entry.method != Method::Dump) {
        command = command.args(["--jobs", &jobs.to_string()]);
    }
    if entry.keep_port {
        command = command.arg("--keep-port");
    }
    if entry.force_packages {
        command = command.arg("--force-packages");
    }
    if !debian::Script::of_this_machine()?.needs_start()? {
        // We start it ourselves, shut, so that nothing changes before it is proven. Hooks need it running.
        command = command.arg("--no-start");
    }
    Ok(command.args([&entry.old.major.to_string(), &entry.old.name]).arg(&entry.data))
}

/// Waits until no other run of this tool on this machine is choosing a port: `pg_upgradecluster` takes the first one
/// that no cluster is configured for, and writes it down only when its initdb is done. Two at once take the same one.
fn turn() -> Result<File> {
    let root = cluster::configuration_root();
    let turn = File::open(&root).map_err(|error| Error::io("open", &root, error))?;
    let begun = Instant::now();
    while begun.elapsed() < TURN_LIMIT {
        match turn.try_lock() {
            Ok(()) => return Ok(turn),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &root, error)),
        }
        signals::check()?;
    }
    // Anybody who may read the directory can hold this lock; it must not keep the server stopped.
    ui::warn(&format!("somebody holds the lock on {}: another upgrade may choose the same port", root.display()));
    Ok(turn)
}

/// Whether the new cluster has been given its port for good, by what was said: on the way there its configuration names
/// that of the old one for a moment.
fn has_port(said: &str) -> bool {
    said.contains("Starting new cluster") || said.contains("/pg_upgrade -b")
}

/// Waits for it. A signal to this tool does not reach it and is honoured afterwards: half an upgrade is worse.
fn watch(
    child: &mut Child,
    entry: &Entry,
    turn: File,
    reports: &mut Reports,
    said: impl Fn() -> Result<String>,
) -> Result<ExitStatus> {
    let begun = Instant::now();
    let mut turn = Some(turn);
    let whole = tree::size(&entry.old.data).map(|size| size.bytes).unwrap_or_default().max(1);
    let mut looked = Instant::now();
    let meter = Meter::told(format!("upgrading {} to {}", entry.from(), entry.to()));
    loop {
        reports.look();
        if let Some(status) =
            child.try_wait().map_err(|error| Error::failed("cannot wait for pg_upgradecluster").because(error))?
        {
            return Ok(status);
        }
        if begun.elapsed() > LIMIT {
            command::kill_group(child);
            let _ = child.wait();
            return Err(Error::failed("pg_upgradecluster was ended")
                .because(format!("it had not finished after {} hours", LIMIT.as_secs() / 3600)));
        }
        if let Some(held) = &turn
            && has_port(&said()?)
        {
            let _ = held.unlock();
            turn = None;
        }
        if looked.elapsed() > Duration::from_secs(1) {
            // A file that vanishes while it is measured is no reason to stop.
            let made = tree::size(&entry.data).map(|size| size.bytes).unwrap_or_default();
            meter.set(made, Some(whole));
            looked = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn judge(line: &str, status: ExitStatus, said: &str, settles: &dyn Fn(&str) -> bool) -> Result<()> {
    let is_fault = |line: &&str| COMPLAINTS.iter().any(|word| line.contains(word)) && !settles(line);
    let complaints: Vec<&str> = said.lines().filter(is_fault).map(str::trim).collect();
    if status.success() && complaints.is_empty() {
        return Ok(());
    }
    let mut error = Error::failed(format!("`{line}` failed"));
    error = match (status.success(), status.code(), status.signal()) {
        (true, ..) => error.because("it claims success, but it complained"),
        (_, Some(code), _) => error.because(format!("exit status {code}")),
        (_, None, signal) => error.because(format!("killed by signal {}", signal.unwrap_or_default())),
    };
    if complaints.is_empty() {
        return Err(error.because(command::tail(said)));
    }
    for complaint in complaints.iter().take(10) {
        error = error.because(complaint);
    }
    Err(error)
}

/// `pg_upgradecluster` leaves a `/tmp/pg_hba.XXXXXX.conf` for every run.
fn temporary_files() -> Result<Vec<PathBuf>> {
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("pg_hba.") && name.ends_with(".conf")
    };
    Ok(entries(Path::new("/tmp"))?.into_iter().filter(ours).collect())
}

fn remove_leftovers(before: &[PathBuf]) -> Result<()> {
    let now = temporary_files()?;
    // Somebody else's upgrade may be in need of one of them. What begins after this look makes new ones.
    if processes().iter().any(|process| process.line.contains("pg_upgradecluster")) {
        return Ok(());
    }
    for path in now.iter().filter(|path| !before.contains(path)) {
        files::remove_file(path)?;
    }
    Ok(())
}

/// A process of the machine.
#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    group: i32,
    line: String,
}

/// All processes, as `/proc` shows them.
fn processes() -> Vec<Process> {
    let Ok(list) = entries(Path::new("/proc")) else { return Vec::new() };
    list.iter()
        .filter_map(|path| {
            let pid: i32 = path.file_name()?.to_str()?.parse().ok()?;
            let line = mm_common::machine::process::command_line(pid)?;
            let stat = String::from_utf8_lossy(&std::fs::read(path.join("stat")).ok()?).into_owned();
            // After the name in brackets: state, parent, group. A zombie does nothing any more.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let state = fields.next()?;
            let group = fields.nth(1)?.parse().ok()?;
            (state != "Z").then_some(Process { pid, group, line })
        })
        .collect()
}

/// The programs of an upgrade that outlived the tool that started them. Servers are not among them: they have groups
/// of their own, and are stopped as servers.
pub(crate) fn survivors(entry: &Entry) -> Vec<Process> {
    let words = [
        "pg_upgrade",
        "pg_dump",
        "pg_restore",
        "psql",
        "initdb",
        "pg_createcluster",
        "pg_ctl",
        "pg_dropcluster",
        "run-parts",
        "pg_resetwal",
        "vacuumdb",
        "perl",
    ];
    let target = format!(" {} {} {}", entry.old.major, entry.old.name, entry.data.display());
    processes()
        .into_iter()
        .filter(|process| {
            let of_upgrade = words.iter().any(|word| process.line.contains(word));
            let in_group = entry.group.is_some_and(|group| group == process.group);
            of_upgrade && (in_group || (process.line.contains("pg_upgradecluster") && process.line.contains(&target)))
        })
        .collect()
}

/// Ends them, with all of their groups, and waits until they are gone.
pub(crate) fn end(entry: &Entry) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left = survivors(entry);
        if left.is_empty() {
            return Ok(());
        }
        for process in &left {
            // It may just have ended by itself.
            let _ = killpg(Pid::from_raw(process.group), Signal::SIGKILL);
        }
        if begun.elapsed() > Duration::from_secs(30) {
            let list: Vec<String> = left.iter().map(|process| process.pid.to_string()).collect();
            return Err(Error::failed("cannot end what is left of an earlier upgrade")
                .because(format!("these processes are still there: {}", list.join(", "))));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_with_complaints_is_a_failure() {
        let fine = ExitStatus::from_raw(0);
        let none = |_: &str| false;
        judge("x", fine, "Success. Please check\n", &none).unwrap();
        let said = "pg_restore: error: COPY failed for table \"teams\": ERROR:  duplicate key\nSuccess.\n";
        let error = judge("x", fine, said, &none).unwrap_err();
        assert!(error.one_line().contains("COPY failed for table"), "{error:?}");
        assert!(judge("x", ExitStatus::from_raw(256), "Error: pg_upgrade run failed\n", &none).is_err());
        // A statement of the dump, as newer versions print them.
        judge("x", fine, "CREATE FUNCTION public.f() ... RAISE NOTICE 'ERROR: no such user';\nSuccess.\n", &none)
            .unwrap();
        // What is settled afterwards.
        judge("x", fine, "ERROR:  function m.f() does not exist\nSuccess.\n", &|line| line.contains("m.f()")).unwrap();
    }
}
