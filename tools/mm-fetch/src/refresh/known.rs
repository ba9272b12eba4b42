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
mod tests {
    use super::*;
    use crate::refresh::page::{Row, Tag};

    fn tarball(version: &str, edition: Edition, digit: char) -> Tarball {
        let sha256 = Some(digit.to_string().repeat(64));
        Tarball {
            version: version.parse().unwrap(),
            edition,
            arch: Arch::Amd64,
            sha256,
            is_published: true,
            page: String::new(),
        }
    }

    fn of(found: &Found) -> News {
        news(&Catalogue::embedded().unwrap(), found)
    }

    fn kinds(news: &News) -> Vec<&str> {
        news.contradictions.iter().map(|one| one.kind).collect()
    }

    #[test]
    fn a_new_release_is_added_with_what_proves_it() {
        let tarballs = vec![tarball("12.99.0", Edition::Team, 'a'), tarball("12.99.0", Edition::Enterprise, 'b')];
        let tags = vec![Tag { version: Version::new(12, 98, 1), released: "2026-12-01".parse().ok() }];
        let news = of(&Found { tarballs, tags, ..Found::default() });
        assert_eq!((news.contradictions.len(), news.left_out.len(), news.added.len()), (0, 0, 2));
        let record = |version: &str| {
            serde_json::from_value::<Release>(news.releases[&version.parse().unwrap()].clone()).unwrap()
        };
        assert!(record("12.99.0").artefact(Edition::Enterprise, Arch::Amd64).unwrap().is_proven());
        let tagged = record("12.98.1");
        assert_eq!(tagged.artefact(Edition::Team, Arch::Amd64).unwrap().trust, Trust::Signed);
        assert_eq!(tagged.released.as_deref(), Some("2026-12-01"));
    }

    #[test]
    fn a_digest_for_a_release_that_only_its_signature_proved_is_taken_and_the_rest_of_it_kept() {
        let catalogue = Catalogue::embedded().unwrap();
        let signed = |release: &&Release| {
            release.artefact(Edition::Team, Arch::Amd64).is_some_and(|one| one.trust == Trust::Signed)
        };
        let version = catalogue.releases().find(signed).unwrap().version.to_string();
        let news = of(&Found { tarballs: vec![tarball(&version, Edition::Team, 'a')], ..Found::default() });
        assert_eq!((kinds(&news), news.proven.len(), news.added.len()), (vec![], 1, 0));
        let record = &news.releases[&version.parse().unwrap()];
        assert_eq!(record["enterprise"]["status"], "signed");
        assert_eq!(
            record["released"].as_str(),
            catalogue.release(&version.parse().unwrap()).unwrap().released.as_deref()
        );
    }

    #[test]
    fn what_packagers_have_computed_counts_for_arm64_alone_and_is_named() {
        let by = |version: &str, arch: Arch, digit: char| Tarball {
            arch,
            is_published: false,
            page: "manifest.toml".into(),
            ..tarball(version, Edition::Team, digit)
        };
        let amd64 = tarball("12.99.0", Edition::Team, 'a');
        let both = vec![by("12.99.0", Arch::Amd64, 'a'), by("12.99.0", Arch::Arm64, 'b'), amd64.clone()];
        let news = of(&Found { tarballs: both, ..Found::default() });
        let release: Release = serde_json::from_value(news.releases[&Version::new(12, 99, 0)].clone()).unwrap();
        let arm64 = release.artefact(Edition::Team, Arch::Arm64).unwrap();
        assert_eq!((arm64.trust, arm64.source), (Trust::ThirdParty, Some("manifest.toml")));
        assert_eq!(release.artefact(Edition::Team, Arch::Amd64).unwrap().trust, Trust::Published);
        assert_eq!((news.left_out.len(), kinds(&news)), (0, vec![]), "{:?}", news.left_out);

        // It does not show that a line has ended with the release it is of, and what differs from the published is told.
        let old = of(&Found { tarballs: vec![by("10.5.1", Arch::Arm64, 'c')], ..Found::default() });
        assert!(!kinds(&old).contains(&"release-gone"), "{:?}", old.contradictions);
        let differs = of(&Found { tarballs: vec![by("10.6.1", Arch::Arm64, 'c')], ..Found::default() });
        assert_eq!(kinds(&differs), ["digest-changed"]);
        let alone = of(&Found { tarballs: vec![by("12.99.0", Arch::Amd64, 'a')], ..Found::default() });
        assert_eq!(alone.releases[&Version::new(12, 99, 0)]["team"], json!({"status": "signed"}));
        assert_eq!(alone.left_out.len(), 1);
        let two = vec![by("12.99.0", Arch::Arm64, 'a'), by("12.99.0", Arch::Arm64, 'b')];
        assert_eq!(of(&Found { tarballs: two, ..Found::default() }).left_out.len(), 1);
    }

    #[test]
    fn what_contradicts_the_catalogue_is_told() {
        let changed = of(&Found { tarballs: vec![tarball("10.5.7", Edition::Team, 'a')], ..Found::default() });
        assert_eq!(kinds(&changed)[0], "digest-changed");
        let back = of(&Found {
            tarballs: vec![Tarball { sha256: None, ..tarball("9.11.1", Edition::Team, 'a') }],
            ..Found::default()
        });
        assert_eq!(kinds(&back), ["release-gone"]);
        let row = |line: &str, end: &str| Row {
            line: line.parse().unwrap(),
            released: None,
            end_of_support: end.parse().ok(),
            esr: false,
            newest: None,
        };
        assert_eq!(kinds(&of(&Found { rows: vec![row("10.11", "2021-08-15")], ..Found::default() })), ["date-moved"]);
        let moved = of(&Found { rows: vec![row("10.11", "2027-08-15")], ..Found::default() });
        assert_eq!((kinds(&moved), moved.lines.len()), (vec![], 1));
        assert_eq!(moved.lines[&"10.11".parse().unwrap()]["esr"], true, "a row cannot take it away");
        let tags = vec![Tag { version: Version::new(10, 6, 1), released: "2015-01-01".parse().ok() }];
        assert_eq!(kinds(&of(&Found { tags, ..Found::default() })), ["date-moved"]);
    }

    #[test]
    fn what_cannot_be_is_left_out() {
        let tarballs = vec![
            tarball("99.0.0", Edition::Team, 'a'),
            tarball("12.98.0", Edition::Team, 'b'),
            tarball("12.99.0", Edition::Team, 'b'),
        ];
        let news = of(&Found { tarballs, ..Found::default() });
        assert_eq!((news.left_out.len(), news.releases.len()), (3, 0), "{:?}", news.left_out);
    }

    #[test]
    fn notes_are_unread_beyond_the_newest_that_is_known() {
        let notes = ["5.4.0", "12.98.0", "12.99.0"].map(|version| version.parse().unwrap()).into();
        assert_eq!(of(&Found { notes, ..Found::default() }).unread, 2);
    }

    #[test]
    fn nothing_new_is_nothing_to_write() {
        let catalogue = Catalogue::embedded().unwrap();
        let tags =
            catalogue.releases().map(|release| Tag { version: release.version.clone(), released: None }).collect();
        let news = of(&Found { tags, ..Found::default() });
        assert!(news.releases.is_empty() && news.lines.is_empty() && news.contradictions.is_empty());
    }
}
