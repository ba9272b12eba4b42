//! What a tool says to do next is done as it is printed, on a site that is nowhere where the tools look by themselves: for
//! refusals, failed checks, what was taken back and what was cut off, of the tools that work on a server.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;

use mm_test_support::pipeline::plan;
use mm_test_support::process;
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

/// Ends half-way, with a part, without a document, undelivered, locked: what is rare has to be right the first time.
#[test]
fn a_hint_for_what_is_rare_is_done_as_it_is_printed() {
    let mut hints = Hints::new();
    let (root, place) = (hints.site.install(), hints.site.directory().to_owned());

    // 7: a file of the restore point is damaged; another one has it.
    let made = hints.run("mm-backup", &["create"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let id = made["backup"]["id"].as_str().unwrap().to_owned();
    let notice = root.join("NOTICE.txt");
    let stored = process::run("find", &[&hints.site.store().display().to_string(), "-name", "NOTICE.txt"]);
    let stored = stored.lines().next().expect("it is stored").to_owned();
    let whole = std::fs::read(&notice).unwrap();
    // In place of the file, that the second restore point has one of its own.
    std::fs::remove_file(&stored).unwrap();
    std::fs::write(&stored, "damaged").unwrap();
    assert_eq!(hints.run("mm-backup", &["create", "--rehash"]).status.code(), Some(0));
    let into = place.join("into").display().to_string();
    let found = hints.says("mm-backup", &["restore", &id, "--files", "--into", &into], 7);
    assert_eq!(found.len(), 2, "{found:?}");
    typed(&found[0], 0);
    typed(&found[1].replace(" FILE", &format!(" {} --stop", notice.display())), 0);
    assert_eq!(std::fs::read(&notice).unwrap(), whole);

    // 65 and 2: nothing was handed on.
    for words in [&["run"][..], &["rollback", "--document", "-"]] {
        let output = hints.site.tool("mm-swap").args(words).write_stdin("").output().unwrap();
        assert!(hints.said("mm-swap", words, 65, &output).is_empty());
    }
    let broken = "{\"schema\": \"mm.upgrade/1\", \"path\": 1}";
    let output = hints.site.tool("mm-path").args(["--format", "json"]).write_stdin(broken).output().unwrap();
    hints.said("mm-path", &[], 65, &output);

    // 74: the disk of whoever takes the document is full.
    let releases = hints.site.releases(&[quick(FROM).build(), quick(TO).build()]);
    let document = plan(&hints.site, &releases, &["--to", TO]);
    let (cache, catalogue) = (hints.site.cache().display().to_string(), releases.catalogue.display().to_string());
    let fetch = format!(
        "mm-fetch --mirror {} --cache {cache} --catalogue {catalogue} {} >/dev/full",
        releases.site.url(),
        hints.site.flags().join(" ")
    );
    let output = tool::shell(&fetch).write_stdin(document.to_string()).output().unwrap();
    for command in hints.said("mm-fetch", &["into a full disk"], 74, &output) {
        typed(&command, 0);
    }

    // 75: another tool works. It is stopped in the middle, with its locks.
    let mut works = std::process::Command::new(tool::executable("mm-backup"));
    works.args(hints.site.flags()).arg("--to").arg(hints.site.store()).env_clear().env("PATH", process::PATH);
    works
        .env("MM_CHECKPOINT", "partial-begun")
        .env("MM_CHECKPOINT_SIGNAL", "SIGSTOP")
        .stdin(std::process::Stdio::null());
    let mut works = works.stdout(std::process::Stdio::null()).spawn().unwrap();
    let is_stopped =
        || std::fs::read_to_string(format!("/proc/{}/stat", works.id())).is_ok_and(|stat| stat.contains(") T "));
    process::wait_until("the backup to stand still", std::time::Duration::from_secs(60), is_stopped);
    let archive = quick(TO).build().tarball.display().to_string();
    let swapped = hints.says("mm-swap", &["run", "--no-backup", "--archive", &archive], 75);
    let resumed = hints.says("mm-path", &["--resume"], 75);
    assert!(swapped.is_empty() && resumed.len() == 1, "{swapped:?} {resumed:?}");
    typed(&resumed[0], 0);
    works.kill().unwrap();
    works.wait().unwrap();

    // mm-fetch: out of reach, and what is named for a host that gets there.
    let nowhere = format!("http://127.0.0.1:{}", process::free_port());
    let empty = place.join("empty").display().to_string();
    let output = tool::tool("mm-fetch")
        .args([TO, "--edition", "team", "--cache", &empty, "--document", "none", "--mirror", &nowhere])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap();
    let bundle = place.join("bundle").display().to_string();
    let there = format!("--mirror {} --catalogue {catalogue} --cache {cache}", releases.site.url());
    let command = commands(hint).into_iter().find(|command| command.starts_with("mm-fetch ")).unwrap();
    let command = command.replace(" EDITION", " team").replace(" DIR", &format!(" {bundle}"));
    typed(&format!("{command} {there}"), 0);
    typed(&format!("mm-fetch {TO} --edition team --from-bundle {bundle} --cache {empty} --catalogue {catalogue}"), 0);
}

#[test]
fn a_hint_where_no_server_starts_is_done_as_it_is_printed() {
    let mut hints = Hints::new();
    let (root, place) = (hints.site.install(), hints.site.directory().to_owned());
    // 3: neither the new server starts nor the old one. Each command is one of the administrator's.
    let (stop, start) = (place.join("stop"), place.join("start"));
    for (path, text) in [(&stop, stop_all(&hints.site)), (&start, start_once(&hints.site))] {
        std::fs::write(path, text).unwrap();
        process::run("chmod", &["755", &path.display().to_string()]);
    }
    let manager = ["--stop-command", stop.to_str().unwrap(), "--start-command", start.to_str().unwrap()];
    let site = &hints.site;
    let mut swap = tool::tool("mm-swap");
    swap.args(["run", "--no-backup", "--start-timeout", "20", "--archive"])
        .arg(quick(TO).fault("crash-at-start").build().tarball);
    swap.arg("--install").arg(&root).arg("--state-dir").arg(site.state()).args(manager);
    let output = swap.output().unwrap();
    let ends = hints.said("mm-swap", &["no server starts"], 3, &output);
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert!(ends[0].contains("--start-command"), "{ends:?}");
    typed(&ends[0], 3);
    std::fs::write(place.join("fixed"), "").unwrap();
    typed(&ends[0], 0);
    assert_eq!(hints.site.running_version().as_deref(), Some(FROM));
}

/// A command of the administrator's that starts the server once, and from then on not before the file `fixed` is there.
fn start_once(site: &Site) -> String {
    let (place, root) = (site.directory().display(), site.install());
    let (uid, gid) = process::ids(process::TEST_USER);
    format!(
        "#!/bin/sh\necho start >>{place}/starts\n\
         [ \"$(wc -l <{place}/starts)\" -le 1 ] || [ -e {place}/fixed ] || exit 7\n\
         cd {root} && setsid setpriv --reuid {uid} --regid {gid} --clear-groups {root}/bin/mattermost \
         >>{place}/console.log 2>&1 </dev/null &\n",
        root = root.display()
    )
}

fn stop_all(site: &Site) -> String {
    let place = site.directory().display();
    format!(
        "#!/bin/sh\nfor p in /proc/[0-9]*; do case $(readlink $p/exe) in {place}/opt/*) kill ${{p#/proc/}} ;; esac; done\n"
    )
}
