//! The database carried into another server that exists already: every row proven, the configuration pointed at it, the old
//! database only read.

pub(crate) mod back;
mod fill;
mod look;
mod named;
mod nodes;
mod point;
mod prove;
pub(crate) mod record;
mod roles;
pub(crate) mod run;
mod source;
mod target;
pub(crate) mod verbs;
