//! What a restore point says of the installation it is of: whose it is, where its links lead, where its configuration is.
//! All of it from the manifest and from what is stored, which are root's: nothing in the copy is asked.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::machine::user::User;
use mm_common::mattermost::config::environment;

use super::place::normal;
use crate::manifest::{self, Entry, Kind, Reader, What};
use crate::stage::Owners;
use crate::store::Point;

/// A unit or an environment file is no larger, in bytes.
const MOST: u64 = 1 << 20;

/// How many links a path may lead through, as for the kernel.
const LINKS: usize = 40;

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Owners of what tells whose the server is, by path below the install root.
    owners: BTreeMap<PathBuf, (u32, u32)>,
    /// Links, and what they say.
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// Every other entry that is a directory or a regular file with something in it.
    there: std::collections::BTreeSet<PathBuf>,
    /// What starts the service and sets its variables: texts of units, drop-ins and environment files.
    starters: Vec<Starter>,
    /// Where the installation is.
    install: PathBuf,
    /// Bytes of all files.
    pub bytes: u64,
}

/// A file that starts the service or sets its variables.
#[derive(Debug)]
struct Starter {
    path: PathBuf,
    text: String,
    /// It is root's, outside of the install tree. Another may be the service user's, who says no more by it than which
    /// variables there are.
    is_roots: bool,
}

/// The entries below the install root that tell whose a server is.
const TELLING: [&str; 5] = ["bin/mattermost", "bin/platform", "bin", "logs", "config"];

impl Contents {
    /// Reads it.
    pub(crate) fn of(point: &Point) -> Result<Self> {
        let install = &point.head.install;
        let owners = Owners::new(&point.head);
        let documented = install.join(environment::DOCUMENTED);
        let mut found = Self { install: install.clone(), ..Self::default() };
        let mut reader = Reader::open(&point.path)?;
        while let Some(entry) = reader.next()? {
            let path = entry.path().to_owned();
            if TELLING.iter().any(|name| install.join(name) == path) {
                let attributes = owners.attributes(&entry);
                let below = path.strip_prefix(install).unwrap_or(&path).to_owned();
                found.owners.insert(below, (attributes.uid, attributes.gid));
            }
            let starts = point.head.roots.iter().any(|root| root.what == What::Service && path.starts_with(&root.path));
            match entry.kind {
                Kind::Symlink => {
                    let target = entry.target.as_ref().map(|target| target.as_path().to_owned()).unwrap_or_default();
                    found.links.insert(path, target);
                }
                Kind::File if entry.bytes == 0 => {}
                _ => {
                    if entry.kind == Kind::File && (starts || path == documented) {
                        let is_roots = !path.starts_with(install) && owners.attributes(&entry).uid == 0;
                        found.starters.push(Starter { path: path.clone(), text: stored(point, &entry)?, is_roots });
                    }
                    found.bytes += entry.bytes;
                    found.there.insert(path);
                }
            }
        }
        // A drop-in comes after its unit, wherever that is.
        found.starters.sort_by_key(|one| (one.path.extension().is_none_or(|end| end != "service"), one.path.clone()));
        Ok(found)
    }

    /// Whether there is a directory, or a file with something in it.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.there.contains(path)
    }

    /// A path of the original with its links followed, as far as they are in the restore point.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        let mut path = normal(path);
        for _ in 0..LINKS {
            let Some((link, target)) =
                path.ancestors().filter_map(|above| Some((above, self.links.get(above)?))).last()
            else {
                break;
            };
            let rest = path.strip_prefix(link).unwrap_or(Path::new(""));
            path = normal(&link.parent().unwrap_or(Path::new("/")).join(target).join(rest));
        }
        path
    }

    /// What a link of the copy leads to: itself where it stays within, or a path of the original that is to be found below
    /// the copy.
    pub(crate) fn leads_out(&self, link: &Path) -> Option<PathBuf> {
        let target = self.links.get(link)?;
        let above = link.parent().unwrap_or(Path::new("/"));
        let ups = target.components().take_while(|part| *part == Component::ParentDir).count();
        let depth = above.components().filter(|part| matches!(part, Component::Normal(_))).count();
        let later = target.components().skip(ups).any(|part| part == Component::ParentDir);
        if target.is_relative() && ups <= depth && !later {
            return None;
        }
        Some(self.resolve(&above.join(target)))
    }

    /// The last value that a unit, a drop-in or an environment file gives to a variable.
    pub(crate) fn setting(&self, name: &str) -> Option<String> {
        self.starters.iter().filter_map(|one| last_value(&one.text, name)).next_back()
    }

    /// Who a unit (`User=`, `Group=`) or a program of supervisord (`user=`) has the server run as, where it is root who says
    /// so. An environment file says nothing about that, and is the service user's as a rule.
    fn identity(&self, key: &str) -> Option<String> {
        let units = self.starters.iter().filter(|one| one.is_roots);
        units.filter_map(|one| identity(&one.text, &self.install, key)).next_back()
    }

    /// The user that the server runs as: the unit's, else that of the executable, else that of what the server writes to. A
    /// file that somebody has moved to its place is none of `bin`'s owner.
    ///
    /// # Errors
    /// Refused when that is root, or cannot be told.
    pub(crate) fn user(&self) -> Result<User> {
        let refused = |why: String| {
            Error::refused("the restore point does not say as which user its server is to run")
                .because(why)
                .hint("let the unit of the server say it (User=), then make a new restore point (mm-backup)")
        };
        let named = self.identity("User");
        let user = if let Some(name) = named.as_deref().filter(|name| !name.is_empty()) {
            match name.parse::<u32>() {
                Ok(uid) => User::of_ids(uid, uid),
                Err(_) => User::named(name)?,
            }
            .with_groups(self.identity("Group").as_deref(), &[])
        } else {
            let owner = |name: &str| self.owners.get(Path::new(name)).copied().filter(|(uid, _)| *uid != 0);
            let bin = owner("bin");
            let executable = owner("bin/mattermost").or_else(|| owner("bin/platform"));
            let (uid, gid) = match (executable, bin) {
                (Some(one), Some(other)) if one.0 != other.0 => {
                    return Err(refused(format!(
                        "its executable is one of the user {}, and `bin` is of {}",
                        one.0, other.0
                    )));
                }
                (Some(found), _) | (None, Some(found)) => found,
                (None, None) => owner("logs")
                    .or_else(|| owner("config"))
                    .ok_or_else(|| refused("everything in it belongs to root".into()))?,
            };
            User::of_ids(uid, gid)
        };
        if user.uid == 0 {
            return Err(refused("it would be root, as which no copy is started".into()));
        }
        Ok(user)
    }
}

/// The text of a stored file; without what is not UTF-8.
fn stored(point: &Point, entry: &Entry) -> Result<String> {
    let (parent, name) = manifest::place(entry.path());
    let mut files = point.files()?;
    let Some(dir) = files.directory(parent)? else { return Ok(String::new()) };
    let Some(file) = dir.open_file(name)? else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).map_err(|error| Error::io("read", entry.path(), error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the service of this unit or program has for a key, which is written as systemd does. Of several programs it is the
/// installation's.
fn identity(text: &str, install: &Path, key: &str) -> Option<String> {
    let sections: Vec<&str> = text.split("\n[").collect();
    let programs: Vec<&str> = sections.iter().copied().filter(|one| heading(one).starts_with("program:")).collect();
    let install = install.to_string_lossy();
    let is_ours = |one: &&str| heading(one) == "Service" || programs.len() == 1 || one.contains(install.as_ref());
    let lines = sections.iter().copied().filter(|one| programs.contains(one) || heading(one) == "Service");
    let lines = lines.filter(is_ours).flat_map(str::lines).map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let values = lines.filter_map(|line| line.split_once('='));
    let mut values = values.filter(|(name, _)| name.trim().eq_ignore_ascii_case(key)).map(|(_, value)| value.trim());
    values.next_back().map(str::to_owned)
}

/// The name of a section, whose bracket may have gone with the line before.
fn heading(section: &str) -> &str {
    let line = section.trim_start().lines().find(|line| !line.starts_with(['#', ';']) && !line.trim().is_empty());
    line.unwrap_or_default().trim().trim_start_matches('[').split(']').next().unwrap_or_default()
}

/// The last `NAME=value` of a unit, an environment file or a supervisord program, without quotes. The name stands at the
/// beginning of a line, or of a word of `Environment=`.
fn last_value(text: &str, name: &str) -> Option<String> {
    let assignment = format!("{name}=");
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let mut values = lines.filter_map(|line| {
        let at = line.match_indices(&assignment).find(|(at, _)| {
            *at == 0 || line[..*at].ends_with([' ', '\t', '"', '\'', ',']) || line[..*at].ends_with("Environment=")
        })?;
        let value = &line[at.0 + assignment.len()..];
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let around = line[..at.0].chars().next_back().filter(|c| matches!(c, '"' | '\''));
        let value = match (quote, around) {
            (Some(quote), _) => value[1..].split(quote).next(),
            (None, Some(quote)) => value.split(quote).next(),
            (None, None) => value.split(char::is_whitespace).next(),
        };
        value.map(|value| value.replace("%%", "%"))
    });
    values.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(links: &[(&str, &str)], owners: &[(&str, u32)], unit: &str) -> Contents {
        Contents {
            links: links.iter().map(|(link, target)| (link.into(), target.into())).collect(),
            owners: owners.iter().map(|(path, uid)| (path.into(), (*uid, *uid))).collect(),
            starters: vec![Starter {
                path: "/etc/systemd/system/mm.service".into(),
                text: unit.into(),
                is_roots: true,
            }],
            install: "/opt/mm".into(),
            ..Contents::default()
        }
    }

    /// Whoever has the server has its environment file.
    #[test]
    fn no_environment_file_says_who_the_server_runs_as() {
        let mut contents = with(&[], &[("bin/mattermost", 77)], "[Service]\nGroup=mm\nUser=4711\nEnvironment=User=1\n");
        let text = "MM_CONFIG=x\nUser=postgres\nuser=postgres\nGroup=disk\n[Service]\nUser=postgres\nGroup=disk\n";
        let path = PathBuf::from("/opt/mm").join(environment::DOCUMENTED);
        contents.starters.push(Starter { path, text: text.into(), is_roots: false });
        assert_eq!(contents.setting("MM_CONFIG").as_deref(), Some("x"));
        assert_eq!(
            (contents.identity("User").as_deref(), contents.identity("Group").as_deref()),
            (Some("4711"), Some("mm"))
        );
        contents.starters.remove(0);
        assert_eq!(contents.user().unwrap().uid, 77);
        // One of root's is no unit.
        contents.starters[0] =
            Starter { path: "/etc/default/mm".into(), text: "User=postgres\n".into(), is_roots: true };
        assert_eq!(contents.user().unwrap().uid, 77);
    }

    #[test]
    fn a_program_of_supervisord_names_its_user() {
        let own = "[program:mm]\ncommand=/opt/mm/bin/mattermost\nuser=mm\n";
        let other = "; a comment\n[program:web]\ncommand=/opt/web\nuser=www-data\n";
        let user = |text: &str| identity(text, Path::new("/opt/mm"), "User");
        for text in [own.to_owned(), format!("{other}{own}"), format!("{own}\n{other}"), own.replace("/opt", "/srv")] {
            assert_eq!(user(&text).as_deref(), Some("mm"), "{text}");
        }
        assert_eq!(user(other).as_deref(), Some("www-data"), "the only one is the one");
        assert_eq!(user(&format!("{other}{}", own.replace("/opt", "/srv"))), None);
    }

    #[test]
    fn links_are_followed_within_what_is_stored() {
        let contents = with(
            &[
                ("/opt/mm/data", "/srv/data"),
                ("/opt/mm/current", "custom/tls"),
                ("/opt/mm/up", "../../../../etc"),
                ("/opt/mm/round", "custom/../../.."),
                ("/srv/data", "pool/1"),
                ("/a", "/b"),
                ("/b", "/a"),
            ],
            &[],
            "",
        );
        assert_eq!(contents.resolve(Path::new("/opt/mm/data/x")), Path::new("/srv/pool/1/x"));
        assert_eq!(contents.leads_out(Path::new("/opt/mm/current")), None);
        assert_eq!(contents.leads_out(Path::new("/opt/mm/data")), Some("/srv/pool/1".into()));
        assert_eq!(contents.leads_out(Path::new("/opt/mm/up")), Some("/etc".into()));
        assert_eq!(contents.leads_out(Path::new("/opt/mm/round")), Some("/".into()));
        contents.resolve(Path::new("/a/x"));
    }

    #[test]
    fn the_user_is_the_units_or_that_of_the_executable_and_never_root() {
        let uid = |owners: &[(&str, u32)], unit: &str| with(&[], owners, unit).user().map(|user| user.uid).ok();
        assert_eq!(uid(&[("bin/mattermost", 77)], "[Service]\nUser=4711\n"), Some(4711));
        assert_eq!(uid(&[("bin/mattermost", 77)], "[Service]\nUser=0\n"), None);
        assert_eq!(uid(&[("bin/mattermost", 77), ("bin", 77)], ""), Some(77));
        assert_eq!(uid(&[("bin/mattermost", 77), ("bin", 0)], ""), Some(77));
        assert_eq!(uid(&[("bin/mattermost", 0), ("bin", 77)], ""), Some(77), "a file of root's was moved there");
        assert_eq!(uid(&[("bin/mattermost", 78), ("bin", 77)], ""), None);
        assert_eq!(uid(&[("bin/mattermost", 0), ("bin", 0), ("logs", 77)], ""), Some(77));
        assert_eq!(uid(&[("bin/mattermost", 0), ("bin", 0), ("logs", 0), ("config", 0)], ""), None);
    }

    #[test]
    fn values_are_found_in_every_kind_of_file() {
        for (text, expected) in [
            ("MM_CONFIG=postgres://x\n", Some("postgres://x")),
            ("# MM_CONFIG=no\nMM_CONFIG='a b'\n", Some("a b")),
            ("Environment=\"MM_CONFIG=/etc/a b.json\" X=1\n", Some("/etc/a b.json")),
            ("Environment=X=1 MM_CONFIG=/etc/a%%.json\n", Some("/etc/a%.json")),
            ("environment=A=\"1\",MM_CONFIG=\"x\"\n", Some("x")),
            ("NOT_MM_CONFIG=x\n", None),
        ] {
            assert_eq!(last_value(text, "MM_CONFIG").as_deref(), expected, "{text}");
        }
    }
}
