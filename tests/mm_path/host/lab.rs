//! A site, and the host around it.

use std::fs;
use std::path::{Path, PathBuf};

use mm_common::contract::error::Result;
use mm_common::contract::sections::Preflight;
use mm_common::contract::version::Edition;
use mm_common::machine::service::Manager;
use mm_common::mattermost::manifest::Manifest;
use mm_common::mattermost::site::{self, MANIFESTS, Wanted};
use mm_common::postgres::server::Database;
use mm_path::check::host::HostView;
use mm_path::check::{Outside, Way};
use mm_path::plan::{Start, plan};
use mm_path::wish::{Policy, Wish};
use mm_test_support::process::run;
use mm_test_support::site::{Site, quick};
use mm_test_support::watchdog::Cleanup;
use semver::Version;
use serde_json::json;

use super::CATALOGUE;

pub(crate) const NGINX: &str = "server {\n  location ~ /api/v[0-9]+/(users/)?websocket$ {\n    proxy_set_header Upgrade $http_upgrade;\n    \
    proxy_http_version 1.1;\n    proxy_pass http://127.0.0.1:PORT;\n  }\n}\n";

pub(crate) const PACKAGES: &str = "Package: adduser\nStatus: install ok installed\n\nPackage: mattermost\nStatus: hold ok installed\n\n\
    Package: postgresql-15\nStatus: install ok installed\n";

/// A site, its tree as it was, and a system of its own around it.
pub(crate) struct Lab {
    pub(crate) site: Site,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let lab = Self { site: Site::builder("5.29.0").build() };
        let release = quick("5.29.0").build();
        let manifest =
            Manifest::of_archive(&release.tarball, &Version::new(5, 29, 0), Edition::Team, &release.sha256).unwrap();
        let kept = lab.installation().unwrap().state.path().join(MANIFESTS);
        fs::create_dir_all(&kept).unwrap();
        manifest.write(&kept.join("5.29.0-team.json")).unwrap();
        fs::remove_dir_all(lab.root().join("custom")).unwrap();
        run("cp", &["-a", text(&lab.root()), text(&lab.pristine())]);
        lab
    }

    pub(crate) fn installation(&self) -> Result<site::Installation> {
        site::probe(&Wanted {
            install: Some(self.root()),
            service: Some("exec".into()),
            state_dir: Some(self.site.state()),
            ..Wanted::default()
        })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.site.install()
    }

    pub(crate) fn pristine(&self) -> PathBuf {
        self.site.directory().join("pristine")
    }

    pub(crate) fn system(&self) -> PathBuf {
        self.site.directory().join("system")
    }

    /// Makes everything as it was, with a system that has SELinux and nginx and nothing wrong.
    pub(crate) fn reset(&self) {
        for directory in [self.root(), self.system()] {
            let _ = fs::remove_dir_all(directory);
        }
        run("cp", &["-a", text(&self.pristine()), text(&self.root())]);
        let _ = self.system_file("sys/fs/selinux/enforce", "0");
        let _ = self.system_file("var/lib/dpkg/status", PACKAGES);
        let rule = format!("allow perm=any all : dir={}/\n", self.root().display());
        let _ = self.system_file("etc/fapolicyd/rules.d/80-mattermost.rules", &rule);
        let _ = self.nginx(NGINX);
    }

    pub(crate) fn system_file(&self, path: &str, contents: &str) -> Cleanup {
        let path = self.system().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
        Cleanup::none()
    }

    pub(crate) fn nginx(&self, contents: &str) -> Cleanup {
        self.system_file("etc/nginx/conf.d/mattermost.conf", &contents.replace("PORT", &self.site.port.to_string()))
    }

    pub(crate) fn variable(&self, line: &str) -> Cleanup {
        fs::write(self.root().join("config/mattermost.environment"), format!("{line}\n")).unwrap();
        Cleanup::none()
    }

    pub(crate) fn plugin(&self, id: &str, wants: &str, executable: &str) -> Cleanup {
        let plugin = self.root().join("plugins").join(id);
        fs::create_dir_all(&plugin).unwrap();
        let manifest = json!({"id": id, "version": "1.0.0", "min_server_version": wants,
            "server": {"executables": {"linux-amd64": "server"}}});
        fs::write(plugin.join("plugin.json"), manifest.to_string()).unwrap();
        fs::write(plugin.join("server"), executable).unwrap();
        Cleanup::none()
    }

    /// A bundle of a plugin below the install root, whose program has migrations up to this one.
    pub(crate) fn bundle(&self, path: &str, id: &str, version: &str, migration: u32) {
        let plugin = self.site.directory().join("bundle").join(id);
        let program = plugin.join("server/dist");
        fs::create_dir_all(&program).unwrap();
        fs::write(plugin.join("plugin.json"), json!({"id": id, "version": version}).to_string()).unwrap();
        let names = format!("...migrations/000001_init.up.sqlmigrations/{migration:06}_last.up.sql...");
        for arch in ["amd64", "arm64"] {
            fs::write(program.join(format!("plugin-linux-{arch}")), &names).unwrap();
        }
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        run("tar", &["-czf", text(&path), "-C", text(plugin.parent().unwrap()), id]);
    }

    /// The tables of Boards, made by a version with this many migrations.
    pub(crate) fn boards_migrated_to(&self, number: u32) {
        self.site.cluster.query(&format!(
            "CREATE TABLE IF NOT EXISTS focalboard_schema_migrations (version bigint, name varchar(64)); \
             ALTER TABLE focalboard_schema_migrations OWNER TO mmuser; TRUNCATE focalboard_schema_migrations; \
             INSERT INTO focalboard_schema_migrations VALUES ({number}, 'last')"
        ));
    }

    /// A file of the release in one of its directories.
    pub(crate) fn any_file(&self, directory: &str) -> PathBuf {
        let files = run("find", &[text(&self.root().join(directory)), "-type", "f", "-size", "+0"]);
        files.lines().min().unwrap_or_else(|| panic!("no file in {directory}")).into()
    }

    /// The findings, all of them, on the way to 10.6.1.
    pub(crate) fn look(&self, version: &str, unit: fn(&str) -> Result<String>) -> Vec<Preflight> {
        let mut installation = self.installation().unwrap();
        let mut section = installation.section();
        section.database.bytes = Some(64 << 20);
        // The tools would start it by themselves; what a unit may say is given.
        installation.service.manager = Manager::Systemd { unit: "mattermost.service".into() };
        let from = Version::parse(version).unwrap();
        let mut start = Start::on_paper(from.clone(), Edition::Team);
        start.release_bytes = Some(1 << 20);
        let wish = Wish {
            to: "10.6.1".parse().unwrap(),
            policy: Policy::Esr,
            via: Vec::new(),
            avoid: Vec::new(),
            postgres: None,
            edition: None,
        };
        let hops = plan(&CATALOGUE, &start, &wish).unwrap().path.hops;
        let way = Way {
            catalogue: &CATALOGUE,
            from: &from,
            hops: &hops,
            edition: Edition::Team,
            before: None,
            config: None,
            licence: Some(""),
            outside: &Outside::nowhere(),
            carried: &std::collections::BTreeMap::new(),
        };
        let database = Database::connect(installation.source.as_ref().unwrap(), None).unwrap();
        let view = HostView {
            installation: &installation,
            site: &section,
            database: Some(&database),
            way,
            cache: &self.site.cache(),
            store: &self.site.store(),
            used: None,
            system: &self.system(),
            show_unit: unit,
        };
        view.findings()
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
