//! What the tests of mm-fetch stand on: small releases, and a server that misbehaves as told.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that cannot be set up is a failed test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use mm_test_support::tool;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

/// A tar archive inside gzip, being built.
pub(crate) type Tar = Builder<GzEncoder<Vec<u8>>>;

/// Adds an entry, whatever its path is.
pub(crate) fn add(tar: &mut Tar, path: &str, kind: EntryType, mode: u32, data: &[u8]) {
    add_raw(tar, path.as_bytes(), kind, mode, data, b"");
}

/// Adds an entry whose path and target are written as they are.
pub(crate) fn add_raw(tar: &mut Tar, path: &[u8], kind: EntryType, mode: u32, data: &[u8], target: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    header.set_size(data.len() as u64);
    header.set_cksum();
    tar.append(&header, data).unwrap();
}

/// An archive; `fill` puts everything into it.
pub(crate) fn archive(fill: impl FnOnce(&mut Tar)) -> Vec<u8> {
    let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    fill(&mut tar);
    tar.into_inner().unwrap().finish().unwrap()
}

/// The entries that a sound release has.
pub(crate) fn sound(tar: &mut Tar) {
    add(tar, "mattermost/", EntryType::Directory, 0o755, b"");
    for directory in ["bin", "client", "config", "i18n", "templates"] {
        add(tar, &format!("mattermost/{directory}/"), EntryType::Directory, 0o755, b"");
    }
    add(tar, "mattermost/bin/mattermost", EntryType::Regular, 0o755, b"the server");
    add(tar, "mattermost/client/root.html", EntryType::Regular, 0o644, b"<html>");
    add(tar, "mattermost/config/config.json", EntryType::Regular, 0o600, b"{}");
    add(tar, "mattermost/i18n/en.json", EntryType::Regular, 0o644, b"[]");
}

/// A sound release with about `bytes` bytes that do not compress, which depend on `seed`.
pub(crate) fn release(seed: u64, bytes: usize) -> Vec<u8> {
    archive(|tar| {
        sound(tar);
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(bytes / 8)
        .flatten()
        .collect();
        add(tar, "mattermost/client/noise", EntryType::Regular, 0o644, &noise);
    })
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    mm_common::contract::digest::of_bytes(bytes)
}

/// The file name of a team release.
pub(crate) fn file_name(version: &str) -> String {
    format!("mattermost-team-{version}-linux-amd64.tar.gz")
}

/// A directory with a cache in it, and the tool that uses it.
pub(crate) struct Place {
    /// The directory; everything of the test is in it.
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// mm-fetch with the cache of this place, without pauses between attempts.
    pub(crate) fn tool(&self) -> assert_cmd::Command {
        let mut command = tool::tool("mm-fetch");
        command.args(["--arch", "amd64", "--retry-wait", "0", "--cache"]).arg(self.cache());
        command
    }

    /// The same for one release from a server, by its digest.
    pub(crate) fn get(&self, url: &str, version: &str, digest: &str) -> assert_cmd::Command {
        let mut command = self.tool();
        command.args(["--edition", "team", "--mirror", url, "--sha256", digest, version]);
        command
    }

    /// A catalogue that knows these releases by their digests, as `--catalogue` takes it.
    pub(crate) fn catalogue(&self, releases: &[(&str, String)]) -> PathBuf {
        let path = self.path("catalogue.json");
        let releases: Vec<Value> = releases
            .iter()
            .map(|(version, digest)| json!({"version": version, "team": {"sha256": [digest]}}))
            .collect();
        std::fs::write(&path, json!({ "releases": releases }).to_string()).unwrap();
        path
    }

    /// Puts releases into a directory in the layout of a mirror.
    pub(crate) fn mirror(&self, releases: &[(&str, &[u8])]) -> PathBuf {
        let mirror = self.path("mirror");
        for (version, bytes) in releases {
            let place = mirror.join(version).join(file_name(version));
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, bytes).unwrap();
        }
        mirror
    }

    /// Everything below the cache, without lock files.
    pub(crate) fn cached(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.cache(), &self.cache(), &mut found);
        found.retain(|path| !path.starts_with("locks/"));
        found.sort();
        found
    }
}

fn list(root: &Path, directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            list(root, &entry.path(), found);
        } else {
            found.push(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// What a release leaves in the cache.
pub(crate) fn complete(version: &str, bytes: &[u8]) -> Vec<String> {
    let digest = sha256(bytes);
    vec![format!("{digest}/{}", file_name(version)), format!("{digest}/release.json")]
}

/// The document of a plan: from a running release over some hops, each with its digest.
pub(crate) fn document(current: &str, hops: &[(&str, String)]) -> Value {
    let mut from = current.to_owned();
    let hops: Vec<Value> = hops
        .iter()
        .map(|(to, digest)| {
            let hop = json!({"from": from, "to": to, "edition": "team", "url": format!("http://127.0.0.1:1/{to}"), "sha256": [digest]});
            (*to).clone_into(&mut from);
            hop
        })
        .collect();
    json!({
        "schema": "mm.upgrade/1",
        "path": {"current": current, "target": from, "policy": "esr", "hops": hops, "next": hops.first()},
    })
}

/// The document that the tool wrote.
pub(crate) fn written(assert: &assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).expect("a document on stdout")
}

/// A request that came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// First byte asked for.
    pub(crate) from: Option<u64>,
    pub(crate) if_range: Option<String>,
    /// Bytes of body that were sent.
    pub(crate) sent: u64,
}

/// What a server says about the length of a body.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Announced {
    #[default]
    Truth,
    Nothing,
    Bytes(u64),
}

/// An answer, and what goes wrong with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The length that is announced.
    pub(crate) announced: Announced,
    /// The connection is closed after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Nothing more is sent after so many bytes of the body, and the connection stays open.
    pub(crate) stall: Option<usize>,
    /// One byte at a time, with this pause.
    pub(crate) trickle: Option<Duration>,
    /// Time before the head of the answer.
    pub(crate) delay: Duration,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// The whole file, or the part that was asked for when the tag fits.
    pub(crate) fn file(request: &Request, body: &[u8], tag: &str) -> Self {
        let ranged = request.from.filter(|_| request.if_range.as_deref().is_none_or(|asked| asked == tag));
        let mut reply = Self { status: 200, body: body.to_vec(), ..Self::default() }.header("etag", tag);
        if let Some(from) = ranged {
            let start = usize::try_from(from).unwrap();
            reply.status = 206;
            reply.body = body[start..].to_vec();
            reply = reply.header("content-range", &format!("bytes {from}-{}/{}", body.len() - 1, body.len()));
        }
        reply
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub(crate) fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }
}

/// A server on loopback. Its threads end with the process.
pub(crate) struct Server {
    pub(crate) url: String,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers every request as `answer` says; the number counts the GET requests for tarballs from 0 on. HEAD gets
    /// the head of what the next GET would get.
    pub(crate) fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (answer, shared) = (Arc::new(answer), Arc::clone(&log));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&shared));
                // A client that goes away in the middle is its own business.
                std::thread::spawn(move || serve(&stream, &*answer, &log));
            }
        });
        Self { url, log }
    }

    /// The GET requests so far.
    pub(crate) fn gets(&self) -> Vec<Request> {
        self.log.lock().unwrap().iter().filter(|request| request.method == "GET").cloned().collect()
    }
}

fn serve(
    stream: &TcpStream,
    answer: &dyn Fn(&Request, usize) -> Reply,
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let find = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let mut words = first.split_whitespace().map(str::to_owned);
    let request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        from: find("range").and_then(|range| range.strip_prefix("bytes=")?.trim_end_matches('-').parse().ok()),
        if_range: find("if-range"),
        sent: 0,
    };
    let (at, number) = {
        let mut log = log.lock().unwrap();
        let tarballs = |request: &&Request| request.method == "GET" && request.path.ends_with(".tar.gz");
        let number = log.iter().filter(tarballs).count();
        log.push(request.clone());
        (log.len() - 1, number)
    };
    let reply = answer(&request, number);
    std::thread::sleep(reply.delay);
    let mut stream = stream;
    let mut head = format!("HTTP/1.1 {} Whatever\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let length = match reply.announced {
        Announced::Truth => Some(reply.body.len() as u64),
        Announced::Nothing => None,
        Announced::Bytes(bytes) => Some(bytes),
    };
    if let Some(length) = length {
        head.extend(["content-length: ", &length.to_string(), "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let end = reply.cut.or(reply.stall).unwrap_or(usize::MAX).min(reply.body.len());
    let piece = if reply.trickle.is_some() { 1 } else { 16 * 1024 };
    for bytes in reply.body[..end].chunks(piece) {
        stream.write_all(bytes)?;
        log.lock().unwrap()[at].sent += bytes.len() as u64;
        std::thread::sleep(reply.trickle.unwrap_or_default());
    }
    if reply.stall.is_some() {
        std::thread::sleep(Duration::from_secs(60));
    }
    Ok(())
}
