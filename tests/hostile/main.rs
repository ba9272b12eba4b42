//! Hostile hands: whoever has the server's user, its database, or anything else that is not root's, gains nothing by it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it fails")]
#![allow(clippy::disallowed_methods, reason = "what the tools do is not to be used to test them")]
#![allow(clippy::print_stderr, reason = "what a long test has met is shown when it fails")]

mod adversary;
mod copy;
mod document;
mod identity;
mod mysql;
mod program;
mod sql;
mod syscalls;
mod text;
mod whose;
