//! The site of the adversary, and what has to be as it was.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mm_test_support::canary::{Changes, changes, leaks};
use mm_test_support::process::{self, TEST_USER, run};
use mm_test_support::site::Site;
use mm_test_support::watchdog::Cleanup;

use super::FROM;
use crate::sql::{self, CAST, CHECKED, TRAP};
use crate::whose;

/// Entries that are gone into, ones that are exchanged whole, ones that are the user's, and files of each.
pub(super) const NAMES: &[&str] = &[
    "config/config.json",
    "config",
    "bin/mattermost",
    "bin",
    "client",
    "templates",
    "data",
    "logs",
    "plugins",
    "i18n",
];

/// What a verb may end with: as the table of the exit codes has them.
const CODES: [i32; 10] = [0, 1, 3, 4, 5, 6, 7, 65, 74, 75];

/// No verb takes longer, whatever it meets.
const LIMIT: Duration = Duration::from_secs(120);

/// Stands in root's files only.
const SECRET: &str = "words of root alone 9c27d4";

/// Whatever else an owner can hang on his tables. A superuser reads them; the server's role writes to them.
const HUNG: &str = r"
CREATE FUNCTION evil.row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.spring('trigger'); RETURN NEW; END $$;
CREATE TRIGGER hung BEFORE INSERT OR UPDATE ON public.posts FOR EACH ROW EXECUTE FUNCTION evil.row();
CREATE TRIGGER hung BEFORE INSERT OR UPDATE ON public.sessions FOR EACH ROW EXECUTE FUNCTION evil.row();
CREATE RULE hung AS ON DELETE TO public.sessions DO ALSO SELECT evil.spring('rule');
ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;
CREATE POLICY hung ON public.users USING (evil.spring('policy'));
ALTER DATABASE mattermost SET statement_timeout = '1h';
ALTER ROLE mmuser SET row_security = off;
";

pub(super) struct World {
    pub(super) site: Site,
    /// While names are raced for, tables are exchanged for views as well.
    pub(super) exchanges: bool,
    outside: PathBuf,
    changes: Changes,
    cluster: String,
    _cleanup: Cleanup,
}

impl World {
    pub(super) fn build() -> Self {
        // What a verb leaves behind becomes a child of this process.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let site = Site::builder(FROM).build();
        run("chown", &[TEST_USER, &text(&site.install().join("custom"))]);
        sql::as_the_owner(&site, &[TRAP, CAST, CHECKED].concat());
        let _ = whose::other_application(&site);
        sql::as_the_owner(&site, HUNG);
        let outside = site.directory().join("roots");
        run("cp", &["-a", &text(&site.install()), &text(&outside)]);
        run("chown", &["-R", "root:root", &text(&outside)]);
        let script = "find \"$1\" -type f -exec sh -c 'echo \"$0\" >>\"$1\"; chmod 600 \"$1\"' \"$2\" {} ';'";
        run("sh", &["-c", script, "sh", &text(&outside), SECRET]);
        let changes = changes(&outside);
        let cleanup = Cleanup::with(format!(
            "for n in $(cat {}/copy-*/copy.json 2>/dev/null | grep -o 'mmcopy[0-9a-f]*'); do \
             for d in /var/lib/postgresql/*/$n; do [ -d $d ] && pg_dropcluster --stop $(basename $(dirname $d)) $n; done; \
             rm -rf /var/lib/mm-tools/copies/$n; done",
            site.state().display()
        ));
        let mut world = Self { site, exchanges: false, outside, changes, cluster: String::new(), _cleanup: cleanup };
        world.cluster = world.facts();
        world
    }

    /// What is the superuser's and other people's: roles, and another application's database.
    fn facts(&self) -> String {
        let roles = "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
              (SELECT pg_catalog.string_agg(roleid::regrole::text, ' ' ORDER BY 1) FROM pg_auth_members m WHERE m.member = r.oid)
            FROM pg_roles r WHERE rolname !~ '^pg_' ORDER BY 1; SELECT datname, datdba::regrole, datacl FROM pg_database WHERE datname = 'otherapp'";
        let other =
            "SELECT n FROM public.bills ORDER BY 1; SELECT relname, relkind, relowner::regrole, relacl FROM pg_class
            WHERE relnamespace = 'public'::regnamespace ORDER BY 1; SELECT nspname, nspowner::regrole FROM pg_namespace
            WHERE nspname !~ '^pg_' ORDER BY 1";
        self.site.cluster.sql("postgres", roles) + &self.site.cluster.sql("otherapp", other)
    }

    /// Runs a verb while names of the tree are raced for; and, where it did not come to its end, once more alone, which ends
    /// what it has left open.
    pub(super) fn raced(&self, tool: &str, words: &[&str], names: &[&str]) {
        let kept = Kept::of(&self.site);
        let code = self.run(tool, words, names);
        let is_tree = |name: &&&str| {
            let meta = std::fs::symlink_metadata(self.site.install().join(**name));
            meta.is_ok_and(|meta| {
                if name.contains('.') || name.ends_with("bin/mattermost") { meta.is_file() } else { meta.is_dir() }
            })
        };
        let is_whole = names.iter().filter(is_tree).count() == names.len();
        // A copy has other inode numbers, by which mm-swap knows what it has exchanged.
        if !is_whole {
            kept.put_back(&self.site);
        }
        if code != 0 {
            let code = self.attempt(tool, words, None);
            eprintln!("    alone: {code}");
        }
    }

    /// Runs a verb while names of the tree are raced for.
    pub(super) fn run(&self, tool: &str, words: &[&str], names: &[&str]) -> i32 {
        let exchanging = self.exchanges.then(|| self.exchange_tables());
        let racer = Racer::start(&self.site, &self.outside, names);
        let code = self.attempt(tool, words, Some(racer));
        eprintln!("{tool} {}: {code}", words.join(" "));
        drop(exchanging);
        code
    }

    /// Runs a verb that is killed at a checkpoint.
    #[cfg(feature = "checkpoints")]
    pub(super) fn killed(&self, tool: &str, words: &[&str], checkpoint: &str) {
        let output = self.site.tool(tool).args(words).env("MM_CHECKPOINT", checkpoint).timeout(LIMIT).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), None, "{tool} {words:?} does not pass {checkpoint}: {said}");
    }

    fn attempt(&self, tool: &str, words: &[&str], racer: Option<Racer>) -> i32 {
        let before = self.running();
        let is_raced = racer.is_some();
        let output = self.site.tool(tool).args(words).timeout(LIMIT).output().unwrap();
        if let Some(racer) = racer {
            racer.end();
        }
        let what = format!("{tool} {}", words.join(" "));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().unwrap_or_else(|| panic!("{what} did not end by itself: {said}"));
        assert!(CODES.contains(&code) && !said.contains("panicked"), "{what} ended with {code}: {said}");
        let visible = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
        assert!(said.chars().all(visible), "{what} says what a terminal obeys: {said:?}");
        let after = changes(&self.outside);
        let touched: Vec<_> = after.iter().filter(|(path, change)| self.changes.get(*path) != Some(change)).collect();
        assert!(after == self.changes, "{what} changed root's files {touched:?}, exit {code}: {said}");
        let leaked = leaks(&self.site.directory().join("opt"), SECRET);
        assert!(leaked.is_empty(), "{what}: root's words can be read in {leaked:?}");
        // A verb that is refused as the tree is raced for leaves a cluster down that a killed one has: alone it starts it.
        let socket = format!("/var/run/postgresql/.s.PGSQL.{}", self.site.cluster.port);
        if code == 0 || !is_raced || Path::new(&socket).exists() {
            assert_eq!(self.facts(), self.cluster, "{what}, exit {code}: {said}");
            sql::is_not_sprung(&self.site, &said);
        }
        assert!(!Path::new("/var/tmp/mm-hostile-sprung").exists(), "{what}: a program was started by the database");
        let left = || -> Vec<_> { self.running().into_iter().filter(|one| !before.contains(one)).collect() };
        // What was killed is gone when the kernel has taken its memory back, which a busy machine puts off.
        let ended = Instant::now();
        while !left().is_empty() && ended.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let left = left();
        assert!(left.is_empty(), "{what}, exit {code}: still runs: {left:?}; {said}");
        if code != 0 {
            eprintln!("    {code}: {}", said.trim_end().replace('\n', "\n    "));
        }
        code
    }

    /// What runs as a child of this process, and is neither the server nor its cluster.
    fn running(&self) -> Vec<(i32, String)> {
        let own = process_id();
        let is_wanted = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields: Vec<&str> =
                stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
            // A zombie has ended, and a child that a test thread has started is not an orphan.
            fields.first().is_some_and(|state| *state != "Z") && fields.get(1) == Some(&own.as_str())
        };
        let pids =
            std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(is_wanted)
            .filter_map(|pid| {
                let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                // Those of a copy of the site among them.
                let is_server = ["opt", "copy"].iter().any(|place| exe.starts_with(self.site.directory().join(place)));
                let is_cluster = exe.ends_with("postgres")
                    && [self.site.cluster.name.as_str(), "/mmcopy"].iter().any(|name| line.contains(name));
                // A program that a thread of this test is just starting, and those that exchange tables.
                let is_ours = std::env::current_exe().is_ok_and(|own| own == exe) || line.contains("exchanging tables");
                (!is_server && !is_cluster && !is_ours).then_some((pid, line))
            })
            .collect()
    }

    /// As the owner, a table becomes a view and a table again, until the value is dropped.
    fn exchange_tables(&self) -> Exchanging {
        let (ended, url) = (Arc::new(AtomicBool::new(false)), self.site.cluster.url());
        let is_ended = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let there = "ALTER TABLE public.reactions RENAME TO reactions_kept; CREATE VIEW public.reactions AS SELECT *, \
                         evil.spring('view') FROM public.reactions_kept";
            let back = "DROP VIEW public.reactions; ALTER TABLE public.reactions_kept RENAME TO reactions";
            // The database may be away, or locked; then the next turn counts. A table stands at the end.
            let (mut is_view, mut last_turns) = (false, 0..100);
            while !is_ended.load(Ordering::Relaxed) || is_view && last_turns.next().is_some() {
                for sql in [there, back] {
                    let mut psql = Command::new(mm_test_support::cluster::psql());
                    psql.args(["-XqAt", "-v", "name=exchanging tables"]);
                    let done = psql.args(["-c", sql]).arg(&url).stderr(Stdio::null()).status();
                    if done.is_ok_and(|status| status.success()) {
                        is_view = sql == there;
                    }
                }
            }
        });
        Exchanging { ended, thread: Some(thread) }
    }
}

struct Exchanging {
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Exchanging {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

fn process_id() -> String {
    std::process::id().to_string()
}

struct Racer {
    child: Child,
    own: PathBuf,
}

impl Racer {
    fn start(site: &Site, outside: &Path, names: &[&str]) -> Self {
        let own = site.install().join("custom/racing");
        let mut command = process::as_user(TEST_USER, Path::new("/usr/bin/python3"));
        command.args(["-c", include_str!("racer.py")]).arg(site.install()).arg(outside).arg(&own).args(names);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "racing\n");
        Self { child, own }
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success(), "the racer did not race to the end");
        run("rm", &["-rf", &text(&self.own)]);
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        // It has ended already unless the test fails.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The tree with all that mm-swap keeps of it, as it was before a verb.
struct Kept(PathBuf);

impl Kept {
    const PLACES: [&str; 3] = ["opt/mattermost", "opt/.mattermost.mm", "state"];

    fn of(site: &Site) -> Self {
        let kept = site.directory().join("kept");
        run("rm", &["-rf", &text(&kept)]);
        std::fs::create_dir_all(kept.join("opt")).unwrap();
        for place in Self::PLACES.iter().filter(|place| site.directory().join(place).exists()) {
            run("cp", &["-a", "--reflink=auto", &text(&site.directory().join(place)), &text(&kept.join(place))]);
        }
        Self(kept)
    }

    fn put_back(&self, site: &Site) {
        for place in Self::PLACES {
            run("rm", &["-rf", &text(&site.directory().join(place))]);
            if self.0.join(place).exists() {
                run("cp", &["-a", "--reflink=auto", &text(&self.0.join(place)), &text(&site.directory().join(place))]);
            }
        }
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
