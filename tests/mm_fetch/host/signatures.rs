//! Releases that a detached signature proves, or does not.

use std::path::Path;

use mm_test_support::signer::Signer;
use mm_test_support::tool::{executable, tool_without};
use predicates::str::contains;

use super::VERSION;
use crate::fixture::{Place, Reply, Server, complete, file_name, release, sha256, written};

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
    let assert = fetch(&signer.keyring("keys.asc")).assert().success();
    let fetched = written(&assert)["fetch"]["releases"][0].clone();
    assert_eq!(fetched["proof"], "signature");
    assert_eq!(fetched["signed_by"].as_str().map(str::len), Some(40), "{fetched}");
    // From the cache, by the signature that is kept there.
    let assert = fetch(&signer.keyring("keys.gpg")).arg("--offline").assert().success();
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
    refused(&place, &mirror, &stranger.keyring("keys.gpg"), "is not good");

    let (place, mirror, file) = prepared();
    std::fs::write(&file, release(9, 50_000)).unwrap();
    refused(&place, &mirror, &signer.keyring("keys.gpg"), "is not good");

    let (place, mirror, file) = prepared();
    std::fs::remove_file(format!("{}.sig", file.display())).unwrap();
    refused(&place, &mirror, &signer.keyring("keys.gpg"), "neither a trusted digest");

    let (place, mirror, file) = prepared();
    std::fs::write(place.path("empty.gpg"), "").unwrap();
    refused(&place, &mirror, &place.path("empty.gpg"), "no OpenPGP key");
    // A signature that is not good counts even where a digest proves the file.
    stranger.sign(&file);
    let mut command = place.get(mirror.to_str().unwrap(), UNPROVEN, &sha256(&tarball));
    command.arg("--keyring").arg(signer.keyring("keys.asc")).assert().code(5).stderr(contains("is not good"));
}

#[test]
fn a_missing_signature_is_said_where_a_digest_proves_the_release() {
    let (place, tarball, signer) = (Place::new(), release(10, 50_000), Signer::new());
    let bytes = tarball.clone();
    let server = Server::start(move |request, _| {
        if request.path.contains(".tar.gz.sig") { Reply::status(404) } else { Reply::file(request, &bytes, "\"a\"") }
    });
    let mut command = place.get(&server.url, VERSION, &sha256(&tarball));
    command
        .arg("--keyring")
        .arg(signer.keyring("keys.asc"))
        .assert()
        .success()
        .stderr(contains("there is no signature"));
}

/// The tool with this key in the place of Mattermost's own.
fn trusting(place: &Place, signer: &Signer, mirror: &Path) -> assert_cmd::Command {
    let mut command = place.tool();
    command.env("MM_BUILD_KEY", signer.keyring("keys.asc")).env("MM_BUILD_FINGERPRINT", signer.fingerprint());
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
    let (place, tarball, signer) = (Place::new(), release(12, 50_000), Signer::expired());
    let mirror = place.mirror(&[(UNPROVEN, &tarball)]);
    let file = mirror.join(UNPROVEN).join(file_name(UNPROVEN));
    signer.sign_then(&file);
    trusting(&place, &signer, &mirror).assert().success();

    // Renewed, it has signed another one; this program's copy is that of before.
    let other = Place::new();
    let mut command = trusting(&other, &signer, &mirror);
    signer.renew();
    signer.sign(&file);
    command.assert().success();

    std::fs::write(&file, release(13, 50_000)).unwrap();
    let other = Place::new();
    trusting(&other, &signer, &mirror).assert().code(5).stderr(contains("belongs to another file"));
}

/// Debian 13 has sqv in the place of gpgv. It takes the expiry of its copy of the key at its word.
#[test]
fn sqv_proves_as_gpgv_does_but_needs_the_renewed_key() {
    let (tarball, signer, stranger) = (release(15, 50_000), Signer::expired(), Signer::new());
    let (old, fingerprint) = (signer.keyring("old.asc"), signer.fingerprint());
    let first = Place::new();
    let mirror = first.mirror(&[(UNPROVEN, &tarball)]);
    let file = mirror.join(UNPROVEN).join(file_name(UNPROVEN));
    let fetch = |place: &Place, more: &[&str]| {
        let mut command = tool_without("gpgv", "mm-fetch");
        command.env("MM_BUILD_KEY", &old).env("MM_BUILD_FINGERPRINT", &fingerprint);
        command.args(["--arch", "amd64", "--edition", "team", UNPROVEN, "--cache"]).arg(place.cache());
        command.arg("--mirror").arg(&mirror).arg("--state-dir").arg(place.path("state")).args(more);
        command.assert()
    };
    signer.sign_then(&file);
    let fetched = written(&fetch(&first, &[]).success())["fetch"]["releases"][0].clone();
    assert_eq!((&fetched["proof"], &fetched["signed_by"]), (&"signature".into(), &fingerprint.clone().into()));

    signer.renew();
    signer.sign(&file);
    let place = Place::new();
    fetch(&place, &[]).code(5).stderr(contains("mm-fetch refresh"));
    let renewed = signer.keyring("new.asc");
    let mut refresh = tool_without("gpgv", "mm-fetch");
    refresh.env("MM_BUILD_KEY", &old).env("MM_BUILD_FINGERPRINT", &fingerprint);
    refresh.args(["refresh", "--from"]).arg(&renewed).arg("--state-dir").arg(place.path("state")).assert().success();
    fetch(&place, &[]).success();

    for (number, more) in [(0, vec![]), (1, vec!["--keyring", renewed.to_str().unwrap()])] {
        let place = Place::new();
        stranger.sign(&file);
        let keyring = stranger.keyring("keys.asc");
        fetch(&place, &more).code(5).stderr(contains("is not good"));
        // In the keyring that is given any key counts, but only such a one.
        if number == 1 {
            fetch(&Place::new(), &["--keyring", keyring.to_str().unwrap()]).success();
        }
    }
    signer.sign(&file);
    std::fs::write(&file, release(16, 50_000)).unwrap();
    fetch(&Place::new(), &["--keyring", renewed.to_str().unwrap()]).code(5).stderr(contains("is not good"));
}

/// Neither of the two programs: said, with the package, where the signature is the sole proof, and nowhere else.
#[test]
fn a_host_without_a_program_to_verify_with_still_fetches_what_a_digest_proves() {
    let (place, tarball, signer) = (Place::new(), release(17, 50_000), Signer::new());
    let mirror = place.mirror(&[(UNPROVEN, &tarball), (VERSION, &tarball)]);
    signer.sign(&mirror.join(UNPROVEN).join(file_name(UNPROVEN)));
    let fetch = |arguments: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        let hide = "for one in gpgv sqv; do mount --bind /dev/null /usr/bin/$one; done && exec \"$0\" \"$@\"";
        command.args(["--mount", "bash", "-c", hide]).arg(executable("mm-fetch")).args(["--arch", "amd64", "--cache"]);
        command.arg(place.cache()).args(["--edition", "team", "--mirror"]).arg(&mirror).args(arguments);
        assert_cmd::Command::from_std(command).assert()
    };
    fetch(&[UNPROVEN]).code(5).stderr(contains("apt-get install gpgv"));
    assert!(place.cached().is_empty(), "{:?}", place.cached());
    fetch(&[VERSION, "--sha256", &sha256(&tarball)]).success();
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
