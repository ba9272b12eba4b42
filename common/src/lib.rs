//! What the six tools share, floor by floor: the contract between them, the machine they act on, and what is
//! known of PostgreSQL, of MySQL and of Mattermost. A module uses its own floor or a lower one, never a higher one.

pub mod contract;
pub mod machine;
pub mod mattermost;
pub mod mysql;
pub mod postgres;
pub mod run;

pub use contract::error::{Context, Error, Kind, Result};
