//! Check of the disk: what the whole way needs, file system by file system. Estimates on the safe side, or what a
//! rehearsal of the same way has used.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::Hop;
use mm_common::machine::{disk, files, tree};
use mm_common::mattermost::catalogue::{Arch, Severity};
use mm_common::postgres::cluster;
use semver::Version;

use super::host::HostView;
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<HostView<'a>>> {
    vec![Check {
        id: "disk",
        title: "Disk space for the whole way",
        source: "sizes on this host; mattermost/docs#6625, docker UPGRADE.md",
        look: disk_space,
    }]
}

/// What a rehearsal of the way has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Bytes of all restore points, the files once.
    pub restore_points: u64,
    /// Bytes of the releases beside the install root.
    pub releases: u64,
}

/// What the way needs in one place.
struct Need {
    what: &'static str,
    path: PathBuf,
    bytes: u64,
    device: u64,
    free: u64,
}

impl Need {
    fn at(path: PathBuf, bytes: u64, what: &'static str) -> Result<Self> {
        Ok(Self { what, device: disk::device(&path)?, free: disk::free(&path)?, path, bytes })
    }
}

fn disk_space(view: &HostView<'_>) -> Result<Outcome> {
    let hops = view.way.hops;
    if hops.is_empty() {
        return Ok(Outcome::Beside("there is no way to go".into()));
    }
    let each: Option<Vec<u64>> = hops.iter().map(|hop| hop.needs.bytes).collect();
    let each = each.ok_or_else(|| Error::failed("the size of the installed release is not known"))?;
    let leaves_mysql = hops.iter().any(Hop::is_of_database_alone);
    let database = view.site.database.bytes.or(leaves_mysql.then_some(0)).ok_or_else(|| {
        Error::failed("the size of the database is not known").hint("make the database reachable, then look again")
    })?;
    let root = view.installation.root.clone();
    // Each hop leaves the release before it beside the root, until `mm-swap prune`.
    let releases = view.used.map_or(each.iter().sum(), |used| used.releases);
    let mut needs = vec![
        Need::at(root, releases, "the releases unpacked and retired")?,
        Need::at(view.cache.to_owned(), tarballs(view, &each), "the tarballs")?,
        Need::at(view.store.to_owned(), restore_points(view, &each, database)?, "the restore points")?,
    ];
    for name in ["config", "logs"] {
        needs.extend(written(view.installation.root.join(name))?);
    }
    needs.extend(written(view.installation.data.clone())?);
    let mut unseen = Vec::new();
    let (bump, rewrites) = (view.way.bump().is_some(), view.way.crossing(&JSON).is_some());
    // Where the cluster is takes a moment to find out.
    match if bump || rewrites { data_directory(view)? } else { None } {
        Some(directory) => {
            if bump {
                needs.push(Need::at(directory.clone(), database, "the new PostgreSQL cluster beside the old one")?);
            }
            if rewrites {
                needs.push(Need::at(directory, database, "the tables that 6.0 writes anew")?);
            }
        }
        None if rewrites => unseen.push(format!(
            "the database is not in a cluster of this host: have {} MB free where it is, for the tables that 6.0 writes anew",
            mebibytes(database)
        )),
        None => {}
    }
    if leaves_mysql {
        unseen.push("the size of the database in MySQL is not known, which its dumps on the way come to".into());
    }
    Ok(room(&needs, unseen))
}

/// What a server writes at a start: it rewrites its configuration, which a full disk leaves empty (observed), and logs.
const WRITTEN: u64 = 16 * 1024 * 1024;

/// Room in a directory of the server's, which may be a file system of its own.
fn written(path: PathBuf) -> Result<Option<Need>> {
    Ok(if path.is_dir() { Some(Need::at(path, WRITTEN, "what the server writes")?) } else { None })
}

/// The release that turns text columns into JSON, the largest table's among them; PostgreSQL writes such a table anew
/// beside the old one.
const JSON: Version = Version::new(6, 0, 0);

/// Tarballs that are not in the cache yet, the running release's among them. They have most of the unpacked size:
/// 582 MB of 778 MB where it was measured, as the bundled plugins are archives themselves.
fn tarballs(view: &HostView<'_>, each: &[u64]) -> u64 {
    let is_there = |digests: &[String]| digests.iter().any(|sha256| view.cache.join(sha256).is_dir());
    let arch = Arch::of_host().unwrap_or(Arch::Amd64);
    let running = view.way.catalogue.artefact(&view.installation.version, view.installation.edition, arch);
    let running = running.is_none_or(|artefact| !is_there(artefact.sha256));
    let lacking = view.way.hops.iter().zip(each).filter(|(hop, _)| !is_there(&hop.sha256)).map(|(_, bytes)| bytes);
    let unpacked = lacking.chain(each.first().filter(|_| running)).sum::<u64>();
    unpacked / 4 * 3
}

/// A restore point a hop: all files once, as later ones are hard links into earlier ones; then the files of each release
/// on the way; and a dump each, for which half of the database is ample. Compressed at the lightest level, the dump of a
/// database of 602 MB had 112 MB, without the indexes that the 602 MB include; text that hardly repeats has more.
fn in_store(files: u64, each: &[u64], database: u64) -> u64 {
    let dumps = (database / 2).saturating_mul(each.len() as u64);
    files + dumps + each.iter().skip(1).sum::<u64>()
}

fn restore_points(view: &HostView<'_>, each: &[u64], database: u64) -> Result<u64> {
    let (root, data) = (&view.installation.root, &view.installation.data);
    if holds(view.store, root)? {
        return Ok(in_store(0, each, database));
    }
    if let Some(used) = view.used {
        return Ok(used.restore_points);
    }
    let mut files = tree::size(root)?.bytes;
    // A link in place of the data directory is the administrator's.
    match data.canonicalize() {
        Ok(data) if !data.starts_with(root) => files += tree::size(&data)?.bytes,
        _ => {}
    }
    Ok(in_store(files, each, database))
}

/// Whether there is a restore point of this installation already.
fn holds(store: &Path, root: &Path) -> Result<bool> {
    if !files::look(store)?.is_some_and(|data| data.is_dir()) {
        return Ok(false);
    }
    let entries = std::fs::read_dir(store).map_err(|error| Error::io("list", store, error))?;
    let stored = Path::new("files").join(root.strip_prefix("/").unwrap_or(root));
    Ok(entries
        .flatten()
        .any(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.path().join(&stored).is_dir()))
}

/// What lies on the same file system has to find room there together: a line for each, with all it is for.
fn room(needs: &[Need], unseen: Vec<String>) -> Outcome {
    let (mut evidence, mut good) = (Vec::new(), unseen);
    for (index, first) in needs.iter().enumerate() {
        if needs[..index].iter().any(|earlier| earlier.device == first.device) {
            continue;
        }
        let together: Vec<&Need> = needs.iter().filter(|need| need.device == first.device).collect();
        let bytes: u64 = together.iter().map(|need| need.bytes).sum();
        let parts: Vec<String> = together
            .iter()
            .map(|need| format!("{} MB at {} for {}", mebibytes(need.bytes), need.path.display(), need.what))
            .collect();
        let line =
            format!("about {} MB needed, {} MB free ({})", mebibytes(bytes), mebibytes(first.free), parts.join(", "));
        if first.free < bytes { evidence.push(line) } else { good.push(line) }
    }
    Outcome::of(evidence, &good.join("; "), |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: None,
        fix:
            "make room, or put restore points and downloads elsewhere (--store, --cache); mm-swap prune and mm-backup \
              prune remove what earlier hops and upgrades have kept, also between two hops"
                .into(),
    })
}

fn data_directory(view: &HostView<'_>) -> Result<Option<PathBuf>> {
    let Some((major, name)) = view.site.database.cluster.as_deref().and_then(|label| label.split_once('/')) else {
        return Ok(None);
    };
    let major = major.parse().unwrap_or(0);
    Ok(cluster::find(major, name)?.map(|cluster| cluster.data))
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1024 * 1024)
}

impl Used {
    /// From the record of a rehearsal (`rehearsal` of a document), when it went exactly this way.
    pub(crate) fn of(rehearsal: &serde_json::Value, hops: &[Hop]) -> Option<Self> {
        let done = rehearsal["done"].as_array()?;
        let same = done.len() == hops.len()
            && done.iter().zip(hops).all(|(done, hop)| {
                done["hop"]["from"] == hop.from.to_string() && done["hop"]["to"] == hop.to.to_string()
            });
        let bytes = &rehearsal["bytes"];
        let used = Self { restore_points: bytes["restore_points"].as_u64()?, releases: bytes["releases"].as_u64()? };
        same.then_some(used)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn room_is_counted_by_file_system() {
        let need = |device, bytes, free| Need { what: "a thing", path: "/somewhere".into(), bytes, device, free };
        assert!(matches!(room(&[need(1, 60, 100), need(2, 60, 100)], Vec::new()), Outcome::Good(_)));
        let together = room(&[need(1, 60 << 20, 100 << 20), need(1, 60 << 20, 100 << 20)], Vec::new());
        let Outcome::Bad(bad) = together else { panic!("120 do not fit into 100") };
        assert_eq!((bad.severity, bad.evidence.len()), (Severity::Action, 1));
        assert!(bad.evidence[0].starts_with("about 120 MB needed, 100 MB free"), "{:?}", bad.evidence);
    }

    #[test]
    fn files_count_once_and_the_database_by_half_in_every_hop() {
        assert_eq!(in_store(100, &[10, 20, 30], 8), 100 + 3 * 4 + 20 + 30);
        assert_eq!(in_store(0, &[10], 8), 4, "with an earlier restore point the files are there");
    }

    #[test]
    fn a_store_with_a_restore_point_of_this_installation_has_its_files_already() {
        let place = tempfile::tempdir().unwrap();
        let (store, root) = (place.path().join("store"), Path::new("/opt/mattermost"));
        assert!(!holds(&store, root).unwrap());
        std::fs::create_dir_all(store.join(".partial-x/files/opt/mattermost")).unwrap();
        assert!(!holds(&store, root).unwrap(), "one that is half-made counts for nothing");
        std::fs::create_dir_all(store.join("20260101T000000Z/files/opt/mattermost")).unwrap();
        assert!(holds(&store, root).unwrap());
        assert!(!holds(&store, Path::new("/opt/other")).unwrap());
    }

    #[test]
    fn a_rehearsal_counts_only_for_the_way_it_went() {
        let hop = |from: &str, to: &str| -> Hop {
            serde_json::from_value(json!({"from": from, "to": to, "edition": "team", "url": "", "sha256": []})).unwrap()
        };
        let rehearsal = json!({"done": [{"hop": {"from": "9.11.18", "to": "10.5.14"}}],
            "bytes": {"restore_points": 7, "releases": 5, "clusters": 3}});
        let used = Used { restore_points: 7, releases: 5 };
        assert_eq!(Used::of(&rehearsal, &[hop("9.11.18", "10.5.14")]), Some(used));
        assert_eq!(Used::of(&rehearsal, &[hop("9.11.18", "10.11.23")]), None);
        assert_eq!(Used::of(&json!({"done": []}), &[]), None);
    }
}
