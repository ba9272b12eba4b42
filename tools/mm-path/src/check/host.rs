//! Checks of the host: directories, plugins, capabilities, configuration, disk space.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::contract::sections::{Preflight, Site};
use mm_common::machine::{disk, files};
use mm_common::mattermost::catalogue::Severity;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::cluster;
use semver::Version;

use super::{Bad, Check, Outcome, Way, plugins, proxy, unit};
use crate::observe::OF_THE_RELEASE;

/// The installation, what of it may be shown, and the way that is checked.
pub(crate) struct HostView<'a> {
    pub(crate) installation: &'a Installation,
    pub(crate) site: &'a Site,
    pub(crate) way: Way<'a>,
}

impl HostView<'_> {
    /// Makes all checks of the host.
    pub(crate) fn findings(&self) -> Vec<Preflight> {
        let checks: Vec<Check<HostView<'_>>> =
            [unit::checks(), checks(), plugins::checks(), proxy::checks()].into_iter().flatten().collect();
        super::all(&checks, self)
    }
}

fn checks<'a>() -> Vec<Check<HostView<'a>>> {
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
            id: "ownership",
            title: "Owner of what the server writes",
            source: "mattermost/mattermost#11212, #9853",
            look: ownership,
        },
        Check {
            id: "capabilities",
            title: "Right to listen on a low port",
            source: "mattermost/docs#5011",
            look: capabilities,
        },
        Check {
            id: "selinux",
            title: "SELinux",
            source: "mattermost/docs: deploy-rhel",
            look: |_| selinux(Path::new("/sys/fs/selinux/enforce")),
        },
        Check {
            id: "variables",
            title: "Settings overridden by the environment",
            source: "mattermost/docs: configuration in the environment",
            look: |view| Ok(variables(view)),
        },
        Check {
            id: "session-length",
            title: "Session lengths in days in the environment",
            source: "mattermost/docs: important-upgrade-notes v7.0",
            look: |view| Ok(session_length(view)),
        },
        Check {
            id: "config-store",
            title: "Where the configuration is",
            source: "mattermost/docs: configuration in a database",
            look: |view| Ok(config_store(view)),
        },
        Check { id: "disk", title: "Disk space for the whole way", source: "this host", look: disk_space },
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
    let mut kept = Vec::new();
    let mut evidence = Vec::new();
    for name in OF_THE_RELEASE.iter().chain(&["config", "data", "logs", "plugins", "client/plugins"]) {
        let Some(data) = files::look(&root.join(name))? else { continue };
        let what = if data.file_type().is_symlink() {
            "a symlink"
        } else if mount_points()?.contains(&root.join(name)) {
            "a mount point"
        } else {
            continue;
        };
        if OF_THE_RELEASE.contains(name) {
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

/// The mount points of this host.
fn mount_points() -> Result<Vec<PathBuf>> {
    let table =
        std::fs::read_to_string("/proc/self/mountinfo").context(|| "cannot read /proc/self/mountinfo".to_owned())?;
    // Spaces in a path stand there as \040.
    Ok(table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .collect())
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
    Ok(Outcome::of(evidence, &format!("all of it belongs to {}", owner.name), |evidence| Bad {
        severity: Severity::Warn,
        evidence,
        hop: None,
        fix: format!("chown to {}: a server of 7.8 or newer stops when it may not write its configuration", owner.name),
    }))
}

fn own_entries(view: &HostView<'_>) -> Result<Outcome> {
    let root = &view.installation.root;
    let entries = std::fs::read_dir(root).context(|| format!("cannot list `{}`", root.display()))?;
    let mut own: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !OF_THE_RELEASE.contains(&name.as_str()) && !USUAL.contains(&name.as_str()))
        .collect();
    own.sort();
    Ok(Outcome::Good(if own.is_empty() { "none".into() } else { format!("{} stay untouched", own.join(", ")) }))
}

fn capabilities(view: &HostView<'_>) -> Result<Outcome> {
    let binary = view.installation.root.join("bin/mattermost");
    let own = xattr::get(&binary, "security.capability")
        .context(|| format!("cannot read the capabilities of `{}`", binary.display()))?;
    if own.is_some() {
        return Ok(Outcome::Good("bin/mattermost has capabilities, which mm-swap gives to the new one".into()));
    }
    let low = view.installation.port().is_some_and(|port| port < 1024) && view.installation.owner.uid != 0;
    let evidence = low.then(|| {
        format!("it listens on {} as {}, and bin/mattermost has no capability", view.site.listen, view.site.owner)
    });
    Ok(Outcome::of(evidence.into_iter().collect(), "not needed", |evidence| Bad {
        severity: Severity::Warn,
        evidence,
        hop: None,
        fix: "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or setcap cap_net_bind_service=+ep on the binary"
            .into(),
    }))
}

fn selinux(switch: &Path) -> Result<Outcome> {
    if !switch.exists() {
        return Ok(Outcome::Beside("this system has no SELinux".into()));
    }
    let enforcing =
        std::fs::read_to_string(switch).context(|| format!("cannot read `{}`", switch.display()))?.trim() == "1";
    let evidence = enforcing.then(|| "it is enforcing".to_owned());
    Ok(Outcome::of(evidence.into_iter().collect(), "it is not enforcing", |evidence| Bad {
        severity: Severity::Warn,
        evidence,
        hop: None,
        fix:
            "mm-swap keeps the labels of what it exchanges; after it, restorecon -R over the install root does no harm"
                .into(),
    }))
}

/// Names only: values may be secrets.
fn variables(view: &HostView<'_>) -> Outcome {
    let mut names: Vec<&str> = view
        .installation
        .config
        .overrides
        .iter()
        .map(|variable| variable.name.as_str())
        .filter(|name| name.starts_with("MM_"))
        .collect();
    names.sort_unstable();
    Outcome::Good(if names.is_empty() { "none".into() } else { names.join(", ") })
}

fn session_length(view: &HostView<'_>) -> Outcome {
    let Some(hop) = view.way.crossing(&Version::new(7, 0, 0)) else { return Outcome::not_crossed("7.0") };
    let names = view.installation.config.overrides.iter().map(|variable| variable.name.as_str());
    let evidence: Vec<String> = names
        .filter(|name| name.starts_with("MM_SERVICESETTINGS_SESSIONLENGTH") && name.ends_with("INDAYS"))
        .map(str::to_owned)
        .collect();
    Outcome::of(evidence, "none", |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: Some(hop.to.clone()),
        fix: "with 7.0 rename each to ...INHOURS and multiply its value by 24: the server does not".into(),
    })
}

fn config_store(view: &HostView<'_>) -> Outcome {
    let config = &view.installation.config;
    Outcome::Good(match &config.path {
        Some(path) => format!("in {}", path.display()),
        None => "in the database (MM_CONFIG)".into(),
    })
}

/// What the way needs in one place.
struct Need {
    what: &'static str,
    path: PathBuf,
    bytes: u64,
    device: u64,
    free: u64,
}

impl Need {
    fn at(path: PathBuf, bytes: u64, what: &'static str) -> Result<Self> {
        Ok(Self { what, device: disk::device(&path)?, free: disk::free(&path)?, path, bytes })
    }
}

/// What the hops need beside the install root, and the new cluster beside the old one.
fn disk_space(view: &HostView<'_>) -> Result<Outcome> {
    if view.way.hops.is_empty() {
        return Ok(Outcome::Beside("there is no way to go".into()));
    }
    let Some(release) = view.way.hops.iter().filter_map(|hop| hop.needs.bytes).max() else {
        return Err(Error::failed("the size of the installed release is not known"));
    };
    let root = view.installation.root.clone();
    let mut needs = vec![Need::at(root, release, "the new release beside the old one")?];
    if view.way.bump().is_some()
        && let Some(directory) = data_directory(view)?
    {
        let bytes = view.site.database.bytes.unwrap_or(0);
        needs.push(Need::at(directory, bytes, "the new PostgreSQL cluster beside the old one")?);
    }
    Ok(room(&needs))
}

/// What lies on the same file system has to find room there together.
fn room(needs: &[Need]) -> Outcome {
    let mut evidence = Vec::new();
    let mut good = Vec::new();
    for need in needs {
        let together: u64 = needs.iter().filter(|other| other.device == need.device).map(|other| other.bytes).sum();
        let line = format!(
            "{}: about {} MB at {}, {} MB free",
            need.what,
            mebibytes(need.bytes),
            need.path.display(),
            mebibytes(need.free)
        );
        if need.free < together { evidence.push(line) } else { good.push(line) }
    }
    Outcome::of(evidence, &good.join("; "), |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: None,
        fix: "make room: mm-swap prune and mm-backup prune remove what earlier upgrades have kept".into(),
    })
}

fn data_directory(view: &HostView<'_>) -> Result<Option<PathBuf>> {
    let Some((major, name)) = view.site.database.cluster.as_deref().and_then(|label| label.split_once('/')) else {
        return Ok(None);
    };
    let major = major.parse().unwrap_or(0);
    Ok(cluster::find(major, name)?.map(|cluster| cluster.data))
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selinux_is_told_when_it_enforces() {
        let directory = tempfile::tempdir().unwrap();
        let switch = directory.path().join("enforce");
        assert!(matches!(selinux(&switch).unwrap(), Outcome::Beside(_)));
        for (text, bad) in [("1", true), ("0", false)] {
            std::io::Write::write_all(&mut std::fs::File::create(&switch).unwrap(), text.as_bytes()).unwrap();
            assert_eq!(matches!(selinux(&switch).unwrap(), Outcome::Bad(_)), bad);
        }
    }

    #[test]
    fn room_is_counted_by_file_system() {
        let need = |device, bytes, free| Need { what: "a thing", path: "/somewhere".into(), bytes, device, free };
        assert!(matches!(room(&[need(1, 60, 100), need(2, 60, 100)]), Outcome::Good(_)));
        let Outcome::Bad(bad) = room(&[need(1, 60, 100), need(1, 60, 100)]) else { panic!("120 do not fit into 100") };
        assert_eq!((bad.severity, bad.evidence.len()), (Severity::Action, 2));
    }
}
