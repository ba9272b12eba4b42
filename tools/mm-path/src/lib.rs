//! `mm-path`: which way leads from the installed Mattermost release to the wanted one.

mod age;
mod arguments;
mod ceiling;
pub mod check;
mod conclusion;
mod estimate;
mod fold;
mod glibc;
mod human;
mod interrupted;
mod migrations;
mod moves;
mod observe;
mod picture;
pub mod plan;
mod postgres;
mod reason;
mod recorded;
mod remark;
mod rolling;
mod route;
mod support;
mod target;
mod upgrade;
mod verdict;
pub mod wish;

use std::process::ExitCode;

use clap::CommandFactory as _;
use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::{Hop, Note, Path};
use mm_common::contract::{call, shell, terminal, time, ui};
use mm_common::machine::threads;
use mm_common::mattermost::catalogue::{Catalogue, Driver, day};
use mm_common::mattermost::schema;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back;
use mm_common::postgres::server::Database;
use mm_common::run::{self, Output, Session};

pub use arguments::{PathArguments, PathFormat};
pub use postgres::Server;

use arguments::Asked;
use check::host::{self, HostView};
use check::{Outside, Way};
use conclusion::Places;
use plan::{Plan, Start};

/// The command line, for man pages and completions.
pub fn command() -> clap::Command {
    PathArguments::command()
}

/// Runs the tool.
pub fn main() -> ExitCode {
    // What mm-upgrade asks is answered in its name.
    if std::env::args_os().nth(1).is_some_and(|word| word == "--upgrade") {
        return run::main("mm-upgrade", |session, arguments| upgrade::act(session, &arguments));
    }
    run::main("mm-path", |session, arguments| act(session, &arguments))
}

fn act(session: &mut Session, arguments: &PathArguments) -> Result<String> {
    if arguments.catalogue_status {
        let catalogue = Catalogue::load(arguments.catalogue.as_deref(), arguments.common.state_dir.as_deref())?;
        session.output = Output::Text(terminal::for_people(&age::status(&catalogue, day(&time::now()))));
        return Ok(format!("the catalogue is of {}", catalogue.as_of()));
    }
    if arguments.status {
        return recorded::status(session, arguments);
    }
    if arguments.close {
        return recorded::close(session, arguments);
    }
    if arguments.resume
        && let Some(message) = recorded::resume(session, arguments)?
    {
        return Ok(message);
    }
    if arguments.to.is_none() && arguments.from.is_none() && !arguments.check && !session.had_document {
        return verdict(session, arguments);
    }
    fold::refuse_unfit_rehearsal(&session.document)?;
    let recorded: Option<Path> = session.document.section("path")?;
    let earlier = recorded.as_ref().map(|path| path.wish.clone()).unwrap_or_default();
    let mut asked = Asked::of(arguments, &earlier)?;
    // What the document names is not the administrator's word.
    let load = if arguments.catalogue.is_some() { Catalogue::load } else { Catalogue::load_recorded };
    let mut catalogue = load(asked.catalogue.as_deref(), arguments.common.state_dir.as_deref())?;
    assume(&mut catalogue, &asked)?;
    session.ensure_run()?;
    let plan = match observe::on_paper(arguments) {
        Some(mut start) => {
            start.measured.extend(fold::measured(&session.document));
            let mut plan = plan::plan(&catalogue, &start, &asked.wish)?;
            warn_of_support(&mut plan, &catalogue, &start, &asked);
            plan
        }
        None => for_the_installation(session, arguments, &mut asked, &catalogue, recorded.as_ref())?,
    };
    report(session, arguments, &asked, plan)
}

/// Where the installed server stands, when nobody says where it is to go.
fn verdict(session: &mut Session, arguments: &PathArguments) -> Result<String> {
    let catalogue = Catalogue::load(arguments.catalogue.as_deref(), arguments.common.state_dir.as_deref())?;
    let installation = session.probe()?;
    let section = installation.section();
    let (database, outside) = (database(&installation), Outside::of(&installation));
    let mut start =
        observe::installation(&installation, &section, database.as_ref().ok(), arguments.edition, &outside)?;
    let mut way = |to: &str| -> Result<Path> {
        let recorded = serde_json::Map::from_iter([("to".to_owned(), to.into())]);
        Ok(planned(&catalogue, &mut start, &Asked::of(arguments, &recorded)?)?.path)
    };
    let ways = verdict::Ways { latest_esr: way("latest-esr")?, latest: way("latest")? };
    let today = day(&time::now());
    let text = verdict::text(&catalogue, &start, &shell::word(&installation.root), &ways, today);
    session.output = Output::Text(terminal::for_people(&call::prose(&text)));
    Ok(format!("{} is installed; the latest extended support release is {}", start.version, ways.latest_esr.target))
}

/// A release that the catalogue does not know is planned like one of the line that is named, or like the newest before it:
/// rules hold until a new note says otherwise.
fn assume(catalogue: &mut Catalogue, asked: &Asked) -> Result<()> {
    use wish::{Spot, Target};
    let Some(like) = asked.assume_like else {
        return match &asked.wish.to {
            Target::Spot(Spot::Version(version)) if catalogue.release(version).is_none() => {
                age::newest_before(catalogue, version).map_or(Ok(()), |like| catalogue.assume(version, like))
            }
            _ => Ok(()),
        };
    };
    if catalogue.releases_of(like).next().is_none() {
        return Err(Error::refused(format!("the catalogue knows no release of the line {like}"))
            .hint("name a line that the catalogue knows, for example --assume-like 11.7"));
    }
    match &asked.wish.to {
        Target::Spot(Spot::Version(version)) if catalogue.release(version).is_none() => catalogue.assume(version, like),
        _ => Ok(()),
    }
}

fn for_the_installation(
    session: &mut Session,
    arguments: &PathArguments,
    asked: &mut Asked,
    catalogue: &Catalogue,
    recorded: Option<&Path>,
) -> Result<Plan> {
    let came_with_site = session.document.get("site").is_some();
    let installation = session.probe()?;
    let section = match session.document.site()?.filter(|_| !came_with_site) {
        // The probe has just written it.
        Some(section) => section,
        // An earlier hop's is out of date by now; what the run began with is kept by the probe.
        None => installation.section(),
    };
    session.document.set("site", &section)?;
    session.place_run()?;
    let database = database(&installation);
    let (wished, outside) = (asked.wish.edition, Outside::of(&installation));
    let mut start = observe::installation(&installation, &section, database.as_ref().ok(), wished, &outside)?;
    start.measured.extend(fold::measured(&session.document));
    let is_moved = |hop: &Hop| way_back::database_for(hop, &installation).map(|database| database.is_moved);
    if let Some(path) = recorded
        && let fold::Progress::After(hop) =
            fold::progress(&session.document, path, (&start.version, start.edition), is_moved, session.dry_run)?
    {
        fold::finish(&mut session.document, &hop, &time::now())?;
    }
    if session.dry_run {
        imagine(session, &mut start)?;
    }
    if arguments.via.is_empty() {
        asked.wish.forget_behind(&start.version);
    }
    let mut plan = planned(catalogue, &mut start, asked)?;
    warn_of_support(&mut plan, catalogue, &start, asked);
    let carried = check::carried::of_way(&installation.state, &arguments.cache, &plan.path.hops);
    if !carried.is_empty()
        && let Ok(database) = &database
        && let Ok(level) = schema::level(database)
    {
        migrations::weigh(&mut plan.path, catalogue, &start.rows, level.migrations, &carried);
    }
    plan.path.notes.extend(recorded::too_many_open(&installation.state, &installation.root)?);
    plan.path.blockers.splice(0..0, interrupted::blockers(&installation.state, &installation.root)?);
    if let Err(error) = &database
        && start.driver != Some(Driver::Mysql)
    {
        plan.path.notes.push(Note {
            id: "database-unseen".into(),
            severity: "warn".into(),
            title: format!("The database could not be asked: {}", error.one_line()),
            action: error.next_step().unwrap_or_default().into(),
            source: "this host".into(),
        });
    }
    // A database elsewhere is not upgraded by mm-pgbump.
    if let Ok(database) = &database
        && plan.path.hops.iter().any(|hop| hop.needs.postgres.is_some() && !hop.needs.is_move)
    {
        match observe::neighbours(database) {
            Ok(others) => plan.path.notes.extend((!others.is_empty()).then(|| remark::shared_cluster(&others))),
            Err(error) => ui::warn(&format!("who shares the cluster is not known: {}", error.one_line())),
        }
    }
    if arguments.check {
        let store = fold::store(&session.document, arguments.store.as_deref());
        let way = Way {
            catalogue,
            from: &start.version,
            hops: &plan.path.hops.clone(),
            edition: asked.wish.edition.unwrap_or(start.edition),
            before: plan.path.current_edition,
            config: start.config.as_ref(),
            licence: start.licence.as_deref(),
            outside: &outside,
            carried: &carried,
        };
        // The one waits for the database, the other for the disk.
        let host = HostView {
            installation: &installation,
            site: &section,
            database: database.as_ref().ok(),
            way,
            cache: &arguments.cache,
            store: &store,
            used: session.document.get("rehearsal").and_then(|rehearsal| check::Used::of(rehearsal, way.hops)),
            system: std::path::Path::new("/"),
            show_unit: host::show_unit,
        };
        let look_inside = || match &database {
            Ok(database) => check::database::findings(database, way),
            Err(error) => Ok(vec![check::unseen("database", "The database", error)]),
        };
        let (on_host, inside) = threads::both(|| host.findings(), look_inside);
        let mut findings = inside?;
        findings.push(ceiling::finding(catalogue, start.glibc.as_ref(), way.hops));
        findings.extend(on_host);
        check::into_plan(&mut plan.path, findings);
    }
    Ok(plan)
}

/// In a dry run nothing changes on the machine, so the plan goes on from where the document has come to.
fn imagine(session: &Session, start: &mut Start) -> Result<()> {
    if let Some((version, edition, postgres)) = fold::imagined(&session.document)? {
        (start.version, start.edition) = (version, edition);
        match (postgres, &mut start.postgres) {
            (Some(major), Some(server)) => server.major = major,
            (Some(major), none) => {
                start.driver = Some(Driver::Postgres);
                *none = Some(Server { major, available: None, elsewhere: true });
            }
            (None, _) => {}
        }
    }
    Ok(())
}

/// Plans; when no installed PostgreSQL will do, again with those that can be installed. Asking the package sources
/// takes a second, so it is done only then.
fn planned(catalogue: &Catalogue, start: &mut Start, asked: &Asked) -> Result<Plan> {
    let plan = plan::plan(catalogue, start, &asked.wish)?;
    let lacking = plan.path.blockers.iter().any(|blocker| blocker.id == "postgres");
    let Some(available) = start.postgres.as_mut().and_then(|server| server.available.as_mut()).filter(|_| lacking)
    else {
        return Ok(plan);
    };
    available.extend(observe::installable());
    available.sort_unstable();
    available.dedup();
    plan::plan(catalogue, start, &asked.wish)
}

fn warn_of_support(plan: &mut Plan, catalogue: &Catalogue, start: &Start, asked: &Asked) {
    let kind = (asked.wish.edition.unwrap_or(start.edition), start.arch);
    let today = &time::now()[..10];
    plan.path.notes.extend(age::warning(catalogue, &asked.wish.to, &plan.path.target, day(today)));
    plan.path.notes.extend(age::unread(catalogue, &plan.path.target));
    plan.path.notes.extend(age::unknown(catalogue, &start.version));
    plan.path.notes.extend(ceiling::ahead(catalogue, start, &plan.path.target));
    plan.path.notes.extend(support::ended(catalogue, kind, (&start.version, &plan.path.target), today));
    if plan.path.hops.is_empty() && plan.path.blockers.is_empty() {
        plan.path.notes.extend(support::next(catalogue, &start.version, today));
    }
}

fn database(installation: &Installation) -> Result<Database> {
    let database = installation.database();
    if let Err(error) = &database {
        ui::warn(&format!("planning without the database: {}", error.one_line()));
    }
    database
}

/// Puts the plan into the document and says how it stands.
fn report(session: &mut Session, arguments: &PathArguments, asked: &Asked, mut plan: Plan) -> Result<String> {
    plan.path.wish = asked.record();
    let store = fold::store(&session.document, arguments.store.as_deref());
    session.keep_in(&store);
    session.document.set("path", &plan.path)?;
    // As it is told: what there is to do leads to this installation.
    plan.path = session.document.section("path")?.unwrap_or(plan.path);
    let install = session.document.site()?.map(|site| site.install).unwrap_or_default();
    let places = Places { install: &install, store: &store };
    let conclusion = arguments.check.then(|| conclusion::lines(&plan.path, &places));
    session.human = Some(human::table(&plan.path, &session.document, conclusion.as_deref(), arguments.brief));
    if arguments.hops {
        session.output = Output::Text(human::hops(&plan.path));
    } else if arguments.notes {
        session.output = Output::Text(human::notes(&plan.path));
    }
    match arguments.format {
        PathFormat::Dot => session.output = Output::Text(picture::dot(&plan)),
        PathFormat::Mermaid => session.output = Output::Text(picture::mermaid(&plan)),
        PathFormat::Auto | PathFormat::Json | PathFormat::Human => {}
    }
    let path = &plan.path;
    match path.blockers.as_slice() {
        [] => {}
        blockers => {
            let mut error = Error::refused(format!("the path from {} to {} is blocked", path.current, path.target));
            for blocker in blockers {
                error = error.because(&blocker.title);
            }
            return Err(error.hint(blockers[0].action.clone()));
        }
    }
    Ok(match (&path.next, path.hops.len()) {
        (None, _) => format!("{} is installed, which is what is wanted: nothing to do", path.current),
        (Some(hop), 1) if hop.is_of_database_alone() => {
            format!("1 hop: the database of {} moves to PostgreSQL", hop.to)
        }
        (Some(hop), 1) if hop.from == hop.to => format!("1 hop: {} becomes {} edition", hop.to, hop.edition),
        (Some(hop), 1) => format!("1 hop from {} to {}", hop.from, hop.to),
        (Some(hop), hops) => {
            let next = if hop.is_of_database_alone() { "the move of the database".into() } else { hop.to.to_string() };
            format!("{hops} hops from {} to {}; next is {next}", path.current, path.target)
        }
    })
}
