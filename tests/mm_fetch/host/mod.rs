//! mm-fetch and the host it runs on: full disks, proxies, certificate authorities, keyrings, and no internet at all.

mod bundles;
mod connections;
mod signatures;
use std::time::Duration;

use crate::fixture::{Announced, Place, Reply, Server, release, sha256};
use mm_test_support::process::run;
use mm_test_support::watchdog::Cleanup;
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

const VERSION: &str = "10.6.1";

/// Long enough for a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A small file system for the cache.
fn small_disk(place: &Place, bytes: &str) -> Cleanup {
    std::fs::create_dir(place.cache()).unwrap();
    let cache = place.cache();
    let cache = cache.to_str().unwrap();
    run("mount", &["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "tmpfs", cache]);
    Cleanup::with(format!("umount -l '{cache}'"))
}

#[test]
fn a_disk_that_is_too_small_is_noticed_before_the_first_byte() {
    let (place, tarball) = (Place::new(), release(1, 3_000_000));
    let _disk = small_disk(&place, "10m");
    let bytes = tarball.clone();
    let server = Server::start(move |request, _| Reply::file(request, &bytes, "\"a\""));
    let mut command = place.get(&server.url, VERSION, &sha256(&tarball));
    command.assert().code(5).stderr(contains("are missing"));
    assert!(server.gets().is_empty());
    assert_eq!(place.cached(), [""; 0]);
}

#[test]
fn a_disk_that_fills_up_leaves_no_half_file_and_says_how_much_is_missing() {
    let tarball = release(2, 3_000_000);
    for announced in [Announced::Truth, Announced::Nothing] {
        let place = Place::new();
        let _disk = small_disk(&place, "2m");
        let bytes = tarball.clone();
        let server = Server::start(move |request, _| {
            // Who is not told the size beforehand cannot look for the room.
            let announced = if request.method == "HEAD" { Announced::Nothing } else { announced };
            Reply { announced, ..Reply::file(request, &bytes, "\"a\"") }
        });
        let mut command = place.get(&server.url, VERSION, &sha256(&tarball));
        command.assert().code(1).stderr(contains("No space left").and(contains("are free")));
        assert_eq!(place.cached(), [""; 0]);
    }
}

#[test]
fn a_disk_that_fills_up_while_copying_leaves_no_half_file() {
    let (place, tarball) = (Place::new(), release(3, 3_000_000));
    let mirror = place.mirror(&[(VERSION, &tarball)]);
    let _disk = small_disk(&place, "2m");
    place.get(mirror.to_str().unwrap(), VERSION, &sha256(&tarball)).assert().code(5).stderr(contains("are missing"));
    assert_eq!(place.cached(), [""; 0]);
}

#[test]
fn a_terminal_sees_a_bar_with_rate_and_remaining_time_and_nobody_else_does() {
    let tarball = release(16, 400_000);
    let bytes = tarball.clone();
    let server = Server::start(move |request, _| Reply {
        // Long enough for the line to be drawn in the middle.
        stall: request.from.is_none().then_some(200_000),
        ..Reply::file(request, &bytes, "\"a\"")
    });
    let place = Place::new();
    let tool = mm_test_support::tool::executable("mm-fetch");
    let line = format!(
        "{} --arch amd64 --edition team --retry-wait 0 --stall-timeout 1 --mirror {} --sha256 {} {VERSION} --cache {} </dev/null",
        tool.display(),
        server.url,
        sha256(&tarball),
        place.cache().display()
    );
    let seen = run("script", &["-qec", &line, "/dev/null"]);
    assert!(seen.contains("10.6.1 #") && seen.contains(" MB/s ") && seen.contains(" left"), "{seen:?}");
    let elsewhere = Place::new();
    elsewhere.get(&server.url, VERSION, &sha256(&tarball)).args(["--stall-timeout", "1"]).assert().success().stderr("");
}
