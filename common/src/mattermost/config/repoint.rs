//! Pointing the server at another data source: the one string is changed where the server reads it from, every other
//! byte stays as it is, mode and owner too.

use std::path::{Path, PathBuf};

use super::{Config, MOST, Origin, edit, environment, open_parent};
use crate::contract::error::{Context as _, Error, Result};
use crate::contract::secret::Secret;
use crate::machine::files::Access;
use crate::machine::lock::LockGuard;
use crate::machine::service::systemd;

impl Config {
    /// Changes the data source to `new`, durably, in the file where it was found. Returns that file.
    ///
    /// # Errors
    /// Refused when it stands where no file can be changed: in the configuration in the database, or in a variable of
    /// unknown origin. Nothing is changed then.
    pub fn repoint(&self, new: &Secret, _lock: &LockGuard) -> Result<PathBuf> {
        let (old, origin) = self.data_source()?;
        match origin {
            Origin::File(path) => {
                let change = |text: &str| edit::replace(text, "SqlSettings", "DataSource", new.reveal());
                rewrite(&path, change)?;
                Ok(path)
            }
            Origin::Environment { name, file: Some(path) } => {
                let change = |text: &str| variable(text, &name, old.reveal(), new.reveal());
                rewrite(&path, change)?;
                if systemd::is_here() {
                    systemd::reload()?;
                }
                Ok(path)
            }
            Origin::Environment { name, file: None } => Err(Error::refused("cannot change the data source")
                .because(format!("it is set by the variable {name}, and no file that sets it was found"))
                .hint(format!("put {name} into an environment file of the service, then run this again"))),
            Origin::Database => Err(Error::refused("cannot change the data source")
                .because("the configuration is in the database that it would have to be moved from")
                .hint("set MM_SQLSETTINGS_DATASOURCE and MM_CONFIG in an environment file of the service, then run this again")),
        }
    }
}

fn rewrite(path: &Path, change: impl Fn(&str) -> Result<String>) -> Result<()> {
    let attempt = || format!("cannot change the data source in `{}`", path.display());
    let (dir, name) = open_parent(path)?;
    let bytes = dir.read(&name, MOST).context(attempt)?;
    let text = String::from_utf8(bytes).map_err(|_| Error::failed(attempt()).because("it is not UTF-8"))?;
    let new = change(&text).context(attempt)?;
    if new == text {
        return Ok(());
    }
    let Some(entry) = dir.look(&name)? else {
        return Err(Error::failed(attempt()).because("it has vanished"));
    };
    dir.write(&name, new.as_bytes(), Access { mode: entry.mode, owner: Some((entry.uid, entry.gid)) })
}

/// An environment file has the variable at the beginning of a line; a unit or a program section has it within one.
fn variable(text: &str, name: &str, old: &str, new: &str) -> Result<String> {
    let last = environment::assignments(text).into_iter().rev().find(|found| found.name == name);
    if let Some(found) = last.filter(|found| found.value == old) {
        let raw = &text[found.span.clone()];
        // Where nothing comes in that would mean something to a shell, the quotes stay as they are too.
        let harmless = new.chars().all(|c| c.is_ascii_alphanumeric() || old.contains(c));
        let new = if harmless && raw.matches(old).count() == 1 { raw.replacen(old, new, 1) } else { quoted(new) };
        return Ok(format!("{}{new}{}", &text[..found.span.start], &text[found.span.end..]));
    }
    let percent = |value: &str| value.replace('%', "%%");
    let (old, new) = (format!("{name}={}", percent(old)), format!("{name}={}", percent(new)));
    let inside_quotes = format!("{name}=\"{}", &old[name.len() + 1..]);
    match (text.matches(&old).count(), text.matches(&inside_quotes).count()) {
        (1, 0) => Ok(text.replacen(&old, &new, 1)),
        (0, 1) => Ok(text.replacen(&inside_quotes, &format!("{name}=\"{}", &new[name.len() + 1..]), 1)),
        _ => Err(Error::failed(format!("cannot find the one place where {name} is set"))
            .hint(format!("change {name} there by hand"))),
    }
}

/// Quoted so that both systemd and a shell read it back.
fn quoted(value: &str) -> String {
    if !value.contains('\'') {
        return format!("'{value}'");
    }
    let escaped = value.chars().fold(String::new(), |mut text, c| {
        if matches!(c, '"' | '\\' | '`' | '$') {
            text.push('\\');
        }
        text.push(c);
        text
    });
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "MM_SQLSETTINGS_DATASOURCE";

    #[test]
    fn an_environment_file_keeps_every_other_byte() {
        let text = format!("# secret\n{NAME}=old\n{NAME}=\"old\"  \nOTHER=old\n");
        let new = variable(&text, NAME, "old", "a&b'c").unwrap();
        assert_eq!(new, format!("# secret\n{NAME}=old\n{NAME}=\"a&b'c\"  \nOTHER=old\n"));
        assert_eq!(environment::assignments(&new)[1].value, "a&b'c");
        for quote in ["", "'", "\""] {
            let text = format!("export {NAME}={quote}u@h:5432/d{quote}  \n# why\n");
            let wanted = text.replace("5432", "5433");
            let found = environment::assignments(&text)[0].value.clone();
            assert_eq!(variable(&text, NAME, &found, &found.replace("5432", "5433")).unwrap(), wanted);
        }
    }

    #[test]
    fn a_unit_keeps_its_quotes_and_escapes_percent_signs() {
        let text = format!("[Service]\nEnvironment=\"{NAME}=postgres://u:p%%40@h/d\" X=1\n");
        let new = variable(&text, NAME, "postgres://u:p%40@h/d", "postgres://u:p%40@i/d").unwrap();
        assert_eq!(new, format!("[Service]\nEnvironment=\"{NAME}=postgres://u:p%%40@i/d\" X=1\n"));
        assert!(variable("nothing", NAME, "a", "b").is_err());
    }
}
