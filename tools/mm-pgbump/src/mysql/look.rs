//! What is looked at before a move out of MySQL, with the server running, as far as it needs no tables in the target.

use mm_common::mattermost::site::Installation;
use mm_common::postgres::dump::identifier;
use mm_common::{Kind, Result};

use super::extra;
use super::shape::Shapes;
use super::source::Source;
use super::unit;
use crate::moving::look;
use crate::moving::point;
use crate::moving::target::Target;
use crate::preflight::{Findings, List, Seen};

/// The check for tables that only MySQL has; accepted, they stay there.
pub(crate) const EXTRA: &str = "mysql-extra-tables";

/// What nobody can accept: a move would fail at it, or leave something out.
const FIRM: [&str; 8] = [
    "move-target",
    "move-encoding",
    "mysql-schema",
    "mysql-json",
    "mysql-long",
    "mysql-null",
    "mysql-value",
    "mysql-case-clash",
];

/// The engines that moves were tried with.
const TRIED: [&str; 1] = ["MariaDB 10.11"];

/// What is to be moved where.
pub(crate) struct Question<'a> {
    pub installation: &'a Installation,
    pub target: &'a Target,
    /// The earliest major that the remaining hops accept.
    pub needed: Option<u32>,
    /// `--replace`.
    pub replace: bool,
    /// `--unit`.
    pub changes_unit: bool,
    /// `--with-extra-tables`.
    pub with_extra: bool,
}

/// Looks at everything.
pub(crate) fn all(question: &Question<'_>, source: &mut Source) -> Findings {
    let (installation, target) = (question.installation, question.target);
    let mut list = List::default();
    list.add("mysql-engine", "The engine is one that was tried", || Ok(engine(&source.engine)));
    list.add("mysql-tls", "Nobody reads on the way from MySQL", || {
        if let Some(version) = source.cipher()? {
            return Ok(Seen::pass(version));
        }
        if source.address.is_here() {
            return Ok(Seen::pass("it does not leave this machine"));
        }
        let hint = "tls=true in the data source of the server, where MySQL has a certificate; or a tunnel (ssh -L, stunnel) for the time of the move";
        Ok(Seen::warn(format!("no TLS to {}: messages can be read on the way", source.address.host), hint))
    });
    list.add("move-version", "The target's PostgreSQL fits every hop", || Ok(version(question)));
    let schemas = ["public", extra::SCHEMA].map(str::to_owned);
    look::of_target(target, question.replace, &schemas[..=usize::from(question.with_extra)], &mut list);
    list.add("move-encoding", "The target keeps every character", || encoding(target));
    list.add("move-space", "There is room", || {
        let bytes = source.bytes()?;
        let hint =
            format!("see that the target's disk has {} bytes, and as much again for its write-ahead log", bytes * 2);
        Ok(Seen::skip(format!("MySQL holds {bytes} bytes; the target's disk was not looked at"), hint))
    });
    list.add("move-replicas", "No replica of the old database stays in use", || {
        Ok(Seen::list(
            &replicas(installation),
            "none is configured",
            Seen::fail,
            "take them out of the configuration: they would go on showing the old database. Put those of the target in after the move",
        ))
    });
    list.add(
        "move-configuration",
        "The data source can be changed where it stands",
        || match point::rehearse_from_mysql(installation, &source.address, &target.named) {
            Ok(()) => Ok(Seen::pass("rehearsed")),
            Err(error) if error.kind() == Kind::Refused => {
                Ok(Seen::fail(error.one_line(), error.next_step().unwrap_or_default()))
            }
            Err(error) => Err(error),
        },
    );
    list.add("mysql-unit", "The server's unit names none of MySQL", || {
        Ok(unit::look(installation, target, question.changes_unit))
    });
    list.add("mysql-search", "What users will find", || search(installation, target));
    Findings { checks: list.checks, clone_works: false }
}

/// What is looked at once the release has made its tables in the target.
pub(crate) fn shapes(shapes: &Shapes, list: &mut List) {
    list.add("mysql-schema", "Both sides have the same tables and columns", || {
        Ok(Seen::list(
            &shapes.misfits,
            "they have",
            Seen::fail,
            "the database is not what this release makes of it: start the server once and let it finish its migrations; remove columns that are not Mattermost's",
        ))
    });
    list.add("mysql-storage", "One snapshot shows all tables", || {
        let hint = "they are read as they are in that moment; nobody may write to them during the move";
        Ok(Seen::list(&shapes.unsteady, "all are InnoDB", Seen::warn, hint))
    });
    list.add(EXTRA, "The release knows every table", || {
        let hint = "they are a plugin's or somebody else's, and are not moved: --with-extra-tables carries them into a schema of their own, and --accept mysql-extra-tables leaves them in MySQL";
        Ok(Seen::list(&shapes.extra, "it does", Seen::fail, hint))
    });
}

/// Lets findings pass that the administrator has accepted, but for those that nobody can accept.
pub(crate) fn accept(findings: &mut Findings, ids: &[String]) {
    let ids: Vec<String> = ids.iter().filter(|id| !FIRM.contains(&id.as_str())).cloned().collect();
    findings.accept(&ids);
}

fn engine(engine: &str) -> Seen {
    if TRIED.iter().any(|tried| engine.strip_prefix(tried).is_some_and(|rest| rest.starts_with('.'))) {
        return Seen::pass(engine);
    }
    Seen::warn(
        format!("{engine} was not tried by us"),
        "the move may be tried: every row is compared, MySQL is only read, and a difference leads back",
    )
}

fn version(question: &Question<'_>) -> Seen {
    let front = &question.target.front;
    match question.needed.filter(|needed| front.major() < *needed) {
        Some(needed) => Seen::fail(
            format!("it runs {}, and the hops that remain need {needed}", front.version),
            format!("take a server of PostgreSQL {needed} or later"),
        ),
        None => Seen::pass(format!("PostgreSQL {}", front.version)),
    }
}

fn encoding(target: &Target) -> Result<Seen> {
    let Some(own) = &target.own else { return Ok(Seen::pass("the database is made with UTF8")) };
    let encoding = own.value("SELECT pg_catalog.current_setting('server_encoding') AS encoding")?;
    if encoding == "UTF8" {
        return Ok(Seen::pass("UTF8"));
    }
    let name = target.name();
    Ok(Seen::fail(format!("the database `{name}` has the encoding {encoding}"), "make it with ENCODING 'UTF8'"))
}

/// Which search there will be, and what of its settings means something else in PostgreSQL.
fn search(installation: &Installation, target: &Target) -> Result<Seen> {
    let is_on = |section: &str, key: &str| installation.config.flag(section, key) == Some(true);
    for (section, engine) in [("ElasticsearchSettings", "Elasticsearch"), ("BleveSettings", "Bleve")] {
        if is_on(section, "EnableSearching") {
            return Ok(Seen::pass(format!("{engine} searches, and keeps its index")));
        }
    }
    if is_on("SqlSettings", "DisableDatabaseSearch") {
        return Ok(Seen::pass("the database is not searched"));
    }
    let setting = "SELECT pg_catalog.current_setting('default_text_search_config') AS name";
    let language = target.front_inside().value(setting)?;
    let language = language.as_str().unwrap_or_default().trim_start_matches("pg_catalog.").to_owned();
    // The shortest word that MySQL has in its index (innodb_ft_min_token_size).
    let shortest =
        installation.config.text("ServiceSettings", "MinimumHashtagLength").and_then(|text| text.parse::<u32>().ok());
    let hashtags = match shortest {
        Some(length) if length < 3 => "; hashtags of fewer than 3 characters are found from then on",
        _ => "",
    };
    Ok(Seen::pass(format!(
        "words as the text search configuration `{language}` of the target makes them, with their inflections; accents count; \
         ALTER DATABASE {} SET default_text_search_config = ... before the move takes another language{hashtags}",
        identifier(target.name())
    )))
}

fn replicas(installation: &Installation) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["DataSourceReplicas", "DataSourceSearchReplicas", "ReplicaLagSettings"] {
        let listed = installation.config.settings["SqlSettings"][key].as_array().is_some_and(|list| !list.is_empty());
        let named = installation.config.text("SqlSettings", key).is_some_and(|text| !text.trim().is_empty());
        if listed || named {
            found.push(format!("SqlSettings.{key} is not empty"));
        }
    }
    found
}
