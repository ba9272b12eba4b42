//! Whether the nodes of a cluster may be upgraded in turn.

use mm_common::mattermost::catalogue::{Catalogue, Line};
use semver::Version;

/// Whether servers of both releases may work on one database at a time: dot releases of one line whose schema is known
/// to be the same. Everything else needs all nodes stopped: the documents of Mattermost's clusters except releases that
/// change the schema from what can be applied without an interruption.
pub(crate) fn allowed(catalogue: &Catalogue, from: &Version, to: &Version) -> bool {
    let schema = |release| catalogue.migrations().of(release).and_then(|known| known.highest);
    Line::of(from) == Line::of(to) && schema(from).is_some() && schema(from) == schema(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dot_releases_with_the_same_schema_are_taken_in_turn() {
        let catalogue = Catalogue::embedded().unwrap();
        let allowed = |from: &str, to: &str| allowed(&catalogue, &from.parse().unwrap(), &to.parse().unwrap());
        assert!(allowed("10.5.6", "10.5.14"));
        assert!(!allowed("10.5.4", "10.5.14"), "10.5.5 brought migrations");
        assert!(!allowed("9.6.0", "9.7.0"), "another line, although the schema is the same");
        assert!(!allowed("5.37.0", "5.37.10"), "nothing is known of the schema before 6.4");
        assert!(!allowed("10.11.21", "10.11.22"), "nothing is known of this schema");
    }
}
