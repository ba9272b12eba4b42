//! What `pg_upgrade` itself has written: it stands in the new cluster's data directory (from 15 on) or beside the logs of
//! the servers, and goes on the way back or is found by nobody, though the reason of a failure is only there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use mm_common::contract::ui;
use mm_common::machine::{files, tree};

use crate::record::Entry;

/// Of a file of more bytes the end is kept: a failure is the last thing in it.
const KEPT: u64 = 1 << 20;

/// There is one for each database, and a few more.
const MOST: usize = 200;

/// Lines of reasons that are shown of one file.
const SHOWN: usize = 6;

/// Words that mark a reason.
const REASONS: &[&str] = &["FATAL:", "ERROR:", "PANIC:", "error:", "could not "];

/// Its files, held open: `pg_upgradecluster` deletes the new cluster with them when it fails.
#[derive(Debug)]
pub(crate) struct Reports {
    place: PathBuf,
    open: BTreeMap<PathBuf, File>,
}

impl Reports {
    /// Those of an upgrade that is about to begin.
    pub(crate) fn of(entry: &Entry) -> Self {
        Self { place: entry.data.join("pg_upgrade_output.d"), open: BTreeMap::new() }
    }

    /// Opens what has come since the last look.
    pub(crate) fn look(&mut self) {
        let place = self.place.clone();
        self.look_into(&place);
    }

    fn look_into(&mut self, place: &Path) {
        let mut found = Vec::new();
        // There is none before it has begun, and none when it has ended well.
        let _ = tree::walk(place, &mut |met| {
            if met.path.extension().is_some_and(|end| end == "log" || end == "txt") {
                found.push(place.join(met.path));
            }
            Ok(tree::Go::In)
        });
        for path in found {
            if self.open.len() < MOST
                && !self.open.contains_key(&path)
                && let Ok(file) = files::open_nofollow(&path)
            {
                self.open.insert(path, file);
            }
        }
    }

    /// Appends them to `log`, and returns the reasons that stand in them. `said` is what `pg_upgradecluster` has printed:
    /// it names a directory beside the logs of the servers.
    pub(crate) fn keep(mut self, said: &str, log: &mut File) -> Vec<String> {
        let named = said.lines().filter_map(|line| line.split_once("Logfiles are in "));
        for place in named.map(|(_, path)| Path::new(path.trim())).filter(|path| path.is_absolute()) {
            self.look_into(place);
        }
        let mut reasons = Vec::new();
        for (path, file) in &mut self.open {
            match keep_one(path, file, log) {
                Ok(text) => reasons.extend(reasons_in(path, &text)),
                Err(error) => ui::warn(&format!("cannot keep `{}`: {error}", path.display())),
            }
        }
        reasons
    }
}

fn keep_one(path: &Path, file: &mut File, log: &mut File) -> std::io::Result<String> {
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(KEPT)))?;
    let mut end = Vec::new();
    file.take(KEPT).read_to_end(&mut end)?;
    let text = String::from_utf8_lossy(&end).into_owned();
    writeln!(log, "==> {} <==\n{text}", path.display())?;
    Ok(text)
}

/// The last complaint of a file with the lines that lead to it.
fn reasons_in(path: &Path, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_report = path.extension().is_some_and(|end| end == "txt");
    let last = lines.iter().rposition(|line| REASONS.iter().any(|word| line.contains(word)));
    let end = match last {
        Some(last) => last + 1,
        None if is_report => lines.len(),
        None => return Vec::new(),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    lines[end.saturating_sub(SHOWN)..end].iter().map(|line| format!("{name}: {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_complaint_is_shown_with_what_leads_to_it() {
        let text =
            "a\nLOG:  one\nCONTEXT:  line 3 of configuration file \"pg_hba.conf\"\nFATAL:  could not load\n\nb\n";
        let reasons = reasons_in(Path::new("/d/server.log"), text);
        assert_eq!(reasons.len(), 4);
        assert_eq!(reasons[3], "server.log: FATAL:  could not load");
        assert!(reasons_in(Path::new("/d/server.log"), "fine\n").is_empty());
        assert_eq!(reasons_in(Path::new("/d/loadable.txt"), "Database: x\n"), ["loadable.txt: Database: x"]);
    }
}
