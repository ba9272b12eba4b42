//! A new release whose executable is damaged or gone: going back from it is what the verbs are for.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mm_test_support::site::{Site, quick};

use super::{FROM, TO, release_files, swap, verb};

/// What it is called, and what is done to the server's executable.
type Ruin = (&'static str, fn(&Path));

/// The ways in which an executable is of no use.
const RUINS: [Ruin; 5] = [
    ("empty", |server| std::fs::File::options().write(true).open(server).unwrap().set_len(0).unwrap()),
    ("truncated", |server| std::fs::File::options().write(true).open(server).unwrap().set_len(1000).unwrap()),
    ("not executable", |server| {
        std::fs::write(server, "no program").unwrap();
        std::fs::set_permissions(server, std::fs::Permissions::from_mode(0o644)).unwrap();
    }),
    ("gone", |server| std::fs::remove_file(server).unwrap()),
    ("another file", |server| {
        std::fs::remove_file(server).unwrap();
        std::fs::write(server, "no program").unwrap();
    }),
];

/// With files of the user's in `bin` the server alone is exchanged, else the whole directory.
fn goes_back(mine: bool) {
    let site = Site::builder(FROM).build();
    if mine {
        std::fs::write(site.install().join("bin/mine.sh"), "#!/bin/sh\n").unwrap();
    }
    let (history, old) = (site.history(), release_files(&site));
    let release = quick(TO).build();
    for (what, ruin) in RUINS {
        swap(&site, &release, &["--no-start"]).with(0);
        ruin(&site.install().join("bin/mattermost"));
        let status = verb(&site, &["status", "--format", "json"]).with(0);
        assert_eq!(status.document["status"]["installed"], TO, "{what}");
        assert_eq!(verb(&site, &["recover"]).with(0).document["changed"], false, "{what}");
        verb(&site, &["rollback", "--dry-run"]).with(0);
        verb(&site, &["rollback"]).with(0);
        assert_eq!(release_files(&site), old, "{what}");
        assert_eq!(verb(&site, &["rollback"]).with(0).document["changed"], false, "{what}");
    }
    site.start();
    assert_eq!(site.running_version().as_deref(), Some(FROM));
    assert_eq!(site.history(), history);
}

#[test]
fn a_release_whose_server_is_ruined_gives_way_with_its_directory() {
    goes_back(false);
}

#[test]
fn a_ruined_server_alone_gives_way_among_files_of_the_users() {
    goes_back(true);
}

#[test]
fn a_directory_that_no_swap_tells_of_is_no_installation() {
    let site = Site::builder(FROM).build();
    std::fs::remove_file(site.install().join("bin/mattermost")).unwrap();
    for words in ["status", "recover", "rollback"] {
        let said = verb(&site, &[words]).with(5);
        assert!(said.document["error"].to_string().contains("there is no Mattermost server in"), "{}", said.stderr);
    }
}
