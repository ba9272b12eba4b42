//! A restore as it was worked out from what was looked at: what `--dry-run` tells is what a run carries out.

use std::path::Path;

use mm_common::contract::ui;
use mm_common::mattermost::way_back::original::Original;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;

use crate::manifest::DatabasePart;
use crate::replace::Ready;
use crate::restore_files::{Planned, Selection};
use crate::store::Point;

/// A restore into place.
pub(crate) struct InPlace<'a> {
    /// The restore point.
    pub(crate) point: &'a Point,
    /// The restore point whose restore was cut off, which is ended first.
    pub(crate) first: Option<String>,
    /// Whether the server is stopped.
    pub(crate) stop: bool,
    /// The files that are exchanged.
    pub(crate) files: Option<Planned>,
    /// What becomes of the database.
    pub(crate) database: InPlaceOf<'a>,
    /// The data source that the server will have, where a restored configuration gives it another role or password.
    pub(crate) login: Option<DataSource>,
    /// Whether the server is started afterwards.
    pub(crate) start: bool,
}

/// What becomes of the server's database.
pub(crate) enum InPlaceOf<'a> {
    /// It stays.
    Nothing,
    /// It is exchanged.
    This(Box<Ready<'a>>),
    /// It is exchanged for the one that the hop has left, which has to be stored first.
    Unstored(&'a Original),
    /// Where it is the restored configuration has to say.
    Configured,
}

impl InPlace<'_> {
    /// What is done, in order, each after "would".
    pub(crate) fn steps(&self) -> Vec<String> {
        let head = &self.point.head;
        let mut steps = Vec::new();
        if let Some(id) = &self.first {
            steps.push(format!("first finish or undo the restore of {id} that was cut off"));
        }
        if let InPlaceOf::Unstored(original) = &self.database {
            steps.push(format!("first store its database, which is {}", original.in_words()));
        }
        if self.stop {
            steps.push("stop the server".into());
        }
        if let Some(files) = &self.files {
            steps.push(format!("exchange {} at {}", ui::count(files.entries, "entry"), files.names(head)));
        }
        match &self.database {
            InPlaceOf::Nothing => {}
            InPlaceOf::This(ready) => steps.extend(ready.steps()),
            InPlaceOf::Unstored(original) => {
                steps.push(format!("exchange the database {} for that", original.place.database));
            }
            InPlaceOf::Configured => steps.push("exchange the database that the restored configuration names".into()),
        }
        if self.start {
            steps.push("start the server again".into());
        }
        steps
    }
}

/// A restore that exchanges nothing.
pub(crate) struct Elsewhere<'a> {
    /// The files that are put below a directory.
    pub(crate) files: Option<Below<'a>>,
    /// The database that is filled, and with what.
    pub(crate) database: Option<(Database, &'a DatabasePart)>,
}

/// Files that are put below a directory.
pub(crate) struct Below<'a> {
    /// The directory.
    pub(crate) directory: &'a Path,
    /// Which files.
    pub(crate) selection: &'a Selection,
    /// How many entries there are.
    pub(crate) entries: u64,
}

impl Elsewhere<'_> {
    /// What is done, in order, each after "would".
    pub(crate) fn steps(&self) -> Vec<String> {
        let files = self
            .files
            .as_ref()
            .map(|below| format!("put {} below {}", ui::count(below.entries, "entry"), below.directory.display()));
        let database = self.database.as_ref().map(|(database, part)| {
            format!("fill the database {} with {}", database.name, ui::count(part.tables.len(), "table"))
        });
        files.into_iter().chain(database).collect()
    }
}
