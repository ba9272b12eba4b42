//! `restore --dry-run`: what a restore would do, by the same looks that a restore begins with, and with nothing touched.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::proven;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::run::Session;

use crate::arguments::RestoreArguments;
use crate::complete;
use crate::configuration;
use crate::fill::SUPERUSER_OBJECTS;
use crate::manifest::Unstored;
use crate::replace::Way;
use crate::restore_files::Selection;
use crate::store::Point;
use crate::target;
use crate::wish::Wish;
use crate::{database, flip, replace, restore_files};

/// Says what would be done.
///
/// # Errors
/// Those that a restore ends with before it changes anything.
pub(crate) fn foresee(session: &mut Session, point: &Point, wanted: &RestoreArguments, wish: &Wish) -> Result<String> {
    point.proven_manifest()?;
    let elsewhere = wanted.into.is_some() || wanted.into_database.is_some();
    let plan = if elsewhere { beside(point, wanted, wish)? } else { into_place(session, point, wanted, wish)? };
    let human = plan.iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "would {line}");
        text
    });
    session.human = Some(human);
    Ok(format!("would restore {} of {}: {}", wish.in_words(), point.head.id, plan.join(", ")))
}

fn beside(point: &Point, wanted: &RestoreArguments, wish: &Wish) -> Result<Vec<String>> {
    point.require_complete()?;
    let mut plan = Vec::new();
    if let (Some(directory), Some(selection)) = (&wanted.into, &wish.files) {
        restore_files::refuse_taken(point, selection, directory)?;
        let entries = restore_files::require_space(point, selection, &[nearest(directory)])?;
        plan.push(format!("put {} below {}", ui::count(entries, "entry"), directory.display()));
    }
    let head = &point.head;
    let part = if wish.configuration { &head.config_database } else { &head.database };
    if let (Some(url), Some(part)) = (&wanted.into_database, part) {
        let database = Database::connect(&DataSource::parse(url)?, None)?;
        target::refuse_filled(&database)?;
        plan.push(format!("fill the database {} with {}", database.name, ui::count(part.tables.len(), "table")));
    }
    Ok(plan)
}

/// The directory that is there already of a path that is to be made.
fn nearest(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|above| above.is_dir());
    there.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn into_place(session: &mut Session, point: &Point, wanted: &RestoreArguments, wish: &Wish) -> Result<Vec<String>> {
    let install = target::own_root(session, point)?;
    let state = session.state(&install);
    let mut plan = Vec::new();
    if let Some(open) = flip::interrupted(&state)? {
        plan.push(format!("first finish or undo the restore of {} that was cut off", open.id));
    }
    target::refuse_foreign_journals(&state, &install, wish)?;
    session.common.install.get_or_insert_with(|| install.clone());
    let there = target::observe(session, point, wish, &install)?;
    let running = target::refuse_running(there.as_ref().map(|there| &there.service), &install, wanted)?;
    let entries = wish.files.as_ref().map(|selection| restore_files::foresee(point, selection)).transpose()?;
    let tables = match (&there, wish.database, point.head.incomplete()) {
        (Some(_), true, Some(Unstored::Original(part))) => {
            plan.push(format!("first store its database, which is {}", part.database.in_words()));
            Some(format!("exchange the database {} for that", part.database.place.database))
        }
        (Some(there), true, _) => Some(tables(session, point, wish, there)?),
        _ => None,
    };
    if running {
        plan.push("stop the server".into());
    }
    if let (Some(entries), Some(selection)) = (entries, &wish.files) {
        plan.push(format!("exchange {} at {}", ui::count(entries, "entry"), named(selection, point)));
    }
    match tables {
        Some(line) => plan.push(line),
        None if wish.database => plan.push("exchange the database that the restored configuration names".into()),
        None => {}
    }
    if running && !wanted.leave_stopped {
        plan.push("start the server again".into());
    }
    Ok(plan)
}

fn tables(session: &Session, point: &Point, wish: &Wish, there: &Installation) -> Result<String> {
    let stored = |path: &Path| {
        let is_restored = wish.files.as_ref().is_some_and(|selection| selection.has(path));
        is_restored.then(|| point.path.join("files").join(path.strip_prefix("/").unwrap_or(path)))
    };
    let login = configuration::login(&point.head, &stored, there)?;
    let how = Way {
        claim: database::claim(there, session.common.accepts(proven::ACCEPT), None),
        accepts_superuser_objects: session.common.accepts(SUPERUSER_OBJECTS),
        accepts_changes: session.common.accepts(complete::ACCEPT),
        stamp: "",
        jobs: 1,
        login: login.as_ref(),
    };
    let (name, what) = replace::foresee(point, there, &how)?;
    Ok(format!("exchange the database {name} for {what}"))
}

fn named(selection: &Selection, point: &Point) -> String {
    let tops: Vec<String> = selection.tops(&point.head).iter().map(|top| top.display().to_string()).collect();
    tops.join(" ")
}
