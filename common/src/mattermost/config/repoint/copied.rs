//! A configuration that is not in its place yet: files of a restore point, and the row of a restored database. No server
//! reads it, so nothing has to be told of a change, and whoever made the copy removes it when the change fails.

use std::path::{Path, PathBuf};

use super::super::{environment, is_database, stored, variable, variable_name};
use super::carried_out::Way;
use super::{Change, Config, LISTS, Spot, read, variable_change};
use crate::contract::error::{Context as _, Result};
use crate::machine::lock::LockGuard;
use crate::machine::service::{Manager, Service};
use crate::mattermost::config::{Mover, parse};
use crate::mattermost::id;
use crate::postgres::server::Database;
use crate::postgres::source::DataSource;

/// The variable that says where the configuration is.
const PLACE: &str = "MM_CONFIG";

/// The copy.
pub struct Copied {
    /// The file, and the variables set by the copied files.
    files: Config,
    /// The row that the server will read, with the database it is in.
    row: Option<(Database, stored::Row)>,
}

impl Copied {
    /// Reads the copy of the configuration file, and the copies of files that may set variables, in their order.
    ///
    /// # Errors
    /// Failed when one of them cannot be read, or the configuration is not JSON.
    pub fn of_files(config: Option<&Path>, files: &[PathBuf]) -> Result<Self> {
        let names = [PLACE.to_owned()].into_iter().chain(["DataSource"].into_iter().chain(LISTS).map(of_sql));
        let names: Vec<String> = names.collect();
        let mut overrides = Vec::new();
        for file in files {
            let text = read(file)?;
            // A name that is not set there, or only in a comment, is not found.
            let set = names.iter().filter_map(|name| Some((name, variable::locate(&text, name).ok()?)));
            overrides.extend(set.map(|(name, token)| environment::Variable {
                name: name.clone(),
                value: token.value,
                file: Some(file.clone()),
            }));
        }
        let settings = match config {
            Some(path) => parse(read(path)?.as_bytes())
                .context(|| format!("cannot read the copy of the configuration `{}`", path.display()))?,
            None => serde_json::Value::Null,
        };
        Ok(Self { files: Config { path: config.map(Path::to_owned), settings, overrides }, row: None })
    }

    /// The same with the configuration that `database` holds, where it holds one.
    ///
    /// # Errors
    /// Failed when it cannot be asked.
    pub fn with_database(mut self, database: Database) -> Result<Self> {
        if stored::table(&database)?.is_some()
            && let Some(row) = stored::active_if_any(&database)?
        {
            self.row = Some((database, row));
        }
        Ok(self)
    }

    /// The data source that the server will read. `stored` says whether its configuration is in the database where no
    /// copied file says so. None where the copy does not say.
    pub fn data_source(&self, stored: bool) -> Option<DataSource> {
        let value = |name: &str| environment::value(&self.files.overrides, name);
        let stored = value(PLACE).map_or(stored, is_database);
        let setting = |config: &Config| config.data_source().ok().map(|(source, _)| source.reveal().to_owned());
        let text = match value(&of_sql("DataSource")) {
            Some(text) => text.to_owned(),
            None if stored => setting(&self.of_row()?.0)?,
            None => setting(&self.files)?,
        };
        DataSource::parse(&text).ok()
    }

    fn of_row(&self) -> Option<(Config, &Database, &stored::Row)> {
        let (database, row) = self.row.as_ref()?;
        let settings = parse(row.value.as_bytes()).ok()?;
        Some((Config { path: None, settings, overrides: Vec::new() }, database, row))
    }

    /// Lets every data source that `mover` moves lead elsewhere. `service` is the one that will read it.
    ///
    /// # Errors
    /// When something cannot be changed; what was changed until then stays so.
    pub fn lead(&self, service: &Service, mover: Mover<'_>, lock: &LockGuard) -> Result<()> {
        // Whoever starts the server reads these files when they are in their place.
        let service = Service { manager: Manager::Exec, ..service.clone() };
        if let Some(found) = environment::find(&self.files.overrides, PLACE).filter(|found| is_database(&found.value))
            && let Some(change) = variable_change(found, &service.manager, mover)?
        {
            change.make(&service, lock)?;
        }
        for change in self.files.changes(&service, mover)? {
            change.make(&service, lock)?;
        }
        let Some((config, database, row)) = self.of_row() else { return Ok(()) };
        let parts = config.parts(&["DataSource"], &|| Ok(row.value.clone()), mover)?;
        if parts.is_empty() {
            return Ok(());
        }
        let id = id::new()?;
        let change = Change { spot: Spot::Row { id: id.clone() }, parts };
        let (new, edits) = change.of_settings(&row.value, Way::Make)?;
        stored::replace(database, row, &id, &edits, &new)
    }
}

fn of_sql(key: &str) -> String {
    variable_name("SqlSettings", key)
}
