//! The database in a restore point, for a tool that carries it elsewhere than mm-backup restores it to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use semver::Version;
use serde::Deserialize;

use super::handed_on::{self, COMPLETION, COMPLETION_DIGEST};
use crate::contract::error::{Context as _, Error, Result};
use crate::contract::{near, shell, ui};
use crate::machine::host::{self, Host};
use crate::machine::{files, trust};
use crate::postgres::besides::LargeObjects;
use crate::postgres::fingerprint::{Fingerprint, Method};
use crate::postgres::properties::Properties;

/// The manifest of a restore point, and the file with its digest.
const MANIFEST: &str = "manifest.json";
const MANIFEST_DIGEST: &str = "manifest.json.sha256";

/// The check that `--accept` lets through: others could have changed what is in the store.
pub const ACCEPT: &str = "store-owner";

/// A restore point with the dump of a database of PostgreSQL.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its identifier.
    pub id: String,
    /// The store, resolved.
    pub store: PathBuf,
    /// When its snapshot of the database was taken.
    pub created: String,
    /// The release that worked with the database.
    pub version: Version,
    /// The dump.
    pub dump: PathBuf,
    /// What is said of the database.
    pub database: Part,
}

/// What a manifest says of a database.
#[derive(Debug, Clone, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its size in the server.
    #[serde(default)]
    pub bytes: u64,
    /// Version of the server it came from.
    pub server_version: String,
    /// What the `pg_dump` called itself that wrote the dump.
    pub dumped_by: String,
    /// What a dump does not say of it.
    pub properties: Properties,
    /// Rows and hash of every table.
    pub tables: Fingerprint,
    /// How those rows were hashed.
    #[serde(default)]
    pub hashed: Method,
    /// The large objects; absent in restore points of earlier releases.
    #[serde(default)]
    pub large_objects: Option<LargeObjects>,
    dump: File,
}

#[derive(Debug, Clone, Deserialize)]
struct File {
    path: PathBuf,
    sha256: String,
}

#[derive(Deserialize)]
struct Head {
    id: String,
    #[serde(default)]
    sequence: u64,
    created: String,
    version: Version,
    #[serde(default)]
    install: PathBuf,
    #[serde(default)]
    host: Option<Host>,
    #[serde(default)]
    database: Option<Part>,
    #[serde(default)]
    frozen: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    mysql: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Completion {
    id: String,
    manifest_sha256: String,
    database: Part,
}

impl Part {
    /// Major of the server it came from.
    pub fn major(&self) -> u32 {
        self.server_version.split(|c: char| !c.is_ascii_digit()).next().and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

impl Stored {
    /// Finds the restore point `id` in the store at `store`, or `latest`, the newest of the installation at `root`, and proves its
    /// manifest and its dump by their digests. `accepted`: others may have written to the store.
    ///
    /// # Errors
    /// Refused when there is none, it is not safe or not whole, or it holds no dump of PostgreSQL; and where the newest could be that
    /// of one machine or another.
    pub fn find(store: &Path, root: &Path, id: &str, accepted: bool) -> Result<Self> {
        let store = store.canonicalize().map_err(|error| {
            Error::refused(format!("there is no store at `{}`", store.display()))
                .because(error)
                .hint("name the directory of the restore points with --store")
        })?;
        let id = if id == "latest" { latest(&store, root)? } else { id.to_owned() };
        let point = place(&store, &id)?;
        let refused = |error: Error| {
            error
                .within(format!("the restore point {id} cannot be used"))
                .of_kind(crate::contract::error::Kind::Refused)
                .hint(format!("take another one: mm-backup list --to {}", shell::word(&store)))
        };
        require_safe(&store, &point, &id, accepted)?;
        Self::read((&store, root), &point, &id).map_err(refused)
    }

    fn read((store, root): (&Path, &Path), point: &Path, id: &str) -> Result<Self> {
        let digest = proven(&point.join(MANIFEST), &recorded(&point.join(MANIFEST_DIGEST))?)?;
        let head: Head = handed_on::head(&point.join(MANIFEST))?;
        if head.id != id {
            return Err(Error::refused(format!("its manifest is that of `{}`", head.id)));
        }
        if let Some(place) = head.of_another(root, host::this().as_ref()) {
            ui::say(&format!("the restore point {id} is of {place}"));
        }
        let completed = match head.frozen {
            Some(_) if head.database.is_none() => handed_on::completion::<Completion>(point)?,
            _ => None,
        };
        if completed.as_ref().is_some_and(|file| file.id != id || file.manifest_sha256 != digest) {
            return Err(Error::refused(format!("its `{COMPLETION}` is that of another one")));
        }
        let database = match head.database.or(completed.map(|file| file.database)) {
            Some(database) => database,
            None if head.frozen.is_some() => {
                let complete = format!("mm-backup complete {id} --to {}", shell::word(store));
                return Err(Error::refused("it is frozen: its database is not stored yet").hint(complete));
            }
            None if head.mysql.is_some() => {
                return Err(Error::refused("its database is one of MySQL, of which no tool of ours loads the dump"));
            }
            None => return Err(Error::refused("it holds no database")),
        };
        let named = &database.dump.path;
        if named.is_absolute() || named.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
            return Err(Error::refused(format!("its dump is said to be at `{}`", named.display())));
        }
        let dump = point.join(named);
        ui::progress("reading the dump of the restore point");
        proven(&dump, &database.dump.sha256)?;
        let Head { created, version, .. } = head;
        Ok(Self { id: id.to_owned(), store: store.to_owned(), created, version, dump, database })
    }
}

/// The digest of a file, which is to be this one.
fn proven(path: &Path, wanted: &str) -> Result<String> {
    let found = files::sha256(path)?;
    if found == wanted {
        return Ok(found);
    }
    Err(Error::refused(format!("`{}` is damaged", path.display()))
        .because(format!("its SHA-256 is {found}, and {wanted} was recorded")))
}

fn recorded(path: &Path) -> Result<String> {
    let text = files::read_text(path, 4096)?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

fn names(store: &Path) -> Result<Vec<String>> {
    let attempt = || format!("cannot read the store `{}`", store.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(store).context(attempt)? {
        let name = entry.context(attempt)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && store.join(&name).join(MANIFEST).is_file() {
            found.push(name);
        }
    }
    Ok(found)
}

impl Head {
    /// What it is of, for people.
    fn place(&self) -> String {
        let install = self.install.display();
        match &self.host {
            Some(host) if !host.name.is_empty() => format!("`{install}` on {}", host.name),
            Some(_) => format!("`{install}` on another machine"),
            None => format!("`{install}`"),
        }
    }

    /// What it is of where that is not the installation at `root` of this machine. Those of earlier releases do not say of which
    /// machine they are.
    fn of_another(&self, root: &Path, here: Option<&Host>) -> Option<String> {
        let is_elsewhere = self.host.as_ref().zip(here).is_some_and(|(made, here)| made.id != here.id);
        (self.install != root || is_elsewhere).then(|| self.place())
    }
}

/// The newest restore point of the installation at `root`, as long as all of them are of one machine: which one is meant is not to be
/// guessed, and each counts by itself.
fn latest(store: &Path, root: &Path) -> Result<String> {
    let shown = store.display();
    let list = format!("name one by its identifier: mm-backup list --to {}", shell::word(store));
    let (mut own, mut others) = (Vec::new(), BTreeSet::new());
    for name in names(store)? {
        // One that cannot be read is not the one to go by, and is told where it is named itself.
        let Ok(head) = handed_on::head::<Head>(&store.join(&name).join(MANIFEST)) else { continue };
        if head.install == root {
            own.push((head, name));
        } else {
            others.insert(head.place());
        }
    }
    let hosts: BTreeMap<&str, String> =
        own.iter().filter_map(|(head, _)| Some((head.host.as_ref()?.id.as_str(), head.place()))).collect();
    if hosts.len() > 1 {
        let error = Error::refused(format!("the newest restore point in `{shown}` is of one machine or another"));
        return Err(hosts
            .into_values()
            .fold(error, |error, place| error.because(format!("some are of {place}")))
            .hint(list));
    }
    let newest = own.into_iter().max_by(|(a, one), (b, other)| (a.sequence, one).cmp(&(b.sequence, other)));
    newest.map(|(_, name)| name).ok_or_else(|| {
        if others.is_empty() {
            return Error::refused(format!("there is no restore point in `{shown}`"))
                .hint("name the directory of the restore points with --store");
        }
        let error = Error::refused(format!("there is no restore point of `{}` in `{shown}`", root.display()));
        others.into_iter().fold(error, |error, place| error.because(format!("some are of {place}"))).hint(list)
    })
}

fn place(store: &Path, id: &str) -> Result<PathBuf> {
    let list = format!("mm-backup list --to {} shows them", shell::word(store));
    if id.is_empty() || id.contains('/') || id.starts_with('.') {
        return Err(Error::usage(format!("`{id}` is not the identifier of a restore point")).hint(list));
    }
    let point = store.join(id);
    if files::look(&point)?.is_some() {
        return Ok(point);
    }
    let all = names(store)?;
    let hint = match near::nearest(id, all.iter().map(String::as_str)) {
        Some(near) => format!("the nearest is {near}; {list}"),
        None => list,
    };
    Err(Error::refused(format!("there is no restore point `{id}` in `{}`", store.display())).hint(hint))
}

/// Whoever can write to the store can put anything into the database.
fn require_safe(store: &Path, point: &Path, id: &str, accepted: bool) -> Result<()> {
    let proofs = [MANIFEST, MANIFEST_DIGEST, COMPLETION, COMPLETION_DIGEST].map(|name| point.join(name));
    for path in [store, point].into_iter().chain(proofs.iter().map(PathBuf::as_path)) {
        let Some(data) = files::look(path)? else { continue };
        let Some(why) = trust::fault(&data) else { continue };
        let said = format!("`{}`: {why}", path.display());
        if accepted {
            ui::warn(&format!("the restore point {id} may have been changed: {said}"));
            return Ok(());
        }
        let (store, point) = (shell::word(store), shell::word(point));
        return Err(Error::refused(format!("the restore point {id} is not safe to restore")).because(said).hint(
            format!(
                "where you know that nobody has changed it: chown root {store} {point} {point}/manifest.json*; chmod go-w \
                 {store} {point} {point}/manifest.json*; or --accept {ACCEPT}"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;
    use crate::contract::digest;
    use crate::machine::files::Access;

    fn write(path: &Path, text: &str) {
        files::create_directory(files::parent(path).unwrap(), 0o700).unwrap();
        files::write(path, text.as_bytes(), Access::PRIVATE).unwrap();
    }

    fn part(dump: &str) -> serde_json::Value {
        json!({
            "name": "mattermost", "bytes": 7, "server_version": "13.16 (Debian)", "dumped_by": "pg_dump 13",
            "dump": { "path": dump, "bytes": 4, "sha256": digest::of_bytes(b"dump") },
            "properties": { "owner": "mm", "encoding": "UTF8", "collate": "C", "ctype": "C" },
            "tables": { "public.posts": { "rows": 2, "hash": "5" } }
        })
    }

    fn point(store: &Path, id: &str, sequence: u64, further: &serde_json::Value) -> PathBuf {
        let mut head = json!({ "id": id, "sequence": sequence, "created": "2026-01-01T00:00:00Z", "version": "10.5.7", "install": "/opt/mm" });
        head.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let text = serde_json::to_string_pretty(&head).unwrap();
        let text = format!("{},\n  \"entries\": [\n  ]\n}}\n", text.trim_end().trim_end_matches('}').trim_end());
        let place = store.join(id);
        write(&place.join(MANIFEST), &text);
        write(&place.join(MANIFEST_DIGEST), &format!("{}  {MANIFEST}\n", digest::of_bytes(text.as_bytes())));
        write(&place.join("database/x.dump"), "dump");
        place
    }

    #[test]
    fn what_is_whole_and_safe_is_found_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let store = place.path();
        let find = |id: &str| Stored::find(store, Path::new("/opt/mm"), id, false);
        assert!(find("latest").unwrap_err().one_line().contains("no restore point"));
        point(store, "one", 1, &json!({ "database": part("database/x.dump") }));
        let second = point(store, "two", 2, &json!({ "database": part("database/x.dump") }));
        let found = find("latest").unwrap();
        assert_eq!((found.id.as_str(), found.database.major(), found.version.major), ("two", 13, 10));
        assert_eq!(
            (found.dump, found.database.hashed),
            (store.canonicalize().unwrap().join("two/database/x.dump"), Method::Md5)
        );
        assert!(find("twoo").unwrap_err().next_step().unwrap().contains("the nearest is two"));
        assert_eq!(find("../two").unwrap_err().code(), 2);
        point(store, "away", 0, &json!({ "database": part("../two/database/x.dump") }));
        point(store, "frozen", 0, &json!({ "frozen": {} }));
        point(store, "mysql", 0, &json!({ "mysql": {} }));
        point(store, "files", 0, &json!({}));
        for (id, word) in
            [("away", "is said to be at"), ("frozen", "is frozen"), ("mysql", "MySQL"), ("files", "no database")]
        {
            let error = find(id).unwrap_err();
            assert!(
                error.code() == 5 && format!("{} {:?}", error.one_line(), error.causes()).contains(word),
                "{error:?}"
            );
        }
        write(&second.join("database/x.dump"), "dum");
        assert!(format!("{:?}", find("two").unwrap_err()).contains("is damaged"));
        std::fs::set_permissions(store.join("one"), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(find("one").unwrap_err().next_step().unwrap().contains("--accept store-owner"));
        Stored::find(store, Path::new("/opt/mm"), "one", true).unwrap();
        write(&store.join("one").join(MANIFEST_DIGEST), "0  manifest.json\n");
        assert_eq!(Stored::find(store, Path::new("/opt/mm"), "one", true).unwrap_err().code(), 5);
    }

    #[test]
    fn the_newest_is_that_of_the_installation_and_of_one_machine() {
        let place = tempfile::tempdir().unwrap();
        let store = place.path();
        let newest = |root: &str| latest(store, Path::new(root));
        let host = |id: &str| json!({ "host": { "id": id, "name": format!("host-{id}") } });
        point(store, "old", 1, &json!({}));
        point(store, "own", 2, &host("a"));
        point(store, "other", 3, &json!({ "install": "/opt/other" }));
        assert_eq!((newest("/opt/mm").unwrap(), newest("/opt/other").unwrap()), ("own".into(), "other".into()));
        let error = newest("/opt/none").unwrap_err();
        assert!(error.code() == 5 && error.one_line().contains("`/opt/other`"), "{error:?}");
        point(store, "foreign", 1, &host("b"));
        let error = newest("/opt/mm").unwrap_err();
        assert!(error.code() == 5, "{error:?}");
        for name in ["host-a", "host-b"] {
            assert!(error.one_line().contains(name), "{error:?}");
        }
        let head: Head = handed_on::head(&store.join("own").join(MANIFEST)).unwrap();
        let here = |id: &str| Host { id: id.into(), name: "here".into() };
        assert_eq!(head.of_another(Path::new("/opt/mm"), Some(&here("a"))), None);
        assert_eq!(head.of_another(Path::new("/opt/mm"), None), None);
        assert_eq!(head.of_another(Path::new("/opt/mm"), Some(&here("b"))).unwrap(), "`/opt/mm` on host-a");
        assert!(head.of_another(Path::new("/opt/x"), Some(&here("a"))).is_some());
    }
}
