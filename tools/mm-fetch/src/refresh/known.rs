//! What the pages say, against what is known. Pure. Pages may add; what they contradict is told, and nothing is written
//! then unless somebody accepts it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Catalogue, Line, Release, Trust, day};
use semver::Version;
use serde_json::{Map, Value, json};

use super::page::{Found, Tarball};

/// A published day that moves back by more than this, in days, is no correction.
const MOVED: i32 = 366;

/// A page with fewer releases of the archive than this is a part of it, which proves nothing about those it has not.
const WHOLE: usize = 40;

/// Something that a page says and that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contradiction {
    /// What `--accept` calls it.
    pub(super) kind: &'static str,
    pub(super) what: String,
}

/// What there is to write, and to say.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Releases, as the catalogue writes them down, in place of those that are known.
    pub(super) releases: BTreeMap<Version, Value>,
    /// Lines in the same form.
    pub(super) lines: BTreeMap<Line, Value>,
    pub(super) contradictions: Vec<Contradiction>,
    /// What was not taken, and why.
    pub(super) left_out: Vec<String>,
    /// New releases.
    pub(super) added: BTreeSet<Version>,
    /// Known releases of which a digest is known now.
    pub(super) proven: BTreeSet<Version>,
    /// Releases that have upgrade notes and are newer than the newest note of the catalogue.
    pub(super) unread: usize,
}

struct Comparison<'a> {
    catalogue: &'a Catalogue,
    newest: &'a Version,
    news: News,
}

/// Compares what was found with what is known.
pub(super) fn news(catalogue: &Catalogue, found: &Found) -> News {
    let nothing = Version::new(0, 0, 0);
    let newest = catalogue.releases().next_back().map_or(&nothing, |release| &release.version);
    let mut comparison = Comparison { catalogue, newest, news: News::default() };
    let shared = shared(&found.tarballs);
    let (published, others): (Vec<&Tarball>, Vec<&Tarball>) = found.tarballs.iter().partition(|one| one.is_published);
    // What somebody else says counts only where Mattermost says nothing.
    for tarball in published.iter().chain(&others) {
        comparison.tarball(tarball, &shared);
    }
    comparison.gone(&published);
    for row in &found.rows {
        comparison.line(row.line, row.end_of_support, row.esr);
        if let Some(version) = &row.newest {
            comparison.release(version, None);
        }
        if row.released.is_some() {
            comparison.date(&row.line.first(), row.released);
        }
    }
    for tag in &found.tags {
        comparison.release(&tag.version, tag.released);
    }
    let mut news = comparison.news;
    let noted = catalogue.notes_between(&nothing, newest).map(|note| &note.version).max();
    news.unread = found.notes.iter().filter(|version| noted.is_none_or(|noted| *version > noted)).count();
    news
}

/// Digests that the pages give to two tarballs: one of the two is wrong.
fn shared(tarballs: &[Tarball]) -> BTreeSet<&str> {
    let mut owners: BTreeMap<&str, BTreeSet<(&Version, bool, &str)>> = BTreeMap::new();
    for one in tarballs {
        if let Some(digest) = &one.sha256 {
            owners.entry(digest).or_default().insert((&one.version, one.edition == Edition::Team, one.arch.name()));
        }
    }
    owners.into_iter().filter(|(_, owners)| owners.len() > 1).map(|(digest, _)| digest).collect()
}

impl Comparison<'_> {
    fn contradiction(&mut self, kind: &'static str, what: String) {
        self.news.contradictions.push(Contradiction { kind, what });
    }

    /// Whether a version can be one of Mattermost's: a page must not make a plan lead anywhere.
    fn is_possible(&mut self, version: &Version) -> bool {
        let possible = version.major <= self.newest.major + 1 && version.minor < 100 && version.patch < 1000;
        if !possible {
            self.news.left_out.push(format!("{version} cannot be a release that follows {}", self.newest));
        }
        possible
    }

    /// The record of a release, as it will be written; a new one is made when there is none.
    fn record(&mut self, version: &Version) -> &mut Value {
        let known = self.catalogue.release(version).and_then(|release| serde_json::to_value(release).ok());
        if known.is_none() {
            self.news.added.insert(version.clone());
        }
        let new = || json!({"version": version});
        self.news.releases.entry(version.clone()).or_insert_with(|| known.unwrap_or_else(new))
    }

    fn tarball(&mut self, tarball: &Tarball, shared: &BTreeSet<&str>) {
        let Tarball { version, edition, arch, sha256, is_published, page } = tarball;
        if !self.is_possible(version) {
            return;
        }
        let Some(digest) = sha256 else { return self.release(version, None) };
        let known = self.catalogue.artefact(version, *edition, *arch);
        if let Some(known) = &known
            && known.sha256.contains(digest)
            && (matches!(known.trust, Trust::Published | Trust::Suspect) || !is_published)
        {
            return;
        }
        if shared.contains(digest.as_str()) {
            let what = format!("{edition} {version} has the digest of another release on that page: it is not taken");
            return self.news.left_out.push(what);
        }
        if let Some(known) = &known
            && matches!(known.trust, Trust::Published | Trust::ThirdParty)
            && !known.sha256.contains(digest)
        {
            let what = format!(
                "the digest of {edition} {version} ({}) was {} and is {digest}",
                arch.name(),
                known.sha256.join(" or ")
            );
            self.contradiction("digest-changed", what);
        }
        let of_edition = if *edition == Edition::Team { "team" } else { "enterprise" };
        if !is_published {
            match self.takes_third_party(tarball, of_edition) {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => {
                    self.release(version, None);
                    let what = format!("the digest of {edition} {version} ({}) in {page}: {why}", arch.name());
                    return self.news.left_out.push(what);
                }
            }
        }
        let is_new = self.catalogue.release(version).is_none();
        let record = self.record(version);
        let mut proven = json!({"sha256": [digest]});
        if !is_published {
            proven["status"] = json!("third-party");
            proven["source"] = json!(page);
        }
        match arch {
            Arch::Amd64 => {
                if let Some(arm64) = record[of_edition].get("arm64") {
                    proven["arm64"] = arm64.clone();
                }
                record[of_edition] = proven;
            }
            Arch::Arm64 => {
                if record[of_edition].is_null() {
                    record[of_edition] = json!({"status": "signed"});
                }
                record[of_edition]["arm64"] = proven;
            }
        }
        if !is_new {
            self.news.proven.insert(version.clone());
        }
    }

    /// Whether the digest that somebody else computed is news. Mattermost publishes those for x86-64 itself, and until it
    /// does, its signature is the better proof.
    fn takes_third_party(&self, tarball: &Tarball, of_edition: &str) -> Result<bool, &'static str> {
        let read = self.news.releases.get(&tarball.version).and_then(|record| match tarball.arch {
            Arch::Amd64 => record[of_edition].get("sha256"),
            Arch::Arm64 => record[of_edition]["arm64"].get("sha256"),
        });
        let is_same = read
            .and_then(Value::as_array)
            .map(|read| read.iter().any(|digest| digest.as_str() == tarball.sha256.as_deref()));
        match (is_same, tarball.arch) {
            (Some(true), _) => Ok(false),
            (Some(false), _) => Err("another page has another one"),
            (None, Arch::Amd64) => Err("only Mattermost's own is taken, or its signature"),
            (None, Arch::Arm64) => Ok(true),
        }
    }

    /// A release that is there, whatever proves it.
    fn release(&mut self, version: &Version, released: Option<Date>) {
        if self.catalogue.release(version).is_none() {
            if !self.is_possible(version) {
                return;
            }
            let record = self.record(version);
            for edition in ["team", "enterprise"] {
                if record[edition].is_null() {
                    record[edition] = json!({"status": "signed"});
                }
            }
        }
        self.date(version, released);
    }

    fn date(&mut self, version: &Version, released: Option<Date>) {
        let Some(released) = released else { return };
        let known = self.catalogue.release(version).map(|release| release.released.clone());
        match known {
            None if !self.news.releases.contains_key(version) => {}
            None | Some(None) => self.record(version)["released"] = json!(released),
            Some(Some(known)) if moved_back(&known, released) => {
                self.contradiction("date-moved", format!("{version} was released on {known} and now on {released}"));
                self.record(version)["released"] = json!(released);
            }
            Some(Some(_)) => {}
        }
    }

    fn line(&mut self, line: Line, end_of_support: Option<Date>, esr: bool) {
        if !self.is_possible(&line.first()) {
            return;
        }
        let info = self.catalogue.line(line).cloned();
        let (known, was_esr) = info.map_or((None, false), |info| (info.end_of_support, info.esr));
        let (end, esr) = (end_of_support.map(|date| date.to_string()), esr || was_esr);
        if let (Some(known), Some(new)) = (&known, end_of_support)
            && moved_back(known, new)
        {
            self.contradiction("date-moved", format!("the support of {line} ended on {known} and now on {new}"));
        }
        let end = end.or_else(|| known.clone());
        if end != known || esr != was_esr {
            let mut record = Map::from_iter([("line".to_owned(), json!(line))]);
            if esr {
                record.insert("esr".into(), json!(true));
            }
            if let Some(end) = end {
                record.insert("end_of_support".into(), json!(end));
            }
            self.news.lines.insert(line, Value::Object(record));
        }
    }

    /// Releases that the archive had, and that a page of it has not any more. It lists the newest dot release of recent lines
    /// only, and lags behind: what counts is that a line goes back, or is missing between others.
    fn gone(&mut self, tarballs: &[&Tarball]) {
        let listed: BTreeSet<Version> = tarballs.iter().map(|tarball| tarball.version.clone()).collect();
        let (Some(first), Some(last)) = (listed.first(), listed.last()) else { return };
        let is_whole = listed.len() >= WHOLE;
        let published = |release: &&Release| {
            [Edition::Team, Edition::Enterprise].into_iter().any(|edition| {
                release.artefact(edition, Arch::Amd64).is_some_and(|tarball| tarball.trust == Trust::Published)
            })
        };
        let mut gone = Vec::new();
        let mut known: BTreeMap<Line, &Version> = BTreeMap::new();
        for release in self.catalogue.releases().filter(published) {
            known.insert(Line::of(&release.version), &release.version);
        }
        for (line, newest) in known {
            let of_line = listed.range(line.first()..line.next()).next_back();
            match of_line {
                Some(of_line) if of_line < newest => {
                    gone.push(format!("{newest}: the page ends that line with {of_line}"));
                }
                None if is_whole && first < newest && newest < last => {
                    gone.push(format!("{newest}: the page has no {line}"));
                }
                _ => {}
            }
        }
        for what in gone {
            self.contradiction("release-gone", what);
        }
    }
}

fn moved_back(known: &str, now: Date) -> bool {
    now.until(day(known)).is_ok_and(|span| span.get_days() > MOVED)
}

#[cfg(test)]
mod tests;
