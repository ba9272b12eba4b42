//! One move out of MySQL or `MariaDB`, and its check, which is the move up to the moment at which the server would be stopped.

use std::collections::BTreeMap;
use std::time::Instant;

use mm_common::contract::time;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::{checkpoint, signals, threads};
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::Moved;
use mm_common::postgres::fingerprint;
use mm_common::postgres::properties::Properties;
use mm_common::postgres::server::Database;
use mm_common::postgres::tried::Abilities;
use mm_common::run::Session;
use mm_common::{Error, Kind, Result};

use super::look::{self, Question};
use super::shape::Shapes;
use super::source::Source;
use super::{examine, extra, schema, unit};
use crate::moving::record::{Entry, Phase, Private, Records};
use crate::moving::roles::RoleMap;
use crate::moving::target::{self, Target};
use crate::moving::{back, command, emptied, fill, look as looking, run as moving};
use crate::preflight::{Findings, List};
use crate::{Options, check as checking, wish};

/// What lets a move go on although somebody else is connected as the server is.
const NODES: &str = "move-nodes";

/// What removes what could not be removed from the target at once.
fn clears(installation: &Installation) -> String {
    let recover = command("recover", &installation.root, installation.state.path());
    format!("when the target can be reached again, to clear it: {recover}")
}

/// A move that is written down: what follows can be taken back.
pub(super) struct Begun {
    pub source: Source,
    target: Target,
    pub entry: Entry,
    private: Private,
    findings: Findings,
    /// `--with-extra-tables`.
    with_extra: bool,
    /// Sessions at once.
    pub jobs: usize,
    /// Where pieces of large tables begin.
    pub marks: BTreeMap<String, Vec<String>>,
}

fn obstacle(target: &Target) -> Result<String> {
    Ok(format!("the database cannot be moved to {}", target.place()?.label()))
}

/// Looks at both sides, as far as that needs nothing in the target.
fn look(session: &mut Session, options: &Options, installation: &Installation) -> Result<(Source, Target, Findings)> {
    if options.require_backup.is_some() {
        return Err(Error::refused("no restore point brings a database of MySQL back")
            .hint("without --require-backup: the database is only read, and is a way back of its own"));
    }
    if options.from_store.is_some() {
        return Err(Error::refused("--from-store carries a database of PostgreSQL, and the server works with MySQL")
            .hint("without --from-store the database of MySQL is moved; where the restore point is of a server on PostgreSQL, restore its files first: mm-backup restore ID --files"));
    }
    let mut source = Source::reach(installation)?;
    let target = Target::reach(moving::named(options, installation)?, &installation.owner)?;
    let needed = looking::needed(session, options)?;
    let question = Question {
        installation,
        target: &target,
        needed,
        replace: options.replace,
        changes_unit: options.unit,
        with_extra: options.with_extra_tables,
    };
    let mut findings = look::all(&question, &mut source);
    look::accept(&mut findings, &session.common.accept);
    Ok((source, target, findings))
}

fn begin(
    session: &mut Session,
    options: &Options,
    installation: &Installation,
    (records, run): (&Records, &str),
    lock: &LockGuard,
) -> Result<Begun> {
    let (source, target, findings) = look(session, options, installation)?;
    checking::set(session, &findings)?;
    session.human = Some(checking::table(&findings));
    if let Some(refusal) = findings.refusal(&obstacle(&target)?) {
        return Err(refusal);
    }
    let has_something = target.own.as_ref().map(target::contents).transpose()?.is_some_and(|found| !found.is_empty());
    let replaced = (options.replace && has_something).then(|| moving::beside(target.name()));
    let filled = target.own.as_ref().filter(|_| replaced.is_none());
    let before = filled.map(emptied::before_schema).transpose()?;
    let entry = Entry {
        moved: Moved {
            run: run.to_owned(),
            started: time::now(),
            from: source.place(),
            to: target.place()?,
            proven: false,
        },
        hop: wish::hop_of(session)?,
        phase: Phase::Filling,
        makes_database: target.own.is_none() || replaced.is_some(),
        makes_role: !target.has_role,
        made: None,
        replaced,
        before,
        release: installation.version.clone(),
        roles: RoleMap {
            from: source.address.user.clone(),
            to: target.role().to_owned(),
            there: std::iter::empty().collect(),
        },
        used: vec![source.address.user.clone()],
        restore_point: None,
        loaded_from: None,
        hashed: fingerprint::Method::of_rows(target.front.major()),
        could: Abilities { reads: true, creates: true },
        left_behind: Vec::new(),
        repairs: Some(format!("mysql-repairs-{}.jsonl", time::stamp())),
    };
    looking::require_free(&entry, &target)?;
    let private = Private {
        from: installation.config.data_source()?.0.reveal().to_owned(),
        to: target.named.text.reveal().to_owned(),
        administrator: target.named.administrator.as_ref().map(|text| text.reveal().to_owned()),
        is_of_mysql: true,
        changes: Vec::new(),
        units: if options.unit { unit::files(installation, &target)? } else { Vec::new() },
    };
    // What is empty now holds nothing of an earlier move.
    records.forget_leftovers(|left| left.moved.to.is_at(&entry.moved.to), lock)?;
    records.keep_private(&private, lock)?;
    records.journal.write(&entry, lock)?;
    signals::leads_to(back::in_words(&entry));
    checkpoint::pass("move-intent");
    let jobs = options.jobs.and_then(|jobs| usize::try_from(jobs).ok()).unwrap_or_else(threads::fitting).max(1);
    let with_extra = options.with_extra_tables;
    Ok(Begun { source, target, entry, private, findings, with_extra, jobs, marks: BTreeMap::new() })
}

impl Begun {
    /// Lets the release make its tables in the target, and looks at every row that is to go there.
    fn examine(
        &mut self,
        session: &Session,
        installation: &Installation,
        (records, lock): (&Records, &LockGuard),
    ) -> Result<(Database, Shapes)> {
        let like = like(&self.target)?;
        let own = fill::ground(&mut self.entry, &like, &mut self.target, (records, lock))?;
        schema::make(installation, &self.target.named)?;
        checkpoint::pass("move-schema-made");
        let tables = self.source.tables()?;
        let mut shapes = Shapes::of(&tables, &own)?;
        if self.with_extra {
            extra::add(&mut shapes, &tables, &own)?;
        }
        let mut list = List::default();
        look::shapes(&shapes, &mut list);
        if shapes.misfits.is_empty() {
            let examined = examine::all(&mut self.source, &shapes)?;
            examined.checks(&mut list);
            self.marks = examined.marks;
        }
        let mut findings = Findings { checks: list.checks, clone_works: false };
        look::accept(&mut findings, &session.common.accept);
        self.findings.checks.extend(findings.checks);
        self.entry.left_behind.extend(shapes.extra.iter().map(|table| format!("the table {table} stays in MySQL")));
        checkpoint::pass("move-examined");
        Ok((own, shapes))
    }
}

/// What a database is to be like that we make.
fn like(target: &Target) -> Result<Properties> {
    let rows = target.front.rows(
        "SELECT datcollate AS collate, datctype AS ctype FROM pg_catalog.pg_database WHERE datname = 'template0'",
    )?;
    let text = |key: &str| rows.first().and_then(|row| row[key].as_str()).unwrap_or("C").to_owned();
    Ok(Properties {
        owner: target.role().to_owned(),
        encoding: "UTF8".into(),
        collate: text("collate"),
        ctype: text("ctype"),
        ..Properties::default()
    })
}

/// Moves the database.
///
/// # Errors
/// Refused when something stands in the way; rolled back when it fails after that.
pub(crate) fn act(
    session: &mut Session,
    options: &Options,
    installation: &mut Installation,
    (records, run): (&Records, &str),
    lock: &LockGuard,
) -> Result<String> {
    let clock = Instant::now();
    let mut begun = begin(session, options, installation, (records, run), lock)?;
    let accepts = (session.common.accepts(examine::NUL), session.common.accepts(NODES));
    let examined = begun.examine(session, installation, (records, lock)).and_then(|(own, shapes)| {
        looking::judge(&begun.findings, &obstacle(&begun.target)?)?;
        Ok((own, shapes))
    });
    checking::set(session, &begun.findings)?;
    let (own, shapes) = match examined {
        Ok(examined) => examined,
        Err(error) => return Err(taken_back(error, &begun.entry, installation, records, lock)),
    };
    records.journal.write(&begun.entry, lock)?;
    let carried = begun.carry(installation, (&own, &shapes), (records, lock), accepts).and_then(|()| {
        let label = begun.entry.moved.to.label();
        let proven =
            signals::finishing(format!("{label} is proven; pointing the server at it is finished, within a minute"));
        moving::point_at_target(&mut begun.entry, &mut begun.private, installation, records, lock).map(|()| proven)
    });
    let _proven = match carried {
        Ok(proven) => proven,
        Err(error) => return Err(back::taken_back(error, &begun.entry, installation, records, lock)),
    };
    session.changed = true;
    moving::close(&mut begun.entry, records, lock)?;
    moving::report(session, &begun.entry, records, clock, &[])
}

/// As [`back::taken_back`], before the server was stopped: a refusal stays one.
fn taken_back(
    error: Error,
    entry: &Entry,
    installation: &mut Installation,
    records: &Records,
    lock: &LockGuard,
) -> Error {
    if error.kind() != Kind::Refused {
        return back::taken_back(error, entry, installation, records, lock);
    }
    match back::undo(entry, installation, records, lock) {
        Ok(None) => error,
        Ok(Some(left)) => error
            .because(format!("what was filled at the target is still there: {}", left.one_line()))
            .hint(clears(installation)),
        Err(undoing) => undoing.because(format!("this was to be done because {}", error.one_line())),
    }
}

/// `mm-pgbump check --target FILE`: the move up to the moment at which the server would be stopped, taken back.
///
/// # Errors
/// Kind `check-says-no` (exit 4) when something stands in the way.
pub(crate) fn check(session: &mut Session, options: &Options, installation: &Installation) -> Result<String> {
    let says_no = |error: Error| if error.kind() == Kind::Refused { error.of_kind(Kind::CheckSaysNo) } else { error };
    if session.dry_run {
        return dry_run(session, options, installation);
    }
    let lock = installation.state.lock(session.lock_wait())?;
    // Whoever held the lock may have changed what there is to see.
    session.refuse_open(&[]).map_err(says_no)?;
    let mut installation = session.probe()?;
    let records = Records::at(installation.state.path());
    records.sweep()?;
    let mut begun = begin(session, options, &installation, (&records, ""), &lock).map_err(says_no)?;
    let examined = begun.examine(session, &installation, (&records, &lock));
    let left = back::undo(&begun.entry, &mut installation, &records, &lock)?;
    examined?;
    if let Some(left) = left {
        return Err(left
            .within("what was filled at the target for the check is still there")
            .with_hint(clears(&installation)));
    }
    checking::set(session, &begun.findings)?;
    session.human = Some(checking::table(&begun.findings));
    match begun.findings.refusal(&obstacle(&begun.target)?) {
        Some(refusal) => Err(says_no(refusal)),
        None => Ok(format!("the database can be moved to {}", begun.entry.moved.to.label())),
    }
}

/// What `move` would do; the rows are not looked at, as that needs the tables of the release in the target.
pub(crate) fn dry_run(session: &mut Session, options: &Options, installation: &Installation) -> Result<String> {
    let (_, target, findings) = look(session, options, installation)?;
    checking::set(session, &findings)?;
    if let Some(refusal) = findings.refusal(&obstacle(&target)?) {
        return Err(refusal);
    }
    let steps = [
        "start the release once on the target, cut off from everybody, so that it makes its tables, and end it",
        "look at every row for what PostgreSQL cannot hold",
        "stop the service",
        "carry every row out of MySQL, read it again from the target and compare",
        "exchange driver and data source wherever the server reads them from",
        if options.leave_stopped { "leave the service stopped" } else { "start the service again" },
    ];
    session.human = Some(steps.map(|step| format!("would {step}")).join("\n") + "\n");
    Ok(format!("would move the database to {}", target.place()?.label()))
}

/// Whether the server gets into its old database again.
///
/// # Errors
/// When it does not.
pub(crate) fn reaches(installation: &Installation) -> Result<()> {
    Source::reach(installation)?.bytes().map(drop)
}
