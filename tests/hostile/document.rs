//! A document from elsewhere: it names programs, archives, addresses and directories of its maker's choice.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use mm_common::machine::state::State;
use mm_test_support::pipeline;
use mm_test_support::process::{TEST_USER, ids};
use mm_test_support::site::{Site, quick};
use mm_test_support::tool;
use serde_json::{Value, json};

const FROM: &str = "10.5.14";
const TO: &str = "10.6.1";

/// Far longer than a refusal takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The document of a site as mm-path writes it.
fn document(site: &Site) -> Value {
    let output = site.tool("mm-path").args(["--to", TO, "--format", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(command: &mut assert_cmd::Command, document: &Value, with: &str) {
    // One that asks an address which never answers is not waited for.
    let assert = command.timeout(PATIENCE).write_stdin(document.to_string()).assert().code(5);
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains(with) && said.contains("hint:"), "{said}");
}

#[test]
fn a_document_names_no_program() {
    let site = Site::builder(FROM).running().build();
    let (script, mark) = (site.directory().join("x"), site.directory().join("ran"));
    std::fs::write(&script, format!("#!/bin/sh\nid >>'{}'\n", mark.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut document = document(&site);
    for (manager, unit) in
        [("sysv", format!("../..{}", script.display())), ("sysv", "cron".into()), ("systemd", "../x".into())]
    {
        document["site"]["service"] = json!({"manager": manager, "unit": unit, "was_running": true});
        for (name, verb) in [("mm-backup", "create"), ("mm-swap", "publish")] {
            let mut command = tool::tool(name);
            command
                .args([verb, "--document", "-", "--install"])
                .arg(site.install())
                .arg("--state-dir")
                .arg(site.state());
            if name == "mm-backup" {
                command.args(["--stop", "--to"]).arg(site.store());
            }
            refused(&mut command, &document, "the document names the service");
            assert!(!mark.exists(), "{name} ran a program that the document names");
        }
    }
    assert!(site.answers(), "the server was let alone");
}

#[test]
fn a_document_names_no_state_directory_of_others() {
    let site = Site::builder(FROM).build();
    let document = document(&site);
    let state = State::of(&site.install().canonicalize().unwrap(), Some(&site.state()));
    std::fs::create_dir_all(state.path()).unwrap();
    let (owner, _) = ids(TEST_USER);
    for (uid, mode) in [(owner, 0o700), (0, 0o777)] {
        chown(state.path(), Some(uid), None).unwrap();
        std::fs::set_permissions(state.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        refused(site.tool("mm-swap").arg("publish"), &document, "is not trusted");
    }
    std::fs::set_permissions(state.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    site.tool("mm-swap").arg("publish").write_stdin(document.to_string()).assert().success();
}

#[test]
fn a_session_goes_to_no_address_that_only_a_document_knows() {
    let site = Site::builder(FROM).running().build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let elsewhere = format!("http://{}", listener.local_addr().unwrap());
    let mut document = document(&site);
    let state = State::of(&site.install().canonicalize().unwrap(), Some(&site.state()));
    let swapped =
        |address: &str| json!({"from": FROM, "to": FROM, "exchanged": [], "retired": null, "private_address": address});
    for address in [
        elsewhere.as_str(),
        "http://192.0.2.1:8065",
        "http://127.0.0.1.example.org:80",
        "http://127.0.0.1@192.0.2.1:80",
    ] {
        document["swap"] = swapped(address);
        refused(&mut site.tool("mm-verify"), &document, "the document names the private address");
    }
    // The same where the server was started privately, but elsewhere.
    std::fs::create_dir_all(state.path()).unwrap();
    std::fs::set_permissions(state.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let own = format!("127.0.0.1:{}", site.port);
    std::fs::write(state.path().join("private.json"), json!({"address": own, "since": "now"}).to_string()).unwrap();
    document["swap"] = swapped(&elsewhere);
    refused(&mut site.tool("mm-verify"), &document, "the document names the private address");
    assert!(listener.accept().is_err(), "somebody was connected to");
    document["swap"] = swapped(&format!("http://{own}"));
    let mut command = site.tool("mm-verify");
    command.args(["--only", "server.ping"]).write_stdin(document.to_string()).assert().success();
}

#[test]
fn an_archive_comes_only_from_a_cache_that_is_roots() {
    let site = Site::builder(FROM).build();
    let releases = site.releases(&[quick(FROM).build(), quick(TO).build()]);
    let fetched = pipeline::run(
        &format!(
            "mm-fetch --mirror {} --cache {} {}",
            releases.site.url(),
            site.cache().display(),
            site.flags().join(" ")
        ),
        &pipeline::plan(&site, &releases, &["--to", TO]),
    )
    .good();
    let stage =
        |document: &Value, with: &str| refused(site.tool("mm-swap").args(["--dry-run", "--no-backup"]), document, with);
    let entry = |document: &mut Value, key: &str, value: &Path| {
        for release in document["fetch"]["releases"].as_array_mut().unwrap() {
            if release["version"] == TO {
                release[key] = json!(value);
            }
        }
    };
    let release = fetched["fetch"]["releases"].as_array().unwrap().iter().find(|one| one["version"] == TO).unwrap();
    let (archive, manifest) =
        (Path::new(release["archive"].as_str().unwrap()), Path::new(release["manifest"].as_str().unwrap()));
    // Copied to where it suits the maker of the document: as it is, and in the layout of a cache of the server's user.
    let sha256 = release["sha256"].as_str().unwrap();
    let theirs = site.directory().join("theirs").join(sha256);
    std::fs::create_dir_all(&theirs).unwrap();
    for (flat, from) in [("archive", archive), ("manifest", manifest)] {
        let mut document = fetched.clone();
        let there = site.directory().join(from.file_name().unwrap());
        std::fs::copy(from, &there).unwrap();
        entry(&mut document, flat, &there);
        stage(&document, "is in no cache of mm-fetch");
        std::fs::copy(from, theirs.join(from.file_name().unwrap())).unwrap();
    }
    let mut document = fetched.clone();
    entry(&mut document, "archive", &theirs.join(archive.file_name().unwrap()));
    entry(&mut document, "manifest", &theirs.join("release.json"));
    let (uid, _) = ids(TEST_USER);
    for whose in [
        site.directory().join("theirs"),
        theirs.clone(),
        theirs.join("release.json"),
        theirs.join(archive.file_name().unwrap()),
    ] {
        chown(&whose, Some(uid), None).unwrap();
        stage(&document, "belongs to the user");
        chown(&whose, Some(0), None).unwrap();
    }
    std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(0o777)).unwrap();
    stage(&document, "others may write it");
    // The pipeline as it is documented goes on as ever.
    site.tool("mm-swap").args(["--dry-run", "--no-backup"]).write_stdin(fetched.to_string()).assert().success();
}

#[test]
fn a_server_is_compared_with_no_list_that_only_a_document_knows() {
    let site = Site::builder(FROM).build();
    let releases = site.releases(&[quick(FROM).build()]);
    let mut fetch = site.tool("mm-fetch");
    fetch.args([FROM, "--edition", "team", "--mirror", releases.site.url(), "--catalogue"]).arg(&releases.catalogue);
    let output = fetch.arg("--cache").arg(site.cache()).assert().success().get_output().stdout.clone();
    let mut document: Value = serde_json::from_slice(&output).unwrap();
    let look = |document: &Value| {
        let mut verify = site.tool("mm-verify");
        verify.args(["--only", "files.release", "--cache"]).arg(site.directory().join("no-cache"));
        let output = verify.write_stdin(document.to_string()).output().unwrap().stdout;
        let document: Value = serde_json::from_slice(&output).unwrap();
        let checks = document["verify"]["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == "files.release").unwrap().clone()
    };
    assert_eq!(look(&document)["status"], "pass");
    // A list that leaves a file out, so that nobody misses it.
    let (sha256, manifest) = {
        let release = &document["fetch"]["releases"][0];
        (release["sha256"].as_str().unwrap().to_owned(), release["manifest"].as_str().unwrap().to_owned())
    };
    let theirs = site.directory().join("theirs").join(&sha256);
    std::fs::create_dir_all(&theirs).unwrap();
    std::fs::remove_file(site.install().join("NOTICE.txt")).unwrap();
    let mut list: Value = serde_json::from_str(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    list["entries"] = list["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["path"] != "NOTICE.txt")
        .cloned()
        .collect::<Vec<_>>()
        .into();
    std::fs::write(theirs.join("release.json"), list.to_string()).unwrap();
    document["fetch"]["releases"][0]["manifest"] = json!(theirs.join("release.json"));
    let check = look(&document);
    assert_eq!(check["status"], "error", "{check}");
    assert!(check["evidence"].as_str().unwrap().contains("is in no cache of mm-fetch"), "{check}");
}
