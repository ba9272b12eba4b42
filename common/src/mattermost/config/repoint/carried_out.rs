//! Making a change of a data source, and taking it back.

use std::path::{Path, PathBuf};

use super::super::token::{Edits, Mover, Token};
use super::super::{edit, environment, open_parent, stored, variable};
use super::{Change, Part, Spot, database, read};
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::files::{self, Access};
use crate::machine::lock::LockGuard;
use crate::machine::service::{Service, systemd};
use crate::mattermost::id;

/// Which way a change is carried out.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    Make,
    /// What was changed by somebody else since is moved by this instead.
    TakeBack(Mover<'a>),
}

impl Change {
    /// What to call it: the file, or the table of a configuration in the database.
    pub fn place(&self) -> PathBuf {
        match &self.spot {
            Spot::File(file) | Spot::Variable { file, .. } | Spot::DropIn { file, .. } => file.clone(),
            Spot::Row { .. } => "configurations".into(),
        }
    }

    /// Makes the change, durably, unless it is made.
    ///
    /// # Errors
    /// When what is there is neither as it was nor as it is to be; nothing is changed then.
    pub fn make(&self, service: &Service, _lock: &LockGuard) -> Result<()> {
        self.carry_out(service, Way::Make)
    }

    /// Takes the change back, durably, unless that is done. A string that somebody else has changed since goes by
    /// `mover` instead.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn take_back(&self, service: &Service, mover: Mover<'_>, _lock: &LockGuard) -> Result<()> {
        self.carry_out(service, Way::TakeBack(mover))
    }

    fn carry_out(&self, service: &Service, way: Way<'_>) -> Result<()> {
        match &self.spot {
            Spot::File(path) => rewrite(path, |text| self.of_settings(text, way).map(|(text, _)| text)),
            Spot::Variable { name, file } => {
                rewrite(file, |text| {
                    let token = variable::locate(text, name)?;
                    let raw = self.parts.first().map(|part| part.of(&token, text, way)).transpose()?.flatten();
                    Ok(raw.map_or_else(
                        || text.to_owned(),
                        |(raw, _)| format!("{}{raw}{}", &text[..token.span.start], &text[token.span.end..]),
                    ))
                })?;
                reload()
            }
            Spot::DropIn { name, file } => self.drop_in(name, file, service, way),
            Spot::Row { id } => self.row(id, service, way),
        }
    }

    /// A JSON text with every part exchanged, and the edits that this takes with the places they count from.
    pub(super) fn of_settings(&self, text: &str, way: Way<'_>) -> Result<(String, Vec<(usize, Edits)>)> {
        let mut found = Vec::new();
        for part in &self.parts {
            let token = edit::locate(text, &part.setting)?;
            if let Some((raw, edits)) = part.of(&token, text, way)? {
                found.push((token.span, raw, edits));
            }
        }
        found.sort_unstable_by_key(|(span, ..)| span.start);
        let (mut new, mut at, mut all) = (String::with_capacity(text.len()), 0, Vec::new());
        for (span, raw, edits) in found {
            new.push_str(&text[at..span.start]);
            new.push_str(&raw);
            at = span.end;
            all.push((span.start, edits));
        }
        new.push_str(&text[at..]);
        Ok((new, all))
    }

    /// A drop-in is written as a whole, and nobody but systemd has to read it.
    fn drop_in(&self, name: &str, file: &Path, service: &Service, way: Way<'_>) -> Result<()> {
        match way {
            Way::TakeBack(_) => {
                files::remove_file(file)?;
                // Others may have drop-ins there.
                let _ = std::fs::remove_dir(files::parent(file)?);
            }
            Way::Make if files::look(file)?.is_some() => {}
            Way::Make => {
                let overrides = environment::of_service(&service.install, &service.manager)?;
                let value = environment::value(&overrides, name).unwrap_or_default();
                let new = self.parts.first().and_then(|part| part.edits.made(value)).ok_or_else(|| {
                    Error::failed(format!("cannot write `{}`", file.display()))
                        .because(format!("{name} was changed by somebody else"))
                })?;
                files::create_directory(files::parent(file)?, 0o755)?;
                files::write(file, systemd::drop_in_text(name, &new).as_bytes(), Access::PRIVATE)?;
            }
        }
        reload()
    }

    fn row(&self, id: &str, service: &Service, way: Way<'_>) -> Result<()> {
        let database = database(service)?;
        let id = match way {
            Way::Make if stored::has(&database, id)? => return Ok(()),
            Way::Make => id.to_owned(),
            Way::TakeBack(_) => id::new()?,
        };
        let row = stored::active(&database)?;
        let (new, edits) = self.of_settings(&row.value, way)?;
        if edits.is_empty() { Ok(()) } else { stored::replace(&database, &row, &id, &edits, &new) }
    }
}

impl Part {
    /// The string as it is to be written and the edits that make it so; `None` when it is so already.
    fn of(&self, token: &Token, text: &str, way: Way<'_>) -> Result<Option<(String, Edits)>> {
        let raw = &text[token.span.clone()];
        let (made, taken_back) = (self.edits.made(raw), self.edits.taken_back(raw));
        match (way, made, taken_back) {
            (Way::Make, Some(raw), _) => Ok(Some((raw, self.edits.clone()))),
            (Way::TakeBack(_), _, Some(raw)) => Ok(Some((raw, self.edits.reversed()))),
            (Way::Make, None, Some(_)) | (Way::TakeBack(_), Some(_), None) => Ok(None),
            (Way::Make, None, None) => Err(Error::failed(format!("cannot change `{}`", self.setting.join(".")))
                .because("it was changed by somebody else in the meantime")),
            (Way::TakeBack(mover), None, None) => {
                let edits = token.edits(text, &mover(&token.value)?)?;
                Ok(edits.made(raw).filter(|_| !edits.is_empty()).map(|raw| (raw, edits)))
            }
        }
    }
}

fn reload() -> Result<()> {
    if systemd::is_here() { systemd::reload() } else { Ok(()) }
}

fn rewrite(path: &Path, change: impl Fn(&str) -> Result<String>) -> Result<()> {
    let attempt = || format!("cannot change the data source in `{}`", path.display());
    let text = read(path).context(attempt)?;
    let new = change(&text).context(attempt)?;
    if new == text {
        return Ok(());
    }
    let (dir, name) = open_parent(path)?;
    let Some(entry) = dir.look(&name)? else {
        return Err(Error::failed(attempt()).because("it has vanished"));
    };
    dir.write(&name, new.as_bytes(), Access { mode: entry.mode, owner: Some((entry.uid, entry.gid)) })
}
