//! Plugins, as far as an upgrade tool sees them: those on disk with a `plugin.json`, enabled or not by the configuration. None ever runs.

use serde_json::{Value, json};

use crate::server::Server;

struct Plugin {
    manifest: Value,
    id: String,
    enabled: bool,
    /// Enabled, but did not start (a fault).
    dead: bool,
}

fn found(server: &Server) -> Vec<Plugin> {
    let directory = server.root.join(server.config.text("PluginSettings", "Directory"));
    let states = server.config.get("PluginSettings", "PluginStates").cloned().unwrap_or_default();
    let mut plugins: Vec<Plugin> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("plugin.json")).ok())
        .filter_map(|text| {
            let manifest: Value = serde_json::from_str(&text).ok()?;
            let id = manifest.get("id")?.as_str()?.to_owned();
            let enabled = states.get(&id).and_then(|state| state.get("Enable")).and_then(Value::as_bool) == Some(true);
            let dead = server.faults.value("plugin-inactive").is_some_and(|said| said.is_empty() || said == id);
            Some(Plugin { manifest, id, enabled, dead })
        })
        .collect();
    plugins.sort_by(|one, other| one.id.cmp(&other.id));
    plugins
}

/// Those that are enabled and did not start.
pub(crate) fn dead(server: &Server) -> Vec<String> {
    found(server).into_iter().filter(|plugin| plugin.enabled && plugin.dead).map(|plugin| plugin.id).collect()
}

/// `{"active":[],"inactive":[]}`
pub(crate) fn listed(server: &Server) -> Value {
    let (active, inactive): (Vec<Plugin>, Vec<Plugin>) =
        found(server).into_iter().partition(|plugin| plugin.enabled && !plugin.dead);
    let manifests = |plugins: Vec<Plugin>| plugins.into_iter().map(|plugin| plugin.manifest).collect::<Vec<_>>();
    json!({"active": manifests(active), "inactive": manifests(inactive)})
}

/// State 2 is running, 3 failed to start, 0 not running.
pub(crate) fn statuses(server: &Server) -> Value {
    let statuses = found(server).into_iter().map(|plugin| {
        let state = match (plugin.enabled, plugin.dead) {
            (true, true) => 3,
            (true, false) => 2,
            (false, _) => 0,
        };
        let word = |key: &str| plugin.manifest.get(key).and_then(Value::as_str).unwrap_or_default();
        json!({
            "plugin_id": plugin.id, "cluster_id": "", "plugin_path": "", "state": state, "name": word("name"),
            "description": word("description"), "version": word("version"), "error": if state == 3 { "failed to start" } else { "" },
        })
    });
    statuses.collect()
}

pub(crate) fn webapp(server: &Server) -> Value {
    found(server)
        .into_iter()
        .filter(|plugin| plugin.enabled && !plugin.dead && plugin.manifest.get("webapp").is_some())
        .map(|plugin| plugin.manifest)
        .collect()
}
