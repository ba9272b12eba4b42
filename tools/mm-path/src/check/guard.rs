//! Checks of what guards the system: rights to ports, SELinux, fapolicyd.

use mm_common::contract::error::{Context as _, Result};
use mm_common::machine::files;
use mm_common::mattermost::catalogue::Severity;

use super::host::HostView;
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<HostView<'a>>> {
    vec![
        Check {
            id: "capabilities",
            title: "Right to listen on a low port",
            source: "mattermost/docs#5011",
            look: capabilities,
        },
        Check { id: "selinux", title: "SELinux", source: "mattermost/docs: deploy-rhel", look: selinux },
        Check { id: "fapolicyd", title: "fapolicyd", source: "mattermost/docs: deploy-rhel", look: fapolicyd },
    ]
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

fn selinux(view: &HostView<'_>) -> Result<Outcome> {
    let switch = view.system.join("sys/fs/selinux/enforce");
    if !switch.exists() {
        return Ok(Outcome::Beside("this system has no SELinux".into()));
    }
    let enforcing =
        std::fs::read_to_string(&switch).context(|| format!("cannot read `{}`", switch.display()))?.trim() == "1";
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

/// Larger than any list of rules.
const MOST: u64 = 16 * 1024 * 1024;

/// It lets no program run that no rule names; each release brings programs that it has not seen.
fn fapolicyd(view: &HostView<'_>) -> Result<Outcome> {
    let base = view.system.join("etc/fapolicyd");
    if files::look(&base)?.is_none() {
        return Ok(Outcome::Beside("this system has no fapolicyd".into()));
    }
    let root = view.installation.root.display().to_string();
    let mut files = vec![base.join("fapolicyd.rules"), base.join("fapolicyd.trust")];
    for name in ["rules.d", "trust.d"] {
        let directory = base.join(name);
        if files::look(&directory)?.is_some() {
            let entries = std::fs::read_dir(&directory).context(|| format!("cannot list `{}`", directory.display()))?;
            files.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    for file in files {
        let is_there = files::look(&file)?.is_some_and(|data| data.is_file());
        if is_there && files::read_text(&file, MOST)?.lines().any(|line| !line.starts_with('#') && line.contains(&root))
        {
            return Ok(Outcome::Good(format!("{} names {root}", file.display())));
        }
    }
    Ok(Outcome::Bad(Bad {
        severity: Severity::Warn,
        evidence: vec![format!("none of its rules names {root}")],
        hop: None,
        fix: format!(
            "where it is in force, put `allow perm=any all : dir={root}/` into a file of /etc/fapolicyd/rules.d, then fagenrules --load"
        ),
    }))
}
