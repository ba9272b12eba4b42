//! The manifest of a restore point (`mm.backup/1`): what it holds and how to prove it. It is one JSON object with one
//! entry a line, so that its head can be read without the entries, and the entries one by one.

mod file;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use mm_common::contract::version::Edition;
use mm_common::machine::host::Host;
use mm_common::machine::tree::{Attributes, Meta, Time};
use mm_common::mattermost::way_back::original::Original;
use mm_common::postgres::besides::LargeObjects;
use mm_common::postgres::fingerprint::{Fingerprint, History, Method};
use mm_common::postgres::frozen::Frozen;
use mm_common::postgres::properties::Properties;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::mysql::MysqlPart;
use crate::text;

pub(crate) use file::{DIGEST_NAME, NAME, Reader, recorded_digest, shared, understand, write};

/// The schema this code writes.
pub(crate) const SCHEMA: &str = "mm.backup/1";

/// Everything but the entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// `mm.backup/1`.
    pub schema: String,
    /// Name of the restore point's directory.
    pub id: String,
    /// Grows by one with each restore point of an installation: the order that holds when the clock is set back.
    pub sequence: u64,
    /// When the snapshot of the database was taken (or the first file read).
    pub created: String,
    /// Version of this tool.
    pub tool: String,
    /// The upgrade run it was made in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The installation.
    pub install: PathBuf,
    /// The machine it is on, where that can be told from others. Restore points of earlier releases do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Its release.
    pub version: Version,
    /// Its edition.
    pub edition: Edition,
    /// Whether the server was stopped all the while.
    pub cold: bool,
    /// The trees and files it holds, by absolute path; each stands below `files/` under that path.
    pub roots: Vec<Root>,
    /// Paths left out on purpose.
    #[serde(default)]
    pub excluded: Vec<text::Name>,
    /// Entries left out because nothing can hold them or because they vanished.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// Names of the users that own entries.
    #[serde(default)]
    pub users: BTreeMap<u32, String>,
    /// Names of their groups.
    #[serde(default)]
    pub groups: BTreeMap<u32, String>,
    /// The database; absent when it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabasePart>,
    /// The frozen copy of the database, with `--freeze`. What its dump holds is said in a file of its own
    /// ([`crate::completion`]), and taken for [`Head::database`] when that is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<FrozenPart>,
    /// The database that the hop of the restore point leaves where it is, with `--freeze`; its dump is as that of a frozen copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<OriginalPart>,
    /// The database of the configuration, when that is another one (`MM_CONFIG`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_database: Option<DatabasePart>,
    /// The database, where that is one of MySQL or `MariaDB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mysql: Option<MysqlPart>,
    /// The other databases of the cluster, with `--whole-cluster`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_databases: Vec<DatabasePart>,
    /// Numbers.
    pub totals: Totals,
}

impl Head {
    /// Every database it holds.
    pub(crate) fn databases(&self) -> impl Iterator<Item = &DatabasePart> {
        [&self.database, &self.config_database].into_iter().flatten().chain(&self.other_databases)
    }

    /// Bytes of the dumps.
    pub(crate) fn dumped(&self) -> u64 {
        let mysql = self.mysql.as_ref().map_or(0, |part| part.dump.bytes);
        self.databases().map(|part| part.dump.bytes).sum::<u64>() + mysql
    }

    /// Bytes of the files, without the dumps.
    pub(crate) fn file_bytes(&self) -> u64 {
        let dumped = self.dumped();
        self.totals.bytes.saturating_sub(dumped)
    }

    /// The names of those that are in the server's cluster.
    pub(crate) fn in_cluster(&self) -> Vec<String> {
        let stored = self.other_databases.iter().map(|part| part.name.clone());
        let left =
            self.original.iter().filter(|_| self.database.is_none()).flat_map(|part| part.database.others.clone());
        self.database_name().map(str::to_owned).into_iter().chain(stored).chain(left).collect()
    }

    /// The name of the server's database, stored or frozen.
    pub(crate) fn database_name(&self) -> Option<&str> {
        let unstored = || self.incomplete().map(Unstored::name);
        self.database.as_ref().map(|part| part.name.as_str()).or_else(unstored)
    }

    /// Where the database of a frozen restore point is that is not stored yet.
    pub(crate) fn incomplete(&self) -> Option<Unstored<'_>> {
        if self.database.is_some() {
            return None;
        }
        let copy = self.frozen.as_ref().map(Unstored::Copy);
        copy.or_else(|| self.original.as_ref().map(Unstored::Original))
    }

    /// Whether its database is, or was, to be stored later.
    pub(crate) fn was_frozen(&self) -> bool {
        self.frozen.is_some() || self.original.is_some()
    }
}

/// The database of a frozen restore point that is not stored yet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unstored<'a> {
    /// A copy in the database server.
    Copy(&'a FrozenPart),
    /// What the hop leaves where it is.
    Original(&'a OriginalPart),
}

impl<'a> Unstored<'a> {
    /// Its name.
    pub(crate) fn name(self) -> &'a str {
        match self {
            Self::Copy(part) => &part.copy.name,
            Self::Original(part) => &part.database.place.database,
        }
    }

    /// Version of its server.
    pub(crate) fn server_version(self) -> &'a str {
        match self {
            Self::Copy(part) => &part.copy.server_version,
            Self::Original(part) => &part.database.server_version,
        }
    }

    /// Its size.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Copy(part) => part.copy.bytes,
            Self::Original(part) => part.database.bytes,
        }
    }

    /// Where it is, after "it is".
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Copy(part) => format!("the copy `{}` in the database server", part.copy.copy),
            Self::Original(part) => part.database.in_words(),
        }
    }
}

/// A tree or file of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Root {
    /// Where it is.
    pub path: PathBuf,
    /// What it is for.
    pub what: What,
}

/// What a root is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// The install tree.
    Install,
    /// Uploaded files outside the install tree.
    Data,
    /// Configuration outside the install tree, and what it names.
    Config,
    /// How the service is started: unit, drop-ins, environment files.
    Service,
}

/// Something left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skipped {
    /// Its path.
    pub path: text::Name,
    /// Why.
    pub why: String,
}

/// The database in a restore point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatabasePart {
    /// Its name.
    pub name: String,
    /// Its size in the server.
    #[serde(default)]
    pub bytes: u64,
    /// Version of the server it came from.
    pub server_version: String,
    /// Version of `pg_dump` that wrote the dump.
    pub dumped_by: String,
    /// The dump, relative to the restore point.
    pub dump: Stored,
    /// Roles and their passwords; without passwords when they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub globals: Option<Stored>,
    /// Whether `globals` holds the passwords of the roles.
    #[serde(default)]
    pub role_passwords: bool,
    /// What `pg_restore` does not restore into a database that is there already.
    pub properties: Properties,
    /// Rows and hash of every table in the dump's own snapshot.
    pub tables: Fingerprint,
    /// How those rows were hashed; restore points of earlier releases do not say, and have `md5`.
    #[serde(default)]
    pub hashed: Method,
    /// The large objects in the same snapshot; absent in restore points of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_objects: Option<LargeObjects>,
    /// The message history in the same snapshot; absent when the database has no posts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// Where the schema stands, as `mm_common::mattermost::schema` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<mm_common::mattermost::schema::Level>,
}

/// The database as a frozen copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FrozenPart {
    /// The copy.
    pub copy: Frozen,
    /// Where the schema stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<mm_common::mattermost::schema::Level>,
}

/// The database that the hop of a restore point leaves where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OriginalPart {
    /// The database.
    pub database: Original,
    /// Where the schema stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<mm_common::mattermost::schema::Level>,
}

/// A file of ours in the restore point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Path relative to the restore point.
    pub path: PathBuf,
    /// Size.
    pub bytes: u64,
    /// Digest.
    pub sha256: String,
}

/// Numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are links into the previous restore point.
    pub linked: u64,
    /// Bytes that this restore point added to the store.
    pub added: u64,
    /// Duration.
    pub seconds: f64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symlink.
    Symlink,
}

/// One file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Absolute path.
    pub path: text::Name,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, in octal.
    #[serde(with = "text::octal")]
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size of a file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Digest of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<text::Digest>,
    /// Target of a symlink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<text::Name>,
    /// The entry this is a further name of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<text::Name>,
    /// Last change of the contents, `SECONDS.NANOSECONDS` since 1970.
    #[serde(with = "text::time")]
    pub mtime: Time,
    /// Last change of anything: with the inode number it tells the next run that nothing changed.
    #[serde(with = "text::time")]
    pub ctime: Time,
    /// Inode number.
    pub ino: u64,
    /// Extended attributes, values in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "text::xattrs")]
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// What the file system of the store said about the copy of a file. Manifests of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredAs>,
    /// It changed while it was read, each time it was tried: the digest is that of what was stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
}

/// By which the copy of a file is known again in the store. Not by the time of the last change of anything (ctime): every
/// further link and every prune sets that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredAs {
    /// Inode number.
    pub ino: u64,
    /// Last change of the contents, as the store's file system keeps it.
    #[serde(with = "text::time")]
    pub mtime: Time,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Entry {
    /// What it has besides name and contents.
    pub(crate) fn attributes(&self) -> Attributes {
        Attributes { mode: self.mode, uid: self.uid, gid: self.gid, mtime: self.mtime, xattrs: self.xattrs.clone() }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.path.as_path()
    }

    /// Whether nothing of the file has changed since: size, both times and inode are as they were. The time of the last
    /// change of anything (ctime) cannot be set by its owner, so a file that was replaced, rewritten with its old times, or
    /// given another mode or attribute is noticed.
    pub(crate) fn is_of(&self, meta: &Meta) -> bool {
        (self.bytes, self.mtime, self.ctime, self.ino) == (meta.bytes, meta.mtime, meta.ctime, meta.ino)
    }
}

/// Where the copy of an absolute path stands below `files/`: its directory there, and its name.
pub(crate) fn place(path: &Path) -> (&Path, &OsStr) {
    let parent = path.parent().unwrap_or(Path::new("/"));
    (parent.strip_prefix("/").unwrap_or(parent), path.file_name().unwrap_or_default())
}
