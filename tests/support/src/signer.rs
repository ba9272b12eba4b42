//! A key pair of OpenPGP, and what it signs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// When a key was made that has expired since.
const THEN: &str = "20240101T000000";

/// A key of its own, in a directory of its own that goes with it.
#[derive(Debug)]
pub struct Signer {
    home: tempfile::TempDir,
}

impl Signer {
    /// A key without an end.
    pub fn new() -> Self {
        Self::made(&["--quick-gen-key", "Test <test@example.com>", "ed25519", "sign", "never"])
    }

    /// A key of 2024 that was good for 90 days.
    pub fn expired() -> Self {
        Self::made(&[
            "--faked-system-time",
            THEN,
            "--quick-gen-key",
            "Test <test@example.com>",
            "ed25519",
            "sign",
            "90d",
        ])
    }

    fn made(arguments: &[&str]) -> Self {
        let signer = Self { home: tempfile::Builder::new().prefix("gpg").tempdir().expect("/tmp can be written") };
        signer.gpg(arguments);
        signer
    }

    /// Moves the end of the key to where nobody gets to.
    pub fn renew(&self) {
        self.gpg(&["--quick-set-expire", &self.fingerprint(), "0"]);
    }

    fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .args(["--batch", "--yes", "--passphrase", "", "--pinentry-mode", "loopback", "--homedir"])
            .arg(self.home.path())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("gpg is there: scripts/prepare installs gnupg");
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The public key as it is now, in a file of this name: in ASCII armor where the name ends in `.asc`.
    pub fn keyring(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(name);
        let is_armored = path.extension().is_some_and(|extension| extension == "asc");
        let keys = self.gpg(if is_armored { &["--armor", "--export"] } else { &["--export"] });
        std::fs::write(&path, keys).expect("it is ours");
        path
    }

    /// The fingerprint of the key.
    pub fn fingerprint(&self) -> String {
        let listed = String::from_utf8(self.gpg(&["--with-colons", "--list-keys"])).expect("it is ASCII");
        let line = listed.lines().find(|line| line.starts_with("fpr:")).expect("there is a key");
        line.split(':').nth(9).expect("it has a fingerprint").to_owned()
    }

    /// Writes `FILE.sig`.
    pub fn sign(&self, file: &Path) {
        self.sign_with(&[], file);
    }

    /// The same in 2024, while the key of [`Signer::expired`] was good.
    pub fn sign_then(&self, file: &Path) {
        self.sign_with(&["--faked-system-time", THEN], file);
    }

    fn sign_with(&self, when: &[&str], file: &Path) {
        let signature = format!("{}.sig", file.display());
        let file = file.to_str().expect("ours");
        self.gpg(&[when, &["--output", &signature, "--detach-sign", file]].concat());
    }
}

impl Default for Signer {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        // Its agent would stay behind; without one there is nothing to end.
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).status();
    }
}
