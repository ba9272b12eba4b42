//! The database carried into another server that exists already: every row proven, the configuration pointed at it, the old
//! database only read.

pub(crate) mod back;
mod carry;
pub(crate) mod clear;
pub(crate) mod emptied;
pub(crate) mod fill;
mod later;
pub(crate) mod look;
pub(crate) mod named;
pub(crate) mod need;
mod nodes;
pub(crate) mod origin;
pub(crate) mod point;
pub(crate) mod prove;
pub(crate) mod record;
mod recover;
pub(crate) mod roles;
pub(crate) mod run;
mod source;
mod stored;
pub(crate) mod target;
pub(crate) mod unit_file;
pub(crate) mod verbs;
pub(crate) mod watch;

use std::path::Path;

use mm_common::contract::shell;
use mm_common::machine::journal::state_flag;

/// A command of this tool for the installation with this root and state directory, as it can be typed.
pub(crate) fn command(verb: &str, root: &Path, state: &Path) -> String {
    format!("mm-pgbump {verb} --install {}{}", shell::word(root), state_flag(state))
}
