//! mm-backup from outside, on servers with content in real clusters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it fails")]
#![allow(clippy::disallowed_methods, reason = "what the tools do is not to be used to test them")]
#![allow(clippy::print_stderr, reason = "a test says what it met")]

mod access;
mod besides;
mod configuration;
mod copy;
mod damage;
mod elsewhere;
mod equal;
mod extremes;
mod faults;
mod first;
mod frozen;
mod frozen_hops;
mod hosts;
mod hot;
mod incremental;
mod interruptions;
mod monitoring;
mod mysql;
mod offsite;
mod outside;
mod pins;
mod reflinks;
mod refusals;
mod repair;
mod roles;
mod round_trip;
mod schedule;
mod service;
mod started;
#[cfg(feature = "checkpoints")]
mod stopped;
mod systemd;
mod tls;
mod tree;

use std::path::PathBuf;

use mm_test_support::site::Site;
use serde_json::Value;

/// Makes a restore point with these flags and returns the section `backup`.
fn make(site: &Site, flags: &[&str]) -> Value {
    let made = site.tool("mm-backup").arg("--to").arg(site.store()).args(flags).assert().success();
    let document: Value = serde_json::from_slice(&made.get_output().stdout).unwrap();
    document["backup"].clone()
}

/// Where a restore point keeps its copy of a file of the install tree.
fn stored(site: &Site, backup: &Value, below: &str) -> PathBuf {
    let path = site.install().join(below);
    PathBuf::from(backup["path"].as_str().unwrap()).join("files").join(path.strip_prefix("/").unwrap())
}

/// The identifiers that `list` shows, oldest first, and those it shows as damaged.
fn listed(site: &Site) -> (Vec<String>, Vec<String>) {
    let shown =
        site.tool("mm-backup").arg("--to").arg(site.store()).args(["list", "--format", "json"]).assert().success();
    let list: Value = serde_json::from_slice(&shown.get_output().stdout).unwrap();
    let ids = |key: &str| -> Vec<String> {
        list[key].as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap().to_owned()).collect()
    };
    (ids("points"), ids("damaged"))
}

/// Runs `verify` and returns its exit code and what it said.
fn verify(site: &Site, flags: &[&str]) -> (i32, String) {
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).arg("verify").args(flags).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}
