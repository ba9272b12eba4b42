//! Checks of the install root: what cannot be exchanged, what is the administrator's own, what differs from the release.

use std::path::PathBuf;
use std::time::Duration;

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::contract::shell;
use mm_common::contract::ui;
use mm_common::machine::budget::Budget;
use mm_common::machine::{access, files, mounts, tree};
use mm_common::mattermost::catalogue::Severity;
use mm_common::mattermost::manifest::{self, Manifest, OWNED};

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
            id: "uploads",
            title: "Directory of the uploaded files",
            source: "10 of 40 configurations that were tried name one that is not there",
            look: |view| Ok(uploads(view)),
        },
        Check {
            id: "ownership",
            title: "What the server has to write",
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

/// A plugin has some thousand files.
const MOST_FILES: u64 = 2_000_000;
const LONGEST: Duration = Duration::from_secs(300);

/// What the server has to be able to write, by the kernel's rule: a directory of root's with the server's group and
/// `g+w` is as good as one of its own.
fn ownership(view: &HostView<'_>) -> Result<Outcome> {
    let root = &view.installation.root;
    let owner = &view.installation.owner;
    let mut paths: Vec<PathBuf> =
        ["config", "logs", "plugins", "client/plugins"].iter().map(|name| root.join(name)).collect();
    paths.push(view.installation.data.clone());
    paths.extend(view.installation.config.path.clone());
    paths.retain(|path| std::fs::metadata(path).is_ok());
    let closed = access::not_writable(owner, &paths)?;
    let own = access::of_tree(root, &closed)?;
    let mut evidence: Vec<String> =
        closed.iter().map(|path| format!("{} may not write {}", owner.name, path.display())).collect();
    let name = shell::word(&owner.name);
    let mut commands = Vec::new();
    if !own.is_empty() {
        commands.push(format!("chown -h {name} {}", shell::words(&own)));
    }
    let budget = Budget::new("files of plugins", MOST_FILES, u64::MAX, LONGEST);
    // The server exchanges what is in these when it updates a plugin.
    for path in ["plugins", "client/plugins"].map(|name| root.join(name)) {
        if !files::look(&path)?.is_some_and(|data| data.is_dir()) {
            continue;
        }
        let closed = access::not_writable(owner, &tree::of_others(&path, owner.uid, &budget)?)?;
        if let Some(first) = closed.first() {
            if !access::of_tree(root, std::slice::from_ref(&path))?.is_empty() {
                commands.push(format!("chown -hR {name} {}", shell::word(&path)));
            }
            let number = ui::count(closed.len(), "entry");
            evidence.push(format!("{} may not write {number} in {}: {}", owner.name, path.display(), first.display()));
        }
    }
    Ok(Outcome::of(evidence, &format!("{} may write them", owner.name), |evidence| Bad {
        severity: Severity::Warn,
        evidence,
        hop: None,
        fix: if commands.is_empty() {
            "see whether configuration and links name what they should: it is not in the install root".into()
        } else {
            let command = commands.join(" && ");
            format!("{command}   (a server of 7.8 or newer stops when it may not write its configuration)")
        },
    }))
}

/// A relative name is taken from the install root. A restore point without the uploads would be made of such a server.
fn uploads(view: &HostView<'_>) -> Outcome {
    let site = view.installation;
    let driver = site.config.text("FileSettings", "DriverName").filter(|driver| !driver.is_empty());
    if let Some(driver) = driver.filter(|driver| driver != "local") {
        return Outcome::Beside(format!("they are kept elsewhere ({driver})"));
    }
    let data = site.data.display();
    let evidence = (!site.data.is_dir()).then(|| format!("FileSettings.Directory is {data}, which is not there"));
    Outcome::of(evidence.into_iter().collect(), &format!("they are in {data}"), |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: None,
        fix: format!(
            "mount what belongs there, let FileSettings.Directory name where the uploads are, or, where there are none \
             yet: install -d -m 750 -o {} {data}",
            site.owner.name
        ),
    })
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
    let state = &view.installation.state;
    Manifest::find(state, view.cache, version, edition)?.ok_or_else(|| {
        Error::failed(format!(
            "no list of the files of {version} ({edition}) is in `{}` or in `{}`",
            files::parent(&manifest::kept(state, version, edition)).unwrap_or(state.path()).display(),
            view.cache.display()
        ))
        .hint(format!("mm-fetch {version} --edition {edition} --cache {}, then look again", shell::word(view.cache)))
    })
}
