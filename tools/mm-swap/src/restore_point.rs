//! The restore point that an exchange can be undone with, and the one place where a tool runs another: the database is
//! put back by `mm-backup` or `mm-pgbump`, from beside this program.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::sections::Backup;
use mm_common::machine::command::Cmd;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::State;
use mm_common::machine::{door, files, journal, signals};
use mm_common::mattermost::way_back::RestorePoint;
use mm_common::run::beside::beside;

use crate::operation::Operation;

/// How old a restore point may be: `90m`, `24h`, `2d`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age(Duration);

impl FromStr for Age {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => 0,
        };
        match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|_| unit > 0) {
            Some(seconds) => Ok(Self(Duration::from_secs(seconds))),
            None => Err(Error::usage(format!("`{text}` is not an age")).hint("write it as in `90m`, `24h` or `2d`")),
        }
    }
}

/// What is asked of the restore point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One made in this hop: the document names it.
    OfThisHop,
    /// One that is not older.
    NotOlderThan(Age),
    /// None.
    None,
}

/// Checks the restore point that the document names.
///
/// # Errors
/// Refused when there is none, it is too old, it holds no database, or its manifest is not the one recorded.
pub(crate) fn check(backup: Option<&Backup>, wanted: Wanted, now: Timestamp) -> Result<Option<RestorePoint>> {
    let Some(backup) = backup else {
        return match wanted {
            Wanted::None => Ok(None),
            _ => Err(Error::refused("there is no restore point to go back to")
                .because("the document names none")
                .hint("put `mm-backup --to DIR --stop --leave-stopped` before mm-swap, or say --no-backup")),
        };
    };
    let refused = |why: String| {
        Error::refused(format!("the restore point `{}` cannot be relied on", backup.id))
            .because(why)
            .hint("make a new one with mm-backup, or say --no-backup")
    };
    let point = RestorePoint { id: backup.id.clone(), store: backup.store.clone(), created: backup.created.clone() };
    if wanted == Wanted::None {
        return Ok(Some(point));
    }
    if !backup.database {
        return Err(refused("it does not hold the database".into()));
    }
    if let Wanted::NotOlderThan(Age(age)) = wanted {
        let created: Timestamp =
            backup.created.parse().map_err(|_| refused(format!("its time `{}` cannot be read", backup.created)))?;
        let old = now.duration_since(created).as_secs();
        if u64::try_from(old).is_ok_and(|old| old > age.as_secs()) {
            return Err(refused(format!("it is {old} seconds old, {} are allowed", age.as_secs())));
        }
    }
    let sha256 = files::sha256(&backup.manifest).or_else(|error| {
        // Whoever asks to stop says nothing about the restore point.
        signals::check()?;
        Err(refused(error.one_line()))
    })?;
    if sha256 != backup.manifest_sha256 {
        return Err(refused(format!("its manifest `{}` has been changed", backup.manifest.display())));
    }
    Ok(Some(point))
}

/// The command that puts the database of a restore point back, as this program runs it and as a person would.
pub(crate) fn command(operation: &Operation, point: &RestorePoint, flags: &[String]) -> Result<Cmd> {
    Ok(beside("mm-backup")?
        .args(["restore", &point.id, "--database", "--document", "none", "--format", "json", "--to"])
        .arg(&point.store)
        .arg("--install")
        .arg(&operation.root)
        .args(flags))
}

/// The command that lets the cluster of before the hop serve again.
pub(crate) fn cluster_command(root: &Path, flags: &[String]) -> Result<Cmd> {
    Ok(beside("mm-pgbump")?
        .args(["rollback", "--leave-stopped", "--document", "none", "--format", "json", "--install"])
        .arg(root)
        .args(flags))
}

/// Puts the database back. The other tool gets the lock as its standard input: nobody comes in between, and it knows by that
/// who has asked for it. Returns its line about it, which names what it keeps.
///
/// # Errors
/// Half done (exit 3).
pub(crate) fn restore(command: &Cmd, lock: &LockGuard) -> Result<String> {
    let output = lock.hand_on().and_then(|lock| command.run_from(lock)).map_err(|error| {
        error.within("cannot put the database back").of_kind(Kind::HalfDone).with_hint("fix what it complains about")
    })?;
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Ok(document["msg"].as_str().unwrap_or("the database that was there before is kept").to_owned())
}

/// Whether mm-backup was cut off while it put the database back: it finishes that when it is asked again.
pub(crate) fn is_cut_off(state: &State) -> Result<bool> {
    Ok(journal::interrupted(state.path())?.iter().any(|name| name == journal::RESTORE))
}

/// Whether mm-pgbump was cut off while it let the old cluster serve again.
pub(crate) fn is_cluster_cut_off(state: &State) -> Result<bool> {
    Ok(journal::interrupted(state.path())?.iter().any(|name| name == door::PGBUMP || name == door::MOVE))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use mm_common::contract::digest;
    use mm_common::machine::files::Access;

    use super::*;

    fn backup(manifest: PathBuf, contents: &[u8]) -> Backup {
        Backup {
            id: "x".into(),
            store: "/srv/backup".into(),
            path: "/srv/backup/x".into(),
            manifest,
            manifest_sha256: digest::of_bytes(contents),
            created: "2026-11-22T10:00:00Z".into(),
            cold: true,
            bytes: 1,
            files: 1,
            database: true,
            databases: Vec::new(),
            mysql: None,
            left_out: Vec::new(),
            freeze: None,
            left_stopped: true,
            seconds: 1.0,
        }
    }

    #[test]
    fn ages_have_units() {
        assert_eq!("90m".parse::<Age>().unwrap(), Age(Duration::from_secs(5400)));
        assert_eq!("2d".parse::<Age>().unwrap(), Age(Duration::from_secs(172_800)));
        for wrong in ["", "h", "2w", "-1h", "99999999999999999999d"] {
            assert!(wrong.parse::<Age>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_restore_point_is_asked_for_and_looked_at() {
        let place = tempfile::tempdir().unwrap();
        let manifest = place.path().join("manifest.json");
        files::write(&manifest, b"{}", Access::PRIVATE).unwrap();
        let good = backup(manifest.clone(), b"{}");
        let now: Timestamp = "2026-11-22T11:00:00Z".parse().unwrap();
        assert!(check(Some(&good), Wanted::OfThisHop, now).unwrap().is_some());
        assert!(check(Some(&good), Wanted::NotOlderThan("2h".parse().unwrap()), now).is_ok());
        assert_eq!(check(Some(&good), Wanted::NotOlderThan("30m".parse().unwrap()), now).unwrap_err().code(), 5);
        assert_eq!(check(None, Wanted::OfThisHop, now).unwrap_err().code(), 5);
        assert!(check(None, Wanted::None, now).unwrap().is_none());
        assert!(check(Some(&backup(place.path().join("none"), b"")), Wanted::None, now).unwrap().is_some());
        assert!(check(Some(&backup(manifest, b"other")), Wanted::OfThisHop, now).is_err());
        let without = Backup { database: false, ..good };
        assert!(check(Some(&without), Wanted::OfThisHop, now).is_err());
    }
}
