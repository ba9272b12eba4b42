//! The user that the server runs as, racing root: while mm-swap works, directories and files of the tree become links to
//! places of root's and back, many times a second. Nothing of root's may change, and nothing of it may become readable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use mm_test_support::canary::{changes, leaks};
use mm_test_support::process::{self, TEST_USER, run};
use mm_test_support::site::{Site, quick};

use super::{FROM, TO};

/// Exchanges an entry of the tree with a link to its counterpart at root's place, in one step, and back, until the end of
/// its input. It is a link for about a third of the time. Arguments: root of the tree, root's place, the link, the name.
const RACER: &str = r#"
import ctypes, os, random, sys, threading
libc = ctypes.CDLL(None)
root, outside, link, name = sys.argv[1:]
os.symlink(f"{outside}/{name}", link)
one, two = f"{root}/{name}".encode(), link.encode()
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
print("racing", flush=True)
while not ended.wait(random.random() * 0.004):
    if libc.renameat2(-100, one, -100, two, 2) == 0:
        ended.wait(random.random() * 0.002)
        libc.renameat2(-100, one, -100, two, 2)
"#;

/// Directories that are gone into, ones that are exchanged whole, ones that are the user's, and files of each.
const NAMES: &[&str] = &[
    "client",
    "templates",
    "bin",
    "client/files",
    "i18n",
    "config",
    "templates/welcome_body.html",
    "data",
    "client/images",
    "config/config.json",
    "bin/mattermost",
    "fonts",
];

/// Rounds after which the test gives up waiting for one that came to its end and one that did not.
const MOST: usize = 40;

/// Stands in root's files only.
const SECRET: &str = "words of root alone 7f3a91";

struct Racer(Child);

impl Racer {
    fn start(tree: &Path, outside: &Path, name: &str) -> Self {
        let mut command = process::as_user(TEST_USER, Path::new("/usr/bin/python3"));
        command.args(["-c", RACER]).arg(tree).arg(outside).arg(tree.join("custom/link")).arg(name);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, "racing\n");
        Self(child)
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success(), "the racer did not race to the end");
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        // It has ended already unless the test fails.
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// A place of root's that looks like the tree, each file of it with root's words.
fn place_of_root(site: &Site) -> PathBuf {
    let outside = site.directory().join("roots");
    let text = |path: &Path| path.display().to_string();
    run("cp", &["-a", &text(&site.install()), &text(&outside)]);
    run("chown", &["-R", "root:root", &text(&outside)]);
    let script = format!(
        "find {} -type f -exec sh -c 'echo \"{SECRET}\" >>\"$1\"; chmod 600 \"$1\"' sh {{}} ';'",
        text(&outside)
    );
    run("sh", &["-c", &script]);
    outside
}

#[test]
fn a_service_user_who_races_with_links_changes_and_learns_nothing_outside() {
    let site = Site::builder(FROM).build();
    let release = quick(TO).build();
    // Things of the user's, so that the directories are gone into.
    for mine in ["templates/mine", "bin/mine", "client/files/mine"] {
        std::fs::write(site.install().join(mine), "mine\n").unwrap();
    }
    let outside = place_of_root(&site);
    let (before, original) = (changes(&outside), site.directory().join("original"));
    let text = |path: &Path| path.display().to_string();
    run("chown", &[TEST_USER, &text(&site.install().join("custom"))]);
    run("cp", &["-a", &text(&site.install()), &text(&original)]);

    let mut codes: BTreeMap<(&str, i32), u32> = BTreeMap::new();
    for (round, name) in NAMES.iter().cycle().enumerate() {
        let both = codes.contains_key(&("run", 0)) && codes.keys().any(|(_, code)| *code != 0);
        if round >= NAMES.len() && (both || round >= MOST) {
            break;
        }
        let racer = Racer::start(&site.install(), &outside, name);
        for verb in ["run", "rollback", "recover"] {
            let mut command = site.tool("mm-swap");
            command.arg(verb);
            if verb == "run" {
                command.args(["--no-backup", "--no-start", "--archive"]).arg(&release.tarball);
            }
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code().unwrap_or_else(|| panic!("mm-swap {verb} died: {said}"));
            assert!(
                [0, 1, 3, 5, 6].contains(&code) && !said.contains("panicked"),
                "mm-swap {verb} ended with {code}: {said}"
            );
            *codes.entry((verb, code)).or_default() += 1;
            assert!(
                changes(&outside) == before,
                "mm-swap {verb} changed something outside by {name}, exit {code}: {said}"
            );
        }
        racer.end();
        let leaked = leaks(&site.directory().join("opt"), SECRET);
        assert!(leaked.is_empty(), "root's words can be read in {leaked:?}");
        for place in [site.install(), site.directory().join("opt/.mattermost.mm"), site.state()] {
            run("rm", &["-rf", &text(&place)]);
        }
        run("cp", &["-a", &text(&original), &text(&site.install())]);
    }
    eprintln!("verbs and exit codes: {codes:?}");
    assert!(codes.contains_key(&("run", 0)), "no run came to its end, so little was raced: {codes:?}");
    assert!(codes.keys().any(|(_, code)| *code != 0), "no run met a link: {codes:?}");
}
