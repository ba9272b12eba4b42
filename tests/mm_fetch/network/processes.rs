//! Processes that are killed or asked to stop, two of them on one cache, and several downloads in one.

use std::sync::{Arc, Condvar, Mutex};

use mm_test_support::process::wait_until;
use predicates::str::contains;

use super::{PATIENCE, VERSION, case, tag};
use crate::fixture::{Place, Reply, Server, document, release, sha256, written};

/// Keeps the first download from ending until the test says so.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let open = self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), PATIENCE, |open| !*open).unwrap();
        assert!(!open.1.timed_out(), "the gate was never opened");
    }
}

impl Place {
    /// Starts the tool and does not wait. Its stderr goes to the test's own.
    fn start(&self, url: &str, digest: &str) -> std::process::Child {
        std::process::Command::new(mm_test_support::tool::executable("mm-fetch"))
            .args(["--arch", "amd64", "--edition", "team", "--mirror", url, "--sha256", digest, VERSION, "--cache"])
            .arg(self.cache())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    fn partial_bytes(&self) -> u64 {
        let entries = std::fs::read_dir(self.cache().join("partial")).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "partial"))
            .map(|entry| entry.metadata().unwrap().len())
            .sum()
    }
}

#[test]
fn after_a_kill_in_the_middle_the_next_run_fetches_the_rest_only() {
    let case =
        case(20, |request, number, bytes| Reply { stall: (number == 0).then_some(131_072), ..tag(request, bytes) });
    let mut child = case.place.start(&case.server.url, &sha256(&case.tarball));
    wait_until("the first part to be stored", PATIENCE, || case.place.partial_bytes() == 131_072);
    child.kill().unwrap();
    child.wait().unwrap();
    case.command().assert().success();
    case.arrived();
    assert_eq!(case.sent(), case.tarball.len() as u64, "one complete request's worth of bytes in all");
}

#[test]
fn a_run_that_is_asked_to_stop_keeps_what_came() {
    let case = case(21, |request, number, bytes| Reply {
        trickle: None,
        stall: (number == 0).then_some(131_072),
        ..tag(request, bytes)
    });
    let mut child = case.place.start(&case.server.url, &sha256(&case.tarball));
    wait_until("the first part to be stored", PATIENCE, || case.place.partial_bytes() == 131_072);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    case.command().assert().success();
    assert_eq!(case.sent(), case.tarball.len() as u64);
}

#[test]
fn two_processes_on_one_cache_fetch_a_release_once() {
    let gate = Gate::default();
    let held = gate.clone();
    let case = case(22, move |request, _, bytes| {
        if request.method == "GET" {
            held.wait();
        }
        tag(request, bytes)
    });
    let mut first = case.place.start(&case.server.url, &sha256(&case.tarball));
    wait_until("the first request", PATIENCE, || case.server.gets().len() == 1);
    case.command().assert().code(75).stderr(contains("it is held by mm-fetch run (process"));
    let digest = sha256(&case.tarball);
    let second = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut command = case.place.get(&case.server.url, VERSION, &digest);
            command.args(["--lock-wait", "60"]).assert().success()
        });
        gate.open();
        waiting.join().unwrap()
    });
    assert!(first.wait().unwrap().success());
    assert_eq!(written(&second)["changed"], false, "the second run found what the first had fetched");
    assert_eq!(case.sent(), case.tarball.len() as u64);
    case.arrived();
}

#[test]
fn several_releases_are_fetched_at_a_time_the_largest_first() {
    let (small, large) = (release(23, 10_000), release(24, 500_000));
    let both = Arc::new((Mutex::new(0), Condvar::new()));
    let (one, two) = (small.clone(), large.clone());
    let arrived = Arc::clone(&both);
    let server = Server::start(move |request, _| {
        // The running release, which no digest proves, is not there.
        if request.path.contains("10.5.0") {
            return Reply::status(404);
        }
        if request.method == "GET" {
            let mut count = arrived.0.lock().unwrap();
            *count += 1;
            arrived.1.notify_all();
            // Neither is answered before both were asked for.
            let (_count, result) = arrived.1.wait_timeout_while(count, PATIENCE, |count| *count < 2).unwrap();
            assert!(!result.timed_out(), "the downloads came one after the other");
        }
        Reply::file(request, if request.path.contains("10.6.1") { &two } else { &one }, "\"a\"")
    });
    let hops = [("9.11.18", sha256(&small)), ("10.6.1", sha256(&large))];
    let place = Place::new();
    let fetch = |place: &Place, jobs: &str| {
        let mut command = place.tool();
        command.args(["--mirror", &server.url, "--jobs", jobs, "--catalogue"]).arg(place.catalogue(&hops));
        command.write_stdin(document("10.5.0", &hops).to_string()).assert().success()
    };
    let assert = fetch(&place, "2");
    assert_eq!(written(&assert)["fetch"]["releases"][0]["version"], "9.11.18", "reported in the order of the hops");
    // One at a time: the count of the server is beyond two by now, so nothing waits.
    fetch(&Place::new(), "1");
    let gets: Vec<_> = server.gets().into_iter().filter(|get| !get.path.contains("10.5.0")).collect();
    let order: Vec<bool> = gets[2..].iter().map(|get| get.path.contains("10.6.1")).collect();
    assert_eq!(order, [true, false], "the largest first");
}

#[test]
fn when_one_release_fails_the_others_do_not_go_on() {
    let tarball = release(25, 400_000);
    let bytes = tarball.clone();
    let gate = Gate::default();
    let failed = gate.clone();
    let server = Server::start(move |request, _| {
        // The running release, which no digest proves, would take one of the two places.
        if request.path.contains("10.5.0") {
            return Reply::status(404);
        }
        if request.path.contains("10.6.1") {
            failed.open();
            return Reply::status(if request.method == "HEAD" { 200 } else { 404 });
        }
        if request.method == "GET" {
            failed.wait();
        }
        Reply { stall: Some(1000), ..Reply::file(request, &bytes, "\"a\"") }
    });
    let place = Place::new();
    let hops = [("9.11.18", sha256(&tarball)), ("10.6.1", sha256(b"x"))];
    let mut command = place.tool();
    command.args(["--mirror", &server.url, "--stall-timeout", "2", "--retries", "3", "--catalogue"]);
    command.arg(place.catalogue(&hops));
    let assert = command.write_stdin(document("10.5.0", &hops).to_string()).assert().code(1);
    let error = &written(&assert)["error"];
    assert!(error["message"].as_str().unwrap().contains("10.6.1"), "the first failure is the one to report: {error}");
    let others = server.gets().iter().filter(|get| get.path.contains("9.11.18")).count();
    assert_eq!(others, 1, "the other download went on after it was clear that the run fails");
}
