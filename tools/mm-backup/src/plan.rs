//! What a run will do, from what was seen and what is wanted. Pure.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use serde::Serialize;

use crate::glob::Glob;
use crate::manifest::{Root, What};

/// What was seen of the installation.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    /// The install root, resolved.
    pub install: PathBuf,
    /// The data directory, resolved.
    pub data: PathBuf,
    /// `FileSettings.DriverName`.
    pub file_driver: String,
    /// Files and directories of the configuration, and how the service is started; resolved, and all there.
    pub others: Vec<Root>,
    /// `SqlSettings.DriverName`.
    pub sql_driver: String,
    /// Whether the server ran when the run began.
    pub was_running: bool,
    /// Whether it runs now.
    pub is_running: bool,
    /// The store, resolved.
    pub store: PathBuf,
}

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// `--stop`.
    pub stop: bool,
    /// `--leave-stopped`.
    pub leave_stopped: bool,
    /// `--freeze`.
    pub freeze: bool,
    /// `--no-data`.
    pub no_data: bool,
    /// `--no-database`.
    pub no_database: bool,
    /// `--whole-cluster`.
    pub whole_cluster: bool,
    /// `--exclude`.
    pub exclude: Vec<String>,
}

/// What will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    /// Trees and files to store.
    pub roots: Vec<Root>,
    /// Paths and patterns to leave out.
    pub exclude: Vec<String>,
    /// Whether the database is dumped.
    pub database: bool,
    /// Whether the database is one of MySQL, dumped by its own program.
    pub mysql: bool,
    /// Whether the other databases of its cluster are dumped too.
    pub whole_cluster: bool,
    /// Whether the database is frozen beside itself, to be dumped later, where that is possible.
    pub freeze: bool,
    /// Whether the service is stopped first.
    pub stop: bool,
    /// Whether it is started afterwards.
    pub start: bool,
    /// What an administrator has named: it is stored whoever may read it.
    #[serde(skip)]
    pub named: Vec<PathBuf>,
    /// Where uploaded files are; files that change there while they are read do not matter.
    #[serde(skip)]
    pub data: PathBuf,
}

/// Directories that hold a whole system: a data directory that is one of them is a mistake, or somebody's trap.
const NOT_OURS: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/local",
    "/var",
    "/var/lib",
    "/var/log",
    "/mnt",
    "/media",
];

/// Makes the plan.
///
/// # Errors
/// Refused when files are stored elsewhere (S3) or the database is not PostgreSQL and no flag says to go on without
/// them; when the store lies in what is to be stored; when a root is a directory of the system.
pub(crate) fn plan(seen: &Observed, wish: &Wish) -> Result<Plan> {
    if seen.file_driver != "local" && !wish.no_data {
        return Err(Error::refused("uploaded files cannot be put into the restore point")
            .because(format!("`FileSettings.DriverName` is `{}`: they are not on this machine", seen.file_driver))
            .hint("protect that storage by its own means (versioning, replication) and give --no-data to go on without it"));
    }
    let (postgres, mysql) = (seen.sql_driver == "postgres", seen.sql_driver == "mysql");
    if !postgres && !mysql && !wish.no_database {
        return Err(Error::refused("the database cannot be put into the restore point")
            .because(format!("`SqlSettings.DriverName` is `{}`", seen.sql_driver))
            .hint("dump it with its own tools and give --no-database to go on without it"));
    }
    if wish.whole_cluster && !postgres {
        return Err(Error::refused("--whole-cluster is for a cluster of PostgreSQL")
            .because("the server works with MySQL")
            .hint("without it: the server's own database is dumped"));
    }
    if wish.leave_stopped && !wish.stop && seen.is_running {
        return Err(Error::usage("--leave-stopped needs --stop").hint("give --stop as well"));
    }
    let mut roots = vec![Root { path: seen.install.clone(), what: What::Install }];
    let mut exclude = wish.exclude.clone();
    if wish.no_data {
        exclude.push(seen.data.display().to_string());
    } else {
        roots.push(Root { path: seen.data.clone(), what: What::Data });
    }
    roots.extend(seen.others.iter().cloned());
    for root in &roots {
        check(root, &seen.store)?;
    }
    let start = wish.stop && !wish.leave_stopped && seen.was_running;
    Ok(Plan {
        roots: outermost(roots),
        exclude,
        database: postgres && !wish.no_database,
        mysql: mysql && !wish.no_database,
        whole_cluster: wish.whole_cluster,
        freeze: wish.freeze && wish.stop && postgres && !wish.no_database,
        stop: wish.stop,
        start,
        named: seen.others.iter().filter(|root| root.what == What::Service).map(|root| root.path.clone()).collect(),
        data: seen.data.clone(),
    })
}

fn check(root: &Root, store: &Path) -> Result<()> {
    if NOT_OURS.iter().any(|path| Path::new(path) == root.path) {
        return Err(Error::refused(format!("`{}` is not stored", root.path.display()))
            .because("it is a directory of the system, not one of Mattermost")
            .hint("look at the directories in the configuration"));
    }
    if store.starts_with(&root.path) {
        return Err(Error::refused(format!("the store `{}` is in what it is to hold", store.display()))
            .because(format!("`{}` is stored", root.path.display()))
            .hint("give another directory with --to, best on another disk"));
    }
    Ok(())
}

/// Leaves out what lies below another.
fn outermost(mut roots: Vec<Root>) -> Vec<Root> {
    roots.sort_by(|a, b| a.path.cmp(&b.path).then(a.what.cmp(&b.what)));
    let mut kept: Vec<Root> = Vec::new();
    for root in roots {
        if !kept.iter().any(|outer| root.path.starts_with(&outer.path)) {
            kept.push(root);
        }
    }
    kept
}

/// Which entries are left out.
#[derive(Debug, Clone)]
pub(crate) struct Excludes {
    globs: Vec<Glob>,
}

impl Excludes {
    /// From [`Plan::exclude`].
    pub(crate) fn new(patterns: &[String]) -> Self {
        Self { globs: patterns.iter().map(|pattern| Glob::new(pattern)).collect() }
    }

    /// Whether the entry at `below` its root is left out, with all that is in it.
    pub(crate) fn has(&self, absolute: &Path, below: &Path) -> bool {
        self.globs.iter().any(|glob| {
            let path = if glob.is_absolute() { absolute } else { below };
            glob.matches(path.as_os_str().as_encoded_bytes())
        })
    }
}

/// Whether it is a fault that this file changed each time it was read. Logs grow; an upload that is under way belongs to
/// a post that the snapshot of the database does not have.
pub(crate) fn change_matters(plan: &Plan, path: &Path) -> bool {
    let is_log = path.extension().is_some_and(|extension| extension == "log")
        || path.parent().is_some_and(|parent| parent.ends_with("logs"));
    !(is_log || path.starts_with(&plan.data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Observed {
        Observed {
            install: "/opt/mattermost".into(),
            data: "/opt/mattermost/data".into(),
            file_driver: "local".into(),
            others: vec![
                Root { path: "/opt/mattermost/config/config.json".into(), what: What::Config },
                Root { path: "/etc/systemd/system/mattermost.service".into(), what: What::Service },
            ],
            sql_driver: "postgres".into(),
            was_running: true,
            is_running: true,
            store: "/srv/backup".into(),
        }
    }

    #[test]
    fn what_lies_in_the_install_tree_is_not_stored_twice() {
        let plan = plan(&seen(), &Wish::default()).unwrap();
        let paths: Vec<_> = plan.roots.iter().map(|root| root.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/etc/systemd/system/mattermost.service", "/opt/mattermost"]);
        assert!(plan.database && !plan.stop && !plan.start);
        assert!(!change_matters(&plan, Path::new("/opt/mattermost/data/x")));
        assert!(!change_matters(&plan, Path::new("/opt/mattermost/logs/mattermost.log")));
        assert!(change_matters(&plan, Path::new("/opt/mattermost/config/config.json")));
    }

    #[test]
    fn data_elsewhere_is_a_root_of_its_own_and_can_be_left_out() {
        let seen = Observed { data: "/srv/files".into(), ..seen() };
        assert_eq!(plan(&seen, &Wish::default()).unwrap().roots.len(), 3);
        let without = plan(&seen, &Wish { no_data: true, ..Wish::default() }).unwrap();
        assert_eq!(without.roots.len(), 2);
        assert!(Excludes::new(&without.exclude).has(Path::new("/srv/files"), Path::new("")));
    }

    #[test]
    fn only_a_service_that_ran_is_started_again() {
        let wish = Wish { stop: true, ..Wish::default() };
        assert!(plan(&seen(), &wish).unwrap().start);
        assert!(!plan(&Observed { was_running: false, ..seen() }, &wish).unwrap().start);
        assert!(!plan(&seen(), &Wish { leave_stopped: true, ..wish }).unwrap().start);
        assert_eq!(plan(&seen(), &Wish { leave_stopped: true, ..Wish::default() }).unwrap_err().code(), 2);
    }

    #[test]
    fn s3_other_drivers_a_store_inside_and_directories_of_the_system_are_refused() {
        let s3 = Observed { file_driver: "amazons3".into(), ..seen() };
        let refusal = plan(&s3, &Wish::default()).unwrap_err();
        assert!(refusal.next_step().unwrap().contains("--no-data"));
        plan(&s3, &Wish { no_data: true, ..Wish::default() }).unwrap();
        let sqlite = Observed { sql_driver: "sqlite3".into(), ..seen() };
        assert_eq!(plan(&sqlite, &Wish::default()).unwrap_err().code(), 5);
        let mysql = Observed { sql_driver: "mysql".into(), ..seen() };
        let dumped = plan(&mysql, &Wish { stop: true, freeze: true, ..Wish::default() }).unwrap();
        assert!(dumped.mysql && !dumped.database && !dumped.freeze);
        assert_eq!(plan(&mysql, &Wish { whole_cluster: true, ..Wish::default() }).unwrap_err().code(), 5);
        let inside = Observed { store: "/opt/mattermost/backup".into(), ..seen() };
        assert_eq!(plan(&inside, &Wish::default()).unwrap_err().code(), 5);
        let trap = Observed { data: "/etc".into(), ..seen() };
        assert_eq!(plan(&trap, &Wish::default()).unwrap_err().code(), 5);
    }
}
