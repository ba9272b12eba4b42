//! What is known of the site: from the machine, or from the command line on paper.

use std::collections::BTreeMap;
use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::Site;
use mm_common::contract::ui;
use mm_common::contract::version::Edition;
use mm_common::machine::command::Cmd;
use mm_common::machine::files;
use mm_common::mattermost::catalogue::{Arch, Driver};
use mm_common::mattermost::manifest::OWNED;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::cluster::KEPT;
use mm_common::postgres::server::Database;
use serde_json::{Value, json};

use crate::arguments::PathArguments;
use crate::check::Outside;
use crate::glibc;
use crate::plan::Start;
use crate::postgres::Server;

/// The start of a plan on paper. Without a word about the database it is PostgreSQL, of a version that is not known.
pub(crate) fn on_paper(arguments: &PathArguments) -> Option<Start> {
    let edition = arguments.from_edition.or(arguments.edition).unwrap_or(Edition::Team);
    let mut start = Start::on_paper(arguments.from.clone()?, edition);
    start.driver = Some(Driver::Postgres);
    if let Some(version) = &arguments.from_mysql {
        start.driver = Some(Driver::Mysql);
        start.mysql = Some(version.clone());
    }
    if let Some(version) = &arguments.from_postgres {
        start.postgres = Some(Server { major: version.major(), ..Server::default() });
    }
    Some(start)
}

/// The start of a plan for an installation of this machine. What of the database cannot be seen stays unknown, with a
/// warning.
pub(crate) fn installation(
    installation: &Installation,
    section: &Site,
    database: Option<&Database>,
    wished: Option<Edition>,
    outside: &Outside,
) -> Result<Start> {
    let arch = Arch::of_host().ok_or_else(|| {
        Error::refused(format!("Mattermost publishes no releases for this processor ({})", std::env::consts::ARCH))
            .hint("x86-64 and 64-bit ARM are what there is")
    })?;
    let mut start = Start::on_paper(installation.version.clone(), installation.edition);
    start.arch = arch;
    start.driver = match section.database.driver.as_str() {
        "postgres" => Some(Driver::Postgres),
        "mysql" => Some(Driver::Mysql),
        _ => None,
    };
    if start.driver == Some(Driver::Mysql) {
        start.mysql = section.database.server_version.as_deref().and_then(|text| text.parse().ok());
    }
    start.glibc = glibc::of_host();
    start.config = Some(effective_config(&installation.config.settings, &installation.config.variables()));
    start.release_bytes = release_bytes(&installation.root);
    start.database_bytes = section.database.bytes;
    let major = section.database.major.filter(|_| start.driver == Some(Driver::Postgres));
    let cluster = section.database.cluster.as_ref();
    // What could not be looked for is not said to be missing.
    let elsewhere = cluster.is_none() && !section.database.cluster_unknown;
    start.postgres = major.map(|major| Server { major, available: cluster.map(|_| installed(major)), elsewhere });
    if let Some(database) = database {
        if [Some(start.edition), wished].contains(&Some(Edition::Enterprise)) {
            start.licence = crate::check::licence(database, outside).map_err(|error| ui::warn(&error.one_line())).ok();
        }
        start.rows.extend(estimated_rows(database));
    }
    // This one is counted where that is cheap.
    start.rows.extend(section.database.posts.map(|posts| ("posts".to_owned(), posts)));
    Ok(start)
}

/// Size of the directories that the release owns; symlinks are not followed.
fn release_bytes(root: &Path) -> Option<u64> {
    let directories = OWNED.iter().map(|name| root.join(name));
    let there = directories.filter(|path| matches!(files::look(path), Ok(Some(data)) if data.is_dir()));
    there.map(|path| fs_extra::dir::get_size(path).ok()).sum()
}

/// The PostgreSQL majors whose programs are on this machine, the running one included.
fn installed(running: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = entries.filter(|entry| entry.path().join("bin/pg_ctl").exists());
    let mut majors: Vec<u32> = found.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    majors.push(running);
    majors.sort_unstable();
    majors.dedup();
    majors
}

/// The PostgreSQL majors that this machine's package sources offer. Empty where there is no apt.
pub(crate) fn installable() -> Vec<u32> {
    let listed = Cmd::new("apt-cache").args(["search", "--names-only", "^postgresql-[0-9]+$"]).run();
    let Ok(output) = listed else { return Vec::new() };
    let names = output.text();
    names.lines().filter_map(|line| line.split(' ').next()?.strip_prefix("postgresql-")?.parse().ok()).collect()
}

/// The databases that other applications have in the server's cluster, as `NAME of OWNER`.
///
/// # Errors
/// Fails when the database cannot be asked.
pub(crate) fn neighbours(database: &Database) -> Result<Vec<String>> {
    let rows = database.rows(&format!(
        "SELECT datname || ' of ' || pg_catalog.pg_get_userbyid(datdba) AS name FROM pg_catalog.pg_database \
         WHERE NOT datistemplate AND datname NOT IN ('postgres', pg_catalog.current_database()) AND NOT {KEPT} ORDER BY 1"
    ))?;
    Ok(rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect())
}

/// Row numbers of the tables, as PostgreSQL's own statistics have them: an estimate needs no count.
fn estimated_rows(database: &Database) -> BTreeMap<String, u64> {
    let sql = "SELECT c.relname AS name, greatest(c.reltuples, 0)::bigint AS rows FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = pg_catalog.current_schema() AND c.relkind = 'r' AND c.reltuples > 0";
    match database.rows(sql) {
        Ok(rows) => rows
            .iter()
            .filter_map(|row| Some((row.get("name")?.as_str()?.to_owned(), row.get("rows")?.as_u64()?)))
            .collect(),
        Err(error) => {
            ui::warn(&format!("no estimates: {}", error.one_line()));
            BTreeMap::new()
        }
    }
}

/// The configuration with the `MM_*` variables applied, as the server sees it.
///
/// A variable without a matching key is left out: it names no setting of this release. Feature flags are set by
/// variables alone, so those have no key to match.
pub(crate) fn effective_config(settings: &Value, overrides: &[(String, String)]) -> Value {
    let mut config = settings.clone();
    let Some(sections) = config.as_object_mut() else { return config };
    for (name, value) in overrides {
        let Some(rest) = name.strip_prefix("MM_") else { continue };
        if let Some(flag) = rest.strip_prefix("FEATUREFLAGS_") {
            let flags = sections.entry("FeatureFlags").or_insert_with(|| json!({}));
            let Some(flags) = flags.as_object_mut() else { continue };
            flags.retain(|known, _| !known.eq_ignore_ascii_case(flag));
            flags.insert(flag.to_owned(), switch(value).map_or_else(|| value.as_str().into(), Value::from));
            continue;
        }
        for (section, keys) in sections.iter_mut() {
            let Some(key) = rest.strip_prefix(&format!("{}_", section.to_uppercase())) else { continue };
            let Some(keys) = keys.as_object_mut() else { continue };
            let known = keys.keys().find(|known| known.to_uppercase() == key).cloned();
            if let Some(known) = known {
                // A variable is text; where the setting is a number or a switch, the server reads it as one.
                let typed = match &keys[&known] {
                    Value::String(_) => None,
                    Value::Bool(_) => switch(value).map(Value::from),
                    _ => serde_json::from_str(value).ok(),
                };
                keys.insert(known, typed.unwrap_or_else(|| Value::from(value.as_str())));
            }
        }
    }
    config
}

/// A switch as the server reads it from a variable (Go's `ParseBool`).
fn switch(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_in_variables_are_read_as_the_server_reads_them() {
        let settings =
            json!({"GitLabSettings": {"Enable": false}, "FeatureFlags": {"AppsEnabled": "false", "Kept": "on"}});
        let overrides = [("MM_GITLABSETTINGS_ENABLE", "1"), ("MM_FEATUREFLAGS_APPSENABLED", "TRUE")];
        let overrides = overrides.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = effective_config(&settings, &overrides);
        let expected = json!({"GitLabSettings": {"Enable": true}, "FeatureFlags": {"APPSENABLED": true, "Kept": "on"}});
        assert_eq!(config, expected);
        // They stand in no configuration file.
        assert_eq!(effective_config(&json!({}), &overrides[1..]), json!({"FeatureFlags": {"APPSENABLED": true}}));
    }

    #[test]
    fn variables_override_settings_by_their_type() {
        let settings = json!({"ServiceSettings": {"SiteURL": "https://a", "EnableLinkPreviews": false, "Port": 1}});
        let overrides = [
            ("MM_SERVICESETTINGS_SITEURL".to_owned(), "true".to_owned()),
            ("MM_SERVICESETTINGS_ENABLELINKPREVIEWS".to_owned(), "true".to_owned()),
            ("MM_NOSUCH_KEY".to_owned(), "x".to_owned()),
        ];
        let config = effective_config(&settings, &overrides);
        assert_eq!(config, json!({"ServiceSettings": {"SiteURL": "true", "EnableLinkPreviews": true, "Port": 1}}));
    }
}
