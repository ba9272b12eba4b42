//! The file in which the refreshed catalogue is kept: whole or not at all, and the last three beside it.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mm_common::contract::error::{Error, Result};
use mm_common::machine::files::{self, Access};
use mm_common::machine::lock::LockGuard;
use mm_common::mattermost::catalogue::Overlay;
use serde_json::{Map, Value};

/// How many earlier ones are kept.
const EARLIER: u32 = 3;

/// More than the whole catalogue takes with a name and a digest for every release.
const MOST: u64 = 16 * 1024 * 1024;

/// The lists of a catalogue, with what tells their records apart.
const LISTS: [(&str, &str); 6] = [
    ("releases", "version"),
    ("lines", "line"),
    ("requirements", "from"),
    ("rules", "id"),
    ("notes", "id"),
    ("rates", "id"),
];

/// Where it is.
pub(super) struct Place {
    path: PathBuf,
}

impl Place {
    /// # Errors
    /// Usage when the state directory is not an absolute path.
    pub(super) fn at(path: &Path) -> Result<Self> {
        files::parent(path)?;
        Ok(Self { path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// One refresh at a time.
    pub(super) fn lock(&self, wait: Duration) -> Result<LockGuard> {
        let directory = files::parent(&self.path)?;
        files::create_directory(directory, 0o711)?;
        // Everybody may plan, so everybody may look up what was refreshed; what is private there has a mode of its own.
        let failed = |error| Error::io("open to all", directory, error);
        let opened = files::open_directory(directory)?;
        let mode = opened.metadata().map_err(failed)?.mode() & 0o7777;
        if mode & 0o011 != 0o011 {
            opened.set_permissions(Permissions::from_mode(mode | 0o011)).map_err(failed)?;
        }
        LockGuard::take(&self.path.with_extension("lock"), wait)
    }

    /// What stands there; an empty object when nothing does.
    pub(super) fn read(&self) -> Result<Value> {
        if files::look(&self.path)?.is_none() {
            return Ok(Value::Object(Map::new()));
        }
        read(&self.path)
    }

    /// Writes it, when it differs, and keeps those before. Returns whether it differed.
    pub(super) fn write(&self, text: &str) -> Result<bool> {
        let there = files::look(&self.path)?.is_some();
        if there && files::read_text(&self.path, MOST)? == text {
            return Ok(false);
        }
        if there {
            for number in (1..EARLIER).rev() {
                if files::look(&self.earlier(number))?.is_some() {
                    files::rename(&self.earlier(number), &self.earlier(number + 1))?;
                }
            }
            // A copy: between the two a power cut leaves the file as it was.
            files::write(&self.earlier(1), files::read_text(&self.path, MOST)?.as_bytes(), Access::PUBLIC)?;
        }
        files::write(&self.path, text.as_bytes(), Access::PUBLIC)?;
        Ok(true)
    }

    fn earlier(&self, number: u32) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{number}"));
        self.path.with_file_name(name)
    }
}

/// Reads a catalogue.
///
/// # Errors
/// Refused when it is not JSON.
pub(crate) fn read(path: &Path) -> Result<Value> {
    serde_json::from_str(&files::read_text(path, MOST)?)
        .map_err(|error| Error::refused(format!("cannot read `{}`", path.display())).because(error))
}

/// One catalogue laid over another.
pub(crate) fn joined(mut below: Value, above: &Value) -> Value {
    for (list, key) in LISTS {
        lay(&mut below, list, key, above[list].as_array().into_iter().flatten());
    }
    for (list, key) in [("counts", "from"), ("names", "number")] {
        let records = above["migrations"][list].as_array().filter(|records| !records.is_empty());
        if let Some(records) = records {
            lay(&mut below["migrations"], list, key, records.iter());
        }
    }
    for key in ["unread_notes", "signing_key"] {
        if let Some(value) = above.get(key) {
            below[key] = value.clone();
        }
    }
    // A day in this form is the later one when it is the greater text.
    if above["as_of"].as_str() > below["as_of"].as_str() {
        below["as_of"] = above["as_of"].clone();
    }
    below
}

/// Puts records into a list, each in the place of the one with the same key.
pub(super) fn lay<'a>(into: &mut Value, list: &str, key: &str, records: impl Iterator<Item = &'a Value>) {
    let mut all: Vec<Value> = into[list].as_array().cloned().unwrap_or_default();
    for record in records {
        match all.iter_mut().find(|known| known[key] == record[key]) {
            Some(known) => *known = record.clone(),
            None => all.push(record.clone()),
        }
    }
    if !all.is_empty() {
        into[list] = Value::Array(all);
    }
}

/// As it will be written, once it is known that it will be read.
pub(super) fn text(written: &Value, path: &Path) -> Result<String> {
    let text = format!("{}\n", serde_json::to_string_pretty(written).unwrap_or_default());
    Overlay::parse(&path.display().to_string(), &text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_three_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(&directory.path().join("catalogue.json")).unwrap();
        for number in 1..=5 {
            assert!(place.write(&number.to_string()).unwrap());
            assert!(!place.write(&number.to_string()).unwrap(), "the same again");
        }
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).ok();
        let all = ["", ".1", ".2", ".3", ".4"].map(|end| read(&format!("catalogue.json{end}")));
        assert_eq!(
            all,
            ["5", "4", "3", "2"]
                .map(|text| Some(text.to_owned()))
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>()
                .as_slice()
        );
    }

    #[test]
    fn a_catalogue_over_another_hides_nothing_but_what_it_says_itself() {
        let below = json!({"as_of": "2026-12-01", "signing_key": "a", "releases": [{"version": "1.0.0"}, {"version": "2.0.0"}]});
        let above = json!({"as_of": "2026-11-01", "rules": [{"id": "x"}], "migrations": {"names": [{"number": 1}]},
            "releases": [{"version": "2.0.0", "released": "2026-01-01"}, {"version": "3.0.0"}]});
        let expected = json!({"as_of": "2026-12-01", "signing_key": "a", "rules": [{"id": "x"}],
            "releases": [{"version": "1.0.0"}, {"version": "2.0.0", "released": "2026-01-01"}, {"version": "3.0.0"}],
            "migrations": {"names": [{"number": 1}]}});
        assert_eq!(joined(below, &above), expected);
        assert_eq!(joined(json!({}), &above), above);
    }

    #[test]
    fn records_take_the_place_of_those_with_their_key() {
        let mut all = json!({"lines": [{"line": "1.0"}, {"line": "2.0"}]});
        lay(&mut all, "lines", "line", [json!({"line": "2.0", "esr": true}), json!({"line": "3.0"})].iter());
        assert_eq!(all["lines"], json!([{"line": "1.0"}, {"line": "2.0", "esr": true}, {"line": "3.0"}]));
    }
}
