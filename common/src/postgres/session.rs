//! The session of a superuser, which trusts nobody: whoever owns the database, or any object in it, must not be able to
//! have code run by it.
//!
//! Its settings stand in the start packet. There they outrank `ALTER DATABASE` and `ALTER ROLE` (observed on 13 and 15),
//! and hold before the first statement is read. A pooler before the database would refuse them, so such a session goes
//! straight to the socket of the cluster. The role of the server has a session of its own, where all of this is its
//! owner's to decide.

use std::time::Duration;

/// What every superuser's session begins with. Names and operators are those of PostgreSQL itself, also where somebody has
/// set another search path for the database; nobody has chosen another role for it, or libraries of his own; how text
/// is read, and how definitions are written, does not depend on anybody's settings; and no CHECK of a table is evaluated
/// for what it may exclude.
const FIXED: &str = "-c search_path=pg_catalog,pg_temp -c role=none -c standard_conforming_strings=on \
    -c transform_null_equals=off -c quote_all_identifiers=off -c local_preload_libraries= -c row_security=off \
    -c constraint_exclusion=off -c default_transaction_read_only=off -c idle_in_transaction_session_timeout=0";

/// How long it waits for a lock, in milliseconds. A migration of a large table takes minutes; a lock that is held longer
/// is a fault, and whoever waits should say so.
pub(super) const LOCK_WAIT: u32 = 600_000;

/// First versions that have `restrict_nonsystem_relation_kind`: with it, a table that its owner exchanges for a view
/// between two statements is refused and not evaluated.
const RESTRICTING: &[u32] = &[120_020, 130_016, 140_013, 150_008, 160_004];

/// First version that compiles expressions. For what is asked of the catalogues that takes a second and saves none.
const COMPILING: u32 = 110_000;

/// First versions that end a session which nobody asks anything, and a transaction that goes on for long: whoever owns a
/// database sets how long that is.
const ENDING_SESSIONS: u32 = 140_000;
const ENDING_TRANSACTIONS: u32 = 170_000;

/// The options of a superuser's start packet, for a server of this version (0: not known yet) and statements of at most
/// `limit`.
pub(super) fn options(version_num: u32, limit: Duration) -> String {
    let known: Vec<String> = known(version_num).iter().map(|(name, value)| format!(" -c {name}={value}")).collect();
    format!("{FIXED} -c lock_timeout={LOCK_WAIT} -c statement_timeout={}{}", milliseconds(limit), known.concat())
}

/// What a session says itself that was begun before the version was known. The value of a session's own `SET` outranks all
/// that a database or a role sets, as the start packet does.
pub(super) fn settings(version_num: u32) -> Vec<(&'static str, String)> {
    known(version_num).into_iter().map(|(name, value)| (name, format!("'{value}'"))).collect()
}

/// What a session says itself that has another limit than it began with.
pub(super) fn timeout(limit: Duration) -> (&'static str, String) {
    ("statement_timeout", milliseconds(limit).to_string())
}

/// What servers of this version know, and others refuse.
fn known(version_num: u32) -> Vec<(&'static str, &'static str)> {
    let restricting = version_num >= 170_000
        || RESTRICTING.iter().any(|first| version_num / 10_000 == first / 10_000 && version_num >= *first);
    let restriction = restricting.then_some(("restrict_nonsystem_relation_kind", "view,foreign-table"));
    let since = |first, setting| (version_num >= first).then_some(setting);
    let others = [
        since(COMPILING, ("jit", "off")),
        since(ENDING_SESSIONS, ("idle_session_timeout", "0")),
        since(ENDING_TRANSACTIONS, ("transaction_timeout", "0")),
    ];
    restriction.into_iter().chain(others.into_iter().flatten()).collect()
}

/// What the server takes for a number of milliseconds ends at 24 days.
fn milliseconds(limit: Duration) -> u128 {
    limit.as_millis().min(i32::MAX as u128)
}

/// Lets one session read views: what refills a materialized view has to.
pub const VIEWS: &str = "-c restrict_nonsystem_relation_kind=";

/// Whether a server of this version knows [`VIEWS`].
pub fn restricts(version_num: u32) -> bool {
    options(version_num, Duration::ZERO).contains("restrict_nonsystem_relation_kind")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_a_server_does_not_know_is_not_sent_to_it() {
        for (version, knows) in
            [(0, false), (100_023, false), (130_015, false), (130_016, true), (150_018, true), (170_001, true)]
        {
            assert_eq!(restricts(version), knows, "{version}");
            let options = options(version, Duration::ZERO);
            assert_eq!(options.contains("jit=off"), version >= 110_000, "{version}");
            assert_eq!(options.contains("-c idle_session_timeout=0"), version >= 140_000, "{version}");
            assert_eq!(options.contains("-c transaction_timeout=0"), version >= 170_000, "{version}");
        }
        let options = options(150_018, Duration::from_secs(60));
        assert!(options.starts_with("-c search_path=pg_catalog,pg_temp -c role=none "), "{options}");
        assert!(options.contains(" -c statement_timeout=60000 "), "{options}");
    }
}
