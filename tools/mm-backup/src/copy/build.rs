//! Making a copy, step by step, in a directory that is closed until it is whole.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::{shell, ui};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::State;
use mm_common::machine::{checkpoint, signals};
use mm_common::mattermost::site::Installation;
use serde_json::Value;

use super::database::{self, Databases};
use super::files::{self, Files};
use super::record::Record;
use super::source::{self, Original, Where};
use super::{Copying, Looked, cluster, proof, remove, server, settings};
use crate::fill::SUPERUSER_OBJECTS;

/// Builds the copy, and proves that it reaches nothing but its own; what a failure leaves is removed.
pub(super) fn build(
    copying: &Copying<'_>,
    looked: &Looked,
    state: &State,
    lock: &LockGuard,
) -> Result<(Record, Installation)> {
    let head = &looked.point.head;
    ui::say(&format!("copying restore point {} ({} {}, {})", head.id, head.version, head.edition, head.created));
    let mut record = Record::new(&copying.directory, &head.install, &head.id, &looked.user)?;
    record.is_debian = cluster::is_debian();
    record.major = looked.major;
    record.database_port = cluster::free_port()?;
    record.port = cluster::free_port()?;
    record.with_plugins = copying.wanted.with_plugins;
    // Before anything is made: what a killed run leaves is found by it.
    record.write(state, lock)?;
    let undone = format!(
        "removing the copy in {}, which is half made; the original is not touched",
        copying.directory.display()
    );
    signals::leads_to(&undone);
    checkpoint::pass("copy-recorded");
    match fill(copying, looked, &mut record, state, lock) {
        Ok(there) => Ok((record, there)),
        Err(error) => {
            let _undo = signals::undoing(undone);
            Err(match remove(&record, state, lock) {
                Ok(()) => error,
                Err(other) => error
                    .because(format!("and what was made of the copy is still there: {}", other.one_line()))
                    .with_hint(format!("mm-backup copy --remove {}", shell::word(&copying.directory))),
            })
        }
    }
}

fn fill(
    copying: &Copying<'_>,
    looked: &Looked,
    record: &mut Record,
    state: &State,
    lock: &LockGuard,
) -> Result<Installation> {
    let Looked { point, contents, user, .. } = looked;
    let accepts = |id: &str| copying.session.common.accepts(id);
    let place = record.place();
    let copied = Files { place: &place, contents, user };
    record.made_as = Some(files::make_directory(&record.directory)?);
    record.write(state, lock)?;
    copied.fill(point)?;
    checkpoint::pass("copy-files");
    let text = match source::find(&point.head, contents)? {
        Where::File(path) => copied.read_config(&path)?,
        Where::Database => None,
    };
    let original = |text: &str| -> Result<(Value, Original)> {
        let config = source::read(text, contents)?;
        let original = Original::of(&config, contents);
        original.require_uploads(&point.head, contents, accepts(source::UPLOADS))?;
        Ok((config, original))
    };
    let early = text.as_deref().map(original).transpose()?;
    ui::say(&format!("making a cluster {}/{} on port {}", record.major, record.cluster, record.database_port));
    let cluster = cluster::make(record)?;
    checkpoint::pass("copy-cluster");
    let databases = Databases { point, cluster: &cluster, accepted: accepts(SUPERUSER_OBJECTS), jobs: copying.jobs };
    let access = databases.make(early.as_ref().and_then(|(_, original)| original.role.clone()))?;
    let (mut config, original) = match early {
        Some(early) => early,
        None => original(&databases.configuration(&access)?)?,
    };
    record.avoided = original.ports;
    for plugin in settings::plugins_with_hosts(&config).iter().filter(|_| record.with_plugins) {
        ui::warn(&format!("the settings of the plugin {plugin} name hosts, and it runs in the copy"));
    }
    settings::change(
        &mut config,
        &settings::Own {
            place: &place,
            source: &access.text(),
            listen: &record.listen(),
            with_plugins: record.with_plugins,
        },
    )?;
    let text = serde_json::to_string_pretty(&config)
        .map_err(|error| Error::failed("cannot write the configuration of the copy").because(error))?;
    copied.write_config(&text)?;
    copied.make_named(&settings::directories(&config, &place))?;
    copied.make_uploads(&record.install.join(&original.uploads))?;
    database::invalidate(&access, copying.wanted.keep_sessions)?;
    checkpoint::pass("copy-configured");
    copied.open()?;
    let there = server::prove(record, accepts(proof::ACCEPT))?;
    record.complete = true;
    record.write(state, lock)?;
    checkpoint::pass("copy-complete");
    Ok(there)
}
