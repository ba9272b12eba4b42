//! Out of MySQL and `MariaDB`: the database goes into a PostgreSQL server that exists already. The installed release makes
//! its tables there itself; the rows are carried one table after the other, each value looked at on the way; and what
//! PostgreSQL holds then is read again and compared with what was read.
//!
//! `source` (the server, with `tls` on the way to it), `shape` (which table and column becomes which), `extra` (tables that only MySQL has), `value` and `json` (one
//! value, and the form in which both sides are compared), `schema` (the release makes its tables), `examine` (rows that
//! PostgreSQL cannot hold), `carry`, `pieces`, `copy` and `prove`, `look` and
//! `unit` (what is checked before), `run` (one move), `wait`.

#[cfg(feature = "mysql")]
mod carry;
#[cfg(feature = "mysql")]
mod copy;
#[cfg(feature = "mysql")]
mod examine;
#[cfg(feature = "mysql")]
pub(crate) mod extra;
#[cfg(feature = "mysql")]
mod indexes;
#[cfg(feature = "mysql")]
mod json;
#[cfg(feature = "mysql")]
mod look;
#[cfg(feature = "mysql")]
mod pieces;
#[cfg(feature = "mysql")]
mod print;
#[cfg(feature = "mysql")]
mod prove;
#[cfg(feature = "mysql")]
pub(crate) mod run;
#[cfg(feature = "mysql")]
mod schema;
#[cfg(feature = "mysql")]
mod shape;
#[cfg(feature = "mysql")]
mod source;
#[cfg(feature = "mysql")]
mod tls;
#[cfg(feature = "mysql")]
mod unit;
#[cfg(feature = "mysql")]
mod value;
#[cfg(feature = "mysql")]
mod wait;
