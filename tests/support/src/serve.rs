//! A release site: plain HTTP on loopback over a directory, with ranges, as a download site has them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

/// One request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path.
    pub path: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The status of the answer.
    pub status: u16,
}

/// A running release site. Its thread ends with the process.
#[derive(Debug)]
pub struct ReleaseSite {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl ReleaseSite {
    /// Serves `directory` on a free port of 127.0.0.1.
    pub fn start(directory: &Path) -> Self {
        Self::start_on(directory, 0)
    }

    /// Serves `directory` on this port of 127.0.0.1.
    pub fn start_on(directory: &Path, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (root, log) = (directory.to_owned(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, log) = (root.clone(), Arc::clone(&log));
                // A client that goes away in the middle is its own business.
                std::thread::spawn(move || answer(&stream, &root, &log));
            }
        });
        Self { url, asked }
    }

    /// `http://127.0.0.1:PORT`, what `--mirror` wants.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no thread panics with the lock").clone()
    }
}

fn answer(stream: &TcpStream, root: &Path, log: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut range = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("range")
        {
            range = Some(value.trim().to_owned());
        }
    }
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("/").to_owned());
    let file = inside(root, &path)
        .and_then(|path| File::open(path).ok())
        .filter(|file| file.metadata().is_ok_and(|data| data.is_file()));
    let mut stream = stream;
    let note = |status| {
        log.lock().expect("no thread panics with the lock").push(Asked {
            method: method.clone(),
            path: path.clone(),
            range: range.clone(),
            status,
        });
    };
    let Some(mut file) = file else {
        note(404);
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 10\r\nConnection: close\r\n\r\nnot found\n",
        );
    };
    let data = file.metadata()?;
    let total = data.len();
    let tag = format!("\"{total:x}-{:x}\"", std::os::unix::fs::MetadataExt::mtime(&data));
    let from = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse::<u64>().ok());
    let (status, head) = match from {
        Some(from) if from >= total => (416, format!("416 Range Not Satisfiable\r\nContent-Range: bytes */{total}")),
        Some(from) => (206, format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}", total - 1)),
        None => (200, "200 OK".to_owned()),
    };
    let start = from.unwrap_or(0).min(total);
    note(status);
    write!(
        stream,
        "HTTP/1.1 {head}\r\nContent-Type: application/gzip\r\nAccept-Ranges: bytes\r\nETag: {tag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        total - start
    )?;
    if method == "GET" {
        file.seek(SeekFrom::Start(start))?;
        std::io::copy(&mut file.take(total - start), &mut stream)?;
    }
    Ok(())
}

/// The file a path names; `None` when it would lead out of the directory.
fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path.split('?').next()?.trim_start_matches('/'));
    path.components().all(|part| matches!(part, Component::Normal(_))).then(|| root.join(path))
}
