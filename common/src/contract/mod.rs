//! The contract between the tools: the document, errors and exit codes, versions, digests, and what goes to stderr.

pub mod accepted;
mod advice;
pub mod call;
pub mod digest;
pub mod document;
pub mod error;
pub mod exit;
pub mod near;
pub mod progress;
#[cfg(feature = "schema")]
pub mod schema;
pub mod secret;
pub mod sections;
pub mod shell;
pub mod terminal;
pub mod time;
pub mod ui;
pub mod version;
