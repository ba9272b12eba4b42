//! Proxies, and the certificates of servers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use mm_test_support::process::{free_port, run, wait_until};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

use super::{PATIENCE, VERSION};
use crate::fixture::{Place, Reply, Server, release, sha256};

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
        Self::serve(directory, mode, (&leaf, &key), ca.into())
    }

    /// With a certificate that nobody vouches for but itself, and further words for the one who makes it.
    fn self_signed(directory: &Path, further: &[&str]) -> Self {
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let (own, key) = (path("own.pem"), path("own.key"));
        let make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"];
        let name = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &key, "-out", &own];
        run("openssl", &[&make[..], &name[..], further].concat());
        Self::serve(directory, "-WWW", (&own, &key), PathBuf::from(&own))
    }

    fn serve(directory: &Path, mode: &str, (leaf, key): (&str, &str), ca: PathBuf) -> Self {
        let port = free_port();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", mode, "-accept", &port.to_string(), "-cert", leaf, "-key", key])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("openssl to listen", PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, url: format!("https://127.0.0.1:{port}"), ca }
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

/// As an internal mirror has it: the certificate that is given by name is the server's own.
#[test]
fn a_self_signed_certificate_is_taken_by_name_and_one_of_an_authority_is_explained() {
    let (place, tarball) = (Place::new(), release(5, 100_000));
    let mirror = place.mirror(&[(VERSION, &tarball)]);
    let fetch = |server: &Https| {
        let mut command = place.get(&server.url, VERSION, &sha256(&tarball));
        command.args(["--answer-timeout", "2", "--ca"]).arg(&server.ca);
        command
    };
    let authority = Https::self_signed(&mirror, &[]);
    let said = "-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    fetch(&authority).assert().code(1).stderr(contains(said));
    let plain = Https::self_signed(&mirror, &["-addext", "basicConstraints=critical,CA:FALSE"]);
    fetch(&plain).assert().success();
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
