//! Exit codes: one table for all six tools.

/// Done, or nothing to do; `changed` in the document tells which.
pub const DONE: u8 = 0;
/// Failed; the machine is as before and running it again is safe.
pub const FAILED: u8 = 1;
/// Wrong usage; nothing was touched.
pub const USAGE: u8 = 2;
/// Stopped half-way and could not undo: a person is needed.
pub const HALF_DONE: u8 = 3;
/// A check failed; nothing was touched.
pub const CHECK_SAYS_NO: u8 = 4;
/// Refused, because a precondition does not hold; nothing was touched.
pub const REFUSED: u8 = 5;
/// Failed and rolled back: the machine is as before the run.
pub const ROLLED_BACK: u8 = 6;
/// Partly done: all that could be done is, and what could not is named.
pub const PARTLY_DONE: u8 = 7;
/// No document, a broken one, or an unknown schema; nothing was touched.
pub const BAD_DOCUMENT: u8 = 65;
/// The document could not be delivered: the work is done but unreported.
pub const UNDELIVERED: u8 = 74;
/// Another run holds the lock; nothing was touched, try again later.
pub const LOCKED: u8 = 75;

/// The table as it stands in every `--help` and man page.
pub const HELP: &str = "Exit status:
  0   done, or nothing to do (`changed` in the document tells)
  1   failed; the machine is as before, running it again is safe
  2   wrong usage; nothing touched
  3   stopped half-way and could not undo; the hint names the recovery command
  4   a check failed; nothing touched
  5   refused: a precondition does not hold; nothing touched
  6   failed and rolled back; the machine is as before the run
  7   partly done: what could be done is, and what could not is named
  65  no document, a broken one, or an unknown schema; nothing touched
  74  the document could not be delivered; the work is done
  75  another run holds the lock; nothing touched, try again

A tool that only passes on the error of an earlier tool exits with that error's code.";
