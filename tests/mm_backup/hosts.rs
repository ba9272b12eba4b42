//! Two machines with one store, whose servers are in the same place: each works with its own restore points.

use std::path::PathBuf;

use mm_test_support::site::Site;
use mm_test_support::tool::tool_on_other_machine;
use serde_json::Value;

use crate::{listed, make};

/// A machine beside this one that has the same site.
struct Machine<'a> {
    site: &'a Site,
    name: &'static str,
    id: PathBuf,
}

impl<'a> Machine<'a> {
    fn new(site: &'a Site, name: &'static str) -> Self {
        let id = site.directory().join(name);
        std::fs::write(&id, format!("{:032x}\n", name.len())).unwrap();
        Self { site, name, id }
    }

    /// Runs mm-backup there.
    fn backup(&self, code: i32, arguments: &[&str]) -> (Value, String) {
        let mut command = tool_on_other_machine(self.name, &self.id, "mm-backup");
        command.args(self.site.flags()).arg("--to").arg(self.site.store()).args(arguments);
        told(&command.output().unwrap(), code, arguments)
    }
}

/// Runs mm-backup on this machine.
fn backup(site: &Site, code: i32, arguments: &[&str]) -> (Value, String) {
    let mut command = site.tool("mm-backup");
    told(&command.arg("--to").arg(site.store()).args(arguments).output().unwrap(), code, arguments)
}

fn told(output: &std::process::Output, code: i32, arguments: &[&str]) -> (Value, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

fn id(backup: &Value) -> String {
    backup["id"].as_str().unwrap().to_owned()
}

#[test]
fn each_machine_takes_its_own_restore_points_and_leaves_the_others() {
    let site = Site::builder("10.5.14").build();
    let other = Machine::new(&site, "chat-two");
    let first = id(&make(&site, &[]));
    let (document, _) = other.backup(0, &[]);
    let theirs = id(&document["backup"]);
    let newest = |value: &Value| value["points"][0]["id"].as_str().unwrap_or_default().to_owned();
    let latest = ["list", "--latest", "--max-age", "26h", "--format", "json"];
    assert_eq!(newest(&backup(&site, 0, &latest).0), first);
    assert_eq!(newest(&other.backup(0, &latest).0), theirs);
    let (verified, _) = backup(&site, 0, &["verify"]);
    assert_eq!(id(&verified["backup"]), first);

    // The newest is of this machine; another one is shown as what it is.
    let (_, said) = backup(&site, 0, &["restore", "latest", "--dry-run", "-v"]);
    let (document, _) = backup(&site, 0, &["restore", "latest", "--database"]);
    let message = document["msg"].as_str().unwrap();
    assert!(message.contains(&first) && !message.contains(&theirs), "{message} {said}");
    let shown =
        site.tool("mm-backup").arg("--to").arg(site.store()).args(["list", "--format", "human"]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line = format!("{theirs}  OTHER MACHINE: it is of `{}` on chat-two", site.install().display());
    assert!(shown.replace("\n    ", " ").contains(&line) && shown.matches("OTHER MACHINE").count() == 1, "{shown}");

    // Retention counts and removes its own alone.
    let (_, _) = backup(&site, 0, &["create", "--keep-last", "1"]);
    let ids = listed(&site).0;
    assert!(ids.len() == 2 && ids.contains(&theirs) && !ids.contains(&first), "{ids:?}");
    other.backup(0, &["prune", "--keep-last", "1"]);
    assert_eq!(listed(&site).0, ids);

    // Put over what is installed here it would be another server's.
    let (_, said) = backup(&site, 5, &["restore", &theirs, "--database"]);
    assert!(said.contains("on chat-two") && said.contains("--accept other-host"), "{said}");
    backup(&site, 0, &["restore", &theirs, "--database", "--accept", "other-host"]);
    backup(
        &site,
        0,
        &["restore", &theirs, "--path", "config", "--into", &site.directory().join("beside").display().to_string()],
    );
}

#[test]
fn a_machine_without_restore_points_takes_none_by_itself_and_a_bare_one_the_only_other_s() {
    let site = Site::builder("10.5.14").build();
    let made = id(&make(&site, &["--no-database"]));
    let other = Machine::new(&site, "chat-three");
    let (_, said) = other.backup(5, &["restore", "latest", "--files"]);
    assert!(
        said.contains(&format!("mm-backup restore {made} --files")) && said.contains("--accept other-host"),
        "{said}"
    );
    other.backup(4, &["list", "--max-age", "26h"]);
    other.backup(5, &["verify"]);
    other.backup(0, &["verify", &made]);
    other.backup(0, &["restore", "latest", "--files", "--accept", "other-host", "--dry-run"]);
    // Its server is to take the place of the one that was lost.
    std::fs::rename(site.install(), site.directory().join("gone")).unwrap();
    let (document, said) = other.backup(0, &["restore", "latest", "--files", "-v"]);
    assert!(said.contains(&format!("the newest restore point is {made}, of ")), "{said}");
    assert!(document["msg"].as_str().unwrap().contains(&made), "{document}");
    assert!(site.install().join("bin/mattermost").is_file());
}
