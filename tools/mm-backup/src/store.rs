//! The store: a directory of restore points. One that is being built has a name that says who builds it, and gets its
//! final name only when it is complete and synced.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::{near, shell, time, ui};
use mm_common::machine::files::{self, Access};
use mm_common::machine::process::Identity;
use mm_common::machine::{mounts, pins, tree};
use nix::unistd::geteuid;

use crate::completion;
use crate::manifest::{self, Head, Reader};
use crate::suspects;
use crate::text::Name;
use crate::whose::Whose;

/// How the directory of a restore point under construction begins: `.partial-ID.PID.START.BOOT`.
pub(crate) const PARTIAL: &str = ".partial-";
/// How one that is being removed begins.
const CONDEMNED: &str = ".removing-";

/// The file in which a store has a name of its own.
const MARK: &str = ".store-mark";

/// A store.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    /// Its directory, resolved.
    pub path: PathBuf,
}

/// A complete restore point.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    /// Its directory.
    pub path: PathBuf,
    /// The head of its manifest.
    pub head: Head,
}

/// A directory that bears the name of a restore point and is none.
#[derive(Debug, Clone)]
pub(crate) struct Damaged {
    /// Its name.
    pub id: String,
    /// What is wrong.
    pub why: String,
}

/// The directories that a store at `path` needs and that are not there, the store first.
pub(crate) fn absent(path: &Path) -> Result<Vec<PathBuf>> {
    let mut absent = Vec::new();
    for directory in path.ancestors().filter(|directory| !directory.as_os_str().is_empty()) {
        if files::look(directory)?.is_some() {
            break;
        }
        absent.push(directory.to_owned());
    }
    Ok(absent)
}

/// Takes away the directories that were made for a store into which nothing has come.
pub(crate) fn take_away(made: &[PathBuf]) {
    for directory in made {
        // One that is not empty, or was not made, stays as it is.
        if std::fs::remove_dir(directory).is_err() {
            return;
        }
    }
}

/// Somebody has named a file, perhaps meaning the archive of a backup.
fn refuse_file(path: &Path) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|data| !data.is_dir()) {
        return Err(Error::refused(format!("the store `{}` is not a directory", path.display()))
            .because("restore points are directories, and the store is the one they stand in")
            .hint("name a directory with --to; it is made when it is not there"));
    }
    Ok(())
}

/// Whether an entry of a directory shows that this is a store.
pub(crate) fn is_of_store(directory: &Path, name: &OsStr) -> bool {
    let text = name.to_string_lossy();
    [MARK, PARTIAL, CONDEMNED, pins::PIN, suspects::RECORD].iter().any(|begin| text.starts_with(begin))
        || [manifest::NAME, manifest::DIGEST_NAME].iter().all(|file| directory.join(name).join(file).is_file())
}

impl Store {
    /// The store at `path`; the directory is created when it is not there.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        refuse_file(path)?;
        files::create_directory(path, 0o700).map_err(|error| unwritable(path, error))?;
        Self::open(path)
    }

    /// Refuses a store that others may write to: they could exchange what root restores later. To be called when it is
    /// known to be no directory of the server, which has to keep its owner.
    pub(crate) fn refuse_unsafe(&self) -> Result<()> {
        let data = std::fs::metadata(&self.path).map_err(|error| Error::io("look at", &self.path, error))?;
        if data.uid() == geteuid().as_raw() && data.mode() & 0o022 == 0 {
            return Ok(());
        }
        Err(Error::refused(format!("the store `{}` is not safe", self.path.display()))
            .because("others may write there, and what is restored from it is trusted")
            .hint(format!(
                "give a directory of its own with --to, as made by `mkdir -m 700`; where this one holds restore points and \
                 nothing else: chown {}: {1}; chmod 700 {1}",
                geteuid(),
                shell::word(&self.path)
            )))
    }

    /// The store at `path`, which must be there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        refuse_file(path)?;
        match std::fs::canonicalize(path) {
            Ok(path) => Ok(Self { path }),
            Err(error) => Err(Error::refused(format!("there is no store at `{}`", path.display()))
                .because(error)
                .hint(match mounts::missing(path).ok().flatten() {
                    Some(point) => format!("its disk is not mounted: mount {}", shell::word(&point)),
                    None => "name the directory of the restore points with --to".into(),
                })),
        }
    }

    /// All restore points, oldest first, and what only looks like one.
    pub(crate) fn list(&self) -> Result<(Vec<Point>, Vec<Damaged>)> {
        let (mut good, mut damaged) = (Vec::new(), Vec::new());
        for name in self.names()? {
            if name.starts_with('.') || !self.path.join(&name).is_dir() {
                continue;
            }
            match self.point(&name) {
                Ok(point) => good.push(point),
                // Not one of ours unless it has a manifest or a database.
                Err(error) if self.path.join(&name).join("files").is_dir() => {
                    damaged.push(Damaged { id: name, why: error.one_line() });
                }
                Err(_) => {}
            }
        }
        good.sort_by(|a, b| (a.head.sequence, &a.head.id).cmp(&(b.head.sequence, &b.head.id)));
        Ok((good, damaged))
    }

    /// The restore points of one installation of this machine, oldest first.
    pub(crate) fn of_installation(&self, install: &Path) -> Result<Vec<Point>> {
        let whose = Whose::at(install);
        Ok(self.list()?.0.into_iter().filter(|point| whose.has(&point.head)).collect())
    }

    /// The restore point with this identifier.
    pub(crate) fn find(&self, id: &str) -> Result<Point> {
        if id.is_empty() || id.contains('/') || id.starts_with('.') {
            return Err(Error::usage(format!("`{id}` is not the identifier of a restore point"))
                .hint("mm-backup list shows them"));
        }
        if files::look(&self.path.join(id))?.is_none() {
            let names = self.names()?;
            let place = shell::word(&self.path);
            let hint = match near::nearest(id, names.iter().map(String::as_str)) {
                Some(near) => format!("the nearest is {near}; mm-backup list --to {place} shows all"),
                None => format!("mm-backup list --to {place} shows those that are there"),
            };
            return Err(
                Error::refused(format!("there is no restore point `{id}` in `{}`", self.path.display())).hint(hint)
            );
        }
        self.point(id)
    }

    fn point(&self, id: &str) -> Result<Point> {
        let path = self.path.join(id);
        let mut head = Reader::open(&path)?.head;
        if head.id != id {
            return Err(Error::failed(format!("`{}` is not what its name says", path.display()))
                .because(format!("its manifest is that of `{}`", head.id)));
        }
        if head.was_frozen()
            && let Some(completion) = completion::read(&path)?
        {
            if completion.id != id || completion.manifest_sha256 != manifest::recorded_digest(&path)? {
                return Err(Error::failed(format!("`{}` is not what its name says", path.display()))
                    .because(format!("its database is that of `{}`", completion.id)));
            }
            head.other_databases.extend(completion.other_databases);
            head.database = Some(completion.database);
            let dumped: u64 = head.database.iter().chain(&head.other_databases).map(|part| part.dump.bytes).sum();
            head.totals.bytes += dumped;
            head.totals.added += dumped;
        }
        Ok(Point { path, head })
    }

    /// A free identifier for a restore point made now.
    pub(crate) fn new_id(&self) -> Result<String> {
        files::free_name(&self.path, &time::stamp(), "")
    }

    /// Begins a restore point: an empty directory under a name that says who is at it.
    pub(crate) fn begin(&self, id: &str) -> Result<PathBuf> {
        let path = self.path.join(format!("{PARTIAL}{id}.{}", Identity::own()?));
        files::create_directory(&path, 0o700).map_err(|error| unwritable(&self.path, error))?;
        Ok(path)
    }

    /// Gives a complete restore point its name. Everything in it must be synced.
    pub(crate) fn finish(&self, partial: &Path, id: &str) -> Result<PathBuf> {
        let path = self.path.join(id);
        files::rename_new(partial, &path)?;
        files::sync_directory(&self.path)?;
        Ok(path)
    }

    /// Removes a restore point: first its name, so that half of it is never taken for a whole one.
    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        let condemned = self.path.join(format!("{CONDEMNED}{id}.{}", Identity::own()?));
        files::rename_new(&self.path.join(id), &condemned)?;
        files::sync_directory(&self.path)?;
        mm_common::machine::checkpoint::pass("prune-condemned");
        suspects::note(&self.path, id, &[])?;
        pins::release(&self.path, id)?;
        tree::remove(&condemned)
    }

    /// Removes what runs that are dead have left half-made or half-removed. Returns how many.
    pub(crate) fn remove_leftovers(&self) -> Result<usize> {
        let mut removed = 0;
        for name in self.names()? {
            let rest = name.strip_prefix(PARTIAL).or_else(|| name.strip_prefix(CONDEMNED));
            // An identifier has no dot, so what follows the first one is the builder.
            let Some((_, builder)) = rest.and_then(|rest| rest.split_once('.')) else { continue };
            if Identity::parse(builder).is_some_and(|builder| !builder.is_alive()) {
                // What is left of another run is no reason not to make a new restore point.
                match tree::remove(&self.path.join(&name)) {
                    Ok(()) => removed += 1,
                    Err(error) => ui::warn(&error.one_line()),
                }
            }
        }
        Ok(removed)
    }

    /// What it calls itself, and since when, where it has been marked: a copy of the store has the same mark, made later.
    pub(crate) fn mark(&self) -> Result<Option<String>> {
        let path = self.path.join(MARK);
        let Some(found) = files::look(&path)? else { return Ok(None) };
        let mark = files::read_text(&path, 4096)?;
        let mark = Some(mark.trim()).filter(|mark| !mark.is_empty());
        Ok(mark.map(|mark| format!("{mark} {}.{:09}", found.ctime(), found.ctime_nsec())))
    }

    /// The same; it is marked now where it was not.
    pub(crate) fn marked(&self) -> Result<String> {
        if let Some(mark) = self.mark()? {
            return Ok(mark);
        }
        let path = self.path.join(MARK);
        files::write(&path, format!("{}\n", files::random_hexadecimal(16)?).as_bytes(), Access::PRIVATE)?;
        self.mark()?.ok_or_else(|| Error::failed(format!("the mark `{}` is gone again", path.display())))
    }

    fn names(&self) -> Result<Vec<String>> {
        let names = tree::Dir::open(&self.path)?.names()?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }
}

/// What to do where nothing can be written into a store.
pub(crate) fn unwritable(path: &Path, error: Error) -> Error {
    let said = error.one_line();
    let there = path.ancestors().find(|above| above.exists()).unwrap_or(path);
    let word = shell::word(there);
    if said.contains("Read-only file system") {
        error.hint(format!(
            "findmnt --target {word} names the file system, which is mounted read-only; or give another store with --to"
        ))
    } else if said.contains("No space left") {
        error.hint(format!(
            "df -h {word}; make room there (mm-backup prune --to {word} --keep-last 3), or give another store with --to"
        ))
    } else {
        error.hint("give a directory that root can write as the store with --to")
    }
}

impl Point {
    /// The store it is in, for a journal.
    pub(crate) fn store(&self) -> Option<Name> {
        self.path.parent().map(|store| store.to_owned().into())
    }

    /// Refuses a frozen restore point whose database is not stored yet.
    pub(crate) fn require_complete(&self) -> Result<()> {
        let Some(unstored) = self.head.incomplete() else { return Ok(()) };
        Err(Error::refused(format!("the restore point {} is frozen: its database is not stored yet", self.head.id))
            .because(format!("it is {}", unstored.in_words()))
            .hint(self.completing()?))
    }

    /// The command that completes it.
    pub(crate) fn completing(&self) -> Result<String> {
        let (install, store) = (shell::word(&self.head.install), shell::word(files::parent(&self.path)?));
        Ok(format!("mm-backup complete {} --install {install} --to {store}", self.head.id))
    }

    /// Finds the copies of what it holds.
    pub(crate) fn files(&self) -> Result<tree::Finder> {
        Ok(tree::Finder::new(tree::Dir::open(&self.path.join("files"))?))
    }

    /// The manifest, proven against the digest that stands beside it.
    pub(crate) fn proven_manifest(&self) -> Result<String> {
        let recorded = manifest::recorded_digest(&self.path)?;
        let path = self.path.join(manifest::NAME);
        let found = files::sha256(&path)?;
        if found == recorded {
            return Ok(found);
        }
        Err(Error::failed(format!("the manifest `{}` is not as it was written", path.display()))
            .because(format!("its SHA-256 is {found}, {recorded} was recorded"))
            .hint("this restore point is damaged; use another one (mm-backup list)"))
    }
}
