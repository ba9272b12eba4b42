//! Checks of what guards the system: rights to ports, SELinux, fapolicyd.

use mm_common::contract::error::{Context as _, Result};
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
