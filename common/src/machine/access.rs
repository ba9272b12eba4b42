//! What a user of the machine may read and write, by the kernel's own rule: modes, groups, access lists, options of the
//! mount and the directories above. The kernel is asked as that user; nothing is opened.

use std::path::{Component, Path, PathBuf};

use super::command::{Cmd, TO_ASK};
use super::tree::{Dir, Kind};
use super::user::{self, User};
use crate::contract::error::{Error, Result};

/// How many paths one program is handed: far below the kernel's limit of arguments.
const AT_ONCE: usize = 200;

/// Prints the numbers of those of its arguments that may not be read and written, and a directory entered.
const WRITABLE: &str = r#"n=0
for path do
    { test -r "$path" && test -w "$path" && { ! test -d "$path" || test -x "$path"; }; } || echo "$n"
    n=$((n + 1))
done"#;

/// Prints the numbers of those of its arguments that may not be read, and a directory entered.
const READABLE: &str = r#"n=0
for path do
    { test -r "$path" && { ! test -d "$path" || test -x "$path"; }; } || echo "$n"
    n=$((n + 1))
done"#;

/// Those of `paths` that `user` may not read and write. Links are followed, as the user's own calls would.
///
/// # Errors
/// Refused when this process is neither root nor that user, so that the kernel cannot be asked.
pub fn not_writable(user: &User, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    denied(WRITABLE, user, paths)
}

/// Those of `paths` that `user` may not read. Links are followed.
///
/// # Errors
/// As for [`not_writable`].
pub fn not_readable(user: &User, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    denied(READABLE, user, paths)
}

/// Whether `user` may read the file at `path`. Links are followed.
///
/// # Errors
/// As for [`not_writable`].
pub fn is_readable(user: &User, path: &Path) -> Result<bool> {
    Ok(not_readable(user, &[path.to_owned()])?.is_empty())
}

fn denied(script: &str, user: &User, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if !user.is_current() && !user::is_root() {
        return Err(Error::refused(format!("cannot ask what {} may read and write", user.name))
            .because("only root can act as another user")
            .hint("run this as root"));
    }
    let mut found = Vec::new();
    for some in paths.chunks(AT_ONCE) {
        let answer = Cmd::new("sh").args(["-c", script, "sh"]).args(some).user(user).within(TO_ASK).run()?.text();
        let numbers = answer.lines().filter_map(|line| line.parse::<usize>().ok());
        found.extend(numbers.filter_map(|number| some.get(number).cloned()));
    }
    Ok(found)
}

/// Those of `paths` that are in the tree at `root` themselves: neither they nor a directory on the way is a link. Others may
/// be named by whoever can write the configuration, and are not to be given away.
///
/// # Errors
/// When the tree cannot be looked at.
pub fn of_tree(root: &Path, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let top = Dir::open_following(root)?;
    let is_within = |path: &PathBuf| -> Result<bool> {
        let Ok(below) = path.strip_prefix(root) else { return Ok(false) };
        let (Some(above), Some(name)) = (below.parent(), below.file_name()) else { return Ok(false) };
        if below.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Ok(false);
        }
        let Some(dir) = top.descend_directories(above)? else { return Ok(false) };
        Ok(dir.look(name)?.is_some_and(|meta| matches!(meta.kind, Kind::File | Kind::Directory)))
    };
    let mut within = Vec::new();
    for path in paths {
        if is_within(path)? {
            within.push(path.clone());
        }
    }
    Ok(within)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn what_a_link_or_the_configuration_names_is_not_of_the_tree() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        std::fs::create_dir_all(root.join("config/more")).unwrap();
        std::fs::create_dir_all(place.path().join("away/more")).unwrap();
        std::os::unix::fs::symlink("../away", root.join("link")).unwrap();
        let paths = ["config", "config/more", "link", "link/more", "../away", "none"].map(|name| root.join(name));
        assert_eq!(of_tree(&root, &paths).unwrap(), [root.join("config"), root.join("config/more")]);
        assert!(of_tree(&root, &[root.clone(), place.path().join("away")]).unwrap().is_empty());
    }

    #[test]
    fn what_counts_is_what_the_kernel_lets_the_user_do() {
        let user = user::current();
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let make = |name: &str, mode: u32| {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        make("own", 0o700);
        assert_eq!(not_writable(&user, &[path("own"), path("none")]).unwrap(), [path("none")]);
        if !user::is_root() {
            return;
        }
        // The nobody of this machine, whose group a directory can be of.
        let nobody = User::named("nobody").unwrap();
        make("group", 0o2775);
        make("others", 0o755);
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        chown(path("group"), Some(0), Some(nobody.gid)).unwrap();
        assert_eq!(not_writable(&nobody, &[path("group"), path("others")]).unwrap(), [path("others")]);
        // A group that nobody is in, but that a unit may give it.
        std::fs::File::create(path("secret")).unwrap();
        std::fs::set_permissions(path("secret"), std::fs::Permissions::from_mode(0o640)).unwrap();
        chown(path("secret"), Some(0), Some(54321)).unwrap();
        assert!(!is_readable(&nobody, &path("secret")).unwrap());
        assert!(is_readable(&nobody.clone().with_groups(Some("54321"), &[]), &path("secret")).unwrap());
        assert!(is_readable(&nobody.clone().with_groups(None, &["54321".into()]), &path("secret")).unwrap());
        make("listed", 0o744);
        assert_eq!(not_readable(&nobody, &[path("listed"), path("others")]).unwrap(), [path("listed")]);
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(not_writable(&nobody, &[path("group")]).unwrap(), [path("group")], "no way to it");
    }
}
