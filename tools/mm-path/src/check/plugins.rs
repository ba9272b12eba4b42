//! Check of the installed plugins.

use std::path::Path;
use std::time::Duration;

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::contract::version::Edition;
use mm_common::machine::budget::Budget;
use mm_common::machine::files;
use mm_common::mattermost::catalogue::Severity;
use semver::Version;
use serde_json::Value;

use super::host::HostView;
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<HostView<'a>>> {
    vec![Check {
        id: "plugins",
        title: "Installed plugins",
        source: "mattermost/mattermost-plugin-demo#128, mattermost-plugin-boards#150",
        look: plugins,
    }]
}

/// The id of the Boards plugin.
const BOARDS: &str = "focalboard";
/// A plugin.json or an executable that is larger than this is neither.
const MOST_MANIFEST: u64 = 1024 * 1024;
const MOST_EXECUTABLE: u64 = 512 * 1024 * 1024;
/// A site has some dozen plugins, of up to 100 MB. Each is counted as one, and its executable as another.
const MOST_PLUGINS: u64 = 2000;
const MOST_BYTES: u64 = 16 << 30;
const LONGEST: Duration = Duration::from_secs(300);

/// Plugins that ask for a newer server than is installed, or were built with a Go whose programs hang.
fn plugins(view: &HostView<'_>) -> Result<Outcome> {
    let configured = view.installation.config.text("PluginSettings", "Directory").filter(|text| !text.is_empty());
    let directory = view.installation.root.join(configured.unwrap_or_else(|| "plugins".into()));
    if files::look(&directory)?.is_none() {
        return Ok(Outcome::Good("none".into()));
    }
    let entries = std::fs::read_dir(&directory).context(|| format!("cannot list `{}`", directory.display()))?;
    let mut seen = Vec::new();
    let mut evidence = Vec::new();
    let budget = Budget::new("plugins", MOST_PLUGINS, MOST_BYTES, LONGEST);
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        budget.spend(0)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let manifest = entry.path().join("plugin.json");
        if files::look(&manifest)?.is_none() {
            continue;
        }
        let text = files::read_text(&manifest, MOST_MANIFEST)?;
        let manifest: Value = serde_json::from_str(&text)
            .map_err(|cause| Error::failed(format!("cannot read `{}`", manifest.display())).because(cause))?;
        let version = manifest["version"].as_str().unwrap_or("?").to_owned();
        let wanted = manifest["min_server_version"].as_str().and_then(|text| Version::parse(text).ok());
        if let Some(wanted) = wanted.filter(|wanted| wanted > view.way.from) {
            evidence.push(format!("{name} {version} wants a server of {wanted} or newer"));
        }
        if built_with_bad_go(&entry.path(), &manifest, &budget)? {
            evidence.push(format!("{name} {version} was built with Go 1.22.0 or 1.22.1"));
        }
        if name == BOARDS && view.way.crossing(&Version::new(9, 0, 0)).is_some() {
            evidence.push(format!("{name} {version} (Boards) is not maintained with the server from 9.0 on"));
        }
        if let Some(release) = without_licence(&name, view) {
            evidence.push(format!("{name} {version} does not start without a licence from {release} on"));
        }
        seen.push(format!("{name} {version}"));
    }
    seen.sort();
    let good = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
    Ok(Outcome::of(evidence, &good, |evidence| Bad {
        severity: Severity::Warn,
        evidence,
        hop: None,
        fix: "update the plugin, or disable it for the upgrade".into(),
    }))
}

/// The first release on the way on which Playbooks refuses to start without a licence, though it ran the dot release
/// before (observed with the Enterprise binary: 9.11.12, and 10.5.3 and later).
fn without_licence(name: &str, view: &HostView<'_>) -> Option<Version> {
    let is_licensed = view.way.licence.is_some_and(|licence| !licence.is_empty());
    let states = &view.installation.config.settings["PluginSettings"]["PluginStates"];
    if name != "playbooks" || is_licensed || view.way.edition != Edition::Enterprise || states[name]["Enable"] == false
    {
        return None;
    }
    let mut stops = view.way.hops.iter().map(|hop| &hop.to).filter(|_| runs_playbooks(view.way.from));
    stops.find(|to| !runs_playbooks(to)).cloned()
}

/// Whether Playbooks runs on this release without a licence.
fn runs_playbooks(release: &Version) -> bool {
    *release < Version::new(9, 11, 12) || (Version::new(10, 0, 0)..Version::new(10, 5, 3)).contains(release)
}

/// The executables of plugins carry the version of the Go they were built with as plain text.
fn built_with_bad_go(plugin: &Path, manifest: &Value, budget: &Budget) -> Result<bool> {
    let executables = &manifest["server"]["executables"];
    let named = executables["linux-amd64"].as_str().or_else(|| manifest["server"]["executable"].as_str());
    let Some(relative) = named.filter(|name| !name.contains("..")) else { return Ok(false) };
    let path = plugin.join(relative);
    let Some(data) = files::look(&path)? else { return Ok(false) };
    budget.spend(data.len())?;
    let bytes = files::read(&path, MOST_EXECUTABLE)?;
    let is_there = |text: &[u8]| {
        bytes.windows(text.len() + 1).any(|window| window.starts_with(text) && !window[text.len()].is_ascii_digit())
    };
    Ok(is_there(b"go1.22.0") || is_there(b"go1.22.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn playbooks_runs_without_a_licence_up_to_9_11_11_and_from_10_0_to_10_5_2() {
        let runs = |release: &str| runs_playbooks(&release.parse().unwrap());
        assert!(runs("6.3.10") && runs("9.11.11") && runs("10.0.0") && runs("10.5.2"));
        assert!(!runs("9.11.12") && !runs("10.5.3") && !runs("10.6.0") && !runs("11.0.0"));
    }
}
