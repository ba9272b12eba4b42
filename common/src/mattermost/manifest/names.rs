//! What the names in a release archive may look like, and where its links may point. Pure.

use super::{Entry, EntryKind};

/// Longest path below the install root; `PATH_MAX` less room for the root itself.
const LONGEST: usize = 3072;

/// Longest name the usual file systems take.
const LONGEST_PART: usize = 255;

/// Splits the path of a member into the archive's top directory and the path below it. The top directory itself gives
/// an empty path; `./` in front, which `tar` writes when asked to pack `.`, is dropped.
pub(super) fn split(raw: &[u8]) -> Result<(&str, &str), String> {
    let shown = || String::from_utf8_lossy(raw).into_owned();
    let name = std::str::from_utf8(raw).map_err(|_| format!("the name of `{}` is not UTF-8", shown()))?;
    if name.starts_with('/') {
        return Err(format!("`{name}` is an absolute path"));
    }
    let name = name.strip_prefix("./").unwrap_or(name);
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.is_empty() || name == "." {
        return Ok(("", ""));
    }
    check(name)?;
    Ok(name.split_once('/').unwrap_or((name, "")))
}

/// Whether a path is relative, plain and of sane length.
pub(super) fn check(path: &str) -> Result<(), String> {
    if path.len() > LONGEST {
        return Err(format!("a path of {} bytes is too long", path.len()));
    }
    if path.chars().any(char::is_control) {
        return Err(format!("the name of `{}` holds control characters", path.escape_debug()));
    }
    for part in path.split('/') {
        match part {
            "" => return Err(format!("`{path}` has an empty part or is absolute")),
            "." | ".." => return Err(format!("`{path}` has a part `{part}`")),
            _ if part.len() > LONGEST_PART => return Err(format!("a name in `{path}` is too long")),
            _ => {}
        }
    }
    Ok(())
}

/// Whether every symlink leads to an entry of the release, on a way that no other link is part of (two links that are
/// each harmless can lead out together). `entries` are sorted by path.
pub(super) fn check_links(entries: &[Entry]) -> Result<(), String> {
    let kind_at =
        |path: &str| entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok().map(|at| entries[at].kind);
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Symlink) {
        let target = entry.target.as_deref().unwrap_or_default();
        let link = || format!("the link `{}` to `{target}`", entry.path);
        if target.is_empty() || target.starts_with('/') || target.chars().any(char::is_control) {
            return Err(format!("{} does not point to a relative path", link()));
        }
        let mut at: Vec<&str> = entry.path.split('/').collect();
        at.pop();
        for part in target.split('/') {
            if part == ".." {
                at.pop().ok_or_else(|| format!("{} leaves the release", link()))?;
                continue;
            }
            if part.is_empty() || part == "." {
                continue;
            }
            at.push(part);
            match kind_at(&at.join("/")) {
                Some(EntryKind::File | EntryKind::Directory) => {}
                Some(EntryKind::Symlink) => return Err(format!("{} leads through another link", link())),
                None => return Err(format!("{} leads to nothing in the release", link())),
            }
        }
    }
    Ok(())
}

/// The permission bits an entry gets, whatever the archive asks for.
pub(super) fn mode(path: &str, kind: EntryKind, asked: u32) -> u32 {
    match kind {
        EntryKind::File if path == "config/config.json" => 0o600,
        EntryKind::File if asked & 0o111 == 0 => 0o644,
        EntryKind::File | EntryKind::Directory | EntryKind::Symlink => 0o755,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind, target: Option<&str>) -> Entry {
        Entry { path: path.into(), kind, mode: 0o755, bytes: 0, sha256: None, target: target.map(str::to_owned) }
    }

    #[test]
    fn splits_off_the_top_directory() {
        assert_eq!(split(b"mattermost/bin/mmctl"), Ok(("mattermost", "bin/mmctl")));
        assert_eq!(split(b"./mattermost/"), Ok(("mattermost", "")));
        assert_eq!(split(b"./"), Ok(("", "")));
        for bad in [&b"/etc/passwd"[..], b"a/../b", b"a//b", b"a/./b", b"a/\xff", b"a/\n", b"..", b"a/..", b"a//"] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn links_stay_inside_and_lead_through_no_other_link() {
        let with = |target: &str| {
            let mut entries = vec![
                entry("a", EntryKind::Directory, None),
                entry("a/file", EntryKind::File, None),
                entry("a/up", EntryKind::Symlink, Some("..")),
                entry("link", EntryKind::Symlink, Some(target)),
            ];
            entries.sort_by(|one, other| one.path.cmp(&other.path));
            check_links(&entries)
        };
        assert_eq!(with("a/file"), Ok(()));
        assert_eq!(with("./a/../a/file"), Ok(()));
        for bad in ["", "/etc", "..", "../x", "a/../../x", "a/up/..", "a/up", "nothing", "a\n"] {
            assert!(with(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn modes_are_ours() {
        assert_eq!(mode("config/config.json", EntryKind::File, 0o777), 0o600);
        assert_eq!(mode("bin/mattermost", EntryKind::File, 0o100), 0o755);
        assert_eq!(mode("NOTICE.txt", EntryKind::File, 0o666), 0o644);
        assert_eq!(mode("client", EntryKind::Directory, 0o777), 0o755);
    }
}
