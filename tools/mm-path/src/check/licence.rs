//! The licence, as far as a plan needs it: its short name, its end and how many users it is for.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::machine::files;
use mm_common::machine::guise::Guise;
use mm_common::machine::service::{Manager, process};
use mm_common::machine::tree::Dir;
use mm_common::mattermost::config::environment;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::server::Database;
use serde_json::Value;

/// The variable that may hold the whole licence.
const VARIABLE: &str = "MM_LICENSE";

/// The file that is looked for when `ServiceSettings.LicenseFileLocation` names none.
const FILE: &str = "config/mattermost.mattermost-license";

/// A licence has some 2 kB.
const MOST: u64 = 1024 * 1024;

/// What stands in a licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Licence {
    /// Short name: `E10`, `E20`, `professional`, `enterprise`...
    pub(crate) name: String,
    /// Its end, in milliseconds since 1970.
    pub(crate) ends: Option<i64>,
    /// Users it is for.
    pub(crate) seats: Option<u64>,
}

/// What a server finds outside its database. `MM_LICENSE` outranks the database, which outranks the file
/// (`LoadLicense` of the server).
#[derive(Debug)]
pub struct Outside {
    /// What the variable holds, where it is set. One that cannot be read leaves the server without a licence.
    variable: Option<Result<Licence>>,
    /// Whether the variable could be looked at.
    seen: Result<()>,
    file: Result<Option<Licence>>,
    place: PathBuf,
}

impl Outside {
    /// From the texts themselves.
    pub fn new(variable: Option<&str>, file: Result<Option<String>>, place: PathBuf) -> Self {
        let read = |text: &str, place: &str| parse(text).ok_or_else(|| unreadable(place));
        let shown = format!("the file `{}`", place.display());
        Self {
            variable: variable.map(|text| read(text, &format!("the variable {VARIABLE}"))),
            seen: Ok(()),
            file: file.and_then(|text| text.map(|text| read(&text, &shown)).transpose()),
            place,
        }
    }

    /// What the server of this installation finds.
    pub(crate) fn of(installation: &Installation) -> Self {
        let config = &installation.config;
        let named = config.text("ServiceSettings", "LicenseFileLocation").filter(|name| !name.is_empty());
        let place = installation.root.join(named.as_deref().unwrap_or(FILE));
        let running = process::servers(&installation.root).first().map(|server| variable_of(server.pid));
        let configured = environment::value(&config.overrides, VARIABLE).map(str::to_owned);
        let started_by_us = !matches!(installation.service.manager, Manager::Sysv { .. } | Manager::Command { .. });
        let seen = match &running {
            _ if started_by_us || configured.is_some() => Ok(()),
            Some(variable) => variable.as_ref().map(drop).map_err(Clone::clone),
            None => Err(Error::failed(format!("cannot tell whether the server starts with {VARIABLE}"))
                .because("its environment is made by what starts it, and it does not run")
                .hint("run this while the server runs")),
        };
        let variable = configured.or_else(|| running?.ok()?).filter(|text| !text.is_empty());
        Self { seen, ..Self::new(variable.as_deref(), text_of(&place, installation), place) }
    }

    /// Nothing is there.
    pub fn nowhere() -> Self {
        Self::new(None, Ok(None), PathBuf::new())
    }

    /// Where the server was found to have no licence.
    pub(crate) fn looked(&self) -> String {
        format!("there is none in {VARIABLE}, in the database, and in `{}`", self.place.display())
    }
}

/// The variable of a process that runs.
fn variable_of(pid: i32) -> Result<Option<String>> {
    let path = PathBuf::from(format!("/proc/{pid}/environ"));
    let bytes = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
    let text = String::from_utf8_lossy(&bytes);
    let set = text.split('\0').find_map(|pair| pair.strip_prefix(VARIABLE)?.strip_prefix('='));
    Ok(set.map(str::to_owned))
}

/// The text of a licence file. The service user may have named or put anything there: it is read with the rights of the
/// server, and nothing of it is ever shown.
fn text_of(place: &Path, installation: &Installation) -> Result<Option<String>> {
    let read = || {
        let Ok(resolved) = place.canonicalize() else { return Ok(None) };
        let name = resolved.file_name().unwrap_or_default();
        let Some(dir) = Dir::reach(files::parent(&resolved)?)? else { return Ok(None) };
        dir.read(name, MOST).map(Some)
    };
    let bytes = Guise::of(&installation.owner)?.map_or_else(read, |guise| guise.run(read))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn unreadable(place: &str) -> Error {
    Error::failed(format!("cannot read the licence in {place}")).because("it is no base64 of a licence").hint(
        "a server that cannot read it runs without a licence: see its log, and give it the whole text of the licence",
    )
}

/// The licence that the server has; none when there is none.
///
/// The text is base64 of a JSON object with a signature behind it. The signature is the server's business.
pub(crate) fn read(database: &Database, outside: &Outside) -> Result<Option<Licence>> {
    if let Some(found) = &outside.variable {
        return found.clone().map(Some);
    }
    outside.seen.clone()?;
    let rows = database.rows(
        "SELECT l.bytes AS bytes FROM systems s LEFT JOIN licenses l ON l.id = s.value \
         WHERE s.name = 'ActiveLicenseId' AND s.value <> ''",
    )?;
    match rows.first().map(|row| row["bytes"].as_str()) {
        Some(Some(text)) => parse(text).map(Some).ok_or_else(|| unreadable("the table `licenses`")),
        // It names one that is not there, and looks no further.
        Some(None) => Ok(None),
        None => outside.file.clone(),
    }
}

/// Its short name, empty when there is none.
pub(crate) fn sku(database: &Database, outside: &Outside) -> Result<String> {
    Ok(read(database, outside)?.map(|licence| licence.name).unwrap_or_default())
}

fn parse(text: &str) -> Option<Licence> {
    let bytes = decode(text)?;
    let object = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>().next()?.ok()?;
    let name = object.get("sku_short_name").and_then(Value::as_str).filter(|name| !name.is_empty());
    // The old licences have no such name; E20 is the one with the features of a company.
    let old = || {
        let features = object.get("features")?;
        let on = |key: &str| features.get(key).and_then(Value::as_bool).unwrap_or(false);
        Some(if on("future_features") || on("compliance") { "E20" } else { "E10" }.to_owned())
    };
    Some(Licence {
        name: name.map(str::to_owned).or_else(old)?,
        ends: object.get("expires_at").and_then(Value::as_i64),
        seats: object.get("features").and_then(|features| features.get("users")?.as_u64()),
    })
}

/// Base64 of the standard alphabet; white space and padding are passed over.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0u32);
    for character in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<String> {
        parse(text).map(|licence| licence.name)
    }

    #[test]
    fn reads_the_name_before_the_signature() {
        // {"id":"x","sku_short_name":"professional"} and two bytes of a signature
        let licence = "eyJpZCI6IngiLCJza3Vfc2hvcnRfbmFtZSI6InByb2Zlc3Npb25hbCJ9/wA=";
        assert_eq!(name(licence).as_deref(), Some("professional"));
        assert_eq!(name("not base64!"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn an_old_licence_is_told_by_its_features() {
        // {"features":{"compliance":true}} and {"features":{}}
        assert_eq!(name("eyJmZWF0dXJlcyI6eyJjb21wbGlhbmNlIjp0cnVlfX0=").as_deref(), Some("E20"));
        assert_eq!(name("eyJmZWF0dXJlcyI6e319").as_deref(), Some("E10"));
    }
}
