//! Detached OpenPGP signatures, verified by the host's `gpgv`, or `sqv` where that is what the host has.

use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::command::{self, Cmd};
use mm_common::machine::files::{self, Access};

use crate::armor;
use crate::cache::beside;

/// The keyring of a whole distribution has a few hundred kilobytes.
const MOST_KEYS: u64 = 16 * 1024 * 1024;

/// Mattermost's signing key, as its own server carries it. Its expiry is renewed now and then, the key stays: what
/// counts is the fingerprint.
const BUILD_KEY: &str = include_str!("../../../common/catalogue/mattermost-build-key.asc");

/// Fingerprint of that key.
pub(crate) const BUILD_FINGERPRINT: &str = "A1B31D46F0F3A10B02CF2D44F8F2C31744774B28";

/// The keys that are trusted.
#[derive(Debug, Clone)]
pub(crate) struct Keyring {
    keys: Vec<u8>,
    /// The one key whose signature counts; any of the keyring when none.
    fingerprint: Option<String>,
}

impl Keyring {
    /// Larger than any detached signature.
    pub(crate) const MOST_SIGNATURE: u64 = 64 * 1024;

    /// A keyring in a file. Any key in it will do.
    ///
    /// # Errors
    /// Refused when it holds no keys, or the host has no program to verify with.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        let refused = || Error::refused(format!("cannot use the keyring `{}`", path.display()));
        let resolved = std::fs::canonicalize(path).map_err(|error| refused().because(error))?;
        let keys = armor::bare(&files::read(&resolved, MOST_KEYS)?)
            .map_err(|why| refused().because(why).hint("give a file with public keys, as `gpg --export` writes it"))?;
        command::find(program())?;
        Ok(Self { keys, fingerprint: None })
    }

    /// Mattermost's own key: as it was last published, where that is known, or as it is built in.
    pub(crate) fn of_mattermost(renewed: Option<&str>) -> Result<Self> {
        let (built_in, fingerprint) = built_in()?;
        let keys = armor::bare(renewed.unwrap_or(&built_in).as_bytes())
            .map_err(|why| Error::failed("cannot read Mattermost's signing key").because(why))?;
        Ok(Self { keys, fingerprint: Some(fingerprint) })
    }

    /// Verifies the signature of a file and returns the fingerprint of the key, if the program tells. Without a
    /// signature it is `None` when the digest has proven the file already, and an error when not.
    pub(crate) fn verify(&self, file: &Path, signature: Option<&[u8]>, proven: bool) -> Result<Option<String>> {
        let Some(signature) = signature else {
            if proven {
                ui::warn(&format!("there is no signature beside `{}`; it is taken without one", file.display()));
                return Ok(None);
            }
            return Err(Self::missing(&file.display().to_string()));
        };
        let place = beside(file, ".sig");
        files::write(&place, signature, Access::PRIVATE)?;
        let verified = self.run(file, &place);
        files::remove_file(&place)?;
        verified.map(Some)
    }

    /// That there is nothing to prove a tarball with.
    pub(crate) fn missing(what: &str) -> Error {
        Error::refused(format!("nothing proves `{what}`"))
            .because("there is neither a trusted digest of it nor a signature beside it")
            .hint(
                "give its digest from Mattermost's version archive with --sha256 HEX; or vouch for the one in the document: \
                 --accept document-digest; or take it as it is: --accept unsigned",
            )
    }

    /// # Errors
    /// Refused when the host has no program to verify with.
    pub(crate) fn usable() -> Result<()> {
        command::find(program()).map(|_| ())
    }

    /// Verifies a tarball of the cache against the signature kept beside it.
    pub(crate) fn verify_kept(&self, archive: &Path) -> Result<Option<String>> {
        let place = beside(archive, ".sig");
        if files::look(&place)?.is_none() {
            return Ok(None);
        }
        self.run(archive, &place).map(Some)
    }

    /// Keeps a signature beside its tarball in the cache.
    pub(crate) fn keep(archive: &Path, signature: &[u8]) -> Result<()> {
        files::write(&beside(archive, ".sig"), signature, Access::PUBLIC)
    }

    fn run(&self, file: &Path, signature: &Path) -> Result<String> {
        let keyring = beside(file, ".keyring");
        files::write(&keyring, &self.keys, Access::PRIVATE)?;
        let verified = self.run_with(&keyring, file, signature);
        files::remove_file(&keyring)?;
        verified
    }

    fn run_with(&self, keyring: &Path, file: &Path, signature: &Path) -> Result<String> {
        let program = program();
        command::find(program)?;
        let command = match program {
            "sqv" => Cmd::new("sqv").arg("--keyring").arg(keyring).arg(signature).arg(file),
            _ => Cmd::new("gpgv")
                .args(["--status-fd", "1", "--keyring"])
                .arg(keyring)
                .arg(signature)
                .arg(file)
                // It would look for its configuration in a home directory.
                .env("GNUPGHOME", "/nonexistent"),
        };
        let output = command.output()?;
        let judged = match program {
            "sqv" if output.status.success() => of_sqv(&output.text(), self.fingerprint.as_deref()),
            "sqv" => Err("sqv does not accept it; where that is because its copy of the key has expired, bring the renewed one with `mm-fetch refresh`, or install gpgv, which tells that apart".into()),
            _ => of_gpgv(&output.text(), self.fingerprint.as_deref()),
        };
        judged.map_err(|why| {
            let error = Error::refused(format!("the signature of `{}` is not good", file.display())).because(why);
            error.because(command.failure(&output).one_line())
        })
    }
}

/// The program of this host that verifies.
fn program() -> &'static str {
    if command::exists("gpgv") || !command::exists("sqv") { "gpgv" } else { "sqv" }
}

#[cfg(not(feature = "checkpoints"))]
#[expect(clippy::unnecessary_wraps, reason = "a build for tests reads files here")]
fn built_in() -> Result<(String, String)> {
    Ok((BUILD_KEY.to_owned(), BUILD_FINGERPRINT.to_owned()))
}

/// Tests sign with a key of their own: its file and fingerprint take the place of Mattermost's.
#[cfg(feature = "checkpoints")]
fn built_in() -> Result<(String, String)> {
    match (std::env::var_os("MM_BUILD_KEY"), std::env::var("MM_BUILD_FINGERPRINT")) {
        (Some(path), Ok(fingerprint)) => Ok((files::read_text(Path::new(&path), MOST_KEYS)?, fingerprint)),
        _ => Ok((BUILD_KEY.to_owned(), BUILD_FINGERPRINT.to_owned())),
    }
}

/// The fingerprint of the key whose signatures count.
///
/// # Errors
/// As reading the key of a test.
pub(crate) fn fingerprint() -> Result<String> {
    built_in().map(|(_, fingerprint)| fingerprint)
}

/// The fingerprint of the first key in a keyring.
///
/// # Errors
/// Failed when it is no key of version 4, which all of today's are.
pub(crate) fn primary(keyring: &str) -> Result<String> {
    let failed = |why: &str| Error::failed("cannot read the published signing key").because(why);
    let keys = armor::bare(keyring.as_bytes()).map_err(failed)?;
    armor::fingerprint(&keys).ok_or_else(|| failed("it does not begin with a public key of version 4"))
}

/// What the status lines of `gpgv` say: the fingerprint of the primary key whose signature is valid, or why none is.
/// That a key has expired since is not against it: its expiry is renewed, and the copy here may be an older one.
fn of_gpgv(text: &str, wanted: Option<&str>) -> Result<String, String> {
    let mut valid: Option<&str> = None;
    for line in text.lines().filter_map(|line| line.strip_prefix("[GNUPG:] ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["BADSIG", ..] => return Err("it belongs to another file, or one of the two was changed".into()),
            ["REVKEYSIG", ..] => return Err("the key that made it was revoked".into()),
            ["EXPSIG", ..] => return Err("the signature itself has expired".into()),
            ["ERRSIG", key, .., last] => {
                let by = if last.len() == 40 { last } else { key };
                let instead = wanted.map_or_else(String::new, |wanted| format!(", not by Mattermost's key {wanted}"));
                return Err(format!("it was made by the key {by}{instead}"));
            }
            ["VALIDSIG", _, .., primary] => valid = Some(primary),
            _ => {}
        }
    }
    let primary = valid.ok_or("it is none that gpgv could verify")?;
    of_key(primary, wanted)
}

fn of_sqv(text: &str, wanted: Option<&str>) -> Result<String, String> {
    let primary = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    of_key(primary, wanted)
}

fn of_key(key: &str, wanted: Option<&str>) -> Result<String, String> {
    match wanted {
        Some(wanted) if !key.eq_ignore_ascii_case(wanted) => {
            Err(format!("it was made by the key {key}, not by Mattermost's key {wanted}"))
        }
        _ => Ok(key.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gpgv_says_decides_and_not_how_it_ends() {
        let valid = format!("[GNUPG:] VALIDSIG {BUILD_FINGERPRINT} 2026-11-05 1 0 4 0 1 10 00 {BUILD_FINGERPRINT}\n");
        let says = |text: &str| of_gpgv(text, Some(BUILD_FINGERPRINT));
        assert_eq!(says(&valid).unwrap(), BUILD_FINGERPRINT);
        assert!(says(&format!("[GNUPG:] EXPKEYSIG F8F2C31744774B28 x\n{valid}")).is_ok(), "its expiry is renewed");
        for bad in ["BADSIG F8F2C31744774B28 x", "REVKEYSIG F8F2C31744774B28 x", "EXPSIG F8F2C31744774B28 x"] {
            assert!(says(&format!("[GNUPG:] {bad}\n{valid}")).is_err(), "{bad}");
        }
        let other = "B".repeat(40);
        let refused = says(&format!("[GNUPG:] ERRSIG 0123456789ABCDEF 1 10 00 1 9 {other}\n")).unwrap_err();
        assert!(refused.contains(&other) && refused.contains(BUILD_FINGERPRINT), "{refused}");
        let refused = says(&valid.replace(BUILD_FINGERPRINT, &other)).unwrap_err();
        assert!(refused.contains(&other) && refused.contains(BUILD_FINGERPRINT), "{refused}");
        assert!(says("").is_err() && says("gpgv: Good signature\n").is_err());
    }

    #[test]
    fn the_key_that_is_built_in_reads_and_is_the_one_that_it_is_said_to_be() {
        assert!(Keyring::of_mattermost(None).is_ok());
        assert_eq!(primary(BUILD_KEY).unwrap(), BUILD_FINGERPRINT);
        let binary = armor::bare(BUILD_KEY.as_bytes()).unwrap();
        assert_eq!(primary(&armor::armored(&binary).unwrap()).unwrap(), BUILD_FINGERPRINT);
        assert!(primary("no key").is_err());
    }
}
