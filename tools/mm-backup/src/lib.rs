//! `mm-backup`: restore points that are known to restore.

mod again;
mod arguments;
mod collect;
mod collected;
mod complete;
mod completion;
mod configuration;
mod copies;
mod copy;
mod create;
mod database;
mod earlier;
mod entries;
mod entry;
mod equal;
mod export;
mod fill;
mod first;
mod flip;
mod freeze;
mod glob;
mod guard;
mod held;
mod help;
mod kept;
mod list;
mod manifest;
mod measure;
mod mysql;
mod observe;
mod original;
mod pinning;
mod plan;
mod previous;
mod prometheus;
mod prune;
mod recover;
mod replace;
mod restore;
mod restore_files;
mod retention;
mod reuse;
mod salvage;
mod stage;
mod start;
mod store;
mod suited;
mod suspects;
mod target;
mod text;
mod trust;
mod untouched;
mod verify;
mod whose;
mod wish;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Instant;

use clap::CommandFactory as _;
use jiff::Timestamp;
use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::{Backup, Freeze, Hop, Path};
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::{door, files, signals, threads};
use mm_common::mattermost::handed_on::COMPLETION;
use mm_common::mattermost::site::{self, Installation};
use mm_common::mattermost::way_back::{self, Trial};
use mm_common::mysql::dump;
use mm_common::postgres::proven;
use mm_common::run::{self, Output, Session};

pub use arguments::BackupArguments;

use arguments::{CreateArguments, ListArguments, Verb};
use earlier::{Earlier, Next};
use freeze::Upgrade;
use store::{Point, Store};
use whose::Whose;

/// The command line, for man pages and completions.
pub fn command() -> clap::Command {
    BackupArguments::command()
}

/// Runs the tool.
pub fn main() -> ExitCode {
    run::main("mm-backup", |session, arguments| act(session, &arguments))
}

fn act(session: &mut Session, arguments: &BackupArguments) -> Result<String> {
    session.keep_in(&arguments.store);
    if let Some(flags) = arguments.creating() {
        let started = Instant::now();
        let made = create_point(session, arguments, flags);
        if let (Some(path), false) = (&flags.prometheus, session.dry_run) {
            let backup = if made.is_ok() { session.document.section("backup")? } else { None };
            let run = prometheus::Run {
                backup: backup.as_ref(),
                seconds: started.elapsed().as_secs_f64(),
                now: Timestamp::now(),
            };
            // What watches the backups must not break them.
            if let Err(error) = prometheus::write(path, &run) {
                ui::warn(&error.one_line());
            }
        }
        return made;
    }
    if arguments.create != CreateArguments::default() {
        return Err(Error::usage("flags of `create` do not go with another verb")
            .hint("put the verb first, and its flags behind it"));
    }
    match &arguments.verb {
        Some(Verb::Complete { id }) => complete::complete(session, arguments, id.as_deref()),
        Some(Verb::Verify { id, restore }) => verify_point(session, arguments, id, *restore),
        Some(Verb::Restore(wanted)) => {
            if let Some(id) = &wanted.run {
                return start::back(session, id, wanted, jobs(arguments));
            }
            let point = restore::choose(session, &Store::open(&arguments.store)?, wanted)?;
            trust::require(&point, session.common.accepts(trust::ACCEPT))?;
            start::restore(session, &point, wanted, jobs(arguments))
        }
        Some(Verb::Copy(wanted)) => copy::copy(session, &arguments.store, wanted, jobs(arguments)),
        Some(Verb::Export { id }) => {
            session.output = Output::Streamed;
            let point = Whose::of(session)?.to_read(&Store::open(&arguments.store)?, id)?;
            trust::tell(&point);
            point.require_complete()?;
            export::export(&point)
        }
        Some(Verb::Unpin { id }) => pinning::unpin(session, &Store::open(&arguments.store)?, id),
        Some(Verb::Recover { limit }) => recover::recover(session, limit.duration()),
        Some(Verb::Prune { keep }) => prune::prune(session, arguments, *keep),
        Some(Verb::List(flags)) => list::list(session, arguments, flags),
        Some(Verb::Create(_)) | None => list::list(session, arguments, &ListArguments::default()),
    }
}

fn verify_point(session: &mut Session, arguments: &BackupArguments, id: &str, restore: bool) -> Result<String> {
    let point = Whose::of(session)?.to_read(&Store::open(&arguments.store)?, id)?;
    trust::tell(&point);
    let proof = verify::verify(&point, jobs(arguments), restore)?;
    session.document.set("backup", &section(&point)?)?;
    let said = format!("restore point {} is as it was made: {}", point.head.id, ui::count(&proof["files"], "file"));
    Ok(match proof["restored_tables"].as_u64() {
        Some(tables) => format!("{said}, {} restored and equal", ui::count(tables, "table")),
        None => said,
    })
}

/// The section `backup` for a restore point that is there.
fn section(point: &Point) -> Result<Backup> {
    let head = &point.head;
    Ok(Backup {
        id: head.id.clone(),
        store: files::parent(&point.path)?.into(),
        path: point.path.clone(),
        manifest: point.path.join(manifest::NAME),
        manifest_sha256: manifest::recorded_digest(&point.path)?,
        created: head.created.clone(),
        cold: head.cold,
        bytes: head.totals.bytes,
        files: head.totals.files,
        database: head.database_name().is_some(),
        databases: head.in_cluster(),
        mysql: head.mysql.as_ref().map(|part| part.told(&point.path)),
        left_out: Vec::new(),
        freeze: head.was_frozen().then(|| Freeze {
            copy: head.frozen.as_ref().map(|part| part.copy.copy.clone()),
            original: head.original.as_ref().map(|part| part.database.label()),
            completed: head.database.is_some().then(|| point.path.join(COMPLETION)),
            ..Freeze::default()
        }),
        left_stopped: false,
        seconds: head.totals.seconds,
    })
}

/// Threads to work with.
fn jobs(arguments: &BackupArguments) -> usize {
    arguments.jobs.map_or_else(threads::fitting, usize::from)
}

/// Before the server is stopped for a hop, what rolling that back will need is tried. A restore point of no hop is one all the
/// same, and somebody should know.
fn try_way_back(session: &Session, installation: &Installation, plan: &plan::Plan, lock: &LockGuard) -> Result<()> {
    let path: Option<Path> = session.document.section("path")?;
    let hop = path.and_then(|path| path.next);
    if !plan.stop || !plan.database || (hop.is_none() && !installation.service.is_running()?) {
        return Ok(());
    }
    let claim = database::claim(installation, session.common.accepts(proven::ACCEPT), Some(lock));
    let bump = hop.as_ref().and_then(|hop| hop.needs.postgres.filter(|_| !hop.needs.is_move));
    let findings = Trial { site: installation, claim, bump, release: hop.is_some() }.run();
    way_back::judge(&findings, hop.is_some(), session.common.accepts(way_back::ACCEPT))
}

/// What is wanted of the restore point of this hop. One that takes the database out of MySQL leaves that as it is, which is its
/// way back: where no program can dump it, the point holds what else there is.
fn wished(session: &Session, flags: &CreateArguments, installation: &Installation) -> Result<plan::Wish> {
    let path: Option<Path> = session.document.section("path")?;
    let is_move = path.and_then(|path| path.next).is_some_and(|hop| hop.is_of_database_alone());
    let mut wish = flags.wish();
    if is_move && installation.source.is_none() && !wish.no_database && dump::programs().is_err() {
        ui::warn(
            "the database of MySQL is left out, as neither mariadb-dump nor mysqldump is installed: the move of this hop only reads it",
        );
        wish.no_database = true;
    }
    Ok(wish)
}

/// How this hop comes to another database server, where it does.
fn upgrade_of_hop(session: &Session) -> Result<Option<Upgrade>> {
    let path: Option<Path> = session.document.section("path")?;
    let needs = path.and_then(|path| path.next).map(|hop| hop.needs);
    Ok(needs.and_then(|needs| needs.postgres.map(|major| Upgrade { major, is_move: needs.is_move })))
}

fn create_point(session: &mut Session, arguments: &BackupArguments, flags: &CreateArguments) -> Result<String> {
    if let Some(version) = session.arrived()? {
        return Ok(format!("the way has arrived at {version}: no restore point is needed"));
    }
    suited::refuse_unmounted(&arguments.store)?;
    suited::refuse_of_the_system(&arguments.store)?;
    let wait = session.lock_wait();
    let in_place =
        |hop: Hop| format!("{} is installed already: the restore point of this hop is that of before", hop.to);
    if session.dry_run {
        let installation = session.probe()?;
        if let Some(hop) = session.hop_in_place(&installation)? {
            return Ok(in_place(hop));
        }
        let store = Store { path: arguments.store.clone() };
        let plan = plan::plan(
            &observe::observe(&installation, &store, flags.no_data)?,
            &wished(session, flags, &installation)?,
        )?;
        session.human = Some(list::plan_table(&plan));
        let text = serde_json::to_value(&plan).unwrap_or_default();
        session.document.set("plan", &serde_json::json!({ "mm-backup": text }))?;
        return Ok(format!("would make a restore point in {}", store.path.display()));
    }
    // Whoever held the lock may have changed what there is to see.
    let ground = site::ground(&session.wanted()?)?;
    let lock = ground.state.lock(wait)?;
    // What is half-made is not stored, and its server is not started.
    door::refuse_open(&ground.state, &ground.root, &[])?;
    let installation = session.probe()?;
    if let Some(hop) = session.hop_in_place(&installation)? {
        return Ok(in_place(hop));
    }
    let absent = store::absent(&arguments.store)?;
    let mut shares = true;
    let made = (|| {
        let store = Store::create(&arguments.store)?;
        let plan = plan::plan(
            &observe::observe(&installation, &store, flags.no_data)?,
            &wished(session, flags, &installation)?,
        )?;
        store.refuse_unsafe()?;
        shares = suited::refuse_unsuited(&store, &installation.owner)?;
        try_way_back(session, &installation, &plan, &lock)?;
        let accepts_database = session.common.accepts(proven::ACCEPT);
        let run = pinning::run_of_hop(session)?;
        let upgrade = upgrade_of_hop(session)?;
        let bumps = upgrade.is_some();
        let next = Next { stops: plan.stop, freezes: plan.freeze, bumps, pins_all: flags.pin_all };
        Earlier::of(session, arguments, (&installation, &store))?.settle(next, &lock)?;
        let claim = database::claim(&installation, accepts_database, Some(&lock));
        let ready = || freeze::ready(&installation, &claim, &plan, upgrade, (run.as_deref(), &lock));
        let freezing = plan.freeze.then(ready).transpose()?;
        create::create(
            &create::Order {
                installation: &installation,
                store: &store,
                plan: &plan,
                rehash: flags.rehash,
                jobs: jobs(arguments),
                run: session.document.run()?.map(|run| run.id),
                pinned_for: run,
                pins_all: flags.pin_all,
                accepts_database,
                mysql: plan.mysql.then(|| mysql::Ready::of(&installation)).transpose()?,
                freezing,
            },
            &lock,
        )
    })();
    let (backup, again) = match made {
        Ok(made) => made,
        Err(error) => {
            store::take_away(&absent);
            return Err(installation.after_failure(error, &lock));
        }
    };
    let _kept =
        signals::finishing(format!("the restore point {} is made and kept; this ends in some seconds", backup.id));
    session.changed = true;
    session.document.set("backup", &backup)?;
    if flags.keep.is_given()
        && let Err(error) = Store::open(&arguments.store)
            .and_then(|store| prune::after_create(&store, &installation, flags.keep, &lock))
    {
        // The restore point is there; that old ones could not be removed does not make it less good.
        session.document.set("backup", &Backup { left_stopped: false, ..backup })?;
        return Err(installation.after_failure(error, &lock));
    }
    if let Some(again) = again {
        let attempt = || format!("the restore point {} is made, but the server did not get healthy again", backup.id);
        again.wait(&installation, flags.limit.duration(), &lock).map_err(|error| error.within(attempt()))?;
    }
    if backup.freeze.is_some() && !flags.leave_stopped {
        let store = Store::open(&arguments.store)?;
        Earlier::of(session, arguments, (&installation, &store))?.tidy_or_say(&lock);
    }
    session.human = Some(if std::io::stdout().is_terminal() {
        list::made_table(&backup)
    } else {
        list::made_line(&backup, &Store::open(&arguments.store)?, shares)
    });
    Ok(format!("restore point {} made in {:.1} s: {}", backup.id, backup.seconds, backup.path.display()))
}
