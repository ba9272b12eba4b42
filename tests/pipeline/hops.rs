//! The whole job: a server of 2020 carried to 2025 by the six tools, and what a pipeline says when it cannot go on.

use mm_test_support::pipeline::{self, hop, hop_with, plan, run};
use mm_test_support::release::Release;
use mm_test_support::site::{Releases, Site, quick};
use mm_test_support::tool::shell;
use serde_json::{Value, json};

/// The hops of the extended support lines from 5.29.0 to 10.6.1, the installed release first.
const WAY: [&str; 11] =
    ["5.29.0", "5.31.9", "5.37.10", "6.3.10", "7.1.9", "7.8.15", "8.1.13", "9.5.14", "9.11.18", "10.5.14", "10.6.1"];

fn releases(site: &Site, versions: &[&str]) -> Releases {
    let built: Vec<Release> = versions.iter().map(|version| quick(version).build()).collect();
    site.releases(&built)
}

fn count(verify: &Value, status: &str) -> u64 {
    verify["counts"][status].as_u64().unwrap_or(0)
}

/// The host of `scripts/test-host` goes the whole way with every change.
#[test]
#[ignore = "long: ten hops"]
fn a_server_of_2020_arrives_in_2025_on_a_newer_postgres_with_everything_it_had() {
    arrives(&WAY);
}

#[test]
fn a_server_arrives_on_a_newer_postgres_with_everything_it_had() {
    arrives(&WAY[7..]);
}

fn arrives(way: &[&str]) {
    let site = Site::builder(way[0]).postgres(13).posts(1000).running().build();
    let releases = releases(&site, way);
    let (history, counts, files) = (site.history(), site.counts(), site.user_files());
    assert!(history.starts_with("1000|"), "{history}");

    let mut document = plan(&site, &releases, &["--to", "10.6.1", "--postgres", "15"]);
    // What somebody else put into the document comes out at the end.
    document["ticket"] = json!({"number": 42, "by": "us"});
    let mut stops = vec![document["path"]["current"].as_str().unwrap().to_owned()];
    let one_hop = format!("{} | mm-path {}", hop(&site, &releases), site.flags().join(" "));
    while !document["path"]["next"].is_null() {
        assert!(stops.len() <= way.len(), "it goes in circles: {stops:?}");
        stops.push(document["path"]["next"]["to"].as_str().unwrap().to_owned());
        document = run(&one_hop, &document).good();
    }

    assert_eq!(stops, way);
    assert_eq!(site.running_version().as_deref(), Some("10.6.1"));
    assert!(site.cluster.query("SHOW server_version").starts_with("15."));
    let clusters = site.cluster.all_of_this_name();
    assert!(clusters.contains(&(15, site.cluster.port, "online".into())), "{clusters:?}");
    assert!(
        clusters.iter().any(|(major, _, status)| *major == 13 && status == "down"),
        "the old one stays: {clusters:?}"
    );

    assert_eq!(site.history(), history, "messages");
    assert_eq!(site.counts(), counts, "rows");
    assert_eq!(site.user_files(), files, "files of the user");

    assert_eq!(document["ticket"], json!({"number": 42, "by": "us"}));
    let done = document["done"].as_array().unwrap();
    assert_eq!(done.len(), way.len() - 1);
    for hop in done {
        assert_eq!(count(&hop["verify"], "fail"), 0, "{}", hop["verify"]["checks"]);
        assert_eq!(count(&hop["verify"], "error"), 0, "{}", hop["verify"]["checks"]);
        assert!(count(&hop["verify"], "pass") > 5, "{}", hop["verify"]);
    }
    let bumped: Vec<&str> = done
        .iter()
        .filter(|hop| hop["pgbump"]["needed"] == true)
        .map(|hop| hop["hop"]["to"].as_str().unwrap())
        .collect();
    assert_eq!(bumped, ["10.6.1"]);
}

#[test]
fn a_whole_upgrade_can_be_gone_through_dry() {
    let way = &WAY[6..];
    let site = Site::builder(way[0]).running().build();
    let releases = releases(&site, way);
    let (history, pids) = (site.history(), site.pids());
    let mut document = plan(&site, &releases, &["--to", "10.6.1", "--dry-run"]);
    assert_eq!(document["run"]["dry_run"], true);
    let one_hop = format!("{} | mm-path {}", hop(&site, &releases), site.flags().join(" "));
    for _ in 1..way.len() {
        // Nobody after mm-path is told that it is dry: the document carries it.
        document = run(&one_hop, &document).good();
    }
    assert!(document["path"]["next"].is_null(), "{}", document["path"]);
    assert_eq!(site.pids(), pids, "the server was not even restarted");
    assert_eq!((site.history(), site.running_version().as_deref()), (history, Some(way[0])));
    assert!(!site.store().exists(), "a restore point was made");
}

#[test]
fn a_tarball_that_is_not_the_published_one_stops_the_pipeline_before_anything_happens() {
    let site = Site::builder("9.11.18").running().build();
    let releases = releases(&site, &["9.11.18", "10.5.14"]);
    let pids = site.pids();
    let tarball = quick("10.5.14").build();
    let published = releases.directory.join(&tarball.url_path);
    let mut bytes = std::fs::read(&published).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&published).unwrap();
    std::fs::write(&published, bytes).unwrap();

    let outcome = pipeline::carry_out(&site, &releases, &["--to", "10.5.14"]);
    let error = &outcome.document["error"];
    assert_eq!(error["tool"], "mm-fetch", "{error}");
    assert_eq!(error["code"], outcome.code);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(
        error["message"].as_str().unwrap().len() > 10 && error["hint"].is_string(),
        "who, what, why, what next: {error}"
    );
    assert!(!error["causes"].as_array().unwrap().is_empty(), "{error}");
    assert_eq!(outcome.document["failed"], true);
    assert_eq!(site.pids(), pids, "the server was touched");
    assert!(!site.store().exists(), "a restore point was begun");
    // The second tool, asked again with that document, still does nothing.
    let again = run(&hop(&site, &releases), &outcome.document);
    assert_eq!(again.code, outcome.code);
}

#[test]
fn a_hop_that_was_done_is_done_once() {
    let site = Site::builder("9.11.18").running().build();
    let releases = releases(&site, &["9.11.18", "10.5.14"]);
    let document = plan(&site, &releases, &["--to", "10.5.14"]);
    run(&hop(&site, &releases), &document).good();
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));
    let pids = site.pids();
    // The same document again, as a shell's history would do it: fetch, bump and swap have nothing to do.
    let pipeline = hop(&site, &releases);
    let without = |command: &&str| !command.starts_with("mm-backup") && !command.starts_with("mm-verify");
    let again = run(&pipeline.split(" | ").filter(without).collect::<Vec<_>>().join(" | "), &document);
    assert_eq!(again.code, 0, "{}", again.said);
    assert_eq!(again.document["changed"], false, "{}", again.document);
    assert_eq!(site.pids(), pids, "the server was restarted for nothing");
}

#[test]
fn two_upgrades_at_once_are_one() {
    let site = Site::builder("9.11.18").running().build();
    let releases = releases(&site, &["9.11.18", "10.5.14"]);
    let document = plan(&site, &releases, &["--to", "10.5.14"]);
    let file = site.directory().join("document.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let pipeline = hop_with(&site, &releases, |_| String::new());
    let script = format!(
        "({pipeline}) <{0} >{0}.1 2>/dev/null & one=$!; ({pipeline}) <{0} >{0}.2 2>/dev/null; two=$?; wait $one; echo $? $two",
        file.display()
    );
    let output = shell(&script).output().unwrap();
    let codes: Vec<u8> =
        String::from_utf8_lossy(&output.stdout).split_whitespace().map(|code| code.parse().unwrap()).collect();
    assert_eq!(codes.len(), 2, "{codes:?}");
    if !codes.contains(&0) {
        // Each met the lock of the other, which then had its end there: nothing has been done, and the next one does it.
        assert_eq!(site.running_version().as_deref(), Some("9.11.18"));
        run(&hop(&site, &releases), &document).good();
    }
    assert!(codes.iter().all(|code| [0, 5, 75].contains(code)), "the other one is refused or finds it done: {codes:?}");
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));
}
