//! `export`: a restore point as one tar stream on standard output.

use std::io::{IsTerminal as _, Write as _};

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::ui;
use mm_common::machine::signals;
use mm_common::machine::tree::{self, Go, Kind as There};

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
    archive.follow_symlinks(false);
    archive.mode(tar::HeaderMode::Complete);
    let mut count = 0_u64;
    let mut firsts = std::collections::HashMap::new();
    tree::walk(&point.path, &mut |met| {
        signals::check()?;
        let name = std::path::Path::new(&point.head.id).join(met.path);
        let path = point.path.join(met.path);
        count += 1;
        ui::progress(&format!("{} exported", ui::count(count, "entry")));
        if met.meta.kind == There::File && met.meta.names > 1 {
            // Links within this restore point are kept; those into earlier ones become files.
            if let Some(first) = firsts.get(&met.meta.ino) {
                let mut header = tar::Header::new_gnu();
                header.set_metadata(&metadata(&path)?);
                header.set_entry_type(tar::EntryType::Link);
                header.set_size(0);
                archive.append_link(&mut header, &name, first).map_err(undelivered)?;
                return Ok(Go::In);
            }
            firsts.insert(met.meta.ino, name.clone());
        }
        match met.meta.kind {
            There::Directory => archive.append_dir(&name, &path).map_err(undelivered)?,
            There::File => {
                let mut file = mm_common::machine::files::open_nofollow(&path)?;
                archive.append_file(&name, &mut file).map_err(undelivered)?;
            }
            There::Symlink | There::Special => archive.append_path_with_name(&path, &name).map_err(undelivered)?,
        }
        Ok(Go::In)
    })?;
    let mut stdout = archive.into_inner().map_err(undelivered)?;
    stdout.flush().map_err(undelivered)?;
    Ok(format!("exported {}: {}", point.head.id, ui::count(count, "entry")))
}

fn metadata(path: &std::path::Path) -> Result<std::fs::Metadata> {
    std::fs::symlink_metadata(path).map_err(|error| Error::io("look at", path, error))
}
