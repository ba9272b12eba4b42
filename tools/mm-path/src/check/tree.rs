//! Checks of the install root: what cannot be exchanged, what is the administrator's own, what differs from the release.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use mm_common::contract::digest;
use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::machine::state::MANIFEST;
use mm_common::machine::{files, mounts, tree};
use mm_common::mattermost::catalogue::{Arch, Severity};
use mm_common::mattermost::manifest::{Manifest, OWNED};
use mm_common::mattermost::site::MANIFESTS;

use super::host::HostView;
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<HostView<'a>>> {
    vec![
        Check {
            id: "directories",
            title: "Symlinks and mount points in the install root",
            source: "mattermost/docs: upgrading-mattermost-server",
            look: directories,
        },
        Check {
            id: "own-entries",
            title: "Files of the administrator's own in the install root",
            source: "mattermost/docs#4043",
            look: own_entries,
        },
        Check {
            id: "release-files",
            title: "Files of the release that somebody changed",
            source: "the release's own list of files",
            look: release_files,
        },
        Check {
            id: "bleve-index",
            title: "Search index in the install root",
            source: "mattermost/docs: upgrading-mattermost-server",
            look: |view| Ok(bleve_index(view)),
        },
        Check {
            id: "ownership",
            title: "Owner of what the server writes",
            source: "mattermost/mattermost#11212, #9853",
            look: ownership,
        },
    ]
}

/// Everything else that a release or a server puts into the install root.
const USUAL: [&str; 11] = [
    "config",
    "data",
    "logs",
    "plugins",
    "MIT-COMPILED-LICENSE.md",
    "ENTERPRISE-EDITION-LICENSE.txt",
    "NOTICE.txt",
    "README.md",
    "manifest.txt",
    "import",
    "export",
];

fn directories(view: &HostView<'_>) -> Result<Outcome> {
    let root = &view.installation.root;
    let mounts = mounts::below(root)?;
    let mut kept = Vec::new();
    let mut evidence = Vec::new();
    for name in OWNED.iter().chain(&["config", "data", "logs", "plugins", "client/plugins"]) {
        let Some(data) = files::look(&root.join(name))? else { continue };
        let what = if data.file_type().is_symlink() {
            "a symlink"
        } else if mounts.contains(&root.join(name)) {
            "a mount point"
        } else {
            continue;
        };
        if OWNED.contains(name) {
            evidence.push(format!("{name} is {what}"));
        } else {
            kept.push(format!("{name} is {what}, which stays"));
        }
    }
    let good = if kept.is_empty() { "none".to_owned() } else { kept.join("; ") };
    Ok(Outcome::of(evidence, &good, |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: None,
        fix: "put the directory itself in its place: an upgrade exchanges it, and cannot exchange this".into(),
    }))
}

/// What the server has to be able to write.
fn ownership(view: &HostView<'_>) -> Result<Outcome> {
    let root = &view.installation.root;
    let owner = &view.installation.owner;
    let mut paths: Vec<PathBuf> =
        ["config", "logs", "plugins", "client/plugins"].iter().map(|name| root.join(name)).collect();
    paths.push(view.installation.data.clone());
    paths.extend(view.installation.config.path.clone());
    let mut evidence = Vec::new();
    for path in paths {
        let Some(data) = files::look(&path)? else { continue };
        if !data.file_type().is_symlink() && data.uid() != owner.uid {
            evidence.push(format!("{} belongs to user {} and not to {}", path.display(), data.uid(), owner.name));
        }
    }
    // The server exchanges what is in these when it updates a plugin.
    for path in ["plugins", "client/plugins"].map(|name| root.join(name)) {
        if !files::look(&path)?.is_some_and(|data| data.is_dir()) {
            continue;
        }
        let others = tree::of_others(&path, owner.uid)?;
        if let Some(first) = others.first() {
            let number = others.len();
            evidence.push(format!(
                "{number} entries in {} do not belong to {}: {}",
                path.display(),
                owner.name,
                first.display()
            ));
        }
    }
    Ok(Outcome::of(evidence, &format!("all of it belongs to {}", owner.name), |evidence| Bad {
        severity: Severity::Warn,
        evidence,
        hop: None,
        fix: format!(
            "chown -h to {}: a server of 7.8 or newer stops when it may not write its configuration",
            owner.name
        ),
    }))
}

fn own_entries(view: &HostView<'_>) -> Result<Outcome> {
    let root = &view.installation.root;
    let entries = std::fs::read_dir(root).context(|| format!("cannot list `{}`", root.display()))?;
    let mut own: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !OWNED.contains(&name.as_str()) && !USUAL.contains(&name.as_str()))
        .collect();
    own.sort();
    Ok(Outcome::of(own, "none", |evidence| Bad {
        severity: Severity::Info,
        evidence,
        hop: None,
        fix: "nothing is to be done: an upgrade with mm-swap leaves them where they are, untouched".into(),
    }))
}

fn bleve_index(view: &HostView<'_>) -> Outcome {
    let root = &view.installation.root;
    let configured = view.installation.config.text("BleveSettings", "IndexDir").filter(|text| !text.is_empty());
    let Some(directory) = configured else { return Outcome::Good("there is none".into()) };
    // A relative path is taken from the install root.
    let inside = root.join(&directory).starts_with(root).then(|| format!("it is at {directory}"));
    Outcome::of(inside.into_iter().collect(), &format!("it is at {directory}, outside"), |evidence| Bad {
        severity: Severity::Info,
        evidence,
        hop: None,
        fix: "mm-swap leaves it where it is; who replaces the files by hand has to keep it, or build it again".into(),
    })
}

/// The executables and the bundled plugins are hundreds of megabytes; their sizes have to do.
fn is_hashed(path: &str) -> bool {
    !path.starts_with("bin/") && !path.starts_with("prepackaged_plugins/")
}

fn release_files(view: &HostView<'_>) -> Result<Outcome> {
    let manifest = manifest(view)?;
    let difference = manifest.compare(&view.installation.root, is_hashed)?;
    let altered = difference.altered.iter().map(|path| format!("{path} is not as it was released"));
    let evidence = altered.chain(difference.missing.iter().map(|path| format!("{path} is missing"))).collect();
    let foreign = match difference.foreign.as_slice() {
        [] => String::new(),
        foreign => format!("; not of the release, and left where they are: {}", super::listed(foreign)),
    };
    let good = format!("{} entries are as they were released{foreign}", difference.whole);
    Ok(Outcome::of(evidence, &good, |evidence| Bad {
        severity: Severity::Warn,
        evidence,
        hop: None,
        fix:
            "what was changed is not in the next release: make the change again there, from the old file that mm-swap \
              keeps until mm-swap prune"
                .into(),
    }))
}

/// The manifest of the running release: from an earlier upgrade, or from the cache of mm-fetch.
fn manifest(view: &HostView<'_>) -> Result<Manifest> {
    let (version, edition) = (&view.installation.version, view.installation.edition);
    let kept = view.installation.state.path().join(MANIFESTS).join(format!("{version}-{edition}.json"));
    if files::look(&kept)?.is_some() {
        return Manifest::read(&kept);
    }
    let arch = Arch::of_host().unwrap_or(Arch::Amd64);
    let artefact = view.way.catalogue.artefact(version, edition, arch);
    let known = artefact.iter().flat_map(|artefact| artefact.sha256).cloned();
    let name = artefact.as_ref().and_then(|artefact| artefact.url.rsplit('/').next()).unwrap_or_default().to_owned();
    for sha256 in known.chain(digests(view.cache)?) {
        let directory = view.cache.join(sha256);
        let path = directory.join(MANIFEST);
        // The name of the tarball says which processor it is for; the manifest does not.
        if files::look(&directory.join(&name))?.is_none() || files::look(&path)?.is_none() {
            continue;
        }
        let manifest = Manifest::read(&path)?;
        if manifest.version == *version && manifest.edition == edition {
            return Ok(manifest);
        }
    }
    Err(Error::failed(format!(
        "no list of the files of {version} ({edition}) is in `{}` or in `{}`",
        files::parent(&kept)?.display(),
        view.cache.display()
    ))
    .hint(format!("mm-fetch {version} --edition {edition} --cache {}, then look again", view.cache.display())))
}

/// The digests in the cache; a tarball may have been proven by another one than the catalogue's.
fn digests(cache: &Path) -> Result<Vec<String>> {
    if files::look(cache)?.is_none() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(cache).context(|| format!("cannot list `{}`", cache.display()))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut digests: Vec<String> = names.filter(|name| digest::is_sha256(name)).collect();
    digests.sort();
    Ok(digests)
}
