//! What people see at 40, 80 and 200 columns, without colours where they are not wanted, and in a file.

use std::process::Output;

use mm_test_support::site::Site;
use mm_test_support::tool;

/// The tools as people call them, each with its exit code.
fn calls(site: &Site) -> Vec<(i32, String)> {
    let (flags, store) = (site.flags().join(" "), site.store().display().to_string());
    let cache = site.cache().display().to_string();
    vec![
        (0, format!("mm-path {flags}")),
        (0, format!("mm-path {flags} --to 10.6.1 --check --postgres 15 --accept rollback")),
        (5, format!("mm-path {flags} --status")),
        (5, format!("mm-path {flags} --to 9.5.14")),
        (5, format!("mm-fetch 10.6.1 --edition team --offline --cache {cache} --document none")),
        (0, format!("mm-backup create {flags} --to {store}")),
        (0, format!("mm-backup list {flags} --to {store}")),
        (0, format!("mm-backup verify {flags} --to {store}")),
        (5, format!("mm-backup verify 20200101T000000Z {flags} --to {store}")),
        (0, format!("mm-backup restore latest --dry-run --stop {flags} --to {store}")),
        (0, format!("mm-swap status {flags}")),
        (5, format!("mm-swap rollback {flags}")),
        (0, format!("mm-pgbump check --to 15 --accept rollback {flags}")),
        (0, format!("mm-verify -q --browser no {flags}")),
        (2, "mm-swap status --databse".into()),
    ]
}

/// One of them on a terminal of so many columns.
fn on_terminal(columns: usize, variables: &str, call: &str) -> Output {
    let script = "script -qec \"$1\" /dev/null </dev/null";
    let line = format!("stty cols {columns}; {variables} {call}");
    tool::shell(script).args(["bash", &line]).output().unwrap()
}

/// Whether a line that is too long has nowhere to be broken: one word, or a command, which is copied as it stands there.
fn is_of_one_piece(line: &str, columns: usize) -> bool {
    let text = line.trim_start();
    let margin = line.chars().count() - text.chars().count();
    let first: String = text.chars().take(columns.saturating_sub(margin)).collect();
    !first.trim_end().contains(' ') || first.contains("mm-") || first.contains(" --")
}

#[test]
fn at_40_80_and_200_columns_every_word_is_whole() {
    let site = Site::builder("10.5.12").running().build();
    for columns in [40, 80, 200] {
        for (code, call) in calls(&site) {
            let output = on_terminal(columns, "TERM=dumb", &call);
            let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
            assert_eq!(output.status.code(), Some(code), "{call}: {said}");
            assert!(!said.trim().is_empty(), "{call} says nothing");
            assert!(!said.contains('\x1b'), "{call}: a dumb terminal shows them: {said:?}");
            for line in said.lines() {
                // The parser of the command line has its own texts for what is no flag.
                let is_ours = code != 2 || line.starts_with("hint: ");
                let fits = line.chars().count() <= columns || is_of_one_piece(line, columns);
                assert!(fits || !is_ours, "{call} at {columns} columns: {line}\n{said}");
            }
        }
    }
}

#[test]
fn colours_are_where_they_are_wanted_and_never_in_a_file_unasked() {
    let site = Site::builder("10.5.12").running().build();
    let fails = format!("mm-swap rollback {}", site.flags().join(" "));
    let has = |variables: &str, call: &str| {
        let output = on_terminal(80, variables, call);
        let all = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&all).contains("\x1b[")
    };
    assert!(has("TERM=xterm", &fails), "a terminal shows what has failed");
    assert!(!has("TERM=xterm NO_COLOR=1", &fails) && !has("TERM=xterm NO_COLOR=1 CLICOLOR_FORCE=1", &fails));
    assert!(!has("TERM=dumb", &fails) && has("TERM=dumb CLICOLOR_FORCE=1", &fails));
    let file = site.directory().join("in a file");
    for (code, call) in calls(&site) {
        let words = format!("TERM=xterm {call} --verbose >'{0}' 2>'{0}.err'", file.display());
        let call = if code == 2 || call.ends_with("--help") { words.replace(" --verbose", "") } else { words };
        let script = "script -qec \"$1\" /dev/null </dev/null";
        let output = tool::shell(script).args(["bash", &call]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{call}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains('\x1b'), "{call}");
        for end in ["", ".err"] {
            let text = std::fs::read_to_string(format!("{}{end}", file.display())).unwrap();
            assert!(!text.contains('\x1b'), "{call}: {text:?}");
        }
    }
    let forced = format!("CLICOLOR_FORCE=1 {fails}");
    let output = tool::shell(&format!("{forced} </dev/null")).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("\x1b["), "it was asked for");
}
