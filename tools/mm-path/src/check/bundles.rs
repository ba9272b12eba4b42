//! Check of the bundles that the server takes its plugins from: those in the file store, those that came with the installed
//! release, and those that the fetched releases of the way bring along.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mm_common::contract::error::{Context as _, Result};
use mm_common::contract::shell;
use mm_common::machine::budget::Budget;
use mm_common::machine::tree::Dir;
use mm_common::mattermost::bundle::{self, Bundle};
use mm_common::mattermost::catalogue::Severity;
use mm_common::mattermost::manifest::{Manifest, Shipped};
use mm_common::postgres::server::Database;
use semver::Version;

use super::host::HostView;
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<HostView<'a>>> {
    vec![Check {
        id: "plugin-bundles",
        title: "Bundles of plugins",
        source: "public reports of Boards after 7.1 to 7.8",
        look: bundles,
    }]
}

/// The tables in which plugins number their migrations, with the plugin (read in their source: the table's name is the
/// plugin's own).
const TABLES: [(&str, &str); 3] = [
    ("focalboard_schema_migrations", "focalboard"),
    ("ir_db_migrations", "playbooks"),
    ("db_migrations_calls", "com.mattermost.calls"),
];

/// A site has some dozen bundles, of up to 100 MB.
fn limits() -> Budget {
    Budget::new("bundles of plugins", 2000, 16 << 30, Duration::from_secs(600))
}

/// A bundle and where it lies.
type Placed = (PathBuf, Bundle);

/// An older plugin than the tables were made by does not start: the server is healthy, and the plugin gone from the menu.
fn bundles(view: &HostView<'_>) -> Result<Outcome> {
    let site = view.installation;
    let driver = site.config.text("FileSettings", "DriverName").unwrap_or_else(|| "local".into());
    if driver != "local" {
        return Ok(Outcome::Beside(format!("the file store is `{driver}`, not a directory of this machine")));
    }
    if site.config.flag("PluginSettings", "Enable") == Some(false) {
        return Ok(Outcome::Beside("plugins are switched off".into()));
    }
    let states = &site.config.settings["PluginSettings"]["PluginStates"];
    let numbers = view.database.map_or_else(|| Ok(BTreeMap::new()), numbers)?;
    let budget = limits();
    let mut stored = within(&site.data, "plugins", true, &budget)?;
    // A plugin that is switched off runs from neither.
    stored.retain(|_, (_, bundle)| states[&bundle.id]["Enable"] != false);
    let is_wanted = |id: &str| stored.contains_key(id) || numbers.contains_key(id);
    let wanted = !stored.is_empty() || !numbers.is_empty();
    let mut shipped = if wanted { within(&site.root, "prepackaged_plugins", false, &budget)? } else { BTreeMap::new() };
    shipped.retain(|id, _| is_wanted(id));
    let (mut evidence, mut fixes) = (Vec::new(), Vec::new());
    let mut told = BTreeSet::new();
    for (id, (path, bundle)) in &stored {
        if let Some((newer, came)) = shipped.get(id).filter(|(_, came)| came.version > bundle.version) {
            evidence.push(older(path, bundle, &came.version, "came with the release"));
            fixes.push(format!("mmctl plugin add --force {}", shell::word(newer)));
            told.insert(id.as_str());
        }
    }
    for (id, number) in &numbers {
        let Some((path, bundle)) = runs(id, &stored, &shipped, &budget)? else { continue };
        if states[id]["Enable"] != false
            && let Some(known) = bundle.migration.filter(|known| known < number)
        {
            evidence.push(format!(
                "the database has migration {number} of {id}; {}, which will run, is {} and knows those up to {known}",
                path.display(),
                bundle.version
            ));
            if fixes.is_empty() {
                fixes.push(format!(
                    "install the version of {id} that made the tables, or a newer one (mmctl plugin add --force FILE)"
                ));
            }
        }
    }
    // What is not fetched yet is not known.
    let is_now = !evidence.is_empty();
    let mut first = None;
    for (hop, came) in brought(view) {
        let Some((path, bundle)) = stored.get(&came.id).filter(|(_, bundle)| came.version > bundle.version) else {
            continue;
        };
        if told.contains(came.id.as_str()) {
            continue;
        }
        evidence.push(older(path, bundle, &came.version, &format!("comes with {hop}")));
        let newer = shell::word(site.root.join(&came.path));
        fixes.push(format!("as soon as {hop} is installed: mmctl plugin add --force {newer}"));
        first.get_or_insert(hop);
    }
    let good = format!("{} in the file store, none older than what comes with a release", stored.len());
    Ok(Outcome::of(evidence, &good, |evidence| Bad {
        severity: if is_now { Severity::Action } else { Severity::Warn },
        evidence,
        hop: first.filter(|_| !is_now),
        fix: fixes.join("; "),
    }))
}

fn older(path: &Path, bundle: &Bundle, newer: &Version, what: &str) -> String {
    format!("{} is {} {}, older than the {newer} that {what}", path.display(), bundle.id, bundle.version)
}

/// The plugins that the fetched releases of the way bring along, each with the last release that does.
fn brought(view: &HostView<'_>) -> Vec<(Version, Shipped)> {
    let state = &view.installation.state;
    let mut brought = BTreeMap::new();
    for hop in view.way.hops {
        let manifest = Manifest::find(state, view.cache, &hop.to, hop.edition).ok().flatten();
        for came in manifest.and_then(|manifest| manifest.plugins).unwrap_or_default() {
            brought.insert(came.id.clone(), (hop.to.clone(), came));
        }
    }
    brought.into_values().collect()
}

/// The bundle that the server takes: that of the file store, else the one that came with the release, whose programs
/// have not been looked into yet.
fn runs(
    id: &str,
    stored: &BTreeMap<String, Placed>,
    shipped: &BTreeMap<String, Placed>,
    budget: &Budget,
) -> Result<Option<Placed>> {
    if let Some(placed) = stored.get(id) {
        return Ok(Some(placed.clone()));
    }
    let Some((path, _)) = shipped.get(id) else { return Ok(None) };
    let directory = Dir::open_following(path.parent().unwrap_or(Path::new("/")))?;
    Ok(read(&directory, path.file_name().unwrap_or_default(), true, budget)?.map(|bundle| (path.clone(), bundle)))
}

/// The bundles in a directory below another, by plugin; what is no bundle is left out, and of two the newer counts.
fn within(place: &Path, name: &str, with_migrations: bool, budget: &Budget) -> Result<BTreeMap<String, Placed>> {
    let mut found: BTreeMap<String, Placed> = BTreeMap::new();
    if std::fs::metadata(place).is_err() {
        return Ok(found);
    }
    let Some(dir) = Dir::open_following(place)?.child(OsStr::new(name))? else { return Ok(found) };
    for name in dir.names()? {
        if !name.to_string_lossy().ends_with(".tar.gz") {
            continue;
        }
        let Some(bundle) = read(&dir, &name, with_migrations, budget)? else { continue };
        if found.get(&bundle.id).is_none_or(|(_, other)| other.version < bundle.version) {
            found.insert(bundle.id.clone(), (dir.path().join(&name), bundle));
        }
    }
    Ok(found)
}

fn read(dir: &Dir, name: &OsStr, with_migrations: bool, budget: &Budget) -> Result<Option<Bundle>> {
    budget.spend(dir.look(name)?.map_or(0, |meta| meta.bytes))?;
    // A link is none.
    let Ok(Some(file)) = dir.open_file(name) else { return Ok(None) };
    Ok(bundle::read(file, with_migrations).ok())
}

/// The highest migration that each plugin has recorded.
fn numbers(database: &Database) -> Result<BTreeMap<String, u64>> {
    let mut numbers = BTreeMap::new();
    for (table, plugin) in TABLES {
        let there = database.rows(&format!(
            "SELECT 1 AS there FROM information_schema.columns
             WHERE table_schema = pg_catalog.current_schema() AND table_name = '{table}' AND column_name = 'version'"
        ))?;
        if there.is_empty() {
            continue;
        }
        let highest = database
            .value(&format!("SELECT pg_catalog.max(version)::bigint AS highest FROM {table}"))
            .context(|| format!("cannot read the migrations in {table}"))?;
        if let Some(highest) = highest.as_u64() {
            numbers.insert(plugin.to_owned(), highest);
        }
    }
    Ok(numbers)
}
