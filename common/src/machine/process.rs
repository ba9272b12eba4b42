//! Which process made something, so that what a killed run left behind can be told from what a living one is making.

use std::fmt;
use std::path::Path;

use crate::contract::error::{Error, Result};
use crate::machine::files;

/// A process, beyond the reuse of its number and beyond a restart of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pid: u32,
    /// When it started, in the kernel's ticks since the machine did.
    started: u64,
    /// The kernel's name for this run of the machine.
    boot: String,
}

impl Identity {
    /// This process.
    pub fn own() -> Result<Self> {
        let pid = std::process::id();
        let started = started(pid).ok_or_else(|| Error::failed(format!("cannot read `/proc/{pid}/stat`")))?;
        Ok(Self { pid, started, boot: boot()? })
    }

    /// As it stands in names of files: `PID.START.BOOT`.
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// Reads what [`Identity::text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let identity = Self {
            pid: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
            boot: parts.next()?.to_owned(),
        };
        (!identity.boot.is_empty()).then_some(identity)
    }

    /// Whether that process still runs. When in doubt, it does.
    pub fn is_alive(&self) -> bool {
        match boot() {
            Ok(boot) if boot != self.boot => false,
            Ok(_) => match started(self.pid) {
                Some(started) => started == self.started,
                // That it could not be read (descriptors, memory, a failing call) does not make it dead.
                None => {
                    Path::new("/proc").join(self.pid.to_string()).try_exists().unwrap_or(true) && !is_over(self.pid)
                }
            },
            Err(_) => true,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.pid, self.started, self.boot)
    }
}

/// The words of a process's command line; `None` when there is no such process.
pub fn command_line(pid: i32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

/// Whether another of these tools, or a script of ours, is in this process's group: a pipeline.
pub fn works_beside_others_of_ours() -> bool {
    let own = std::process::id();
    let Some((_, group)) = name_and_group(own) else { return false };
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(name_and_group)
        .any(|(name, its)| its == group && name.starts_with("mm-"))
}

/// Whether a process has started this one, or one that has.
pub fn is_ancestor(process: u32) -> bool {
    let parent = |pid: u32| -> Option<u32> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
    };
    std::iter::successors(parent(std::process::id()), |pid| parent(*pid)).any(|pid| pid == process)
}

/// The name of a process and its group, fields 2 and 5 of `/proc/PID/stat`.
fn name_and_group(pid: u32) -> Option<(String, i32)> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (name, rest) = text.rsplit_once(')')?;
    Some((name.split_once('(')?.1.to_owned(), rest.split_whitespace().nth(2)?.parse().ok()?))
}

fn boot() -> Result<String> {
    let path = std::path::Path::new("/proc/sys/kernel/random/boot_id");
    Ok(files::read_text(path, 4096)?.trim().to_owned())
}

/// Whether a process is a zombie, for certain.
fn is_over(pid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// Field 22 of `/proc/PID/stat`; the name in field 2 may hold anything, so counting begins behind it.
fn started(pid: u32) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    // A zombie makes nothing any more.
    if state == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_started_this_process_is_its_ancestor() {
        assert!(is_ancestor(std::os::unix::process::parent_id()) && is_ancestor(1));
        assert!(!is_ancestor(std::process::id()));
    }

    #[test]
    fn a_process_is_alive_until_it_is_not() {
        let own = Identity::own().unwrap();
        assert_eq!(Identity::parse(&own.text()), Some(own.clone()));
        assert!(own.is_alive());
        assert!(!Identity { started: own.started + 1, ..own.clone() }.is_alive());
        assert!(!Identity { boot: "another".into(), ..own }.is_alive());
        assert_eq!(Identity::parse("x.y.z"), None);
    }
}
