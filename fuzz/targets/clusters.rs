//! What `pg_lsclusters --json` prints: no panic, and a cluster that is understood has all that is done with one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mm_common::postgres::cluster;

fuzz_target!(|text: &[u8]| {
    for cluster in cluster::parse(text).unwrap_or_default() {
        assert!(!cluster.name.is_empty() && !cluster.data.as_os_str().is_empty(), "{cluster:?}");
        assert!(cluster.label().ends_with(&format!("/{}", cluster.name)));
    }
});
