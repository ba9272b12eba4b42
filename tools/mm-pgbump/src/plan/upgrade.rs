//! An upgrade as it was worked out: what `--dry-run` tells is what `run` carries out.

use std::path::PathBuf;

use mm_common::postgres::cluster::Cluster;

use super::Method;

/// What has the name of the new cluster, and has to give it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// A cluster that has never held anything.
    Drop(Box<Cluster>),
    /// The new cluster of an upgrade that was rolled back.
    Rename(Box<Cluster>),
}

/// An upgrade that nothing stands against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The cluster.
    pub old: Cluster,
    /// The major to reach.
    pub major: u32,
    /// How the data is brought over.
    pub method: Method,
    /// Where the data of the new cluster goes.
    pub data: PathBuf,
    /// Where the new cluster logs to.
    pub log: PathBuf,
    /// Each cluster keeps its port, and the configuration of the server is repointed.
    pub keep_port: bool,
    /// Packages of the old major without a counterpart for the new one were accepted.
    pub force_packages: bool,
    /// What is done first.
    pub before: Before,
    /// The next tool starts the service.
    pub leave_stopped: bool,
}

impl Upgrade {
    /// What is done, in order, each after "would".
    pub fn steps(&self) -> Vec<String> {
        let label = self.old.label();
        let first = match &self.before {
            Before::Nothing => None,
            Before::Drop(empty) => Some(format!("drop the cluster {}, which has never held anything", empty.label())),
            Before::Rename(kept) => {
                Some(format!("give the cluster {}, from which was rolled back, another name", kept.label()))
            }
        };
        let steps = [
            "stop the service".into(),
            format!("block all other connections to {label} and read every table"),
            format!(
                "pg_upgradecluster --version {} --method {} into {}",
                self.major,
                self.method.name(),
                self.data.display()
            ),
            "start the new cluster for nobody else and compare every fact; roll back on any difference".into(),
            if self.keep_port {
                "repoint the configuration to the new port".into()
            } else {
                format!("serve on port {}", self.old.port)
            },
            if self.leave_stopped { "leave the service stopped".into() } else { "start the service again".into() },
        ];
        first.into_iter().chain(steps).collect()
    }

    /// All of it in one line, after "would".
    pub fn in_words(&self) -> String {
        format!("upgrade {} to PostgreSQL {} with --method {}", self.old.label(), self.major, self.method.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(major: u32) -> Box<Cluster> {
        let text = format!(
            r#"{{"major": {major}, "name": "main", "port": 5432, "online": true, "start": "auto", "owner": "postgres",
                "data": "/srv/{major}/main", "configuration": "/etc/{major}/main", "socket": "/run/postgresql", "log": "/l"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_would_be_done_is_told_in_its_order() {
        let plan = Upgrade {
            old: *cluster(13),
            major: 15,
            method: Method::Clone,
            data: "/srv/15/main".into(),
            log: "/l".into(),
            keep_port: false,
            force_packages: false,
            before: Before::Nothing,
            leave_stopped: true,
        };
        assert_eq!(plan.in_words(), "upgrade 13/main to PostgreSQL 15 with --method clone");
        let steps = plan.steps();
        assert_eq!((steps[0].as_str(), steps[5].as_str()), ("stop the service", "leave the service stopped"));
        assert_eq!(steps[2], "pg_upgradecluster --version 15 --method clone into /srv/15/main");
        assert_eq!(steps[4], "serve on port 5432");
        let plan = Upgrade { keep_port: true, leave_stopped: false, before: Before::Drop(cluster(15)), ..plan };
        let steps = plan.steps();
        assert_eq!((steps.len(), steps[0].as_str()), (7, "drop the cluster 15/main, which has never held anything"));
        assert_eq!(steps[5..], ["repoint the configuration to the new port", "start the service again"]);
        let steps = Upgrade { before: Before::Rename(cluster(15)), ..plan }.steps();
        assert_eq!(steps[0], "give the cluster 15/main, from which was rolled back, another name");
    }
}
