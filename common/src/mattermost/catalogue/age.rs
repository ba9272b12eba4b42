//! How old the catalogue is, where its data came from, and the copy that this machine keeps.

use std::path::Path;

use jiff::civil::Date;
use semver::Version;
use serde::Deserialize;

use super::{Catalogue, Line, Overlay, Unread};
use crate::contract::error::{Error, Result};
use crate::machine::{files, state, trust};

/// Days after which releases are missing for certain: Mattermost publishes every month, dot releases more often.
pub const LONGEST: i32 = 45;

/// Larger than the whole catalogue with every page it is made of.
const MOST: u64 = 16 * 1024 * 1024;

/// `meta.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Meta {
    pub(super) as_of: Date,
}

/// Where the record of a release came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is compiled in.
    BuiltIn,
    /// It stands in `catalogue.json` of the state directory.
    Refreshed,
    /// It stands in the file given with `--catalogue`.
    File,
}

impl Origin {
    /// As documents name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built in",
            Self::Refreshed => "refreshed",
            Self::File => "file",
        }
    }
}

impl Catalogue {
    /// The day on which its newest data was read.
    pub fn as_of(&self) -> Date {
        self.as_of
    }

    /// Days between that day and `today`; none when it lies in the future.
    pub fn age(&self, today: Date) -> i32 {
        self.as_of.until(today).map_or(0, |span| span.get_days()).max(0)
    }

    /// Where the record of a release came from.
    pub fn origin(&self, version: &Version) -> Origin {
        self.origins.get(version).copied().unwrap_or(Origin::BuiltIn)
    }

    /// The upgrade notes that were published and are not in the catalogue.
    pub fn unread_notes(&self) -> Option<&Unread> {
        self.unread.as_ref()
    }

    /// Mattermost's signing key as it was published when the catalogue was refreshed, in ASCII armor.
    pub fn signing_key(&self) -> Option<&str> {
        self.signing_key.as_deref()
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = Line> {
        self.lines.keys().copied()
    }

    /// Lays what was refreshed over the compiled-in catalogue. Where that is the newer one, only what it lacks is added.
    pub fn merge_refreshed(&mut self, mut refreshed: Overlay) {
        let as_of = refreshed.as_of.unwrap_or(self.as_of);
        if as_of < self.as_of {
            refreshed.releases.retain(|release| !self.releases.contains_key(&release.version));
            refreshed.lines.retain(|line| !self.lines.contains_key(&line.line));
        } else {
            // They were counted against the notes of that time.
            self.unread = refreshed.unread_notes.take();
        }
        for release in &mut refreshed.releases {
            if let Some(known) = self.releases.get(&release.version) {
                release.keep_proofs_of(known);
            }
        }
        self.as_of = self.as_of.max(as_of);
        self.signing_key = refreshed.signing_key.take();
        self.origins.extend(refreshed.releases.iter().map(|release| (release.version.clone(), Origin::Refreshed)));
        // Pages say nothing that a machine could make rules, requirements or notes of.
        let (releases, lines) = (refreshed.releases, refreshed.lines);
        self.lay(Overlay { releases, lines, ..Overlay::default() });
    }
}

/// What stands below the state directory, if anything.
pub(super) fn refreshed(base: Option<&Path>) -> Result<Option<Overlay>> {
    let Some(path) = state::catalogue(base) else { return Ok(None) };
    let Some(data) = files::look(&path)? else { return Ok(None) };
    let refused = |why: String| {
        Error::refused(format!("the refreshed catalogue {} is not used", path.display()))
            .because(why)
            .with_hint("put it right or remove it; or leave it out: --catalogue none")
    };
    if !data.is_file() {
        return Err(refused("it is not a regular file".into()));
    }
    if let Some(why) = trust::fault(&data) {
        return Err(refused(why));
    }
    let text = files::read_text(&path, MOST)?;
    Overlay::parse(&path.display().to_string(), &text).map(Some).map_err(|error| refused(error.one_line()))
}

/// The day that a text of the form `2026-11-29T03:00:00Z` names.
pub fn day(time: &str) -> Date {
    time.get(..10).and_then(|day| day.parse().ok()).unwrap_or(Date::ZERO)
}
