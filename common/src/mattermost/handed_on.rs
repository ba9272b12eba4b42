//! The restore point that a document hands on: whether it is one of this installation and its database.
//!
//! A frozen one has its database as a copy in the server, or where its hop leaves it, and a dump only when `mm-backup complete` has made it. What that
//! adds is a file of its own with its own digest: the manifest, which documents name, stays as it was.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::contract::error::{Error, Result};
use crate::contract::sections::Backup;
use crate::contract::shell;
use crate::machine::host::{self, Host};
use crate::machine::journal::state_flag;
use crate::machine::{files, signals};
use crate::mattermost::way_back::original::Original;
use crate::postgres::frozen::Frozen;
use crate::postgres::properties::Properties;

/// The file that `mm-backup complete` adds to a frozen restore point.
pub const COMPLETION: &str = "database.json";
/// Its digest, as `sha256sum -c` reads it.
pub const COMPLETION_DIGEST: &str = "database.json.sha256";

/// The line of a manifest after which the entries stand.
const ENTRIES: &str = "\"entries\": [";
/// Larger than what stands before them: facts about every table of a database.
const LARGEST: u64 = 256 << 20;

/// What a manifest says the restore point is of.
#[derive(Deserialize)]
struct Head {
    id: String,
    created: String,
    install: std::path::PathBuf,
    #[serde(default)]
    host: Option<Host>,
    database: Option<Database>,
    #[serde(default)]
    frozen: Option<FrozenPart>,
    #[serde(default)]
    original: Option<OriginalPart>,
}

#[derive(Deserialize)]
struct Database {
    name: String,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    properties: Named,
}

/// Of the properties of a database, its owner, and the roles that own something in it or have rights there.
#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    owner: String,
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Deserialize)]
struct FrozenPart {
    copy: Frozen,
}

#[derive(Deserialize)]
struct OriginalPart {
    database: Original,
}

impl Head {
    /// The database it is of, stored, frozen or left where it is.
    fn database(&self) -> Option<(&str, u64)> {
        let stored = self.database.as_ref().map(|stored| (stored.name.as_str(), stored.bytes));
        let frozen = || self.frozen.as_ref().map(|part| (part.copy.name.as_str(), part.copy.bytes));
        let original = || {
            let original = self.original.as_ref().map(|part| &part.database)?;
            Some((original.place.database.as_str(), original.bytes))
        };
        stored.or_else(frozen).or_else(original)
    }
}

/// What a document's hop can be rolled back with, in the restore point at a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The size of the database when the restore point was made.
    pub bytes: u64,
    /// The copy, where it was frozen.
    pub frozen: Option<Frozen>,
    /// The database that its hop leaves as it was, where it was frozen without a copy.
    pub original: Option<Original>,
    /// Whether there is a dump.
    pub dumped: bool,
    /// The owner of the database, where the point says it.
    pub owner: String,
    /// The roles that owned something in the database or had rights there.
    pub roles: Vec<String>,
}

/// Proves that the restore point is one of the installation at `root`, whose database has this name, and that it is the
/// one the document describes. Its manifest has been compared with the document's digest before.
///
/// # Errors
/// Refused when it is not.
pub fn require_own(backup: &Backup, root: &Path, database: &str) -> Result<()> {
    let refused = |why: String| {
        Error::refused(format!("the restore point `{}` is not one of this installation", backup.id))
            .because(why)
            .hint("hand on the document of the mm-backup that was run on this installation, or say --no-backup")
    };
    let head: Head = head(&backup.manifest).map_err(|error| refused(error.one_line()))?;
    if head.install != root {
        return Err(refused(format!(
            "it was made of `{}`, the server is in `{}`",
            head.install.display(),
            root.display()
        )));
    }
    // Two machines with one store may have their servers in the same place.
    if let Some((made, here)) = head.host.as_ref().zip(host::this())
        && made.id != here.id
    {
        return Err(refused(format!("it was made on another machine, {}", made.name)));
    }
    match head.database() {
        Some((name, _)) if name == database => {}
        Some((name, _)) => {
            return Err(refused(format!("it holds the database {name}, the server's is {database}")));
        }
        None => return Err(refused("it holds no database".into())),
    }
    if (&head.id, &head.created) != (&backup.id, &backup.created) {
        return Err(refused(format!(
            "its manifest is that of `{}` of {}, the document says {}",
            head.id, head.created, backup.created
        )));
    }
    Ok(())
}

/// Refuses a frozen restore point whose database is not stored yet: whoever upgrades or drops the cluster would take the
/// copy with it.
///
/// # Errors
/// Refused, with the command that stores it.
pub fn require_complete(backup: &Backup, root: &Path, state: &Path) -> Result<()> {
    if backup.freeze.as_ref().is_none_or(|freeze| freeze.copy.is_none()) || is_complete(&backup.path)? {
        return Ok(());
    }
    Err(Error::refused(format!("the restore point `{}` is frozen: its database is not stored yet", backup.id))
        .because("the copy of it is in the cluster that would be upgraded")
        .hint(completing((&backup.id, &backup.store), root, state)))
}

/// The command that completes a restore point.
pub fn completing((id, store): (&str, &Path), root: &Path, state: &Path) -> String {
    let (root, store) = (shell::word(root), shell::word(store));
    format!("mm-backup complete {id} --install {root} --to {store}{}", state_flag(state))
}

/// The command that makes one whose database is dumped while the server is stopped.
pub fn making(store: &Path, root: &Path, state: &Path) -> String {
    let (root, store) = (shell::word(root), shell::word(store));
    format!("mm-backup create --stop --install {root} --to {store}{}", state_flag(state))
}

/// The database that the hop of the restore point at `path` leaves as it was, as long as there is no dump of it.
///
/// # Errors
/// When the restore point cannot be read.
pub fn needs_original(path: &Path) -> Result<Option<Original>> {
    let original = head::<Head>(&path.join("manifest.json"))?.original.map(|part| part.database);
    Ok(if original.is_some() && !is_complete(path)? { original } else { None })
}

/// Whether the restore point at `path`, which is a frozen one, has been completed.
pub fn is_complete(path: &Path) -> Result<bool> {
    Ok(files::look(&path.join(COMPLETION))?.is_some())
}

/// Reads the file that completes a frozen restore point, as far as `T` needs it; absent while there is none.
///
/// # Errors
/// Failed when it is not as it was written.
pub fn completion<T: DeserializeOwned>(point: &Path) -> Result<Option<T>> {
    let path = point.join(COMPLETION);
    if files::look(&path)?.is_none() {
        return Ok(None);
    }
    let broken = |why: String| {
        Error::failed(format!("cannot use `{}`", path.display()))
            .because(why)
            .hint("this restore point is damaged; use another one (mm-backup list)")
    };
    let recorded = files::read_text(&point.join(COMPLETION_DIGEST), 4096)?;
    let found = files::sha256(&path)?;
    if recorded.split_whitespace().next() != Some(found.as_str()) {
        return Err(broken(format!("its SHA-256 is {found}, another one was recorded")));
    }
    let text = files::read(&path, LARGEST)?;
    serde_json::from_slice(&text).map(Some).map_err(|error| broken(error.to_string()))
}

/// Proves that the restore point at `path` is the one with this `id`, of the installation at `root` and its database of this
/// name. Returns what it holds of the database.
///
/// # Errors
/// Refused when it is not.
pub fn held(path: &Path, id: &str, root: &Path, database: &str) -> Result<Held> {
    let refused = |why: String| {
        Error::refused(format!("the restore point `{id}` cannot be relied on"))
            .because(why)
            .hint("take another one: mm-backup list")
    };
    let head: Head = head(&path.join("manifest.json")).or_else(|error| {
        // Whoever asks to stop says nothing about the restore point.
        signals::check()?;
        Err(refused(error.one_line()))
    })?;
    if head.id != id || head.install != root {
        return Err(refused(format!("its manifest is that of `{}` of `{}`", head.id, head.install.display())));
    }
    let bytes = match head.database() {
        Some((name, bytes)) if name == database => bytes,
        Some((name, _)) => {
            return Err(refused(format!("it holds the database {name}, the server's is {database}")));
        }
        None => return Err(refused("it holds no database".into())),
    };
    let dumped = head.database.is_some() || is_complete(path)?;
    let (frozen, original) = (head.frozen.map(|part| part.copy), head.original.map(|part| part.database));
    let unstored = frozen.as_ref().map(|copy| &copy.properties);
    let unstored = unstored.or_else(|| original.as_ref().map(|original| &original.properties));
    let named = |properties: &Properties| Named { owner: properties.owner.clone(), roles: properties.roles.clone() };
    let of_unstored = || unstored.map(named).unwrap_or_default();
    let Named { owner, roles } = head.database.map_or_else(of_unstored, |database| database.properties);
    Ok(Held { bytes, frozen, original, dumped, owner, roles })
}

/// Reads what stands in a manifest before its entries, as far as `T` needs it.
///
/// # Errors
/// Failed when it cannot be read, or is not as it was written.
pub fn head<T: DeserializeOwned>(manifest: &Path) -> Result<T> {
    let failed = |why: String| Error::io("understand the manifest", manifest, why);
    let mut lines = BufReader::new(files::open_nofollow(manifest)?.take(LARGEST));
    let mut text = String::new();
    loop {
        let start = text.len();
        let count = lines.read_line(&mut text).map_err(|error| failed(error.to_string()))?;
        if count == 0 {
            return Err(failed("it ends before its entries".into()));
        }
        if text[start..].trim() == ENTRIES {
            text.truncate(start);
            break;
        }
    }
    let text = format!("{}}}", text.trim_end().trim_end_matches(','));
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::files::Access;

    #[test]
    fn a_restore_point_of_another_installation_database_or_moment_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let manifest = place.path().join("manifest.json");
        let text = r#"{"id": "x", "created": "2026-11-22T10:00:00Z", "install": "/opt/mattermost",
            "database": {"name": "mattermost", "bytes": 1},
            "entries": [
            {"path": "/opt/mattermost"}
            ]
            }"#;
        files::write(&manifest, text.as_bytes(), Access::PRIVATE).unwrap();
        let backup = Backup {
            id: "x".into(),
            store: "/srv/backup".into(),
            path: "/srv/backup/x".into(),
            manifest,
            manifest_sha256: String::new(),
            created: "2026-11-22T10:00:00Z".into(),
            cold: true,
            bytes: 1,
            files: 1,
            database: true,
            databases: Vec::new(),
            mysql: None,
            left_out: Vec::new(),
            freeze: None,
            left_stopped: true,
            seconds: 1.0,
        };
        let root = Path::new("/opt/mattermost");
        require_own(&backup, root, "mattermost").unwrap();
        let found = held(place.path(), "x", root, "mattermost").unwrap();
        assert_eq!((found.bytes, found.dumped, found.frozen, found.original), (1, true, None, None));
        require_complete(&backup, root, root).unwrap();
        let freeze = crate::contract::sections::Freeze { copy: Some("c".into()), ..<_>::default() };
        let frozen = Backup { path: place.path().into(), freeze: Some(freeze), ..backup.clone() };
        assert_eq!(require_complete(&frozen, root, root).unwrap_err().code(), 5);
        assert_eq!(completion::<serde_json::Value>(place.path()).unwrap(), None);
        files::write(&place.path().join(COMPLETION), b"{}", Access::PRIVATE).unwrap();
        files::write(&place.path().join(COMPLETION_DIGEST), b"0  database.json\n", Access::PRIVATE).unwrap();
        require_complete(&frozen, root, root).unwrap();
        assert!(completion::<serde_json::Value>(place.path()).is_err(), "another digest was recorded");
        for (id, root, database) in
            [("y", "/opt/mattermost", "mattermost"), ("x", "/srv", "mattermost"), ("x", "/opt/mattermost", "a")]
        {
            assert_eq!(held(place.path(), id, Path::new(root), database).unwrap_err().code(), 5);
        }
        let of_other = text.replace("\"database\"", "\"host\": {\"id\": \"0f\", \"name\": \"chat-two\"}, \"database\"");
        let other = place.path().join("other.json");
        files::write(&other, of_other.as_bytes(), Access::PRIVATE).unwrap();
        if host::this().is_some() {
            let error = require_own(&Backup { manifest: other, ..backup.clone() }, root, "mattermost").unwrap_err();
            assert!(error.one_line().contains("another machine, chat-two"), "{error:?}");
        }
        let other_moment = Backup { created: "2026-11-22T11:00:00Z".into(), ..backup.clone() };
        let gone = Backup { manifest: place.path().join("none"), ..backup.clone() };
        for refused in [
            require_own(&backup, Path::new("/srv/mattermost"), "mattermost"),
            require_own(&backup, root, "other"),
            require_own(&other_moment, root, "mattermost"),
            require_own(&gone, root, "mattermost"),
        ] {
            assert_eq!(refused.unwrap_err().code(), 5);
        }
    }
}
