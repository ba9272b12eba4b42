//! What is to be exchanged: a pure function of the two releases' manifests and of the observed tree.
//!
//! Release-owned is what stands in the old release's manifest or in the new one's. Everything else is the user's and
//! stays where it is. A directory of the release that holds something of the user's is descended into; any other is
//! taken whole. `bin` comes last: until then only the old server could be started.

use std::collections::{BTreeMap, BTreeSet};

use mm_common::mattermost::manifest::{EntryKind, Manifest};
use serde::{Deserialize, Serialize};

/// Entries of a release that belong to the user once they are there: the configuration and what the server fills.
pub const ALWAYS_THE_USERS: [&str; 5] = ["config", "data", "logs", "plugins", "client/plugins"];

/// What an observed entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A regular file.
    File,
    /// A directory of the same file system.
    Directory,
    /// A symlink.
    Symlink,
    /// A directory or file that is a mount point.
    Mount,
    /// A device, fifo or socket.
    Special,
}

/// The tree below the install root by relative path. What is below the user's own directories, symlinks and mount
/// points need not be in it.
pub type Tree = BTreeMap<String, Seen>;

/// What is done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Old and new change places.
    Exchange,
    /// The new one moves in; there was none.
    Add,
    /// The old one moves out; there is no new one.
    Remove,
}

/// One step of the flip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// The entry, relative to the install root.
    pub path: String,
}

/// Something of the user's in the way of the new release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The entry.
    pub path: String,
    /// Why it cannot be replaced.
    pub reason: &'static str,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps in order.
    pub steps: Vec<Step>,
    /// What makes it impossible.
    pub conflicts: Vec<Conflict>,
}

/// Plans the exchange. Without the old release's manifest only what the new release has is exchanged, and the old
/// one's leavings stay as if they were the user's. `theirs` are further paths that the configuration says are the
/// user's.
pub fn plan(old: Option<&Manifest>, new: &Manifest, tree: &Tree, theirs: &BTreeSet<String>) -> Plan {
    let old_kinds = old.map(kinds).unwrap_or_default();
    let planner = Planner { old: old_kinds, new: kinds(new), tree, theirs };
    let holding = planner.directories_holding_user_things();
    let mut plan = Plan::default();
    planner.visit("", &holding, &mut plan);
    plan.steps.sort_by(|one, other| rank(&one.path).cmp(&rank(&other.path)).then_with(|| one.path.cmp(&other.path)));
    plan
}

/// `bin` last, and the server itself after everything else in it.
fn rank(path: &str) -> u8 {
    match path {
        "bin/mattermost" => 2,
        _ if path == "bin" || path.starts_with("bin/") => 1,
        _ => 0,
    }
}

fn kinds(manifest: &Manifest) -> BTreeMap<&str, EntryKind> {
    manifest.entries.iter().map(|entry| (entry.path.as_str(), entry.kind)).collect()
}

struct Planner<'a> {
    old: BTreeMap<&'a str, EntryKind>,
    new: BTreeMap<&'a str, EntryKind>,
    tree: &'a Tree,
    theirs: &'a BTreeSet<String>,
}

impl Planner<'_> {
    fn is_the_users(&self, path: &str) -> bool {
        ALWAYS_THE_USERS.contains(&path) || self.theirs.contains(path)
    }

    fn directories_holding_user_things(&self) -> BTreeSet<String> {
        let mut holding = BTreeSet::new();
        for (path, seen) in self.tree {
            if self.is_the_users(path) || !self.is_as_released(path, *seen) {
                let mut path = path.as_str();
                while let Some((parent, _)) = path.rsplit_once('/') {
                    if !holding.insert(parent.to_owned()) {
                        break;
                    }
                    path = parent;
                }
            }
        }
        holding
    }

    /// Whether an entry is one of a release, in the kind that the release has.
    fn is_as_released(&self, path: &str, seen: Seen) -> bool {
        [self.old.get(path), self.new.get(path)].into_iter().flatten().any(|kind| same(*kind, seen))
    }

    /// Names below a directory that one of the releases has.
    fn released_below(&self, directory: &str) -> BTreeSet<String> {
        let below = |map: &BTreeMap<&str, EntryKind>| -> Vec<String> {
            let start = if directory.is_empty() { String::new() } else { format!("{directory}/") };
            map.range(start.as_str()..)
                .map(|(path, _)| *path)
                .take_while(|path| path.starts_with(&start))
                .filter(|path| !path[start.len()..].contains('/'))
                .map(str::to_owned)
                .collect()
        };
        below(&self.old).into_iter().chain(below(&self.new)).collect()
    }

    fn visit(&self, directory: &str, holding: &BTreeSet<String>, plan: &mut Plan) {
        for path in self.released_below(directory) {
            if self.is_the_users(&path) {
                if path == "config" {
                    self.complete_config(plan);
                }
                continue;
            }
            let (old, new, seen) = (self.old.get(path.as_str()), self.new.get(path.as_str()), self.tree.get(&path));
            match (seen, new) {
                (None, Some(_)) => plan.steps.push(Step { action: Action::Add, path }),
                (None, None) => {}
                (Some(seen), Some(new)) => self.replace(path, *seen, old.copied(), *new, holding, plan),
                (Some(seen), None) => self.take_away(path, *seen, old.copied(), holding, plan),
            }
        }
    }

    fn replace(
        &self,
        path: String,
        seen: Seen,
        old: Option<EntryKind>,
        new: EntryKind,
        holding: &BTreeSet<String>,
        plan: &mut Plan,
    ) {
        let holds = holding.contains(&path);
        if seen == Seen::Directory && new == EntryKind::Directory && holds {
            return self.visit(&path, holding, plan);
        }
        let foreign = matches!(seen, Seen::Symlink | Seen::Mount | Seen::Special) && !self.is_as_released(&path, seen);
        if foreign {
            // An empty directory of the release needs nothing inside: the user's stays.
            if new != EntryKind::Directory || !self.released_below(&path).is_empty() {
                plan.conflicts.push(Conflict { path, reason: reason(seen) });
            }
            return;
        }
        let known = old.is_some_and(|old| same(old, seen)) || same(new, seen);
        if known && !holds {
            plan.steps.push(Step { action: Action::Exchange, path });
        } else {
            let reason = "something of your own stands where the new release has an entry of another kind";
            plan.conflicts.push(Conflict { path, reason });
        }
    }

    fn take_away(&self, path: String, seen: Seen, old: Option<EntryKind>, holding: &BTreeSet<String>, plan: &mut Plan) {
        if !old.is_some_and(|old| same(old, seen)) {
            // Somebody replaced it by something of their own, which the new release has no use for.
        } else if holding.contains(&path) {
            self.visit(&path, holding, plan);
        } else {
            plan.steps.push(Step { action: Action::Remove, path });
        }
    }

    /// Files that the new release brings for `config/` and that are not there move in; none is ever replaced.
    fn complete_config(&self, plan: &mut Plan) {
        if self.tree.get("config") != Some(&Seen::Directory) {
            return;
        }
        for path in self.released_below("config") {
            if path != "config/config.json" && self.new.contains_key(path.as_str()) && !self.tree.contains_key(&path) {
                plan.steps.push(Step { action: Action::Add, path });
            }
        }
    }
}

fn same(kind: EntryKind, seen: Seen) -> bool {
    matches!(
        (kind, seen),
        (EntryKind::File, Seen::File) | (EntryKind::Directory, Seen::Directory) | (EntryKind::Symlink, Seen::Symlink)
    )
}

fn reason(seen: Seen) -> &'static str {
    match seen {
        Seen::Symlink => "it is a symlink, and the new release has files in its place",
        Seen::Mount => "it is a mount point, and the new release has files in its place",
        _ => "it is a device, fifo or socket, and the new release has files in its place",
    }
}

#[cfg(test)]
mod tests;
