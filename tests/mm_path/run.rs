//! mm-path from outside, on paper.

use std::fs;
use std::path::Path;

use assert_cmd::assert::Assert;
use mm_test_support::tool::tool;
use serde_json::{Value, json};

/// The hops of 5.29.0 to 10.6.1 by the default policy.
const STOPS: [&str; 10] =
    ["5.31.9", "5.37.10", "6.3.10", "7.1.9", "7.8.15", "8.1.13", "9.5.14", "9.11.18", "10.5.14", "10.6.1"];

fn paper(arguments: &[&str]) -> Assert {
    tool("mm-path").args(arguments).assert()
}

fn document(assert: &Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap_or_else(|error| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        panic!("no document ({error}): {} {}", text(&assert.get_output().stdout), text(&assert.get_output().stderr))
    })
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

fn stops(document: &Value) -> Vec<&str> {
    document["path"]["hops"].as_array().unwrap().iter().map(|hop| hop["to"].as_str().unwrap()).collect()
}

fn file(directory: &Path, name: &str, contents: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, contents).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn on_paper_the_document_holds_the_whole_plan() {
    let plan = paper(&[
        "--from",
        "5.29.0",
        "--edition",
        "team",
        "--from-postgres",
        "12",
        "--to",
        "10.6.1",
        "--postgres",
        "15",
    ]);
    let document = document(&plan.success());
    assert_eq!(document["schema"], "mm.upgrade/1");
    assert_eq!(stops(&document), STOPS);
    let path = &document["path"];
    assert_eq!(
        (&path["current"], &path["target"], &path["policy"]),
        (&json!("5.29.0"), &json!("10.6.1"), &json!("esr"))
    );
    assert_eq!(path["next"], path["hops"][0]);
    assert_eq!(path["next"]["url"], "https://releases.mattermost.com/5.31.9/mattermost-team-5.31.9-linux-amd64.tar.gz");
    assert_eq!(path["next"]["sha256"][0].as_str().unwrap().len(), 64);
    assert_eq!(path["hops"][9]["needs"]["postgres"], 15);
    assert_eq!(path["wish"], json!({"to": "10.6.1", "policy": "esr", "postgres": 15, "edition": "team"}));
    assert_eq!((&document["changed"], &document["failed"]), (&json!(false), &json!(false)));
    assert!(document["run"]["id"].is_string() && document["run"]["started"].is_string());
}

#[test]
fn the_table_fits_100_columns_and_says_why() {
    let plan = paper(&["--from", "3.10.0", "--from-postgres", "9.6", "--to", "latest", "--format", "human"]).success();
    let table = stdout(&plan);
    for line in table.lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
    for part in ["16 hops", "5.31.9 -> 5.37.10", "[eight-columns]", "[through-7.1]", "with PostgreSQL 15"] {
        assert!(table.contains(part), "no `{part}` in:\n{table}");
    }
}

#[test]
fn pictures_show_the_path_and_what_was_rejected() {
    let dot = stdout(&paper(&["--from", "5.29.0", "--to", "10.6.1", "--format", "dot"]).success());
    assert!(dot.starts_with("digraph") && dot.ends_with("}\n"), "{dot}");
    assert!(dot.contains("\"5.31.9\" -> \"5.37.10\" [label=\"eight-columns"), "{dot}");
    assert!(dot.lines().any(|line| line.contains("\"5.29.0\" -> \"10.6.1\"") && line.contains("dashed")), "{dot}");
    let mermaid = stdout(&paper(&["--from", "5.29.0", "--to", "10.6.1", "--format", "mermaid"]).success());
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert!(mermaid.contains("v5_29_0[\"5.29.0\"] -.->|\"eight-columns: "), "{mermaid}");
}

#[test]
fn the_same_version_is_nothing_to_do() {
    let document = document(&paper(&["--from", "10.6.1", "--to", "10.6.1"]).success());
    assert_eq!(document["path"]["next"], Value::Null);
    assert_eq!((&document["changed"], &document["path"]["hops"]), (&json!(false), &json!([])));
}

#[test]
fn a_target_without_support_is_warned_of() {
    let plan = document(&paper(&["--from", "5.29.0", "--to", "5.37"]).success());
    let notes = plan["path"]["notes"].as_array().unwrap();
    let note = notes.iter().find(|note| note["id"] == "support-ended").unwrap();
    assert_eq!(note["severity"], "warn", "{note}");
    assert!(note["title"].as_str().unwrap().contains("5.37 ended on 2022-04-15"), "{note}");
}

#[test]
fn a_blocked_path_exits_5_with_everything_known() {
    let way = ["--from", "9.5.3", "--to", "latest", "--postgres", "12"];
    let plan = paper(&way).code(5);
    let document = document(&plan);
    assert_eq!(document["path"]["blockers"][0]["id"], "postgres");
    assert_eq!(stops(&document), ["9.11.18", "10.5.14", "10.11.23", "11.7.15", "12.1.0"]);
    assert_eq!((&document["error"]["tool"], &document["error"]["code"]), (&json!("mm-path"), &json!(5)));
    assert!(document["error"]["hint"].as_str().unwrap().contains("--postgres 15"));
    let errors = stderr(&plan);
    assert!(errors.contains("error:") && errors.contains("hint:"), "{errors}");
    let table = stdout(&paper(&[&way[..], &["--format", "human"]].concat()).code(5));
    assert!(table.contains("Blocked") && table.contains("9.5.3 -> 9.11.18"), "{table}");
}

#[test]
fn mysql_is_left_first_of_all_at_the_installed_release() {
    let way = ["--from", "9.5.3", "--from-mysql", "8.0.36", "--to", "11.7"];
    let plan = document(&paper(&way).success());
    assert_eq!(stops(&plan), ["9.5.3", "9.11.18", "10.5.14", "10.11.23", "11.7.15"]);
    let hop = &plan["path"]["next"];
    assert_eq!((&hop["from"], &hop["changes"]), (&json!("9.5.3"), &json!(["database"])));
    assert_eq!((&hop["needs"]["move"], &hop["needs"]["postgres"]), (&json!(true), &json!(14)), "as 11.7 will ask");
    assert_eq!(plan["path"]["hops"][1]["needs"]["postgres"], Value::Null, "moved once");
    let said = hop["notes"][0]["action"].as_str().unwrap();
    for command in ["`mm-pgbump check --target FILE`", "`mm-pgbump move --target FILE`", "--postgres-target FILE"] {
        assert!(said.contains(command), "{said}");
    }
    let table = stdout(&paper(&[&way[..], &["--format", "human"]].concat()).success());
    assert!(table.contains("  1  9.5.3, whose database is moved to PostgreSQL 14 or later\n"), "{table}");
    let hops = stdout(&paper(&[&way[..], &["--hops"]].concat()).success());
    assert_eq!(hops, "9.11.18\n10.5.14\n10.11.23\n11.7.15\n");
    // Also where no release is to follow, with another edition after it, and to a major that is wished for.
    let alone = document(&paper(&["--from", "10.11.23", "--from-mysql", "8.0", "--to", "10.11.23"]).success());
    assert_eq!((stops(&alone), &alone["path"]["next"]["needs"]["postgres"]), (vec!["10.11.23"], &json!(13)));
    let way = ["--from", "10.5.14", "--from-edition", "team", "--edition", "enterprise", "--from-mysql", "8.0"];
    let plan = document(&paper(&[&way[..], &["--to", "10.11", "--postgres", "17"]].concat()).success());
    let hops = &plan["path"]["hops"];
    assert_eq!((&hops[0]["edition"], &hops[0]["needs"]["postgres"]), (&json!("team"), &json!(17)));
    assert_eq!((&hops[1]["edition"], &hops[1]["changes"]), (&json!("enterprise"), &json!(["release", "edition"])));
}

#[test]
fn what_cannot_fit_is_said_with_the_way_out() {
    // Whatever runs now, 10.6 does not start on PostgreSQL 12.
    let plan = document(&paper(&["--from", "5.29.0", "--to", "10.6.1", "--postgres", "12"]).code(5));
    assert_eq!(plan["path"]["blockers"][0]["title"], "10.6.1 refuses PostgreSQL 12, it needs 13");
    // The rule that closes the way says which way is open.
    let hint = document(&paper(&["--from", "10.11.17", "--to", "11.2"]).code(5))["error"]["hint"].clone();
    assert!(hint.as_str().unwrap().contains("Go from 10.11.15 or older, or to 11.6.5"), "{hint}");
    // 8.0 is 8.0.0.
    let plan = document(&paper(&["--from", "8.1.0", "--to", "9.11", "--from-mysql", "8.0"]).success());
    assert_eq!(plan["path"]["blockers"], json!([]));
    let line = stderr(&paper(&["--from", "5.29", "--to", "10.6.1"]).code(2));
    assert!(line.contains("give all of its numbers, as in 5.29.0"), "{line}");
}

#[test]
fn a_downgrade_is_refused_with_what_to_use_instead() {
    let plan = paper(&["--from", "10.6.1", "--to", "9.11"]).code(5);
    assert!(document(&plan)["error"]["hint"].as_str().unwrap().contains("mm-backup restore"));
}

#[test]
fn a_change_of_edition_is_planned_recorded_and_shown() {
    let way = ["--from", "10.5.14", "--from-edition", "team", "--edition", "enterprise", "--to", "10.11"];
    let plan = document(&paper(&way).success());
    let path = &plan["path"];
    assert_eq!((&path["current_edition"], &path["wish"]["edition"]), (&json!("team"), &json!("enterprise")));
    assert_eq!((&path["next"]["edition"], &path["next"]["why"][1]["rule"]), (&json!("enterprise"), &json!("target")));
    let table = stdout(&paper(&[&way[..], &["--format", "human"]].concat()).success());
    assert!(table.starts_with("Mattermost 10.5.14 (team) to 10.11.23 (enterprise) in 1 hop"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    // mm-fetch looks for the running release as what it is.
    let flags = ["--dry-run", "--format", "human", "--cache", "/nowhere/cache"];
    let foreseen = stdout(&tool("mm-fetch").args(flags).write_stdin(plan.to_string()).assert().success());
    let releases: Vec<Vec<&str>> =
        foreseen.lines().skip(1).map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(releases, [["10.5.14", "team"], ["10.11.23", "enterprise"]], "{foreseen}");
}

#[test]
fn wrong_usage_exits_2() {
    for arguments in [
        vec!["--to", "ten"],
        vec!["--from", "5.29", "--to", "10.6.1"],
        vec!["--from", "5.29.0"],
        vec!["--from-edition", "team", "--to", "10.6.1"],
        vec!["--from", "5.29.0", "--to", "10.6.1", "--edition", "entry"],
        vec!["--from", "5.29.0", "--to", "10.6.1", "--policy", "fast"],
    ] {
        let plan = paper(&arguments).code(2);
        assert!(stdout(&plan).is_empty(), "{arguments:?}");
    }
}

#[test]
fn without_a_target_it_wants_a_document() {
    paper(&[]).code(65);
    tool("mm-path").write_stdin("{").assert().code(65);
    tool("mm-path").write_stdin(r#"{"schema":"mm.upgrade/2"}"#).assert().code(65);
    // With a target the standard input of the script it stands in stays untouched.
    tool("mm-path").args(["--from", "5.29.0", "--to", "5.37"]).write_stdin("not a document").assert().success();
}

#[test]
fn a_failed_document_passes_unchanged_with_its_code() {
    let poisoned = json!({"schema": "mm.upgrade/1", "mine": 1, "error": {"tool": "mm-swap", "code": 6, "kind": "rolled-back", "message": "m"}});
    let passed = tool("mm-path").write_stdin(poisoned.to_string()).assert().code(6);
    assert_eq!(document(&passed), poisoned);
}

#[test]
fn an_overlay_adds_releases_and_a_broken_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let record = |version: &str| json!({"version": version, "team": {"sha256": ["ab".repeat(32)]}});
    // A release candidate is not what `latest` means, though it is newer and can be proven.
    let overlay = json!({"releases": [record("12.1.1"), record("12.2.0-rc1")]});
    let overlay = file(directory.path(), "overlay.json", &overlay.to_string());
    let plan = document(&paper(&["--from", "12.1.0", "--to", "latest", "--catalogue", &overlay]).success());
    assert_eq!(stops(&plan), ["12.1.1"]);
    assert_eq!(plan["path"]["catalogue"]["sources"], json!({"12.1.1": "file"}));
    assert_eq!(plan["path"]["next"]["sha256"], json!(["ab".repeat(32)]));
    assert_eq!(plan["path"]["wish"]["catalogue"], json!(overlay), "the fold has to use it again");
    for broken in ["", "{\"releases\": [{\"version\": 1}]}", "{\"relases\": []}"] {
        let broken = file(directory.path(), "broken.json", broken);
        let refused = paper(&["--from", "11.10.1", "--to", "latest", "--catalogue", &broken]).code(5);
        assert!(document(&refused)["error"]["message"].as_str().unwrap().contains("broken.json"));
    }
    paper(&["--from", "11.10.1", "--to", "latest", "--catalogue", "/nonexistent"]).code(5);
}

#[test]
fn a_release_beyond_the_catalogue_is_planned_like_the_newest_line_or_the_one_that_is_named() {
    // Without a word about it, it follows the rules of the newest line; one that cannot be is refused.
    let plan = document(&paper(&["--from", "11.7.10", "--from-postgres", "15", "--to", "12.3.0"]).success());
    let why = plan["path"]["hops"].as_array().unwrap().last().unwrap()["why"].to_string();
    assert!(why.contains("planned as if it were of 12.1"), "{why}");
    paper(&["--from", "11.7.10", "--to", "11.99.0"]).code(5);
    let never = document(&paper(&["--from", "4.99.1", "--edition", "team", "--to", "5.31.9"]).success());
    assert!(never["path"]["notes"].to_string().contains("installed-unknown"), "{}", never["path"]["notes"]);
    // Also where it is not needed: whoever says it expects something of it.
    for to in ["12.3.0", "latest"] {
        let refused = paper(&["--from", "11.7.10", "--to", to, "--assume-like", "99.9"]).code(5);
        assert!(document(&refused)["error"]["hint"].as_str().unwrap().contains("--assume-like 11.7"));
    }
    let plan =
        paper(&["--from", "11.7.10", "--from-postgres", "14", "--to", "12.3.0", "--assume-like", "12.0"]).success();
    let hop = document(&plan)["path"]["next"].clone();
    assert_eq!((&hop["to"], &hop["needs"]["postgres"]), (&json!("12.3.0"), &json!(15)));
    assert!(hop["notes"].as_array().unwrap().iter().any(|note| note["id"] == "unproven"), "{hop}");
    assert!(hop["why"].as_array().unwrap().iter().any(|why| why["rule"] == "assumed"), "{hop}");
}

#[test]
fn what_the_state_directory_has_lies_over_what_is_built_in_and_below_a_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().to_str().unwrap();
    let record = |digit: &str| json!({"version": "12.1.1", "team": {"sha256": [digit.repeat(64)]}});
    let lines = json!([{"line": "11.7", "esr": true, "end_of_support": "2027-06-15"}]);
    let refreshed = json!({"as_of": "2026-12-24", "releases": [record("a")], "lines": lines}).to_string();
    let refreshed = file(directory.path(), "catalogue.json", &refreshed);
    let plan = |more: &[&str]| {
        let arguments = ["--from", "12.1.0", "--to", "latest", "--state-dir", state];
        document(&paper(&[&arguments, more].concat()).success())
    };
    let seen = plan(&[]);
    assert_eq!((stops(&seen), &seen["path"]["next"]["sha256"][0]), (vec!["12.1.1"], &json!("a".repeat(64))));
    assert_eq!(seen["path"]["catalogue"], json!({"as_of": "2026-12-24", "sources": {"12.1.1": "refreshed"}}));
    let over = file(directory.path(), "over.json", &json!({"releases": [record("b")]}).to_string());
    assert_eq!(plan(&["--catalogue", &over])["path"]["next"]["sha256"], json!(["b".repeat(64)]));
    assert_eq!(plan(&["--catalogue", "none"])["path"]["next"], Value::Null, "12.1.0 is the newest that is built in");
    let status = stdout(&paper(&["--catalogue-status", "--state-dir", state]).success());
    assert!(status.contains("2026-12-24") && status.contains("2027-06-15"), "{status}");
    let newest = status.lines().find(|line| line.starts_with("12.1 ")).unwrap();
    assert!(newest.contains("12.1.1") && newest.ends_with("refreshed, digest known"), "{newest}");

    // What others may write, or what is none, is not used; it can be left out.
    let refused = |why: &str| {
        let refused = paper(&["--from", "12.1.0", "--to", "latest", "--state-dir", state]).code(5);
        let error = document(&refused)["error"].to_string();
        assert!(
            error.contains("catalogue.json") && error.contains(why) && error.contains("--catalogue none"),
            "{error}"
        );
        plan(&["--catalogue", "none"]);
    };
    std::fs::set_permissions(&refreshed, std::fs::Permissions::from_mode(0o664)).unwrap();
    refused("others may write it");
    std::fs::set_permissions(&refreshed, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&refreshed, "{\"releases\": [").unwrap();
    refused("is not a catalogue");
}

#[test]
fn how_old_the_release_data_is_stands_at_the_end_of_the_table() {
    let table = stdout(&paper(&["--from", "9.11.18", "--to", "10.6.1", "--format", "human"]).success());
    let last = table.lines().last().unwrap();
    assert!(last.starts_with("Release data of 2") && last.contains("--catalogue-status"), "{last}");
}

#[test]
fn no_installation_is_a_clear_refusal() {
    let directory = tempfile::tempdir().unwrap();
    let refused = paper(&["--install", directory.path().to_str().unwrap(), "--to", "10.6.1"]).failure();
    let code = refused.get_output().status.code().unwrap();
    assert_eq!(code, 5);
    assert!(document(&refused)["error"].to_string().contains(directory.path().to_str().unwrap()));
}

#[test]
fn hops_and_notes_alone_need_no_other_program_to_read_them() {
    let way = ["--from", "5.29.0", "--edition", "team", "--from-postgres", "13", "--to", "10.6.1"];
    let shown = stdout(&paper(&[&way[..], &["--hops"]].concat()).success());
    assert_eq!(shown.lines().collect::<Vec<_>>(), STOPS);
    let notes = stdout(&paper(&[&way[..], &["--notes"]].concat()).success());
    let titles: Vec<_> = notes.lines().filter(|line| !line.is_empty() && !line.starts_with(' ')).collect();
    assert_eq!(titles, ["Before the upgrade", "After it, look at this", "Tell your users"], "{notes}");
    assert!(notes.lines().all(|line| line.chars().count() <= 100), "{notes}");
    let none = paper(&["--from", "10.6.0", "--to", "10.6.1", "--notes", "--hops"]).code(2);
    assert!(stderr(&none).contains("cannot be used with"));
}

#[test]
fn a_rehearsal_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (record, why) in [(json!({"done": null}), "no list `done`"), (json!({"done": [{"hop": {}}]}), "entry 1")] {
        let text = json!({"schema": "mm.upgrade/1", "rehearsal": record}).to_string();
        let path = file(directory.path(), "rehearsal.json", &text);
        let assert = paper(&["--document", &path, "--from", "10.5.14", "--to", "10.6.1"]).code(65);
        let said = stderr(&assert);
        assert!(said.contains(why) && said.contains("hint: give the file that mm-rehearse wrote"), "{said}");
    }
}

#[test]
fn a_rehearsal_replaces_estimates() {
    let rehearsed = json!({"schema": "mm.upgrade/1", "rehearsal": {"done": [
        {"hop": {"from": "9.11.18", "to": "10.5.14"}, "swap": {"healthy_after_seconds": 93.0}}
    ]}});
    let mut command = tool("mm-path");
    command.args(["--document", "-", "--from", "9.11.18", "--to", "10.6.1"]).write_stdin(rehearsed.to_string());
    let plan = document(&command.assert().success());
    let estimate = &plan["path"]["next"]["estimate"];
    assert_eq!((&estimate["seconds"], &estimate["basis"]), (&json!(93.0), &json!("measured in a rehearsal")));
    assert_eq!(plan["rehearsal"], rehearsed["rehearsal"], "it stays in the document for the fold");
}
