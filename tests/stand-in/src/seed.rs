//! Content for a database that a stand-in has migrated: teams, users of every kind, channels, posts with threads, files, and an unread state in which a direct
//! jump hits the users differently. The same plan gives the same content.

mod content;

use std::path::Path;

use serde_json::{Value, json};

use crate::database::{Database, Source, migrate};
use crate::emulated::Version;
use crate::error::{Error, Result};

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Plan {
    /// At least 1.
    pub teams: usize,
    /// At least 1; the first is the administrator. See [`Kind`].
    pub users: usize,
    /// Posts, replies included.
    pub posts: usize,
    /// Files attached to posts (at most one a post), with content in the data directory.
    pub files: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { teams: 2, users: 5, posts: 1000, files: 10 }
    }
}

/// What is special about a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `admin`, the first user: administrator of the system and of all teams; has unread channels.
    Admin,
    /// `alice` and every user after the fifth: a member of all teams with unread channels.
    Member,
    /// `bob`: has read everything, so that a direct jump leaves his counts filled (not his categories).
    Reader,
    /// `carol`: a guest in the first team, with one channel.
    Guest,
    /// `dave`: in no team.
    Outsider,
}

impl Kind {
    /// In lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Reader => "reader",
            Self::Guest => "guest",
            Self::Outsider => "outsider",
        }
    }
}

/// A user that was made.
#[derive(Debug, Clone)]
pub struct User {
    /// 26 characters.
    pub id: String,
    /// `alice`
    pub username: String,
    /// `alice@example.test`
    pub email: String,
    /// In clear.
    pub password: String,
    /// What is special.
    pub kind: Kind,
}

/// A team that was made.
#[derive(Debug, Clone)]
pub struct Team {
    /// 26 characters.
    pub id: String,
    /// `alpha`, `beta`, `team-3` ...; the first is open, the others are by invitation.
    pub name: String,
}

/// A channel that was made.
#[derive(Debug, Clone)]
pub struct Channel {
    /// 26 characters.
    pub id: String,
    /// Id of the team, empty for direct messages.
    pub team: String,
    /// `town-square`, `off-topic`, `dev`, `board` (private), `empty` (no post at all), or the name of a direct message channel.
    pub name: String,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Seeded {
    /// The administrator first.
    pub users: Vec<User>,
    /// In the order of making.
    pub teams: Vec<Team>,
    /// In the order of making.
    pub channels: Vec<Channel>,
    /// How many posts.
    pub posts: usize,
    /// Paths of the files, relative to the data directory.
    pub files: Vec<String>,
}

impl Seeded {
    /// `{"users": [{"id", "username", "email", "password", "kind"}], "teams": [{"id", "name"}], "channels": [{"id", "team", "name"}], "posts", "files": []}`
    #[must_use]
    pub fn to_json(&self) -> Value {
        let users = self.users.iter().map(|user| {
            json!({
                "id": user.id, "username": user.username, "email": user.email, "password": user.password, "kind": user.kind.name(),
            })
        });
        let teams = self.teams.iter().map(|team| json!({"id": team.id, "name": team.name}));
        let channels =
            self.channels.iter().map(|channel| json!({"id": channel.id, "team": channel.team, "name": channel.name}));
        json!({
            "users": users.collect::<Vec<_>>(), "teams": teams.collect::<Vec<_>>(), "channels": channels.collect::<Vec<_>>(),
            "posts": self.posts, "files": self.files,
        })
    }
}

/// Fills the database and the data directory (`INSTALL/data`). What is made below `install` gets the owner of `install`.
///
/// # Errors
/// A database that is not reachable or was not migrated by a stand-in, one that has users already, a data directory that cannot be written.
pub fn seed(database_url: &str, install: &Path, plan: &Plan) -> Result<Seeded> {
    let database = Database::new(Source::parse(database_url));
    let version = version_of(&database)?;
    if database.number("SELECT count(*) FROM users", &[])? > 0 {
        return Err(Error::new("the database has users already: seed an empty one"));
    }
    let seeded = content::make(version, plan);
    for chunk in seeded.statements.chunks(200) {
        database.script(&format!("BEGIN;\n{}COMMIT;", chunk.concat()))?;
    }
    database.script("ANALYZE")?;
    for (path, bytes) in &seeded.files {
        crate::server::store(&install.join("data"), path, bytes)?;
    }
    own(install)?;
    Ok(seeded.report)
}

/// The version whose columns are there.
fn version_of(database: &Database) -> Result<Version> {
    let applied = migrate::applied(database)?;
    if !applied.is_empty() {
        return Ok(migrate::version_of(&applied));
    }
    let stored = if database.has_table("systems")? { database.system("Version")? } else { None };
    stored
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::new("no server has migrated this database yet: start bin/mattermost once"))
}

/// Gives the data directory to the owner of the installation (when we may).
fn own(install: &Path) -> Result<()> {
    use std::os::unix::fs::{MetadataExt as _, lchown};
    let Ok(owner) = std::fs::metadata(install) else { return Ok(()) };
    let mut open = vec![install.join("data")];
    while let Some(path) = open.pop() {
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.uid() != owner.uid() || meta.gid() != owner.gid() {
            lchown(&path, Some(owner.uid()), Some(owner.gid())).map_err(|error| {
                Error::new(format!("giving {} to {}:{}: {error}", path.display(), owner.uid(), owner.gid()))
            })?;
        }
        if meta.is_dir() {
            open.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    Ok(())
}
