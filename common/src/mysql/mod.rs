//! What is known of MySQL and `MariaDB` without speaking to them ourselves: data sources of Mattermost's driver, and dumps that
//! their own program makes.

mod address;
pub mod dump;
mod options;
mod rows;

pub use address::Address;
