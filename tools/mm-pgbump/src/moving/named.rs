//! The file that names the server which a database is carried to. It holds passwords, so it is read once and never shown.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use mm_common::contract::secret::Secret;
use mm_common::machine::files;
use mm_common::machine::user::{self, User};
use mm_common::postgres::source::DataSource;
use mm_common::{Context as _, Error, Kind, Result};

/// Larger than two data sources.
const MOST: u64 = 64 * 1024;

/// Whom the file names.
#[derive(Clone)]
pub(crate) struct Named {
    /// The data source of the server, as it is to stand in the configuration.
    pub text: Secret,
    /// What that says.
    pub source: DataSource,
    /// The text of the administrator's.
    pub administrator: Option<Secret>,
}

impl Named {
    /// Reads `--target`: a file, or `fd:N` for a descriptor that this process has inherited. `owner` is the user of the
    /// server.
    ///
    /// # Errors
    /// Refused when others can read the file, or it is not one or two data sources.
    pub(crate) fn read(place: &str, owner: &User) -> Result<Self> {
        let attempt = || format!("cannot read the target `{place}`");
        let text = match place.strip_prefix("fd:") {
            Some(number) => from_descriptor(number),
            None => from_file(Path::new(place)),
        };
        let text = text.map_err(|error| error.of_kind(Kind::Refused)).context(attempt)?;
        Self::parse(&text, owner).map_err(|error| error.within(attempt()))
    }

    /// The lines of such a file: a data source, and, where there is a second one, an administrator's.
    ///
    /// # Errors
    /// Refused when it is not that. The lines are never quoted.
    pub(crate) fn parse(text: &str, owner: &User) -> Result<Self> {
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let (first, second) = match lines.as_slice() {
            [first] => (*first, None),
            [first, second] => (*first, Some(*second)),
            _ => {
                return Err(Error::refused(format!("it has {} lines and not one or two", lines.len())).hint(
                    "line 1: the data source for SqlSettings.DataSource; line 2, if any: an administrator's data source",
                ));
            }
        };
        let parse = |line: &str, number: u32| {
            DataSource::parse_for(line, &owner.name).map_err(|error| {
                let error = Error::refused(format!("its line {number} is not a data source of PostgreSQL"))
                    .because(error.causes().join("; "));
                error.hint("write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require")
            })
        };
        let source = parse(first, 1)?;
        if let Some(second) = second {
            parse(second, 2)?;
        }
        Ok(Self { text: Secret::new(first), source, administrator: second.map(Secret::new) })
    }

    /// What the administrator's says.
    ///
    /// # Errors
    /// As [`DataSource::parse`].
    pub(crate) fn administrator(&self) -> Result<Option<DataSource>> {
        self.administrator.as_ref().map(|text| DataSource::parse(text.reveal())).transpose()
    }

    /// Whether the data source is written as a URL.
    pub(crate) fn is_url(&self) -> bool {
        ["postgres://", "postgresql://"].iter().any(|scheme| self.text.reveal().starts_with(scheme))
    }
}

fn from_descriptor(number: &str) -> Result<String> {
    if number.parse::<u32>().is_err() {
        return Err(Error::refused("no descriptor has this name").hint("fd:3 is descriptor 3, as in: 3</etc/mm-target"));
    }
    let path = Path::new("/proc/self/fd").join(number);
    let file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
    read(file, &path)
}

fn from_file(path: &Path) -> Result<String> {
    let file = files::open_nofollow(path)?;
    let data = file.metadata().map_err(|error| Error::io("look at", path, error))?;
    let own = nix::unistd::geteuid().as_raw();
    if data.mode() & 0o077 != 0 || (data.uid() != own && data.uid() != 0) {
        let user = user::current().name;
        return Err(Error::refused("others could read or write it, and it holds passwords")
            .because(format!("its mode is {:o} and its owner has the number {}", data.mode() & 0o7777, data.uid()))
            .hint(format!(
                "chown {} {place} && chmod 600 {place}",
                mm_common::contract::shell::word(&user),
                place = mm_common::contract::shell::word(path)
            )));
    }
    read(file, path)
}

fn read(file: File, path: &Path) -> Result<String> {
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text).map_err(|error| Error::io("read", path, error))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_or_two_lines_and_nothing_of_them_is_shown() {
        let owner = user::current();
        let text = "# ours\n\npostgres://u:geheim@h/d\n  host=h user=admin password=geheim\n";
        let named = Named::parse(text, &owner).unwrap();
        assert_eq!((named.source.user.as_str(), named.is_url()), ("u", true));
        assert_eq!(named.administrator().unwrap().unwrap().user, "admin");
        assert!(Named::parse("postgres://u@h/d", &owner).unwrap().administrator.is_none());
        for wrong in ["", "a\nb\nc", "geheim", "postgres://u:geheim@h/d\ngeheim", "u:geheim@tcp(h)/d"] {
            let error = Named::parse(wrong, &owner).err().unwrap();
            let said = format!("{} {:?} {:?}", error.one_line(), error.causes(), error.next_step());
            assert!(error.code() == 5 && !said.contains("geheim"), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("target");
        files::write(&path, b"postgres://u@h/d\n", files::Access::PRIVATE).unwrap();
        let read = || Named::read(path.to_str().unwrap(), &user::current());
        read().unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read().err().unwrap();
        assert!(error.code() == 5 && error.next_step().unwrap().contains("chmod 600"), "{error:?}");
        assert_eq!(Named::read("fd:x", &user::current()).err().unwrap().code(), 5);
    }
}
