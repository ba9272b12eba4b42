//! Running mm-verify on a site and reading what it says.

use mm_test_support::process;
use mm_test_support::site::{Site, quick};
use serde_json::Value;

/// Runs mm-verify without a browser and returns its exit code and document.
pub(crate) fn verify(site: &Site, arguments: &[&str]) -> (i32, Value) {
    look(site, &[&["--browser", "no"], arguments].concat())
}

/// Runs mm-verify and returns its exit code and document.
pub(crate) fn look(site: &Site, arguments: &[&str]) -> (i32, Value) {
    let output = site.tool("mm-verify").args(arguments).args(["--format", "json"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let document = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.code().unwrap(), document)
}

/// The checks that are neither passed nor skipped, with what they saw.
pub(crate) fn complaints(document: &Value) -> Vec<String> {
    let checks = document["verify"]["checks"].as_array().unwrap();
    let bad = checks.iter().filter(|check| check["status"] != "pass" && check["status"] != "skip");
    bad.map(|check| format!("{} {}: {}", check["status"], check["id"], check["evidence"])).collect()
}

/// The checks with a status, without their areas' order.
pub(crate) fn with_status(document: &Value, status: &str) -> Vec<String> {
    let checks = document["verify"]["checks"].as_array().unwrap();
    let named = checks.iter().filter(|check| check["status"] == status);
    named.map(|check| check["id"].as_str().unwrap().to_owned()).collect()
}

/// Makes a direct jump to 10.6.1 by hand.
pub(crate) fn jump(site: &Site) {
    site.stop();
    let release = quick("10.6.1").build();
    let swap = format!(
        "cd {}/.. && tar -xzf {} -C . --transform s,^mattermost,new, --no-same-owner && cd new && \
         for e in bin client i18n templates fonts prepackaged_plugins; do rm -rf ../mattermost/$e; mv $e ../mattermost/; done && \
         chown -hR mm-test: ../mattermost",
        site.install().display(),
        release.tarball.display()
    );
    process::run("bash", &["-ec", &swap]);
    site.start();
}

/// Number of rows that a run has put into the database and not removed.
pub(crate) fn traces(site: &Site) -> String {
    site.cluster.query(
        "SELECT (SELECT count(*) FROM users WHERE username LIKE 'mm-verify-%') +
           (SELECT count(*) FROM channels WHERE name LIKE 'mm-verify-%') + (SELECT count(*) FROM sessions)",
    )
}

/// A check of the document.
pub(crate) fn check_of(document: &Value, id: &str) -> Value {
    let checks = document["verify"]["checks"].as_array().unwrap();
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id} in {document}")).clone()
}
