//! Limits that the kernel keeps for a program and all it starts (setrlimit(2)). They are set on the way to it, by `prlimit`,
//! which becomes the program: there is no moment without them, and no further process.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;

use nix::sys::resource::{Resource, getrlimit};

use super::find;
use crate::contract::error::{Error, Result};

/// How much memory a client may use that reads what a server answers to a question, in bytes: the answer is held whole, and is
/// of no use beyond 64 MiB.
pub const TO_ASK: u64 = 2 << 30;

/// How much one may use that carries all that a database holds, in bytes: it holds a row at a time, which can be a GiB and
/// is written in two digits a byte.
pub const TO_CARRY: u64 = 8 << 30;

/// How many processes and threads a program and what it starts may have, in addition to what their user has already.
pub(super) const MOST_PROCESSES: u64 = 512;

/// The name of the first name space of processes, which has all of them (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const FIRST_PROCESSES: &str = "pid:[4026531836]";

/// The words before a program that runs as `uid`: each of its processes has at most so many bytes of memory, and there are no
/// more of them than some.
pub(super) fn words(uid: u32, memory: u64) -> Result<Vec<OsString>> {
    let failed = |error: nix::errno::Errno| Error::failed("cannot limit a program").because(error.desc());
    // Beyond what is the limit already only root can go, and nobody has to.
    let most = |resource, wanted: u64| getrlimit(resource).map(|(_, hard)| hard.min(wanted)).map_err(failed);
    let memory = most(Resource::RLIMIT_AS, memory)?;
    let mut limits = vec!["--core=0".to_owned(), format!("--as={memory}")];
    if sees_all_processes() {
        let processes = most(Resource::RLIMIT_NPROC, threads_of(uid) + MOST_PROCESSES)?;
        limits.push(format!("--nproc={processes}"));
    }
    limits.push("--".into());
    Ok([OsString::from(find("prlimit")?)].into_iter().chain(limits.into_iter().map(OsString::from)).collect())
}

/// Whether the processes seen here are all that the kernel counts for a user: in a container it counts those of other containers
/// and of the host, too, which nobody sees here, and their number could be beyond any limit that is made from what is seen.
pub(super) fn sees_all_processes() -> bool {
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|space| space.as_os_str() == FIRST_PROCESSES)
}

/// How many threads a user has.
pub(in crate::machine) fn threads_of(uid: u32) -> u64 {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let threads = entries.filter(|entry| entry.metadata().is_ok_and(|data| data.uid() == uid)).filter_map(|entry| {
        // Two of the links are those of the directory itself.
        Some(std::fs::metadata(entry.path().join("task")).ok()?.nlink().saturating_sub(2))
    });
    threads.sum()
}
