//! The checks that `--accept` names. One list for all tools: whoever calls several of them can give each the same flags,
//! and a name that is misspelt is noticed at once, not when a check has stopped the server's upgrade at night.

/// Every check that a tool looks for among the accepted ones. Some let nobody through, and say so when they fail.
pub const CHECKS: [&str; 78] = [
    "archiving",
    "bound-services",
    "checksums",
    "collation",
    "column-options",
    "connections",
    "damaged-files",
    "database",
    "databases",
    "date-moved",
    "definitions",
    "digest-changed",
    "disk",
    "document-digest",
    "duplicates",
    "extensions",
    "foreign-code",
    "frozen-copy",
    "indexes",
    "invalid-indexes",
    "jump",
    "libraries",
    "locales",
    "log-directory",
    "missing-uploads",
    "move-clock",
    "move-configuration",
    "move-encoding",
    "move-extensions",
    "move-left-behind",
    "move-leftovers",
    "move-network",
    "move-newer",
    "move-nodes",
    "move-replicas",
    "move-rights",
    "move-roles",
    "move-server",
    "move-space",
    "move-target",
    "move-tls",
    "move-version",
    "mysql-case",
    "mysql-case-clash",
    "mysql-engine",
    "mysql-extra-tables",
    "mysql-json",
    "mysql-long",
    "mysql-nul",
    "mysql-null",
    "mysql-schema",
    "mysql-search",
    "mysql-storage",
    "mysql-tls",
    "mysql-unit",
    "mysql-value",
    "other-databases",
    "other-host",
    "outside",
    "packages",
    "prepared",
    "primary",
    "programs",
    "readable",
    "references",
    "rehearsal",
    "release-gone",
    "replication",
    "rollback",
    "settings",
    "start-conf",
    "store-owner",
    "superuser",
    "superuser-objects",
    "tablespaces",
    "target",
    "unsigned",
    "user-code",
];

/// Whether there is such a check.
pub fn is_check(id: &str) -> bool {
    CHECKS.contains(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_once_and_in_order() {
        assert!(CHECKS.is_sorted_by(|one, next| one < next), "{CHECKS:?}");
    }
}
