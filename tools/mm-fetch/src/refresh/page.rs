//! What a page says about releases. Pure. A page is text: nothing of it is run, and what does not look as expected is not
//! seen. Every page is read in every way, so that nobody has to say which one it is.

use std::collections::BTreeSet;

use jiff::civil::Date;
use mm_common::contract::digest;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Line};
use semver::Version;
use serde_json::Value;

/// Where every tarball is published; a page that names another place names no tarball.
const PUBLISHED: &str = "https://releases.mattermost.com/";

/// So far behind its label, in bytes, can a digest be: markup stands between them.
const REACH: usize = 120;

/// A tarball of the version archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tarball {
    pub(super) version: Version,
    pub(super) edition: Edition,
    pub(super) arch: Arch,
    /// Its digest; older entries have none.
    pub(super) sha256: Option<String>,
    /// Whether the digest stands there as Mattermost writes its own: behind `SHA-256 Checksum`. Packagers write
    /// `sha256 = "..."`.
    pub(super) is_published: bool,
    /// The page it stands on.
    pub(super) page: String,
}

/// A row of the table of server releases: one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) line: Line,
    /// The day of its first release.
    pub(super) released: Option<Date>,
    pub(super) end_of_support: Option<Date>,
    pub(super) esr: bool,
    /// Its newest dot release.
    pub(super) newest: Option<Version>,
}

/// A release of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) version: Version,
    pub(super) released: Option<Date>,
}

/// All that was found in one page or in several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) tarballs: Vec<Tarball>,
    pub(super) rows: Vec<Row>,
    pub(super) tags: Vec<Tag>,
    /// Releases that the page of upgrade notes has notes for.
    pub(super) notes: BTreeSet<Version>,
    /// Public keys in ASCII armor.
    pub(super) keys: Vec<String>,
}

impl Found {
    /// Reads a page in whatever form it is in: Markdown, reStructuredText, HTML or JSON.
    pub(super) fn in_page(text: &str) -> Self {
        if text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
            return Self { keys: vec![text.trim().to_owned() + "\n"], ..Self::default() };
        }
        if text.trim_start().starts_with(['[', '{']) {
            return Self { tags: tags(text), ..Self::default() };
        }
        let text = plain(text);
        let notes =
            if text.to_ascii_lowercase().contains("important upgrade notes") { noted(&text) } else { BTreeSet::new() };
        Self { tarballs: tarballs(&text), rows: rows(&text), notes, ..Self::default() }
    }

    /// Whether the page says nothing that is understood.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it says which releases there are.
    pub(super) fn names_releases(&self) -> bool {
        !(self.tarballs.is_empty() && self.rows.is_empty() && self.tags.is_empty())
    }

    /// The same, with the name of the page for what has to say where it is from.
    #[must_use]
    pub(super) fn on(mut self, page: &str) -> Self {
        for tarball in &mut self.tarballs {
            page.clone_into(&mut tarball.page);
        }
        self
    }

    /// Adds what another page says.
    pub(super) fn add(&mut self, other: Self) {
        self.tarballs.extend(other.tarballs);
        self.rows.extend(other.rows);
        self.tags.extend(other.tags);
        self.notes.extend(other.notes);
        self.keys.extend(other.keys);
    }
}

/// The text of a page without HTML: a cell ends with a bar, a row is a line, and an address that stands in an attribute only
/// is kept.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        plain.push_str(before);
        let Some((inside, after)) = tag.split_once('>') else {
            rest = tag;
            break;
        };
        let name =
            inside.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        match (name.to_ascii_lowercase().as_str(), inside.starts_with('/')) {
            ("tr", false) => plain.push_str("\n| "),
            ("td" | "th", true) => plain.push_str(" | "),
            ("li" | "p" | "br" | "h1" | "h2" | "h3" | "h4", _) => plain.push('\n'),
            ("a", false) => {
                if let Some(address) = inside.split("href=\"").nth(1).and_then(|rest| rest.split('"').next()) {
                    plain.extend([" ", address, " "]);
                }
            }
            // What is no tag of HTML is an address in angle brackets, or a comparison.
            _ if inside.contains("://") => plain.extend([" ", inside, " "]),
            _ => plain.push(' '),
        }
        rest = after;
    }
    plain.push_str(rest);
    for (entity, character) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
    {
        plain = plain.replace(entity, character);
    }
    plain
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// A version of three numbers at the beginning of a text, and what follows it.
fn version(text: &str) -> Option<(Version, &str)> {
    let (major, rest) = number(text)?;
    let (minor, rest) = number(rest.strip_prefix('.')?)?;
    let (patch, rest) = number(rest.strip_prefix('.')?)?;
    Some((Version::new(major, minor, patch), rest))
}

/// The tarball that an address behind [`PUBLISHED`] names, and what follows the address.
fn address(text: &str) -> Option<(Version, Edition, Arch, &str)> {
    let (folder, rest) = version(text)?;
    let rest = rest.strip_prefix("/mattermost-")?;
    let (edition, rest) = match rest.strip_prefix("team-") {
        Some(rest) => (Edition::Team, rest),
        None => (Edition::Enterprise, rest.strip_prefix("enterprise-").unwrap_or(rest)),
    };
    let (named, rest) = version(rest)?;
    let rest = rest.strip_prefix("-linux-")?;
    let (arch, rest) = match rest.strip_prefix("amd64.tar.gz") {
        Some(rest) => (Arch::Amd64, rest),
        None => (Arch::Arm64, rest.strip_prefix("arm64.tar.gz")?),
    };
    (folder == named && !rest.starts_with(".sig")).then_some((named, edition, arch, rest))
}

/// The entries of the version archive: from the address of a tarball to that of the next one.
fn tarballs(text: &str) -> Vec<Tarball> {
    let mut found: Vec<Tarball> = Vec::new();
    for piece in text.split(PUBLISHED).skip(1) {
        // The address of a signature or of a list of contents belongs to the entry before it.
        let (entry, rest) = match address(piece) {
            Some((version, edition, arch, rest)) => {
                let entry = Tarball { version, edition, arch, sha256: None, is_published: true, page: String::new() };
                let is_next = found.last().is_none_or(|last| {
                    (&last.version, last.edition, last.arch) != (&entry.version, entry.edition, entry.arch)
                });
                (is_next.then_some(entry), rest)
            }
            None => (None, piece),
        };
        found.extend(entry);
        if let Some(last) = found.last_mut().filter(|last| last.sha256.is_none())
            && let Some((digest, is_published)) = labelled_digest(rest)
        {
            (last.sha256, last.is_published) = (Some(digest), is_published);
        }
    }
    found
}

/// The first digest behind its label, and whether the label is that of Mattermost's own pages.
fn labelled_digest(text: &str) -> Option<(String, bool)> {
    let capitals = text.to_ascii_uppercase();
    let label =
        ["SHA-256", "SHA256"].into_iter().filter_map(|label| capitals.find(label).map(|at| at + label.len())).min()?;
    let mut offset = 0;
    let mut is_published = false;
    for word in text.get(label..)?.split(|c: char| !c.is_ascii_alphanumeric()) {
        if offset > REACH {
            break;
        }
        offset += word.len() + 1;
        let word = word.to_ascii_lowercase();
        if digest::is_sha256(&word) {
            return Some((word, is_published));
        }
        is_published |= word == "checksum";
    }
    None
}

/// The table of server releases, one line of the text a row.
fn rows(text: &str) -> Vec<Row> {
    let mut found = Vec::new();
    for line in text.lines().map(|line| line.replace("\\|", "/")) {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [name, released, support, ..] = cells.as_slice() else { continue };
        let Some((line, _)) = name.split(['v', 'V']).skip(1).find_map(two_numbers) else { continue };
        let (released, end_of_support) = (date(released), date(support));
        if released.is_none() && end_of_support.is_none() {
            continue;
        }
        let newest = name.split(PUBLISHED).skip(1).filter_map(address).map(|(version, ..)| version).max();
        let newest = newest.filter(|version| Line::of(version) == line);
        found.push(Row {
            line,
            released,
            end_of_support,
            esr: support.to_ascii_uppercase().contains("EXTENDED"),
            newest,
        });
    }
    found
}

fn two_numbers(text: &str) -> Option<(Line, &str)> {
    let (major, rest) = number(text)?;
    let (minor, rest) = number(rest.strip_prefix('.')?)?;
    Some((Line { major, minor }, rest))
}

/// The first day of the form `2026-05-15`.
fn date(text: &str) -> Option<Date> {
    text.split(|c: char| !c.is_ascii_digit() && c != '-')
        .find_map(|word| (word.len() == 10).then(|| word.parse().ok())?)
}

fn tags(text: &str) -> Vec<Tag> {
    let Ok(Value::Array(list)) = serde_json::from_str(text) else { return Vec::new() };
    let is_release = |tag: &&Value| tag["draft"] != true && tag["prerelease"] != true;
    let one = |tag: &Value| {
        let (version, rest) = version(tag["tag_name"].as_str()?.strip_prefix('v')?)?;
        rest.is_empty()
            .then(|| Tag { version, released: tag["published_at"].as_str().and_then(|day| date(day.get(..10)?)) })
    };
    list.iter().filter(is_release).filter_map(one).collect()
}

/// Versions that begin a cell or an item of the upgrade notes.
fn noted(text: &str) -> BTreeSet<Version> {
    let starts = text.split(['\n', '|']).map(|part| part.trim_start_matches([' ', '*', '-', '`', '#', '\t']));
    starts.filter_map(|part| version(part.strip_prefix('v')?)).map(|(version, _)| version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn entries(text: &str) -> Vec<(String, Edition, Option<char>)> {
        let found = Found::in_page(text).tarballs;
        found
            .iter()
            .map(|one| {
                (one.version.to_string(), one.edition, one.sha256.as_ref().map(|hex| hex.chars().next().unwrap()))
            })
            .collect()
    }

    #[test]
    fn an_entry_is_read_in_every_form_that_the_archive_had() {
        let expected = [("11.6.1".into(), Edition::Enterprise, Some('a')), ("11.6.1".into(), Edition::Team, Some('b'))];
        let markdown = |edition: &str, prefix: &str, digit: char| {
            format!(
                "Mattermost {edition} Edition v11.6.1 - [notes](x) - [Download]({PUBLISHED}11.6.1/mattermost-{prefix}11.6.1-linux-amd64.tar.gz)\n- `{PUBLISHED}11.6.1/mattermost-{prefix}11.6.1-linux-amd64.tar.gz`\n- SHA-256 Checksum: `{}`\n- GPG Signature: `{PUBLISHED}11.6.1/mattermost-{prefix}11.6.1-linux-amd64.tar.gz.sig`\n- SBOM Download Link: {PUBLISHED}x.json\n",
                hex(digit)
            )
        };
        let page = markdown("Enterprise", "", 'a') + &markdown("Team", "team-", 'b');
        assert_eq!(entries(&page), expected);
        let older = markdown("Enterprise", "", 'a') + &markdown("Team", "team-", 'b');
        let older = older.replace('`', "``").replace("\n- ", "\n    - ").replace(".tar.gz)", ".tar.gz?src=arc>`__");
        assert_eq!(entries(&older), expected);
        assert!(Found::in_page(&older).tarballs.iter().all(|tarball| tarball.is_published));
        let html = |prefix: &str, digit: char| {
            format!(
                "<p>Mattermost v11.6.1 <a class=\"r\" href=\"{PUBLISHED}11.6.1/mattermost-{prefix}11.6.1-linux-amd64.tar.gz\">Download</a></p><ul><li><p>SHA-256 Checksum: <code>{}</code></p></li></ul>",
                hex(digit)
            )
        };
        assert_eq!(entries(&(html("", 'a') + &html("team-", 'b'))), expected);
    }

    #[test]
    fn the_digests_of_packagers_are_told_from_those_of_mattermost() {
        let of = |arch: &str, digit: char| {
            format!(
                "        {arch}.url = \"{PUBLISHED}11.6.1/mattermost-team-11.6.1-linux-{arch}.tar.gz\"\n        {arch}.sha256 = \"{}\"\n",
                hex(digit)
            )
        };
        let armhf = format!("armhf.url = \"https://example.com/x-arm.tar.gz\"\narmhf.sha256 = \"{}\"\n", hex('c'));
        let page = format!("version = \"11.6.1~1\"\n[sources]\n{}{}{armhf}", of("amd64", 'a'), of("arm64", 'b'));
        let found = Found::in_page(&page).on("manifest.toml");
        let seen: Vec<_> = found.tarballs.iter().map(|one| (one.arch, one.sha256.clone(), one.is_published)).collect();
        assert_eq!(seen, [(Arch::Amd64, Some(hex('a')), false), (Arch::Arm64, Some(hex('b')), false)]);
        assert_eq!(found.tarballs[1].page, "manifest.toml");
    }

    #[test]
    fn what_does_not_agree_is_not_seen() {
        let of = |address: &str, digest: &str| entries(&format!("{PUBLISHED}{address} SHA-256 Checksum: `{digest}`"));
        assert_eq!(of("11.6.1/mattermost-11.6.2-linux-amd64.tar.gz", &hex('a')), []);
        assert_eq!(of("11.6.1/mattermost-11.6.1-windows-amd64.zip", &hex('a')), []);
        for wrong in ["abc", &hex('g'), &(hex('a') + "a"), &format!("{}{}", " ".repeat(REACH + 1), hex('a'))] {
            assert_eq!(
                of("11.6.1/mattermost-11.6.1-linux-amd64.tar.gz", wrong),
                [("11.6.1".into(), Edition::Enterprise, None)],
                "{wrong}"
            );
        }
        let elsewhere = "https://releases.example.com/11.6.1/mattermost-11.6.1-linux-amd64.tar.gz";
        assert_eq!(entries(elsewhere), []);
    }

    #[test]
    fn a_row_of_the_table_of_releases_is_a_line() {
        let markdown = format!(
            "| **Release** | **Released on** | **Support ends** |\n|:--|:--|:--|\n| v11.7 [Download]({PUBLISHED}11.7.6/mattermost-11.7.6-linux-amd64.tar.gz) \\| <details>x</details> | 2026-05-15 | 2027-05-15 [EXTENDED](y) |\n| v11.6 | 2026-04-16 | 2026-07-15 |\n| | | |\n"
        );
        let rows = Found::in_page(&markdown).rows;
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!(
            rows[0],
            Row {
                line: "11.7".parse().unwrap(),
                released: "2026-05-15".parse().ok(),
                end_of_support: "2027-05-15".parse().ok(),
                esr: true,
                newest: Some(Version::new(11, 7, 6)),
            }
        );
        let html = "<table><tr><td>v11.6</td><td>2026-04-16</td><td>2026-07-15</td></tr></table>";
        assert_eq!(Found::in_page(html).rows, rows[1..]);
    }

    #[test]
    fn tags_are_releases_without_candidates_and_drafts() {
        let page = r#"[{"tag_name": "v11.10.5", "published_at": "2026-11-05T10:00:00Z", "draft": false, "prerelease": false},
            {"tag_name": "v12.0.0-rc1"}, {"tag_name": "v12.0.0", "draft": true}, {"tag_name": "server/public/v0.1"}, 7]"#;
        let tags = Found::in_page(page).tags;
        assert_eq!(tags, [Tag { version: Version::new(11, 10, 5), released: "2026-11-05".parse().ok() }]);
        assert!(Found::in_page("[{").is_empty() && Found::in_page("{\"message\": \"rate limit\"}").is_empty());
    }

    #[test]
    fn notes_are_counted_by_the_version_that_begins_them() {
        let page = "# Important Upgrade Notes\n<table><tr><td rowspan=\"2\">v12.2.0</td><td>since v9.0.0 x</td></tr></table>\n* - v5.4.0\n";
        let notes: Vec<String> = Found::in_page(page).notes.iter().map(ToString::to_string).collect();
        assert_eq!(notes, ["5.4.0", "12.2.0"]);
        assert!(Found::in_page("v12.2.0 of something else").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_page_is_a_panic(text in "(v|[0-9.]{1,6}|https://releases.mattermost.com/|/mattermost-|-linux-amd64.tar.gz|SHA-256|<td>|<a href=\"|</|\\||é|\n| ){0,40}") {
            Found::in_page(&text);
        }
    }
}
