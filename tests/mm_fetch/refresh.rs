//! The catalogue of this machine, from pages in the forms that Mattermost publishes, and what becomes of damaged ones.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use mm_test_support::serve::ReleaseSite;
use mm_test_support::tool;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{Place, Reply, Server, release as release_of, sha256, written};

const KEY: &str = include_str!("../../common/catalogue/mattermost-build-key.asc");
const PUBLISHED: &str = "https://releases.mattermost.com";

/// Pages in a directory that is served, and the state directory of a machine.
struct Pages {
    directory: TempDir,
    site: ReleaseSite,
}

fn digest(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn entry(edition: &str, prefix: &str, version: &str, digit: char) -> String {
    let address = format!("{PUBLISHED}/{version}/mattermost-{prefix}{version}-linux-amd64.tar.gz");
    format!(
        "Mattermost {edition} v{version} - [Changes](https://docs.example.com/x) - [Download]({address})\n\n- `{address}`\n- SHA-256 Checksum: `{}`\n- GPG Signature: `{address}.sig`\n- SBOM Download Link: `{PUBLISHED}/{version}/sbom.json`\n\n",
        digest(digit)
    )
}

fn archive() -> String {
    let entries = [("Enterprise", "", 'a'), ("Team", "team-", 'b')]
        .map(|(edition, prefix, digit)| entry(edition, prefix, "12.90.1", digit));
    format!("---\ntitle: Versions\n---\n<Tabs>\n{}</Tabs>\n", entries.concat())
}

fn table() -> String {
    format!(
        "| **Release** | **Released on** | **Support ends** |\n|:---|:---|:---|\n| v12.91 [Download]({PUBLISHED}/12.91.2/mattermost-12.91.2-linux-amd64.tar.gz) \\| <details>more</details> | 2027-03-16 | 2028-03-15 [EXTENDED](https://docs.example.com/esr) |\n| v12.90 | 2027-02-16 | 2027-05-15 |\n| | | |\n"
    )
}

fn tags() -> String {
    let tag = |name: &str, day: &str| json!({"tag_name": name, "published_at": format!("{day}T09:00:00Z"), "draft": false, "prerelease": false, "body": "text"});
    json!([tag("v12.91.2", "2027-03-20"), tag("v13.0.0-rc1", "2027-03-19"), tag("v12.90.1", "2027-02-20")]).to_string()
}

fn notes() -> String {
    "<h1>Important Upgrade Notes</h1><table><tr><th>If you upgrade from</th></tr><tr><td rowspan=\"2\">v12.91.0</td><td>text</td></tr><tr><td>v5.4.0</td></tr></table>".into()
}

const NAMES: [&str; 5] = ["archive.mdx", "releases.mdx", "tags.json", "notes.html", "key.asc"];

impl Pages {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pages = directory.path().join("pages");
        std::fs::create_dir(&pages).unwrap();
        for (name, text) in NAMES.iter().zip([archive(), table(), tags(), notes(), KEY.to_owned()]) {
            std::fs::write(pages.join(name), text).unwrap();
        }
        Self { site: ReleaseSite::start(&pages), directory }
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn change(&self, name: &str, change: &dyn Fn(String) -> Vec<u8>) {
        let page = self.directory.path().join("pages").join(name);
        let text = std::fs::read_to_string(&page).unwrap();
        std::fs::write(page, change(text)).unwrap();
    }

    fn refresh(&self, more: &[&str]) -> assert_cmd::Command {
        let mut command = tool::tool("mm-fetch");
        command.args(["--retry-wait", "0", "refresh"]).arg("--state-dir").arg(self.state()).args(["--format", "json"]);
        for name in NAMES {
            command.arg("--from").arg(format!("{}/{name}", self.site.url()));
        }
        command.args(more);
        command
    }

    /// Every file of the state directory but the lock.
    fn kept(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.state()).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_str().unwrap().to_owned()).collect();
        names.retain(|name| name.strip_suffix(".lock").is_none());
        names.sort();
        names
    }

    fn catalogue(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.state().join("catalogue.json")).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    fn path(&self, arguments: &[&str]) -> String {
        let mut command = tool::tool("mm-path");
        let state = self.state();
        let assert = command.args(arguments).arg("--state-dir").arg(state).assert().success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    }
}

fn release<'a>(catalogue: &'a Value, version: &str) -> &'a Value {
    let all = catalogue["releases"].as_array().unwrap();
    all.iter().find(|release| release["version"] == version).unwrap_or(&Value::Null)
}

#[test]
fn what_was_published_since_is_planned_with() {
    let pages = Pages::new();
    let done = written(&pages.refresh(&[]).assert().success());
    assert_eq!((&done["changed"], &done["failed"]), (&json!(true), &json!(false)), "{done}");
    let catalogue = pages.catalogue().unwrap();
    let known = release(&catalogue, "12.90.1");
    assert_eq!(
        (&known["team"]["sha256"], &known["enterprise"]["sha256"]),
        (&json!([digest('b')]), &json!([digest('a')]))
    );
    assert_eq!(known["released"], "2027-02-20");
    assert_eq!(release(&catalogue, "12.91.2")["team"]["status"], "signed");
    assert_eq!(release(&catalogue, "13.0.0"), &Value::Null, "a candidate is no release");
    assert_eq!(catalogue["unread_notes"]["count"], 1);
    assert_eq!(catalogue["signing_key"].as_str().map(str::trim), Some(KEY.trim()));
    let mode = |name: &str| std::fs::metadata(pages.state().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("catalogue.json")), (0o711, 0o644));

    let plan: Value = serde_json::from_str(&pages.path(&[
        "--from",
        "12.1.0",
        "--edition",
        "team",
        "--from-postgres",
        "17",
        "--to",
        "latest-esr",
    ]))
    .unwrap();
    assert_eq!(plan["path"]["target"], "12.91.2", "{}", plan["path"]);
    assert_eq!(plan["path"]["catalogue"]["sources"]["12.91.2"], "refreshed");
    let status = pages.path(&["--catalogue-status"]);
    assert!(
        status.contains("12.91.2") && status.contains("2028-03-15") && status.contains("1 upgrade note newer"),
        "{status}"
    );

    // The same pages again say nothing new; other ones are laid over them, and what was there is kept beside.
    assert_eq!(written(&pages.refresh(&[]).assert().success())["changed"], false);
    assert_eq!(pages.kept(), ["catalogue.json"]);
    pages.change("tags.json", &|text| text.replace("v12.91.2", "v12.91.3").into());
    let dry = pages.refresh(&["--dry-run"]).assert().success();
    assert!(written(&dry)["msg"].as_str().unwrap().contains("1 new release"), "{}", written(&dry));
    assert_eq!(release(&pages.catalogue().unwrap(), "12.91.3"), &Value::Null, "a dry run wrote");
    pages.refresh(&[]).assert().success();
    assert_eq!(pages.kept(), ["catalogue.json", "catalogue.json.1"]);
    let both = pages.catalogue().unwrap();
    assert!(!release(&both, "12.91.3").is_null() && !release(&both, "12.90.1").is_null());
}

#[test]
fn saved_pages_do_without_a_network_and_are_of_the_day_they_were_saved() {
    let pages = Pages::new();
    let saved = pages.directory.path().join("pages");
    let day = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
    std::fs::File::open(saved.join("archive.mdx"))
        .unwrap()
        .set_modified(day - std::time::Duration::from_secs(86_400 * 365))
        .unwrap();
    let mut command = tool::tool("mm-fetch");
    command.args(["refresh", "--from"]).arg(&saved).arg("--state-dir").arg(pages.state()).assert().success();
    assert_eq!(pages.catalogue().unwrap()["as_of"], "2026-01-15");

    // The key alone makes the releases that are known no newer.
    let pages = Pages::new();
    let key = pages.directory.path().join("pages/key.asc");
    let mut command = tool::tool("mm-fetch");
    command.args(["refresh", "--from"]).arg(key).arg("--state-dir").arg(pages.state()).assert().success();
    let built_in: Value = serde_json::from_str(include_str!("../../common/catalogue/meta.json")).unwrap();
    assert_eq!(pages.catalogue().unwrap()["as_of"], built_in["as_of"]);
}

/// A page that has changed its form, was cut off, or lies: the catalogue is right afterwards, or as before.
#[test]
fn a_damaged_page_makes_no_wrong_catalogue() {
    type Change = (&'static str, i32, Box<dyn Fn(String) -> Vec<u8>>);
    fn damage(page: &'static str, code: i32, change: impl Fn(String) -> String + 'static) -> Change {
        (page, code, Box::new(move |text| change(text).into_bytes()))
    }
    let known = |digit: char| entry("Team", "team-", "10.5.7", digit);
    let damages: Vec<Change> = vec![
        damage("archive.mdx", 1, |_| String::new()),
        damage("archive.mdx", 1, |_| "<html><body>Not found</body></html>".into()),
        damage("archive.mdx", 1, |text| text.replace("releases.mattermost.com", "releases.example.com")),
        damage("archive.mdx", 1, |text| text.replace("linux-amd64.tar.gz", "osx-amd64.zip")),
        damage("archive.mdx", 0, |text| text.replace(&digest('b'), "see below")),
        damage("archive.mdx", 0, |text| text.replace(&digest('b'), &digest('b')[1..])),
        damage("archive.mdx", 0, |text| text.replace(&digest('b'), &digest('a'))),
        damage("archive.mdx", 0, |text| text.replace("/12.90.1/mattermost-team", "/12.90.2/mattermost-team")),
        damage("archive.mdx", 0, |text| text.replace("12.90.1", "99.90.1")),
        damage("archive.mdx", 0, |text| text[..text.find("Team").unwrap()].into()),
        damage("archive.mdx", 5, move |text| text + &known('c')),
        damage("archive.mdx", 5, |text| text + &entry("Team", "team-", "9.11.1", 'd')),
        ("archive.mdx", 1, Box::new(|_| vec![0xff, 0xfe, 0, 1, 2, 3])),
        damage("releases.mdx", 1, |_| "| v12.91 |\n".into()),
        damage("releases.mdx", 0, |text| text.replace("2028-03-15", "soon")),
        damage("releases.mdx", 0, |text| text.replace("12.91.2", "12.90.9")),
        damage("releases.mdx", 5, |text| text + "| v11.7 | 2026-05-15 | 2019-05-15 |\n"),
        damage("tags.json", 1, |text| text[..text.len() / 2].into()),
        damage("tags.json", 1, |_| "{\"message\": \"API rate limit exceeded\"}".into()),
        damage("tags.json", 5, |text| text.replace("v12.90.1\"", "v12.1.0\"").replace("2027-02-20", "2015-02-20")),
        damage("notes.html", 1, |_| "<p>moved</p>".into()),
        damage("key.asc", 5, |text| text.replace("mQEN", "mQEM")),
        damage("key.asc", 1, |text| text[..text.len() / 2].into()),
    ];
    assert!(damages.len() >= 20);
    for (number, (page, expected, change)) in damages.iter().enumerate() {
        let pages = Pages::new();
        pages.refresh(&[]).assert().success();
        let before = pages.catalogue().unwrap();
        std::fs::remove_dir_all(pages.state()).unwrap();
        pages.change(page, change);
        let assert = pages.refresh(&[]).assert();
        let code = assert.get_output().status.code();
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert_eq!(code, Some(*expected), "damage {number} of {page}: {said}");
        let Some(after) = pages.catalogue() else {
            assert_ne!(code, Some(0));
            assert!(said.contains("hint:"), "damage {number} of {page}: {said}");
            continue;
        };
        assert_eq!(code, Some(0), "damage {number} of {page} left something");
        // What it still has is what the sound pages say, or less.
        for record in after["releases"].as_array().unwrap() {
            let version = record["version"].as_str().unwrap();
            for edition in ["team", "enterprise"] {
                let (digest, right) = (&record[edition]["sha256"], &release(&before, version)[edition]["sha256"]);
                assert!(digest.is_null() || digest == right, "damage {number} of {page}: {record}");
            }
        }
        assert!(!after.to_string().contains("99.90"), "damage {number}");
    }
}

#[test]
fn a_contradiction_is_named_and_let_through_by_its_name() {
    let pages = Pages::new();
    pages.change("archive.mdx", &|text| (text + &entry("Team", "team-", "10.5.7", 'c')).into());
    let refused = pages.refresh(&[]).assert().code(5);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("digest-changed") && said.contains("10.5.7") && said.contains(&digest('c')), "{said}");
    assert_eq!(pages.kept(), Vec::<String>::new());
    // The page has no newer one of that line either.
    pages.refresh(&["--accept", "digest-changed", "--accept", "release-gone"]).assert().success();
    let plan: Value = serde_json::from_str(&pages.path(&[
        "--from",
        "10.5.1",
        "--edition",
        "team",
        "--from-postgres",
        "15",
        "--to",
        "10.5.7",
    ]))
    .unwrap();
    assert_eq!(plan["path"]["next"]["sha256"], json!([digest('c')]));
}

/// A server that is being restarted, or that asks for patience, is asked again; one that is not there is given up.
#[test]
fn a_page_that_cannot_be_had_at_once_is_asked_for_again() {
    let place = tempfile::tempdir().unwrap();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&asked);
    let server = Server::start(move |request, _| {
        let number = counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match (request.path.as_str(), number) {
            ("/table", 0) => Reply::status(503),
            ("/table", 1) => Reply { body: table().into_bytes(), ..Reply::status(200) }.cut(20),
            ("/table", _) => Reply { body: table().into_bytes(), ..Reply::status(200) },
            ("/limited", _) => Reply::status(403).header("x-ratelimit-remaining", "0"),
            _ => Reply::status(503),
        }
    });
    let refresh = |page: &str| {
        let mut command = tool::tool("mm-fetch");
        command.args(["--retry-wait", "0", "refresh", "--from", &format!("{}/{page}", server.url), "--state-dir"]);
        asked.store(0, std::sync::atomic::Ordering::Relaxed);
        let output = command.arg(place.path().join(page)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), asked.load(std::sync::atomic::Ordering::Relaxed), said)
    };
    let (code, asked, said) = refresh("table");
    assert_eq!((code, asked), (Some(0), 3), "{said}");
    let (code, asked, said) = refresh("gone");
    assert!((code, asked) == (Some(1), 3) && said.contains("given up after 3 attempts"), "{said}");
    let (code, asked, said) = refresh("limited");
    assert!((code, asked) == (Some(1), 1) && said.contains("try again in an hour"), "{said}");
}

/// What a packager has computed for ARM proves a release that Mattermost publishes no digest of, and the result names whose it is.
#[test]
fn the_digests_of_packagers_prove_releases_for_arm() {
    let (place, tarball) = (Place::new(), release_of(31, 20_000));
    let file = "mattermost-team-12.91.2-linux-arm64.tar.gz";
    let manifest = place.path("manifest.toml");
    let text = format!(
        "version = \"12.91.2~1\"\narm64.url = \"{PUBLISHED}/12.91.2/{file}\"\narm64.sha256 = \"{}\"\n",
        sha256(&tarball)
    );
    std::fs::write(&manifest, text).unwrap();
    let mut command = tool::tool("mm-fetch");
    command.args(["refresh", "--from"]).arg(&manifest).arg("--state-dir").arg(place.path("state")).assert().success();
    let mirror = place.path("mirror/12.91.2");
    std::fs::create_dir_all(&mirror).unwrap();
    std::fs::write(mirror.join(file), &tarball).unwrap();
    let mut command = tool::tool("mm-fetch");
    command.args(["--arch", "arm64", "--edition", "team", "12.91.2", "--cache"]).arg(place.cache());
    command.arg("--mirror").arg(place.path("mirror")).arg("--state-dir").arg(place.path("state"));
    let fetched = written(&command.assert().success())["fetch"]["releases"][0].clone();
    assert_eq!((&fetched["proof"], &fetched["digest_source"]), (&json!("third-party"), &json!(manifest)), "{fetched}");
}

#[test]
fn without_a_network_nothing_changes() {
    let pages = Pages::new();
    let mut command = tool::tool("mm-fetch");
    let failed = command
        .args(["--retry-wait", "0", "refresh", "--from", "http://127.0.0.1:1/archive", "--state-dir"])
        .arg(pages.state())
        .assert()
        .code(1);
    let said = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(said.contains("127.0.0.1:1"), "{said}");
    assert!(pages.kept().is_empty());
}
