//! The installed release makes its tables itself: its own executable is started once on the empty database, cut off from
//! everybody and everything else, and ended when it answers.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mm_common::contract::ui;
use mm_common::machine::command::{self, Cmd};
use mm_common::machine::given::Given;
use mm_common::machine::signals;
use mm_common::mattermost::api::Server;
use mm_common::mattermost::site::Installation;
use mm_common::{Context as _, Error, Result};
use serde_json::{Value, json};

use crate::moving::named::Named;

/// What the server may use of the memory, in bytes.
const MEMORY: u64 = 4 << 30;

/// How long it may take to make its tables (observed: 2 to 11 s).
const LIMIT: Duration = Duration::from_secs(600);

/// How long one question may take.
const CALL: Duration = Duration::from_secs(5);

/// How much of what it says is read back.
const MOST_SAID: u64 = 64 << 20;

/// The file with what it says.
const CONSOLE: &str = "console.log";

/// A server that is ended when this is dropped.
struct Private(Child);

impl Drop for Private {
    fn drop(&mut self) {
        command::end(&mut self.0);
    }
}

/// Lets the installed release make its tables in the database that line 1 of the target's file names.
///
/// # Errors
/// Failed when it does not answer, with the end of what it said.
pub(crate) fn make(installation: &Installation, named: &Named) -> Result<()> {
    let attempt = || format!("the server {} does not make its tables in the target", installation.version);
    ui::progress("the server makes its tables");
    let place = Given::make(&std::env::temp_dir(), "mm-tools-schema.").context(attempt)?;
    let address = free_address().context(attempt)?;
    let site_url = installation.config.text("ServiceSettings", "SiteURL").unwrap_or_default();
    let settings = settings(named.text.reveal(), &address, &site_url, place.path());
    let config = place.path().join("config.json");
    let mut file = place.dir().create_file(OsStr::new("config.json")).context(attempt)?;
    file.write_all(settings.to_string().as_bytes()).map_err(|error| Error::io("write", &config, error))?;
    let console = place.dir().create_file(OsStr::new(CONSOLE)).context(attempt)?;
    // It rewrites the pages of its web client when it starts: these here, and not those of the server that serves.
    for name in ["client", "data", "logs", "plugins"] {
        let made = place.dir().create_directory(OsStr::new(name)).context(attempt)?;
        give(made.file(), installation, made.path())?;
    }
    for name in ["i18n", "templates", "fonts"] {
        let there = installation.root.join(name);
        place.dir().create_symlink(OsStr::new(name), there.as_os_str()).context(attempt)?;
    }
    give(&file, installation, &config)?;
    place.give(&installation.owner).context(attempt)?;
    let executable = installation.root.join("bin/mattermost");
    let command = Cmd::new(executable.to_string_lossy()).args(["server", "-c"]).arg(&config).user(&installation.owner);
    let command = command.used_in(place.path(), MEMORY);
    let streams = [&console, &console].map(File::try_clone);
    let [Ok(stdout), Ok(stderr)] = streams else {
        return Err(Error::failed(attempt()).because("a file cannot be shared"));
    };
    let mut server = Private(command.start(Stdio::null(), stdout.into(), stderr.into()).context(attempt)?);
    let answered = wait(&mut server.0, &address, &installation.subpath());
    answered.map_err(|error| {
        let error = error.within(attempt());
        let text = said(&console);
        let password = named.source.password.as_ref().map(|word| word.reveal().to_owned()).unwrap_or_default();
        let said = command::tail(&text);
        // Where a password is in it, in whatever writing, nothing of it is shown.
        let is_clean = password.is_empty() || !text.contains(&password) && !text.contains("postgres://");
        let error = if is_clean && !said.trim().is_empty() { error.because(said.trim()) } else { error };
        error.hint(
            "see that the release accepts the target's version of PostgreSQL, and that its role may create tables",
        )
    })
}

/// What it said. The directory of the file goes with the server, so it is read through what we hold of it.
fn said(mut console: &File) -> String {
    let mut text = Vec::new();
    let read = console.seek(SeekFrom::Start(0)).and_then(|_| console.take(MOST_SAID).read_to_end(&mut text));
    // What cannot be read is missed in an error that tells enough without it.
    if read.is_err() { String::new() } else { String::from_utf8_lossy(&text).into_owned() }
}

fn give(file: &File, installation: &Installation, path: &Path) -> Result<()> {
    let owner = &installation.owner;
    if owner.is_current() {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(owner.uid), Some(owner.gid))
        .map_err(|error| Error::io("change the owner of", path, error))
}

/// An address on loopback that nobody has at the moment.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.to_string()).map_err(|error| Error::failed("no port is free").because(error))
}

/// Waits until it answers: by then its tables are there.
fn wait(server: &mut Child, address: &str, subpath: &str) -> Result<()> {
    let begun = Instant::now();
    let asked = Server::with_limit(format!("http://{address}{subpath}"), CALL);
    loop {
        signals::check()?;
        if let Ok(Some(status)) = server.try_wait() {
            return Err(Error::failed(format!("it ended by itself, with {status}")));
        }
        if asked.get("/api/v4/system/ping", None).is_ok_and(|answer| answer.is_success()) {
            return Ok(());
        }
        if begun.elapsed() > LIMIT {
            return Err(Error::failed(format!("it does not answer after {} seconds", LIMIT.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A configuration with nothing of the site's own but its address, which is in the pages of the web client: so it reaches
/// nobody that the site reaches. Everybody on this machine reaches it, and whoever makes the first account of a server administers it: so
/// no account can be made, and nobody signs in.
fn settings(source: &str, address: &str, site_url: &str, place: &Path) -> Value {
    json!({
        "SqlSettings": { "DriverName": "postgres", "DataSource": source, "DataSourceReplicas": [], "DataSourceSearchReplicas": [] },
        "ServiceSettings": {
            "ListenAddress": address, "SiteURL": site_url, "EnableLocalMode": false, "EnableSecurityFixAlert": false,
            "EnableOutgoingWebhooks": false, "EnableLinkPreviews": false
        },
        "EmailSettings": {
            "EnableSignUpWithEmail": false, "EnableSignInWithEmail": false, "EnableSignInWithUsername": false,
            "SendEmailNotifications": false, "SendPushNotifications": false, "EnableEmailBatching": false,
            "SMTPServer": "127.0.0.1", "SMTPPort": "9", "PushNotificationServer": ""
        },
        "TeamSettings": { "EnableUserCreation": false, "EnableOpenServer": false },
        "FileSettings": { "DriverName": "local", "Directory": place.join("data") },
        "LogSettings": {
            "EnableConsole": true, "ConsoleLevel": "ERROR", "EnableFile": false, "FileLocation": place.join("logs"),
            "EnableDiagnostics": false, "EnableSentry": false
        },
        "NotificationLogSettings": { "EnableFile": false, "FileLocation": place.join("logs") },
        "PluginSettings": {
            "Enable": false, "AutomaticPrepackagedPlugins": false, "EnableMarketplace": false, "EnableRemoteMarketplace": false,
            "Directory": place.join("plugins"), "ClientDirectory": place.join("client/plugins")
        },
        "AnnouncementSettings": { "AdminNoticesEnabled": false, "UserNoticesEnabled": false },
        "JobSettings": { "RunJobs": false, "RunScheduler": false }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_make_an_account_on_it_or_sign_in() {
        let settings = settings("postgres://x", "127.0.0.1:1", "http://chat", Path::new("/nowhere"));
        for (section, name) in [
            ("TeamSettings", "EnableUserCreation"),
            ("TeamSettings", "EnableOpenServer"),
            ("EmailSettings", "EnableSignUpWithEmail"),
            ("EmailSettings", "EnableSignInWithEmail"),
            ("EmailSettings", "EnableSignInWithUsername"),
            ("PluginSettings", "Enable"),
        ] {
            assert_eq!(settings[section][name], false, "{section}.{name}");
        }
    }
}
