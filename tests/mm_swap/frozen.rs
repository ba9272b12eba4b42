//! The way back by the frozen copy that the restore point of the hop has in the cluster.

use std::os::unix::process::ExitStatusExt as _;

use mm_test_support::release::Order;
use mm_test_support::site::{Site, quick};
use serde_json::{Value, json};

use crate::back::{FROM, Lab, NEXT, said};

fn lab(release: &Order) -> Lab {
    Lab::with(Site::builder(FROM).running().build(), release, "--stop --freeze")
}

/// The number of a database whose name ends so, or is this one.
fn number(lab: &Lab, name: &str) -> String {
    lab.site.cluster.sql("postgres", &format!("SELECT oid FROM pg_database WHERE datname LIKE '{name}'"))
}

const COPY: &str = "mattermost\\_mm\\_frozen\\_%";

#[test]
fn a_release_that_fails_is_undone_by_the_copy() {
    let lab = lab(&quick(NEXT).fault("wrong-version=10.5.0"));
    let (copy, posts) = (number(&lab, COPY), lab.site.cluster.query("SELECT count(*) FROM posts"));
    let output = lab.swap(&["run"], "");
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert_eq!(lab.site.running_version().as_deref(), Some(FROM));
    assert_eq!((number(&lab, "mattermost"), number(&lab, COPY)), (copy, String::new()));
    assert_eq!(lab.site.cluster.query("SELECT count(*) FROM posts"), posts);
}

#[test]
fn a_rollback_goes_back_by_the_copy_whenever_it_is_cut_off() {
    let lab = lab(&quick(NEXT));
    let output = lab.swap(&["run"], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let copy = number(&lab, COPY);
    let output = lab.swap(&["rollback", "--database", "--dry-run"], "");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let way = &document["plan"]["mm-swap"]["way_back"];
    assert_eq!((&way["kind"], &way["seconds"]), (&json!("frozen-copy"), &json!(1)), "{document}");
    // The copy is put back first, beside the running server, which is stopped for the change of names alone.
    for checkpoint in ["undo-restored", "undo-config"] {
        let verb = if checkpoint == "undo-restored" { &["rollback", "--database"][..] } else { &["recover"] };
        let output = lab.swap(verb, checkpoint);
        assert_eq!(output.status.signal(), Some(9), "it was to die at `{checkpoint}`: {}", said(&output));
    }
    let output = lab.swap(&["recover"], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(lab.site.running_version().as_deref(), Some(FROM));
    assert_eq!((number(&lab, "mattermost"), number(&lab, COPY)), (copy, String::new()));
}
