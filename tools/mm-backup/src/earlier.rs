//! What becomes of earlier frozen restore points before a new one is made: they are completed, and the copies that nobody needs
//! any more go. So at most two copies exist: that of the run's first restore point, and the newest.

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::pins::{self, Why};
use mm_common::mattermost::site::{Installation, private};

use crate::complete::{self, Work};
use crate::copies::{self, Going};
use crate::database;
use crate::store::{Point, Store};

/// What is known when a restore point is asked for.
pub(crate) struct Earlier<'a> {
    /// The installation.
    pub installation: &'a Installation,
    /// The store.
    pub store: &'a Store,
    /// `--stop`.
    pub stops: bool,
    /// `--freeze`.
    pub freezes: bool,
    /// The hop upgrades PostgreSQL.
    pub bumps: bool,
    /// The upgrade run.
    pub run: Option<String>,
    /// `--pin-all`.
    pub pins_all: bool,
    /// `--accept database`.
    pub accepts_database: bool,
    /// `--jobs`.
    pub jobs: usize,
}

impl Earlier<'_> {
    /// Completes earlier frozen restore points, and removes superfluous copies, before the server is stopped.
    ///
    /// # Errors
    /// When a copy would have to go whose restore point cannot be completed. A restore point that freezes nothing is made all
    /// the same, and it is said.
    pub(crate) fn settle(&self, lock: &LockGuard) -> Result<()> {
        let public = private::noted(&self.installation.state)?.is_none();
        let gives_up_copies = self.stops && (self.freezes || self.bumps);
        for point in complete::of_installation(self.store, &self.installation.root)? {
            let work = Work {
                installation: self.installation,
                accepts_database: self.accepts_database,
                accepts_changes: false,
                jobs: self.jobs,
            };
            let completed = match work.has_copy(&point, lock) {
                // Its database has gone back to it, or somebody has dropped the copy.
                Ok(false) => continue,
                Ok(true) if public || self.pins_all || self.bumps => work.complete(&point, lock).map(|()| true),
                Ok(true) => Ok(false),
                Err(error) => Err(error),
            };
            match completed {
                Ok(true) => ui::say(&format!("completed the restore point {}", point.head.id)),
                Ok(false) if gives_up_copies && !self.is_first(&point)? => {
                    self.store.remove(&point.head.id)?;
                    ui::warn(&format!(
                        "the restore point {} of the hop before is removed: it was not complete, and its copy makes room for the next one (--pin-all keeps it)",
                        point.head.id
                    ));
                }
                Ok(false) => {}
                Err(error) if gives_up_copies && (self.bumps || !self.is_first(&point)?) => {
                    return Err(error.within(format!("the restore point {} cannot be completed", point.head.id)));
                }
                Err(error) => {
                    ui::warn(&format!("the restore point {} is not completed: {}", point.head.id, error.one_line()));
                }
            }
        }
        let going = match (self.stops && self.bumps, gives_up_copies) {
            (true, _) => Going::Superseded(None),
            (false, true) => Going::Superseded(self.run.as_deref()),
            (false, false) => Going::Orphans,
        };
        let claim = database::claim(self.installation, self.accepts_database, Some(lock));
        match copies::sweep(self.installation, &claim, going, lock) {
            Err(error) if !gives_up_copies => ui::warn(&error.one_line()),
            swept => drop(swept?),
        }
        Ok(())
    }

    /// Whether it is the first restore point of this run.
    fn is_first(&self, point: &Point) -> Result<bool> {
        let Some(run) = &self.run else { return Ok(false) };
        let pins = pins::all(&self.store.path)?;
        Ok(pins.iter().any(|pin| pin.id == point.head.id && pin.why == Why::First && pin.run == *run))
    }
}
