//! The configuration that a copy is made with: where the restore point has it, and what it says of the original.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::mattermost::config::parse;
use mm_common::postgres::source::DataSource;
use serde_json::{Value, json};

use super::contents::Contents;
use super::names;
use crate::manifest::Head;

/// The check that `--accept` lets through: a copy without uploaded files.
pub(crate) const UPLOADS: &str = "missing-uploads";

/// Where the original has its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Where {
    /// In a file, by its path in the original.
    File(PathBuf),
    /// In a database, of which there is a dump.
    Database,
}

/// Finds it: what starts the server may name another place than its own.
///
/// # Errors
/// Refused when that is a database of MySQL.
pub(crate) fn find(head: &Head, contents: &Contents) -> Result<Where> {
    let named = contents.setting("MM_CONFIG");
    match named.as_deref() {
        Some(place) if place.starts_with("mysql://") => Err(Error::refused("the configuration is in a MySQL database")
            .hint("move it with `mmctl config migrate`, then make a new restore point")),
        _ if head.config_database.is_some() => Ok(Where::Database),
        Some(place) if place.starts_with("postgres://") || place.starts_with("postgresql://") => Ok(Where::Database),
        Some(place) if place.starts_with('/') => Ok(Where::File(place.into())),
        Some(place) if !place.is_empty() => Ok(Where::File(
            head.install.join("config").join(Path::new(place).strip_prefix("config").unwrap_or(Path::new(place))),
        )),
        _ => Ok(Where::File(head.install.join("config/config.json"))),
    }
}

/// Reads its text, with what the original's variables say of uploaded files: those variables the copy has not.
pub(crate) fn read(text: &str, contents: &Contents) -> Result<Value> {
    let mut config =
        parse(text.as_bytes()).context(|| "cannot understand the configuration in the restore point".into())?;
    for key in ["DriverName", "Directory"] {
        if let (Some(value), true) =
            (contents.setting(&format!("MM_FILESETTINGS_{}", key.to_ascii_uppercase())), config.is_object())
        {
            config["FileSettings"][key] = json!(value);
        }
    }
    Ok(config)
}

/// What the original's configuration says of it.
pub(crate) struct Original {
    /// The role of its server in the database.
    pub role: Option<String>,
    /// The ports of its server and of its database.
    pub ports: Vec<u16>,
    /// Where its uploaded files are, as it is written.
    pub uploads: String,
    /// Whether they are files of the machine.
    is_local: bool,
}

impl Original {
    /// Reads it out.
    pub(crate) fn of(config: &Value, contents: &Contents) -> Self {
        let text = |section: &str, key: &str| {
            let section = config[section].as_object()?;
            section.get(&names::exact(section, key))?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let source = contents.setting("MM_SQLSETTINGS_DATASOURCE").or_else(|| text("SqlSettings", "DataSource"));
        let source = source.and_then(|source| DataSource::parse(&source).ok());
        let listen = text("ServiceSettings", "ListenAddress").unwrap_or_else(|| ":8065".into());
        let listen = listen.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        Self {
            ports: listen.into_iter().chain(source.as_ref().map(|source| source.port)).collect(),
            role: source.map(|source| source.user),
            uploads: text("FileSettings", "Directory").unwrap_or_else(|| "./data/".into()),
            is_local: text("FileSettings", "DriverName").is_none_or(|driver| driver == "local"),
        }
    }

    /// Refuses a restore point without the uploaded files: a copy never uses the storage that the original does.
    ///
    /// # Errors
    /// Refused, unless `accepted`.
    pub(crate) fn require_uploads(&self, head: &Head, contents: &Contents, accepted: bool) -> Result<()> {
        let is_there = self.is_local && contents.has(&contents.resolve(&head.install.join(&self.uploads)));
        if is_there || accepted {
            return Ok(());
        }
        let why = if self.is_local {
            "it was made without them (--no-data, --exclude)"
        } else {
            "they are in an object store, which a copy does not use: it would change the original's"
        };
        Err(Error::refused(format!("the uploaded files are not in the restore point {}", head.id))
            .because(why)
            .hint(format!("give --accept {UPLOADS} to make the copy without them")))
    }
}
