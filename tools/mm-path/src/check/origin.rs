//! Checks of where the installed release came from, and of who else may replace it.

use mm_common::contract::error::Result;
use mm_common::machine::files;
use mm_common::mattermost::catalogue::Severity;

use super::host::HostView;
use super::{Bad, Check, Outcome};
use crate::age;

pub(super) fn checks<'a>() -> Vec<Check<HostView<'a>>> {
    vec![
        Check {
            id: "published",
            title: "Installed release",
            source: "mattermost/mattermost#24201, #24341",
            look: |view| Ok(published(view)),
        },
        Check {
            id: "floating-packages",
            title: "Packages that move to another major by themselves",
            source: "mattermost/omnibus#121; Debian's package postgresql",
            look: floating,
        },
    ]
}

/// A nightly build or one of somebody's own may have numbered its migrations in another way.
fn published(view: &HostView<'_>) -> Outcome {
    let (from, catalogue) = (view.way.from, view.way.catalogue);
    let is_known = catalogue.release(from).is_some();
    if !is_known && from.pre.is_empty() && age::newest_before(catalogue, from).is_some() {
        return Outcome::Beside(format!("{from} is newer than the release data of {}", catalogue.as_of()));
    }
    let evidence = (!is_known).then(|| format!("{from} is not among the releases that were published"));
    Outcome::of(evidence.into_iter().collect(), &format!("{from} was published"), |evidence| {
        Bad {
        severity: Severity::Warn,
        evidence,
        hop: None,
        fix:
            "a nightly or a build of one's own: install the newest published release of its line first and see that it starts"
                .into(),
    }
    })
}

/// The list of installed packages of a system with very many is some ten megabytes.
const MOST: u64 = 128 * 1024 * 1024;
/// Packages that bring the server, and the one that brings the newest PostgreSQL with an empty cluster beside the old.
const SERVERS: [&str; 2] = ["mattermost", "mattermost-omnibus"];
const POSTGRES: &str = "postgresql";

fn floating(view: &HostView<'_>) -> Result<Outcome> {
    let list = view.system.join("var/lib/dpkg/status");
    if files::look(&list)?.is_none() {
        return Ok(Outcome::Beside("this system has no dpkg".into()));
    }
    let text = files::read_text(&list, MOST)?;
    let installed = text.split("\n\n").filter_map(|stanza| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        (field("Status:")? == "install ok installed").then(|| field("Package:")).flatten()
    });
    let (mut servers, mut others) = (Vec::new(), Vec::new());
    for name in installed {
        if SERVERS.contains(&name) {
            servers.push(format!("{name}: apt upgrade jumps to the newest release"));
        } else if name == POSTGRES {
            others
                .push(format!("{name}: an upgrade of the system brings a new major with an empty cluster of its own"));
        }
    }
    let severity = if servers.is_empty() { Severity::Info } else { Severity::Warn };
    let fix = if servers.is_empty() {
        "nothing is to be done for these tools; after an upgrade of the system, move the database with mm-pgbump"
    } else {
        "apt-mark hold the package, or remove it where the server comes from a tarball"
    };
    servers.extend(others);
    Ok(Outcome::of(servers, "none, or held", |evidence| Bad { severity, evidence, hop: None, fix: fix.into() }))
}
