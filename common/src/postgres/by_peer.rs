//! Servers of this machine that no list names, as where postgresql-common is not installed (Red Hat's systems, a build from source):
//! root becomes `postgres`, and gets in by peer authentication over a socket that is that user's own.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::cluster::{self, Cluster};
use super::server::Database;
use super::source::DataSource;
use crate::contract::error::{Error, Result};
use crate::machine::files;
use crate::machine::user::User;

/// Where servers have their socket: as distributions build them, and as PostgreSQL does by itself.
const SOCKETS: &[&str] = &["/run/postgresql", "/var/run/postgresql", "/tmp"];

/// The user that they run as.
const OWNER: &str = "postgres";

/// The superuser of the server that has a socket of this port in one of the directories, in `database`; `None` where there is
/// none, or it does not let us in.
fn superuser_in(directories: &[&str], port: u16, database: &str) -> Option<Database> {
    let owner = User::named(OWNER).ok()?;
    directories.iter().map(Path::new).find_map(|directory| {
        let directory = held(directory, (owner.uid, owner.gid))?;
        let socket = std::fs::symlink_metadata(directory.join(format!(".s.PGSQL.{port}"))).ok()?;
        // In /tmp anybody could have made one.
        let theirs = socket.file_type().is_socket() && socket.uid() == owner.uid;
        theirs.then(|| Database::superuser_at(&directory, port, &owner.name, Some(&owner), database).ok()).flatten()
    })
}

/// A directory without links on the way, where nobody but root, a user and his group can put another entry in the place of theirs:
/// between the look at a socket and the connection it stays the same one. Its name may come from a configuration.
fn held(directory: &Path, (uid, gid): (u32, u32)) -> Option<PathBuf> {
    let resolved = directory.canonicalize().ok()?;
    let is_held = resolved.ancestors().all(|part| {
        std::fs::symlink_metadata(part).is_ok_and(|data| {
            // Debian's /run/postgresql is its owner's group's.
            let others = if [0, gid].contains(&data.gid()) { 0o002 } else { 0o022 };
            let is_sticky = data.mode() & 0o1000 != 0;
            [0, uid].contains(&data.uid()) && (data.mode() & others == 0 || is_sticky)
        })
    });
    is_held.then_some(resolved)
}

/// The superuser of what may be the server of `own`, which says on which port it is.
pub(super) fn superuser_beside(own: &Database) -> Option<Database> {
    let port = own.value("SELECT pg_catalog.current_setting('port')::pg_catalog.int4 AS port").ok()?;
    superuser_in(SOCKETS, u16::try_from(port.as_u64()?).ok()?, &own.name)
}

/// The superuser, in the database `postgres`, of the server of this machine that a data source leads to, when its own database
/// or role is gone.
pub fn superuser_at(source: &DataSource) -> Option<Database> {
    let named = [source.host.as_str()];
    superuser_in(if source.is_socket() { &named } else { SOCKETS }, source.port, "postgres")
}

/// The cluster in which a superuser is: of postgresql-common's list, or as the server itself describes it.
///
/// # Errors
/// When the server cannot be asked.
pub fn cluster_of(superuser: &Database) -> Result<Cluster> {
    if let Some(listed) = cluster::of_database(superuser)? {
        return Ok(listed);
    }
    let rows = superuser.rows(
        "SELECT pg_catalog.current_setting('data_directory') AS data, pg_catalog.current_setting('hba_file') AS rules",
    )?;
    let text = |key: &str| rows.first().and_then(|row| row[key].as_str()).filter(|text| !text.is_empty());
    let (Some(data), Some(rules)) = (text("data"), text("rules")) else {
        return Err(Error::failed("the server does not tell where its data is"));
    };
    let (socket, port) = superuser.reached_at();
    Ok(Cluster {
        major: superuser.major(),
        // One server has a port.
        name: port.to_string(),
        port,
        online: true,
        start: "manual".into(),
        owner: superuser.other_user().map_or_else(|| OWNER.to_owned(), |user| user.name.clone()),
        configuration: files::parent(Path::new(rules))?.into(),
        data: data.into(),
        socket: socket.into(),
        log: PathBuf::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_directory_in_which_others_can_exchange_entries_is_not_connected_to() {
        let place = tempfile::tempdir().unwrap();
        let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let [closed, open, link] = ["closed", "open", "link"].map(|name| place.path().join(name));
        std::fs::create_dir_all(closed.join("sockets")).unwrap();
        std::fs::create_dir_all(open.join("sockets")).unwrap();
        symlink(&closed, &link).unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(&open, 0o777);
        assert!(held(&closed.join("sockets"), own).is_some());
        assert_eq!(held(&link.join("sockets"), own), held(&closed.join("sockets"), own));
        assert!(held(&open, own).is_none() && held(&open.join("sockets"), own).is_none());
        mode(&open, 0o1777);
        assert!(held(&open, own).is_some());
        assert!(held(&place.path().join("none"), own).is_none());
    }
}
