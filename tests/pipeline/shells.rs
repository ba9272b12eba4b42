//! Completions in the shells that people use, as they are installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use mm_test_support::process::{PATH, workspace};
use mm_test_support::tool::TOOLS;

/// The restore point that there is.
const POINT: &str = "20261129T030000Z";

/// Beginnings of lines, and what a shell makes of their last word.
const LINES: [(&str, &str); 5] = [
    ("mm-swap rollback --datab", "--database"),
    ("mm-path --policy min", "minor"),
    ("mm-path --to 10.6.", "10.6.6"),
    ("mm-backup verify 2026", POINT),
    ("mm-upgrade resu", "resume"),
];

/// A directory for PATH, with tools that only tell of restore points.
fn programs(place: &Path) -> String {
    let text = format!("#!/bin/sh\ncase \"$*\" in *list*) printf 'ID  CREATED\\n{POINT}  2026-11-29\\n' ;; esac\n");
    for name in TOOLS.into_iter().chain(["mm-upgrade"]) {
        let path = place.join(name);
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    format!("{}:{PATH}", place.display())
}

/// What a shell says that runs the script.
fn said(shell: &str, flags: &[&str], script: &str) -> String {
    let place = tempfile::tempdir().unwrap();
    let path = programs(place.path());
    let mut command = Command::new(shell);
    command.args(flags).arg(script).env_clear().env("PATH", path).env("HOME", place.path()).env("TERM", "dumb");
    let output =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{shell}: {error}: scripts/prepare"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn completions(shell: &str) -> String {
    workspace().join("completions").join(shell).display().to_string()
}

#[test]
fn bash_completes_flags_values_and_restore_points() {
    for (line, wanted) in LINES {
        let name = line.split(' ').next().unwrap();
        let script = format!(
            ". {}/{name}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); complete=$(complete -p {name}); \
             complete=${{complete#*-F }}; ${{complete%% *}} {name} \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; \
             printf '<%s>' \"${{COMPREPLY[@]}}\"",
            completions("bash")
        );
        let offered = said("bash", &["-c"], &script);
        assert!(offered.contains(&format!("<{wanted}>")), "{line}: {offered}");
    }
}

#[test]
fn fish_completes_flags_values_and_restore_points() {
    for (line, wanted) in LINES {
        let script = format!("set -p fish_complete_path {}; complete -C '{line}'", completions("fish"));
        let offered = said("fish", &["--no-config", "-c"], &script);
        let words: Vec<_> = offered.lines().filter_map(|line| line.split('\t').next()).collect();
        assert!(words.contains(&wanted), "{line}: {offered}");
    }
}

#[test]
fn zsh_completes_flags_values_and_restore_points() {
    for (line, wanted) in LINES {
        // An interactive shell on a terminal of its own, in which the line is typed, with a tab after it.
        let script = format!(
            "zmodload zsh/zpty; zpty shell zsh -f -i; \
             zpty -w shell 'PS1=; fpath=({} $fpath); autoload -Uz compinit; compinit -u -D; bindkey \"^I\" complete-word; print READY'; \
             zpty -r -m shell said '*READY*'; zpty -w -n shell $'{line}\\t'; \
             for attempt in {{1..100}}; do zpty -r -t shell part && seen+=$part; [[ $seen == *{wanted}* ]] && break; sleep 0.1; done; \
             print -r -- \"$seen\"; zpty -d shell",
            completions("zsh")
        );
        let seen = said("zsh", &["-f", "-c"], &script);
        assert!(seen.contains(wanted), "{line}: {seen}");
    }
}
