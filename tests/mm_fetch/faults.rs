//! mm-fetch with failing system calls: what stands in the cache under its final name is whole and proven, whatever the
//! kernel refuses, and the next run completes it.

use std::collections::BTreeMap;

use crate::fixture::{Place, Reply, Server, complete, file_name, release, sha256};
use mm_common::mattermost::manifest::Manifest;
use mm_test_support::faults::Tool;

const VERSION: &str = "10.6.1";

#[test]
fn what_stands_in_the_cache_is_whole_and_the_next_run_completes_it() {
    let (place, tarball) = (Place::new(), release(9, 400_000));
    let digest = sha256(&tarball);
    let bytes = tarball.clone();
    let server = Server::start(move |request, _| Reply::file(request, &bytes, "\"a\""));
    let arguments = ["--arch", "amd64", "--retry-wait", "0", "--edition", "team", "--mirror", &server.url];
    let cache = place.cache();
    let more = ["--sha256", &digest, VERSION, "--cache", cache.to_str().unwrap()];
    let tool = Tool::new("mm-fetch", arguments.iter().chain(&more), place.directory.path()).followed();
    let archive = cache.join(&digest).join(file_name(VERSION));

    let faults = tool.faults(&[
        ("write", &["ENOSPC", "EIO", "EINTR"], 16),
        ("fsync", &["EIO", "ENOSPC"], 12),
        ("rename", &["EACCES", "EIO"], 6),
        ("openat", &["EACCES", "EIO"], 12),
    ]);
    let mut met = BTreeMap::new();
    for fault in &faults {
        let _ = std::fs::remove_dir_all(&cache);
        let ended = tool.with(fault);
        let context = format!("{fault:?} {:?}, exit {}: {}", ended.hit, ended.code, ended.said);
        if archive.exists() {
            assert_eq!(sha256(&std::fs::read(&archive).unwrap()), digest, "{context}");
            Manifest::read(&cache.join(&digest).join("release.json"))
                .unwrap_or_else(|error| panic!("{error:?} {context}"));
        }
        if matches!(ended.code, 0 | 74) {
            assert_eq!(place.cached(), complete(VERSION, &tarball), "{context}");
        }
        *met.entry((ended.code, ended.hit.is_empty())).or_insert(0) += 1;
        let again = tool.undisturbed();
        assert_eq!(again.code, 0, "run again after {context}\n{}", again.said);
        assert_eq!(place.cached(), complete(VERSION, &tarball), "run again after {context}");
    }
    eprintln!("exit codes, and whether no call was hit: {met:?}");
    assert!(met.keys().any(|(code, missed)| *code == 1 && !missed), "no fault made it fail: {met:?}");
}
