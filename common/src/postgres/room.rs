//! Room for a database that is restored beside the present one: in its tablespace, and, where the log is on a file system of
//! its own, there. A log that cannot be written ends the whole cluster.

use std::path::{Path, PathBuf};

use super::dump::literal;
use super::server::Database;
use crate::contract::error::Result;
use crate::machine::{disk, tree};

/// Room that is needed somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Where.
    pub place: PathBuf,
    /// How many bytes.
    pub bytes: u64,
    /// For what, for people.
    pub what: &'static str,
}

/// What a restored database of `bytes` needs in the cluster whose data directory is `data`, in the tablespace `space` or else
/// where its databases lie.
/// `present`, where there is one, is the database whose place it will take: of it a part may lie in tablespaces.
///
/// # Errors
/// When the server cannot be asked.
pub fn needed(
    data: &Path,
    server: &Database,
    present: Option<&Database>,
    bytes: u64,
    space: Option<&str>,
) -> Result<Vec<Need>> {
    let location = match space {
        Some(space) => located(server, &format!("spcname = {}", literal(space)))?,
        None => None,
    };
    let mut needs = Vec::new();
    let mut rest = bytes;
    for row in present.map(|present| present.rows(SPREAD)).transpose()?.unwrap_or_default() {
        let (Some(place), Some(size)) = (row["place"].as_str(), row["bytes"].as_u64()) else { continue };
        let bytes = size.min(rest);
        rest -= bytes;
        needs.push(Need { place: place.into(), bytes, what: "the tables of the restored database there" });
    }
    let place = location.unwrap_or_else(|| data.to_owned());
    needs.insert(0, Need { place, bytes: rest, what: "the restored database" });
    needs.extend(log(data, server, bytes)?);
    Ok(together(needs))
}

/// What is needed on the same file system has to fit there together.
pub fn together(needs: Vec<Need>) -> Vec<Need> {
    let mut all: Vec<(Option<u64>, Need)> = Vec::new();
    for need in needs {
        let device = std::fs::canonicalize(&need.place).ok().and_then(|place| disk::device(&place).ok());
        match all.iter_mut().find(|(other, _)| device.is_some() && *other == device) {
            Some((_, other)) => other.bytes += need.bytes,
            None => all.push((device, need)),
        }
    }
    all.into_iter().map(|(_, need)| need).collect()
}

/// What of a database lies in other tablespaces than its own.
const SPREAD: &str = "SELECT pg_catalog.pg_tablespace_location(c.reltablespace) AS place,
    pg_catalog.sum(pg_catalog.pg_relation_size(c.oid))::pg_catalog.int8 AS bytes
  FROM pg_catalog.pg_class c WHERE c.reltablespace <> 0 AND c.relkind IN ('r', 'i', 'm', 't', 'S')
    AND pg_catalog.pg_tablespace_location(c.reltablespace) <> '' GROUP BY 1 ORDER BY 1";

fn located(server: &Database, which: &str) -> Result<Option<PathBuf>> {
    let rows = server.rows(&format!(
        "SELECT pg_catalog.pg_tablespace_location(oid) AS place FROM pg_catalog.pg_tablespace WHERE {which}"
    ))?;
    let place = rows.first().and_then(|row| row["place"].as_str()).filter(|place| !place.is_empty());
    Ok(place.map(PathBuf::from))
}

/// What is written is in the log first. Of it as much stays as `max_wal_size` says, and what is there already is used again.
fn log(data: &Path, server: &Database, bytes: u64) -> Result<Option<Need>> {
    let place = data.join("pg_wal");
    if !is_elsewhere(&place, data) {
        return Ok(None);
    }
    let most =
        "SELECT setting::pg_catalog.int8 * 1048576 AS most FROM pg_catalog.pg_settings WHERE name = 'max_wal_size'";
    let most = server.value(most)?.as_u64().unwrap_or_default();
    let there =
        std::fs::canonicalize(&place).ok().and_then(|place| tree::size(&place).ok()).map_or(0, |size| size.bytes);
    let bytes = bytes.min(most).saturating_sub(there);
    Ok(Some(Need { place, bytes, what: "the log of what is restored" }))
}

fn is_elsewhere(place: &Path, data: &Path) -> bool {
    let device = |path: &Path| std::fs::canonicalize(path).ok().and_then(|path| disk::device(&path).ok());
    device(place).zip(device(data)).is_some_and(|(place, data)| place != data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_on_one_file_system_has_to_fit_there_together() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (home.path().join("one"), home.path().join("other"));
        for place in [&one, &other] {
            std::fs::create_dir(place).unwrap();
        }
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&other, &link).unwrap();
        let need = |place: &Path, bytes: u64| Need { place: place.to_owned(), bytes, what: "it" };
        let proc = Path::new("/proc");
        let gone = home.path().join("gone");
        let needs = vec![need(&one, 1), need(proc, 10), need(&other, 100), need(&gone, 1000), need(&link, 10_000)];
        // Of a place that is not there nobody knows on what file system it will be.
        assert_eq!(together(needs), [need(&one, 10_101), need(proc, 10), need(&gone, 1000)]);
    }
}
