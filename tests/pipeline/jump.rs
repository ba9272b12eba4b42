//! The upgrade that is not to be made: from 5.29.0 to 10.6.1 in one step, by hand. The server starts and answers, and
//! members see no team. mm-verify has to say so, and why.

use mm_test_support::process;
use mm_test_support::release::Release;
use mm_test_support::site::{Site, quick};
use serde_json::Value;

/// The file swap as the documents of Mattermost describe it, without a stop on the way.
fn jump(site: &Site, release: &Release) {
    site.stop();
    let install = site.install();
    let script = format!(
        "set -e; cd {0}; find . client -mindepth 1 -maxdepth 1 \\! \\( -type d \\( -path ./client -o -path client/plugins \
         -o -path ./config -o -path ./logs -o -path ./plugins -o -path ./data -o -path ./custom \\) -prune \\) \
         -print0 | sort -z | xargs -0 rm -rf; mkdir ../new; tar -xzf {1} -C ../new; chown -hR mm-test: ../new; \
         cp -an ../new/mattermost/. .; rm -rf ../new",
        install.display(),
        release.tarball.display()
    );
    process::run("bash", &["-c", &script]);
    site.start();
}

fn failed(document: &Value) -> Vec<&Value> {
    document["verify"]["checks"].as_array().unwrap().iter().filter(|check| check["status"] == "fail").collect()
}

#[test]
fn mm_verify_says_precisely_what_a_direct_jump_breaks_and_why() {
    let site = Site::builder("5.29.0").running().build();
    let history = site.history();
    jump(&site, &quick("10.6.1").build());
    // All that people usually look at is well.
    assert_eq!(site.running_version().as_deref(), Some("10.6.1"));
    assert_eq!(site.history(), history);

    let assert = site.tool("mm-verify").args(["--format", "json"]).assert().code(4);
    let document: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let failed = failed(&document);
    let text = failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").to_lowercase();
    for column in ["mentioncountroot", "msgcountroot", "totalmsgcountroot", "unreadmentions", "muted", "collapsed"] {
        assert!(text.contains(column), "nothing is said of {column}:\n{text}");
    }
    assert!(failed.iter().all(|check| check["hint"].is_string()), "{text}");
    // What a member meets: the calls by which the web client finds channels.
    assert!(text.contains("members") && text.contains("categories"), "{text}");
    let error = document["error"].to_string();
    assert!(error.contains("5.3") || error.contains("jump"), "the reason is not named: {error}");
}

#[test]
fn mm_path_does_not_plan_it() {
    let assert = mm_test_support::tool::tool("mm-path")
        .args([
            "--from",
            "5.29.0",
            "--edition",
            "team",
            "--from-postgres",
            "15",
            "--to",
            "10.6.1",
            "--policy",
            "direct",
        ])
        .assert()
        .success();
    let document: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let hops = document["path"]["hops"].as_array().unwrap();
    assert!(hops.len() > 1, "{hops:?}");
    let crossing =
        hops.iter().any(|hop| hop["why"].as_array().unwrap().iter().any(|why| why["rule"] == "eight-columns"));
    assert!(crossing, "{hops:?}");
}
