//! The power fails while mm-swap goes back over a hop whose server has migrated the database: the machine boots and
//! starts what it can, users write what is taken from them, and in the end all of that is there.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use mm_common::mattermost::api::Server;
use mm_test_support::pipeline::{plan, run};
use mm_test_support::process::{end_all_below, wait_until};
use mm_test_support::release::Order;
use mm_test_support::site::{Site, quick};
use mm_test_support::tool::tool_with_old_setpriv;
use serde_json::{Value, json};

pub(super) const FROM: &str = "10.5.14";

/// A release whose server migrates the database; the old one still starts on it, and takes messages.
pub(super) const NEXT: &str = "10.6.1";

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A server with a restore point and the next release fetched, and a user who is logged in.
pub(super) struct Lab {
    pub(super) site: Site,
    /// What mm-backup wrote: mm-swap is next.
    pub(super) document: String,
    token: String,
    channel: String,
}

impl Lab {
    fn new(release: &Order) -> Self {
        Self::of(Site::builder(FROM).running().build(), release)
    }

    pub(super) fn of(site: Site, release: &Order) -> Self {
        Self::with(site, release, "--stop")
    }

    /// The restore point is made with these flags.
    pub(super) fn with(site: Site, release: &Order, backup: &str) -> Self {
        let user = site.users[1].clone();
        let channel = site.cluster.query(&format!(
            "SELECT m.channelid FROM channelmembers m JOIN channels c ON c.id = m.channelid AND c.type = 'O' \
             WHERE m.userid = '{}' LIMIT 1",
            user["id"].as_str().unwrap()
        ));
        let login = json!({"login_id": user["username"], "password": user["password"]});
        let answer = Server::at(site.url()).post("/api/v4/users/login", None, &login).unwrap();
        let token = answer.header("token").unwrap().to_owned();
        let releases = site.releases(&[quick(FROM).build(), release.build()]);
        let (flags, mirror) = (site.flags().join(" "), releases.site.url());
        let fetch = format!("mm-fetch {flags} --mirror {mirror} --catalogue {}", releases.catalogue.display());
        let fetch = format!("{fetch} --cache {}", site.cache().display());
        let pipeline = format!("{fetch} | mm-backup {flags} --to {} {backup}", site.store().display());
        let document = run(&pipeline, &plan(&site, &releases, &["--to", NEXT])).good().to_string();
        Self { site, document, token, channel }
    }

    /// mm-swap, killed at a checkpoint where one is named.
    pub(super) fn swap(&self, words: &[&str], checkpoint: &str) -> Output {
        let mut command = self.site.tool("mm-swap");
        command.args(words).args(["--start-timeout", "60"]).env("MM_CHECKPOINT", checkpoint);
        command.write_stdin(self.document.as_str()).output().unwrap()
    }

    /// mm-swap, started and not waited for.
    pub(super) fn begin(&self, words: &[&str]) -> Child {
        let mut command = Command::new(mm_test_support::tool::executable("mm-swap"));
        command.args(words).args(self.site.flags()).args(["--start-timeout", "60"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Ends the server, and all tools whose command line names this site.
    pub(super) fn end_all(&self) {
        // One that ends by itself in this moment is no failure.
        let _ = Command::new("sh").arg("-c").arg(end_all_below(self.site.directory())).output().unwrap();
        let directory = self.site.directory().to_string_lossy().into_owned();
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&directory) {
                let _ = Command::new("kill").arg("-9").arg(process.file_name()).output().unwrap();
            }
        }
    }

    /// A message that a user writes.
    fn post(&self, message: &str) -> Option<String> {
        let post = json!({"channel_id": self.channel, "message": message});
        let answer = Server::at(self.site.url()).post("/api/v4/posts", Some(&self.token), &post).ok()?;
        (answer.status == 201).then(|| answer.body["id"].as_str().unwrap().to_owned())
    }

    /// The lock of the installation.
    pub(super) fn lock_file(&self) -> PathBuf {
        std::fs::read_dir(self.site.state()).unwrap().flatten().next().unwrap().path().join("lock")
    }

    /// Whether a tool works that mm-swap has handed the lock on to.
    pub(super) fn works(&self, tool: &str) -> bool {
        let lock = self.lock_file();
        std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            name.trim() == tool && std::fs::read_link(process.path().join("fd/0")).is_ok_and(|stdin| stdin == lock)
        })
    }

    /// The power fails and comes again: no process of the server is left, and the machine starts what is installed. The
    /// message that a user gets into it, if there is a server.
    fn reboot(&self, message: &str) -> Option<String> {
        self.end_all();
        wait_until("the server to be gone", PATIENCE, || self.site.pids().is_empty());
        let executable = self.site.install().join("bin/mattermost");
        if std::fs::metadata(&executable).unwrap().permissions().mode() & 0o111 == 0 {
            let tried = Command::new(&executable).status().unwrap_err();
            assert_eq!(tried.kind(), std::io::ErrorKind::PermissionDenied, "{tried}");
            return None;
        }
        self.site.start_with(&[]);
        wait_until("a server that the machine has started", PATIENCE, || self.site.answers());
        self.post(message)
    }

    fn has(&self, post: &str) -> bool {
        self.site.cluster.query(&format!("SELECT count(*) FROM posts WHERE id = '{post}'")) == "1"
    }

    pub(super) fn status(&self) -> Value {
        let output = self.site.tool("mm-swap").args(["status", "--format", "json"]).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["status"].clone()
    }
}

pub(super) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_users_write_after_a_power_cut_on_the_way_back_is_kept() {
    let lab = Lab::new(&quick(NEXT).fault("wrong-version=10.5.0"));
    let mode = |lab: &Lab| std::fs::metadata(lab.site.install().join("bin/mattermost")).unwrap().permissions().mode();
    let before = mode(&lab);
    let mut written = 0;
    for checkpoint in ["undo-held", "undo-decided", "undo-config", "undo-restored", "undo-exchanged"] {
        let output = lab.swap(&["run"], checkpoint);
        assert_eq!(output.status.signal(), Some(9), "it was to die at `{checkpoint}`: {}", said(&output));
        let post = lab.reboot(checkpoint);
        let held = lab.status()["held"] == true;

        let output = lab.swap(&["recover"], "");
        assert_eq!(output.status.code(), Some(0), "after `{checkpoint}`: {}", said(&output));
        assert_eq!(lab.site.running_version().as_deref(), Some(FROM), "after `{checkpoint}`");
        assert_eq!((mode(&lab), lab.status()["held"].clone()), (before, json!(false)), "after `{checkpoint}`");
        if let Some(post) = post {
            written += 1;
            assert!(lab.has(&post), "a message that was taken after `{checkpoint}` is lost: {}", said(&output));
        }
        assert_eq!(held, checkpoint != "undo-exchanged", "at `{checkpoint}`");
    }
    assert_eq!(written, 1, "the old server on its own database takes messages, and no other was to be started");
}

#[test]
fn a_rollback_with_the_database_is_begun_or_not_whenever_the_power_fails() {
    let lab = Lab::new(&quick(NEXT));
    let output = lab.swap(&["run"], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));

    // Before it is decided the new server goes on, with what users write to it.
    let output = lab.swap(&["rollback", "--database"], "journal-written");
    assert_eq!(output.status.signal(), Some(9), "{}", said(&output));
    let post = lab.reboot("on the new server").expect("the new server is not held yet");
    let output = lab.swap(&["recover"], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(lab.site.running_version().as_deref(), Some(NEXT));
    assert!(lab.has(&post), "a message is lost: {}", said(&output));

    // After it no server is started, and what goes with the database is counted and named.
    let output = lab.swap(&["rollback", "--database"], "undo-decided");
    assert_eq!(output.status.signal(), Some(9), "{}", said(&output));
    assert_eq!(lab.reboot("on no server"), None);
    // What it runs need not be able to end with it.
    let mut recover = tool_with_old_setpriv("mm-swap");
    recover.arg("recover").args(lab.site.flags()).args(["--start-timeout", "60"]);
    let output = recover.write_stdin(lab.document.as_str()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(lab.site.running_version().as_deref(), Some(FROM));
    let said = said(&output);
    assert!(said.contains("1 post written since") && said.contains("_mm_before_"), "{said}");
}

#[test]
fn a_rollback_with_a_database_that_nobody_has_saved_is_refused() {
    let lab = Lab::new(&quick(NEXT));
    let archive = quick(NEXT).build().tarball;
    let mut command = lab.site.tool("mm-swap");
    let output = command.args(["run", "--no-backup", "--archive"]).arg(archive).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let pids = lab.site.pids();
    let output = lab.swap(&["rollback", "--database"], "");
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert_eq!(lab.site.pids(), pids, "the server was touched: {}", said(&output));
    assert_eq!(lab.status()["interrupted"], Value::Null);
}

/// A session that keeps roles from being changed, and with that a restore from going on, until this is dropped.
struct Holder(Child);

impl Holder {
    fn of(site: &Site) -> Self {
        let port = site.cluster.query("SHOW port");
        let psql = ["-u", "postgres", "--", "psql", "-qX", "-d", "postgres", "-p", port.trim()];
        let mut session =
            Command::new("runuser").args(psql).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let sql = b"BEGIN; LOCK TABLE pg_catalog.pg_authid IN EXCLUSIVE MODE;\n";
        std::io::Write::write_all(session.stdin.as_mut().unwrap(), sql).unwrap();
        let holder = Self(session);
        let held = "SELECT count(*) FROM pg_locks WHERE relation = 'pg_authid'::regclass AND mode = 'ExclusiveLock' AND granted";
        wait_until("the lock", PATIENCE, || site.cluster.query(held).trim() == "1");
        holder
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn a_rollback_that_was_asked_for_restores_beside_the_running_server_and_says_what_goes() {
    let lab = Lab::new(&quick(NEXT));
    let output = lab.swap(&["run"], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let pids = lab.site.pids();
    let holder = Holder::of(&lab.site);
    let (output, post) = std::thread::scope(|scope| {
        let rollback = scope.spawn(|| lab.swap(&["rollback", "--database"], ""));
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        wait_until("the restore to be under way", PATIENCE, || {
            rollback.is_finished() || lab.site.cluster.query(waits).trim() != "0"
        });
        assert_eq!(lab.site.pids(), pids, "the server was stopped before anything was prepared");
        let post = lab.post("written while the way back is prepared").expect("the server takes messages");
        drop(holder);
        (rollback.join().unwrap(), post)
    });
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(lab.site.running_version().as_deref(), Some(FROM));
    assert!(!lab.has(&post) && said.contains("1 post written since") && said.contains("_mm_before_"), "{said}");
}

#[test]
fn a_rollback_that_cannot_be_prepared_leaves_the_server_to_its_users() {
    let lab = Lab::new(&quick(NEXT));
    let output = lab.swap(&["run"], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let (pids, executable) = (lab.site.pids(), lab.site.install().join("bin/mattermost"));
    let mode = || std::fs::metadata(&executable).unwrap().permissions().mode();
    let before = mode();
    let document: Value = serde_json::from_str(&lab.document).unwrap();
    let dump = std::path::Path::new(document["backup"]["path"].as_str().unwrap()).join("database/mattermost.dump");
    let whole = std::fs::read(&dump).unwrap();
    std::fs::write(&dump, &whole[..whole.len() / 2]).unwrap();

    let output = lab.swap(&["rollback", "--database"], "");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("runs as before") && said.contains("mm-swap rollback --database --install"), "{said}");
    assert_eq!((lab.site.pids(), mode()), (pids, before), "{said}");
    assert_eq!((lab.status()["interrupted"].clone(), lab.status()["held"].clone()), (Value::Null, json!(false)));
    lab.post("the server takes messages").unwrap();

    std::fs::write(&dump, &whole).unwrap();
    let output = lab.swap(&["rollback", "--database"], "");
    assert_eq!(output.status.code(), Some(0), "{}", self::said(&output));
    assert_eq!(lab.site.running_version().as_deref(), Some(FROM));
}

/// Roles are the cluster's, and no way back changes them: one that was renamed since, or whose password was, is found while the
/// server still runs.
#[test]
fn a_role_that_was_renamed_since_is_found_before_the_server_is_stopped() {
    let lab = Lab::new(&quick(NEXT));
    assert_eq!(lab.swap(&["run"], "").status.code(), Some(0));
    let (site, pids) = (&lab.site, lab.site.pids());
    let config = site.config_path();
    let enter = |path: &std::path::Path, role: &str| {
        let port = site.cluster.port;
        let source = format!("postgres://{role}:other@127.0.0.1:{port}/mattermost?sslmode=disable&connect_timeout=10");
        let mut settings: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        settings["SqlSettings"]["DataSource"] = source.into();
        std::fs::write(path, settings.to_string()).unwrap();
    };
    let refused = |words: &str| {
        let output = lab.swap(&["rollback", "--database"], "");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(said.contains(words) && !said.contains("other@"), "{said}");
        assert_eq!(site.pids(), pids, "{said}");
    };
    site.cluster.query("ALTER ROLE mmuser RENAME TO messages; ALTER ROLE messages PASSWORD 'other'");
    enter(&config, "messages");
    refused("does not let the server into its database any more");
    let copies = lab.lock_file().with_file_name("configs");
    let copy = std::fs::read_dir(copies).unwrap().flatten().next().unwrap().path();
    enter(&copy, "messages");
    refused("GRANT \"mmuser\" TO \"messages\"");
    site.cluster.query("ALTER ROLE messages RENAME TO mmuser; ALTER ROLE mmuser PASSWORD 'other'");
    enter(&config, "mmuser");
    enter(&copy, "mmuser");
    let output = lab.swap(&["rollback", "--database"], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(site.running_version().as_deref(), Some(FROM));
}
