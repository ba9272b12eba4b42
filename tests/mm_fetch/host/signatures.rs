//! Releases that a detached signature proves, or does not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use predicates::str::contains;

use super::VERSION;
use crate::fixture::{Place, Reply, Server, complete, file_name, release, sha256, written};

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

    fn fingerprint(&self) -> String {
        let listed = String::from_utf8(self.gpg(&["--with-colons", "--list-keys"])).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
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

/// The tool with this key in the place of Mattermost's own.
fn trusting(place: &Place, signer: &Signer, mirror: &Path) -> assert_cmd::Command {
    let mut command = place.tool();
    command.env("MM_BUILD_KEY", signer.keyring(true)).env("MM_BUILD_FINGERPRINT", signer.fingerprint());
    command.args(["--edition", "team", UNPROVEN, "--mirror"]).arg(mirror);
    command
}

#[test]
fn mattermosts_own_signature_suffices_where_no_digest_is_known() {
    let (place, tarball, signer) = (Place::new(), release(11, 50_000), Signer::new());
    let mirror = place.mirror(&[(UNPROVEN, &tarball)]);
    signer.sign(&mirror.join(UNPROVEN).join(file_name(UNPROVEN)));
    let assert = trusting(&place, &signer, &mirror).assert().success();
    let fetched = written(&assert)["fetch"]["releases"][0].clone();
    assert_eq!((&fetched["proof"], &fetched["signed_by"]), (&"signature".into(), &signer.fingerprint().into()));
    let again = trusting(&place, &signer, &mirror).arg("--offline").assert().success();
    assert_eq!(written(&again)["changed"], false, "by the signature that is kept");

    // The key that is built in did not make it.
    let other = Place::new();
    let mut command = other.tool();
    command.args(["--edition", "team", UNPROVEN, "--mirror"]).arg(&mirror);
    command.assert().code(5).stderr(contains("A1B31D46F0F3A10B02CF2D44F8F2C31744774B28"));
}

#[test]
fn a_key_that_has_expired_since_proves_what_it_signed() {
    let (place, tarball) = (Place::new(), release(12, 50_000));
    let signer = Signer { home: tempfile::Builder::new().prefix("gpg").tempdir().unwrap() };
    let then = "20240101T000000";
    signer.gpg(&["--faked-system-time", then, "--quick-gen-key", "Test <test@example.com>", "ed25519", "sign", "90d"]);
    let mirror = place.mirror(&[(UNPROVEN, &tarball)]);
    let file = mirror.join(UNPROVEN).join(file_name(UNPROVEN));
    let signature = format!("{}.sig", file.display());
    signer.gpg(&["--faked-system-time", then, "--output", &signature, "--detach-sign", file.to_str().unwrap()]);
    trusting(&place, &signer, &mirror).assert().success();

    std::fs::write(&file, release(13, 50_000)).unwrap();
    let other = Place::new();
    trusting(&other, &signer, &mirror).assert().code(5).stderr(contains("belongs to another file"));
}

#[test]
fn what_nothing_proves_is_refused_before_it_is_fetched_and_taken_only_on_request() {
    let (place, tarball, signer) = (Place::new(), release(14, 50_000), Signer::new());
    let mirror = place.mirror(&[(UNPROVEN, &tarball)]);
    trusting(&place, &signer, &mirror).assert().code(5).stderr(contains("--accept unsigned"));
    assert!(place.cached().is_empty(), "{:?}", place.cached());
    let assert = trusting(&place, &signer, &mirror).args(["--accept", "unsigned"]).assert().success();
    let fetched = written(&assert)["fetch"]["releases"][0].clone();
    assert_eq!((&fetched["proof"], fetched.get("signed_by")), (&"unsigned".into(), None));
    trusting(&place, &signer, &mirror).arg("--offline").assert().code(5);
}
