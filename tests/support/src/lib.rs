//! What the tests stand on: throw-away PostgreSQL clusters, servers of any version with content in them, a release
//! site on loopback, and the six tools run from outside with a cleared environment.
//!
//! ```no_run
//! use mm_test_support::site::Site;
//! use mm_test_support::tool::tool;
//!
//! let site = Site::builder("5.29.0").postgres(13).running().build();
//! tool("mm-verify").arg("--install").arg(site.install()).assert().success();
//! ```
//!
//! Everything goes away when its value is dropped, and also when the test process is killed: a watchdog outlives it for
//! as long as it takes to clean up. The fixtures need root and what `scripts/prepare` installs, and say so when it is
//! missing. The stand-in and the tools are taken from beside the test's own executable (`cargo build --workspace
//! --bins` puts them there).

pub mod asked;
pub mod canary;
pub mod cluster;
pub mod container;
pub mod faults;
pub mod forwarder;
pub mod host;
pub mod layout;
pub mod mariadb;
pub mod matrix;
pub mod pipeline;
pub mod process;
pub mod release;
pub mod serve;
pub mod signer;
pub mod site;
pub mod tool;
pub mod upgrade;
pub mod watchdog;
