//! What a tool says to do next is done as it is printed, on a site that is nowhere where the tools look by themselves: for
//! refusals, failed checks, what was taken back and what was cut off, of the tools that work on a server.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;

use mm_test_support::site::{Site, quick};
use mm_test_support::tool::{self, TOOLS};

const FROM: &str = "10.5.14";
const TO: &str = "10.6.1";

/// Verbs that concern no installation, or name it by something else.
const OF_NONE: [&str; 4] = ["mm-backup copy", "mm-fetch refresh", "--from", "--catalogue-status"];

struct Hints {
    site: Site,
    seen: BTreeSet<(String, i32)>,
}

/// The commands of a text, as somebody would copy them.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("mm-") {
        let is_begun = at == 0 || text[..at].ends_with([' ', '`', '\n', '(', '"']);
        let rest = &text[at..];
        if !TOOLS.iter().any(|tool| rest.strip_prefix(*tool).is_some_and(|rest| rest.starts_with(' '))) {
            continue;
        }
        let mut quoted = false;
        let end = rest.find(|c: char| {
            quoted ^= c == '\'';
            !quoted && "`;,|\n".contains(c)
        });
        // Prose behind it begins with a word that is neither a flag nor looks like a value.
        let mut words: Vec<&str> = Vec::new();
        for word in rest[..end.unwrap_or(rest.len())].split(' ') {
            let is_value = word.starts_with(['-', '/', '\'']) || word.contains("/mm-test-");
            let is_named = word.chars().next().is_some_and(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
            let is_verb = words.len() == 1 && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            let is_of_flag = words.last().is_some_and(|word| ["--service", "--fix", "--accept"].contains(word));
            if !(words.is_empty() || is_value || is_named || is_verb || is_of_flag) {
                break;
            }
            words.push(word);
        }
        let command = words.join(" ");
        if is_begun && words.len() > 1 && command.contains(" --") {
            found.push(command.trim_end_matches(['.', ')', ':']).to_owned());
        }
    }
    found
}

impl Hints {
    fn new() -> Self {
        Self { site: Site::builder(FROM).running().build(), seen: BTreeSet::new() }
    }

    fn run(&self, tool: &str, words: &[&str]) -> Output {
        let mut command = self.site.tool(tool);
        command.args(words);
        if tool == "mm-backup" {
            command.arg("--to").arg(self.site.store());
        }
        command.output().unwrap()
    }

    /// A tool ends with a code; every command that it then says leads to this site. Returns them.
    fn says(&mut self, tool: &str, words: &[&str], code: i32) -> Vec<String> {
        let output = self.run(tool, words);
        self.said(tool, words, code, &output)
    }

    fn said(&mut self, tool: &str, words: &[&str], code: i32, output: &Output) -> Vec<String> {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let what = format!("{tool} {words:?}: {said}");
        assert_eq!(output.status.code(), Some(code), "{what}");
        self.seen.insert((tool.to_owned(), code));
        let is_told = !matches!(code, 2 | 65 | 75);
        let begun = said.lines().find_map(|line| line.strip_prefix("state: "));
        let of_server = ["mm-swap", "mm-pgbump"].contains(&tool);
        assert!(begun.is_some() || !(is_told && of_server), "how the server is: {what}");
        if let Some(begun) = begun {
            assert!(begun.contains("the server"), "{what}");
        }
        let hint: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("hint: ")).collect();
        let hint = hint.join("\n");
        let found = commands(&hint);
        for command in &found {
            let is_of_none = OF_NONE.iter().any(|words| command.contains(words));
            let install = format!("--install {}", self.site.install().display());
            let state = format!("--state-dir {}", self.site.state().display());
            assert!(is_of_none || command.contains(&install), "`{command}` is about another installation: {what}");
            assert!(command.contains(&state), "`{command}` looks into another state directory: {what}");
            let store = format!("{}", self.site.store().display());
            // Only what was called with a store knows it.
            let is_of_store = tool == "mm-backup"
                && command.starts_with(tool)
                && !command.contains(" recover ")
                && !command.contains("--run");
            assert!(
                !is_of_store || !is_of_none && command.contains(&store),
                "`{command}` looks into another store: {what}"
            );
        }
        found
    }
}

/// Types a command as it is printed.
fn typed(command: &str, code: i32) -> String {
    let filled = command.replace(" VERSION", &format!(" {TO}")).replace(" ID", " latest");
    let output = tool::shell(&format!("{filled} </dev/null")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "`{filled}`: {said}");
    said
}

#[test]
fn a_hint_is_done_as_it_is_printed() {
    let mut hints = Hints::new();
    let archive = quick(TO).build().tarball;
    let archive = archive.to_str().unwrap().to_owned();

    // 5: there is no run, no exchange, no upgrade of the cluster, no restore point.
    for command in hints.says("mm-path", &["--status"], 5) {
        typed(&command, 0);
    }
    let back = [hints.says("mm-swap", &["rollback"], 5), hints.says("mm-pgbump", &["rollback"], 5)];
    // Which restore point and which store it is, only somebody knows.
    assert!(back[0].len() == 1 && back[0][0].starts_with("mm-backup restore ID --install "), "{back:?}");
    assert!(back[0][0].ends_with(" --service exec"), "{back:?}");
    assert!(back[1].is_empty(), "{back:?}");
    std::fs::create_dir(hints.site.store()).unwrap();
    let made = hints.says("mm-backup", &["verify"], 5);
    assert_eq!(made.len(), 1, "{made:?}");
    typed(&made[0], 0);
    let list = hints.says("mm-backup", &["verify", "20200101T000000Z"], 5);
    typed(&list[0], 0);
    let restored = hints.says("mm-backup", &["restore", "latest"], 5);
    assert!(restored.is_empty(), "{restored:?}");

    // 4: what a check has found is repaired as it says.
    let sql = "UPDATE roles SET permissions = replace(permissions, ' create_post ', ' ') WHERE name = 'channel_user'";
    hints.site.cluster.query(sql);
    let output = hints.run("mm-verify", &["run", "--browser", "no", "--format", "human"]);
    hints.said("mm-verify", &[], 4, &output);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let repairs: Vec<String> = commands(&table).into_iter().filter(|command| command.contains("repair")).collect();
    assert!(!repairs.is_empty(), "{table}");
    for command in repairs {
        typed(&command, 0);
    }

    // 6: the release that does not start is taken back; 1: the archive is none.
    let broken = quick(TO).fault("crash-at-start").build().tarball;
    hints.says("mm-swap", &["run", "--no-backup", "--archive", broken.to_str().unwrap()], 6);
    assert!(hints.site.answers());
    let none = hints.site.directory().join("mattermost-team-10.6.1-linux-amd64.tar.gz");
    std::fs::write(&none, "no archive").unwrap();
    let output = hints.run("mm-swap", &["run", "--no-backup", "--archive", none.to_str().unwrap()]);
    hints.said("mm-swap", &["an archive that is none"], 5, &output);

    // Killed in the middle: all others refuse (5), with the command that ends it.
    let mut swap = hints.site.tool("mm-swap");
    swap.args(["run", "--no-backup", "--archive", &archive]).env("MM_CHECKPOINT", "exchanged");
    let output = swap.output().unwrap();
    assert_eq!(output.status.signal(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
    let mut ends = BTreeSet::new();
    for (tool, words) in [
        ("mm-path", &["--to", TO][..]),
        ("mm-backup", &["create"]),
        ("mm-pgbump", &["run", "--to", "15", "--no-backup"]),
    ] {
        ends.extend(hints.says(tool, words, 5));
    }
    assert_eq!(ends.len(), 1, "{ends:?}");
    typed(ends.first().unwrap(), 0);
    assert!(hints.site.answers());
    let seen: Vec<_> = hints.seen.iter().map(|(tool, code)| (tool.as_str(), *code)).collect();
    let tried = [("mm-backup", 5), ("mm-path", 5), ("mm-pgbump", 5), ("mm-swap", 5), ("mm-swap", 6), ("mm-verify", 4)];
    assert_eq!(seen, tried);
}
