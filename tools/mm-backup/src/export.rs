//! `export`: a restore point as one tar stream on standard output.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::progress::Meter;
use mm_common::contract::ui;
use mm_common::machine::signals::{self, Heeding};
use mm_common::machine::tree::{self, Go, Kind as There, Meta};

use crate::manifest;
use crate::store::Point;

/// Writes the stream. Names in it begin with the identifier; owners, modes and times are those of the stored files, and
/// what tar cannot hold (attributes) stands in the manifest, which is in it too.
pub(crate) fn export(point: &Point) -> Result<String> {
    let undelivered = |error: std::io::Error| {
        Error::new(Kind::Undelivered, "cannot write the tar stream to standard output")
            .because(error)
            .hint("what has come is no restore point; the one in the store is as it was: run this again")
    };
    if std::io::stdout().is_terminal() {
        return Err(Error::usage("a tar stream is nothing for a terminal")
            .hint("write it into a file or a pipe: mm-backup export >FILE"));
    }
    let stdout = std::io::BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let mut archive = tar::Builder::new(stdout);
    let mut count = 0_u64;
    let _meter = Meter::passing("exporting", Some(point.head.totals.bytes));
    // Files with several names in the installation. Names in other restore points are none of this stream's.
    let shared = manifest::shared(&point.path)?;
    let inodes = inodes(point, &shared)?;
    let mut firsts = std::collections::HashMap::new();
    tree::walk(&point.path, &mut |met| {
        signals::check()?;
        count += 1;
        let name = Path::new(&point.head.id).join(met.path);
        let mut header = header(&met.meta);
        let Some(dir) = met.directory else {
            archive.append_data(&mut header, &name, std::io::empty()).map_err(undelivered)?;
            return Ok(Go::In);
        };
        if met.meta.kind == There::File && inodes.contains(&met.meta.ino) {
            if let Some(first) = firsts.get(&met.meta.ino) {
                header.set_entry_type(tar::EntryType::Link);
                archive.append_link(&mut header, &name, first).map_err(undelivered)?;
                return Ok(Go::In);
            }
            firsts.insert(met.meta.ino, name.clone());
        }
        match met.meta.kind {
            There::Directory => archive.append_data(&mut header, &name, std::io::empty()).map_err(undelivered)?,
            There::File => {
                let Some(file) = dir.open_file(met.name)? else { return Ok(Go::Past) };
                header.set_size(met.meta.bytes);
                archive.append_data(&mut header, &name, Heeding(file.take(met.meta.bytes))).map_err(undelivered)?;
            }
            There::Symlink => {
                let target = dir.link_target(met.name)?;
                archive.append_link(&mut header, &name, &target).map_err(undelivered)?;
            }
            // Nobody has stored that.
            There::Special => {}
        }
        Ok(Go::In)
    })?;
    let mut stdout = archive.into_inner().map_err(undelivered)?;
    stdout.flush().map_err(undelivered)?;
    Ok(format!("exported {}: {}", point.head.id, ui::count(count, "entry")))
}

/// The stored files that have more than one name in this restore point.
fn inodes(point: &Point, shared: &HashSet<OsString>) -> Result<HashSet<u64>> {
    let mut files = point.files()?;
    let mut inodes = HashSet::new();
    for path in shared {
        let (parent, name) = manifest::place(Path::new(path));
        if let Some(dir) = files.directory(parent)?
            && let Some(meta) = dir.look(name)?
        {
            inodes.insert(meta.ino);
        }
    }
    Ok(inodes)
}

/// What stands before an entry. It is reached through its directory: a path can be longer than the kernel takes.
fn header(meta: &Meta) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(match meta.kind {
        There::Directory => tar::EntryType::Directory,
        There::Symlink => tar::EntryType::Symlink,
        There::File | There::Special => tar::EntryType::Regular,
    });
    header.set_mode(meta.mode);
    header.set_uid(meta.uid.into());
    header.set_gid(meta.gid.into());
    header.set_mtime(u64::try_from(meta.mtime.seconds).unwrap_or_default());
    header.set_size(0);
    header
}
