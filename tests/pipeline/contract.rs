//! The contract that all six tools keep, whatever else they do: what they make of documents that are empty, truncated,
//! foreign or marked as failed, and of a standard output that takes nothing.

use std::process::{Command, Stdio};

use mm_test_support::process::PATH;
use mm_test_support::tool::{TOOLS, executable, shell, tool};
use serde_json::{Value, json};

/// The tools that take part in a hop: without a document and without flags they have nothing to go by.
const OF_A_HOP: [&str; 5] = ["mm-fetch", "mm-backup", "mm-pgbump", "mm-swap", "mm-verify"];

/// A document that a failed tool has written, with keys nobody knows before, between and after those of the contract.
fn poisoned(code: u8) -> Value {
    json!({
        "zebra": {"b": [1, 2.5, null], "a": "\u{e4}"},
        "schema": "mm.upgrade/1",
        "run": {"id": "20261122-1", "started": "2026-11-22T00:00:00Z", "dry_run": false, "later": true},
        "apple": 18_446_744_073_709_551_615_u64,
        "changed": true,
        "failed": true,
        "msg": "it did not work",
        "error": {
            "tool": "mm-someone", "code": code, "kind": "rolled-back", "message": "cannot do it",
            "causes": ["the reason"], "hint": "do this", "more": {"kept": true}
        },
        "mango": []
    })
}

struct Nowhere {
    directory: tempfile::TempDir,
}

impl Nowhere {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn state(&self) -> std::path::PathBuf {
        self.directory.path().join("state")
    }

    fn tool(&self, name: &str) -> assert_cmd::Command {
        let mut command = tool(name);
        command.arg("--install").arg(self.directory.path().join("none")).arg("--state-dir").arg(self.state());
        command
    }

    /// Nothing was written: not even the directory that a lock would need.
    fn is_untouched(&self) -> bool {
        std::fs::read_dir(self.directory.path()).unwrap().next().is_none()
    }
}

#[test]
fn documents_that_are_none_are_refused_with_65_and_nothing_is_done() {
    let whole = poisoned(6).to_string();
    let (list, two) = (format!("[{whole}]"), format!("{whole}\n{whole}\n"));
    let cases: [(&str, &str); 11] = [
        ("empty", ""),
        ("blank", " \n\n"),
        ("truncated", &whole[..whole.len() / 2]),
        ("without its last bracket", &whole[..whole.len() - 1]),
        ("not JSON", "<html><body>502 Bad Gateway</body></html>"),
        ("a list", "[]"),
        ("in a list", &list),
        ("two, one behind the other", &two),
        ("what jq says where there is nothing", "null\n"),
        ("of no schema", "{\"run\":{}}"),
        ("of another major", "{\"schema\":\"mm.upgrade/2\"}"),
    ];
    for name in TOOLS {
        for (what, text) in cases {
            let nowhere = Nowhere::new();
            let assert = nowhere.tool(name).args(["--document", "-"]).write_stdin(text).assert();
            let output = assert.code(65).get_output().clone();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.stdout.is_empty(), "{name}, a document that is {what}: it wrote to stdout");
            assert!(said.starts_with("error: ") || said.contains("error:"), "{name}, {what}: {said}");
            assert!(said.contains("hint:"), "{name}, {what}: it does not say what to do: {said}");
            assert!(nowhere.is_untouched(), "{name}, {what}: it wrote something");
        }
    }
}

#[test]
fn what_cannot_hold_a_document_is_taken_for_none() {
    let nowhere = Nowhere::new();
    let place = nowhere.directory.path().display();
    for name in TOOLS {
        let run = |input: &str| {
            let script = format!("{name} --install {place}/none --state-dir {place}/state {input} 2>&1 >/dev/null");
            let output = shell(&script).output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        let none = run("</dev/null");
        assert!(none.0.is_some_and(|code| code != 0 && code != 3), "{name}: {none:?}");
        for input in ["</tmp", "<&-", "</dev/zero"] {
            assert_eq!(run(input), none, "{name} {input}");
        }
    }
    assert!(nowhere.is_untouched());
}

#[test]
fn a_document_file_that_is_not_there_is_refused_with_65() {
    for name in TOOLS {
        let nowhere = Nowhere::new();
        let missing = nowhere.directory.path().join("missing.json");
        let assert = nowhere.tool(name).arg("--document").arg(&missing).assert().code(65);
        let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(said.contains("missing.json") && said.contains("hint:"), "{name}: {said}");
        // One that is there and broken is told from standard input.
        std::fs::write(&missing, "{").unwrap();
        let assert = nowhere.tool(name).arg("--document").arg(&missing).assert().code(65);
        let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(said.contains("missing.json") && said.contains("hint:"), "{name}: {said}");
    }
}

#[test]
fn a_check_that_nobody_knows_cannot_be_accepted_and_those_that_there_are_are_named() {
    for name in TOOLS {
        let nowhere = Nowhere::new();
        let assert = nowhere.tool(name).args(["--accept", "roll-back"]).assert().code(2);
        let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        for word in ["roll-back", "--accept", "rollback", "user-code", "store-owner", "unsigned"] {
            assert!(said.contains(word), "{name}: {word}: {said}");
        }
        assert!(nowhere.is_untouched(), "{name}");
        // Another tool's is no fault: scripts give the same flags to all.
        let output =
            nowhere.tool(name).args(["--accept", "unsigned", "--document", "-"]).write_stdin("").output().unwrap();
        assert_eq!(output.status.code(), Some(65), "{name}: {output:?}");
    }
}

#[test]
fn a_section_of_another_shape_is_refused_with_what_to_do() {
    let text = r#"{"schema":"mm.upgrade/1","run":7}"#;
    for name in TOOLS {
        let assert = tool(name).args(["--document", "-"]).write_stdin(text).assert().code(65);
        let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(said.contains("section `run`") && said.contains("hint:"), "{name}: {said}");
    }
}

#[test]
fn a_path_that_could_not_stand_in_the_document_is_refused_before_anything_is_done() {
    let path = std::os::unix::ffi::OsStrExt::from_bytes(b"/tmp/\xff");
    let path: &std::ffi::OsStr = path;
    let flags = TOOLS.map(|name| (name, "--state-dir"));
    let own = [("mm-path", "--catalogue"), ("mm-fetch", "--cache"), ("mm-backup", "--to")];
    for (name, flag) in flags.into_iter().chain(own) {
        let assert = tool(name).arg(flag).arg(path).assert().code(2);
        let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(said.contains(flag) && said.contains("not UTF-8"), "{name}: {said}");
    }
}

#[test]
fn an_empty_pipe_means_that_the_tool_before_was_killed() {
    // Flags alone say what to do for some tools; those are given none. mm-verify must not take the old server, which a
    // killed mm-swap has left, for the result.
    for name in OF_A_HOP {
        let assert = tool(name).write_stdin("").assert().code(65);
        assert!(assert.get_output().stdout.is_empty(), "{name} invented something to do");
    }
}

#[test]
fn a_failure_is_passed_on_unchanged_with_its_code() {
    for name in TOOLS {
        for code in [1, 3, 4, 5, 6, 75] {
            let nowhere = Nowhere::new();
            let document = poisoned(code);
            let assert = nowhere.tool(name).write_stdin(document.to_string()).assert().code(i32::from(code));
            let written: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
            // As text, because the order of the keys counts too.
            assert_eq!(written.to_string(), document.to_string(), "{name} changed the document");
            assert!(nowhere.is_untouched(), "{name} did something after a failure");
        }
    }
}

#[test]
fn a_failure_at_the_start_is_the_verdict_of_the_pipeline_without_pipefail() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("document.json");
    std::fs::write(&file, poisoned(6).to_string()).unwrap();
    let script = format!("mm-fetch <{} | mm-backup | mm-pgbump | mm-swap | mm-verify", file.display());
    let assert = shell(&script).assert().code(6);
    let written: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(written, poisoned(6));
}

#[test]
fn a_dead_tool_in_the_middle_is_noticed_by_the_next_one() {
    let script = "mm-path --from 5.29.0 --edition team --from-postgres 13 --to 10.6.1 | false | mm-swap";
    shell(script).assert().code(65);
    // Half a document, as of a tool that was killed while it wrote.
    let script = "mm-path --from 5.29.0 --edition team --from-postgres 13 --to 10.6.1 | head -c 500 | mm-verify";
    shell(script).assert().code(65);
}

#[test]
fn a_failure_with_a_code_of_nought_is_still_a_failure() {
    for name in TOOLS {
        tool(name).write_stdin(poisoned(0).to_string()).assert().code(1);
    }
}

#[test]
fn a_report_that_cannot_be_delivered_is_74() {
    let plan = "mm-path --from 5.29.0 --edition team --from-postgres 13 --to 10.6.1 --format json";
    let assert = shell(&format!("{plan} >/dev/full")).assert().code(74);
    let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(said.contains("cannot write the document"), "{said}");

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut words = plan.split(' ');
    let status = Command::new(executable(words.next().unwrap()))
        .args(words)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(74), "a closed pipe");
}

#[test]
fn a_failure_that_cannot_be_passed_on_keeps_its_own_code() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("document.json");
    std::fs::write(&file, poisoned(6).to_string()).unwrap();
    for name in TOOLS {
        shell(&format!("{name} --document {} >/dev/full", file.display())).assert().code(6);
    }
}

#[test]
fn wrong_usage_is_2_and_says_so_on_stderr_only() {
    for name in TOOLS {
        let assert = tool(name).arg("--no-such-flag").assert().code(2);
        assert!(assert.get_output().stdout.is_empty(), "{name}");
        assert!(!assert.get_output().stderr.is_empty(), "{name}");
    }
}

#[test]
fn help_tells_exit_codes_and_examples_and_version_is_one_line() {
    for name in TOOLS {
        let assert = tool(name).arg("--help").assert().success();
        let help = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        let capitals = help.to_uppercase();
        for part in [
            "EXIT STATUS",
            "EXAMPLES",
            "--INSTALL",
            "--DOCUMENT",
            "--STATE-DIR",
            "--DRY-RUN",
            "--FORMAT",
            "--SERVICE",
            "--LOCK-WAIT",
        ] {
            assert!(capitals.contains(part), "{name} --help does not tell of {part}");
        }
        let assert = tool(name).arg("--version").assert().success();
        let version = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        assert_eq!(version.lines().count(), 1, "{name}: {version}");
        let said = version.strip_prefix(&format!("{name} {} (", env!("CARGO_PKG_VERSION")));
        assert!(said.is_some_and(|said| said.contains("catalogue of 20")), "{name}: {version}");
    }
}

#[test]
fn nothing_installed_is_refused_in_band() {
    let document = json!({"schema": "mm.upgrade/1", "run": {"id": "x", "started": "2026-11-22T00:00:00Z"}, "mine": 1});
    for name in ["mm-backup", "mm-pgbump", "mm-swap", "mm-verify"] {
        let nowhere = Nowhere::new();
        let assert = nowhere.tool(name).write_stdin(document.to_string()).assert();
        let output = assert.get_output();
        let code = output.status.code();
        assert_eq!(code, Some(5), "{name}");
        let written: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(written["mine"], 1, "{name} lost a key");
        assert_eq!(written["error"]["tool"], name);
        assert_eq!(written["error"]["code"], code.unwrap());
        assert!(written["error"]["hint"].is_string(), "{name} does not say what to do: {written}");
        assert_eq!(written["failed"], true);
        assert!(nowhere.is_untouched(), "{name} wrote something");
    }
}
