//! Who can put a database back into place. Renaming wants a superuser, which root is on the machine of a local cluster (peer
//! authentication as its owner), or the owner of the database when it has CREATEDB (ALTER DATABASE, PostgreSQL's manual).

use crate::contract::error::{Error, Result};
use crate::contract::ui;
use crate::mattermost::site::Installation;
use crate::postgres::by_peer;
use crate::postgres::cluster::{self, Cluster};
use crate::postgres::dump::{identifier, literal};
use crate::postgres::proven::Claim;
use crate::postgres::server::Database;
use crate::postgres::source::DataSource;

/// Somebody who may create and rename databases.
#[derive(Debug)]
pub struct Administrator {
    /// Connected to another database of the server.
    pub database: Database,
    /// The local cluster, where it is one.
    pub cluster: Option<Cluster>,
    /// Whether it is a superuser.
    pub is_superuser: bool,
}

/// Whether a database of this name is there.
pub fn exists(admin: &Database, name: &str) -> Result<bool> {
    let there = format!("SELECT pg_catalog.count(*) FROM pg_catalog.pg_database WHERE datname = {}", literal(name));
    Ok(admin.value(&there)?.as_u64() == Some(1))
}

/// Finds somebody who may create and rename databases beside the server's.
///
/// # Errors
/// Refused when nobody is found, with the statements that change that.
pub fn administrator(installation: &Installation, claim: &Claim<'_>) -> Result<Administrator> {
    let source = installation.source.as_ref().ok_or_else(|| Error::refused("the server does not use PostgreSQL"))?;
    let own = installation.database();
    let mut unproven = None;
    match &own {
        Ok(database) => match claim.superuser(database) {
            Ok(Some(superuser)) => {
                let cluster = Some(by_peer::cluster_of(&superuser)?);
                return Ok(Administrator { database: superuser.sibling("postgres"), cluster, is_superuser: true });
            }
            Ok(None) => {}
            Err(error) => unproven = Some(error),
        },
        // The database may be gone, or the role. Then the address says which cluster it was.
        Err(error) => {
            if let Some((admin, cluster)) = by_address(source)? {
                ui::say(&format!("{}; going on as the superuser of {}", error.one_line(), cluster.label()));
                if exists(&admin, &source.database)? {
                    claim.prove(&admin.sibling(&source.database))?;
                }
                // Where a role finds its tables unless it is told otherwise.
                let schemas = vec![source.user.clone(), "public".to_owned()];
                let database = admin.looking_in(schemas);
                return Ok(Administrator { database, cluster: Some(cluster), is_superuser: true });
            }
        }
    }
    let own = own?;
    let rights = own.rows(
        "SELECT r.rolsuper AS super, r.rolcreatedb AS creates,
           pg_catalog.pg_has_role(d.datdba, 'MEMBER') AS owns FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
         WHERE r.rolname = current_user AND d.datname = pg_catalog.current_database()",
    )?;
    let has = |right: &str| rights.first().is_some_and(|row| row[right] == true);
    if has("super") || (has("creates") && has("owns")) {
        let database = own.sibling("postgres");
        return Ok(Administrator { database, cluster: None, is_superuser: has("super") });
    }
    if let Some(error) = unproven {
        return Err(error.within(format!("the database `{}` cannot be exchanged", source.database)));
    }
    let (role, name) = (in_sql(&source.user), in_sql(&source.database));
    let lacking = [
        (has("creates"), format!("ALTER ROLE {role} CREATEDB")),
        (has("owns"), format!("ALTER DATABASE {name} OWNER TO {role}")),
    ];
    let lacking: Vec<String> = lacking.into_iter().filter(|(has, _)| !has).map(|(_, sql)| sql).collect();
    Err(Error::refused(format!("the database `{}` cannot be exchanged", source.database))
        .because(format!("`{}` may not create and rename databases, and no superuser could be reached", source.user))
        .hint(format!(
            "let an administrator of the database run `{}`; or run this as root on its machine, where `local all postgres peer` in pg_hba.conf lets it in",
            lacking.join("; ")
        )))
}

/// Words that stand for something else in SQL unless they are quoted, and could be the name of a role or a database.
const RESERVED: &[&str] = &["all", "default", "group", "order", "select", "table", "user"];

/// A name as it is written in SQL that people read: in quotes where it needs them.
pub(super) fn in_sql(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit());
    if is_plain && !RESERVED.contains(&name) { name.to_owned() } else { identifier(name) }
}

/// The superuser of the server of this machine that the data source leads to, in the database `postgres`, and its cluster.
fn by_address(source: &DataSource) -> Result<Option<(Database, Cluster)>> {
    if !source.is_socket() && !matches!(source.host.as_str(), "localhost" | "127.0.0.1" | "::1") {
        return Ok(None);
    }
    let listed = cluster::all()?.into_iter().find(|cluster| cluster.online && cluster.port == source.port);
    if let Some(cluster) = listed {
        return Ok(Some((Database::superuser(&cluster, "postgres")?, cluster)));
    }
    let admin = by_peer::superuser_at(source);
    admin.map(|admin| by_peer::cluster_of(&admin).map(|cluster| (admin, cluster))).transpose()
}
