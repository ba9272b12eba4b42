//! A release that came out after these tools were built.

use std::fs;

use mm_test_support::pipeline::{plan, run};
use mm_test_support::release::catalogue;
use mm_test_support::signer::Signer;
use mm_test_support::site::{Site, quick};
use mm_test_support::tool::{tool, tool_without};
use predicates::str::contains;
use serde_json::{Value, json};

const INSTALLED: &str = "11.5.1";
const NEXT: &str = "11.7.99";

/// A page with a newer release of a line, as Mattermost's table of releases has it.
const PAGE: &str = "| v11.7 [Download](https://releases.mattermost.com/11.7.99/mattermost-11.7.99-linux-amd64.tar.gz) | 2026-05-15 | 2027-05-15 EXTENDED |\n";

#[test]
fn a_release_that_is_newer_than_the_catalogue_is_planned_proven_by_its_signature_and_installed() {
    let site = Site::builder(INSTALLED).postgres(15).running().build();
    let (installed, next) = (quick(INSTALLED).build(), quick(NEXT).build());
    let releases = site.releases(&[installed.clone(), next.clone()]);
    // Of the one that runs its digest is known; of the other nothing is.
    fs::write(&releases.catalogue, catalogue(std::slice::from_ref(&installed)).to_string()).unwrap();
    let history = site.history();

    // The vendor's key: these tools have a copy that expired in 2024, and it has been renewed since.
    let signer = Signer::expired();
    let (copy, fingerprint) = (signer.keyring("copy.asc"), signer.fingerprint());
    signer.renew();
    signer.sign(&releases.directory.join(&next.url_path));
    let key = [("MM_BUILD_KEY", copy.to_str().unwrap()), ("MM_BUILD_FINGERPRINT", fingerprint.as_str())];

    // By its name it is planned as one of the line before it, and that is said.
    let assumed = plan(&site, &releases, &["--to", NEXT]);
    let hop = &assumed["path"]["hops"][0];
    assert!(hop["why"].to_string().contains("not in the catalogue and is planned as if it were of 11.7"), "{hop}");

    // Where sqv is all there is, the copy of the key does not do: the renewed one comes with the refresh.
    let fetch = |document: &Value| {
        let mut command = tool_without("gpgv", "mm-fetch");
        command.envs(key).args(["--mirror", releases.site.url(), "--state-dir"]).arg(site.state());
        command.args(["--catalogue"]).arg(&releases.catalogue).arg("--cache").arg(site.directory().join("other"));
        command.write_stdin(document.to_string()).assert()
    };
    fetch(&assumed).code(5).stderr(contains("mm-fetch refresh"));
    let pages = site.directory().join("pages");
    fs::create_dir(&pages).unwrap();
    fs::write(pages.join("releases.mdx"), PAGE).unwrap();
    fs::copy(signer.keyring("renewed.asc"), pages.join("pubkey.gpg")).unwrap();
    let mut refresh = tool("mm-fetch");
    refresh.envs(key).args(["refresh", "--from"]).arg(&pages).arg("--state-dir").arg(site.state()).assert().success();

    let document = plan(&site, &releases, &["--to", "11.7"]);
    assert_eq!(
        (&document["path"]["target"], &document["path"]["catalogue"]["sources"][NEXT]),
        (&json!(NEXT), &json!("refreshed"))
    );
    let fetched = fetch(&document).success();
    let fetched: Value = serde_json::from_slice(&fetched.get_output().stdout).unwrap();
    let release = fetched["fetch"]["releases"].as_array().unwrap().iter().find(|one| one["version"] == NEXT).unwrap();
    assert_eq!((&release["proof"], &release["signed_by"]), (&json!("signature"), &json!(fingerprint)));

    // What it will add to the schema was read in its program.
    let cache = site.directory().join("other");
    let known = plan(&site, &releases, &["--to", "11.7", "--cache", cache.to_str().unwrap()]);
    let added = known["path"]["next"]["estimate"]["migrations"].as_array().unwrap();
    assert!(added.iter().any(|one| one.as_str().unwrap().starts_with("158 ")), "{added:?}");

    // And with gpgv, for which the copy of the key would have done, the whole hop.
    let flags = site.flags().join(" ");
    let hop = format!(
        "MM_BUILD_KEY={} MM_BUILD_FINGERPRINT={fingerprint} mm-fetch --mirror {} --cache {} --catalogue {} {flags} \
         | mm-swap stage {flags} | mm-backup --to {} --stop --leave-stopped {flags} | mm-pgbump --leave-stopped {flags} \
         | mm-swap {flags} | mm-verify {flags} | mm-path {flags}",
        copy.display(),
        releases.site.url(),
        site.cache().display(),
        releases.catalogue.display(),
        site.store().display(),
    );
    let done = run(&hop, &document).good();
    assert!(done["path"]["next"].is_null(), "{}", done["path"]);
    assert_eq!(site.running_version().as_deref(), Some(NEXT));
    assert_eq!(site.history(), history);
    // What comes next stands at the end.
    assert!(
        done["path"]["notes"].to_string().contains("11.7 gets security fixes until 2027-05-15"),
        "{}",
        done["path"]["notes"]
    );
}
