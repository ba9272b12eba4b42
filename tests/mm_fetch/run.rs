//! mm-fetch from outside: what it fetches, from where, what proves it, and what it leaves.

use crate::fixture::{Place, Reply, Server, add, archive, complete, document, file_name, release, sha256, written};
use predicates::str::contains;
use serde_json::json;
use tar::EntryType;

#[test]
fn a_release_is_fetched_proven_and_described() {
    let (place, tarball) = (Place::new(), release(1, 300_000));
    let digest = sha256(&tarball);
    let bytes = tarball.clone();
    let server = Server::start(move |request, _| Reply::file(request, &bytes, "\"a\""));
    let assert = place.get(&server.url, "10.6.1", &digest).assert().success().stderr("");
    assert_eq!(place.cached(), complete("10.6.1", &tarball));
    let document = written(&assert);
    let fetched = &document["fetch"]["releases"][0];
    assert_eq!(document["changed"], true);
    assert_eq!(fetched["version"], "10.6.1");
    assert_eq!(fetched["sha256"], digest.as_str());
    assert_eq!(fetched["bytes"], tarball.len());
    assert_eq!(fetched["transferred"], tarball.len());
    assert_eq!(fetched["proof"], "given");
    assert_eq!(std::fs::read(fetched["archive"].as_str().unwrap()).unwrap(), tarball);
    let manifest = mm_common::mattermost::manifest::Manifest::read(fetched["manifest"].as_str().unwrap().as_ref());
    assert!(manifest.unwrap().entry("bin/mattermost").is_some());
}

#[test]
fn what_the_cache_has_is_hashed_again_and_not_fetched_again() {
    let (place, tarball) = (Place::new(), release(2, 100_000));
    let digest = sha256(&tarball);
    let bytes = tarball.clone();
    let server = Server::start(move |request, _| Reply::file(request, &bytes, "\"a\""));
    place.get(&server.url, "10.6.1", &digest).assert().success();
    let assert = place.get(&server.url, "10.6.1", &digest).assert().success();
    assert_eq!(written(&assert)["changed"], false);
    assert_eq!(server.gets().len(), 1);

    // What a kill between the last rename and the end leaves behind goes with the next run.
    let lock = std::fs::read_dir(place.cache().join("locks")).unwrap().next().unwrap().unwrap().file_name();
    let note = place.cache().join("partial").join(format!("{}.json", lock.to_str().unwrap()));
    std::fs::write(&note, "{}").unwrap();
    place.get(&server.url, "10.6.1", &digest).assert().success();
    assert!(!note.exists());

    let archive = place.cache().join(&digest).join(file_name("10.6.1"));
    let mut damaged = tarball.clone();
    damaged[50_000] ^= 1;
    std::fs::write(&archive, damaged).unwrap();
    place.get(&server.url, "10.6.1", &digest).assert().success().stderr(contains("dropped from the cache"));
    assert_eq!(server.gets().len(), 2);
    assert_eq!(std::fs::read(&archive).unwrap(), tarball);
}

#[test]
fn the_manifest_names_the_migrations_of_the_server_program_and_one_that_does_not_is_renewed() {
    let mut program = vec![0; 300_000];
    program.extend_from_slice(
        b"migrations/postgres/000001_create_teams.down.sqlmigrations/postgres/000001_create_teams.up.sql",
    );
    program
        .extend_from_slice(b"migrations/postgres/000056_upgrade_channels_v6.0.up.sqlmigrations/mysql/000092_b.up.sql");
    let tarball = archive(|tar| {
        add(tar, "mattermost/bin/mattermost", EntryType::Regular, 0o755, &program);
        let other = b"migrations/postgres/000002_not_the_program.up.sql";
        add(tar, "mattermost/client/root.html", EntryType::Regular, 0o644, other);
        add(tar, "mattermost/i18n/en.json", EntryType::Regular, 0o644, b"[]");
    });
    let (place, digest) = (Place::new(), sha256(&tarball));
    let mirror = place.mirror(&[("12.1.0", &tarball)]);
    place.get(mirror.to_str().unwrap(), "12.1.0", &digest).assert().success();
    let path = place.cache().join(&digest).join("release.json");
    let manifest = std::fs::read(&path).unwrap();
    let mut earlier: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let expected = json!({"postgres": [[1, "create_teams"], [56, "upgrade_channels_v6.0"]], "mysql": [[92, "b"]]});
    assert_eq!(earlier["migrations"], expected);

    earlier.as_object_mut().unwrap().remove("migrations");
    std::fs::write(&path, earlier.to_string()).unwrap();
    let read = mm_common::mattermost::manifest::Manifest::read(&path).unwrap();
    assert_eq!(read.carried(), None);
    place.get(mirror.to_str().unwrap(), "12.1.0", &digest).assert().success().stderr("");
    assert_eq!(std::fs::read(&path).unwrap(), manifest);
}

#[test]
fn a_damaged_manifest_is_renewed() {
    let (place, tarball) = (Place::new(), release(3, 1000));
    let digest = sha256(&tarball);
    let mirror = place.mirror(&[("10.6.1", &tarball)]);
    place.get(mirror.to_str().unwrap(), "10.6.1", &digest).assert().success();
    let manifest = place.cache().join(&digest).join("release.json");
    let before = std::fs::read(&manifest).unwrap();
    for damage in ["", "{}", "{\"schema\": \"mm.release/1\""] {
        std::fs::write(&manifest, damage).unwrap();
        place.get(mirror.to_str().unwrap(), "10.6.1", &digest).arg("--offline").assert().success();
        assert_eq!(std::fs::read(&manifest).unwrap(), before, "{damage:?}");
    }
}

#[test]
fn all_hops_and_the_running_release_are_fetched_from_a_document() {
    let place = Place::new();
    let (old, one, two) = (release(1, 1000), release(2, 2000), release(3, 3000));
    let mirror = place.mirror(&[("5.29.0", &old), ("5.37.10", &one), ("7.1.9", &two)]);
    let hops = [("5.37.10", sha256(&one)), ("7.1.9", sha256(&two))];
    let catalogue = place.catalogue(&[&[("5.29.0", sha256(&old))][..], &hops].concat());
    let mut document = document("5.29.0", &hops);
    document["path"]["wish"] = json!({"catalogue": catalogue});
    document["unknown"] = json!("kept");
    let assert = place.tool().arg("--mirror").arg(&mirror).write_stdin(document.to_string()).assert().success();
    let written = written(&assert);
    let versions: Vec<_> = written["fetch"]["releases"].as_array().unwrap().iter().map(|one| &one["version"]).collect();
    assert_eq!(versions, ["5.29.0", "5.37.10", "7.1.9"]);
    assert_eq!(written["unknown"], "kept");
    assert_eq!(written["path"], document["path"]);
}

#[test]
fn a_running_release_that_cannot_be_had_stops_nothing_and_is_named() {
    let (place, one) = (Place::new(), release(2, 2000));
    let mirror = place.mirror(&[("5.37.10", &one)]);
    let bytes = one.clone();
    let server = Server::start(move |request, _| {
        if request.path.contains("5.37.10") { Reply::file(request, &bytes, "\"a\"") } else { Reply::status(404) }
    });
    for source in [mirror.to_str().unwrap(), &server.url] {
        let place = Place::new();
        let hops = [("5.37.10", sha256(&one))];
        let document = document("5.29.0", &hops);
        let mut command = place.tool();
        command.args(["--mirror", source, "--catalogue"]).arg(place.catalogue(&hops));
        let assert = command.write_stdin(document.to_string()).assert().success();
        let written = written(&assert);
        assert_eq!(written["fetch"]["missing"][0]["version"], "5.29.0");
        assert!(written["msg"].as_str().unwrap().contains("5.29.0"), "{written}");
    }
}

#[test]
fn a_hop_that_cannot_be_had_is_refused_before_anything_is_fetched() {
    let (place, one) = (Place::new(), release(2, 2000));
    let mirror = place.mirror(&[("5.37.10", &one)]);
    let document = document("5.29.0", &[("5.37.10", sha256(&one)), ("7.1.9", sha256(b"x"))]);
    let mut command = place.tool();
    command.arg("--mirror").arg(&mirror).write_stdin(document.to_string());
    let assert = command.assert().code(5).stderr(contains("7.1.9")).stderr(contains("hint:"));
    assert_eq!(written(&assert)["error"]["tool"], "mm-fetch");
    assert_eq!(place.cached(), [""; 0]);
}

#[test]
fn a_wrong_digest_is_kept_aside_with_both_values() {
    let (place, tarball) = (Place::new(), release(4, 1000));
    let server = Server::start(move |request, _| Reply::file(request, &tarball, "\"a\""));
    let wanted = sha256(b"something else");
    let assert = place.get(&server.url, "10.6.1", &wanted).assert().code(1).stderr(contains(&wanted));
    let document = written(&assert);
    let causes = document["error"]["causes"].to_string();
    assert!(causes.contains(&wanted) && causes.contains(&sha256(&release(4, 1000))), "{causes}");
    let cached = place.cached();
    assert_eq!(cached.len(), 1, "{cached:?}");
    assert!(cached[0].starts_with("refused/") && cached[0].ends_with(".REFUSED"), "{cached:?}");
}

#[test]
fn nothing_is_fetched_without_a_trusted_digest() {
    let place = Place::new();
    let server = Server::start(|request, _| {
        if request.path.ends_with(".sig") {
            Reply::status(404)
        } else {
            Reply::file(request, &release(5, 50_000), "\"a\"")
        }
    });
    // Never in the archive of releases.
    let mut command = place.tool();
    command.args(["--edition", "team", "--mirror", &server.url, "10.5.0"]);
    command.assert().code(5).stderr(contains("--sha256")).stderr(contains("--accept unsigned"));
    assert!(server.gets().iter().all(|request| request.path.ends_with(".sig")), "only the signature was asked for");
}

#[test]
fn a_digest_of_a_third_party_decides_for_arm64() {
    let (place, tarball) = (Place::new(), release(7, 50_000));
    let mirror = place.path("arm");
    let file = mirror.join("10.6.1/mattermost-team-10.6.1-linux-arm64.tar.gz");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, &tarball).unwrap();
    let mut command = mm_test_support::tool::tool("mm-fetch");
    command.args(["--edition", "team", "--arch", "arm64", "10.6.1", "--mirror"]).arg(&mirror);
    command.arg("--cache").arg(place.cache());
    command.assert().code(1).stderr(contains("the one that a third party computed is "));
    assert!(place.cached().iter().all(|path| !path.contains("release.json")), "{:?}", place.cached());
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let (place, tarball) = (Place::new(), release(6, 1000));
    let server = Server::start(move |request, _| Reply::file(request, &tarball, "\"a\""));
    let mut command = place.get(&server.url, "10.6.1", &sha256(&release(6, 1000)));
    command.args(["--dry-run", "--format", "human"]);
    command.assert().success().stdout(contains("fetch http://127.0.0.1"));
    assert!(server.gets().is_empty());
    assert!(!place.cache().exists());
}

#[test]
fn offline_uses_the_cache_only() {
    let (place, tarball) = (Place::new(), release(7, 1000));
    let digest = sha256(&tarball);
    let mirror = place.mirror(&[("10.6.1", &tarball)]);
    let offline = |place: &Place| {
        let mut command = place.tool();
        command.args(["--edition", "team", "--offline", "--sha256", &digest, "10.6.1"]);
        command
    };
    offline(&place).assert().code(5).stderr(contains("--offline"));
    place.get(mirror.to_str().unwrap(), "10.6.1", &digest).assert().success();
    offline(&place).assert().success();
    place.get("http://127.0.0.1:1", "10.6.1", &digest).arg("--offline").assert().code(2);
}

#[test]
fn a_cache_that_others_can_write_into_is_refused() {
    let (place, tarball) = (Place::new(), release(8, 1000));
    let mirror = place.mirror(&[("10.6.1", &tarball)]);
    std::fs::create_dir(place.cache()).unwrap();
    std::fs::set_permissions(place.cache(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut command = place.get(mirror.to_str().unwrap(), "10.6.1", &sha256(&tarball));
    command.assert().code(5).stderr(contains("cannot be trusted"));
}

#[test]
fn a_cache_may_be_a_link_to_a_larger_disk() {
    let (place, tarball) = (Place::new(), release(9, 1000));
    let mirror = place.mirror(&[("10.6.1", &tarball)]);
    std::fs::create_dir(place.path("large disk")).unwrap();
    std::os::unix::fs::symlink(place.path("large disk"), place.cache()).unwrap();
    place.get(mirror.to_str().unwrap(), "10.6.1", &sha256(&tarball)).assert().success();
    assert_eq!(place.cached(), complete("10.6.1", &tarball));
}

#[test]
fn a_document_with_nothing_left_to_do_needs_nothing() {
    let place = Place::new();
    let assert = place.tool().write_stdin(document("10.6.1", &[]).to_string()).assert().success();
    let written = written(&assert);
    assert_eq!(written["changed"], false);
    assert_eq!(written["fetch"]["releases"], json!([]));
    assert_eq!(written["msg"], "nothing to fetch");
}

#[test]
fn poison_is_passed_on_and_broken_documents_are_refused() {
    let place = Place::new();
    let poison =
        json!({"schema": "mm.upgrade/1", "error": {"tool": "mm-path", "code": 5, "kind": "refused", "message": "no"}});
    let assert = place.tool().write_stdin(poison.to_string()).assert().code(5);
    assert_eq!(written(&assert), poison);
    for broken in ["", "{", "[]", r#"{"schema":"mm.upgrade/2"}"#] {
        place.tool().write_stdin(broken).assert().code(65).stdout("");
    }
    assert!(!place.cache().exists());
}
