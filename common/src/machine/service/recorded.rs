//! The manager that a document names. A document may come from anywhere, so what it names is seen again here.

use std::path::Path;

use super::{Manager, note, others, process, systemd};
use crate::contract::error::{Error, Result};
use crate::machine::state::State;

impl Manager {
    /// The manager of the installation at `root` as a document says it. A unit, script or program counts only where it
    /// is seen to run this installation, or where it is the one that these tools have stopped for it.
    ///
    /// # Errors
    /// Refused (exit 5) when it does not run this installation. Otherwise as [`Manager::choose`].
    pub fn recorded(root: &Path, state: &State, kind: &str, unit: Option<&str>) -> Result<Self> {
        let Some(unit) = unit else { return Self::choose(root, Some(kind), None, None) };
        let refused = |why: &str| {
            Error::refused(format!("the document names the service `{unit}`, which is not used"))
                .because(why)
                .hint(format!("if it runs `{}`, say so to every tool with --service {kind}:NAME", root.display()))
        };
        if !is_plain(unit) {
            return Err(refused("that is no name of a unit, a script or a program"));
        }
        let manager = Self::choose(root, Some(&format!("{kind}:{unit}")), None, None)?;
        if note::names(state, &manager) || manager.runs(root) {
            return Ok(manager);
        }
        Err(refused(&format!("it is not seen to run the server in `{}`", root.display())))
    }

    /// Whether it runs the server of the installation at `root`, as far as that can be seen.
    fn runs(&self, root: &Path) -> bool {
        match self {
            Self::Systemd { unit } => systemd::show(unit).is_ok_and(|unit| {
                let runs = unit.main_pid.is_some_and(|pid| process::servers(root).iter().any(|it| it.pid == pid));
                runs || systemd::runs_server_of(&unit.exec_start, root)
                    || unit.working_directory.as_deref() == Some(root)
            }),
            Self::Sysv { name } => others::script_names(name, root),
            Self::Supervisor { name } => others::program_names(name, root),
            Self::Exec | Self::Command { .. } => true,
        }
    }
}

/// Characters of the names that systemd, init scripts and supervisord have; none that leads elsewhere or is a flag.
fn is_plain(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.@:\\+".contains(c);
    !name.is_empty() && !name.starts_with(['-', '.']) && !name.contains("..") && name.chars().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_document_names_is_seen_again() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        let state = State::of(&root, Some(&root.join("state")));
        let recorded = |kind: &str, unit| Manager::recorded(&root, &state, kind, unit);
        for unit in ["../../x", "/tmp/x", "-x", ".x", "a..b", "a b", "a\nb", ""] {
            for kind in ["sysv", "systemd", "supervisor"] {
                let error = recorded(kind, Some(unit)).unwrap_err();
                assert_eq!(error.code(), 5, "{kind} {unit:?}");
                assert!(error.next_step().is_some_and(|hint| hint.contains("--service")), "{error:?}");
            }
        }
        // A script that is there and has nothing to do with this installation.
        assert_eq!(recorded("sysv", Some("cron")).unwrap_err().code(), 5);
        assert_eq!(recorded("exec", None).unwrap(), Manager::Exec);
    }

    #[test]
    fn the_service_that_was_stopped_for_an_upgrade_is_still_its() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        let state = State::of(&root, Some(&root.join("state")));
        let lock = state.lock(std::time::Duration::ZERO).unwrap();
        let manager = Manager::Sysv { name: "wrapper".into() };
        note::leave(&state, &manager, &lock).unwrap();
        assert_eq!(Manager::recorded(&root, &state, "sysv", Some("wrapper")).unwrap(), manager);
        assert_eq!(Manager::recorded(&root, &state, "sysv", Some("other")).unwrap_err().code(), 5);
        assert_eq!(Manager::recorded(&root, &state, "supervisor", Some("wrapper")).unwrap_err().code(), 5);
    }
}
