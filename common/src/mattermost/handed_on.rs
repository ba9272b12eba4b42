//! The restore point that a document hands on: whether it is one of this installation and its database.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use serde::Deserialize;

use crate::contract::error::{Error, Result};
use crate::contract::sections::Backup;
use crate::machine::files;

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
    database: Option<Database>,
}

#[derive(Deserialize)]
struct Database {
    name: String,
    #[serde(default)]
    bytes: u64,
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
    let head = read(&backup.manifest).map_err(|error| refused(error.one_line()))?;
    if head.install != root {
        return Err(refused(format!(
            "it was made of `{}`, the server is in `{}`",
            head.install.display(),
            root.display()
        )));
    }
    match head.database {
        Some(stored) if stored.name == database => {}
        Some(stored) => {
            return Err(refused(format!("it holds the database {}, the server's is {database}", stored.name)));
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

/// Proves that the restore point at `path` is the one with this `id`, of the installation at `root` and its database of this
/// name. Returns the size of the database when it was stored.
///
/// # Errors
/// Refused when it is not.
pub fn stored_bytes(path: &Path, id: &str, root: &Path, database: &str) -> Result<u64> {
    let refused = |why: String| {
        Error::refused(format!("the restore point `{id}` cannot be relied on"))
            .because(why)
            .hint("take another one: mm-backup list")
    };
    let head = read(&path.join("manifest.json")).map_err(|error| refused(error.one_line()))?;
    if head.id != id || head.install != root {
        return Err(refused(format!("its manifest is that of `{}` of `{}`", head.id, head.install.display())));
    }
    match head.database {
        Some(stored) if stored.name == database => Ok(stored.bytes),
        Some(stored) => Err(refused(format!("it holds the database {}, the server's is {database}", stored.name))),
        None => Err(refused("it holds no database".into())),
    }
}

fn read(manifest: &Path) -> Result<Head> {
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
            left_out: Vec::new(),
            left_stopped: true,
            seconds: 1.0,
        };
        let root = Path::new("/opt/mattermost");
        require_own(&backup, root, "mattermost").unwrap();
        assert_eq!(stored_bytes(place.path(), "x", root, "mattermost").unwrap(), 1);
        for (id, root, database) in
            [("y", "/opt/mattermost", "mattermost"), ("x", "/srv", "mattermost"), ("x", "/opt/mattermost", "a")]
        {
            assert_eq!(stored_bytes(place.path(), id, Path::new(root), database).unwrap_err().code(), 5);
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
