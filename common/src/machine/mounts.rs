//! Mount points: an exchange of directories would carry along what is mounted below them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::contract::error::{Error, Result};

/// The mount points at or below `path`, which has no symlinks in it.
pub fn below(path: &Path) -> Result<Vec<PathBuf>> {
    let table = Path::new("/proc/self/mountinfo");
    let text = std::fs::read(table).map_err(|error| Error::io("read", table, error))?;
    Ok(parse(&text, path))
}

/// The file system that `/etc/fstab` names for `path` or a directory above it, where it is not mounted.
pub fn missing(path: &Path) -> Result<Option<PathBuf>> {
    let table = Path::new("/etc/fstab");
    let text = match std::fs::read(table) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", table, error)),
    };
    Ok(unmounted(&text, &below(Path::new("/"))?, &resolved(path)))
}

/// The file system of a table as of fstab(5) that would hold `path` if it were mounted.
fn unmounted(table: &[u8], mounted: &[PathBuf], path: &Path) -> Option<PathBuf> {
    // What is mounted further down holds the path, whatever is missing above it.
    let deepest = mounted.iter().filter(|mount| path.starts_with(mount)).max_by_key(|mount| mount.components().count());
    // No link to a share that does not answer is looked at, as it is mounted.
    let mut absent = named(table).into_iter().filter(|point| !mounted.contains(point)).map(|point| resolved(&point));
    absent.find(|point| {
        let is_above = deepest.is_some_and(|mount| mount.starts_with(point));
        point != Path::new("/") && path.starts_with(point) && !is_above
    })
}

/// The path with all links in it resolved, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| Some((above, std::fs::canonicalize(above).ok()?)));
    there.map_or_else(
        || path.to_owned(),
        |(above, real)| path.strip_prefix(above).map_or_else(|_| path.to_owned(), |rest| real.join(rest)),
    )
}

/// The mount points in a table as of fstab(5).
fn named(table: &[u8]) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    let fields = |line: &[u8]| -> Option<PathBuf> {
        let mut fields = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|field| !field.is_empty());
        let first = fields.next().filter(|field| !field.starts_with(b"#"));
        first.and_then(|_| fields.next()).map(unescape)
    };
    lines.filter_map(fields).filter(|point| point.is_absolute()).collect()
}

/// The table is bytes (proc(5)): somebody's mount point may have any name.
fn parse(table: &[u8], path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = table
        .split(|byte| *byte == b'\n')
        // The fifth field is the mount point.
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescape)
        .filter(|mount| mount.starts_with(path))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The kernel writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) if *byte == b'\\' => {
                bytes.push(value);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_to_be_mounted() {
        let table = b"# comment /mnt/no\n\nUUID=1 /\text4 defaults 0 1\n  /dev/b   /no/such\\040disk  xfs noauto\nswap none swap\n";
        assert_eq!(named(table), [PathBuf::from("/"), PathBuf::from("/no/such disk")]);
        assert_eq!(resolved(Path::new("/proc/self/../no/such")), Path::new("/proc/no/such"));
    }

    #[test]
    fn a_file_system_is_missed_where_it_would_hold_the_path() {
        let table = b"UUID=1 / ext4 defaults 0 1\n/dev/b /no/such xfs noauto\n/dev/c /no/such/store xfs noauto\n";
        let missed = |mounted: &[&str], path: &str| {
            unmounted(table, &mounted.iter().map(PathBuf::from).collect::<Vec<_>>(), Path::new(path))
        };
        assert_eq!(missed(&["/"], "/no/such/point"), Some("/no/such".into()));
        assert_eq!(missed(&["/", "/no/such"], "/no/such/store/a"), Some("/no/such/store".into()));
        for mounted in [&["/", "/no/such"][..], &["/", "/no/such/point"], &["/", "/no/such/point/deeper"]] {
            let below = mounted[1].ends_with("deeper");
            let missing = below.then(|| PathBuf::from("/no/such"));
            assert_eq!(missed(mounted, "/no/such/point"), missing, "{mounted:?}");
        }
        // In a chroot even the root may be none.
        assert_eq!(missed(&[], "/srv/backup"), None);
    }

    #[test]
    fn knows_the_mounts_of_this_machine() {
        assert!(below(Path::new("/")).unwrap().contains(&PathBuf::from("/")));
        assert!(below(Path::new("/no/such/directory")).unwrap().is_empty());
        let table = b"22 1 8:1 / / rw - ext4 /dev/a rw\n\
            30 22 8:2 / /mnt/caf\xe9 rw - ext4 /dev/b rw\n\
            31 22 8:2 / /opt/mm/data\\040two rw shared:1 - ext4 /dev/c rw\n\
            31 22 8:2 / /opt/mm/data\\040two rw shared:1 - ext4 /dev/d rw\n\
            32 22 8:3 / /opt/mmx rw - ext4 /dev/e rw\n";
        assert_eq!(parse(table, Path::new("/opt/mm")), [PathBuf::from("/opt/mm/data two")]);
        assert_eq!(unescape(br"/a\040b\134c"), Path::new(r"/a b\c"));
    }
}
