//! Which machine this is: what a document says of another one is not this one's business.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use crate::contract::digest;

/// Where a machine has its identifier, the first that is there: machine-id(5), and what D-Bus has on hosts without systemd.
const IDENTIFIERS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// What the first boot of an image finds there (machine-id(5)).
const NOT_YET: &str = "uninitialized";

/// A machine that is told from others by an identifier of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The digest of that identifier.
    pub id: String,
    /// What it is called, for people.
    pub name: String,
}

/// A digest of the machine's identifier, which is not to be shown itself (machine-id(5)); of its name where it has none.
pub fn identity() -> String {
    of(identifier().unwrap_or_else(name).trim())
}

/// This machine; none where it has no identifier, as most containers: their name is another one each time they are made.
pub fn this() -> Option<Host> {
    identifier().map(|identifier| Host { id: of(identifier.trim()), name: name().trim().to_owned() })
}

fn identifier() -> Option<String> {
    let read = |path: &&str| files::read_text(Path::new(path), 4096).ok();
    IDENTIFIERS.iter().filter_map(read).find(|text| !matches!(text.trim(), "" | NOT_YET))
}

fn name() -> String {
    files::read_text(Path::new("/proc/sys/kernel/hostname"), 4096).unwrap_or_default()
}

fn of(identifier: &str) -> String {
    digest::of_bytes(format!("mm-tools {identifier}").as_bytes())[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_from_another_and_does_not_show_its_identifier() {
        let id = "3d1219c7c4c5404aaa1f6d2a48adfda4";
        assert!(of(id) != of("other") && !of(id).contains(id) && of(id).len() == 32);
        assert_eq!(identity(), identity());
        assert!(this().is_none_or(|host| host.id == identity()));
    }
}
