//! `--freeze`: while the server is stopped, the database is copied within its cluster and not dumped; `complete` does that
//! from the copy when the server serves again. What keeps a database from being copied is found before the stop, and said.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mm_common::contract::error::Result;
use mm_common::contract::{time, ui};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::{checkpoint, disk, signals};
use mm_common::mattermost::schema;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::administrator;
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::dump::{self, literal};
use mm_common::postgres::fingerprint;
use mm_common::postgres::frozen::{self, Frozen};
use mm_common::postgres::properties::{self, Properties};
use mm_common::postgres::proven::Claim;
use mm_common::postgres::server::Database;

use crate::copies::{self, Going, Record};
use crate::database::{self, Onlooker};
use crate::manifest::{DatabasePart, FrozenPart, OriginalPart};
use crate::mysql::MysqlPart;
use crate::original;
use crate::plan::Plan;
use crate::replace::beside;
use crate::store::Store;

/// What a copy needs beyond its own size: catalogues, and room for the cluster to go on.
const AROUND: u64 = 256 << 20;

/// Bytes of database that are dumped and hashed in a second: 602 MB took 8 s on two cores.
const STORED_PER_SECOND: u64 = 75 << 20;

/// What is known before the stop.
pub(crate) struct Ready {
    admin: Database,
    /// Where the server's role finds its tables.
    schemas: Vec<String>,
    name: String,
    role: String,
    copy: String,
    bytes: u64,
    properties: Properties,
    schema: schema::Level,
    /// Whether a CHECKPOINT was made in time.
    pub(crate) checkpointed: bool,
    /// Ends what the server is asked.
    cancel: Arc<AtomicBool>,
}

/// Another database server, which the hop comes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upgrade {
    /// Its major.
    pub major: u32,
    /// The database is moved there; else its cluster is upgraded.
    pub is_move: bool,
}

/// Whether the database can be frozen.
pub(crate) enum Outlook {
    /// It can.
    Ready(Box<Ready>),
    /// It need not be copied: the hop leaves it as it is.
    Left(Box<OriginalPart>),
    /// There is no room for one more copy, in words.
    Tight(String),
    /// It cannot, and why.
    Plain(String),
}

impl Outlook {
    /// Says that it cannot, and what that costs.
    fn tell(&self, installation: &Installation) {
        let (Self::Plain(why) | Self::Tight(why)) = self else { return };
        let bytes = installation.database().and_then(|own| database::bytes(&own)).unwrap_or_default();
        ui::warn(&format!(
            "the database is not frozen but dumped while the server is stopped, which takes about {} s longer: {why}",
            1 + bytes / STORED_PER_SECOND
        ));
    }
}

/// Looks whether the server's database can be frozen, says it where it cannot, and has the server write out what it has in
/// memory where it can. Where there is too little room, the copy of the hop before goes: its restore point has a dump.
pub(crate) fn ready(
    installation: &Installation,
    claim: &Claim<'_>,
    plan: &Plan,
    upgrade: Option<Upgrade>,
    (run, lock): (Option<&str>, &LockGuard),
) -> Result<Outlook> {
    let mut outlook = look(installation, claim, plan, upgrade)?;
    if let Outlook::Tight(_) = outlook
        && copies::sweep(installation, claim, Going::Tight(run), lock)? > 0
    {
        outlook = look(installation, claim, plan, upgrade)?;
    }
    outlook.tell(installation);
    if let Outlook::Ready(ready) = &mut outlook {
        ready.checkpointed = frozen::write_out(&ready.admin);
        // Started now: users are waiting when the copy is made.
        ready.admin = ready.admin.clone().with_limit(dump::LIMIT).cancelled_by(&ready.cancel);
        ready.admin.value("SELECT true AS there")?;
    }
    Ok(outlook)
}

/// Looks whether the server's database can be frozen. Changes nothing.
fn look(installation: &Installation, claim: &Claim<'_>, plan: &Plan, upgrade: Option<Upgrade>) -> Result<Outlook> {
    let dumped = |why: &str| Ok(Outlook::Plain(why.to_owned()));
    if let Some(upgrade) = upgrade {
        let own = installation.database()?;
        // Where it is there already, nothing upgrades it, and nothing is left of it.
        if upgrade.is_move || own.major() < upgrade.major {
            return original::left(claim, plan, &own, upgrade);
        }
    }
    if plan.whole_cluster {
        return dumped("--whole-cluster dumps every database of the cluster in one go");
    }
    let administrator = match administrator(installation, claim) {
        Ok(administrator) if administrator.is_superuser && administrator.database.is_superuser() => administrator,
        Ok(_) => return dumped("no superuser of the database server can be reached from here"),
        Err(error) => return dumped(&error.one_line()),
    };
    let own = installation.database()?;
    let role = installation.source.as_ref().map_or_else(String::new, |source| source.user.clone());
    let admin = administrator.database;
    if let Some(why) = obstacle(&admin, &own.name, &role)? {
        return dumped(&why);
    }
    // Where a superuser may not read rows for what the owner's functions would do, the server's role does: not in a copy.
    if let Err(error) = fingerprint::hold(&admin.sibling(&own.name)) {
        return dumped(&error.one_line());
    }
    let bytes = database::bytes(&own)?;
    if let Some(data) = administrator.cluster.as_ref().and_then(Cluster::data_here) {
        let (free, needed) = (disk::free(data)?, bytes + bytes / 10 + AROUND);
        if free < needed {
            let place = data.display();
            return Ok(Outlook::Tight(format!("the copy needs {needed} bytes at `{place}`, {free} are free")));
        }
    }
    Ok(Outlook::Ready(Box::new(Ready {
        copy: beside(&own.name, &format!("_mm_frozen_{}", time::stamp())),
        schemas: own.schemas()?,
        properties: properties::read(&own)?,
        schema: schema::level(&own)?,
        name: own.name,
        admin,
        role,
        bytes,
        checkpointed: false,
        cancel: Arc::default(),
    })))
}

/// What would keep the server from copying the database.
fn obstacle(admin: &Database, name: &str, role: &str) -> Result<Option<String>> {
    let (name, role) = (literal(name), literal(role));
    let mut queries = vec![
        format!("SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_prepared_xacts WHERE database = {name}"),
        format!(
            "SELECT coalesce(usename::pg_catalog.text, backend_type) AS who, application_name AS what
             FROM pg_catalog.pg_stat_activity WHERE datname = {name} AND pid <> pg_catalog.pg_backend_pid()
               AND usename IS DISTINCT FROM {role} AND backend_type IN ('client backend', 'walsender') ORDER BY 1, 2"
        ),
    ];
    if admin.version_num >= 150_000 {
        queries.push(format!(
            "SELECT datcollversion AS then, pg_catalog.pg_database_collation_actual_version(oid) AS now
             FROM pg_catalog.pg_database WHERE datname = {name}
               AND datcollversion IS DISTINCT FROM pg_catalog.pg_database_collation_actual_version(oid)"
        ));
    }
    let answers = admin.rows_of_all(&queries)?;
    let first = |index: usize| answers.get(index).and_then(|rows| rows.first());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
    if let Some(count) = first(0).and_then(|row| row["n"].as_u64()).filter(|count| *count > 0) {
        return Ok(Some(format!("{} in it", ui::count(count, "prepared transaction"))));
    }
    if let Some(row) = first(1) {
        let count = answers.get(1).map_or(0, Vec::len);
        let (who, what) = (text(&row["who"]), text(&row["what"]));
        return Ok(Some(format!("others are connected to it ({}): `{who}` as `{what}`", ui::count(count, "session"))));
    }
    Ok(first(2).map(|row| {
        format!(
            "it was made with version {} of the collation, and the system has {}: ALTER DATABASE ... REFRESH COLLATION VERSION, \
             after REINDEX DATABASE, says that it fits",
            text(&row["then"]),
            text(&row["now"])
        )
    }))
}

/// What was stored of the database, or frozen.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) part: Option<DatabasePart>,
    pub(crate) frozen: Option<FrozenPart>,
    pub(crate) original: Option<OriginalPart>,
    pub(crate) mysql: Option<MysqlPart>,
    /// Why it is not frozen, though that was wanted and looked well before the stop.
    pub(crate) reason: Option<String>,
}

impl From<DatabasePart> for Taken {
    fn from(part: DatabasePart) -> Self {
        Self { part: Some(part), ..Self::default() }
    }
}

/// Where the restore point is made.
pub(crate) struct Place<'a> {
    pub(crate) id: &'a str,
    pub(crate) store: &'a Path,
    pub(crate) partial: &'a Path,
    pub(crate) jobs: usize,
}

impl Ready {
    fn record(&self, place: (&str, &Path)) -> Record {
        let (store_mark, cluster) = (String::new(), String::new());
        Record { copy: self.copy.clone(), id: place.0.into(), store: place.1.into(), store_mark, cluster }
    }

    /// What ends it when set.
    pub(crate) fn cancel(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// Writes down that the copy will be made, before the server is stopped.
    pub(crate) fn announce(
        &self,
        installation: &Installation,
        (id, store): (&str, &Store),
        lock: &LockGuard,
    ) -> Result<()> {
        let record = Record { cluster: copies::identifier_of(&self.admin), ..self.record((id, &store.path)) };
        copies::announce(&installation.state, &record, store, lock)?;
        checkpoint::pass("freeze-noted");
        Ok(())
    }

    /// Freezes the database of the stopped server; where the server does not let us, it is dumped.
    pub(crate) fn freeze(
        &self,
        (installation, claim): (&Installation, &Claim<'_>),
        place: &Place<'_>,
        cancel: &Arc<AtomicBool>,
        lock: &LockGuard,
    ) -> Result<Taken> {
        let record = self.record((place.id, place.store));
        let error = match self.copy_database() {
            Ok(part) => return Ok(Taken { frozen: Some(part), ..Taken::default() }),
            Err(error) => error,
        };
        if cancel.load(Ordering::Relaxed) {
            return Err(error);
        }
        signals::check()?;
        copies::remove(&self.admin, &installation.state, &record, lock)?;
        let reason = error.one_line();
        ui::warn(&format!("the database is dumped while the server is stopped: {reason}"));
        let view = Onlooker::of_server(installation, claim, cancel)?.look(cancel)?;
        Ok(Taken { part: Some(view.store(place.partial, place.jobs)?), reason: Some(reason), ..Taken::default() })
    }

    fn copy_database(&self) -> Result<FrozenPart> {
        let made = frozen::make(&self.admin, (&self.name, &self.role), &self.copy)?;
        let copy = self.admin.sibling(&self.copy).looking_in(self.schemas.clone());
        let noted = frozen::note(&copy, made.transaction)?;
        checkpoint::pass("freeze-proven");
        let copy = Frozen {
            copy: self.copy.clone(),
            oid: made.oid,
            system_identifier: made.system_identifier,
            name: self.name.clone(),
            bytes: self.bytes,
            server_version: self.admin.version.clone(),
            properties: self.properties.clone(),
            noted,
        };
        Ok(FrozenPart { copy, schema: Some(self.schema.clone()) })
    }

    /// Removes the copy of a restore point that was not made.
    pub(crate) fn give_up(&self, installation: &Installation, place: (&str, &Path), lock: &LockGuard) {
        if let Err(error) = copies::remove(&self.admin, &installation.state, &self.record(place), lock) {
            ui::warn(&format!("{}; the next mm-backup removes it", error.one_line()));
        }
    }
}
