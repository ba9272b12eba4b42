//! The manifest of a release that a document says is in a cache. The document may come from anywhere; that mm-fetch has
//! proven the release is to be seen from where it is: `CACHE/SHA256/`, which nobody but root, or the caller, could have
//! filled.

use std::io::Read as _;
use std::path::Path;

use super::{MOST, Manifest};
use crate::contract::error::{Error, Result};
use crate::contract::sections::Fetched;
use crate::machine::state::MANIFEST;
use crate::machine::tree::Dir;
use crate::machine::{files, trust};

impl Manifest {
    /// Reads the manifest of a fetched release from the cache that holds it. With it, [`super::unpack()`] takes nothing
    /// but that release's archive, whatever lies at its path by then.
    ///
    /// # Errors
    /// Refused (exit 5) when others could have written cache, archive or manifest, or the manifest is another release's.
    pub fn of_cache(fetched: &Fetched) -> Result<Self> {
        let refused = |error: Error| {
            error.within(format!("the release {} ({}) is not taken", fetched.version, fetched.edition)).hint(
                "fetch it again with mm-fetch, into a cache that is root's; or name an archive of yours: --archive FILE",
            )
        };
        let manifest = read_trusted(fetched).map_err(refused)?;
        if (&manifest.version, manifest.edition, &manifest.archive_sha256)
            == (&fetched.version, fetched.edition, &fetched.sha256)
        {
            return Ok(manifest);
        }
        Err(Error::refused(format!("the manifest `{}` is not that of the fetched release", fetched.manifest.display()))
            .because(format!(
                "it describes {} ({}), SHA-256 {}",
                manifest.version, manifest.edition, manifest.archive_sha256
            ))
            .hint("run mm-fetch again"))
    }
}

fn read_trusted(fetched: &Fetched) -> Result<Manifest> {
    let shown = &fetched.manifest;
    let place = files::parent(shown)?;
    let named = place.file_name().is_some_and(|name| name == fetched.sha256.as_str());
    if !named || !shown.ends_with(MANIFEST) || fetched.archive.parent() != Some(place) {
        return Err(Error::refused(format!("`{}` is in no cache of mm-fetch", fetched.archive.display()))
            .because(format!("there it would be in `CACHE/{}/`, with `{MANIFEST}` beside it", fetched.sha256)));
    }
    let cache = Dir::open_following(files::parent(place)?)?;
    trust::check(cache.file(), cache.path())?;
    let missing = |path: &Path| Error::refused(format!("`{}` is not there", path.display()));
    let place = cache.child(fetched.sha256.as_ref())?.ok_or_else(|| missing(place))?;
    trust::check(place.file(), place.path())?;
    let archive = place.open_file(fetched.archive.file_name().unwrap_or_default())?;
    trust::check(&archive.ok_or_else(|| missing(&fetched.archive))?, &fetched.archive)?;
    let file = place.open_file(MANIFEST.as_ref())?.ok_or_else(|| missing(shown))?;
    trust::check(&file, shown)?;
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text).map_err(|error| Error::io("read", shown, error))?;
    Manifest::parse(&text, shown)
}
