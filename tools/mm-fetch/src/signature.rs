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

/// The keys that are trusted.
#[derive(Debug, Clone)]
pub(crate) struct Keyring {
    keys: Vec<u8>,
    program: &'static str,
}

impl Keyring {
    /// Larger than any detached signature.
    pub(crate) const MOST_SIGNATURE: u64 = 64 * 1024;

    /// A keyring in a file.
    ///
    /// # Errors
    /// Refused when it holds no keys, or the host has no program to verify with.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        let refused = || Error::refused(format!("cannot use the keyring `{}`", path.display()));
        let resolved = std::fs::canonicalize(path).map_err(|error| refused().because(error))?;
        let keys = armor::bare(&files::read(&resolved, MOST_KEYS)?)
            .map_err(|why| refused().because(why).hint("give a file with public keys, as `gpg --export` writes it"))?;
        let program = if command::exists("gpgv") || !command::exists("sqv") { "gpgv" } else { "sqv" };
        command::find(program)?;
        Ok(Self { keys, program })
    }

    /// Verifies the signature of a file and returns the fingerprint of the key, if the program tells. Without a
    /// signature it is `None` when the digest has proven the file already, and an error when not.
    pub(crate) fn verify(&self, file: &Path, signature: Option<&[u8]>, proven: bool) -> Result<Option<String>> {
        let Some(signature) = signature else {
            if proven {
                ui::warn(&format!("there is no signature beside `{}`; its digest proves it", file.display()));
                return Ok(None);
            }
            return Err(Error::refused(format!("nothing proves `{}`", file.display()))
                .because("there is neither a trusted digest of it nor a signature beside it")
                .hint("give its digest from Mattermost's version archive with --sha256 HEX"));
        };
        let place = beside(file, ".sig");
        files::write(&place, signature, Access::PRIVATE)?;
        let verified = self.run(file, &place);
        files::remove_file(&place)?;
        verified.map(Some)
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
        let command = match self.program {
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
        if !output.status.success() {
            return Err(command
                .failure(&output)
                .within(format!("the signature of `{}` is not good", file.display()))
                .of_kind(mm_common::Kind::Refused));
        }
        let text = output.text();
        let fingerprint = text
            .lines()
            .find_map(|line| line.strip_prefix("[GNUPG:] VALIDSIG "))
            .and_then(|rest| rest.split_whitespace().next())
            .or_else(|| text.lines().map(str::trim).find(|line| !line.is_empty()))
            .unwrap_or_default();
        Ok(fingerprint.to_owned())
    }
}
