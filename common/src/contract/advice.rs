//! What to do next after a failure of which the code that met it knew no better: the kernel's own reasons have the same
//! remedy wherever they turn up.

use super::error::{Error, Kind};

/// Words of the kernel (and of programs that quote it) and what to do about them.
const REMEDIES: &[(&str, &str)] = &[
    ("No space left on device", "make room on the file system named above, then run this again"),
    ("Disk quota exceeded", "raise the quota or make room, then run this again"),
    (
        "Read-only file system",
        "find out why the file system is read-only (dmesg), mount it for writing, then run this again",
    ),
    (
        "in a read-only transaction",
        "find out why the database is read-only: if it is a standby, name the primary in the data source; else \
         set default_transaction_read_only back (ALTER DATABASE, ALTER ROLE, postgresql.conf), then run this again",
    ),
    ("Input/output error", FAILING_DISK),
    ("I/O error", FAILING_DISK),
    ("Too many open files", "raise the limit of open files (ulimit -n), then run this again"),
    (
        "Permission denied",
        "run this as root; if that was root, look for what else forbids it: SELinux or AppArmor, an option of the mount",
    ),
    (
        "Operation not permitted",
        "look for what forbids it even to root: an immutable file (lsattr), a container's limits",
    ),
];

const FAILING_DISK: &str = "look at the kernel's messages (dmesg) for a failing disk before you run this again";

/// What a plain failure says when there is nothing better to say.
const OTHERWISE: &str = "fix the problem above, then run this again";

impl Error {
    /// The same failure with a hint, if it has none yet.
    #[must_use]
    pub fn advised(self) -> Self {
        let told =
            |words: &str| self.message().contains(words) || self.causes().iter().any(|cause| cause.contains(words));
        let remedy = REMEDIES.iter().find(|(words, _)| told(words)).map(|(_, remedy)| *remedy);
        match (remedy, self.kind()) {
            (Some(remedy), _) => self.hint(remedy),
            (None, Kind::Failed | Kind::Refused) => self.hint(OTHERWISE),
            (None, _) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_reasons_have_their_remedy_and_a_hint_that_is_there_stays() {
        let full = std::io::Error::from_raw_os_error(28);
        assert!(Error::io("write", "/a", &full).advised().next_step().unwrap().starts_with("make room"));
        assert_eq!(Error::io("write", "/a", &full).hint("mine").advised().next_step(), Some("mine"));
        assert_eq!(Error::failed("no").advised().next_step(), Some(OTHERWISE));
        assert_eq!(Error::usage("no").advised().next_step(), None);
    }

    /// The words are those of this system's kernel, as Rust and as nix put them.
    #[test]
    fn the_words_are_those_of_the_system() {
        for (number, errno) in
            [(28, nix::errno::Errno::ENOSPC), (5, nix::errno::Errno::EIO), (13, nix::errno::Errno::EACCES)]
        {
            let standard = std::io::Error::from_raw_os_error(number).to_string();
            for text in [standard.as_str(), errno.desc()] {
                assert!(REMEDIES.iter().any(|(words, _)| text.contains(words)), "{text}");
            }
        }
    }
}
