//! The user that the server runs as, racing root: while mm-swap works, directories and files of the tree become links to
//! places of root's and back, many times a second. Nothing of root's may change, and nothing of it may become readable.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use mm_test_support::process::{self, TEST_USER, run};
use mm_test_support::site::{Site, quick};

use crate::{FROM, TO};

/// Exchanges entries of the tree with links to their counterparts at root's place, in one step each, and back; ends at
/// the end of its input. Arguments: root of the tree, root's place, a directory for the links, pause in seconds, names.
const RACER: &str = r#"
import ctypes, os, random, sys, threading, time
libc = ctypes.CDLL(None)
root, outside, links, pause, *names = sys.argv[1:]
def exchange(name):
    one, two = f"{root}/{name}", f"{links}/{name.replace('/', '+')}"
    return libc.renameat2(-100, one.encode(), -100, two.encode(), 2) == 0
for name in names:
    os.symlink(f"{outside}/{name}", f"{links}/{name.replace('/', '+')}")
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
print("racing", flush=True)
while not ended.is_set():
    name = random.choice(names)
    if exchange(name):
        for _ in range(random.randrange(300)):
            pass
        exchange(name)
    time.sleep(random.random() * float(pause))
"#;

const NAMES: &[&str] = &[
    "bin",
    "bin/mattermost",
    "client",
    "client/images",
    "client/root.html",
    "client/files",
    "config",
    "config/config.json",
    "data",
    "fonts",
    "i18n",
    "i18n/en.json",
    "logs",
    "plugins",
    "templates",
    "templates/welcome_body.html",
];

/// Stands in root's files only.
const SECRET: &str = "words of root alone 7f3a91";

struct Racer(Child);

impl Racer {
    fn start(tree: &Path, outside: &Path, pause: &str) -> Self {
        let links = tree.join("custom/links");
        let mut command = process::as_user(TEST_USER, Path::new("/usr/bin/python3"));
        command.args(["-c", RACER]).arg(tree).arg(outside).arg(&links).arg(pause).args(NAMES);
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

/// When each entry was last changed in any way, as the kernel noted it.
fn changes(top: &Path) -> BTreeMap<PathBuf, (i64, i64, u64)> {
    let data = std::fs::symlink_metadata(top).unwrap();
    let mut found = BTreeMap::from([(top.to_owned(), (data.ctime(), data.ctime_nsec(), data.size()))]);
    if data.is_dir() {
        for entry in std::fs::read_dir(top).unwrap() {
            found.extend(changes(&entry.unwrap().path()));
        }
    }
    found
}

/// Files with root's words that others than root may read.
fn leaks(top: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(top).unwrap().map(|entry| entry.unwrap().path()) {
        let data = std::fs::symlink_metadata(&path).unwrap();
        if data.is_dir() {
            leaks(&path, found);
        } else if data.is_file() && (data.uid() != 0 || data.mode() & 0o044 != 0) {
            let bytes = std::fs::read(&path).unwrap();
            if bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
                found.push(path);
            }
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
    let outside = place_of_root(&site);
    let (before, original) = (changes(&outside), site.directory().join("original"));
    let text = |path: &Path| path.display().to_string();
    run("cp", &["-a", &text(&site.install()), &text(&original)]);

    let mut codes: BTreeMap<(&str, i32), u32> = BTreeMap::new();
    for pause in ["0.02", "0.005", "0.001", "0"].iter().cycle().take(12) {
        let links = site.install().join("custom/links");
        std::fs::create_dir(&links).unwrap();
        std::fs::set_permissions(&links, std::fs::Permissions::from_mode(0o777)).unwrap();
        let racer = Racer::start(&site.install(), &outside, pause);
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
            assert!(changes(&outside) == before, "mm-swap {verb} changed something outside, exit {code}: {said}");
        }
        racer.end();
        let mut leaked = Vec::new();
        leaks(&site.directory().join("opt"), &mut leaked);
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
