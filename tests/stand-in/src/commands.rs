//! The command line of `bin/mattermost`, version by version, traps included: `version` of 5.29 to 6.3 and `db version` of 6.4 and newer migrate the configured
//! database before they answer.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use crate::database::{Database, migrate};
use crate::emulated::Identity;
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::log;
use crate::site::{Failure, Site, USAGE};
use crate::start;

const CONFIG_COMMANDS: [&str; 13] = [
    "channel",
    "command",
    "config",
    "group",
    "integrity",
    "ldap",
    "license",
    "logs",
    "permissions",
    "plugin",
    "roles",
    "sampledata",
    "user",
];

/// Runs the command and gives the exit code.
pub(crate) fn main(identity: Identity, executable: &Path, arguments: &[String]) -> ExitCode {
    match command(identity, executable, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                let _ = writeln!(std::io::stderr(), "{}", failure.text.trim_end());
            }
            ExitCode::from(failure.code)
        }
    }
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

struct Line {
    words: Vec<String>,
    flags: Vec<String>,
    config: Option<String>,
}

/// Separates flags from words. `-c` and `--config` take a value.
fn parse(arguments: &[String]) -> Line {
    let mut line = Line { words: Vec::new(), flags: Vec::new(), config: None };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if let Some(value) = argument.strip_prefix("--config=") {
            line.config = Some(value.to_owned());
        } else if argument == "-c" || argument == "--config" {
            line.config = rest.next().cloned();
        } else if argument.starts_with('-') {
            line.flags.push(argument.clone());
        } else {
            line.words.push(argument.clone());
        }
    }
    line
}

fn usage_error(text: String) -> Failure {
    Failure { text, code: 1 }
}

fn unknown_flag(flag: &str) -> Failure {
    usage_error(format!("Error: unknown flag: {flag}\n{USAGE}"))
}

fn unknown_command(word: &str) -> Failure {
    usage_error(format!("Error: unknown command \"{word}\" for \"mattermost\"\nRun 'mattermost --help' for usage."))
}

fn command(identity: Identity, executable: &Path, arguments: &[String]) -> Result<(), Failure> {
    let version = identity.version;
    let line = parse(arguments);
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    let known = [
        "--skip-server-start",
        "--all",
        "--dry-run",
        "--save-plan",
        "--auto-recover",
        "--help",
        "-h",
        "--platform",
        "--disableconfigwatch",
    ];
    if let Some(flag) = line.flags.iter().find(|flag| !known.contains(&flag.as_str())) {
        return Err(unknown_flag(flag));
    }
    if line.flags.iter().any(|flag| flag == "--help" || flag == "-h") {
        say(USAGE);
        return Ok(());
    }
    let faults = Faults::of(&identity, executable);
    let root = root(executable);
    let config_path = config_path(&root, line.config.as_deref());
    let said = line.config.clone().or_else(|| std::env::var("MM_CONFIG").ok());
    let config_source = said.filter(|said| said.starts_with("postgres://") || said.starts_with("postgresql://"));
    let site = Site { identity, faults, root, config_path, config_source };
    match words.as_slice() {
        [] | ["server"] => start::run(site),
        ["version"] => version_command(&site, &line),
        ["help", ..] => {
            say(USAGE);
            Ok(())
        }
        ["db", rest @ ..] if version.at_least(5, 30) => database_command(&site, rest, &line),
        ["config", rest @ ..] if !version.at_least(6, 0) => config_command(&site, rest),
        ["plugin", "list"] if !version.at_least(6, 0) => plugin_list(&site),
        [word, ..] if !version.at_least(6, 0) && CONFIG_COMMANDS.contains(word) => {
            Err(usage_error(format!("Error: the stand-in does not imitate `{word}`")))
        }
        ["completion", ..] if version.at_least(8, 0) => Ok(()),
        [word, ..] => Err(unknown_command(word)),
    }
}

/// The install root: the working directory if it looks like one, else the directory above `bin/`.
fn root(executable: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    if here.join("config").is_dir() || here.join("client").is_dir() {
        return here;
    }
    executable.parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or(here)
}

fn config_path(root: &Path, flag: Option<&str>) -> PathBuf {
    let said = flag.map(str::to_owned).or_else(|| std::env::var("MM_CONFIG").ok());
    let said = said.filter(|said| !said.starts_with("postgres"));
    match said {
        Some(path) if path.starts_with('/') => PathBuf::from(path),
        Some(path) if root.join(&path).exists() => root.join(path),
        Some(path) => root.join("config").join(path),
        None => root.join("config/config.json"),
    }
}

fn lines(site: &Site) -> String {
    let (version, identity) = (site.version(), &site.identity);
    let (shown, build) = (site.faults.version(version), site.faults.build(version));
    format!(
        "Version: {shown}\nBuild Number: {build}\nBuild Date: {}\nBuild Hash: {}\nBuild Enterprise Ready: {}",
        identity.build_date(),
        identity.build_hash(),
        identity.edition == crate::emulated::Edition::Enterprise
    )
}

/// Opens the application as the old command line does: configuration, database, migration.
fn open(site: &Site) -> Result<Database, Failure> {
    let config = site.configure().map_err(|error| {
        // 5.29 panics; 5.37 and 6.3 go on with defaults and hang on the default data source.
        let text = format!("panic: failed to apply option: failed to apply Config option: failed to load: {error}\n\ngoroutine 1 [running]:");
        Failure { text, code: 2 }
    })?;
    let database = site.reach(&config)?;
    site.migrate(&database)?;
    Ok(database)
}

fn version_command(site: &Site, line: &Line) -> Result<(), Failure> {
    let version = site.version();
    let skip = line.flags.iter().any(|flag| flag == "--skip-server-start");
    if skip && version.at_least(11, 0) {
        return Err(unknown_flag("--skip-server-start"));
    }
    if skip && version.at_least(6, 4) {
        let _ =
            writeln!(std::io::stderr(), "Flag --skip-server-start has been deprecated, This flag is not used anymore.");
    }
    if skip || version.at_least(6, 4) {
        say(&lines(site));
        return Ok(());
    }
    if !version.at_least(5, 30) && site.config_path.parent().is_some_and(|parent| !parent.exists()) {
        let path = site.config_path.display();
        let text = format!(
            "panic: failed to apply option: failed to apply Config option: failed to load: failed to create store: failed to persist: \
             failed to write file: open {path}: no such file or directory\n\ngoroutine 1 [running]:"
        );
        return Err(Failure { text, code: 2 });
    }
    let database = open(site)?;
    log::info("Starting workers", serde_json::json!({}));
    say(&format!("{}\nDB Version: {}", lines(site), database.system("Version")?.unwrap_or_default()));
    log::info("Stopping Server...", serde_json::json!({}));
    log::info("Server stopped", serde_json::json!({}));
    Ok(())
}

const DB_HELP: &str = "Commands related to the database\n\nUsage:\n  mattermost db [command]\n\nAvailable Commands:\n  init        Initialize the database\n\n\
                       Flags:\n  -h, --help   help for db";

fn database_command(site: &Site, words: &[&str], line: &Line) -> Result<(), Failure> {
    let version = site.version();
    if !version.at_least(6, 4) {
        // 5.30 to 6.3 know `db` but neither `version` nor `migrate`: the help, and exit code 0.
        say(DB_HELP);
        return Ok(());
    }
    let dry = line.flags.iter().any(|flag| matches!(flag.as_str(), "--dry-run" | "--save-plan" | "--auto-recover"));
    if dry && !version.at_least(8, 0) {
        return Err(unknown_flag("--dry-run"));
    }
    for key in ["DefaultServerLocale", "DefaultClientLocale"] {
        let _ = writeln!(
            std::io::stderr(),
            "{{\"level\":\"warn\",\"msg\":\"{key} must be one of the supported locales. Setting {key} to en as default value.\"}}"
        );
    }
    let config = site.configure()?;
    match words {
        ["version"] => {
            if version.within("9.5", "11.0") {
                say(
                    "\u{1b}[36minfo\u{1b}[0m  [2026-11-22 12:44:34.476 Z] Pinging SQL  caller=\"sqlstore/store.go:262\" database=\"master\"",
                );
            }
            let database = reached(site, &config)?;
            site.migrate(&database)?;
            let applied = migrate::applied(&database)?;
            if line.flags.iter().any(|flag| flag == "--all") {
                for (number, name) in applied {
                    say(&format!("Varsion: {number}, Name: {name}"));
                }
            } else {
                say(&format!(
                    "Current database schema version is: {}",
                    applied.first().map_or(0, |(number, _)| *number)
                ));
            }
            Ok(())
        }
        ["migrate"] => {
            let database = reached(site, &config)?;
            if dry {
                return dry_run(site, &database, line);
            }
            let count = site.migrate(&database)?;
            say(if count == 0 && version.at_least(9, 5) {
                "No migrations to apply."
            } else {
                "Database successfully migrated"
            });
            Ok(())
        }
        ["init"] => {
            let database = reached(site, &config)?;
            site.migrate(&database)?;
            say("Database store correctly initialised");
            Ok(())
        }
        _ => {
            say(DB_HELP);
            Ok(())
        }
    }
}

/// Without the console log: the real command keeps its stdout for the answer.
fn reached(site: &Site, config: &crate::config::Config) -> Result<Database, Failure> {
    log::quiet();
    site.reach(config)
}

fn dry_run(site: &Site, database: &Database, line: &Line) -> Result<(), Failure> {
    let version = site.version();
    if line.flags.iter().any(|flag| flag == "--save-plan") && !database.has_table("db_migrations")? {
        return Err(usage_error(format!("Error: failed to create plan: db_migrations does not exist\n{USAGE}")));
    }
    migrate::prepare(database)?;
    let pending = migrate::pending(database, version)?;
    if let (true, Some(last)) = (line.flags.iter().any(|flag| flag == "--save-plan"), pending.last()) {
        let from = migrate::applied(database)?.first().map_or(0, |(number, _)| *number);
        let name = format!("migration_plan_{from}_{}.json", last.number);
        crate::server::store(&site.root.join("data"), &name, b"[]")?;
        let rule = "*".repeat(80);
        say(&format!("{rule}\nThe migration plan has been saved. File: \"{name}\".\n{rule}"));
    }
    if pending.is_empty() {
        say("No migrations to apply.");
        return Ok(());
    }
    for migration in &pending {
        for what in ["migrating (up)", "migrated (0.0000s)"] {
            let _ = writeln!(
                std::io::stderr(),
                "{{\"level\":\"debug\",\"msg\":\"morph.go:169: ==  {}: {what}  ====\"}}",
                migration.name
            );
        }
    }
    say("Database successfully migrated");
    Ok(())
}

/// `config get|show|validate` of 5.x; the rest moved to another program in 6.0.
fn config_command(site: &Site, words: &[&str]) -> Result<(), Failure> {
    let config = site.configure()?;
    match words {
        ["validate"] => say("The document is valid"),
        ["get", path] => {
            let value = path.split_once('.').and_then(|(section, key)| config.get(section, key));
            let Some(value) = value else {
                return Err(Failure::from(Error::new(format!("cannot get value for {path}"))));
            };
            say(&format!("{path}: {value}"));
        }
        ["show"] => {
            for (section, keys) in config.whole().as_object().into_iter().flatten() {
                say(&format!("{section}: "));
                for (key, value) in keys.as_object().into_iter().flatten() {
                    say(&format!("\t{key}: {}", plain(value)));
                }
            }
        }
        [word, ..] => return Err(usage_error(format!("Error: the stand-in does not imitate `config {word}`"))),
        [] => say(USAGE),
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| format!("\"{text}\""))
}

fn plugin_list(site: &Site) -> Result<(), Failure> {
    let config = site.configure()?;
    let states = config.get("PluginSettings", "PluginStates").cloned().unwrap_or_default();
    let directory = site.root.join(config.text("PluginSettings", "Directory"));
    let ids: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let on = |id: &String| states.get(id).and_then(|state| state.get("Enable")).and_then(Value::as_bool) == Some(true);
    say("Listing enabled plugins");
    ids.iter().filter(|id| on(id)).for_each(|id| say(id));
    say("Listing disabled plugins");
    ids.iter().filter(|id| !on(id)).for_each(|id| say(id));
    Ok(())
}
