//! mm-swap when nothing is easy: killed at a system call, in front of a power cut, raced by the user that the server runs
//! as, on unusual file systems, under other service managers, and when there is no way back.

mod half;
mod killed;
mod labels;
mod managers;
mod power;
mod race;
mod roots;
mod tree;

/// Two patches of one line: the schema is the same, so one site serves for all.
const FROM: &str = "10.5.12";
const TO: &str = "10.5.14";
