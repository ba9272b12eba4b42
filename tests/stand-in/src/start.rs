//! `mattermost server`: the order of a start, the background, and the stop. Everything that can fail does so with the words and the exit code of the version.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::database::{Jobs, Source, application_migrations};
use crate::error::{Error, Result};
use crate::http::{Connection, serve};
use crate::log;
use crate::plugins;
use crate::rate::Rate;
use crate::server::Server;
use crate::site::{Failure, Site};
use crate::tls;
use crate::websocket::Hub;

/// Runs until a signal comes.
pub(crate) fn run(site: Site) -> Result<(), Failure> {
    let version = site.version();
    let config = site.configure()?;
    log::info(
        "Server is initializing...",
        if version.at_least(5, 30) { json!({"go_version": "go1.21.8"}) } else { json!({}) },
    );
    if site.faults.has("crash-at-start") {
        return Err(Failure { text: "panic: stand-in: crash-at-start".to_owned(), code: 1 });
    }
    site.complete()?;
    if version.at_least(11, 0) {
        announce(&site);
    }
    if !version.at_least(6, 4) {
        log::info("Starting websocket hubs", json!({"number_of_hubs": 4}));
    }
    if !version.at_least(6, 0) {
        log::info("Loaded system translations", json!({"for locale": "en", "from locale": "i18n/en.json"}));
    }
    let database = site.reach(&config)?;
    site.migrate(&database)?;
    if version.at_least(6, 0) {
        log::info("Loaded system translations", json!({"for locale": "en", "from locale": "i18n/en.json"}));
    }
    if version.at_least(6, 4) {
        log::info("Starting websocket hubs", json!({"number_of_hubs": 4}));
    }
    if version.at_least(8, 0) {
        log::info("Ensuring the telemetry ID..", json!({}));
    }
    if !version.at_least(11, 0) {
        announce(&site);
    }
    let Site { identity, faults, root, config_path, config_source } = site;
    log::info("Printing current working", json!({"directory": root.display().to_string()}));
    let source = config_source
        .map_or_else(|| format!("file://{}", config_path.display()), |source| Source::parse(&source).masked());
    log::info("Loaded config", json!({"source": source}));
    let server: &'static Server = Box::leak(Box::new(Server {
        identity,
        config,
        database,
        root,
        faults,
        hub: Hub::default(),
        rate: Rate::default(),
    }));
    touch(server);
    let stop = Arc::new(AtomicBool::new(false));
    // 5.29 listens before the application migrations ran; from 5.30 on listening comes last.
    if version.at_least(5, 30) {
        workers(server)?;
        listen(server)?;
    } else {
        listen(server)?;
        workers(server)?;
    }
    let started = Instant::now();
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| Error::new(format!("installing the signal handler: {error}")))?;
    }
    local_mode(server)?;
    notify(server);
    crash_later(server);
    thread::spawn(|| {
        if let Err(error) = Jobs::new(server.version(), &server.faults).run(&server.database) {
            log::error("Failed to run the background migrations", json!({"error": error.to_string()}));
        }
    });
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
    shut_down(server, started);
    Ok(())
}

fn announce(site: &Site) {
    let version = site.version();
    log::info(
        &format!(
            "Current version is {version} ({version}/{}/{}/none)",
            site.identity.build_date(),
            site.identity.build_hash()
        ),
        json!({
            "current_version": version.to_string(), "build_number": version.to_string(), "build_date": site.identity.build_date(),
            "build_hash": site.identity.build_hash(), "build_hash_enterprise": "none",
        }),
    );
    let edition =
        if site.identity.edition == crate::emulated::Edition::Team { "Team Edition Build" } else { "Enterprise Build" };
    log::info(edition, json!({"enterprise_build": site.identity.edition == crate::emulated::Edition::Enterprise}));
}

/// Application migrations, workers, the noise of a healthy start.
fn workers(server: &Server) -> Result<()> {
    let version = server.version();
    if !version.at_least(5, 30) {
        log::info("Migrating roles to database.", json!({}));
        log::info("Migrating emojis config to database.", json!({}));
    }
    application_migrations(&server.database, version, &server.faults)?;
    log::info("Starting workers", json!({}));
    log::info("Starting schedulers.", json!({}));
    let licence = "License key from https://mattermost.com required to unlock enterprise features.";
    let level = if version.at_least(9, 6) {
        "warn"
    } else if version.at_least(6, 4) {
        "error"
    } else {
        "info"
    };
    log::line(level, licence, json!({}));
    log::info("Starting up plugins", json!({}));
    for directory in ["Directory", "ClientDirectory"] {
        let path = server.root.join(server.config.text("PluginSettings", directory));
        // Observed: 0744 when 5.29 makes it.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o744).create(&path);
        if made.is_err() {
            log::error(
                "Failed to start up plugins",
                json!({"error": format!("mkdir {}: permission denied", path.display())}),
            );
        }
    }
    for plugin in plugins::dead(server) {
        let error = json!({"plugin_id": plugin, "error": "Table creation / migration failed"});
        log::error("Unable to activate plugin", error);
    }
    log::info("Syncing plugins from the file store", json!({}));
    if version.at_least(9, 0) {
        log::info("No plugins to sync from the file store", json!({}));
    }
    if !version.at_least(6, 4) && server.config.on("EmailSettings", "SendEmailNotifications") {
        log::error("Mail server connection test is failed", json!({}));
    }
    if !server.storage_works() {
        let problem = "open data/testfile: permission denied";
        log::error("Problem with file storage settings", json!({"error": problem}));
    }
    Ok(())
}

/// root.html, manifest.json and every CSS file are rewritten, with the sub-path, if there is one, in what they name.
fn touch(server: &Server) {
    let client = server.root.join("client");
    let mut files = vec![client.join("root.html"), client.join("manifest.json")];
    let css = std::fs::read_dir(&client).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    files.extend(css.filter(|path| path.extension().is_some_and(|extension| extension == "css")));
    for path in files {
        if let Err(problem) = rewritten(&path, &server.subpath()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let error = format!("failed to update {name} with subpath /: {problem}");
            log::error("Failed to update assets subpath from config", json!({"error": error}));
        }
    }
}

fn rewritten(path: &Path, subpath: &str) -> std::io::Result<()> {
    let mut text = std::fs::read_to_string(path)?;
    let named = format!("{subpath}/static/");
    if !text.contains(&named) {
        text = text.replace("/static/", &named);
    }
    std::fs::OpenOptions::new().write(true).truncate(true).open(path)?.write_all(text.as_bytes())
}

fn listen(server: &'static Server) -> Result<(), Failure> {
    if let Some(wait) = server.faults.seconds("hang-before-listening", 1e9) {
        thread::sleep(wait);
    }
    log::info("Starting Server...", json!({}));
    let said = server.config.text("ServiceSettings", "ListenAddress");
    let address = if said.starts_with(':') { format!("0.0.0.0{said}") } else { said.clone() };
    let listener = TcpListener::bind(&address).map_err(|error| {
        let why = if error.kind() == std::io::ErrorKind::AddrInUse {
            "address already in use".to_owned()
        } else {
            "permission denied".to_owned()
        };
        let text = format!("listen tcp {said}: bind: {why}");
        if server.version().at_least(6, 0) {
            log::line("error", &format!("Error starting server, err:{text}"), json!({}));
            Failure { text: format!("Error: {text}"), code: 1 }
        } else {
            log::error(&text, json!({}));
            Failure { text: format!("Error: {text}"), code: 1 }
        }
    })?;
    let tls = tls::configured(&server.config)
        .map_err(|error| Failure { text: format!("Error: failed to load certificate: {error}"), code: 1 })?;
    let bound = listener.local_addr().map(|address| address.to_string()).unwrap_or(address);
    log::info(&format!("Server is listening on {bound}"), json!({"address": bound}));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_nodelay(true);
            let plain = match &tls {
                Some(config) => tls::plain(stream, config),
                None => Ok(stream),
            };
            let Ok(stream) = plain else { continue };
            thread::spawn(move || serve(Connection::Tcp(stream), |request| server.answer(request)));
        }
    });
    Ok(())
}

/// The administrator's socket without a password: 0600, removed and made anew.
fn local_mode(server: &'static Server) -> Result<()> {
    if !server.config.on("ServiceSettings", "EnableLocalMode") {
        return Ok(());
    }
    let path = PathBuf::from(server.config.text("ServiceSettings", "LocalModeSocketLocation"));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)
        .and_then(|listener| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map(|()| listener))
        .map_err(|error| Error::new(format!("listen unix {}: {error}", path.display())))?;
    log::info("Starting Local Unix Socket", json!({"socket": path.display().to_string()}));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(Connection::Unix(stream), |request| server.answer(request)));
        }
    });
    Ok(())
}

/// `READY=1`, only after listening, and nothing else ever.
fn notify(server: &Server) {
    if server.faults.has("hang-before-ready") {
        return;
    }
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return };
    log::info("Sending systemd READY notification.", json!({}));
    let socket = UnixDatagram::unbound();
    let sent = match path.strip_prefix('@') {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name);
            socket.and_then(|socket| address.and_then(|address| socket.send_to_addr(b"READY=1", &address)))
        }
        None => socket.and_then(|socket| socket.send_to(b"READY=1", &path)),
    };
    if let Err(error) = sent {
        log::error("Failed to send systemd READY notification", json!({"error": error.to_string()}));
    }
}

fn crash_later(server: &'static Server) {
    if let Some(wait) = server.faults.seconds("crash-after-listening", 2.0) {
        thread::spawn(move || {
            thread::sleep(wait);
            let _ = writeln!(std::io::stderr(), "panic: stand-in: crash-after-listening\n\ngoroutine 1 [running]:");
            #[expect(clippy::exit, reason = "a crash in a background thread takes the process with it")]
            std::process::exit(2);
        });
    }
}

/// A server stopped within 15 s of its start waits for a watcher that sleeps a random part of that time (observed: up to 13.5 s).
fn shut_down(server: &Server, started: Instant) {
    log::info("Stopping Server...", json!({}));
    if let Some(wait) = server.faults.seconds("ignore-sigterm", 3600.0) {
        thread::sleep(wait);
    }
    let random = u64::from(crate::text::random().first().copied().unwrap_or_default()) * 15_000 / 256;
    let watcher = server.faults.seconds("watcher", 15.0).unwrap_or(Duration::from_millis(random));
    log::info("stopping websocket hub connections", json!({}));
    thread::sleep(watcher.saturating_sub(started.elapsed()));
    for line in ["Stopped workers", "Stopping schedulers.", "Schedulers stopped."] {
        log::info(line, json!({}));
    }
    if server.version().at_least(8, 0) {
        log::info("Shutting down Email batching service...", json!({}));
    }
    if server.config.on("ServiceSettings", "EnableLocalMode") {
        let _ = std::fs::remove_file(server.config.text("ServiceSettings", "LocalModeSocketLocation"));
    }
    log::info("Server stopped", json!({}));
}
