//! An upgrade of the target's cluster that was made after the move. The way back of the move leaves it as it is: other
//! databases of that cluster have been written to since.

use std::path::Path;

use mm_common::contract::ui;
use mm_common::{Error, Result};

use super::point;
use super::record::{Entry, Private};
use crate::{record, repoint};

/// It, where there is one.
#[derive(Debug, Default)]
pub(crate) struct Later(Option<record::Entry>);

impl Later {
    /// Reads what was recorded of it.
    ///
    /// # Errors
    /// As the record.
    pub(crate) fn of(entry: &Entry, state: &Path) -> Result<Self> {
        let last = record::Records::at(state).last.read::<record::Entry>()?;
        Ok(Self(last.filter(|bump| bump.started >= entry.moved.started)))
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// A data source as it was before it followed the cluster to another port.
    pub(crate) fn before(&self, text: &str) -> Result<String> {
        self.0.as_ref().map_or_else(|| Ok(text.to_owned()), |bump| repoint::before(bump, text))
    }

    /// Says that it stays.
    pub(crate) fn tell(&self) {
        if let Some(bump) = &self.0 {
            ui::warn(&format!("the upgrade of {} to {}, made after the move, stays", bump.from(), bump.to()));
        }
    }
}

/// Before anything is done: the data source of the server has to be one that is known to lead to the target, as it was
/// written by the move or by the upgrade after it; or to the old database already. What is neither would stay as it is.
///
/// # Errors
/// Refused when it is neither.
pub(crate) fn require_known(later: &Later, entry: &Entry, private: &Private, text: &str) -> Result<()> {
    if point::is_of_source(private, text)? || point::is_of_target(private, later, text)? {
        return Ok(());
    }
    let (from, to) = (entry.moved.from.label(), entry.moved.to.label());
    let by_hand = format!(
        "let SqlSettings.DataSource (and MM_CONFIG, where that names a database) lead to {to}, as the move has written it; it is pointed at {from} from there"
    );
    let refused = Error::refused(format!("the data source of the server is not known to lead to {to}"));
    Err(if later.is_there() {
        refused
            .because("somebody has changed it since the move, or the cluster was upgraded more than once since")
            .hint(format!("take back the upgrades first, one after the other, with mm-pgbump rollback; or {by_hand}"))
    } else {
        refused.because("it was changed since the move, and what leads elsewhere is not pointed back").hint(by_hand)
    })
}
