//! The programs of each PostgreSQL major, where distributions keep them, and how this one installs them.

use std::path::{Path, PathBuf};

use crate::contract::error::{Error, Result};
use crate::machine::command::{self, Cmd};
use crate::machine::distribution::Family;

/// Where distributions keep the programs of each major version: Debian, then the packages of postgresql.org for RPM
/// systems. `{}` is the major version.
const HOMES: &[&str] = &["/usr/lib/postgresql/{}/bin", "/usr/pgsql-{}/bin"];

/// The newest major version that is looked for.
const NEWEST: u32 = 40;

/// What postgresql-common ships (client part: `postgresql-client-common` from version 269 on) for adding the packages of
/// the PostgreSQL project.
const PGDG: &str = "/usr/share/postgresql-common/pgdg/apt.postgresql.org.sh";

/// A program of one major version, by full path.
pub fn program_of(program: &str, major: u32) -> Option<PathBuf> {
    HOMES
        .iter()
        .map(|home| Path::new(&home.replace("{}", &major.to_string())).join(program))
        .find(|path| path.is_file())
}

/// The program of the oldest installed major that is not older than `major` (0: of the newest one; nothing is known of
/// the server yet, and the newest client speaks with every server); where none is in a distribution's place, the one of
/// the system.
///
/// # Errors
/// Refused when there is none, with the command that installs it.
pub(super) fn program_for(program: &str, major: u32) -> Result<PathBuf> {
    let mut majors: Vec<u32> = (major.max(9)..=NEWEST).collect();
    if major == 0 {
        majors.reverse();
    }
    if let Some(path) = majors.iter().find_map(|major| program_of(program, *major)) {
        return Ok(path);
    }
    // Not a distribution's layout: the one program there is, whatever its major. It says itself when it is too old.
    match command::find(program) {
        // On Debian that name is a wrapper, which would choose a client by rules of its own.
        Ok(path) if !Path::new("/usr/share/postgresql-common/pg_wrapper").exists() => Ok(path),
        _ => Err(missing(program, major)),
    }
}

/// What a program that is not there means. Of a server that could not be asked no major is known.
fn missing(program: &str, major: u32) -> Error {
    if major == 0 {
        return Error::refused(format!("the program `{program}` is not installed"))
            .because("no client programs of PostgreSQL were found, of whatever version")
            .hint(System::of_this_machine().client());
    }
    Error::refused(format!("the program `{program}` of PostgreSQL {major} or later is not installed"))
        .hint(install(major, Part::Client))
}

/// What of a major is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `psql`, `pg_dump` and the like.
    Client,
    /// These and the server.
    Server,
}

/// The command that installs a major on this machine, with the packages named as its distribution names them; where its
/// repositories have none, what brings them in comes first.
pub fn install(major: u32, part: Part) -> String {
    let system = System::of_this_machine();
    let offered = system != System::Debian || is_offered(major);
    system.install(major, part, offered, Path::new(PGDG).exists())
}

/// The command by which the packages of this machine upgrade a server of their own to a major, where they have one that is not
/// Debian's.
pub fn own_upgrade(major: u32) -> Option<String> {
    System::of_this_machine().own_upgrade(major, command::exists("postgresql-setup"))
}

/// Whether apt knows where to get a major.
fn is_offered(major: u32) -> bool {
    let asked = Cmd::new("apt-cache").args(["policy", &format!("postgresql-{major}")]).run();
    asked.is_ok_and(|output| {
        output.text().lines().filter_map(|line| line.trim().strip_prefix("Candidate:")).any(|it| it.trim() != "(none)")
    })
}

/// Families of distributions that name their packages alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    /// Debian, Ubuntu and what is made of them.
    Debian,
    /// Red Hat's and its clones; `project` when the packages of the PostgreSQL project are in use.
    RedHat { project: bool },
    /// SUSE's.
    Suse,
    /// None that is known.
    Other,
}

impl System {
    fn of_this_machine() -> Self {
        match Family::of_this_machine() {
            Family::Debian => Self::Debian,
            Family::RedHat => {
                let project = (9..=NEWEST).any(|major| Path::new(&format!("/usr/pgsql-{major}")).exists());
                Self::RedHat { project }
            }
            Family::Suse => Self::Suse,
            Family::Other => Self::Other,
        }
    }

    fn install(self, major: u32, part: Part, offered: bool, script: bool) -> String {
        let server = part == Part::Server;
        match self {
            Self::Debian => {
                let client = format!("postgresql-client-{major}");
                let packages = if server { format!("postgresql-{major} {client}") } else { client };
                let install = format!("apt-get install {packages}");
                match (offered, script) {
                    (true, _) => install,
                    // The repositories of this release have other majors only.
                    (false, true) => format!("{PGDG} -y && {install}"),
                    (false, false) => format!("apt-get install postgresql-common && {PGDG} -y && {install}"),
                }
            }
            Self::RedHat { project: true } if server => {
                format!("dnf install postgresql{major} postgresql{major}-server postgresql{major}-contrib")
            }
            Self::RedHat { project: true } => format!("dnf install postgresql{major}"),
            Self::RedHat { project: false } if server => format!("dnf module install postgresql:{major}/server"),
            Self::RedHat { project: false } => format!("dnf module install postgresql:{major}/client"),
            Self::Suse if server => format!("zypper install postgresql{major} postgresql{major}-server"),
            Self::Suse => format!("zypper install postgresql{major}"),
            Self::Other if server => format!("install the server and client programs of PostgreSQL {major}"),
            Self::Other => format!("install the client programs of PostgreSQL {major} or later"),
        }
    }

    /// The client of whatever major the distribution has.
    fn own_upgrade(self, major: u32, setup: bool) -> Option<String> {
        match self {
            Self::RedHat { project: true } => Some(format!("/usr/pgsql-{major}/bin/postgresql-{major}-setup upgrade")),
            _ if setup || self == Self::RedHat { project: false } => Some("postgresql-setup --upgrade".to_owned()),
            _ => None,
        }
    }

    fn client(self) -> &'static str {
        match self {
            Self::Debian => "apt-get install postgresql-client",
            Self::RedHat { .. } => "dnf install postgresql",
            Self::Suse => "zypper install postgresql",
            Self::Other => "install the client programs of PostgreSQL",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_as_the_distribution_names_them() {
        let server = |system: System, offered, script| system.install(17, Part::Server, offered, script);
        assert_eq!(server(System::Debian, true, true), "apt-get install postgresql-17 postgresql-client-17");
        assert_eq!(
            server(System::Debian, false, true),
            format!("{PGDG} -y && apt-get install postgresql-17 postgresql-client-17")
        );
        assert!(server(System::Debian, false, false).starts_with("apt-get install postgresql-common && "));
        let project = System::RedHat { project: true };
        assert_eq!(server(project, true, false), "dnf install postgresql17 postgresql17-server postgresql17-contrib");
        assert_eq!(System::Debian.install(16, Part::Client, true, true), "apt-get install postgresql-client-16");
    }

    #[test]
    fn the_packages_own_way_to_a_major_is_known() {
        let of = |system: System, setup| system.own_upgrade(16, setup);
        let project = of(System::RedHat { project: true }, true);
        assert_eq!(project.as_deref(), Some("/usr/pgsql-16/bin/postgresql-16-setup upgrade"));
        assert_eq!(of(System::RedHat { project: false }, false).as_deref(), Some("postgresql-setup --upgrade"));
        assert_eq!(of(System::Other, true).as_deref(), Some("postgresql-setup --upgrade"));
        assert_eq!((of(System::Suse, false), of(System::Debian, false)), (None, None));
    }

    #[test]
    fn no_major_is_named_where_none_is_known() {
        let error = missing("psql", 0);
        let said = format!("{} {}", error.one_line(), error.next_step().unwrap_or_default());
        assert!(said.contains("of whatever version") && !said.contains('0'), "{said}");
        assert!(missing("psql", 15).one_line().contains("PostgreSQL 15 or later"));
    }
}
