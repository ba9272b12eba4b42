//! Restoring files: which ones, staged where, exchanged how.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::KEPT_BY_RESTORE;
use mm_common::machine::tree::{self, Dir};
use mm_common::machine::{disk, files, mounts};
use mm_common::postgres::room::Need;

use crate::flip::{Intent, Moves};
use crate::held;
use crate::manifest::{self, Entry, Head, Kind, Reader, What};
use crate::salvage::{self, LeftOut};
use crate::stage::{How, Owners, Stage};
use crate::store::{self, Point};

/// Which entries are restored.
#[derive(Clone)]
pub(crate) enum Selection {
    /// All of them.
    Everything,
    /// These paths with all below them.
    Paths(Vec<PathBuf>),
}

impl Selection {
    /// The configuration, and what `--path` names.
    pub(crate) fn named(head: &Head, config: bool, named: &[PathBuf]) -> Result<Self> {
        let mut paths = Vec::new();
        if config {
            paths.push(head.install.join("config"));
            let roots = head.roots.iter().filter(|root| matches!(root.what, What::Config | What::Service));
            paths.extend(roots.map(|root| root.path.clone()));
        }
        for path in named {
            if path.components().any(|part| matches!(part, Component::ParentDir)) {
                return Err(Error::usage(format!("`{}` goes up", path.display())).hint("give the path without `..`"));
            }
            let joined = head.install.join(path);
            paths.push(joined.components().filter(|part| *part != Component::CurDir).collect());
        }
        Ok(Self::Paths(paths))
    }

    /// Whether a path is among them.
    pub(crate) fn has(&self, path: &Path) -> bool {
        match self {
            Self::Everything => true,
            Self::Paths(paths) => paths.iter().any(|wanted| path.starts_with(wanted)),
        }
    }

    /// The outermost names that are exchanged: those asked for, or the roots.
    pub(crate) fn tops(&self, head: &Head) -> Vec<PathBuf> {
        match self {
            Self::Everything => head.roots.iter().map(|root| root.path.clone()).collect(),
            Self::Paths(paths) => paths.clone(),
        }
    }
}

/// Restores below `directory`, each entry under its absolute path, as in the restore point. Returns the number of
/// entries, and the files that are left out because their copies are damaged.
///
/// # Errors
/// Refused, with nothing done, when something of that name is there already and no earlier restore of this restore point
/// has left files out. After any other failure nothing is left of it.
pub(crate) fn below(point: &Point, selection: &Selection, directory: &Path) -> Result<(u64, Vec<LeftOut>)> {
    refuse_taken(point, selection, directory)?;
    let goes_on = salvage::is_begun(directory, &point.head.id);
    let places: Vec<PathBuf> =
        selection.tops(&point.head).iter().map(|top| directory.join(top.strip_prefix("/").unwrap_or(top))).collect();
    let mut absent = Vec::new();
    for place in &places {
        absent.push(store::absent(place)?);
    }
    let restored = fill(point, selection, directory, goes_on);
    if restored.is_err() && !goes_on {
        for (place, absent) in places.iter().zip(&absent) {
            if let Err(error) = tree::remove(place) {
                ui::warn(&error.one_line());
            }
            store::take_away(absent.get(1..).unwrap_or_default());
        }
    }
    restored
}

fn fill(point: &Point, selection: &Selection, directory: &Path, goes_on: bool) -> Result<(u64, Vec<LeftOut>)> {
    files::create_directory(directory, 0o700)?;
    let owners = Owners::new(&point.head);
    let how = How { leaves_out: true, goes_on };
    let shared = manifest::shared(&point.path)?;
    let mut stage = Stage::new(point, &owners, &shared, Dir::open_following(directory)?, how)?;
    let mut reader = Reader::open(&point.path)?;
    let mut count = 0;
    while let Some(entry) = reader.next()? {
        if selection.has(entry.path()) {
            stage.put(&entry, entry.path().strip_prefix("/").unwrap_or(entry.path()))?;
            count += 1;
        }
    }
    let (_, left_out) = stage.finish()?;
    nothing_selected(count, point)?;
    salvage::note(directory, &point.head.id, &left_out)?;
    files::sync_file_system(directory)?;
    Ok((count - left_out.len() as u64, left_out))
}

/// Refuses to restore over what is below `directory` already, unless that is the same but for damaged files.
pub(crate) fn refuse_taken(point: &Point, selection: &Selection, directory: &Path) -> Result<()> {
    if salvage::is_begun(directory, &point.head.id) {
        return Ok(());
    }
    for top in selection.tops(&point.head) {
        let place = directory.join(top.strip_prefix("/").unwrap_or(&top));
        if files::look(&place).is_ok_and(|found| found.is_some()) {
            return Err(Error::refused(format!("`{}` is there already", place.display()))
                .hint("give a new directory with --into, or remove what is there"));
        }
    }
    Ok(())
}

fn nothing_selected(count: u64, point: &Point) -> Result<()> {
    if count > 0 {
        return Ok(());
    }
    Err(Error::refused(format!("nothing of that name is in the restore point {}", point.head.id))
        .hint(format!("look below `{}`", point.path.join("files").display())))
}

/// Files that are to be restored into place, looked at before any is staged.
pub(crate) struct Planned {
    selection: Selection,
    /// Where entries are staged beside, sorted.
    places: Vec<PathBuf>,
    /// Which of these are mount points.
    mounted: Vec<PathBuf>,
    /// How many entries there are.
    pub entries: u64,
    /// The room that they take.
    pub needs: Vec<Need>,
}

impl Planned {
    /// Plans it.
    ///
    /// # Errors
    /// Refused when nothing is selected, or when there is no room for it.
    pub(crate) fn of(point: &Point, selection: &Selection) -> Result<Self> {
        let (places, mounted) = places(point, selection)?;
        let (entries, needs) = needed(point, selection, &places)?;
        needs.iter().try_for_each(|need| disk::require(&need.place, need.bytes, need.what))?;
        nothing_selected(entries, point)?;
        Ok(Self { selection: selection.clone(), places, mounted, entries, needs })
    }

    /// The names that are exchanged, for people.
    pub(crate) fn names(&self, head: &Head) -> String {
        let tops: Vec<String> = self.selection.tops(head).iter().map(|top| top.display().to_string()).collect();
        tops.join(" ")
    }
}

/// Copies that stand ready beside their places.
pub(crate) struct Placed {
    /// Each name that changes, and the directory its copy stands below.
    tops: Vec<(PathBuf, PathBuf)>,
    /// How many entries were staged.
    pub entries: u64,
    /// Files that were not, because their copies are damaged.
    pub left_out: Vec<LeftOut>,
}

/// Stages what is planned beside its place, on the same file system.
///
/// Each staging directory is announced before it is made, so that it is found after a crash.
pub(crate) fn stage(
    point: &Point,
    planned: &Planned,
    stamp: &str,
    leaves_out: bool,
    announce: &mut dyn FnMut(&Path) -> Result<()>,
) -> Result<Placed> {
    let Planned { selection, places, mounted, .. } = planned;
    let owners = Owners::new(&point.head);
    let shared = manifest::shared(&point.path)?;
    let how = How { leaves_out, goes_on: false };
    let mut open: BTreeMap<PathBuf, Stage<'_>> = BTreeMap::new();
    let mut ready = Placed { tops: Vec::new(), entries: 0, left_out: Vec::new() };
    let filled = (|| {
        let mut reader = Reader::open(&point.path)?;
        while let Some(entry) = reader.next()? {
            let Some(place) = place_of(places, selection, &entry) else { continue };
            if !open.contains_key(place) {
                let (above, name) = staging_directory(&point.head, place, mounted.contains(place), stamp)?;
                let directory = above.path().join(&name);
                announce(&directory)?;
                let top = above.create_directory(name.as_ref())?;
                ready.tops.push((place.clone(), directory));
                open.insert(place.clone(), Stage::new(point, &owners, &shared, top, how)?);
            }
            let Some(stage) = open.get_mut(place) else { continue };
            let name = place.file_name().unwrap_or_default();
            let below = entry.path().strip_prefix(place).unwrap_or(Path::new(""));
            let below = if below.as_os_str().is_empty() { name.into() } else { Path::new(name).join(below) };
            stage.put(&entry, &below)?;
            ready.entries += 1;
        }
        nothing_selected(ready.entries, point)?;
        for (_, stage) in std::mem::take(&mut open) {
            let (top, mut left_out) = stage.finish()?;
            ready.left_out.append(&mut left_out);
            top.sync_file_system()?;
        }
        Ok(())
    })();
    if let Err(error) = filled {
        for stage in ready.stages() {
            // What cannot be removed now is said by its name.
            let _ = tree::remove_without_links(&stage);
        }
        return Err(error);
    }
    Ok(ready)
}

/// The innermost place that an entry stands below.
fn place_of<'a>(places: &'a [PathBuf], selection: &Selection, entry: &Entry) -> Option<&'a PathBuf> {
    if !selection.has(entry.path()) {
        return None;
    }
    places.iter().rev().find(|place| entry.path().starts_with(place))
}

/// Where entries are staged, beside the innermost mount point they are under or beside their top, sorted; and which of
/// these are mount points.
fn places(point: &Point, selection: &Selection) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let tops = selection.tops(&point.head);
    let mut mounted = Vec::new();
    for top in &tops {
        mounted.extend(mounts::below(top)?);
    }
    let mut places: Vec<PathBuf> = tops.into_iter().chain(mounted.iter().cloned()).collect();
    places.sort();
    places.dedup();
    Ok((places, mounted))
}

/// Whether there is room for what is selected; returns the number of entries.
pub(crate) fn require_space(point: &Point, selection: &Selection, places: &[PathBuf]) -> Result<u64> {
    let (count, needs) = needed(point, selection, places)?;
    needs.iter().try_for_each(|need| disk::require(&need.place, need.bytes, need.what))?;
    nothing_selected(count, point)?;
    Ok(count)
}

/// How many entries are selected, and what room they take. For a place outside of them all, everything goes there.
fn needed(point: &Point, selection: &Selection, places: &[PathBuf]) -> Result<(u64, Vec<Need>)> {
    let mut needed: BTreeMap<&PathBuf, u64> = BTreeMap::new();
    let mut count = 0;
    let mut reader = Reader::open(&point.path)?;
    while let Some(entry) = reader.next()? {
        if !selection.has(entry.path()) {
            continue;
        }
        count += 1;
        let place = place_of(places, selection, &entry).or(if let [only] = places { Some(only) } else { None });
        if let Some(place) = place.filter(|_| entry.kind == Kind::File) {
            *needed.entry(place).or_insert(0) += entry.bytes;
        }
    }
    let need = |(place, bytes): (&PathBuf, u64)| Need { place: place.clone(), bytes, what: "the restored files" };
    Ok((count, needed.into_iter().map(need).collect()))
}

/// Where a directory of ours on the file system of `place` is made, and its name: beside the install root as for all tools,
/// inside a mount point, beside anything else. Whose the directories above it are is not known: none of them is a link.
fn staging_directory(head: &Head, place: &Path, is_mount: bool, stamp: &str) -> Result<(Dir, String)> {
    let parent = reach(place.parent().unwrap_or(Path::new("/")), 0o755)?;
    if is_mount {
        return free_name(reach(place, 0o755)?, &format!(".mm-restore-{stamp}"));
    }
    if let (Some(name), Some(above)) = (head.install.file_name(), head.install.parent())
        && place.starts_with(&head.install)
        && let above = reach(above, 0o755)?
        && above.meta()?.dev == device_of(&parent, place)?
    {
        let mut own = std::ffi::OsString::from(".");
        own.push(name);
        own.push(".mm");
        let own = reach(&above.path().join(own), 0o700)?;
        if own.meta()?.uid != nix::unistd::geteuid().as_raw() {
            return Err(Error::refused(format!("`{}` is not ours", own.path().display())).hint("move it away"));
        }
        let below = place.strip_prefix(&head.install).unwrap_or(place).as_os_str();
        let number = beginning(below).replace('/', "+");
        return free_name(
            own,
            &format!("{KEPT_BY_RESTORE}{stamp}{}{number}", if number.is_empty() { "" } else { "-" }),
        );
    }
    let name = beginning(place.file_name().unwrap_or_default());
    free_name(parent, &format!(".mm-restore-{stamp}-{name}"))
}

/// The device of what is at `place`, or of the directory it will be in.
fn device_of(parent: &Dir, place: &Path) -> Result<u64> {
    let there = parent.look(place.file_name().unwrap_or_default())?;
    there.map_or_else(|| parent.meta().map(|meta| meta.dev), |meta| Ok(meta.dev))
}

fn reach(path: &Path, mode: u32) -> Result<Dir> {
    Dir::without_links_creating(path, mode).map_err(|error| {
        error.with_hint("what the restore point holds is restored beside it with --into DIR, which exchanges nothing")
    })
}

/// A run that failed within this second may have left a directory of that name.
fn free_name(above: Dir, stem: &str) -> Result<(Dir, String)> {
    let mut name = stem.to_owned();
    for number in 2..1000 {
        if above.look(name.as_ref())?.is_none() {
            break;
        }
        name = format!("{stem}-{number}");
    }
    Ok((above, name))
}

/// As much of a name as another one has room for.
fn beginning(name: &std::ffi::OsStr) -> String {
    name.to_string_lossy().chars().take(40).collect()
}

impl Placed {
    /// The staging directories.
    pub(crate) fn stages(&self) -> Vec<PathBuf> {
        self.tops.iter().map(|(_, stage)| stage.clone()).collect()
    }

    /// Where the copy of what goes to `path` is staged, if it is there at all; none when that is not restored.
    pub(crate) fn staged(&self, path: &Path) -> Option<PathBuf> {
        let inside = self.tops.iter().filter(|(place, _)| path.starts_with(place));
        let (place, stage) = inside.max_by_key(|(place, _)| place.as_os_str().len())?;
        Some(stage.join(place.file_name()?).join(path.strip_prefix(place).ok()?).components().collect())
    }

    /// The staged copy of what goes to the install root, where the server is in it.
    pub(crate) fn staged_server(&self, install: &Path) -> Option<PathBuf> {
        let bin = install.join("bin");
        self.tops.iter().find_map(|(place, stage)| match place {
            place if *place == bin => Some(stage.clone()),
            place if place == install => Some(stage.join(install.file_name()?)),
            _ => None,
        })
    }

    /// What is to be exchanged for what; with the database to come after it, the server is held. Looked at as late as possible: the server may have made new entries.
    pub(crate) fn intent(
        &self,
        announced: Intent,
        point: &Point,
        with_database: bool,
        lock: &LockGuard,
    ) -> Result<Intent> {
        let mut mounted = Vec::new();
        for (top, _) in &self.tops {
            mounted.extend(mounts::below(top)?);
        }
        let mut moves =
            Moves { mounts: &mounted, excluded: &point.head.excluded, all: Vec::new(), entered: Vec::new() };
        for (place, stage) in &self.tops {
            moves.add(place, &stage.join(place.file_name().unwrap_or_default()))?;
        }
        Ok(Intent {
            moves: moves.all,
            stages: self.stages().into_iter().map(Into::into).collect(),
            entered: moves.entered,
            held: if with_database { held::hold(point, self, lock) } else { None },
            ..announced
        })
    }
}
