//! Which machine this is: what a document says of another one is not this one's business.

use std::path::Path;

use super::files;
use crate::contract::digest;

/// Where a machine has its identifier, the first that is there: machine-id(5), and what D-Bus has on hosts without systemd.
const IDENTIFIERS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// A digest of the machine's identifier, which is not to be shown itself (machine-id(5)); of its name where it has none.
pub fn identity() -> String {
    let read = |path: &&str| files::read_text(Path::new(path), 4096).ok().filter(|text| !text.trim().is_empty());
    let found = IDENTIFIERS.iter().find_map(read);
    let name = || files::read_text(Path::new("/proc/sys/kernel/hostname"), 4096).unwrap_or_default();
    of(found.unwrap_or_else(name).trim())
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
    }
}
