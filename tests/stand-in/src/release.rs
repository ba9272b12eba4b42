//! Release tarballs in the official layout, with the stand-in as `bin/mattermost`. Same input, same bytes.

mod layout;

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use crate::emulated::Identity;
pub use crate::emulated::{Edition, Version};
use crate::error::{During as _, Error, Result};
use crate::text;

/// What to build.
#[derive(Debug, Clone)]
pub struct Request {
    /// `9.11.18`
    pub version: String,
    /// Team or Enterprise.
    pub edition: Edition,
    /// The directory that becomes the download site.
    pub out: PathBuf,
    /// The executable that becomes `bin/mattermost`; see [`executable`].
    pub executable: PathBuf,
    /// Extra files under `client/`.
    pub files: usize,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Ways to be broken, built in (the README lists them).
    pub faults: Vec<String>,
}

impl Request {
    /// A plain release: no padding, no faults.
    #[must_use]
    pub fn new(version: &str, edition: Edition, out: &Path, executable: &Path) -> Self {
        let (out, executable) = (out.to_owned(), executable.to_owned());
        Self { version: version.to_owned(), edition, out, executable, files: 0, bytes: 0, faults: Vec::new() }
    }
}

/// What was built.
#[derive(Debug, Clone)]
pub struct Release {
    /// The version, parsed.
    pub version: Version,
    /// Team or Enterprise.
    pub edition: Edition,
    /// Where it lies.
    pub tarball: PathBuf,
    /// SHA-256 of the tarball, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes of the tarball.
    pub size: u64,
    /// The path on the download site: `/9.11.18/mattermost-team-9.11.18-linux-amd64.tar.gz`
    pub url_path: String,
}

/// Builds a release below `request.out`, over whatever lay there.
///
/// # Errors
/// A version that is none, an executable that cannot be read, a directory that cannot be written.
pub fn build(request: &Request) -> Result<Release> {
    let version: Version = request.version.parse()?;
    let identity = Identity { version, edition: request.edition, faults: request.faults.clone() };
    let team = if request.edition == Edition::Team { "team-" } else { "" };
    let name = format!("mattermost-{team}{version}-linux-amd64.tar.gz");
    let directory = request.out.join(version.to_string());
    std::fs::create_dir_all(&directory).during(|| format!("making {}", directory.display()))?;
    let tarball = directory.join(&name);
    let doing = || format!("writing {}", tarball.display());
    let mut program = stripped(&request.executable)?;
    program.extend_from_slice(crate::database::embedded(version).as_bytes());
    program.extend_from_slice(&identity.trailer());
    let file = BufWriter::with_capacity(1 << 20, File::create(&tarball).during(doing)?);
    let hashing = Hashing { inner: file, digest: Sha256::new(), size: 0 };
    let gzip = GzBuilder::new().mtime(0).write(hashing, Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    layout::write(&mut archive, &identity, &program, request).during(doing)?;
    let mut hashing = archive.into_inner().and_then(flate2::write::GzEncoder::finish).during(doing)?;
    hashing.flush().during(doing)?;
    let (sha256, size) = (text::hex(&hashing.digest.finalize()), hashing.size);
    Ok(Release { version, edition: request.edition, tarball, sha256, size, url_path: format!("/{version}/{name}") })
}

/// Writes `OUT/SHA256SUMS`, as `sha256sum` does, with paths relative to `out`; entries of earlier calls stay.
///
/// # Errors
/// A directory that cannot be written.
pub fn write_sums(out: &Path, releases: &[Release]) -> Result<()> {
    let path = out.join("SHA256SUMS");
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let fresh: Vec<String> = releases
        .iter()
        .map(|release| format!("{}  {}", release.sha256, release.url_path.trim_start_matches('/')))
        .collect();
    let name = |line: &str| line.split_once("  ").map(|(_, name)| name.to_owned()).unwrap_or_default();
    let names: Vec<String> = fresh.iter().map(|line| name(line)).collect();
    let kept = old.lines().filter(|line| !names.contains(&name(line))).map(str::to_owned);
    let mut lines: Vec<String> = kept.chain(fresh).collect();
    lines.sort_by_key(|line| name(line));
    std::fs::write(&path, lines.join("\n") + "\n").during(|| format!("writing {}", path.display()))
}

/// The stand-in executable: `STAND_IN_EXE`, or the one in the target directory of the running test, built with `cargo build -p stand-in` once per process.
///
/// # Errors
/// No such executable, or the build failed.
pub fn executable() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(find).clone()
}

fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("STAND_IN_EXE") {
        return Ok(PathBuf::from(path));
    }
    let here = std::env::current_exe().during(|| "looking for the own executable".to_owned())?;
    // target/PROFILE/deps/test-HASH, or target/PROFILE/tool
    let mut directory = here.parent().unwrap_or(Path::new("/")).to_path_buf();
    if directory.file_name().is_some_and(|name| name == "deps") {
        directory.pop();
    }
    let path = directory.join("stand-in");
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command
            .args(["build", "--quiet", "--package", "stand-in", "--bin", "stand-in"])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if directory.file_name().is_some_and(|name| name == "release") {
            command.arg("--release");
        }
        if let Some(target) = directory.parent() {
            command.arg("--target-dir").arg(target);
        }
        let status =
            command.stdin(Stdio::null()).status().during(|| "running cargo build --package stand-in".to_owned())?;
        if !status.success() {
            return Err(Error::new(format!("cargo build --package stand-in ended with {status}")));
        }
    }
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::new(format!("{} is not there; run `cargo build -p stand-in` or set STAND_IN_EXE", path.display())))
    }
}

/// The executable without symbols when `strip` is there; tarballs stay small that way.
fn stripped(executable: &Path) -> Result<Vec<u8>> {
    let doing = || format!("reading {}", executable.display());
    let copy = std::env::temp_dir().join(format!(
        "stand-in-{}-{:?}.stripped",
        std::process::id(),
        std::thread::current().id()
    ));
    let mut to_file = Command::new("strip");
    to_file.arg("--strip-all").arg("-o").arg(&copy).arg(executable).stdin(Stdio::null()).stderr(Stdio::null());
    let done = to_file.status().is_ok_and(|status| status.success());
    let source = if done { &copy } else { executable };
    let mut bytes = Vec::new();
    let read = File::open(source).and_then(|mut file| file.read_to_end(&mut bytes)).during(doing);
    let _ = std::fs::remove_file(&copy);
    read.map(|_| bytes)
}

struct Hashing<W> {
    inner: W,
    digest: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.digest.update(buffer.get(..written).unwrap_or_default());
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
