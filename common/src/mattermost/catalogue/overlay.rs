//! Records that a user adds to the catalogue.

use std::path::Path;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::line::LineInfo;
use super::migration::Migrations;
use super::note::{Note, Rate};
use super::release::Release;
use super::requirement::Requirement;
use super::rule::Rule;
use crate::contract::error::{Error, Kind, Result};
use crate::contract::shell;
use crate::machine::trust;

/// More rules than this in one file are a mistake, and more than the planner's bit sets hold.
const MOST_RULES: usize = 100;

/// Larger than any catalogue.
const MOST: u64 = 64 * 1024 * 1024;

/// The upgrade notes that the published page has and the catalogue has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unread {
    /// How many releases have such notes.
    pub count: usize,
    /// Where they stand.
    pub link: String,
}

/// A file of the shape of the catalogue. Every part may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overlay {
    /// The day its data was read (`2026-11-28`).
    pub as_of: Option<Date>,
    /// Upgrade notes that nobody has put into the catalogue yet.
    pub unread_notes: Option<Unread>,
    /// Mattermost's signing key as it was published on that day, in ASCII armor.
    pub signing_key: Option<String>,
    /// Releases, by version.
    pub releases: Vec<Release>,
    /// Lines, by name.
    pub lines: Vec<LineInfo>,
    /// Requirements, by the version they begin with.
    pub requirements: Vec<Requirement>,
    /// Rules, by id.
    pub rules: Vec<Rule>,
    /// Notes, by id.
    pub notes: Vec<Note>,
    /// Rates, by id.
    pub rates: Vec<Rate>,
    /// Schema migrations, by first release and by number.
    pub migrations: Option<Migrations>,
}

impl Overlay {
    /// Reads an overlay. Refuses (exit 5) a file that cannot be read, is not JSON of this shape, or holds a record
    /// that cannot be right.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|cause| {
            Error::refused(format!("cannot read the catalogue {}", path.display()))
                .because(cause)
                .with_hint("--catalogue takes a JSON file, of the shape of the built-in one; newer releases come by themselves with: mm-fetch refresh")
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// As [`Overlay::read`], of a file that a document names. Refuses (exit 5) one that others could have written.
    pub fn read_recorded(path: &Path) -> Result<Self> {
        let text = trust::read_text(path, MOST).map_err(|error| {
            error
                .within(format!("cannot use the catalogue {} that the document names", path.display()))
                .of_kind(Kind::Refused)
                .hint(format!("if it is yours, name it yourself: --catalogue {}", shell::word(path)))
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// As [`Overlay::read`], of a text; `name` is where it comes from, for messages.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        // A list would be read as a record without names.
        let parsed = if text.trim_start().starts_with('[') { Err("it is a list".to_owned()) } else { Ok(()) };
        let parsed = parsed.and_then(|()| serde_json::from_str::<Self>(text).map_err(|cause| cause.to_string()));
        let overlay = parsed.map_err(|cause| {
            Error::refused(format!("{name} is not a catalogue"))
                .because(cause)
                .with_hint("a catalogue is one JSON object with `releases`, `lines`, `requirements`, `rules`, `notes`, `rates` or `migrations`")
        })?;
        let too_many = format!("it holds {} rules, and {MOST_RULES} are the most", overlay.rules.len());
        let too_many = (overlay.rules.len() > MOST_RULES).then_some(too_many);
        match overlay.releases.iter().find_map(Release::fault).or(too_many) {
            Some(fault) => Err(Error::refused(format!("{name} is not usable: {fault}"))
                .with_hint("correct the record, or leave it out")),
            None => Ok(overlay),
        }
    }
}
