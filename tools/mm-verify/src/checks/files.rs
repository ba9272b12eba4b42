//! The install tree. Everything in it belongs to the service user, so nothing is followed.

use std::os::unix::fs::MetadataExt as _;

use mm_common::contract::ui;
use mm_common::machine::{files, tree};
use mm_common::mattermost::manifest::{Difference, Manifest};
use mm_common::{Error, Result};

use crate::check::{Finding, some};
use crate::look::Look;

pub(crate) fn version(look: &mut Look) -> Result<Finding> {
    let found = look.release();
    let evidence = format!("{found} is installed (seen in: {})", look.installation.version_source);
    Ok(match &look.expected {
        Some(expected) if expected != found => Finding::fail(evidence)
            .against(format!("{expected}, which mm-swap put in place"))
            .hint("run mm-swap again; it goes on where it was interrupted"),
        Some(expected) => Finding::pass(evidence).against(format!("{expected}, which mm-swap put in place")),
        None => Finding::pass(evidence),
    })
}

pub(crate) fn release(look: &mut Look) -> Result<Finding> {
    let release = look.release().clone();
    let fetched = look.fetch.iter().flat_map(|fetch| &fetch.releases).find(|fetched| fetched.version == release);
    let Some(fetched) = fetched else {
        return Ok(Finding::skip(format!("no manifest of the release {release} is at hand"))
            .hint("run mm-verify behind mm-fetch in the pipeline, or give its document with --document"));
    };
    let manifest = Manifest::read(&fetched.manifest)?;
    let Difference { whole, missing, altered, foreign } = manifest.compare(&look.installation.root, |_| true)?;
    let words: Vec<String> = [("missing", &missing), ("altered", &altered), ("not of this release", &foreign)]
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(word, list)| format!("{word}: {}", some(list, 5)))
        .collect();
    let finding = if !missing.is_empty() || !altered.is_empty() {
        Finding::fail(words.join("; ")).hint(
            "if nobody patched these files on purpose, install the release again with mm-swap, or go back with mm-swap rollback",
        )
    } else if foreign.is_empty() {
        Finding::pass(format!("{whole} entries are as they were released"))
    } else {
        Finding::warn(words.join("; "))
    };
    Ok(finding.against(format!("the manifest of {release}, {} entries", manifest.entries.len())))
}

pub(crate) fn owner(look: &mut Look) -> Result<Finding> {
    let site = &look.installation;
    let mut wrong = Vec::new();
    let mut seen = 0;
    let mut places: Vec<_> =
        ["config", "logs", "plugins", "client/plugins"].iter().map(|name| site.root.join(name)).collect();
    places.push(site.data.clone());
    places.extend(site.config.path.clone());
    for place in places {
        // A link in its place is the administrator's doing: what counts is who owns what it leads to.
        let Ok(data) = std::fs::metadata(&place) else { continue };
        seen += 1;
        if data.uid() != site.owner.uid {
            wrong.push(place.display().to_string());
        }
    }
    let mut within = Vec::new();
    for place in ["plugins", "client/plugins"].map(|name| site.root.join(name)) {
        if files::look(&place)?.is_some_and(|data| data.is_dir()) {
            within.extend(tree::of_others(&place, site.owner.uid)?);
        }
    }
    let within: Vec<String> = within.iter().map(|path| path.display().to_string()).collect();
    Ok(if wrong.is_empty() && within.is_empty() {
        Finding::pass(format!("owned by {}: {}", site.owner.name, ui::count(seen, "place")))
    } else if wrong.is_empty() {
        // It runs them, and cannot update or remove them: a command that was run as root leaves such files.
        Finding::warn(format!(
            "{} not owned by {}: {}",
            ui::count(within.len(), "entry"),
            site.owner.name,
            some(&within, 5)
        ))
        .hint(format!("chown -hR {} plugins client/plugins, in {}", site.owner.name, site.root.display()))
    } else {
        Finding::fail(format!("not owned by {}: {}", site.owner.name, some(&wrong, 5))).hint(format!(
            "chown -h {}: {}",
            site.owner.name,
            wrong.join(" ")
        ))
    })
}

pub(crate) fn port(look: &mut Look) -> Result<Finding> {
    let site = &look.installation;
    let listen = site.config.text("ServiceSettings", "ListenAddress").unwrap_or_default();
    let Some(port) = listen.rsplit(':').next().and_then(|text| text.parse::<u16>().ok()) else {
        return Ok(Finding::skip(format!("the listen address `{listen}` names no port")));
    };
    // Ports below this one need a capability: the binary's own, or one that the service manager gives.
    if port >= 1024 || site.owner.uid == 0 {
        return Ok(Finding::pass(format!("port {port} needs no privilege")));
    }
    let binary = site.root.join("bin/mattermost");
    let capability = xattr::get(&binary, "security.capability").ok().flatten();
    Ok(if capability.is_some_and(|value| !value.is_empty()) {
        Finding::pass(format!("port {port}, and bin/mattermost has its capability"))
    } else if look.server.get("/api/v4/system/ping", None).is_ok_and(|answer| answer.is_success()) {
        Finding::pass(format!("port {port}, and the server answers; bin/mattermost itself has no capability"))
    } else {
        Finding::fail(format!("port {port} is privileged, and bin/mattermost has no capability"))
            .hint(format!("setcap cap_net_bind_service=+ep {}", binary.display()))
    })
}

pub(crate) fn config(look: &mut Look) -> Result<Finding> {
    let site = &look.installation;
    let Some(path) = &site.config.path else {
        return Ok(Finding::skip("the configuration is in the database"));
    };
    let data = std::fs::metadata(path).map_err(|error| Error::io("look at", path, error))?;
    let mode = data.mode() & 0o7777;
    let readable = if data.uid() == site.owner.uid {
        mode & 0o400 != 0
    } else if data.gid() == site.owner.gid {
        mode & 0o040 != 0
    } else {
        mode & 0o004 != 0
    };
    let evidence = format!("{} has mode {mode:04o} and belongs to user {}", path.display(), data.uid());
    Ok(if !readable && site.owner.uid != 0 {
        Finding::fail(format!("{evidence}: {} cannot read it", site.owner.name)).hint(format!(
            "chown {} {}",
            site.owner.name,
            path.display()
        ))
    } else if mode & 0o004 != 0 {
        // 7.8 and later make a missing one with 0644 (observed), and it holds the database password.
        Finding::warn(format!("{evidence}: every user of this machine can read its passwords"))
            .hint(format!("chmod 600 {}", path.display()))
    } else {
        Finding::pass(evidence)
    })
}
