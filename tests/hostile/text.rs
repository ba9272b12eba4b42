//! Text of others: names and messages that would work a terminal when somebody looks at them.

use std::path::Path;

use mm_test_support::site::Site;
use mm_test_support::tool;
use serde_json::{Value, json};

/// Turns the screen red, in the two forms that terminals know, and the direction of writing.
const EVIL: &str = "\u{1b}[31m\u{9b}31m\u{202e}";

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(name).display().to_string()
}

fn document() -> Value {
    let version = |version: &str| format!("{version}{EVIL}");
    json!({
        "schema": "mm.upgrade/1",
        "run": {"id": "x", "started": "2026-01-01T00:00:00Z"},
        "path": {"current": version("10.5.0"), "target": version("10.6.1"), "policy": "esr", "hops": [], "next": null,
                 "notes": [], "blockers": []},
        "done": [],
    })
}

#[test]
fn no_script_prints_what_a_terminal_obeys() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("document.json");
    std::fs::write(&file, document().to_string()).unwrap();
    let install = place.path().join("mattermost");
    std::fs::create_dir(&install).unwrap();
    let said = |line: &str| {
        let output = tool::shell(line).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let report = said(&format!("{} --format markdown '{}'", script("mm-report"), file.display()));
    // The functions of the script as it is: what it says, and how it dies.
    let functions = "source <(sed -n '/^plain()/,/^}/p; /^line()/,/^}/p; /^say()/p; /^die()/p' \"$0\")";
    let log = place.path().join("log");
    let upgrade = said(&format!(
        "bash -c {} {} {} {}",
        shell_words(&format!("{functions}; log=$1; say \"$2\"; die 1 \"$2\"")),
        script("mm-upgrade"),
        log.display(),
        shell_words(&format!("a name {EVIL}"))
    ));
    assert!(upgrade.contains("Z a name") && upgrade.contains("error: a name"), "{upgrade:?}");
    let logged = std::fs::read_to_string(log).unwrap();
    assert!(logged.contains("Z a name"), "{logged:?}");
    for text in [report, upgrade, logged] {
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text:?}");
    }
}

fn shell_words(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[test]
fn no_command_gives_away_what_only_the_configuration_names() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let site = Site::builder("10.5.14").build();
    let roots = site.directory().join("a b;id");
    std::fs::create_dir(&roots).unwrap();
    site.set("FileSettings", "Directory", serde_json::json!(roots));
    let hint = |id: &str| {
        let output = site.tool("mm-verify").args(["--only", id]).output().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = document["verify"]["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["id"] == id).unwrap().clone();
        assert_eq!(check["status"], "fail", "{check}");
        check["hint"].as_str().unwrap().to_owned()
    };
    let said = hint("files.owner");
    assert!(!said.contains("chown") && said.contains("not in the install root"), "{said}");
    // What is the release's is named, as one word of a command that runs.
    let logs = site.install().join("logs");
    chown(&logs, Some(0), Some(0)).unwrap();
    std::fs::set_permissions(&logs, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(hint("files.owner"), format!("chown -h mm-test: {}", logs.display()));
}

#[test]
fn a_page_that_names_files_without_end_is_not_followed() {
    let site = Site::builder("10.5.14").running().build();
    let page: Vec<_> = (0..100_000).map(|number| format!("<script src=/static/{number}.js></script>")).collect();
    std::fs::write(site.install().join("client/root.html"), format!("<div id=\"root\"></div>{}", page.concat()))
        .unwrap();
    let output = site.tool("mm-verify").args(["--only", "web.bundles"]).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = &document["verify"]["checks"][0];
    assert_eq!((output.status.code(), &check["status"]), (Some(4), &json!("fail")), "{check}");
    assert!(check["evidence"].as_str().unwrap().contains("names 100000 files, more than 2000"));
}
