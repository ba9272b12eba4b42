//! How a site comes to be: from a template that is made once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use super::{PATIENCE, Site};
use crate::cluster::Cluster;
use crate::process::{self, TEST_USER};
use crate::release::{Order, Release};
use crate::tool;

/// Waits of the real server that tells a test nothing: its random slowness in stopping soon after a start, and the minute
/// before its background jobs run. All releases of the fixtures have them short.
pub const QUICK: [&str; 3] = ["watcher=0", "job-delay=1", "recycle=0"];

/// A sound release with the waits of [`QUICK`].
pub fn quick(version: &str) -> Order {
    QUICK.iter().fold(Order::of(version), |order, word| order.fault(word))
}

/// What a site is to be like.
#[derive(Debug, Clone)]
pub struct Builder {
    order: Order,
    postgres: u32,
    posts: u32,
    running: bool,
}

impl Builder {
    pub(super) fn of(version: &str) -> Self {
        // On a host with other majors: MM_TEST_POSTGRES.
        let postgres = std::env::var("MM_TEST_POSTGRES").ok().and_then(|major| major.parse().ok()).unwrap_or(13);
        Self { order: quick(version), postgres, posts: 100, running: false }
    }

    /// PostgreSQL major of its cluster; 13, or what `MM_TEST_POSTGRES` says, unless said otherwise.
    #[must_use]
    pub fn postgres(mut self, major: u32) -> Self {
        self.postgres = major;
        self
    }

    /// Posts in its two teams of five users; 100 unless said otherwise.
    #[must_use]
    pub fn posts(mut self, posts: u32) -> Self {
        self.posts = posts;
        self
    }

    /// The release it is installed from, when it is to be an unusual one.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// With the server running; otherwise it is stopped.
    #[must_use]
    pub fn running(mut self) -> Self {
        self.running = true;
        self
    }

    /// Builds it. The first one of a kind takes some seconds; what it is made of is kept below the target directory.
    pub fn build(self) -> Site {
        let template = self.files();
        let site = Site::empty(Cluster::restore(self.postgres, &template.join("data")), &self.order.version);
        site.take_tree(&template.join("mattermost"));
        let users = fs::read_to_string(template.join("users.json")).expect("the template has it");
        let site = Site { users: serde_json::from_str(&users).expect("it is our own"), ..site };
        if self.running {
            site.start();
        }
        site
    }

    /// What a site of this kind is copied from: its install tree in `mattermost`, with a configuration of no use, and
    /// the data directory of its cluster in `data`.
    pub fn files(&self) -> PathBuf {
        let release = self.order.build();
        let base = tool::cache().join("installed");
        fs::create_dir_all(&base).expect("the target directory can be written");
        let key = format!("{}-pg{}-{}-{}", release.version, self.postgres, self.posts, &release.sha256[..12]);
        let lock = File::create(base.join(format!("{key}.lock"))).expect("the target directory can be written");
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).expect("flock works");
        let template = base.join(&key);
        if !template.is_dir() {
            let working = base.join(format!("{key}.new"));
            let _ = fs::remove_dir_all(&working);
            fs::create_dir_all(&working).expect("the target directory can be written");
            self.fill(&release, &working);
            fs::rename(&working, &template).expect("the cache is ours");
        }
        template
    }

    fn fill(&self, release: &Release, template: &Path) {
        let site = Site::empty(Cluster::create(self.postgres), &release.version);
        site.unpack(release);
        site.configure();
        site.start();
        let seeded = Command::new(tool::executable("stand-in"))
            .args(["seed", "--posts", &self.posts.to_string(), "--database", &site.cluster.url(), "--install"])
            .arg(site.install())
            .output()
            .expect("the stand-in runs");
        let seeded: Value =
            serde_json::from_str(&process::succeeded("stand-in seed", seeded)).expect("it says so in JSON");
        fs::write(template.join("users.json"), seeded["users"].to_string()).expect("the cache is ours");
        // A server that has been in use for years is done with what a new one does in its first minute.
        process::wait_until("the background jobs of a new server", PATIENCE, || site.jobs_are_done());
        site.stop();
        site.add_custom_directory();
        process::run("chown", &["-R", &format!("{TEST_USER}:{TEST_USER}"), site.install().to_str().expect("ours")]);
        let tree = template.join("mattermost");
        process::run("cp", &["-a", site.install().to_str().expect("ours"), tree.to_str().expect("ours")]);
        site.cluster.save(&template.join("data"));
    }
}
