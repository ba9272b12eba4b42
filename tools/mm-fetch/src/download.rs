//! Getting one tarball: attempts, pauses between them, and the bytes that came so far.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use mm_common::contract::digest::Hasher;
use mm_common::contract::error::{Error, Result};
use mm_common::contract::{shell, ui};
use mm_common::machine::http::{self, Client, Trouble};
use mm_common::machine::{checkpoint, files};
use url::Url;

use crate::answer::{self, Head, Meaning, Validator};
use crate::cache::{Note, Partial};
use crate::progress::Bar;

/// Below this rate for the length of the stall limit, a connection is as good as dead (bytes a second).
const SLOWEST: u64 = 1024;

/// How often the file may turn out to be another one before it is given up: once is an update of the mirror, more is
/// a server that cannot be relied on.
const MOST_RESTARTS: u32 = 2;

/// What an attempt has to bring for the count of failures in a row to begin again.
const PROGRESS: u64 = 64 * 1024;

/// Every gzip file begins like this (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How to behave towards a server.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    /// Failures in a row before it is given up.
    pub(crate) retries: u32,
    /// Pause before the first new attempt.
    pub(crate) first: Duration,
    /// Longest pause.
    pub(crate) most: Duration,
    /// Longest time with (nearly) nothing coming in.
    pub(crate) stall: Duration,
    /// Most bytes of a tarball.
    pub(crate) bytes: u64,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    /// Digest of the file.
    pub sha256: String,
    /// Bytes that came over the network in this run.
    pub(crate) transferred: u64,
    /// Whether part of it came in an earlier attempt or run.
    pub(crate) continued: bool,
}

/// A download in progress.
pub(crate) struct Download<'a> {
    client: &'a Client,
    url: &'a Url,
    partial: &'a Partial,
    patience: &'a Patience,
    bar: &'a Bar,
    file: File,
    hasher: Hasher,
    have: u64,
    note: Note,
    transferred: u64,
    continued: bool,
}

enum Attempt {
    Whole,
    StartOver(&'static str),
}

/// What went wrong in one attempt.
pub(crate) enum Failure {
    /// Another attempt would end the same way.
    Lasting(Error),
    /// It may go better next time; the server may say when that is.
    Passing { error: Error, wait: Option<Duration> },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        if trouble.passing { Self::Passing { error: trouble.error, wait: None } } else { Self::Lasting(trouble.error) }
    }
}

impl Patience {
    /// What an answer means that is none of those asked for.
    pub(crate) fn refusal(&self, url: &Url, answer: &http::Answer) -> Failure {
        let error = http::status_error(url, answer.status);
        if !http::is_passing(answer.status) {
            return Failure::Lasting(error);
        }
        let wait = answer.header("retry-after").and_then(|text| answer::retry_after(text, Timestamp::now()));
        match wait {
            Some(wait) if wait > self.most => Failure::Lasting(
                error
                    .because(format!("it asks to come back in {} seconds", wait.as_secs()))
                    .hint("run it again then, or raise --retry-wait-max"),
            ),
            wait => Failure::Passing { error, wait },
        }
    }

    /// Waits before the next attempt: longer with each failure in a row, and at least as long as the server asks for.
    ///
    /// # Errors
    /// That of `check`, which is asked ten times a second.
    pub(crate) fn wait(
        &self,
        failures: u32,
        asked: Option<Duration>,
        error: &Error,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
        let chance = f64::from(nanos % 1_000_000) / 1_000_000.0;
        let own = answer::pause(failures, self.first, self.most, chance);
        let pause = asked.unwrap_or(Duration::ZERO).max(own);
        ui::detail(&format!("{}; next attempt in {:.1} s", error.one_line(), pause.as_secs_f64()));
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            check()?;
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
        Ok(())
    }
}

impl<'a> Download<'a> {
    /// Picks up what an earlier run left, if it can be continued.
    pub(crate) fn begin(
        client: &'a Client,
        url: &'a Url,
        partial: &'a Partial,
        patience: &'a Patience,
        bar: &'a Bar,
    ) -> Result<Self> {
        let file = open(&partial.path)?;
        let note = partial.read_note();
        let hasher = Hasher::default();
        let mut download =
            Self { client, url, partial, patience, bar, file, hasher, have: 0, note, transferred: 0, continued: false };
        if download.note.validator.if_range().is_some() {
            download.hash_what_is_there()?;
            download.continued = download.have > 0;
        } else {
            download.start_over()?;
        }
        Ok(download)
    }

    /// Gets the rest. Failures that may pass are repeated after a pause; what came stays for the next run.
    pub(crate) fn finish(&mut self) -> Result<Got> {
        let mut failures = 0;
        let mut restarts = 0;
        loop {
            let before = self.have;
            match self.attempt() {
                Ok(Attempt::Whole) => {
                    let sha256 = std::mem::take(&mut self.hasher).finish();
                    return Ok(Got { sha256, transferred: self.transferred, continued: self.continued });
                }
                Ok(Attempt::StartOver(why)) if restarts < MOST_RESTARTS => {
                    ui::detail(&format!("`{}` is fetched from its beginning: {why}", self.url));
                    restarts += 1;
                    self.start_over()?;
                }
                Ok(Attempt::StartOver(why)) => {
                    let error = self.failed().because(why).because(format!("it was begun {} times", restarts + 1));
                    return Err(error.hint("this server cannot be relied on; take another with --mirror"));
                }
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing { error, wait }) => {
                    failures = if self.have >= before + PROGRESS { 1 } else { failures + 1 };
                    if failures > self.patience.retries {
                        let error =
                            error.because(format!("given up after {} in a row", ui::count(failures, "failure")));
                        return Err(error.hint(self.next_step()));
                    }
                    self.patience.wait(failures, wait, &error, &|| self.bar.check())?;
                    self.continued = self.have > 0;
                }
            }
        }
    }

    /// Forgets what came and begins again.
    pub(crate) fn start_over(&mut self) -> Result<()> {
        let failed = |error| Error::io("empty", &self.partial.path, error);
        self.file.set_len(0).map_err(failed)?;
        self.hasher = Hasher::default();
        self.have = 0;
        self.continued = false;
        self.note = Note::default();
        Ok(())
    }

    /// What to do when it is given up. Where nothing has come, the way there is to be looked at first.
    fn next_step(&self) -> String {
        if self.have > 0 {
            return "run it again later: it continues where it stopped".into();
        }
        format!(
            "see whether this host gets there: curl -sSI {}; a proxy is named in https_proxy, another place with --mirror; \
             without internet: mm-fetch VERSION --edition EDITION --bundle DIR on a host that has it, and --from-bundle DIR here",
            shell::quoted(self.url.as_str())
        )
    }

    fn failed(&self) -> Error {
        Error::failed(format!("cannot get `{}`", self.url))
    }

    fn attempt(&mut self) -> Result<Attempt, Failure> {
        self.bar.check()?;
        let validator = self.note.validator.clone();
        if self.have > 0 && validator.if_range().is_none() {
            // Nothing would tell whether the rest belongs to what came.
            self.start_over()?;
        }
        if self.note.total == Some(self.have) && self.have > 0 {
            return Ok(Attempt::Whole);
        }
        let range = format!("bytes={}-", self.have);
        let mut headers = Vec::new();
        if let (1.., Some(value)) = (self.have, validator.if_range()) {
            headers.extend([("range", range.as_str()), ("if-range", value)]);
        }
        let answer = self.client.get_unless(self.url, &headers, &|| self.bar.check())?;
        let head = Head {
            status: answer.status,
            length: answer.length(),
            range: answer.header("content-range").map(str::to_owned),
            validator: Validator::of(answer.header("etag"), answer.header("last-modified")),
        };
        let total = match answer::judge(&head, self.have, &validator) {
            Meaning::Whole(total) => {
                if self.have > 0 {
                    ui::detail(&format!("`{}` is fetched from its beginning: the server sends all of it", self.url));
                    self.start_over()?;
                }
                total
            }
            Meaning::Rest(total) => Some(total),
            Meaning::Complete => return Ok(Attempt::Whole),
            Meaning::StartOver(why) => return Ok(Attempt::StartOver(why)),
            Meaning::No => return Err(self.patience.refusal(self.url, &answer)),
        };
        self.check_size(total.unwrap_or(0))?;
        if self.have == 0 {
            self.note = Note { url: self.url.to_string(), validator: head.validator, total };
            self.partial.write_note(&self.note)?;
        }
        self.bar.set(self.have, total);
        for piece in Watched::new(answer.pieces()?, self.patience.stall) {
            self.bar.check()?;
            let piece = piece.map_err(|error| Failure::Passing { error: self.failed().because(error), wait: None })?;
            if !piece.is_empty() {
                self.take(&piece, total)?;
            }
        }
        match total {
            Some(total) if self.have != total => {
                let error = self.failed().because(format!("it ended after {} of {total} bytes", self.have));
                Err(Failure::Passing { error, wait: None })
            }
            _ => Ok(Attempt::Whole),
        }
    }

    fn take(&mut self, piece: &[u8], total: Option<u64>) -> Result<(), Failure> {
        if self.have == 0 && !piece.starts_with(&GZIP[..piece.len().min(2)]) {
            let beginning: String = String::from_utf8_lossy(&piece[..piece.len().min(60)]).into_owned();
            return Err(Failure::Lasting(
                self.failed()
                    .because(format!("what comes is not a gzip file; it begins with {:?}", beginning.trim()))
                    .hint("a proxy or a login page may stand in the way: open the address in a browser on this host"),
            ));
        }
        let have = self.have + piece.len() as u64;
        if total.is_some_and(|total| have > total) {
            return Err(Failure::Lasting(self.failed().because("more bytes come than the server announced")));
        }
        self.check_size(have)?;
        self.file.write_all(piece).map_err(|error| self.partial.unwritable(&error, total))?;
        self.hasher.update(piece);
        self.have = have;
        self.transferred += piece.len() as u64;
        self.bar.set(self.have, total);
        checkpoint::pass("fetch-piece-written");
        Ok(())
    }

    fn check_size(&self, bytes: u64) -> Result<()> {
        if bytes <= self.patience.bytes {
            return Ok(());
        }
        self.partial.remove()?;
        Err(self
            .failed()
            .because(format!("it is larger than {} bytes", self.patience.bytes))
            .hint("no release is that large; if this one is, raise --max-bytes"))
    }

    fn hash_what_is_there(&mut self) -> Result<()> {
        let failed = |error| Error::io("read", &self.partial.path, error);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            self.bar.check()?;
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.hasher.update(&buffer[..count]);
                    self.have += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// The file is appended to, so that the reading position does not matter.
fn open(path: &Path) -> Result<File> {
    files::create_directory(files::parent(path)?, 0o755)?;
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(|error| Error::io("open", path, error))
}

/// Ends a stream that trickles: a server that sends a byte now and then never falls silent.
struct Watched<I> {
    pieces: I,
    stall: Duration,
    since: Instant,
    bytes: u64,
}

impl<I> Watched<I> {
    fn new(pieces: I, stall: Duration) -> Self {
        Self { pieces, stall, since: Instant::now(), bytes: 0 }
    }
}

impl<I: Iterator<Item = io::Result<Vec<u8>>>> Iterator for Watched<I> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.pieces.next()?;
        self.bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let elapsed = self.since.elapsed();
        if elapsed >= self.stall {
            if self.bytes < SLOWEST * self.stall.as_secs().max(1) {
                let words = format!("only {} bytes came in {:.0} seconds", self.bytes, elapsed.as_secs_f64());
                return Some(Err(io::Error::new(io::ErrorKind::TimedOut, words)));
            }
            (self.since, self.bytes) = (Instant::now(), 0);
        }
        Some(piece)
    }
}
