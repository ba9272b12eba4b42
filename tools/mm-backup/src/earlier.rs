//! What becomes of earlier frozen restore points: before a new one is made they are completed, and when a newer one is there and
//! its hop is over, those that nobody needs any more go. So at most two copies stay, that of the run's first restore point and
//! the newest; while the newest is made, the one of the hop before is there too.

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::pins::{self, Why};
use mm_common::mattermost::site::{Installation, private};
use mm_common::postgres::proven;
use mm_common::run::Session;

use crate::arguments::BackupArguments;
use crate::complete::{self, Work};
use crate::copies::{self, Going};
use crate::store::{Point, Store};
use crate::{database, pinning};

/// The earlier restore points of an installation.
pub(crate) struct Earlier<'a> {
    /// The installation.
    pub installation: &'a Installation,
    /// The store.
    pub store: &'a Store,
    /// The upgrade run.
    pub run: Option<String>,
    /// `--accept database`.
    pub accepts_database: bool,
    /// `--jobs`.
    pub jobs: usize,
}

/// How the next restore point is made.
#[derive(Clone, Copy)]
pub(crate) struct Next {
    /// `--stop`.
    pub stops: bool,
    /// `--freeze`.
    pub freezes: bool,
    /// The hop upgrades PostgreSQL.
    pub bumps: bool,
    /// `--pin-all`.
    pub pins_all: bool,
}

impl<'a> Earlier<'a> {
    /// Those of the installation, as this run sees them.
    pub(crate) fn of(
        session: &Session,
        arguments: &BackupArguments,
        (installation, store): (&'a Installation, &'a Store),
    ) -> Result<Self> {
        Ok(Self {
            installation,
            store,
            run: pinning::run_of_hop(session)?,
            accepts_database: session.common.accepts(proven::ACCEPT),
            jobs: crate::jobs(arguments),
        })
    }

    /// Completes earlier frozen restore points, and removes superfluous copies, before the server is stopped.
    ///
    /// # Errors
    /// When a copy would have to go whose restore point cannot be completed. A restore point that freezes nothing is made all
    /// the same, and it is said.
    pub(crate) fn settle(&self, next: Next, lock: &LockGuard) -> Result<()> {
        let public = private::noted(&self.installation.state)?.is_none();
        let gives_up_copies = next.stops && (next.freezes || next.bumps);
        for point in complete::of_installation(self.store, &self.installation.root)? {
            let work = self.work();
            let completed = match work.has_source(&point, lock) {
                // Its database is in use again, or somebody has dropped the copy.
                Ok(false) => continue,
                Ok(true) if public || next.pins_all || next.bumps => work.complete(&point, lock).map(|()| true),
                Ok(true) => Ok(false),
                Err(error) => Err(error),
            };
            match completed {
                Ok(true) => ui::say(&format!("completed the restore point {}", point.head.id)),
                Ok(false) => {}
                Err(error) if gives_up_copies && (next.bumps || !self.is_first(&point)?) => {
                    return Err(error.within(format!("the restore point {} cannot be completed", point.head.id)));
                }
                Err(error) => {
                    ui::warn(&format!("the restore point {} is not completed: {}", point.head.id, error.one_line()));
                }
            }
        }
        let tidied = match (next.stops && next.bumps, gives_up_copies) {
            (true, _) => self.sweep(Going::Stored, lock),
            (false, true) => self.tidy(lock),
            (false, false) => self.sweep(Going::Orphans, lock),
        };
        match tidied {
            Err(error) if !gives_up_copies => ui::warn(&error.one_line()),
            tidied => drop(tidied?),
        }
        Ok(())
    }

    /// Removes what the newest restore point there is has taken the place of. It takes a while, so it is for when the server
    /// serves.
    fn tidy(&self, lock: &LockGuard) -> Result<usize> {
        for point in self.superseded(lock)? {
            self.store.remove(&point.head.id)?;
            ui::warn(&format!(
                "the restore point {} of an earlier hop is removed: it was not complete, and a newer one is there (--pin-all keeps it)",
                point.head.id
            ));
        }
        self.sweep(Going::Superseded(self.run.as_deref()), lock)
    }

    /// The same at the end of a run, whose work is done whatever comes of this.
    pub(crate) fn tidy_or_say(&self, lock: &LockGuard) {
        if let Err(error) = self.tidy(lock) {
            ui::warn(&error.one_line());
        }
    }

    /// The restore points of this run that are not complete and that a newer one has taken the place of.
    fn superseded(&self, lock: &LockGuard) -> Result<Vec<Point>> {
        let Some(run) = &self.run else { return Ok(Vec::new()) };
        let mut of_run = self.store.of_installation(&self.installation.root)?;
        of_run.retain(|point| point.head.run.as_ref() == Some(run));
        while let Some(newest) = of_run.pop() {
            // One whose database is gone has taken the place of none.
            if newest.head.database.is_some() || self.work().has_source(&newest, lock)? {
                break;
            }
        }
        let pins = pins::all(&self.store.path)?;
        of_run.retain(|point| {
            let mut pins = pins.iter().filter(|pin| pin.id == point.head.id);
            point.head.incomplete().is_some() && pins.all(|pin| pin.why == Why::Newest)
        });
        Ok(of_run)
    }

    fn sweep(&self, going: Going<'_>, lock: &LockGuard) -> Result<usize> {
        let claim = database::claim(self.installation, self.accepts_database, Some(lock));
        copies::follow(&self.installation.state, self.store, lock)?;
        copies::sweep(self.installation, &claim, going, lock)
    }

    fn work(&self) -> Work<'_> {
        Work {
            installation: self.installation,
            accepts_database: self.accepts_database,
            accepts_changes: false,
            jobs: self.jobs,
        }
    }

    /// Whether it is the first restore point of this run.
    fn is_first(&self, point: &Point) -> Result<bool> {
        let Some(run) = &self.run else { return Ok(false) };
        let pins = pins::all(&self.store.path)?;
        Ok(pins.iter().any(|pin| pin.id == point.head.id && pin.why == Why::First && pin.run == *run))
    }
}
