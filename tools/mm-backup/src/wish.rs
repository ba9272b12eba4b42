//! What a restore is asked for, from its flags.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::shell;

use crate::arguments::RestoreArguments;
use crate::flip::LEAVE_STOPPED;
use crate::mysql;
use crate::restore_files::Selection;
use crate::store::Point;
use crate::text::Name;

/// What is restored.
#[derive(Clone)]
pub(crate) struct Wish {
    /// Which files.
    pub(crate) files: Option<Selection>,
    /// Whether the server's database.
    pub(crate) database: bool,
    /// Whether it goes elsewhere than where it came from.
    pub(crate) elsewhere: bool,
    /// `--into-database` is for the dump of the configuration's database, not for that of the server's.
    pub(crate) configuration: bool,
    /// The flags that say so, for the command that goes on with it.
    pub(crate) flags: Vec<Name>,
}

impl Wish {
    pub(crate) fn new(point: &Point, wanted: &RestoreArguments) -> Result<Self> {
        let named = wanted.files || wanted.config || wanted.database || !wanted.path.is_empty();
        let elsewhere = wanted.is_elsewhere();
        let configuration = wanted.config && !wanted.database && wanted.into_database.is_some();
        let config_files = wanted.config && (wanted.into.is_some() || !configuration);
        let selection = if wanted.files {
            Some(Selection::Everything)
        } else if config_files || !wanted.path.is_empty() {
            Some(Selection::named(&point.head, wanted.config, &wanted.path)?)
        } else if named || (elsewhere && wanted.into.is_none()) {
            None
        } else {
            Some(Selection::Everything)
        };
        let database = wanted.database || wanted.into_database.is_some() || !(named || elsewhere);
        if wanted.into.is_some() && wanted.database && wanted.into_database.is_none() {
            return Err(
                Error::usage("--into is for files").hint("restore the database elsewhere with --into-database URL")
            );
        }
        if wanted.into_database.is_some() && selection.is_some() && wanted.into.is_none() {
            return Err(Error::usage("--into-database with files needs --into DIR as well")
                .hint("restore into place and elsewhere in two runs"));
        }
        if configuration && point.head.config_database.is_none() {
            return Err(Error::refused(format!(
                "the restore point {} holds no database of the configuration",
                point.head.id
            ))
            .because("the configuration was in a file, or in the server's own database")
            .hint("restore the file with --config, or the server's database with --database"));
        }
        if point.head.database_name().is_none() && !configuration && (wanted.database || wanted.into_database.is_some())
        {
            return Err(mysql::no_database(&point.head, &point.path));
        }
        Ok(Self {
            files: selection,
            database: database && point.head.database_name().is_some(),
            elsewhere,
            configuration,
            flags: flags(wanted),
        })
    }

    /// Whether it puts back all that the restore point holds.
    pub(crate) fn is_everything(&self) -> bool {
        let names_nothing = self.flags.iter().all(|flag| flag.as_bytes() == LEAVE_STOPPED);
        (self.database || names_nothing) && !self.elsewhere && matches!(self.files, Some(Selection::Everything))
    }

    pub(crate) fn in_words(&self) -> &'static str {
        match (&self.files, self.database) {
            _ if self.configuration => "the configuration",
            (Some(_), true) => "files and database",
            (Some(_), false) => "files",
            _ => "the database",
        }
    }
}

/// The flags of a restore into place as they are typed, with a blank before each.
pub(crate) fn said(wanted: &RestoreArguments) -> String {
    let flags = flags(wanted);
    let words = flags.iter().map(|flag| shell::word(flag.as_path())).chain(wanted.stop.then(|| "--stop".to_owned()));
    words.fold(String::new(), |text, word| text + " " + &word)
}

/// The flags of a restore into place.
fn flags(wanted: &RestoreArguments) -> Vec<Name> {
    let said = [
        (wanted.files, "--files"),
        (wanted.config, "--config"),
        (wanted.database, "--database"),
        (wanted.leave_stopped, "--leave-stopped"),
    ];
    let said = said.into_iter().filter(|(said, _)| *said).map(|(_, flag)| flag.into());
    let paths = wanted.path.iter().flat_map(|path| ["--path".into(), path.clone().into_os_string()]);
    said.chain(paths).map(Name).collect()
}
