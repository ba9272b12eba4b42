//! Carrying out the plan: several releases at a time, each from lock to manifest.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mm_common::contract::digest::Hasher;
use mm_common::contract::error::{Context as _, Error, Kind, Result};
use mm_common::contract::ui;
use mm_common::machine::http::Client;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::{files, signals, threads};
use mm_common::mattermost::manifest::{Limits, Manifest};

use crate::cache::{Cache, Held, Partial};
use crate::download::{Download, Got, Patience};
use crate::plan::{self, Want};
use crate::progress::{Bar, Board};
use crate::signature::Keyring;
use crate::source::Source;

/// What every piece of work needs.
pub(crate) struct Workshop {
    /// The cache.
    pub(crate) cache: Cache,
    /// Makes requests.
    pub(crate) client: Client,
    /// How to behave towards servers.
    pub(crate) patience: Patience,
    /// How much an archive may hold.
    pub(crate) limits: Limits,
    /// How long to wait for another process that fetches the same release.
    pub(crate) lock_wait: Duration,
    /// Keys for signatures.
    pub(crate) keyring: Keyring,
    /// Whether signatures count also where a digest proves the release.
    pub(crate) every_signature: bool,
    /// Whether a release may be taken that neither a digest nor a signature proves.
    pub(crate) accept_unsigned: bool,
    /// What is going on.
    pub(crate) board: Arc<Board>,
}

/// One release to be had.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// The release.
    pub(crate) want: Want,
    /// Where to take it from when the cache does not have it.
    pub(crate) source: Option<Source>,
    /// Its size, when the source has told.
    pub(crate) size: Option<u64>,
}

impl Task {
    /// Whether the upgrade goes on without this release although fetching it failed as it did. That somebody stops
    /// this run, or fetches the same release, says nothing about whether it can be had.
    pub(crate) fn may_be_missing(&self, error: &Error) -> bool {
        !self.want.needed && error.kind() != Kind::Locked && signals::caught().is_none()
    }
}

/// One release that is at hand.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    /// The release.
    pub(crate) want: Want,
    /// Where it is.
    pub(crate) held: Held,
    /// Where it came from; the cache's own path when it was there.
    pub(crate) from: String,
    /// Bytes that came over the network.
    pub(crate) transferred: u64,
    /// Whether the cache was changed.
    pub(crate) fetched: bool,
    /// Fingerprint of the key whose signature is good.
    pub(crate) signed_by: Option<String>,
}

impl Workshop {
    /// Does all tasks, `jobs` at a time, the largest first. The results are in the order of the tasks; after a failure
    /// nothing new is begun and what is under way stops where it can be continued.
    pub(crate) fn run(&self, tasks: &[Task], jobs: usize) -> Vec<Result<Done>> {
        signals::leads_to("the downloads end here, and the next run goes on with what there is of them");
        let count = tasks.len();
        let mut order: Vec<(usize, &Task)> = tasks.iter().enumerate().collect();
        order.sort_by_key(|(_, task)| std::cmp::Reverse(task.size));
        let queue = Mutex::new(VecDeque::from(order));
        let results: Mutex<Vec<Option<Result<Done>>>> = Mutex::new((0..count).map(|_| None).collect());
        threads::several(jobs.min(count), || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((number, task)) = next.filter(|_| !self.board.is_stopped()) else { return };
                let result = self.fetch(task);
                if result.as_ref().is_err_and(|error| !task.may_be_missing(error)) {
                    self.board.stop();
                }
                results.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(result);
            }
        });
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        let skipped = || Err(Error::failed("not begun because another release could not be fetched"));
        results.into_iter().map(|result| result.unwrap_or_else(skipped)).collect()
    }

    fn fetch(&self, task: &Task) -> Result<Done> {
        let want = &task.want;
        let bar = self.board.bar(want.version.to_string());
        let lock = self.cache.lock(want, self.lock_wait)?;
        bar.doing("hashing what the cache has");
        let done = match self.cached(want, &lock)? {
            Some(done) => Ok(done),
            None => match &task.source {
                Some(source) => self.get(want, source, &bar, &lock),
                None => Err(Error::refused(format!("{} is not in the cache", want.file))
                    .because("there is no place to get it from")),
            },
        };
        bar.end();
        done.context(|| want.attempt())
    }

    /// The release as the cache has it. Where only a signature can prove it, the one kept beside it has to be good.
    fn cached(&self, want: &Want, lock: &LockGuard) -> Result<Option<Done>> {
        let Some(held) = self.cache.reuse(want, &self.limits, lock)? else { return Ok(None) };
        let signed_by = if self.counts(want) { self.keyring.verify_kept(&held.archive)? } else { None };
        let unsigned = want.accept.is_empty() && signed_by.is_none();
        if unsigned && !self.accept_unsigned {
            return Ok(None);
        }
        let from = held.archive.display().to_string();
        let want = taken(want, unsigned);
        Ok(Some(Done { want, held, from, transferred: 0, fetched: false, signed_by }))
    }

    /// Whether the signature of a release is looked at.
    fn counts(&self, want: &Want) -> bool {
        self.every_signature || want.proof == plan::SIGNATURE
    }

    fn get(&self, want: &Want, source: &Source, bar: &Bar, lock: &LockGuard) -> Result<Done> {
        // Before the tarball: without it, that would be fetched in vain.
        let signature = if self.counts(want) { self.signature(source)? } else { None };
        let sole = want.proof == plan::SIGNATURE;
        if sole && signature.is_none() && !self.accept_unsigned {
            return Err(Keyring::missing(&source.shown()));
        }
        let partial = self.cache.partial(want);
        let (sha256, transferred) = match source {
            Source::Web(url) => {
                let mut download = Download::begin(&self.client, url, &partial, &self.patience, bar)?;
                let mut got = download.finish()?;
                if got.continued && !accepted(want, &got.sha256) {
                    // Two halves of different files look like this; only a whole one can be called wrong.
                    ui::warn(&format!("what was continued of {} does not fit together; it is fetched anew", want.file));
                    download.start_over()?;
                    let Got { sha256, transferred, .. } = download.finish()?;
                    got = Got { sha256, transferred, continued: false };
                }
                (got.sha256, got.transferred)
            }
            Source::File(path) => (copy(path, &partial, self.patience.bytes, bar)?, 0),
        };
        if !accepted(want, &sha256) {
            return Err(self.wrong_digest(want, source, &partial, &sha256)?);
        }
        let signed_by = if self.counts(want) {
            bar.doing("verifying the signature");
            let proven = !sole || self.accept_unsigned;
            let verified = self.keyring.verify(&partial.path, signature.as_deref(), proven);
            verified.map_err(|error| self.aside(want, &partial, "BAD-SIGNATURE", error))?
        } else {
            None
        };
        bar.doing("looking through the archive");
        // The disk writes while the processor looks.
        let sync =
            || files::open_nofollow(&partial.path)?.sync_all().map_err(|error| Error::io("sync", &partial.path, error));
        let (synced, manifest) = threads::both(sync, || {
            Manifest::of_archive_within(&partial.path, &want.version, want.edition, &sha256, &self.limits)
        });
        let manifest = manifest.map_err(|error| self.aside(want, &partial, "NOT-A-RELEASE", error))?;
        if let Err(error) = synced {
            // A second sync of the same file could say yes to bytes that were lost.
            partial.remove()?;
            return Err(error.hint("look at the disk; then run it again"));
        }
        let held = self.cache.admit(&partial, want, &manifest, lock)?;
        if let Some(bytes) = &signature {
            Keyring::keep(&held.archive, bytes)?;
        }
        let from = source.shown();
        let want = taken(want, sole && signed_by.is_none());
        Ok(Done { want, held, from, transferred, fetched: true, signed_by })
    }

    /// The detached signature beside a tarball; `None` when there is none.
    fn signature(&self, source: &Source) -> Result<Option<Vec<u8>>> {
        match source.signature() {
            Source::Web(url) => self.client.small(&url, Keyring::MOST_SIGNATURE).map_err(|trouble| trouble.error),
            Source::File(path) if files::look(&path)?.is_none() => Ok(None),
            Source::File(path) => files::read(&path, Keyring::MOST_SIGNATURE).map(Some),
        }
    }

    fn wrong_digest(&self, want: &Want, source: &Source, partial: &Partial, sha256: &str) -> Result<Error> {
        let place = self.cache.refuse(partial, want, &sha256[..12])?;
        Ok(Error::failed(format!("what `{}` delivers is not the release", source.shown()))
            .because(format!("its SHA-256 is {sha256}"))
            .because(format!("{} is {}", who_says(want.proof), want.accept.join(" or ")))
            .hint(format!(
                "look at `{}`, which was kept for that; never install it. Then try another source with --mirror",
                place.display()
            )))
    }

    /// Keeps what was refused aside and says where.
    fn aside(&self, want: &Want, partial: &Partial, what: &str, error: Error) -> Error {
        if error.kind() != Kind::Refused {
            return error;
        }
        match self.cache.refuse(partial, want, what) {
            Ok(place) => error.hint(format!("never install it; it was kept as `{}`", place.display())),
            Err(_) => error,
        }
    }
}

/// A release as it was taken: that nothing proves it has to be said.
fn taken(want: &Want, unsigned: bool) -> Want {
    Want { proof: if unsigned { plan::UNSIGNED } else { want.proof }, ..want.clone() }
}

fn accepted(want: &Want, sha256: &str) -> bool {
    want.accept.is_empty() || want.accept.iter().any(|digest| digest == sha256)
}

fn who_says(proof: &str) -> &'static str {
    match proof {
        "given" => "the one given with --sha256",
        "document" => "the one in the document",
        "third-party" => "the one that a third party computed",
        _ => "the published one",
    }
}

/// Copies a tarball from a directory into the cache's place for parts, hashing it on the way.
fn copy(path: &Path, partial: &Partial, most: u64, bar: &Bar) -> Result<String> {
    let resolved: PathBuf = std::fs::canonicalize(path).map_err(|error| Error::io("find", path, error))?;
    let mut from = files::open_nofollow(&resolved)?;
    let total = from.metadata().map_err(|error| Error::io("look at", path, error))?.len();
    if total > most {
        return Err(Error::failed(format!("`{}` is larger than {most} bytes", path.display()))
            .hint("no release is that large; if this one is, raise --max-bytes"));
    }
    files::create_directory(files::parent(&partial.path)?, 0o755)?;
    partial.remove()?;
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&partial.path)
        .map_err(|error| Error::io("create", &partial.path, error))?;
    let copied = copy_bytes(&mut from, &mut to, total, bar, &|error| partial.unwritable(error, Some(total)));
    copied.map_err(|error| {
        // A part of a copy is worth nothing; what cannot be removed is overwritten next time.
        let _ = partial.remove();
        error.within(format!("cannot copy `{}` into the cache", path.display()))
    })
}

fn copy_bytes(
    from: &mut File,
    to: &mut File,
    total: u64,
    bar: &Bar,
    unwritable: &dyn Fn(&io::Error) -> Error,
) -> Result<String> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 * 1024];
    let mut have = 0;
    loop {
        bar.check()?;
        let count = from.read(&mut buffer).map_err(|error| Error::failed(error.to_string()))?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        to.write_all(&buffer[..count]).map_err(|error| unwritable(&error))?;
        hasher.update(&buffer[..count]);
        have += count as u64;
        bar.set(have, Some(total));
    }
}
