//! The running server: what every answer needs.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::database::Database;
use crate::emulated::{Edition, Identity, Version};
use crate::error::{During as _, Result};
use crate::faults::Faults;
use crate::http::{Answer, Request, Response};
use crate::rate::Rate;
use crate::websocket::{self, Hub};
use crate::{api, text, web};

/// One server, alive until the process ends.
pub(crate) struct Server {
    pub(crate) identity: Identity,
    pub(crate) config: Config,
    pub(crate) database: Database,
    /// The install root, which is the working directory.
    pub(crate) root: PathBuf,
    pub(crate) faults: Faults,
    pub(crate) hub: Hub,
    pub(crate) rate: Rate,
}

impl Server {
    /// The version whose behaviour is imitated.
    pub(crate) fn version(&self) -> Version {
        self.identity.version
    }

    /// `CURRENT.BUILDNUMBER.CONFIGHASH.LICENSED`; the hash has 32 digits up to 10.x, 64 from 11.
    pub(crate) fn version_id(&self) -> String {
        let hash = text::sha256_hex(self.config.whole().to_string().as_bytes());
        let digits = if self.version().at_least(11, 0) { 64 } else { 32 };
        let (shown, build) = (self.faults.version(self.version()), self.faults.build(self.version()));
        format!("{shown}.{build}.{}.false", hash.chars().take(digits).collect::<String>())
    }

    /// Headers that came with 7.8.
    pub(crate) fn hardened(&self, response: Response) -> Response {
        if !self.version().at_least(7, 2) {
            return response;
        }
        let response = response.with("Permissions-Policy", "").with("Referrer-Policy", "no-referrer");
        let there = response.headers.iter().any(|(name, _)| name == "X-Content-Type-Options");
        if there { response } else { response.with("X-Content-Type-Options", "nosniff") }
    }

    /// The values of the client configuration that are not fixed.
    pub(crate) fn client_value(&self, key: &str) -> String {
        let system = |key: &str| self.database.system(key).ok().flatten().unwrap_or_default();
        match key {
            "Version" => self.faults.version(self.version()),
            "BuildNumber" => self.faults.build(self.version()),
            "BuildDate" => self.identity.build_date().to_owned(),
            "BuildHash" => self.identity.build_hash(),
            "BuildHashEnterprise" => {
                (if self.identity.edition == Edition::Enterprise { "enterprise" } else { "none" }).to_owned()
            }
            "BuildEnterpriseReady" => (self.identity.edition == Edition::Enterprise).to_string(),
            "TelemetryId" | "DiagnosticId" => system("DiagnosticId"),
            "InstallationDate" => system("InstallationDate"),
            "SiteURL" | "WebsocketURL" => self.config.text("ServiceSettings", key),
            "SiteName" => self.config.text("TeamSettings", key),
            "EnableOpenServer" | "EnableUserCreation" => self.config.on("TeamSettings", key).to_string(),
            "SQLDriverName" => self.config.text("SqlSettings", "DriverName"),
            "SchemaVersion" => {
                let query = "SELECT max(version) FROM db_migrations";
                self.database.number(query, &[]).map(|number| number.to_string()).unwrap_or_default()
            }
            "NoAccounts" => {
                self.database.number("SELECT count(*) FROM users", &[]).is_ok_and(|count| count == 0).to_string()
            }
            _ => String::new(),
        }
    }

    /// The file store.
    pub(crate) fn data(&self) -> PathBuf {
        self.root.join(self.config.text("FileSettings", "Directory"))
    }

    /// Writes a file into the store: directories 0750, files 0600.
    pub(crate) fn store(&self, path: &str, content: &[u8]) -> Result<()> {
        store(&self.data(), path, content)
    }

    /// The probe of the real server: `testfile` is written and removed.
    pub(crate) fn storage_works(&self) -> bool {
        self.store("testfile", b"testingwrite").is_ok() && std::fs::remove_file(self.data().join("testfile")).is_ok()
    }

    /// The path of the site URL, below which everything is; nothing when it has none.
    pub(crate) fn subpath(&self) -> String {
        let site_url = self.config.text("ServiceSettings", "SiteURL");
        let path = site_url.split_once("://").and_then(|(_, rest)| Some(rest.split_once('/')?.1));
        path.map(|path| format!("/{path}").trim_end_matches('/').to_owned()).unwrap_or_default()
    }

    /// Below the path of the site URL; whoever asks elsewhere is sent there.
    pub(crate) fn answer(&'static self, request: &Request) -> Answer {
        if let Some(refusal) = self.rate.refusal(&self.config).filter(|_| !request.local) {
            return Answer::Send(refusal);
        }
        let subpath = self.subpath();
        if subpath.is_empty() || request.local {
            return self.answer_below(request);
        }
        let Some(path) = request.path.strip_prefix(&subpath) else {
            let location = format!("{subpath}{}", request.path);
            return Answer::Send(Response::bare(302).with("Location", location));
        };
        let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        self.answer_below(&Request { path, ..request.clone() })
    }

    fn answer_below(&'static self, request: &Request) -> Answer {
        if request.path == "/api/v4/websocket" && request.method == "GET" {
            return websocket::upgrade(self, request);
        }
        Answer::Send(if request.path.starts_with("/api/v4/") {
            api::answer(self, request)
        } else {
            web::answer(self, request)
        })
    }
}

/// Writes below a data directory in the modes of the real server.
pub(crate) fn store(data: &Path, path: &str, content: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let path = data.join(path);
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(parent)
            .during(|| format!("making {}", parent.display()))?;
    }
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(content)).during(|| format!("writing {}", path.display()))
}
