//! Where the pages come from: what Mattermost publishes, or what somebody names.

use std::path::{Path, PathBuf};

use jiff::civil::Date;
use mm_common::contract::error::{Error, Result};
use mm_common::contract::{time, ui};
use mm_common::machine::http::Client;
use mm_common::machine::{files, signals};
use mm_common::mattermost::catalogue::day;
use url::Url;

use super::page::Found;
use crate::download::{Failure, Patience};

/// The largest of them had 210 kB in 2026.
const MOST: u64 = 16 * 1024 * 1024;

/// More files than this in a directory are not a few saved pages.
const MOST_FILES: usize = 100;

/// How often a page is requested again: it is small, and there is another week.
const MOST_RETRIES: u32 = 2;

/// Where the upgrade notes are to be read.
pub(super) const NOTES: &str = "https://docs.mattermost.com/administration-guide/upgrade/important-upgrade-notes.html";

const SOURCE: &str = "https://raw.githubusercontent.com/mattermost/mattermost/master/docs/main";

/// What is read without `--from`. Each can be had in one of several places, as pages move.
struct Subject {
    name: &'static str,
    /// Without it there is no telling what is new.
    needed: bool,
    places: &'static [&'static str],
}

const SUBJECTS: [Subject; 5] = [
    Subject {
        name: "the version archive",
        needed: true,
        places: &[
            "product-overview/version-archive.mdx",
            "https://docs.mattermost.com/product-overview/version-archive.html",
        ],
    },
    Subject {
        name: "the table of server releases",
        needed: true,
        places: &[
            "product-overview/mattermost-server-releases.mdx",
            "https://docs.mattermost.com/product-overview/mattermost-server-releases.html",
        ],
    },
    Subject {
        name: "the releases of the repository",
        needed: false,
        places: &["https://api.github.com/repos/mattermost/mattermost/releases?per_page=100"],
    },
    Subject {
        name: "the important upgrade notes",
        needed: false,
        places: &["administration-guide/upgrade/important-upgrade-notes.mdx", NOTES],
    },
    Subject { name: "the signing key", needed: false, places: &["https://deb.packages.mattermost.com/pubkey.gpg"] },
];

/// How pages are got.
pub(super) struct Reader {
    pub(super) client: Client,
    pub(super) patience: Patience,
}

/// The pages, and the day they are of.
pub(super) struct Pages {
    pub(super) found: Found,
    pub(super) as_of: Date,
}

/// Reads what Mattermost publishes.
///
/// # Errors
/// When a page without which nothing is known cannot be had, or says nothing that is understood.
pub(super) fn published(reader: &Reader) -> Result<Pages> {
    let mut found = Found::default();
    for subject in &SUBJECTS {
        match subject.read(reader) {
            Ok(page) => found.add(page),
            Err(error) if subject.needed => {
                return Err(error.hint("save the page with a browser and give it with --from FILE; or try again later"));
            }
            Err(error) => {
                signals::check()?;
                ui::warn(&format!("left out: {}", error.one_line()));
            }
        }
    }
    Ok(Pages { found, as_of: day(&time::now()) })
}

impl Subject {
    fn read(&self, reader: &Reader) -> Result<Found> {
        let mut last = None;
        for place in self.places {
            let address = if place.contains("://") { (*place).to_owned() } else { format!("{SOURCE}/{place}") };
            match reader.page(&address) {
                Ok(found) => return Ok(found),
                Err(error) => last = Some(error),
            }
            signals::check()?;
        }
        let error = last.unwrap_or_else(|| Error::failed("there is no address"));
        Err(error.within(format!("cannot read {}", self.name)))
    }
}

/// Reads the places that somebody has named: addresses, files, and directories of files.
///
/// # Errors
/// When one of them cannot be read, or says nothing that is understood.
pub(super) fn named(reader: &Reader, places: &[String]) -> Result<Pages> {
    let mut pages = Pages { found: Found::default(), as_of: day(&time::now()) };
    for place in places {
        if place.starts_with("http://") || place.starts_with("https://") {
            pages.found.add(reader.page(place)?);
            continue;
        }
        let path = Path::new(place);
        for file in files_of(path)? {
            signals::check()?;
            pages.found.add(understood(&file.display().to_string(), files::read(&file, MOST)?)?);
            // A page says nothing of what came after it was saved.
            if let Some(saved) = files::look(&file)?.and_then(|data| data.modified().ok()) {
                pages.as_of = pages.as_of.min(day(&time::at(saved.try_into().unwrap_or_default())));
            }
        }
    }
    Ok(pages)
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    let resolved = std::fs::canonicalize(path).map_err(|error| Error::io("find", path, error))?;
    if !resolved.is_dir() {
        return Ok(vec![resolved]);
    }
    let entries = std::fs::read_dir(&resolved).map_err(|error| Error::io("list", &resolved, error))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::io("list", &resolved, error))?.path();
        if path.is_file() {
            found.push(path);
        }
        if found.len() > MOST_FILES {
            let error = Error::refused(format!("`{}` holds more than {MOST_FILES} files", resolved.display()));
            return Err(error.hint("give a directory that holds nothing but the saved pages"));
        }
    }
    found.sort();
    Ok(found)
}

impl Reader {
    /// Gets a page and reads it. A failure that may pass is repeated after a pause.
    fn page(&self, address: &str) -> Result<Found> {
        let url =
            Url::parse(address).map_err(|error| Error::usage(format!("`{address}` is no address")).because(error))?;
        let mut failures = 0;
        loop {
            match self.attempt(&url) {
                Ok(bytes) => return understood(address, bytes),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing { error, wait }) => {
                    failures += 1;
                    if failures > self.patience.retries.min(MOST_RETRIES) {
                        return Err(error.because(format!("given up after {failures} attempts")));
                    }
                    self.patience.wait(failures, wait, &error, &signals::check)?;
                }
            }
        }
    }

    fn attempt(&self, url: &Url) -> Result<Vec<u8>, Failure> {
        let accepted = [("accept", "text/plain, text/html, application/json")];
        let answer = self.client.get_unless(url, &accepted, &signals::check)?;
        if matches!(answer.status, 403 | 429) && answer.header("x-ratelimit-remaining") == Some("0") {
            let error = Error::failed(format!("cannot get `{url}`"));
            let error =
                error.because("its limit of anonymous requests an hour is used up").hint("try again in an hour");
            return Err(Failure::Lasting(error));
        }
        if answer.status != 200 {
            return Err(self.patience.refusal(url, &answer));
        }
        Ok(answer.read_all(MOST)?)
    }
}

fn understood(name: &str, bytes: Vec<u8>) -> Result<Found> {
    let failed = || Error::failed(format!("`{name}` says nothing about releases"));
    // A keyring may be in binary.
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(binary) => crate::armor::armored(binary.as_bytes()).ok_or_else(|| failed().because("it is not text"))?,
    };
    let found = Found::in_page(&text).on(name);
    if found.is_empty() {
        return Err(failed().because(
            "no release, line, note or key was found in it; if it is one of Mattermost's pages, its form has changed",
        ));
    }
    Ok(found)
}
