//! `mm-fetch refresh`: what Mattermost has published since these tools were built.

mod keep;
mod known;
mod page;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::{time, ui};
use mm_common::machine::http::Client;
use mm_common::machine::state;
use mm_common::mattermost::catalogue::{Catalogue, day};
use mm_common::run::Session;
use semver::Version;
use serde_json::{Value, json};

use crate::arguments::{FetchArguments, Refresh};
use crate::signature;
use keep::Place;
pub(crate) use keep::{joined, read};
use known::News;
use source::{Pages, Reader};

/// Reads the pages and writes what is new into the catalogue of this machine.
///
/// # Errors
/// Failed when a page cannot be had or understood; refused (5) when one contradicts what is known and nobody accepts it. The
/// catalogue is then as before.
pub(crate) fn act(session: &mut Session, arguments: &FetchArguments, refresh: &Refresh) -> Result<String> {
    let base = arguments.common.state_dir.as_deref();
    let place = Place::at(state::catalogue(base).as_deref().unwrap_or(&Path::new(state::BASE).join(state::CATALOGUE)))?;
    // What somebody else wrote there is refused before anything is asked.
    Catalogue::load(None, base)?;
    let client = Client::new(arguments.limits.http(arguments.ca.clone()))?;
    let reader = Reader { client, patience: crate::patience(arguments) };
    let Pages { found, as_of } =
        if refresh.from.is_empty() { source::published(&reader)? } else { source::named(&reader, &refresh.from)? };
    let key = usable_key(&found.keys)?;

    let _lock = if session.dry_run { None } else { Some(place.lock(session.lock_wait())?) };
    let catalogue = Catalogue::load(None, base)?;
    let news = known::news(&catalogue, &found);
    for what in &news.left_out {
        ui::warn(&format!("left out: {what}"));
    }
    accepted(&news, arguments)?;

    let mut written = place.read()?;
    keep::lay(&mut written, "releases", "version", news.releases.values());
    keep::lay(&mut written, "lines", "line", news.lines.values());
    if let Some(key) = key {
        written["signing_key"] = json!(key);
    }
    if !found.notes.is_empty() {
        written["unread_notes"] = json!({"count": news.unread, "link": source::NOTES});
    }
    // A key or the notes alone say nothing about how new the releases are that are known.
    let read = if found.names_releases() { as_of } else { catalogue.as_of() };
    written["as_of"] = json!(read.max(recorded(&written)));
    let text = keep::text(&written, place.path())?;
    let report = report(&catalogue, &news, &written);
    session.human = Some(report.clone());
    if session.dry_run {
        return Ok(format!("would write {}: {}", place.path().display(), summary(&news)));
    }
    session.changed = place.write(&text)?;
    Ok(format!("{}; the release data is of {}", summary(&news), written["as_of"].as_str().unwrap_or_default()))
}

fn recorded(written: &Value) -> jiff::civil::Date {
    day(written["as_of"].as_str().unwrap_or_default())
}

/// Mattermost's key among those that were found; a page with another key is refused.
fn usable_key(keys: &[String]) -> Result<Option<String>> {
    let wanted = signature::fingerprint()?;
    let mut usable = None;
    for key in keys {
        let found = signature::primary(key)?;
        if !found.eq_ignore_ascii_case(&wanted) {
            return Err(Error::refused("the published signing key is not the one that these tools know")
                .because(format!("its fingerprint is {found}, and that of Mattermost's key is {wanted}"))
                .hint("ask Mattermost whether the key was replaced; until then leave that page out with --from"));
        }
        usable = Some(key.clone());
    }
    Ok(usable)
}

fn accepted(news: &News, arguments: &FetchArguments) -> Result<()> {
    let open: Vec<_> = news.contradictions.iter().filter(|one| !arguments.common.accepts(one.kind)).collect();
    let Some(first) = open.first() else { return Ok(()) };
    let error = Error::refused("the pages contradict what is known; nothing was written");
    let error = open.iter().take(10).fold(error, |error, one| error.because(format!("{}: {}", one.kind, one.what)));
    Err(error
        .hint(format!("ask Mattermost which is right; where it is the page, give --accept {} as well", first.kind)))
}

fn summary(news: &News) -> String {
    if news.releases.is_empty() && news.lines.is_empty() {
        return "nothing new".into();
    }
    let mut parts = vec![ui::count(news.added.len(), "new release")];
    if !news.proven.is_empty() {
        parts.push(ui::count(news.proven.len(), "further digest"));
    }
    if !news.lines.is_empty() {
        parts.push(ui::count(news.lines.len(), "changed line"));
    }
    parts.join(", ")
}

fn report(catalogue: &Catalogue, news: &News, written: &Value) -> String {
    let mut lines = vec![format!("Read on {}, known before: {}.", day(&time::now()), catalogue.as_of())];
    let versions =
        |versions: &BTreeSet<Version>| versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !news.added.is_empty() {
        lines.push(format!("New releases: {}", versions(&news.added)));
    }
    if !news.proven.is_empty() {
        lines.push(format!("Digests of: {}", versions(&news.proven)));
    }
    lines.extend(news.lines.values().map(|line| {
        let of = |key: &str| line[key].as_str().unwrap_or("not known").to_owned();
        let esr = if line["esr"] == true { ", extended support" } else { "" };
        format!("Line {}: support ends {}{esr}", of("line"), of("end_of_support"))
    }));
    if news.releases.is_empty() && news.lines.is_empty() {
        lines.push("Nothing new.".into());
    }
    if let Some(count) = written["unread_notes"]["count"].as_u64().filter(|count| *count > 0) {
        lines.push(format!("{count} releases have upgrade notes newer than this catalogue: {}", source::NOTES));
    }
    lines.join("\n") + "\n"
}
