//! The directory of a run that an earlier mm-upgrade was killed in: it is told, taken back, and gone on with.

use std::fs;
use std::path::PathBuf;

use mm_test_support::site::quick;
use mm_test_support::tool;
use mm_test_support::upgrade::{SCRIPTS, Upgrade};

use crate::{good, recorded, said, state};

const RUN: &str = "20261130T023907Z-20433";

struct Earlier {
    upgrade: Upgrade,
    run: PathBuf,
    point: String,
}

impl Earlier {
    /// The run has made its first hop, whose restore point exists.
    fn new() -> Self {
        let upgrade = Upgrade::of(&[quick("10.5.14"), quick("10.6.1")]);
        let site = &upgrade.site;
        let made = good(site, "mm-backup", &["--to", site.store().to_str().unwrap()]);
        let point = made["backup"]["id"].as_str().unwrap().to_owned();
        let values = [
            ("{DIR}", site.directory().display().to_string()),
            ("{STATE}", state(site).display().to_string()),
            ("{MIRROR}", upgrade.releases.site.url().to_owned()),
            ("{PORT}", site.port.to_string()),
            ("{DATABASE_PORT}", site.cluster.port.to_string()),
            ("{CLUSTER}", site.cluster.name.clone()),
            ("{POINT}", point.clone()),
        ];
        let run = upgrade.runs().join(RUN);
        fs::create_dir_all(run.join("hop-1-10.5.14")).unwrap();
        for name in ["arguments", "plan.json", "current.json", "log", "hop-1-10.5.14/backup.json"] {
            let text = fs::read_to_string(recorded("run").join(name)).unwrap();
            let text = values.iter().fold(text, |text, (placeholder, value)| text.replace(placeholder, value));
            let text = if name == "arguments" { text.replace('\n', "\0") } else { text };
            fs::write(run.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink(RUN, upgrade.runs().join("last")).unwrap();
        Self { upgrade, run, point }
    }

    /// What mm-upgrade says to a verb that ends with this code.
    fn asks(&self, verb: &str, code: i32) -> String {
        let output = self.upgrade.run(verb, &[]);
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
        assert_eq!(output.status.code(), Some(code), "{verb}: {told}");
        told
    }
}

#[test]
fn an_earlier_run_is_told_and_gone_on_with() {
    let earlier = Earlier::new();
    let site = &earlier.upgrade.site;
    let history = site.history();
    let told = earlier.asks("status", 0);
    for line in ["of an earlier mm-upgrade", "done     9.11.18 to 10.5.14", "to do    10.5.14 to 10.6.1"] {
        assert!(told.contains(line), "{told}");
    }
    let report = tool::shell(&format!("{SCRIPTS}/mm-report {}", earlier.run.display())).output().unwrap();
    assert!(report.status.success(), "{}", said(&report));
    assert!(String::from_utf8_lossy(&report.stdout).contains("not at its end: 1 hop to go"));

    let told = earlier.asks("resume", 0);
    assert!(told.contains("arrived at 10.6.1"), "{told}");
    assert_eq!((site.running_version().as_deref(), site.history()), (Some("10.6.1"), history));
    let kept = earlier.upgrade.runs().join(format!("{RUN}.earlier"));
    assert!(kept.join("current.json").exists() && !earlier.run.exists());
    let told = earlier.asks("status", 0);
    assert!(told.contains("finished") && !told.contains("earlier mm-upgrade"), "{told}");
}

#[test]
fn an_earlier_run_is_taken_back_once() {
    let earlier = Earlier::new();
    let site = &earlier.upgrade.site;
    let history = site.history();
    site.cluster.query("UPDATE posts SET message = 'written since'");
    let told = earlier.asks("rollback", 0);
    assert!(told.contains(&earlier.point), "{told}");
    assert_eq!((site.running_version().as_deref(), site.history()), (Some("10.5.14"), history));
    // What was written after that would be lost.
    site.cluster.query("UPDATE posts SET message = 'written after'");
    let written = site.history();
    assert!(earlier.asks("rollback", 0).contains("has been rolled back already"));
    let told = earlier.asks("resume", 5);
    assert!(told.contains("begin anew with 'mm-upgrade run'"), "{told}");
    assert_eq!(site.history(), written);
}
