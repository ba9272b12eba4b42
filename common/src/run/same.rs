//! The machine, the state directory and the service manager that a run began with are those it goes on with: with others a
//! tool would write where nobody looks when the way back is needed.

use std::path::{Path, PathBuf};

use super::Session;
use crate::contract::error::{Error, Result};
use crate::contract::sections::{Run, SiteService};
use crate::machine::state::BASE;
use crate::machine::{host, trust};

/// The document's run, where it was planned on this machine.
pub(super) fn of_this_machine(session: &Session) -> Result<Option<Run>> {
    let run = session.document.run()?;
    Ok(run.filter(|run| run.host.as_deref() == Some(host::identity().as_str()) && run.state_dir.is_some()))
}

/// Takes the state directory of the run over, where no flag names one.
///
/// # Errors
/// Refused (exit 5) where a flag names another state directory or service manager than the run began with, and where the
/// state directory is not root's, or others can write to it.
pub(super) fn settle(session: &mut Session) -> Result<()> {
    if let Some(run) = of_this_machine(session)? {
        let began = run.state_dir.unwrap_or_else(|| BASE.into());
        match &session.common.state_dir {
            Some(given) if !is_same_place(given, &began) => {
                return Err(differs("--state-dir", &given.display().to_string(), &began.display().to_string()));
            }
            Some(_) => {}
            None if began == Path::new(BASE) => {}
            None => session.common.state_dir = Some(began),
        }
        if let (Some(given), Some(site)) = (&session.common.service, session.document.site()?)
            && !is_same_service(given, &site.service)
        {
            let SiteService { manager, unit, .. } = site.service;
            let began = unit.map_or_else(|| manager.clone(), |unit| format!("{manager}:{unit}"));
            return Err(differs("--service", given, &began));
        }
    }
    let Some(base) = &session.common.state_dir else { return Ok(()) };
    trust::check_directory(base).map_err(|error| {
        error
            .because("what it holds is what the tools have done, and they go by it")
            .hint("give a directory of your own with --state-dir DIR")
    })
}

fn differs(flag: &str, given: &str, began: &str) -> Error {
    Error::refused(format!("{flag} {given} is not what this run began with"))
        .because(format!("the document says {began}"))
        .hint(format!("leave {flag} out, or begin a run of its own: mm-path --to VERSION {flag} {given}"))
}

/// Whether two paths lead to one place; one that is not there yet is compared as it is written.
pub(super) fn is_same_place(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| -> PathBuf {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
        std::fs::canonicalize(&absolute).unwrap_or(absolute)
    };
    place(one) == place(other)
}

/// Whether a flag `MANAGER[:NAME]` is what the document says.
fn is_same_service(given: &str, service: &SiteService) -> bool {
    let (manager, name) = given.split_once(':').unwrap_or((given, ""));
    let plain = |name: &str| name.strip_suffix(".service").unwrap_or(name).to_owned();
    let unit = service.unit.as_deref().map(plain);
    manager == service.manager && (name.is_empty() || unit.is_none_or(|unit| unit == plain(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_from_another() {
        let service = |manager: &str, unit: Option<&str>| SiteService {
            manager: manager.into(),
            unit: unit.map(str::to_owned),
            was_running: true,
        };
        let systemd = service("systemd", Some("mattermost.service"));
        for given in ["systemd", "systemd:", "systemd:mattermost", "systemd:mattermost.service"] {
            assert!(is_same_service(given, &systemd), "{given}");
        }
        for given in ["exec", "systemd:other", "sysv:mattermost"] {
            assert!(!is_same_service(given, &systemd), "{given}");
        }
        assert!(is_same_service("exec", &service("exec", None)));
    }

    #[test]
    fn a_place_is_the_same_by_whatever_way() {
        let place = tempfile::tempdir().unwrap();
        let (there, link) = (place.path().join("there"), place.path().join("link"));
        std::os::unix::fs::symlink(&there, &link).unwrap();
        assert!(!is_same_place(&there, &link), "nothing is there yet");
        crate::machine::files::create_directory(&there, 0o700).unwrap();
        assert!(is_same_place(&there, &link) && is_same_place(&there, &place.path().join("./there/")));
    }
}
