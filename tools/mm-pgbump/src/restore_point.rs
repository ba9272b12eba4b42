//! No upgrade without a restore point, unless somebody says so by name.

use std::time::Duration;

use mm_common::contract::sections::Backup;
use mm_common::machine::files;
use mm_common::{Error, Result};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None is needed.
    None,
    /// The one of this hop.
    OfThisHop,
    /// One that is not older than this.
    NotOlderThan(Duration),
}

/// Checks that the restore point named in the document is there, whole at its top, and holds the database and these
/// `others` of its cluster: all of them are carried over, and a restore point that lacks one is none for its owner.
///
/// # Errors
/// Refused when it is not as wanted.
pub(crate) fn check(
    backup: Option<&Backup>,
    wanted: Wanted,
    others: &[String],
    age: impl Fn(&str) -> Option<Duration>,
) -> Result<()> {
    let refused = |why: String| {
        Error::refused("there is no restore point to fall back to").because(why).hint(
            "make one: mm-backup create --to DIR, and hand its document on; or give --no-backup if it is made elsewhere",
        )
    };
    if wanted == Wanted::None {
        return Ok(());
    }
    let Some(backup) = backup else {
        return Err(refused("the document names none".into()));
    };
    if !backup.database {
        return Err(refused(format!("the restore point {} does not hold the database", backup.id)));
    }
    let missing: Vec<_> = others.iter().filter(|name| !backup.databases.contains(name)).cloned().collect();
    if !missing.is_empty() {
        return Err(refused(format!(
            "the restore point {} does not hold every database of the cluster: {} missing",
            backup.id,
            missing.join(", ")
        ))
        .with_hint(
            "make one of all of them: mm-backup create --whole-cluster --to DIR, and hand its document on; or give \
             --no-backup if it is made elsewhere",
        ));
    }
    if let Wanted::NotOlderThan(most) = wanted {
        match age(&backup.created) {
            Some(age) if age <= most => {}
            Some(age) => {
                return Err(refused(format!(
                    "the restore point {} is {} seconds old, not more than {} are allowed",
                    backup.id,
                    age.as_secs(),
                    most.as_secs()
                )));
            }
            None => return Err(refused(format!("the age of the restore point {} cannot be told", backup.id))),
        }
    }
    let digest = files::sha256(&backup.manifest).map_err(|error| refused(error.one_line()))?;
    if digest == backup.manifest_sha256 {
        return Ok(());
    }
    Err(refused(format!("the manifest `{}` is not the one the document names", backup.manifest.display())))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use mm_common::contract::digest;

    use super::*;

    fn backup(manifest: PathBuf, sha256: String) -> Backup {
        Backup {
            id: "a".into(),
            store: "/s".into(),
            path: "/s/a".into(),
            manifest,
            manifest_sha256: sha256,
            created: "2026-01-01T00:00:00Z".into(),
            cold: true,
            bytes: 1,
            files: 1,
            database: true,
            databases: vec!["mattermost".into(), "wiki".into()],
            mysql: None,
            left_out: Vec::new(),
            freeze: None,
            left_stopped: true,
            seconds: 0.0,
        }
    }

    #[test]
    fn a_restore_point_is_needed_whole_and_fresh() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("manifest");
        files::write(&path, b"{}", files::Access::PRIVATE).unwrap();
        let good = backup(path.clone(), digest::of_bytes(b"{}"));
        let hour = |_: &str| Some(Duration::from_secs(3600));
        check(Some(&good), Wanted::OfThisHop, &[], hour).unwrap();
        check(Some(&good), Wanted::NotOlderThan(Duration::from_secs(3600)), &[], hour).unwrap();
        check(None, Wanted::None, &[], hour).unwrap();
        check(Some(&good), Wanted::OfThisHop, &["wiki".into()], hour).unwrap();
        let error = check(Some(&good), Wanted::OfThisHop, &["wiki".into(), "shop".into()], hour).unwrap_err();
        assert!(error.one_line().contains("shop missing") && error.next_step().unwrap().contains("--whole-cluster"));
        let bad = [
            Err(error),
            check(None, Wanted::OfThisHop, &[], hour),
            check(Some(&good), Wanted::NotOlderThan(Duration::from_secs(3599)), &[], hour),
            check(Some(&good), Wanted::NotOlderThan(Duration::from_secs(1)), &[], |_| None),
            check(Some(&Backup { database: false, ..good.clone() }), Wanted::OfThisHop, &[], hour),
            check(Some(&backup(path, digest::of_bytes(b"x"))), Wanted::OfThisHop, &[], hour),
            check(Some(&backup("/none".into(), String::new())), Wanted::OfThisHop, &[], hour),
        ];
        for result in bad {
            assert_eq!(result.unwrap_err().code(), 5);
        }
    }
}
