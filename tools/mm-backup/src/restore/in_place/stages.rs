//! The stages of a restore into place, each a type that only the one before leads to: staged beside what is there, prepared,
//! flipped, named, concluded. A stage that fails takes back what those before it have made.

use std::path::Path;

use mm_common::contract::error::{Kind, Result};
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::{FAILED_STOP, STOP_LIMIT};
use mm_common::machine::state::State;
use mm_common::machine::{checkpoint, door, signals, tree};
use mm_common::mattermost::site::Installation;
use mm_common::postgres::source::DataSource;
use mm_common::run::Session;

use super::super::plan::{InPlace, InPlaceOf};
use super::super::ready::{self, Terms};
use crate::flip::{self, Intent};
use crate::kept::Kept;
use crate::replace::{self, Exchanged, Prepared, Ready, login};
use crate::restore_files::{self, Placed, Planned};
use crate::salvage::LeftOut;
use crate::store::Point;
use crate::wish::Wish;
use crate::{configuration, kept};

/// What all stages work with.
pub(super) struct Work<'a> {
    pub(super) point: &'a Point,
    pub(super) wish: &'a Wish,
    pub(super) terms: Terms,
    /// When it began.
    pub(super) stamp: String,
    /// Whether damaged files are left out.
    pub(super) leaves_out: bool,
    pub(super) state: &'a State,
    pub(super) installation: Option<&'a Installation>,
    pub(super) lock: &'a LockGuard,
}

/// The files stand beside their places.
struct Staged {
    /// What the journal says so far.
    intent: Intent,
    placed: Option<Placed>,
}

/// The database stands beside that of the server, too, and the staged configuration leads to it.
struct Readied {
    staged: Staged,
    database: Option<Prepared>,
    /// What was changed in the configuration.
    led: Option<String>,
}

/// The files are in their places.
struct Flipped {
    staged: Staged,
    database: Option<Prepared>,
    led: Option<String>,
}

/// The database has its name, too: nothing is taken back from here on.
struct Named {
    staged: Staged,
    database: Option<Exchanged>,
    led: Option<String>,
}

impl Work<'_> {
    /// Carries out what is planned. Returns what was done, and which files were left out.
    ///
    /// # Errors
    /// With anything but half done the machine is as before, but for a server that was stopped.
    pub(super) fn carry_out(&self, session: &mut Session, plan: InPlace<'_>) -> Result<(String, Vec<LeftOut>)> {
        let InPlace { files, database, login, stop, .. } = plan;
        let awaits_configuration = matches!(database, InPlaceOf::Configured);
        let ready = match database {
            InPlaceOf::This(ready) => Some(*ready),
            InPlaceOf::Unstored(_) => {
                self.point.require_complete()?;
                None
            }
            InPlaceOf::Nothing | InPlaceOf::Configured => None,
        };
        // Everything that takes time is done beside what is there, while the server may still run.
        let staged = self.stage(files.as_ref())?;
        let readied = self.prepare(staged, ready, login.as_ref())?;
        let flipped = self.flip(readied, stop)?;
        let named = self.name(session, flipped, awaits_configuration)?;
        self.conclude(named)
    }

    fn stage(&self, files: Option<&Planned>) -> Result<Staged> {
        let mut intent = Intent::of(self.point, self.wish);
        let mut announce = |stage: &Path| {
            intent.stages.push(stage.to_owned().into());
            flip::announce(self.state, &intent, self.lock)
        };
        let stage = |files| restore_files::stage(self.point, files, &self.stamp, self.leaves_out, &mut announce);
        let placed = files.map(stage).transpose().inspect_err(|_| self.forget())?;
        checkpoint::pass("restore-staged");
        Ok(Staged { intent, placed })
    }

    fn prepare(&self, staged: Staged, ready: Option<Ready<'_>>, login: Option<&DataSource>) -> Result<Readied> {
        let Some(installation) = self.installation else {
            checkpoint::pass("restore-prepared");
            return Ok(Readied { staged, database: None, led: None });
        };
        if let (Some(login), None) = (login, &ready) {
            login::warn_shut_out(login, installation);
        }
        let prepared = ready.map(|ready| self.prepare_database(ready, installation, login)).transpose();
        let led = prepared.and_then(|database| {
            match configuration::lead(self.point, staged.placed.as_ref(), database.as_ref(), installation, self.lock) {
                Ok(led) => Ok((database, led)),
                Err(error) => {
                    database.iter().for_each(Prepared::give_up);
                    Err(error)
                }
            }
        });
        let (database, led) = led.inspect_err(|_| self.give_up(&staged))?;
        checkpoint::pass("restore-prepared");
        Ok(Readied { staged, database, led })
    }

    fn prepare_database(
        &self,
        ready: Ready<'_>,
        installation: &Installation,
        login: Option<&DataSource>,
    ) -> Result<Prepared> {
        ready.tell();
        replace::prepare(
            self.point,
            ready,
            installation,
            &self.terms.way(installation, login, &self.stamp, Some(self.lock)),
        )
    }

    fn flip(&self, readied: Readied, stop: bool) -> Result<Flipped> {
        let Readied { mut staged, mut database, led } = readied;
        let flipped = (|| {
            let renaming = database.as_mut().map(Prepared::renaming).transpose()?;
            self.installation.filter(|_| stop).map_or(Ok(()), |there| self.stop(there))?;
            if let Some(placed) = &staged.placed {
                staged.intent = placed.intent(staged.intent.clone(), self.point, self.wish.database, self.lock)?;
            }
            staged.intent.database = renaming;
            flip::flip(self.state, &staged.intent, self.lock)
        })();
        match flipped {
            Ok(()) => Ok(Flipped { staged, database, led }),
            Err(error) => {
                if error.kind() != Kind::HalfDone {
                    self.give_up(&staged);
                }
                database.iter().for_each(Prepared::give_up);
                Err(error)
            }
        }
    }

    /// A server that mm-swap goes back from may hang, and has been judged.
    fn stop(&self, installation: &Installation) -> Result<()> {
        if door::is_undoing_swap(self.state) {
            installation.service.stop_or_kill(FAILED_STOP, self.lock)?;
        } else {
            installation.service.stop(STOP_LIMIT, self.lock)?;
        }
        checkpoint::pass("service-stopped");
        Ok(())
    }

    fn name(&self, session: &mut Session, flipped: Flipped, awaits_configuration: bool) -> Result<Named> {
        let Flipped { mut staged, database, led } = flipped;
        let proven = match database {
            // The configuration that names the database is there only now.
            None if awaits_configuration => self.find_and_prepare(session).map(Some),
            Some(prepared) if staged.placed.is_some() => self.prove(prepared).map(Some),
            // Where no files were restored, the configuration is that of before.
            database => Ok(database),
        };
        let exchanged = proven
            .and_then(|database| database.map(|prepared| self.exchange(prepared, &mut staged.intent)).transpose());
        match exchanged {
            Ok(database) => {
                checkpoint::pass("restore-exchanged");
                Ok(Named { staged, database, led })
            }
            Err(error) if error.kind() == Kind::HalfDone => {
                Err(error.with_hint("fix the cause, then run the same restore again: it finishes this one first"))
            }
            Err(error) => {
                let error = flip::take_back(self.state, &staged.intent, error, self.lock);
                if error.kind() != Kind::HalfDone {
                    remove_stages(staged.placed.as_ref());
                }
                Err(error)
            }
        }
    }

    fn find_and_prepare(&self, session: &mut Session) -> Result<Prepared> {
        let there = session.probe().map_err(|error| configuration::lost(self.point, error))?;
        let ready = ready::database_of(self.point, &there, None, self.terms, Some(self.lock))?;
        self.prepare_database(ready, &there, None)
    }

    /// The restored configuration leads to the restored database.
    fn prove(&self, prepared: Prepared) -> Result<Prepared> {
        match self.installation.map(|there| configuration::prove(there, &prepared)).transpose() {
            Ok(_) => Ok(prepared),
            Err(error) => {
                prepared.give_up();
                Err(error)
            }
        }
    }

    /// Gives the restored database its name, as the journal says beforehand.
    fn exchange(&self, mut prepared: Prepared, intent: &mut Intent) -> Result<Exchanged> {
        let announced = match intent.database.clone() {
            Some(renaming) => Ok(renaming),
            None => prepared.renaming().and_then(|renaming| {
                intent.database = Some(renaming.clone());
                flip::announce(self.state, intent, self.lock).map(|()| renaming)
            }),
        };
        let renaming = announced.inspect_err(|_| prepared.give_up())?;
        prepared.exchange(&renaming)
    }

    fn conclude(&self, named: Named) -> Result<(String, Vec<LeftOut>)> {
        let Named { staged: Staged { intent, placed }, database, led } = named;
        let _done = signals::finishing(format!("{} is restored; this ends in some seconds", self.point.head.id));
        let mut done = Vec::new();
        let mut record = Kept { id: self.point.head.id.clone(), stamp: self.stamp.clone(), ..Kept::default() };
        if let Some(placed) = &placed {
            record.directories = placed.stages();
            done.push(ui::count(placed.entries, "entry"));
        }
        if let Some(database) = database {
            done.push(database.said);
            record.databases.extend(database.kept);
        }
        kept::write(self.state, &record, self.lock)
            .and_then(|()| flip::conclude(self.state, &intent, self.lock))
            .map_err(|error| flip::unrecorded(self.state, error))?;
        configuration::tell(self.point, self.wish.files.is_some());
        done.extend(led);
        let kept = record.in_words();
        if !kept.is_empty() {
            done.push(format!("what was there before is kept until prune: {kept}"));
        }
        Ok((done.join(", "), placed.map(|placed| placed.left_out).unwrap_or_default()))
    }

    /// Nothing has been exchanged: what was staged goes away.
    fn give_up(&self, staged: &Staged) {
        remove_stages(staged.placed.as_ref());
        self.forget();
    }

    /// Nothing is begun any more. Where the journal cannot be removed, the next run does what it says: nothing.
    fn forget(&self) {
        if let Err(error) = flip::settle(self.state, self.lock) {
            ui::warn(&error.one_line());
        }
    }
}

/// Removes what was staged; a later run would, too.
fn remove_stages(placed: Option<&Placed>) {
    for stage in placed.iter().flat_map(|placed| placed.stages()) {
        if let Err(error) = tree::remove_without_links(&stage) {
            ui::warn(&error.one_line());
        }
    }
}
