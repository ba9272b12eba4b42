//! A store that an earlier mm-backup filled.

use std::fs;

use mm_test_support::process::run;
use mm_test_support::site::Site;

use crate::{ask, document, good, recorded, said};

/// The installation it is of.
const INSTALL: &str = "tmp/mm-test-I8ezbt/opt/mattermost";

#[test]
fn the_restore_point_of_an_earlier_program_is_proven_and_restored() {
    let site = Site::builder("9.11.18").build();
    let place = site.directory().to_str().unwrap();
    run("tar", &["-xzf", recorded("store.tar.gz").to_str().unwrap(), "--numeric-owner", "-p", "-C", place]);
    let store = site.directory().join("store").display().to_string();
    let tool = |words: &[&str]| ask(&site, "mm-backup", &[words, &["--to", &store]].concat());
    let listed = tool(&["list", "--format", "json"]);
    assert!(
        listed.status.success() && String::from_utf8_lossy(&listed.stdout).contains("9.11.18"),
        "{}",
        said(&listed)
    );
    for words in [&["verify"][..], &["verify", "--restore"]] {
        let verified = tool(words);
        assert_eq!(verified.status.code(), Some(0), "{words:?}: {}", said(&verified));
    }
    // It is of another installation: nothing of this one is exchanged for it.
    let refused = document(&tool(&["restore", "latest", "--stop"]), 5);
    assert!(refused["error"]["hint"].is_string(), "{}", refused["error"]);

    let into = site.directory().join("into");
    let files = tool(&["restore", "latest", "--files", "--into", into.to_str().unwrap()]);
    assert_eq!(files.status.code(), Some(0), "{}", said(&files));
    let kept = into.join(INSTALL).join("custom/tls/a name with spaces, \u{e4} and 'quotes'");
    assert_eq!(fs::read_to_string(kept).unwrap(), "kept\n");
    site.cluster.sql("postgres", "CREATE DATABASE empty OWNER mmuser");
    let url = site.cluster.url().replace("/mattermost?", "/empty?");
    let filled = tool(&["restore", "latest", "--database", "--into-database", &url]);
    assert_eq!(filled.status.code(), Some(0), "{}", said(&filled));
    assert_eq!(site.cluster.sql("empty", "SELECT count(*) FROM posts"), "20");

    // The next restore points stand beside it.
    good(&site, "mm-backup", &["--to", &store]);
    let points = run("sh", &["-c", &format!("ls {store} | grep -c ^20")]);
    assert_eq!(points.trim(), "2");
}
