//! What nightly backups say, and what monitoring asks.

use std::fs;

use mm_test_support::site::Site;
use mm_test_support::tool;

use crate::listed;

#[test]
fn a_backup_off_a_terminal_says_one_line_and_its_age_can_be_asked() {
    let site = Site::builder("5.29.0").build();
    let list = |flags: &[&str]| {
        let output = tool::tool("mm-backup").arg("list").arg("--store").arg(site.store()).args(flags).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    fs::create_dir(site.store()).unwrap();
    let (code, _, said) = list(&["--max-age", "26h"]);
    assert!(
        code == Some(4) && said.contains("there is no restore point") && said.contains("hint: mm-backup --to"),
        "{said}"
    );
    assert_eq!(list(&["--latest"]).0, Some(4));

    for number in 1..=2 {
        let mut command = site.tool("mm-backup");
        let output = command.args(["create", "--format", "human", "--to"]).arg(site.store()).output().unwrap();
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && line.lines().count() == 1, "{line}");
        let points = format!("{number} restore point{} in ", if number == 1 { "" } else { "s" });
        assert!(
            line.contains(" of it new, in ") && line.contains(&points) && line.contains("the oldest of 2"),
            "{line}"
        );
    }
    let ids = listed(&site).0;
    let (code, shown, said) = list(&["--latest", "--max-age", "26h"]);
    assert_eq!(code, Some(0), "{said}");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["points"].as_array().unwrap().len(), 1);
    assert_eq!(shown["points"][0]["id"].as_str(), ids.last().map(String::as_str));

    let (code, _, said) = list(&["--max-age", "0s"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("is younger than 0 min") && said.contains(ids.last().unwrap()), "{said}");
    // An unfinished or damaged one is none.
    fs::write(site.store().join(ids.last().unwrap()).join("manifest.json"), "{").unwrap();
    let (_, shown, _) = list(&["--latest"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["points"][0]["id"].as_str(), ids.first().map(String::as_str));
}
