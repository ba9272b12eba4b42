//! What the manifest of a restore point says of the messages: the part of `mm.backup/1` that this tool needs.

use std::io::BufReader;

use jiff::Timestamp;
use mm_common::contract::sections::Backup;
use mm_common::machine::files;
use mm_common::mattermost::handed_on;
use mm_common::postgres::fingerprint::History;
use mm_common::{Error, Result};
use serde::Deserialize;

/// What was there when the restore point was made.
#[derive(Debug, Clone)]
pub(crate) struct RestorePoint {
    /// Its identifier.
    pub(crate) id: String,
    /// The messages; absent when it holds no database.
    pub(crate) history: Option<History>,
    /// Whether the server was stopped.
    pub(crate) cold: bool,
    /// The first millisecond after the second in which its snapshot was taken.
    pub(crate) end: u64,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    database: Option<DatabasePart>,
}

#[derive(Deserialize)]
struct Completed {
    manifest_sha256: String,
    database: DatabasePart,
}

#[derive(Deserialize)]
struct DatabasePart {
    #[serde(default)]
    history: Option<History>,
}

impl RestorePoint {
    /// Reads the manifest that the document names.
    ///
    /// # Errors
    /// Failed when it cannot be read, or is not the one that mm-backup wrote in this run.
    pub(crate) fn of(backup: &Backup) -> Result<Self> {
        let path = &backup.manifest;
        let digest = files::sha256(path)?;
        if digest != backup.manifest_sha256 {
            return Err(Error::failed(format!(
                "the manifest `{}` is not the one that mm-backup wrote",
                path.display()
            ))
            .because(format!("its SHA-256 is {digest}, the document says {}", backup.manifest_sha256))
            .hint("look at the restore point with `mm-backup verify`"));
        }
        let broken =
            |cause: String| Error::failed(format!("cannot read the manifest `{}`", path.display())).because(cause);
        let reader = BufReader::new(files::open_nofollow(path)?);
        let manifest: Manifest = serde_json::Deserializer::from_reader(reader)
            .into_iter()
            .next()
            .ok_or_else(|| broken("it is empty".into()))?
            .map_err(|error| broken(error.to_string()))?;
        let created: Timestamp = backup.created.parse().map_err(|error: jiff::Error| broken(error.to_string()))?;
        let end = u64::try_from(created.as_second().saturating_add(1).saturating_mul(1000)).unwrap_or(u64::MAX);
        // Of a frozen one the dump's facts are in a file of their own, once it is complete.
        let stored = match manifest.database {
            None if backup.freeze.is_some() => handed_on::completion::<Completed>(&backup.path)?
                .filter(|completed| completed.manifest_sha256 == digest)
                .map(|completed| completed.database),
            stored => stored,
        };
        let history = stored.and_then(|database| database.history);
        Ok(Self { id: backup.id.clone(), history, cold: backup.cold, end })
    }
}
