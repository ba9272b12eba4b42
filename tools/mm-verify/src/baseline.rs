//! What was there before the upgrade, stored in the state directory: the checks, and facts to compare with.

use std::collections::BTreeMap;
use std::path::Path;

use mm_common::contract::digest;
use mm_common::contract::error::Context as _;
use mm_common::contract::sections::Check;
use mm_common::machine::files::{self, Access};
use mm_common::mattermost::{id, roles};
use mm_common::postgres::fingerprint::History;
use mm_common::{Error, Result};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::look::Look;
use crate::trend::Usual;

const SCHEMA: &str = "mm.baseline/1";

/// A stored look at the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    schema: String,
    /// When it was made.
    pub(crate) created: String,
    /// The release that was installed.
    pub(crate) version: Version,
    /// The checks.
    pub(crate) checks: Vec<Check>,
    /// Permissions by role, when the database could be asked.
    #[serde(default)]
    pub(crate) roles: Option<roles::Roles>,
    /// Members by team, `name (id)`.
    #[serde(default)]
    pub(crate) teams: Option<BTreeMap<String, u64>>,
    /// The plugins that ran, when the server could be asked.
    #[serde(default)]
    pub(crate) plugins: Option<Vec<String>>,
    /// The messages.
    #[serde(default)]
    pub(crate) history: Option<History>,
    /// Salted digests of the settings by their names: what changed can be told, what they are cannot.
    pub(crate) settings: BTreeMap<String, String>,
    salt: String,
    /// What is usual, for `watch`.
    #[serde(default)]
    pub(crate) usual: Usual,
}

impl Baseline {
    /// Takes the facts of a site together with the checks made on it.
    pub(crate) fn of(look: &Look, checks: Vec<Check>) -> Result<Self> {
        let salt = id::new()?;
        let database = look.database().ok();
        Ok(Self {
            schema: SCHEMA.into(),
            created: mm_common::contract::time::now(),
            version: look.release().clone(),
            checks,
            roles: database.and_then(|database| roles::read(database).ok()),
            teams: crate::checks::memberships::by_team(look).ok(),
            plugins: look.active_plugins.clone(),
            history: database.and_then(|database| mm_common::postgres::fingerprint::history(database, None).ok()),
            settings: digests(&look.installation.config.settings, &salt),
            salt,
            usual: crate::watch::usual(look),
        })
    }

    /// Reads a stored one; `None` when there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        if files::look(path)?.is_none() {
            return Ok(None);
        }
        let text = files::read(path, 64 * 1024 * 1024)?;
        let baseline: Self = serde_json::from_slice(&text)
            .context(|| format!("cannot read the baseline `{}`", path.display()))
            .map_err(|error| error.hint("remove the file, or make a new one with `mm-verify baseline`"))?;
        if baseline.schema != SCHEMA {
            return Err(Error::failed(format!("cannot use the baseline `{}`", path.display()))
                .because(format!("it has schema `{}`, this tool reads `{SCHEMA}`", baseline.schema))
                .hint("remove the file"));
        }
        Ok(Some(baseline))
    }

    /// Stores it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        files::create_directory(files::parent(path)?, 0o700)?;
        let text = serde_json::to_vec_pretty(self).context(|| "cannot write the baseline".to_owned())?;
        files::write(path, &text, Access::PRIVATE)
    }

    /// A check as it was.
    pub(crate) fn check(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// The settings of now in the form in which those of then are kept.
    pub(crate) fn digests_of(&self, settings: &Value) -> BTreeMap<String, String> {
        digests(settings, &self.salt)
    }
}

/// Digests of all settings by name, `Section.Key`; names in lower case, as some were only respelled (`Url` to `URL`).
fn digests(settings: &Value, salt: &str) -> BTreeMap<String, String> {
    crate::checks::settings::flatten(settings)
        .into_iter()
        .map(|(name, value)| (name, digest::of_bytes(format!("{salt}{value}").as_bytes())))
        .collect()
}
