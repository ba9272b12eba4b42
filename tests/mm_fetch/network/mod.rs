//! mm-fetch and servers that misbehave, connections that break, and processes that are killed. Whatever happens, what
//! stands in the cache under its final name is the release, and no byte is fetched twice without need.

mod processes;

use std::time::Duration;

use crate::fixture::{Announced, Place, Reply, Request, Server, complete, release, sha256, written};
use predicates::str::contains;

const VERSION: &str = "10.6.1";

/// Long enough for a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);

struct Case {
    place: Place,
    tarball: Vec<u8>,
    server: Server,
}

/// A release on a server that answers as told: the request, its number, the tarball.
fn case(seed: u64, answer: impl Fn(&Request, usize, &[u8]) -> Reply + Send + Sync + 'static) -> Case {
    let tarball = release(seed, 400_000);
    let bytes = tarball.clone();
    let server = Server::start(move |request, number| answer(request, number, &bytes));
    Case { place: Place::new(), tarball, server }
}

impl Case {
    fn command(&self) -> assert_cmd::Command {
        self.place.get(&self.server.url, VERSION, &sha256(&self.tarball))
    }

    /// The release is in the cache, and nothing else is.
    fn arrived(&self) {
        assert_eq!(self.place.cached(), complete(VERSION, &self.tarball));
    }

    /// Bytes of bodies that the server sent.
    fn sent(&self) -> u64 {
        self.server.gets().iter().map(|request| request.sent).sum()
    }
}

fn tag(request: &Request, bytes: &[u8]) -> Reply {
    Reply::file(request, bytes, "\"one\"")
}

#[test]
fn a_connection_that_breaks_is_continued_where_it_broke() {
    let case = case(1, |request, number, bytes| {
        let reply = tag(request, bytes);
        if number < 4 { reply.cut(90_000) } else { reply }
    });
    let assert = case.command().assert().success();
    case.arrived();
    assert_eq!(case.sent(), case.tarball.len() as u64);
    let gets = case.server.gets();
    assert_eq!(gets.iter().map(|get| get.from).collect::<Vec<_>>()[..3], [None, Some(90_000), Some(180_000)]);
    assert_eq!(gets[1].if_range.as_deref(), Some("\"one\""));
    assert_eq!(written(&assert)["fetch"]["releases"][0]["transferred"], case.tarball.len());
}

#[test]
fn a_server_that_falls_silent_is_asked_again() {
    let case =
        case(2, |request, number, bytes| Reply { stall: (number == 0).then_some(100_000), ..tag(request, bytes) });
    case.command().args(["--stall-timeout", "1"]).assert().success();
    case.arrived();
    assert_eq!(case.server.gets()[1].from, Some(100_000));
}

#[test]
fn a_server_that_trickles_is_given_up() {
    let case = case(3, |request, _, bytes| Reply { trickle: Some(Duration::from_millis(20)), ..tag(request, bytes) });
    let mut command = case.command();
    command.args(["--stall-timeout", "1", "--retries", "0"]);
    command.assert().code(1).stderr(contains("bytes came in"));
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let case = case(4, |request, _, bytes| Reply { delay: Duration::from_secs(20), ..tag(request, bytes) });
    let mut command = case.command();
    command.args(["--answer-timeout", "1", "--retries", "0"]);
    command.assert().code(1).stderr(contains("took too long"));
}

#[test]
fn a_length_that_is_too_large_is_not_believed() {
    let case = case(5, |request, _, bytes| Reply {
        announced: Announced::Bytes(bytes.len() as u64 + 10),
        ..Reply { headers: Vec::new(), ..tag(request, bytes) }
    });
    case.command().args(["--retries", "2"]).assert().code(1).stderr(contains("hint:"));
    assert!(!case.place.cached().iter().any(|path| path.contains("release.json")), "{:?}", case.place.cached());
}

#[test]
fn a_length_that_is_too_small_does_not_make_half_a_release() {
    let case = case(6, |request, _, bytes| Reply {
        announced: Announced::Bytes(bytes.len() as u64 - 10),
        ..tag(request, bytes)
    });
    case.command().assert().code(1).stderr(contains("SHA-256"));
    assert!(case.place.cached().iter().all(|path| path.starts_with("refused/")), "{:?}", case.place.cached());
}

#[test]
fn one_byte_more_is_noticed() {
    let case = case(7, |request, _, bytes| {
        let more = [bytes, b"x"].concat();
        Reply { announced: Announced::Nothing, ..tag(request, &more) }
    });
    case.command().assert().code(1).stderr(contains("SHA-256"));
    assert!(case.place.cached().iter().all(|path| path.starts_with("refused/")), "{:?}", case.place.cached());
}

#[test]
fn a_body_without_a_length_is_fine_when_it_is_the_release() {
    let case = case(8, |request, _, bytes| Reply { announced: Announced::Nothing, ..tag(request, bytes) });
    case.command().assert().success();
    case.arrived();
}

#[test]
fn a_file_that_changes_between_two_requests_is_fetched_from_its_beginning() {
    let old = release(90, 400_000);
    let case = case(9, move |request, number, bytes| match number {
        0 => Reply::file(request, &old, "\"old\"").cut(100_000),
        _ => Reply::file(request, bytes, "\"new\""),
    });
    case.command().assert().success();
    case.arrived();
    assert_eq!(case.server.gets()[1].if_range.as_deref(), Some("\"old\""));
}

#[test]
fn a_server_that_ignores_if_range_does_not_get_two_files_joined() {
    let old = release(91, 400_000);
    let case = case(10, move |request, number, bytes| {
        let careless = Request { if_range: None, ..request.clone() };
        match number {
            0 => Reply::file(&careless, &old, "\"old\"").cut(100_000),
            _ => Reply::file(&careless, bytes, "\"new\""),
        }
    });
    // Nothing is said: it was noticed before two files were joined, and not by the digest afterwards.
    case.command().assert().success().stderr("");
    case.arrived();
}

#[test]
fn two_files_joined_without_a_sign_are_noticed_by_the_digest_and_fetched_anew() {
    let old = release(92, 400_000);
    let case = case(11, move |request, number, bytes| match number {
        // The same tag for another file: a broken cache in between.
        0 => Reply::file(request, &old, "\"same\"").cut(100_000),
        _ => Reply::file(request, bytes, "\"same\""),
    });
    case.command().assert().success().stderr(contains("fetched anew"));
    case.arrived();
}

#[test]
fn another_part_than_was_asked_for_is_not_taken() {
    for whole in [false, true] {
        let case = case(12, move |request, number, bytes| match number {
            0 => tag(request, bytes).cut(100_000),
            1 => {
                let mut reply = tag(request, bytes);
                reply.headers.retain(|(name, _)| name != "content-range");
                if whole {
                    reply.body = bytes.to_vec();
                }
                reply.header("content-range", &format!("bytes 0-{}/{}", bytes.len() - 1, bytes.len()))
            }
            _ => tag(request, bytes),
        });
        case.command().assert().success().stderr("");
        case.arrived();
        assert_eq!(case.server.gets()[2].from, None);
    }
}

#[test]
fn without_anything_to_recognise_the_file_by_it_is_fetched_from_its_beginning() {
    let case = case(13, |request, number, bytes| {
        let reply = Reply { status: 200, body: bytes.to_vec(), ..Reply::default() };
        assert_eq!(request.from, None);
        if number == 0 { reply.cut(100_000) } else { reply }
    });
    case.command().assert().success();
    case.arrived();
}

#[test]
fn redirects_are_followed_and_circles_are_not() {
    let case = case(14, |request, _, bytes| {
        if request.path.starts_with("/moved") {
            return tag(request, bytes);
        }
        let place = format!("/moved{}", request.path);
        Reply::status(302).header("location", &place)
    });
    case.command().assert().success();
    case.arrived();

    let circle = Server::start(|request, _| {
        let place = if request.path.starts_with("/a") { "/b/x.tar.gz" } else { "/a/x.tar.gz" };
        Reply::status(301).header("location", place)
    });
    let place = Place::new();
    place.get(&circle.url, VERSION, &sha256(b"x")).assert().code(1).stderr(contains("redirects"));
    assert!(circle.gets().len() <= 11, "{}", circle.gets().len());
    let nowhere = Server::start(|_, _| Reply::status(302));
    place.get(&nowhere.url, VERSION, &sha256(b"x")).assert().code(1).stderr(contains("redirects to nowhere"));
}

#[test]
fn an_error_page_is_not_a_release() {
    let page = b"<!DOCTYPE html><title>Please log in</title>".repeat(100);
    let case = case(15, move |_, _, _| {
        Reply { status: 200, body: page.clone(), ..Reply::default() }.header("content-type", "text/html")
    });
    case.command().assert().code(1).stderr(contains("not a gzip file")).stderr(contains("DOCTYPE"));
    assert_eq!(case.server.gets().len(), 1, "a login page does not go away by asking again");
    assert!(!case.place.cached().iter().any(|path| path.contains(".tar.gz/")), "{:?}", case.place.cached());
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let date = "Sun, 22 Nov 2020 03:00:00 GMT";
    let case = case(16, move |request, number, bytes| match number {
        0 => Reply::status(503).header("retry-after", "1"),
        1 => Reply::status(429).header("retry-after", date),
        2 => Reply::status(502),
        _ => tag(request, bytes),
    });
    case.command().assert().success();
    case.arrived();
    assert_eq!(case.server.gets().len(), 4);
}

#[test]
fn a_server_that_wants_to_be_left_alone_for_long_is_left_alone() {
    let case = case(17, |_, _, _| Reply::status(503).header("retry-after", "86400"));
    case.command().assert().code(1).stderr(contains("86400 seconds")).stderr(contains("--retry-wait-max"));
    assert_eq!(case.server.gets().len(), 1);
}

#[test]
fn what_may_pass_is_tried_a_few_times_and_what_will_not_only_once() {
    // That a file is not there is known from the first question, before any download.
    for (status, requests) in [(500, 4), (404, 0), (403, 1), (401, 1)] {
        let case = case(18, move |_, _, _| Reply::status(status));
        case.command().args(["--retries", "3"]).assert().code(1).stderr(contains(format!("status {status}")));
        assert_eq!(case.server.gets().len(), requests, "{status}");
    }
    let place = Place::new();
    // Nobody listens on the discard port of loopback.
    let mut command = place.get("http://127.0.0.1:9", VERSION, &sha256(b"x"));
    command.args(["--retries", "1"]).assert().code(1).stderr(contains("2 failures in a row"));
}

#[test]
fn nothing_larger_than_the_limit_is_fetched() {
    for announced in [Announced::Truth, Announced::Nothing] {
        let case = case(19, move |request, _, bytes| Reply { announced, ..tag(request, bytes) });
        case.command().args(["--max-bytes", "100000"]).assert().code(1).stderr(contains("--max-bytes"));
        assert_eq!(case.place.cached(), [""; 0]);
    }
}
