//! The stream of `export` in other hands: encrypted, and kept by a program for backups.

use std::fs;
use std::path::Path;

use mm_test_support::process;
use mm_test_support::site::Site;
use mm_test_support::tool;

use crate::round_trip::furnish;
use crate::tree::{assert_same, describe};
use crate::{make, verify};

/// Runs a recipe of the manual: the tools are in its PATH, and `$store`, `$away` and `$back` are directories.
fn recipe(site: &Site, script: &str) {
    let away = site.directory().join("away");
    let back = site.directory().join("back");
    for directory in [&away, &back] {
        fs::create_dir_all(directory).unwrap();
    }
    process::run("chmod", &["0700", back.to_str().unwrap()]);
    let output = tool::shell(&format!("set -euo pipefail\n{script}"))
        .env("store", site.store())
        .env("away", &away)
        .env("back", &back)
        .env("HOME", &away)
        .output()
        .unwrap();
    process::succeeded(script, output);
}

/// The store is lost; what has come back is in its place.
fn come_back(site: &Site) {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    process::run("rm", &["-rf", &text(&site.store())]);
    process::run("mv", &[&text(&site.directory().join("back")), &text(&site.store())]);
}

#[test]
fn restic_keeps_the_stream_and_gives_it_back() {
    let site = Site::builder("5.29.0").build();
    furnish(&site.install());
    make(&site, &[]);
    let tree = describe(&site.install());
    recipe(
        &site,
        r#"export RESTIC_REPOSITORY=$away/repository RESTIC_PASSWORD=of-the-test RESTIC_CACHE_DIR=$away/cache
           restic init --quiet
           mm-backup export --to "$store" | restic backup --quiet --stdin --stdin-filename mattermost.tar
           restic check --quiet --read-data
           restic dump latest mattermost.tar | tar -xpf - -C "$back""#,
    );
    come_back(&site);
    let (code, said) = verify(&site, &["--restore"]);
    assert_eq!(code, 0, "{said}");
    fs::remove_dir_all(site.install()).unwrap();
    site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest", "--files"]).assert().success();
    assert_same(&tree, &describe(&site.install()));
}

#[test]
fn an_encrypted_stream_is_of_use_to_who_has_the_key() {
    let site = Site::builder("5.29.0").build();
    make(&site, &[]);
    recipe(
        &site,
        r#"age-keygen -o "$away/key" 2>/dev/null
           mm-backup export --to "$store" | age -r "$(age-keygen -y "$away/key")" >"$away/mattermost.tar.age"
           age -d -i "$away/key" "$away/mattermost.tar.age" | tar -xpf - -C "$back""#,
    );
    let sealed = fs::read(site.directory().join("away/mattermost.tar.age")).unwrap();
    assert!(!sealed.windows(13).any(|window| window == b"manifest.json"), "it can be read without the key");
    come_back(&site);
    let (code, said) = verify(&site, &[]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_reader_that_goes_away_is_not_a_success() {
    let site = Site::builder("5.29.0").build();
    make(&site, &[]);
    let output = tool::shell("set -o pipefail; mm-backup export --to \"$store\" | head -c 1000 >/dev/null")
        .env("store", site.store())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(74) && said.contains("hint: "), "{said}");
    // A terminal would obey what is in the stream.
    let output =
        tool::shell("script -qec \"mm-backup export --to '$store'\" /dev/null").env("store", site.store()).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(2) && said.contains("a tar stream is nothing for a terminal"), "{said}");
}
