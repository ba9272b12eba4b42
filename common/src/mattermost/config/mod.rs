//! The configuration: `config/config.json` or rows in the database, overridden by `MM_*` variables of the unit and its
//! environment files.

pub mod address;
mod edit;
pub mod environment;
mod repoint;
mod stored;
mod token;
mod variable;

use std::path::{Path, PathBuf};

pub use edit::change;
pub use repoint::{Change, Copied, Spot, is_stored, store_change, stored_at};
pub use token::{Edits, Mover, Replacement};

use serde_json::Value;

use crate::contract::error::{Context as _, Error, Result};
use crate::contract::secret::Secret;
use crate::machine::guise::{self, Guise};
use crate::machine::service::Manager;
use crate::machine::tree::{Dir, Meta};
use crate::machine::user::User;
use environment::Variable;

/// A configuration with all that plugins keep in it stays far below this.
const MOST: u64 = 16 * 1024 * 1024;

/// Where a setting's value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    File(PathBuf),
    /// A variable, with the file that sets it (unit, drop-in, environment file) when that is known.
    Environment {
        /// Name of the variable.
        name: String,
        /// The file that sets it.
        file: Option<PathBuf>,
    },
    /// The configuration in the database.
    Database,
}

/// The configuration as the server sees it. It holds secrets: neither printable nor serialisable.
#[derive(Clone)]
pub struct Config {
    /// The file, when configuration is in a file; symlinks resolved.
    pub path: Option<PathBuf>,
    /// The settings, overrides not applied.
    pub settings: Value,
    /// Variables the server starts with.
    pub overrides: Vec<Variable>,
}

impl Config {
    /// Reads the configuration of the server in `root`, which `manager` starts and which runs as `owner`.
    ///
    /// # Errors
    /// Failed when it cannot be read or is not JSON; refused when it is a symlink to somebody else's file.
    pub fn load(root: &Path, owner: &User, manager: &Manager) -> Result<Self> {
        let overrides = environment::of_service(root, manager)?;
        let place = place_of(manager, &overrides)?.unwrap_or_else(|| "config.json".into());
        if is_database(&place) {
            let settings = in_database(&place, owner)?;
            return Ok(Self { path: None, settings, overrides });
        }
        let path = file_path(root, &place);
        let (path, bytes) = read_file(&path, root, owner)?;
        let settings = parse(&bytes)
            .map_err(|error| if is_empty(&bytes) { error.hint(bring_back(root, &path)) } else { error })
            .context(|| format!("cannot read the configuration `{}`", path.display()))?;
        Ok(Self { path: Some(path), settings, overrides })
    }

    /// A setting with overrides applied: `config.text("ServiceSettings", "ListenAddress")`. Names are compared without
    /// regard to case, as 6.x renamed `...Url` to `...URL` and the like.
    pub fn text(&self, section: &str, key: &str) -> Option<String> {
        let name = variable_name(section, key);
        if let Some(value) = environment::value(&self.overrides, &name) {
            return Some(value.to_owned());
        }
        match member(member(&self.settings, section)?, key)? {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => Some(member(member(&self.settings, section)?, key)?.to_string()),
            _ => None,
        }
    }

    /// A setting that is a switch.
    pub fn flag(&self, section: &str, key: &str) -> Option<bool> {
        self.text(section, key)?.to_ascii_lowercase().parse().ok()
    }

    /// The data source, and where it was found: what a repointing has to change.
    ///
    /// # Errors
    /// Refused when there is none.
    pub fn data_source(&self) -> Result<(Secret, Origin)> {
        let name = variable_name("SqlSettings", "DataSource");
        if let Some(variable) = environment::find(&self.overrides, &name) {
            let origin = Origin::Environment { name, file: variable.file.clone() };
            return Ok((Secret::new(&variable.value), origin));
        }
        let setting = member(&self.settings, "SqlSettings").and_then(|section| member(section, "DataSource"));
        match setting.and_then(Value::as_str) {
            Some(text) if !text.is_empty() => {
                Ok((Secret::new(text), self.path.clone().map_or(Origin::Database, Origin::File)))
            }
            _ => Err(Error::refused("the configuration names no database: SqlSettings.DataSource is missing")
                .hint("set it in config.json, or as MM_SQLSETTINGS_DATASOURCE in the environment of the service")),
        }
    }

    /// Driver of the database: `postgres` or `mysql`.
    pub fn driver(&self) -> String {
        self.text("SqlSettings", "DriverName").unwrap_or_else(|| "postgres".into())
    }

    /// Where the configuration comes from: `file`, `environment` (a file, with the data source in a variable) or
    /// `database`.
    pub fn source(&self) -> &'static str {
        match (&self.path, self.data_source()) {
            (None, _) => "database",
            (_, Ok((_, Origin::Environment { .. }))) => "environment",
            _ => "file",
        }
    }

    /// Names and values of the variables.
    pub fn variables(&self) -> Vec<(String, String)> {
        self.overrides.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect()
    }

    /// Files besides the configuration that the server's environment comes from.
    pub fn environment_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = self.overrides.iter().filter_map(|variable| variable.file.clone()).collect();
        files.sort();
        files.dedup();
        files
    }
}

/// `MM_SECTION_KEY`.
fn variable_name(section: &str, key: &str) -> String {
    format!("MM_{}_{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
}

/// A member of an object: the exact name first, then one that differs in case only.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// What names the configuration: `--config` outranks `MM_CONFIG` (cmd/mattermost, `getConfigDSN`).
fn place(root: &Path, manager: &Manager) -> Result<Option<String>> {
    place_of(manager, &environment::of_service(root, manager)?)
}

fn place_of(manager: &Manager, overrides: &[Variable]) -> Result<Option<String>> {
    let argument = environment::config_argument(manager)?;
    Ok(argument.or_else(|| environment::value(overrides, "MM_CONFIG").map(str::to_owned)))
}

fn is_database(place: &str) -> bool {
    ["postgres://", "postgresql://", "mysql://"].iter().any(|scheme| place.starts_with(scheme))
}

/// Relative names are looked for in `config/` and then in the install root, as the server does.
fn file_path(root: &Path, place: &str) -> PathBuf {
    let place = Path::new(place);
    if place.is_absolute() {
        return place.into();
    }
    let inside = root.join("config").join(place.strip_prefix("config").unwrap_or(place));
    let beside = root.join(place);
    // Where neither is there, the usual place is the one to name.
    if inside.symlink_metadata().is_err() && beside.symlink_metadata().is_ok() { beside } else { inside }
}

/// Reads the file. Root does not read through a symlink that the service user may have planted: only when what it
/// leads to is the service user's own. Outside of the install root it is read with that user's rights, who may have named
/// it.
fn read_file(path: &Path, root: &Path, owner: &User) -> Result<(PathBuf, Vec<u8>)> {
    let resolved = path.canonicalize().map_err(|error| Error::io("find the configuration", path, error))?;
    let (dir, name) = open_parent(&resolved)?;
    let entry = dir.look(&name)?;
    let foreign = |entry: &Meta| entry.uid != owner.uid && !owner.is_current();
    if resolved != path && entry.as_ref().is_some_and(foreign) {
        return Err(Error::refused(format!("`{}` leads to a file of another user", path.display()))
            .because(format!("`{}` does not belong to {}", resolved.display(), owner.name))
            .hint("make it a file, or let the file it leads to belong to the user the server runs as"));
    }
    let bytes = match Guise::of(owner)?.filter(|_| !resolved.starts_with(root)) {
        None => dir.read(&name, MOST)?,
        Some(guise) => guise
            .run(|| match Dir::reach(dir.path())? {
                Some(dir) => dir.read(&name, MOST),
                None => Err(Error::io("find the configuration", path, "it is gone")),
            })
            .map_err(|error| unreadable(error, path, owner))?,
    };
    Ok((resolved, bytes))
}

fn unreadable(error: Error, path: &Path, owner: &User) -> Error {
    if !guise::is_denied(&error) {
        return error;
    }
    Error::refused(format!("the configuration `{}` is not read", path.display()))
        .because(format!("the user the server runs as, {}, may not read it", owner.name))
        .hint("let that user read it, or let MM_CONFIG name the file that the server uses")
}

/// The directory of a resolved path, open, and the name in it.
fn open_parent(path: &Path) -> Result<(Dir, std::ffi::OsString)> {
    let dir = Dir::open(crate::machine::files::parent(path)?)?;
    Ok((dir, path.file_name().unwrap_or_default().to_owned()))
}

/// What brings an emptied configuration back: its copy in the newest restore point, with owner and mode.
fn bring_back(root: &Path, path: &Path) -> String {
    format!(
        "see that the disk has room (df -h), then: cp -a \"$(mm-backup list --format json </dev/null | jq -r \
         '[.points[] | select(.install == \"{}\")] | last.path')/files{path}\" '{path}' (with --to DIR behind \
         `mm-backup list` where the restore points are elsewhere)",
        root.display(),
        path = path.display()
    )
}

/// The text of a configuration as JSON.
///
/// # Errors
/// Failed when it is empty or not JSON. The parser's message may quote what it stumbled over, so only the place is told.
pub fn parse(bytes: &[u8]) -> Result<Value> {
    if is_empty(bytes) {
        return Err(
            Error::failed("it is empty").because("a server that saves its settings on a full disk leaves such a file")
        );
    }
    serde_json::from_slice(bytes).map_err(|error| {
        Error::failed("it is not JSON").because(format!("at line {}, column {}", error.line(), error.column()))
    })
}

fn is_empty(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

fn in_database(place: &str, owner: &User) -> Result<Value> {
    let attempt = || "cannot read the configuration in the database (MM_CONFIG)".to_owned();
    let row = stored::open(place, owner).and_then(|database| stored::active(&database)).context(attempt)?;
    parse(row.value.as_bytes()).context(attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_the_install_root_the_servers_user_has_to_be_able_to_read() {
        use std::os::unix::fs::PermissionsExt as _;

        use crate::machine::files::{self, Access};
        if !crate::machine::user::is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let (root, file) = (place.path().join("root"), place.path().join("config.json"));
        let nobody = User::of_ids(65534, 65534);
        files::write(&file, b"{}", Access::PUBLIC).unwrap();
        assert_eq!(read_file(&file, &root, &nobody).unwrap().1, b"{}");
        files::write(&file, b"{}", Access::PRIVATE).unwrap();
        let error = read_file(&file, &root, &nobody).unwrap_err();
        assert_eq!(error.code(), 5, "{}", error.one_line());
        assert_eq!(read_file(&file, place.path(), &nobody).unwrap().1, b"{}");
    }

    fn site(text: &str) -> (tempfile::TempDir, User) {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("config")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test writes its fixture")]
        std::fs::write(place.path().join("config/config.json"), text).unwrap();
        (place, User::of_ids(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()))
    }

    #[test]
    fn settings_are_found_whatever_the_case_of_their_names() {
        let (place, owner) = site(r#"{"ServiceSettings":{"SiteUrl":"http://x"},"SqlSettings":{"DataSource":"a&b"}}"#);
        let root = place.path().canonicalize().unwrap();
        let config = Config::load(&root, &owner, &Manager::Exec).unwrap();
        assert_eq!(config.text("ServiceSettings", "SiteURL").as_deref(), Some("http://x"));
        assert_eq!(config.text("ServiceSettings", "ListenAddress"), None);
        let (source, origin) = config.data_source().unwrap();
        assert_eq!(source.reveal(), "a&b");
        assert_eq!(origin, Origin::File(root.join("config/config.json")));
        assert_eq!(config.source(), "file");
    }

    #[test]
    fn a_variable_wins_over_the_file() {
        let (place, owner) = site(r#"{"SqlSettings":{"DataSource":"file"}}"#);
        let root = place.path().canonicalize().unwrap();
        let file = root.join("config/mattermost.environment");
        #[expect(clippy::disallowed_methods, reason = "a test writes its fixture")]
        std::fs::write(&file, "# made by hand\nMM_SQLSETTINGS_DATASOURCE='variable'\n").unwrap();
        let config = Config::load(&root, &owner, &Manager::Exec).unwrap();
        let (source, origin) = config.data_source().unwrap();
        assert_eq!(source.reveal(), "variable");
        assert_eq!(origin, Origin::Environment { name: "MM_SQLSETTINGS_DATASOURCE".into(), file: Some(file) });
        assert_eq!(config.source(), "environment");
    }

    #[test]
    fn broken_json_is_not_quoted() {
        let (place, owner) = site("{\"a\": hunter2}");
        let error = Config::load(place.path(), &owner, &Manager::Exec).err().unwrap();
        assert!(!error.one_line().contains("hunter2"), "{error:?}");
        assert!(error.one_line().contains("line 1"), "{error:?}");
    }

    #[test]
    fn an_empty_file_is_called_that_and_the_hint_brings_it_back() {
        for text in ["", "\n"] {
            let (place, owner) = site(text);
            let root = place.path().canonicalize().unwrap();
            let error = Config::load(&root, &owner, &Manager::Exec).err().unwrap();
            assert!(error.one_line().contains("it is empty"), "{error:?}");
            let file = root.join("config/config.json").display().to_string();
            let hint = error.next_step().unwrap();
            assert!(hint.contains("mm-backup list --format json") && hint.contains(&format!("/files{file}")), "{hint}");
        }
    }

    #[test]
    fn a_missing_data_source_is_refused() {
        let (place, owner) = site("{}");
        let config = Config::load(place.path(), &owner, &Manager::Exec).unwrap();
        assert_eq!(config.data_source().unwrap_err().code(), 5);
    }
}
