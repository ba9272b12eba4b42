//! Finding out who manages the server.

use std::path::Path;

use super::{Manager, others, systemd};
use crate::contract::error::{Error, Result};

impl Manager {
    /// What `--service`, `--stop-command` and `--start-command` say, or else what is found for the installation at
    /// `root`: a systemd unit, an init script, a program of supervisord, and `exec` when there is none of them.
    ///
    /// # Errors
    /// Usage, when the flags contradict each other; refused, when several units run this installation.
    pub fn choose(root: &Path, wanted: Option<&str>, stop: Option<&str>, start: Option<&str>) -> Result<Self> {
        let (kind, name) = match wanted.map(|text| text.split_once(':').map_or((text, None), |(k, n)| (k, Some(n)))) {
            Some((kind, name)) => (Some(kind), name.filter(|name| !name.is_empty())),
            None if stop.is_some() || start.is_some() => (Some("command"), None),
            None => (None, None),
        };
        match (kind, name) {
            (None, _) => Self::found(root),
            (Some("systemd"), Some(unit)) => Ok(Self::Systemd { unit: with_suffix(unit) }),
            (Some("systemd"), None) => one("systemd", systemd::find(root)?, root)?
                .map_or_else(|| Err(missing("systemd unit", "systemd", root)), |unit| Ok(Self::Systemd { unit })),
            (Some("sysv"), Some(name)) => Ok(Self::Sysv { name: name.into() }),
            (Some("sysv"), None) => one("sysv", others::find_sysv(root), root)?
                .map_or_else(|| Err(missing("init script", "sysv", root)), |name| Ok(Self::Sysv { name })),
            (Some("supervisor"), Some(name)) => Ok(Self::Supervisor { name: name.into() }),
            (Some("supervisor"), None) => one("supervisor", supervisor_names(root), root)?.map_or_else(
                || Err(missing("program of supervisord", "supervisor", root)),
                |name| Ok(Self::Supervisor { name }),
            ),
            (Some("exec"), _) => Ok(Self::Exec),
            (Some("command"), _) => match (stop, start) {
                (Some(stop), Some(start)) => Ok(Self::Command { stop: stop.into(), start: start.into() }),
                _ => Err(Error::usage("--service command needs --stop-command and --start-command")),
            },
            (Some(other), _) => Err(Error::usage(format!("`{other}` is not a service manager"))
                .hint("use systemd, sysv, supervisor, exec or command, with :NAME where it has one")),
        }
    }

    fn found(root: &Path) -> Result<Self> {
        if let Some(unit) = one("systemd", systemd::find(root)?, root)? {
            return Ok(Self::Systemd { unit });
        }
        if let Some(name) = one("sysv", others::find_sysv(root), root)? {
            return Ok(Self::Sysv { name });
        }
        Ok(one("supervisor", supervisor_names(root), root)?.map_or(Self::Exec, |name| Self::Supervisor { name }))
    }
}

fn supervisor_names(root: &Path) -> Vec<String> {
    others::find_supervisor(root).into_iter().map(|(name, _)| name).collect()
}

fn with_suffix(unit: &str) -> String {
    if unit.contains('.') { unit.into() } else { format!("{unit}.service") }
}

fn one(manager: &str, mut names: Vec<String>, root: &Path) -> Result<Option<String>> {
    if names.len() > 1 {
        return Err(Error::refused(format!("more than one service runs the server in `{}`", root.display()))
            .because(names.join(", "))
            .hint(format!("say which with --service {manager}:NAME")));
    }
    Ok(names.pop())
}

fn missing(what: &str, manager: &str, root: &Path) -> Error {
    Error::refused(format!("no {what} runs the server in `{}`", root.display()))
        .hint(format!("give its name with --service {manager}:NAME, or another manager with --service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(wanted: Option<&str>, stop: Option<&str>, start: Option<&str>) -> Result<Manager> {
        Manager::choose(Path::new("/nowhere/at/all"), wanted, stop, start)
    }

    #[test]
    fn flags_decide_and_nothing_found_means_exec() {
        assert_eq!(choose(Some("systemd:mm"), None, None).unwrap(), Manager::Systemd { unit: "mm.service".into() });
        assert_eq!(choose(None, Some("a"), Some("b")).unwrap().name(), "command");
        assert_eq!(choose(Some("exec"), None, None).unwrap(), Manager::Exec);
        assert_eq!(choose(Some("command"), Some("a"), None).unwrap_err().code(), 2);
        assert_eq!(choose(Some("launchd"), None, None).unwrap_err().code(), 2);
        assert_eq!(choose(Some("supervisor"), None, None).unwrap_err().code(), 5);
        assert_eq!(choose(None, None, None).unwrap(), Manager::Exec);
    }

    #[test]
    fn two_units_are_not_guessed_between() {
        let error = one("systemd", vec!["a.service".into(), "b.service".into()], Path::new("/x")).unwrap_err();
        assert_eq!(error.code(), 5);
        assert_eq!(error.next_step(), Some("say which with --service systemd:NAME"));
    }
}
