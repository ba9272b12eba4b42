//! The install tree. Everything in it belongs to the service user, so nothing is followed.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mm_common::contract::shell;
use mm_common::contract::ui;
use mm_common::machine::budget::Budget;
use mm_common::machine::door::Open;
use mm_common::machine::files::Access;
use mm_common::machine::user::User;
use mm_common::machine::{access, files, tree};
use mm_common::mattermost::manifest::{self, Difference, Manifest, Proven};
use mm_common::mattermost::site::Installation;
use mm_common::{Error, Result};

use crate::arguments::Extent;
use crate::check::{Finding, some};
use crate::look::Look;

/// What is half-made is not yet as it is to be, whatever the other checks see of it.
pub(crate) fn interrupted(look: &mut Look) -> Result<Finding> {
    Ok(match look.cut_off.first() {
        None => Finding::pass("no journal is open"),
        Some(Open { tool, journal, command }) => {
            Finding::fail(format!("an earlier run of {tool} was cut off: its journal `{journal}` is open"))
                .hint(command.clone())
        }
    })
}

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

/// All that the release owns, `client/` whole: root.html names only the first of the client's scripts, and a page without
/// the others stays white. What the server itself rewrites at its start is left out (observed on every version run).
///
/// In a hop and with `--files all` every file is hashed. Else only what has another size, mode or time than when it was.
pub(crate) fn release(look: &mut Look) -> Result<Finding> {
    let (release, edition) = (look.release().clone(), look.installation.edition);
    let Some(manifest) = manifest(look)? else {
        let cache = look.options.cache.display();
        let kept = manifest::kept(&look.installation.state, &release, edition);
        return Ok(Finding::skip(format!(
            "no list of the files of {release} ({edition}) is {} or in {cache}",
            kept.display()
        ))
        .hint(format!(
            "mm-fetch {release} --edition {edition} --cache {}, then look again",
            shell::word(&look.options.cache)
        )));
    };
    let record = look.state().join(PROVEN);
    let is_thorough = look.expected.is_some() || look.options.files == Extent::All;
    let earlier = if is_thorough { Proven::default() } else { read_proven(&record) };
    let (difference, proven) = manifest.compare_since(&look.installation.root, &earlier)?;
    write_proven(&record, &proven);
    let Difference { whole, missing, altered, foreign, closed } = difference;
    let (site, unreadable) = (&look.installation, unreadable(&look.installation, &closed)?);
    let for_user = format!("not readable for {}", site.owner.name);
    let parts = [
        ("missing", &missing),
        ("altered", &altered),
        (for_user.as_str(), &unreadable),
        ("not of this release", &foreign),
    ];
    let words: Vec<String> = parts
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(word, list)| format!("{word}: {}", some(list, 5)))
        .collect();
    let finding = if !missing.is_empty() || !altered.is_empty() {
        Finding::fail(words.join("; ")).hint(
            "if nobody patched these files on purpose, install the release again with mm-swap, or go back with mm-swap rollback",
        )
    } else if !unreadable.is_empty() {
        let name = shell::word(&site.owner.name);
        let tops: BTreeSet<&str> = unreadable.iter().filter_map(|path| path.split('/').next()).collect();
        let tops = shell::words(&tops.into_iter().map(|top| site.root.join(top)).collect::<Vec<_>>());
        Finding::fail(words.join("; "))
            .hint(format!("chown -hR {name} {tops} && runuser -u {name} -- chmod -R u+rX {tops}"))
    } else if foreign.is_empty() {
        let hashed = proven.new_since(&earlier);
        Finding::pass(format!("{whole} entries are as they were released ({} hashed)", ui::count(hashed, "file")))
    } else {
        Finding::warn(words.join("; "))
    };
    Ok(finding.against(format!("the manifest of {release}, {} entries", manifest.entries.len())))
}

/// Those of the entries that the server's user may not read: what is not served stays away from the client, as if it were
/// missing. A program that may be run need not be read.
fn unreadable(site: &Installation, closed: &[String]) -> Result<Vec<String>> {
    let places: Vec<_> =
        closed.iter().filter(|path| !path.starts_with("bin/")).map(|path| site.root.join(path)).collect();
    let denied = access::not_readable(&site.owner, &places)?;
    let below = |path: &PathBuf| path.strip_prefix(&site.root).unwrap_or(path).display().to_string();
    Ok(denied.iter().map(below).collect())
}

/// In the state directory: which files were hashed, and what they looked like.
const PROVEN: &str = "release-files.json";
/// 100,000 files take less.
const MOST_PROVEN: u64 = 64 * 1024 * 1024;

/// What an upgrade has kept, what the document says mm-fetch has (only from a cache that others could not have filled),
/// or what is in the cache.
fn manifest(look: &Look) -> Result<Option<Manifest>> {
    let site = &look.installation;
    let kept = manifest::kept(&site.state, &site.version, site.edition);
    if files::look(&kept)?.is_some() {
        return Manifest::read(&kept).map(Some);
    }
    let mut fetched = look.fetch.iter().flat_map(|fetch| &fetch.releases);
    match fetched.find(|fetched| fetched.version == site.version && fetched.edition == site.edition) {
        Some(fetched) => Manifest::of_cache(fetched).map(Some),
        None => Manifest::find(&site.state, &look.options.cache, &site.version, site.edition),
    }
}

/// A record that cannot be read is none: then everything is hashed.
fn read_proven(path: &Path) -> Proven {
    let bytes = files::read(path, MOST_PROVEN).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Without a record the next run hashes everything again.
fn write_proven(path: &Path, proven: &Proven) {
    let text = serde_json::to_vec(proven).unwrap_or_default();
    if let Err(error) = files::write(path, &text, Access::PRIVATE) {
        ui::warn(&format!("which files were hashed is not kept: {}", error.one_line()));
    }
}

/// A plugin has some thousand files.
const MOST_FILES: u64 = 2_000_000;
const LONGEST: Duration = Duration::from_secs(300);

/// No command gives away what the configuration, or a link, says is the server's.
const NOT_THE_RELEASES: &str =
    "it is not in the install root: see whether configuration and links name what they should, and who is to have it";

/// What counts is what the kernel lets the server's user do: a directory of root's with the server's group and `g+w`, or
/// an access list, is as good as one of its own.
pub(crate) fn owner(look: &mut Look) -> Result<Finding> {
    let site = &look.installation;
    let name = &site.owner.name;
    let mut places: Vec<_> =
        ["config", "logs", "plugins", "client/plugins"].iter().map(|name| site.root.join(name)).collect();
    places.push(site.data.clone());
    places.extend(site.config.path.clone());
    // A link in its place is the administrator's doing: what counts is what it leads to.
    places.retain(|place| std::fs::metadata(place).is_ok());
    let shown = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let wrong = access::not_writable(&site.owner, &places)?;
    let (own, wrong) = (access::of_tree(&site.root, &wrong)?, shown(&wrong));
    let mut within = Vec::new();
    let trees = ["plugins", "client/plugins"].map(|name| site.root.join(name));
    let budget = Budget::new("files of plugins", MOST_FILES, u64::MAX, LONGEST);
    for place in &trees {
        if files::look(place)?.is_some_and(|data| data.is_dir()) {
            within.extend(tree::of_others(place, site.owner.uid, &budget)?);
        }
    }
    let within = shown(&access::not_writable(&site.owner, &within)?);
    Ok(if wrong.is_empty() && within.is_empty() {
        Finding::pass(format!("{name} may write them: {}", ui::count(places.len(), "place")))
    } else if wrong.is_empty() {
        // It runs them, and cannot update or remove them: a command that was run as root leaves such files.
        let number = ui::count(within.len(), "entry");
        Finding::warn(format!("{number} that {name} may not write: {}", some(&within, 5))).hint(format!(
            "chown -hR {} {}",
            shell::word(name),
            shell::words(&access::of_tree(&site.root, &trees)?)
        ))
    } else {
        let hint = if own.is_empty() {
            NOT_THE_RELEASES.into()
        } else {
            format!("chown -h {}: {}", shell::word(name), shell::words(&own))
        };
        Finding::fail(format!("{name} may not write: {}", some(&wrong, 5))).hint(hint)
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
            .hint(format!("setcap cap_net_bind_service=+ep {}", shell::word(&binary)))
    })
}

pub(crate) fn config(look: &mut Look) -> Result<Finding> {
    let site = &look.installation;
    let Some(path) = &site.config.path else {
        return Ok(Finding::skip("the configuration is in the database"));
    };
    let data = std::fs::metadata(path).map_err(|error| Error::io("look at", path, error))?;
    let mode = data.mode() & 0o7777;
    let readable = access::is_readable(&site.owner, path);
    let evidence = format!("{} has mode {mode:04o} and belongs to user {}", path.display(), data.uid());
    // A mode says nothing where the directory above is closed.
    let is_open = mode & 0o004 != 0 && access::is_readable(&anybody(), path).unwrap_or(true);
    Ok(if readable.as_ref().is_ok_and(|readable| !readable) {
        let is_own = !access::of_tree(&site.root, std::slice::from_ref(path))?.is_empty();
        let command = format!("chown -h {} {}", shell::word(&site.owner.name), shell::word(path));
        Finding::fail(format!("{evidence}: {} cannot read it", site.owner.name)).hint(if is_own {
            command
        } else {
            NOT_THE_RELEASES.into()
        })
    } else if is_open {
        // 7.8 and later make a missing one with 0644 (observed), and it holds the database password.
        Finding::warn(format!("{evidence}: every user of this machine can read its passwords"))
            .hint(format!("chmod 600 {}", shell::word(path)))
    } else {
        Finding::pass(format!("{evidence}; {} can read it", readable.map(|_| &site.owner.name)?))
    })
}

/// Somebody who owns nothing and is in no group (nobody, nogroup).
fn anybody() -> User {
    User::of_ids(65534, 65534)
}
