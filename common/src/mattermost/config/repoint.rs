//! Pointing the server at another place of its database: host and port are exchanged where the server really reads its
//! data sources from, every other byte stays as it is, mode and owner too.
//!
//! What is to be changed is worked out first, and may be written down: it holds no secret. Making a change, and taking
//! it back, looks at what is there, so both may be repeated.

mod carried_out;
mod copied;

use std::path::{Path, PathBuf};

pub use copied::Copied;
use serde::{Deserialize, Serialize};

use super::token::{Edits, Mover, Token, replaced};
use super::{Config, MOST, edit, environment, is_database, open_parent, stored, variable, variable_name};
use crate::contract::error::{Context as _, Error, Result};
use crate::contract::secret::Secret;
use crate::machine::service::{Manager, Service};
use crate::mattermost::id;

/// Lists of `SqlSettings` with the data sources of read replicas. Those that lead to the database that moves move too.
const LISTS: [&str; 2] = ["DataSourceReplicas", "DataSourceSearchReplicas"];

/// A list of `SqlSettings` whose elements have a data source each (6.0 and newer).
const LAG: &str = "ReplicaLagSettings";

/// What the drop-in is called that stands in for a line of a unit that a package owns.
const DROP_IN: &str = "60-mm-tools-database.conf";

/// Where a package's units are: an upgrade of the package would bring the old line back.
const OF_PACKAGES: [&str; 2] = ["/lib/systemd/", "/usr/lib/systemd/"];

/// Where data sources are written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spot {
    /// The configuration file.
    File(PathBuf),
    /// A variable of an environment file, a unit or drop-in, a program of supervisord.
    Variable {
        /// Its name.
        name: String,
        /// The file that sets it.
        file: PathBuf,
    },
    /// A variable of a unit that a package owns: a drop-in of ours sets it.
    DropIn {
        /// Its name.
        name: String,
        /// The drop-in.
        file: PathBuf,
    },
    /// The configuration in the database: a new active row with this id.
    Row {
        /// The id.
        id: String,
    },
}

/// What changes in one string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    setting: Vec<String>,
    edits: Edits,
}

/// A change of one file or row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub spot: Spot,
    parts: Vec<Part>,
}

/// The change of the variable `MM_CONFIG`, when that names the database the configuration is kept in and `mover` moves
/// it. Nothing but the environment of the service is read: the database need not answer.
///
/// # Errors
/// Refused when it stands where it cannot be changed.
pub fn store_change(service: &Service, mover: Mover<'_>) -> Result<Option<Change>> {
    let argument = environment::config_argument(&service.manager)?.filter(|place| is_database(place));
    if let Some(place) = argument {
        return if mover(&place)?.is_empty() {
            Ok(None)
        } else {
            Err(Error::refused("cannot change the data source")
                .because("the unit names the database of the configuration in its ExecStart, where every user of the machine can read the password")
                .hint("put it into an environment file of the service as MM_CONFIG, take it out of ExecStart, then run this again"))
        };
    }
    let overrides = environment::of_service(&service.install, &service.manager)?;
    match environment::find(&overrides, "MM_CONFIG").filter(|variable| is_database(&variable.value)) {
        Some(found) => variable_change(found, &service.manager, mover),
        None => Ok(None),
    }
}

/// Whether the server keeps its configuration in a database.
pub fn is_stored(service: &Service) -> Result<bool> {
    Ok(stored_at(service)?.is_some())
}

/// The data source of the database that the server keeps its configuration in, where it does that. That need not answer.
///
/// # Errors
/// When the environment of the service cannot be read.
pub fn stored_at(service: &Service) -> Result<Option<Secret>> {
    let place = super::place(&service.install, &service.manager)?;
    Ok(place.filter(|place| is_database(place)).map(|place| Secret::new(&place)))
}

impl Config {
    /// The changes of everything else that holds a data source the server reads and `mover` moves.
    ///
    /// # Errors
    /// Refused when one stands where it cannot be changed.
    pub fn changes(&self, service: &Service, mover: Mover<'_>) -> Result<Vec<Change>> {
        self.changes_of(&["DataSource"], service, mover)
    }

    /// As [`Config::changes`], with the driver, for a move to another engine. Where both are in variables the driver comes
    /// last: a data source that the driver does not understand is nobody's.
    ///
    /// # Errors
    /// As there.
    pub fn changes_of_engine(&self, service: &Service, mover: Mover<'_>) -> Result<Vec<Change>> {
        self.changes_of(&["DataSource", "DriverName"], service, mover)
    }

    fn changes_of(&self, single: &[&str], service: &Service, mover: Mover<'_>) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for key in single.iter().copied().chain(LISTS) {
            if let Some(found) = environment::find(&self.overrides, &variable_name("SqlSettings", key)) {
                changes.extend(variable_change(found, &service.manager, mover)?);
            }
        }
        let spot = match &self.path {
            Some(path) => Spot::File(path.clone()),
            None => Spot::Row { id: id::new()? },
        };
        let parts = self.parts(single, &|| text_of(&spot, service), mover)?;
        if !parts.is_empty() {
            changes.push(Change { spot, parts });
        }
        Ok(changes)
    }

    /// What changes in the settings, which are written in `text`; it is read only when something does.
    fn parts(&self, single: &[&str], text: &dyn Fn() -> Result<String>, mover: Mover<'_>) -> Result<Vec<Part>> {
        let (mut whole, mut parts) = (String::new(), Vec::new());
        for setting in self.settings(single) {
            let value = edit::find(&self.settings, &setting).and_then(|value| value.as_str()).unwrap_or_default();
            if mover(value)?.is_empty() {
                continue;
            }
            if whole.is_empty() {
                whole = text()?;
            }
            let (_, edits) = edit::change(&whole, &setting, mover)?;
            parts.push(Part { setting, edits });
        }
        Ok(parts)
    }

    /// The settings with data sources in them that no variable overrides.
    fn settings(&self, single: &[&str]) -> Vec<Vec<String>> {
        let path = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let overridden = |key: &str| environment::find(&self.overrides, &variable_name("SqlSettings", key)).is_some();
        let all = single.iter().copied().chain(LISTS).chain([LAG]).filter(|key| !overridden(key));
        all.flat_map(|key| {
            let list = edit::find(&self.settings, &path(&["SqlSettings", key])).and_then(|value| value.as_array());
            match (key, list) {
                (key, _) if single.contains(&key) => vec![path(&["SqlSettings", key])],
                (LAG, Some(list)) => {
                    (0..list.len()).map(|at| path(&["SqlSettings", key, &at.to_string(), "DataSource"])).collect()
                }
                (_, Some(list)) => (0..list.len()).map(|at| path(&["SqlSettings", key, &at.to_string()])).collect(),
                (_, None) => Vec::new(),
            }
        })
        .collect()
    }
}

/// The text of the configuration.
fn text_of(spot: &Spot, service: &Service) -> Result<String> {
    match spot {
        Spot::File(path) => read(path),
        _ => Ok(stored::active(&database(service)?)?.value),
    }
}

/// The database of the configuration, as the environment of the service names it now.
fn database(service: &Service) -> Result<crate::postgres::server::Database> {
    let attempt = || "cannot reach the configuration in the database (MM_CONFIG)".to_owned();
    let place = super::place(&service.install, &service.manager)?.unwrap_or_default();
    stored::open(&place, &service.owner).context(attempt)
}

fn variable_change(found: &environment::Variable, manager: &Manager, mover: Mover<'_>) -> Result<Option<Change>> {
    let name = found.name.clone();
    // A list is divided by blanks (server/config/environment.go).
    let is_list = LISTS.iter().any(|key| variable_name("SqlSettings", key) == name);
    let replacements = if is_list { of_each(&found.value, mover)? } else { mover(&found.value)? };
    if replacements.is_empty() {
        return Ok(None);
    }
    let Some(file) = found.file.clone() else {
        return Err(Error::refused("cannot change the data source")
            .because(format!("it is set by the variable {name}, and no file that sets it was found"))
            .hint(format!("put {name} into an environment file of the service, then run this again")));
    };
    if matches!(manager, Manager::Supervisor { .. }) {
        return Err(Error::refused("cannot change the data source").because(format!(
            "supervisord gives the server {name}, and what it is told to read anew it starts at once"
        )));
    }
    let package = OF_PACKAGES.iter().any(|place| file.starts_with(place));
    let (spot, edits) = match manager {
        Manager::Systemd { unit } if package => {
            let file = Path::new("/etc/systemd/system").join(format!("{unit}.d")).join(DROP_IN);
            let edits = Token::plain(&found.value).edits(&found.value, &replacements)?;
            (Spot::DropIn { name: name.clone(), file }, edits)
        }
        _ => {
            let attempt = || format!("cannot change the data source in `{}`", file.display());
            let text = read(&file)?;
            let token = variable::locate(&text, &name).context(attempt)?;
            let edits = token.edits(&text, &replacements).context(attempt)?;
            let spot = Spot::Variable { name: name.clone(), file: file.clone() };
            // Rehearsed now, so that what cannot be done is said before anything is.
            let raw = edits.made(&text[token.span.clone()]).unwrap_or_default();
            let new = format!("{}{raw}{}", &text[..token.span.start], &text[token.span.end..]);
            let wanted = replaced(&found.value, &replacements);
            if token.value != found.value || variable::locate(&new, &name).context(attempt)?.value != wanted {
                return Err(Error::refused(attempt())
                    .because(format!("{name} is written there in a way this tool does not know how to change"))
                    .hint(format!("put {name} into an environment file of the service, on a line of its own")));
            }
            (spot, edits)
        }
    };
    Ok(Some(Change { spot, parts: vec![Part { setting: vec![name], edits }] }))
}

/// The replacements in each word of a list.
fn of_each(text: &str, mover: Mover<'_>) -> Result<Vec<super::Replacement>> {
    let mut all = Vec::new();
    let mut begin = 0;
    for word in text.split(' ') {
        if !word.is_empty() {
            all.extend(mover(word)?.into_iter().map(|mut one| {
                one.range = one.range.start + begin..one.range.end + begin;
                one
            }));
        }
        begin += word.len() + 1;
    }
    Ok(all)
}

fn read(path: &Path) -> Result<String> {
    let (dir, name) = open_parent(path)?;
    let bytes = dir.read(&name, MOST)?;
    String::from_utf8(bytes)
        .map_err(|_| Error::failed(format!("cannot read `{}`", path.display())).because("it is not UTF-8"))
}

#[cfg(test)]
mod tests;
