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

/// What a terminal of so many columns gets from a shell line.
fn on_terminal(columns: u16, variables: &str, line: &str) -> String {
    run(
        "script",
        &["-qec", &format!("stty cols {columns}; env -u NO_COLOR -u CLICOLOR_FORCE {variables} {line}"), "/dev/null"],
    )
}

#[test]
fn a_terminal_sees_share_rate_and_remaining_time_in_its_own_width_and_nobody_else_does() {
    let tarball = release(16, 400_000);
    let bytes = tarball.clone();
    let server = Server::start(move |request, _| Reply {
        // Long enough for the line to be drawn in the middle.
        stall: request.from.is_none().then_some(200_000),
        ..Reply::file(request, &bytes, "\"a\"")
    });
    let tool = mm_test_support::tool::executable("mm-fetch");
    let place = Place::new();
    let line = |name: &str| {
        format!(
            "{} --arch amd64 --edition team --retry-wait 0 --stall-timeout 1 --mirror {} --sha256 {} {VERSION} --cache {} </dev/null",
            tool.display(),
            server.url,
            sha256(&tarball),
            place.cache().join(name).display()
        )
    };
    let seen = on_terminal(120, "TERM=xterm", &line("wide"));
    let painted = seen.split('\r').find(|piece| piece.starts_with("10.6.1: 200 kB of ")).unwrap_or_default();
    assert!([" %, ", " kB/s, ", " left"].iter().all(|part| painted.contains(part)), "{seen:?}");
    let seen = on_terminal(40, "TERM=xterm", &line("narrow"));
    assert!(seen.split('\r').any(|piece| piece.starts_with("10.6.1: 4") && piece.contains(" %")), "{seen:?}");
    for painted in seen.split('\r').filter_map(|piece| piece.strip_suffix("\u{1b}[K")) {
        assert!(painted.chars().count() < 40, "{painted:?}");
    }
    let seen = on_terminal(40, "TERM=dumb", &line("dumb"));
    assert!(seen.contains("10.6.1") && !seen.contains('\u{1b}'), "{seen:?}");
    let elsewhere = Place::new();
    elsewhere.get(&server.url, VERSION, &sha256(&tarball)).args(["--stall-timeout", "1"]).assert().success().stderr("");
    // A plain line, without anything that rewrites it.
    let mut command = Place::new().get(&server.url, VERSION, &sha256(&tarball));
    let output = command.args(["--stall-timeout", "1", "-v"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("10.6.1") && !said.contains(['\u{1b}', '\r']), "{said:?}");
}

#[test]
fn colours_are_for_terminals_that_can_and_for_people_who_want_them() {
    let tool = mm_test_support::tool::executable("mm-fetch");
    let line = format!("{} --document none || true", tool.display());
    let red = "\u{1b}[1;31merror:\u{1b}[0m";
    assert!(on_terminal(80, "TERM=xterm", &line).contains(red));
    for none in ["TERM=dumb", "TERM=xterm NO_COLOR=1", "TERM=xterm NO_COLOR=1 CLICOLOR_FORCE=1"] {
        let seen = on_terminal(80, none, &line);
        assert!(seen.contains("error:") && !seen.contains("\u{1b}[1"), "{none}: {seen:?}");
    }
    let file =
        |variables: &str| run("bash", &["-c", &format!("exec 2>&1; env -u NO_COLOR TERM=xterm {variables} {line}")]);
    assert!(!file("A=b").contains('\u{1b}') && file("CLICOLOR_FORCE=1").contains(red));
}
