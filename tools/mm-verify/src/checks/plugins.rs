//! Plugins: those that are switched on run, and fit the release.

use mm_common::Result;
use mm_common::contract::secret::Secret;
use mm_common::contract::version;
use mm_common::mattermost::session::Session;
use serde_json::Value;

use crate::check::{Finding, some};
use crate::look::Look;
use crate::people::LIFE;
use crate::{server_log, watch};

pub(crate) fn plugins(look: &mut Look) -> Result<Finding> {
    let user = look.scratch()?.user.clone();
    // The list is for administrators; the temporary user gets a session with that role for this one call.
    let session = Session::open(look.database()?, &look.traces, &user, "system_user system_admin", LIFE)?;
    let answer = look.server.get("/api/v4/plugins", Some(session.token.reveal()));
    session.close(&look.server, look.database()?, &look.traces)?;
    let answer = answer?;
    if answer.status == 501 {
        return Ok(Finding::pass("plugins are switched off"));
    }
    if !answer.is_success() {
        return Ok(Finding::fail(format!("GET /plugins answers {}", answer.verdict())).hint("see the server's log"));
    }
    let list = |key: &str| answer.body[key].as_array().cloned().unwrap_or_default();
    let (active, inactive) = (list("active"), list("inactive"));
    let id = |plugin: &Value| plugin["id"].as_str().unwrap_or_default().to_owned();
    look.active_plugins = Some(active.iter().map(id).collect());
    let is_licensed = look.server.get("/api/v4/license/client?format=old", None)?.body["IsLicensed"] == "true";
    let states = &look.installation.config.settings["PluginSettings"]["PluginStates"];
    let is_on = |plugin: &Value| states[id(plugin)]["Enable"].as_bool().unwrap_or(false);
    let release = look.release();
    let (unlicensed, stopped): (Vec<&Value>, Vec<&Value>) = inactive
        .iter()
        .filter(|plugin| is_on(plugin))
        .partition(|plugin| needs_licence(&id(plugin), release) && !is_licensed);
    let [unlicensed, stopped] = [unlicensed, stopped].map(|list| list.into_iter().map(describe).collect::<Vec<_>>());
    let unfit: Vec<String> = active
        .iter()
        .chain(&inactive)
        .filter(|plugin| is_on(plugin) || active.contains(plugin))
        .filter(|plugin| !fits(plugin, look.release()))
        .map(|plugin| format!("{} wants {}", describe(plugin), plugin["min_server_version"]))
        .collect();
    let known: Vec<String> = active.iter().chain(&inactive).map(id).collect();
    let gone: Vec<String> = states
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, state)| state["Enable"] == true && !known.contains(name) && !is_built_in(name))
        .map(|(name, _)| name.clone())
        .collect();
    // What ran before the upgrade, was not switched off since and does not run now: users miss it in the menu.
    let before = look.baseline.as_ref().and_then(|baseline| baseline.plugins.clone()).unwrap_or_default();
    let runs: Vec<String> = active.iter().map(id).collect();
    let missed: Vec<String> = before
        .into_iter()
        .filter(|name| !runs.contains(name) && states[name.as_str()]["Enable"] != false)
        .filter(|name| is_licensed || !needs_licence(name, release))
        .filter(|name| !successor(name).is_some_and(|by| runs.iter().any(|runs| runs == by)))
        .collect();
    let mut words = Vec::new();
    for (word, list) in [
        ("active before and not now", &missed),
        ("enabled but not running", &stopped),
        ("not running without a licence", &unlicensed),
        ("enabled but not installed", &gone),
        ("too new", &unfit),
    ] {
        if !list.is_empty() {
            words.push(format!("{word}: {}", some(list, 5)));
        }
    }
    if !stopped.is_empty() || !missed.is_empty() {
        let password = look.installation.source.as_ref().and_then(|source| source.password.as_ref());
        let said = server_log::about_plugins(&watch::log_path(look), password.map(Secret::reveal));
        words.extend(said.map(|line| format!("the log says `{line}`")));
    }
    Ok(if !stopped.is_empty() || !unfit.is_empty() || !missed.is_empty() {
        Finding::fail(words.join("; "))
            .hint("the server's log says why a plugin did not start; install a version of it that fits this release")
    } else if !words.is_empty() {
        Finding::warn(words.join("; "))
    } else {
        Finding::pass(format!("{} active, {} switched off", active.len(), inactive.len()))
    })
}

fn describe(plugin: &Value) -> String {
    format!("{} {}", plugin["id"].as_str().unwrap_or_default(), plugin["version"].as_str().unwrap_or_default())
}

fn fits(plugin: &Value, release: &semver::Version) -> bool {
    let wanted = plugin["min_server_version"].as_str().unwrap_or_default();
    version::parse(wanted).map_or(true, |wanted| wanted <= *release)
}

/// Playbooks, which is switched on by default, starts on a licensed server only: on 9.11.12 and from 10.5.3 on (observed
/// with the Enterprise binary).
fn needs_licence(name: &str, release: &semver::Version) -> bool {
    let version = semver::Version::new;
    name == "playbooks" && (*release >= version(10, 5, 3) || (version(9, 11, 12)..version(9, 12, 0)).contains(release))
}

/// What takes a plugin's place: Playbooks, when it starts, removes the two under whose names it was shipped before
/// (source of its plugin; 5.37 enables the second of them by default in the Enterprise binary).
fn successor(name: &str) -> Option<&'static str> {
    let old = ["com.mattermost.plugin-incident-response", "com.mattermost.plugin-incident-management"];
    old.contains(&name).then_some("playbooks")
}

/// Plugins that are switched on by default and shipped with the release; they are installed when they are first used.
fn is_built_in(name: &str) -> bool {
    name.starts_with("com.mattermost.") || matches!(name, "playbooks" | "focalboard")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn playbooks_needs_a_licence_from_10_5_3_on_and_no_other_plugin_does() {
        let needs = |name: &str, release: &str| needs_licence(name, &release.parse().unwrap());
        assert!(needs("playbooks", "10.5.3") && needs("playbooks", "11.0.0") && needs("playbooks", "9.11.12"));
        assert!(!needs("playbooks", "9.11.11") && !needs("playbooks", "10.5.2") && !needs("jira", "11.0.0"));
    }
}
