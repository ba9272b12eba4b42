//! What the catalogue forbids: jumps over releases that have to run in between, and databases that a release refuses.

use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::shell;
use mm_common::contract::ui;
use mm_common::mattermost::carried::renumbers;
use mm_common::mattermost::catalogue::{Catalogue, Driver, Facts, Level};
use mm_common::mattermost::manifest::Manifest;
use mm_common::mattermost::schema;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::server::Database;

/// What `--accept` is given to jump all the same.
pub(crate) const ACCEPT: &str = "jump";

/// Refuses a jump that a rule of the catalogue forbids, whoever names the release: the server would start, and its users
/// would find nothing.
///
/// # Errors
/// Refused, with each rule and the command that shows the path.
pub(crate) fn refuse_jump(base: Option<&Path>, site: &Installation, new: &Manifest) -> Result<()> {
    let catalogue = Catalogue::load(None, base)?;
    let facts = Facts {
        edition: Some(new.edition),
        driver: Some(Driver::Postgres),
        glibc: None,
        config: Some(&site.config.settings),
        licence: None,
    };
    let (from, to) = (&site.version, &new.version);
    let against = catalogue.rules().iter().filter(|rule| rule.level == Level::Block && rule.objects(from, to, &facts));
    let error = against.fold(None, |error: Option<Error>, rule| {
        let error = error.unwrap_or_else(|| Error::refused(format!("{to} must not be installed over {from}")));
        Some(error.because(format!("{} (rule {}; {})", rule.title, rule.id, rule.source)))
    });
    error.map_or(Ok(()), |error| {
        Err(error.hint(format!(
            "mm-path --install {} --to {to} --format human shows the path; --accept {ACCEPT} lets mm-swap jump all the same",
            shell::word(&site.root)
        )))
    })
}

/// The new server would refuse it too, after it has rewritten the configuration.
///
/// # Errors
/// Refused when the release needs a newer PostgreSQL.
pub(crate) fn refuse_old_database(base: Option<&Path>, database: &Database, new: &Manifest) -> Result<()> {
    let catalogue = Catalogue::load(None, base)?;
    match catalogue.requirement(&new.version) {
        Some(requirement) if requirement.refuses_postgres(database.major()) => {
            Err(Error::refused(format!("the server {} does not start on PostgreSQL {}", new.version, database.version))
                .because(requirement.source.clone())
                .hint("put mm-pgbump before mm-swap in the pipeline"))
        }
        _ => Ok(()),
    }
}

/// The new server would stop in the middle of its migrations. What cannot be read in the release is not known, and stops
/// nothing.
///
/// # Errors
/// Refused when the database has a migration under a number that the release gives to another one.
pub(crate) fn refuse_clash(
    base: Option<&Path>,
    site: &Installation,
    level: &schema::Level,
    new: &Manifest,
) -> Result<()> {
    let Some(carried) = new.carried() else { return Ok(()) };
    let catalogue = Catalogue::load(None, base)?;
    let is_renumbered = |name: &str| renumbers(&catalogue, &new.version, name);
    let comparison = carried.against(level.migrations.as_deref(), is_renumbered);
    if !comparison.ahead.is_empty() {
        ui::warn(&format!(
            "the database is ahead of {}, which does not have: {}",
            new.version,
            comparison.ahead.join(", ")
        ));
    }
    if comparison.clashes.is_empty() {
        return Ok(());
    }
    let error = Error::refused(format!("the server {} would stop in the migrations of this database", new.version));
    let error = comparison.clashes.into_iter().fold(error, |error, clash| error.because(format!("migration {clash}")));
    Err(error.hint(format!(
        "a release that knows them: 11.6.5, 11.7.3, 11.8.1 or newer for 142 to 144; mm-path --install {} --to latest-esr --check \
         --format human shows the path. Where a build of your own was here, restore the database from before it",
        shell::word(&site.root)
    )))
}
