//! What goes wrong most often, and what is said then: what, where, why, and a next step.

use std::process::Output;

use mm_test_support::process::{free_port, run};
use mm_test_support::site::Site;
use mm_test_support::tool;
use serde_json::json;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_flag_of_another_verb_and_a_mistyped_one_are_named() {
    for (name, words, hint) in [
        ("mm-swap", &["prune", "--database"][..], "--database is a flag of mm-swap rollback"),
        ("mm-swap", &["status", "--databse"], "--database, a flag of mm-swap rollback, may be meant"),
        ("mm-backup", &["list", "--keep-dayly", "7"], "--keep-daily, a flag of mm-backup"),
        ("mm-verify", &["baseline", "--fix", "x"], "--fix is a flag of mm-verify repair"),
    ] {
        let output = tool::tool(name).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(hint), "{words:?}: {}", said(&output));
    }
}

#[test]
fn a_broken_document_is_shown_where_it_breaks() {
    let text = "{\n  \"schema\": \"mm.upgrade/1\",\n  \"run\": {\"id\": \"x\",, \"dry_run\": false}\n}\n";
    let output = tool::tool("mm-swap").write_stdin(text).output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    assert!(said(&output).contains("line 3 column") && said(&output).contains("there stands `"), "{}", said(&output));
    assert!(said(&output).contains(",, \"dry_run\""), "{}", said(&output));
}

#[test]
fn a_store_that_cannot_be_written_and_a_point_that_is_not_there_are_told_with_what_to_do() {
    let site = Site::builder("10.5.12").build();
    let backup = |words: &[&str]| {
        let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(words).output().unwrap();
        (output.status.code(), said(&output), output)
    };
    let (code, text, output) = backup(&["create"]);
    assert_eq!(code, Some(0), "{text}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = document["backup"]["id"].as_str().unwrap().to_owned();
    let typed = format!("{}8Z", &id[..id.len() - 2]);
    let wrong = if typed == id { format!("{}7Z", &id[..id.len() - 2]) } else { typed };
    let (code, text, _) = backup(&["verify", &wrong]);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains(&format!("the nearest is {id}; mm-backup list --to ")), "{text}");

    let store = site.store();
    let store = store.to_str().unwrap();
    run("mount", &["--bind", store, store]);
    run("mount", &["-o", "remount,ro,bind", store]);
    let (code, text, _) = backup(&["create"]);
    run("umount", &[store]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("Read-only file system") && text.contains(&format!("findmnt --target {store}")), "{text}");
}

#[test]
fn a_database_that_is_down_a_wrong_password_and_a_wrong_host_are_told_apart() {
    let site = Site::builder("10.5.12").build();
    let source = site.config()["SqlSettings"]["DataSource"].as_str().unwrap().to_owned();
    let (head, rest) = source.split_once('@').unwrap();
    let (_, tail) = rest.split_once('/').unwrap();
    let port = site.cluster.port;
    let (scheme_and_user, _) = head.rsplit_once(':').unwrap();
    for (wrong, hint) in [
        (format!("{head}@127.0.0.1:{}/{tail}", free_port()), "PostgreSQL does not run there"),
        (format!("{scheme_and_user}:wrong@127.0.0.1:{port}/{tail}"), "is not that of the role"),
        (format!("{head}@no-such-host.invalid:{port}/{tail}"), "getent hosts no-such-host.invalid"),
        (format!("{head}@127.0.0.1:{port}/nothing?sslmode=disable"), "psql -l"),
    ] {
        site.set("SqlSettings", "DataSource", json!(wrong));
        let output = site.tool("mm-pgbump").args(["check", "--to", "15"]).output().unwrap();
        let said = said(&output);
        assert!(!output.status.success() && said.contains(hint), "{wrong}: {said}");
        assert!(!said.contains("wrong@"), "{said}");
    }
}
