//! What belongs to an installation beyond its tree: where its data is, which files the configuration names, what starts
//! the service.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::service::{Manager, others, systemd};
use mm_common::machine::wildcard;
use mm_common::mattermost::site::Installation;

use crate::manifest::{Root, What};
use crate::plan::Observed;
use crate::store::Store;

/// Settings that name a file or directory, relative to the install root.
const PATHS: &[(&str, &str)] = &[
    ("BleveSettings", "IndexDir"),
    ("ComplianceSettings", "Directory"),
    ("ExportSettings", "Directory"),
    ("ImportSettings", "Directory"),
    ("PluginSettings", "ClientDirectory"),
    ("PluginSettings", "Directory"),
    ("ServiceSettings", "LetsEncryptCertificateCacheFile"),
    ("ServiceSettings", "TLSCertFile"),
    ("ServiceSettings", "TLSKeyFile"),
];

/// Settings that name a file relative to the configuration's directory.
const BESIDE_CONFIG: &[(&str, &str)] = &[
    ("LdapSettings", "PrivateKeyFile"),
    ("LdapSettings", "PublicCertificateFile"),
    ("SamlSettings", "IdpCertificateFile"),
    ("SamlSettings", "PrivateKeyFile"),
    ("SamlSettings", "PublicCertificateFile"),
];

/// Observes the installation for the plan.
pub(crate) fn observe(installation: &Installation, store: &Store, no_data: bool) -> Result<Observed> {
    let file_driver = installation.config.text("FileSettings", "DriverName").unwrap_or_else(|| "local".into());
    let data = match std::fs::canonicalize(&installation.data) {
        Ok(data) => data,
        // Nothing has been uploaded yet, or it is not here at all.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if !no_data && file_driver == "local" && !installation.data.starts_with(&installation.root) {
                return Err(Error::refused(format!(
                    "the data directory `{}` is not there",
                    installation.data.display()
                ))
                .because("a file system may not be mounted")
                .hint("mount it, or give --no-data to go on without it"));
            }
            installation.root.clone()
        }
        Err(error) => return Err(Error::io("resolve", &installation.data, error)),
    };
    if !no_data && file_driver == "local" {
        refuse_lost_uploads(installation)?;
    }
    let mut others = configured(installation);
    others.extend(service_files(installation)?);
    Ok(Observed {
        install: installation.root.clone(),
        data,
        file_driver,
        others,
        sql_driver: installation.config.driver(),
        was_running: installation.was_running,
        is_running: installation.service.is_running()?,
        store: store.path.clone(),
    })
}

/// A file system that is not mounted looks like a directory with nothing in it. A restore point of that would be called
/// good, and retention would in the end remove those that have the uploads.
fn refuse_lost_uploads(installation: &Installation) -> Result<()> {
    let is_bare = std::fs::read_dir(&installation.data).map_or(true, |mut entries| entries.next().is_none());
    // Who cannot be asked says nothing here; the dump has its own words for that.
    let named = || {
        let database = installation.database().ok()?;
        database.value("SELECT pg_catalog.count(*) FROM fileinfo WHERE deleteat = 0").ok()?.as_u64()
    };
    let Some(named) = is_bare.then(named).flatten().filter(|named| *named > 0) else { return Ok(()) };
    Err(Error::refused(format!("the data directory `{}` is missing or empty", installation.data.display()))
        .because(format!("the database names {}; a file system may not be mounted", ui::count(named, "uploaded file")))
        .hint("mount it, or give --no-data to go on without it"))
}

/// The configuration file and what it names, where that lies outside the install tree. The service user writes the
/// configuration: what of it is stored, [`crate::guard`] says.
fn configured(installation: &Installation) -> Vec<Root> {
    let config = &installation.config;
    let beside = config.path.as_deref().and_then(Path::parent).unwrap_or(&installation.root);
    let named = |base: &Path, settings: &[(&str, &str)]| -> Vec<PathBuf> {
        let values = settings.iter().filter_map(|(section, key)| config.text(section, key));
        values.filter(|value| !value.is_empty()).map(|value| base.join(value)).collect()
    };
    let mut paths = named(&installation.root, PATHS);
    paths.extend(named(beside, BESIDE_CONFIG));
    paths.extend(config.path.clone());
    let mut roots = Vec::new();
    for path in paths {
        let Ok(path) = std::fs::canonicalize(&path) else { continue };
        if path.starts_with(&installation.root) {
            continue;
        }
        roots.push(Root { path, what: What::Config });
    }
    roots
}

/// Unit, drop-ins, environment files, init script: what a bare machine needs to start the server again.
fn service_files(installation: &Installation) -> Result<Vec<Root>> {
    let mut paths = installation.config.environment_files();
    match &installation.service.manager {
        Manager::Systemd { unit } => {
            let unit = systemd::show(unit)?;
            paths.extend(unit.fragment);
            paths.extend(unit.drop_ins);
            for (pattern, _) in unit.environment_files {
                paths.extend(wildcard::expand(&pattern)?);
            }
        }
        Manager::Sysv { name } => {
            paths.push(Path::new("/etc/init.d").join(name));
            paths.extend(["/etc/default", "/etc/sysconfig"].map(|place| Path::new(place).join(name)));
        }
        Manager::Supervisor { name } => {
            let found = others::find_supervisor(&installation.root).into_iter();
            paths.extend(found.filter(|(program, _)| program == name).map(|(_, path)| path));
        }
        Manager::Exec | Manager::Command { .. } => {}
    }
    let resolve = |path: &PathBuf| {
        let resolved = std::fs::canonicalize(path).ok()?;
        // A link in the install tree is the service user's word, not an administrator's.
        let what = if path.starts_with(&installation.root) { What::Config } else { What::Service };
        (!resolved.starts_with(&installation.root) && resolved.is_file()).then_some(Root { path: resolved, what })
    };
    let mut resolved: Vec<Root> = paths.iter().filter_map(resolve).collect();
    resolved.sort_by(|a, b| a.path.cmp(&b.path).then(b.what.cmp(&a.what)));
    resolved.dedup_by(|a, b| a.path == b.path);
    Ok(resolved)
}
