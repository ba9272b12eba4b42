//! An installation as a command of the server sees it: identity, configuration, database. Every refusal has the words and the exit code of the version.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::config::Config;
use crate::database::{Database, Source, migrate};
use crate::emulated::{Identity, Version};
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::log;

/// A start that ended badly: what goes to stderr, and the exit code.
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { text: format!("Error: {error}"), code: 1 }
    }
}

/// What every command that opens the application needs.
pub(crate) struct Site {
    pub(crate) identity: Identity,
    pub(crate) faults: Faults,
    pub(crate) root: PathBuf,
    pub(crate) config_path: PathBuf,
    /// `MM_CONFIG`, when it names a database.
    pub(crate) config_source: Option<String>,
}

impl Site {
    pub(crate) fn version(&self) -> Version {
        self.identity.version
    }

    /// Reads and rewrites the configuration and opens the log. Before anything touches the database.
    pub(crate) fn configure(&self) -> Result<Config> {
        let environment: Vec<(String, String)> = std::env::vars().filter(|(name, _)| name.starts_with("MM_")).collect();
        let loaded = match &self.config_source {
            Some(source) => Config::load_stored(source, self.version(), &environment)?,
            None => Config::load(&self.config_path, self.version(), &environment)?,
        };
        let directory = loaded.config.text("LogSettings", "FileLocation");
        let directory = if directory.is_empty() { "logs".to_owned() } else { directory };
        log::open(self.version(), &self.root.join(directory), loaded.config.on("LogSettings", "EnableConsole"));
        if let Some(problem) = loaded.unwritable {
            log::error("Failed to update config", json!({"error": problem}));
        }
        Ok(loaded.config)
    }

    /// Waits for the database as long as the version does.
    ///
    /// # Errors
    /// After the last try: exit code 102 up to 5.x, 1 from 6.0.
    pub(crate) fn reach(&self, config: &Config) -> Result<Database, Failure> {
        let version = self.version();
        let tries = if version.at_least(8, 0) { 5 } else { 18 };
        let pause = self.faults.seconds("ping-retry", 10.0).unwrap_or(Duration::from_secs(10));
        let source = Source::parse(&config.text("SqlSettings", "DataSource"));
        let mut last = String::new();
        if !version.at_least(11, 0) {
            let mut fields = json!({"database": "master"});
            if version.at_least(8, 0) {
                fields = json!({"database": "master", "dataSource": source.masked()});
            }
            log::info("Pinging SQL", fields);
        }
        for attempt in 1..=tries {
            match source.connect() {
                Ok(_) => {
                    if version.within("5.30", "6.4") {
                        log::info("Pinging SQL", json!({"database": "migrations"}));
                    }
                    return Ok(Database::new(source));
                }
                Err(error) => last = error.to_string(),
            }
            if attempt < tries {
                log::error("Failed to ping DB", json!({"error": last, "retrying in seconds": 10}));
                thread::sleep(pause);
            }
        }
        if version.at_least(8, 0) {
            let text =
                format!("failed to initialize platform: cannot create store: error setting up connections: {last}");
            log::error(&text, json!({}));
            return Err(Failure { text: format!("Error: {text}\n{USAGE}"), code: 1 });
        }
        log::line("fatal", "Failed to ping DB, server will exit.", json!({"error": last}));
        Err(Failure { text: String::new(), code: if version.at_least(6, 0) { 1 } else { 102 } })
    }

    /// Checks the database server and migrates the schema.
    pub(crate) fn migrate(&self, database: &Database) -> Result<usize, Failure> {
        let failed = |error: Error| {
            let text = format!("failed to initialize platform: cannot create store: {error}");
            if self.version().at_least(7, 1) {
                log::error(&text, json!({}));
                Failure { text: format!("Error: {text}"), code: 1 }
            } else {
                Failure { text: format!("Error: {error}"), code: 1 }
            }
        };
        migrate::check_server(database, self.version(), &self.faults).map_err(failed)?;
        migrate::schema(database, self.version(), &self.faults).map_err(failed)
    }

    /// The directories that the server must find below its root.
    pub(crate) fn complete(&self) -> Result<()> {
        let version = self.version();
        if !self.root.join("i18n").is_dir() {
            let word = if version.at_least(6, 0) { "unable" } else { "Unable" };
            return Err(Error::new(format!(
                "{word} to load Mattermost translation files: {word} to find i18n directory at \"i18n\""
            )));
        }
        if !self.root.join("templates").is_dir() {
            if version.at_least(6, 0) {
                return Err(Error::new("Failed find server templates in \"templates\" directory or MM_SERVER_PATH"));
            }
            log::error("Failed to parse server templates", json!({}));
        }
        Ok(())
    }
}

pub(crate) const USAGE: &str = "Usage:\n  mattermost [flags]\n  mattermost [command]\n";
