//! mm-fetch and the host it runs on: full disks, proxies, certificate authorities, keyrings, and no internet at all.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, its files need not last"
)]

#[path = "mm_fetch_fixture.rs"]
mod fixture;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixture::{Announced, Place, Reply, Server, complete, document, file_name, release, sha256, written};
use mm_test_support::process::{free_port, run, wait_until};
use mm_test_support::watchdog::Cleanup;
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;
use serde_json::json;

const VERSION: &str = "10.6.1";

/// Long enough for a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);

// ---- disks ----

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

// ---- terminals ----

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

// ---- proxies ----

/// A proxy that knows CONNECT, and what it was asked for.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || tunnel(&client, &log));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn tunnel(client: &TcpStream, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    log.lock().unwrap().push(first.trim().to_owned());
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let target = first.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let server = TcpStream::connect(target)?;
    let mut client = client.try_clone()?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut up, mut down) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut reader, &mut up));
    let mut server = server;
    std::io::copy(&mut server, &mut down)?;
    down.shutdown(std::net::Shutdown::Both)
}

#[test]
fn the_proxy_of_the_environment_is_used_but_for_excepted_hosts() {
    let tarball = release(4, 100_000);
    let bytes = tarball.clone();
    let server = Server::start(move |request, _| Reply::file(request, &bytes, "\"a\""));
    let proxy = Proxy::start();
    let fetch = |variables: &[(&str, &str)]| {
        let place = Place::new();
        let mut command = place.get(&server.url, VERSION, &sha256(&tarball));
        command.envs(variables.iter().copied()).assert().success();
    };
    let address = format!("http://{}", proxy.address);
    fetch(&[("http_proxy", &address)]);
    let through = proxy.asked();
    assert!(!through.is_empty() && through.iter().all(|line| line.starts_with("CONNECT 127.0.0.1:")), "{through:?}");
    fetch(&[("http_proxy", &address), ("no_proxy", "localhost,127.0.0.1")]);
    fetch(&[("https_proxy", &address)]);
    assert_eq!(proxy.asked(), through, "the proxy was used where it should not have been");
}

#[test]
fn a_proxy_that_is_not_one_is_refused_and_its_password_not_repeated() {
    let place = Place::new();
    let mut command = place.get("http://127.0.0.1:9", VERSION, &sha256(b"x"));
    command.env("http_proxy", "gopher://me:hunter2@[").args(["--retries", "0"]);
    command
        .assert()
        .code(5)
        .stderr(contains("http_proxy"))
        .stderr(contains("hunter2").not())
        .stdout(contains("hunter2").not());
}

// ---- certificates ----

/// An HTTPS server with a certificate that only `ca` vouches for.
struct Https {
    child: Child,
    url: String,
    ca: PathBuf,
}

impl Drop for Https {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Https {
    /// `mode` as openssl has it: WWW serves files, HTTP serves files that are whole answers.
    fn start(directory: &Path, mode: &str) -> Self {
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let (ca, ca_key, leaf, key) = (path("ca.pem"), path("ca.key"), path("leaf.pem"), path("key.pem"));
        let make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
        run("openssl", &[&make[..], &["-subj", "/CN=Company", "-keyout", &ca_key, "-out", &ca]].concat());
        let of_leaf = ["-CA", &ca, "-CAkey", &ca_key, "-subj", "/CN=127.0.0.1", "-keyout", &key, "-out", &leaf];
        let extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
        run("openssl", &[&make[..], &of_leaf[..], &extensions[..]].concat());
        let port = free_port();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", mode, "-accept", &port.to_string(), "-cert", &leaf, "-key", &key])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("openssl to listen", PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, url: format!("https://127.0.0.1:{port}"), ca: ca.into() }
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_until_ca_names_who_does() {
    let (place, tarball) = (Place::new(), release(5, 100_000));
    let mirror = place.mirror(&[(VERSION, &tarball)]);
    let server = Https::start(&mirror, "-WWW");
    let digest = sha256(&tarball);
    // openssl knows no HEAD; without the limit each run would wait for an answer to it.
    let fetch = || {
        let mut command = place.get(&server.url, VERSION, &digest);
        command.args(["--answer-timeout", "2"]);
        command
    };
    fetch().assert().code(1).stderr(contains("--ca"));
    assert!(!place.cached().iter().any(|path| path.contains("release.json")));
    fetch().arg("--ca").arg(&server.ca).assert().success();
    fetch().arg("--ca").arg(mirror.join("key.pem")).assert().code(5).stderr(contains("not a certificate"));
    fetch().arg("--ca").arg(mirror.join("none.pem")).assert().code(5).stderr(contains("none.pem"));
}

#[test]
fn https_is_not_left_for_http() {
    let (place, tarball) = (Place::new(), release(6, 100_000));
    let bytes = tarball.clone();
    let plain = Server::start(move |request, _| Reply::file(request, &bytes, "\"a\""));
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {}/x.tar.gz\r\nContent-Length: 0\r\n\r\n", plain.url);
    let mirror = place.mirror(&[(VERSION, answer.as_bytes())]);
    let server = Https::start(&mirror, "-HTTP");
    let mut command = place.get(&server.url, VERSION, &sha256(&tarball));
    command.args(["--answer-timeout", "2", "--ca"]).arg(&server.ca);
    command.assert().code(1).stderr(contains("redirects from https to `http`"));
    assert!(plain.gets().is_empty());
}

#[test]
fn credentials_in_an_address_are_refused_and_not_repeated() {
    let place = Place::new();
    let mut command = place.get("http://me:hunter2@127.0.0.1:9/", VERSION, &sha256(b"x"));
    let assert = command.assert().code(2);
    let said = format!("{:?}", assert.get_output());
    // The command line itself is what the test gave.
    let output = [&assert.get_output().stdout[..], &assert.get_output().stderr[..]].concat();
    assert!(!String::from_utf8_lossy(&output).contains("hunter2"), "{said}");
}

// ---- signatures ----

/// A key pair of its own, and what it signs.
struct Signer {
    home: tempfile::TempDir,
}

impl Signer {
    fn new() -> Self {
        let signer = Self { home: tempfile::Builder::new().prefix("gpg").tempdir().unwrap() };
        signer.gpg(&["--quick-gen-key", "Test <test@example.com>", "ed25519", "sign", "never"]);
        signer
    }

    fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .args(["--batch", "--yes", "--passphrase", "", "--pinentry-mode", "loopback", "--homedir"])
            .arg(self.home.path())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn keyring(&self, armored: bool) -> PathBuf {
        let path = self.home.path().join(if armored { "keys.asc" } else { "keys.gpg" });
        let keys = self.gpg(if armored { &["--armor", "--export"] } else { &["--export"] });
        std::fs::write(&path, keys).unwrap();
        path
    }

    fn sign(&self, file: &Path) {
        let signature = format!("{}.sig", file.display());
        self.gpg(&["--output", &signature, "--detach-sign", file.to_str().unwrap()]);
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        // Its agent would stay behind; without one there is nothing to end.
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).status();
    }
}

/// A release that no digest proves.
const UNPROVEN: &str = "10.5.0";

#[test]
fn a_good_signature_proves_what_no_digest_proves() {
    let (place, tarball, signer) = (Place::new(), release(7, 50_000), Signer::new());
    let mirror = place.mirror(&[(UNPROVEN, &tarball)]);
    signer.sign(&mirror.join(UNPROVEN).join(file_name(UNPROVEN)));
    let fetch = |keyring: &Path| {
        let mut command = place.tool();
        command.args(["--edition", "team", UNPROVEN, "--keyring"]).arg(keyring).arg("--mirror").arg(&mirror);
        command
    };
    let assert = fetch(&signer.keyring(true)).assert().success();
    let fetched = written(&assert)["fetch"]["releases"][0].clone();
    assert_eq!(fetched["proof"], "signature");
    assert_eq!(fetched["signed_by"].as_str().map(str::len), Some(40), "{fetched}");
    // From the cache, by the signature that is kept there.
    let assert = fetch(&signer.keyring(false)).arg("--offline").assert().success();
    assert_eq!(written(&assert)["changed"], false);
    let digest = sha256(&tarball);
    let mut expected = complete(UNPROVEN, &tarball);
    expected.insert(1, format!("{digest}/{}.sig", file_name(UNPROVEN)));
    assert_eq!(place.cached(), expected);
}

#[test]
fn a_signature_that_is_not_good_is_refused() {
    let (tarball, signer, stranger) = (release(8, 50_000), Signer::new(), Signer::new());
    let prepared = || {
        let place = Place::new();
        let mirror = place.mirror(&[(UNPROVEN, &tarball)]);
        let file = mirror.join(UNPROVEN).join(file_name(UNPROVEN));
        signer.sign(&file);
        (place, mirror, file)
    };
    let refused = |place: &Place, mirror: &Path, keyring: &Path, words: &str| {
        let mut command = place.tool();
        command.args(["--edition", "team", UNPROVEN, "--keyring"]).arg(keyring).arg("--mirror").arg(mirror);
        command.assert().code(5).stderr(contains(words));
        assert!(place.cached().iter().all(|path| !path.contains("release.json")), "{:?}", place.cached());
    };
    let (place, mirror, _) = prepared();
    refused(&place, &mirror, &stranger.keyring(false), "is not good");

    let (place, mirror, file) = prepared();
    std::fs::write(&file, release(9, 50_000)).unwrap();
    refused(&place, &mirror, &signer.keyring(false), "is not good");

    let (place, mirror, file) = prepared();
    std::fs::remove_file(format!("{}.sig", file.display())).unwrap();
    refused(&place, &mirror, &signer.keyring(false), "neither a trusted digest");

    let (place, mirror, file) = prepared();
    std::fs::write(place.path("empty.gpg"), "").unwrap();
    refused(&place, &mirror, &place.path("empty.gpg"), "no OpenPGP key");
    // A signature that is not good counts even where a digest proves the file.
    stranger.sign(&file);
    let mut command = place.get(mirror.to_str().unwrap(), UNPROVEN, &sha256(&tarball));
    command.arg("--keyring").arg(signer.keyring(true)).assert().code(5).stderr(contains("is not good"));
}

#[test]
fn a_missing_signature_is_said_where_a_digest_proves_the_release() {
    let (place, tarball, signer) = (Place::new(), release(10, 50_000), Signer::new());
    let bytes = tarball.clone();
    let server = Server::start(move |request, _| {
        if request.path.contains(".tar.gz.sig") { Reply::status(404) } else { Reply::file(request, &bytes, "\"a\"") }
    });
    let mut command = place.get(&server.url, VERSION, &sha256(&tarball));
    command.arg("--keyring").arg(signer.keyring(true)).assert().success().stderr(contains("there is no signature"));
}

// ---- no internet ----

#[test]
fn a_bundle_carries_a_plan_to_a_host_without_internet() {
    let here = Place::new();
    let (old, one, two) = (release(11, 20_000), release(12, 30_000), release(13, 40_000));
    let mirror = here.mirror(&[("9.5.0", &old), ("9.11.18", &one), ("10.6.1", &two)]);
    let catalogue = here.path("catalogue.json");
    let overlay = json!({"releases": [
        {"version": "9.5.0", "team": {"sha256": [sha256(&old)]}},
        {"version": "9.11.18", "team": {"sha256": [sha256(&one)]}},
        {"version": "10.6.1", "team": {"sha256": [sha256(&two)]}},
    ]});
    std::fs::write(&catalogue, overlay.to_string()).unwrap();
    let plan = document("9.5.0", &[("9.11.18", sha256(&one)), ("10.6.1", sha256(&two))]);
    let bundle = here.path("bundle");
    let make = || {
        let mut command = here.tool();
        command.arg("--mirror").arg(&mirror).arg("--bundle").arg(&bundle).arg("--catalogue").arg(&catalogue);
        command.write_stdin(plan.to_string()).assert().success()
    };
    let assert = make();
    assert!(written(&assert)["msg"].as_str().unwrap().contains("bundle"), "{}", written(&assert));
    run("bash", &["-c", &format!("cd '{}' && sha256sum --quiet -c SHA256SUMS", bundle.display())]);
    for name in ["bundle.json", "plan.json", "catalogue.json", &format!("10.6.1/{}.release.json", file_name("10.6.1"))]
    {
        assert!(bundle.join(name).is_file(), "{name}");
    }
    // Made again it is completed, not made anew.
    std::fs::write(bundle.join("10.6.1").join(file_name("10.6.1")), "half").unwrap();
    make();
    run("bash", &["-c", &format!("cd '{}' && sha256sum --quiet -c SHA256SUMS", bundle.display())]);

    let there = Place::new();
    let carry = |place: &Place, from: &Path| {
        let mut command = place.tool();
        command.arg("--from-bundle").arg(from).arg("--catalogue").arg(&catalogue);
        command
    };
    let assert = carry(&there, &bundle).write_stdin(plan.to_string()).assert().success();
    assert_eq!(written(&assert)["fetch"]["releases"].as_array().map(Vec::len), Some(3));
    assert_eq!(there.cached(), here.cached());
    // Without a document: everything that is in it.
    let alone = Place::new();
    carry(&alone, &bundle).write_stdin("").assert().success();
    assert_eq!(alone.cached(), here.cached());
}

#[test]
fn a_bundle_does_not_vouch_for_itself() {
    let here = Place::new();
    let (good, bad) = (release(14, 20_000), release(15, 20_000));
    let mirror = here.mirror(&[(VERSION, &good)]);
    let bundle = here.path("bundle");
    let mut command = here.get(mirror.to_str().unwrap(), VERSION, &sha256(&good));
    command.arg("--bundle").arg(&bundle).assert().success();
    // Somebody exchanges the tarball and makes all lists fit.
    for name in ["bundle.json", "SHA256SUMS"] {
        let text = std::fs::read_to_string(bundle.join(name)).unwrap();
        std::fs::write(bundle.join(name), text.replace(&sha256(&good), &sha256(&bad))).unwrap();
    }
    std::fs::write(bundle.join(VERSION).join(file_name(VERSION)), &bad).unwrap();
    let there = Place::new();
    let mut command = there.tool();
    // The catalogue has the published digest of this version, which is neither of the two.
    command.arg("--from-bundle").arg(&bundle).write_stdin("").assert().code(1).stderr(contains(sha256(&bad)));
    let mut command = there.tool();
    command.args(["--edition", "team", VERSION, "--sha256", &sha256(&good), "--from-bundle"]).arg(&bundle);
    command.assert().code(1);
    assert!(there.cached().iter().all(|path| path.starts_with("refused/")), "{:?}", there.cached());
}

#[test]
fn half_a_bundle_and_other_directories_are_refused() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    let from = |directory: &Path| {
        let mut command = place.tool();
        command.arg("--from-bundle").arg(directory);
        command
    };
    from(&place.path("empty")).write_stdin("").assert().code(5).stderr(contains("not a bundle"));
    from(&place.path("none")).write_stdin("").assert().code(5).stderr(contains("not a bundle"));
}
