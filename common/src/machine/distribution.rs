//! Which family of distributions this machine runs: they name their packages alike, and have one command to install them.

/// Where a distribution says what it is (os-release(5)).
const RELEASE: &str = "/etc/os-release";

/// Families of distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Debian, Ubuntu and what is made of them.
    Debian,
    /// Red Hat's and its clones.
    RedHat,
    /// SUSE's.
    Suse,
    /// None that is known.
    Other,
}

impl Family {
    /// That of this machine.
    pub fn of_this_machine() -> Self {
        Self::of(&std::fs::read_to_string(RELEASE).unwrap_or_default())
    }

    /// By `ID` and `ID_LIKE` of os-release(5).
    pub fn of(release: &str) -> Self {
        let words = release
            .lines()
            .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
            .flat_map(|value| value.trim_matches(['"', '\'']).split_whitespace());
        for word in words {
            match word {
                "debian" | "ubuntu" => return Self::Debian,
                "rhel" | "fedora" | "centos" => return Self::RedHat,
                "suse" | "opensuse" | "sles" => return Self::Suse,
                _ => {}
            }
        }
        Self::Other
    }

    /// What brings a program; `package` is Debian's that has it. The others are asked for the file: their packages have other
    /// names, and `dnf` and `zypper` find by what is in them.
    pub fn install(self, program: &str, package: &str) -> String {
        match self {
            Self::Debian => format!("apt-get install {package}"),
            Self::RedHat => format!("dnf install /usr/bin/{program}"),
            Self::Suse => format!("zypper install /usr/bin/{program}"),
            Self::Other => format!("install the program {program} (on Debian the package {package} has it)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_known_by_what_it_says_of_itself() {
        for (release, family) in [
            ("NAME=x\nID=debian\n", Family::Debian),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Family::Debian),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Family::RedHat),
            ("ID=fedora\n", Family::RedHat),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", Family::Suse),
            ("ID=nixos\nVERSION_ID=\"debian\"\n", Family::Other),
            ("", Family::Other),
        ] {
            assert_eq!(Family::of(release), family, "{release}");
        }
        assert_eq!(Family::Debian.install("psql", "postgresql-client"), "apt-get install postgresql-client");
        assert_eq!(Family::RedHat.install("gpgv", "gpgv"), "dnf install /usr/bin/gpgv");
        assert_eq!(Family::Suse.install("gpgv", "gpgv"), "zypper install /usr/bin/gpgv");
    }
}
