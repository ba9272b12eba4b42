//! The release catalogue: which releases there are, what proves their tarballs, what they ask of the host, which
//! jumps between them are safe, and what Mattermost's upgrade notes say.
//!
//! It is data, not code: `common/catalogue/*.json`, compiled in. `catalogue.json` in the state directory lies over
//! it, and a file of the same shape (`--catalogue`) over both, so that a new Mattermost release needs no new release
//! of these tools.

mod age;
mod built;
mod condition;
mod edition;
mod line;
mod migration;
mod note;
mod overlay;
mod range;
mod release;
mod requirement;
mod rule;

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;
use semver::Version;
use serde::de::DeserializeOwned;

pub use age::{LONGEST, Origin, day};
pub use built::tools_version;
pub use condition::{Condition, Driver, Facts, Verdict};
pub use line::{Dotted, Line, LineInfo};
pub use migration::{MigrationCount, MigrationName, Migrations};
pub use note::{Note, Rate, Severity};
pub use overlay::{Overlay, Unread};
pub use range::Range;
pub use release::{Arch, Artefact, Release, Trust};
pub use requirement::Requirement;
pub use rule::{Level, Rule, RuleKind};

use crate::contract::error::{Error, Result};
use crate::contract::version::Edition;

/// The word that stands for the compiled-in catalogue alone, in place of a file.
pub const NONE: &str = "none";

/// Everything known about releases. Cheap to query, read once a run.
#[derive(Debug, Clone)]
pub struct Catalogue {
    releases: BTreeMap<Version, Release>,
    lines: BTreeMap<Line, LineInfo>,
    requirements: BTreeMap<Version, Requirement>,
    rules: Vec<Rule>,
    notes: Vec<Note>,
    rates: Vec<Rate>,
    editions: edition::Editions,
    migrations: Migrations,
    assumed: BTreeMap<Version, Line>,
    as_of: Date,
    origins: BTreeMap<Version, Origin>,
    unread: Option<Unread>,
    signing_key: Option<String>,
}

impl Catalogue {
    /// The catalogue compiled into the tools.
    ///
    /// Fails only when the compiled-in data is broken, which a test rules out.
    pub fn embedded() -> Result<Self> {
        let mut catalogue = Self {
            releases: BTreeMap::new(),
            lines: BTreeMap::new(),
            requirements: BTreeMap::new(),
            rules: Vec::new(),
            notes: Vec::new(),
            rates: Vec::new(),
            editions: part("editions.json", include_str!("../../../catalogue/editions.json"))?,
            migrations: part("migrations.json", include_str!("../../../catalogue/migrations.json"))?,
            assumed: BTreeMap::new(),
            as_of: part::<age::Meta>("meta.json", include_str!("../../../catalogue/meta.json"))?.as_of,
            origins: BTreeMap::new(),
            unread: None,
            signing_key: None,
        };
        catalogue.lay(Overlay {
            releases: part("releases.json", include_str!("../../../catalogue/releases.json"))?,
            lines: part("lines.json", include_str!("../../../catalogue/lines.json"))?,
            requirements: part("requirements.json", include_str!("../../../catalogue/requirements.json"))?,
            rules: part("rules.json", include_str!("../../../catalogue/rules.json"))?,
            notes: part("notes.json", include_str!("../../../catalogue/notes.json"))?,
            rates: part("rates.json", include_str!("../../../catalogue/rates.json"))?,
            ..Overlay::default()
        });
        Ok(catalogue)
    }

    /// The compiled-in catalogue with the records of `overlay` added or put in the place of those of the same key.
    /// Between the two lies what was refreshed on this machine, below the state directory `base`; `none` as the overlay
    /// leaves that out, too.
    ///
    /// Refuses (exit 5) an overlay that is no JSON of this shape or holds a digest, version or range that is none, and
    /// a refreshed catalogue that others could have written.
    pub fn load(overlay: Option<&Path>, base: Option<&Path>) -> Result<Self> {
        Self::load_with(overlay, base, Overlay::read)
    }

    /// As [`Catalogue::load`], for an overlay that a document names: a file that others could have written is refused,
    /// because its digests prove releases.
    pub fn load_recorded(overlay: Option<&Path>, base: Option<&Path>) -> Result<Self> {
        Self::load_with(overlay, base, Overlay::read_recorded)
    }

    fn load_with(
        overlay: Option<&Path>,
        base: Option<&Path>,
        read: impl FnOnce(&Path) -> Result<Overlay>,
    ) -> Result<Self> {
        let mut catalogue = Self::embedded()?;
        let none = overlay == Some(Path::new(NONE));
        if !none && let Some(refreshed) = age::refreshed(base)? {
            catalogue.merge_refreshed(refreshed);
        }
        if let Some(path) = overlay.filter(|_| !none) {
            catalogue.merge(read(path)?);
        }
        Ok(catalogue)
    }

    /// Adds the records of `overlay`, or puts them in the place of those of the same key.
    pub fn merge(&mut self, mut overlay: Overlay) {
        self.origins.extend(overlay.releases.iter().map(|release| (release.version.clone(), Origin::File)));
        if let Some(as_of) = overlay.as_of {
            self.as_of = self.as_of.max(as_of);
        }
        // What a bundle brings from a machine that has read both.
        self.unread = overlay.unread_notes.take().or(self.unread.take());
        self.signing_key = overlay.signing_key.take().or(self.signing_key.take());
        self.lay(overlay);
    }

    fn lay(&mut self, overlay: Overlay) {
        self.releases.extend(overlay.releases.into_iter().map(|release| (release.version.clone(), release)));
        self.lines.extend(overlay.lines.into_iter().map(|line| (line.line, line)));
        self.requirements.extend(overlay.requirements.into_iter().map(|entry| (entry.from.clone(), entry)));
        replace(&mut self.rules, overlay.rules, |rule| &rule.id);
        replace(&mut self.notes, overlay.notes, |note| &note.id);
        self.notes.sort_by(|a, b| a.version.cmp(&b.version).then_with(|| a.id.cmp(&b.id)));
        replace(&mut self.rates, overlay.rates, |rate| &rate.id);
        if let Some(migrations) = overlay.migrations {
            self.migrations.extend(migrations);
        }
    }

    /// All releases, oldest first.
    pub fn releases(&self) -> impl DoubleEndedIterator<Item = &Release> {
        self.releases.values()
    }

    /// The record of one release.
    pub fn release(&self, version: &Version) -> Option<&Release> {
        self.releases.get(version)
    }

    /// The releases of one line (`5.37`), oldest first.
    pub fn releases_of(&self, line: Line) -> impl DoubleEndedIterator<Item = &Release> {
        self.releases.range(line.first()..line.next()).map(|(_, release)| release)
    }

    /// The tarball of a release: where it is published and what proves it.
    pub fn artefact(&self, version: &Version, edition: Edition, arch: Arch) -> Option<Artefact<'_>> {
        self.release(version)?.artefact(edition, arch)
    }

    /// Whether a release is known to be in the archive for this edition and processor: for x86-64 its digest was
    /// published, or it was announced and its signature proves it; for ARM, of which Mattermost publishes no digests, it is one of those built since the first such
    /// tarball was seen.
    pub fn is_offered(&self, version: &Version, edition: Edition, arch: Arch) -> bool {
        let usual = self.artefact(version, edition, Arch::Amd64).is_some_and(|artefact| artefact.is_released());
        match arch {
            Arch::Amd64 => usual,
            Arch::Arm64 => {
                usual && self.releases.values().find(|r| r.has_arm64()).is_some_and(|r| r.version <= *version)
            }
        }
    }

    /// Whether the line is an extended support release.
    pub fn is_esr(&self, line: Line) -> bool {
        self.lines.get(&line).is_some_and(|info| info.esr)
    }

    /// What is known of a line.
    pub fn line(&self, line: Line) -> Option<&LineInfo> {
        self.lines.get(&line)
    }

    /// What a release asks of the database and the host: the last record that begins at or before it.
    pub fn requirement(&self, version: &Version) -> Option<&Requirement> {
        self.requirements.range(..=version).next_back().map(|(_, entry)| entry)
    }

    /// The rules about jumps and releases.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The upgrade notes that begin to matter after `from` and at `to` at the latest, oldest first.
    ///
    /// A note about a migration that was carried back into a dot release is left out when `to` is of another line:
    /// the note of the feature release says the same.
    pub fn notes_between<'a>(&'a self, from: &'a Version, to: &'a Version) -> impl Iterator<Item = &'a Note> {
        self.notes.iter().filter(move |note| {
            let carried_back = note.migration && note.version.patch > 0 && Line::of(&note.version) != Line::of(to);
            *from < note.version && note.version <= *to && !carried_back
        })
    }

    /// The documented rates of the migrations that take time, after `from` and up to `to`.
    pub fn rates_between<'a>(&'a self, from: &'a Version, to: &'a Version) -> impl Iterator<Item = &'a Rate> {
        self.rates.iter().filter(move |rate| *from < rate.version && rate.version <= *to)
    }

    /// What it means for a server on its way to `target` to become this edition.
    pub fn notes_of_edition<'a>(&'a self, becomes: Edition, target: &'a Version) -> impl Iterator<Item = &'a Note> {
        self.editions.notes(becomes, target)
    }

    /// What is known of the schema migrations.
    pub fn migrations(&self) -> &Migrations {
        &self.migrations
    }

    /// Adds a release that the catalogue does not know, taken to ask what the line `like` asks.
    ///
    /// It gets the usual addresses and no digest. Refuses (exit 5) a line without a known requirement.
    pub fn assume(&mut self, version: &Version, like: Line) -> Result<()> {
        let known = self.releases_of(like).next_back().map(|release| release.version.clone());
        let requirement = known.as_ref().and_then(|newest| self.requirement(newest)).cloned();
        let Some(mut requirement) = requirement else {
            return Err(Error::refused(format!(
                "cannot take {version} to be like {like}: the catalogue knows no release of {like}"
            ))
            .with_hint("name a line that the catalogue knows, for example --assume-like 11.7"));
        };
        requirement.from = version.clone();
        self.requirements.insert(version.clone(), requirement);
        self.assumed.insert(version.clone(), like);
        self.releases.entry(version.clone()).or_insert_with(|| Release::unproven(version.clone()));
        Ok(())
    }

    /// The line that a release is only assumed to be like.
    pub fn assumed_like(&self, version: &Version) -> Option<Line> {
        self.assumed.get(version).copied()
    }
}

fn replace<T>(records: &mut Vec<T>, newer: Vec<T>, id: impl Fn(&T) -> &str) {
    for record in newer {
        match records.iter_mut().find(|known| id(known) == id(&record)) {
            Some(known) => *known = record,
            None => records.push(record),
        }
    }
}

fn part<T: DeserializeOwned>(name: &str, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|cause| Error::failed(format!("the built-in {name} does not read")).because(cause))
}

#[cfg(test)]
mod tests;
