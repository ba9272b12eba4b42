//! The preflight checks of the host, each on a site where nothing is wrong and on one where the one thing it is about
//! is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test's own files need not be durable")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::{Preflight, Status};
use mm_common::contract::version::Edition;
use mm_common::machine::service::Manager;
use mm_common::mattermost::catalogue::Catalogue;
use mm_common::mattermost::manifest::Manifest;
use mm_common::mattermost::site::{self, MANIFESTS, Wanted};
use mm_path::check::Way;
use mm_path::check::host::{self, HostView};
use mm_path::plan::{Start, plan};
use mm_path::wish::{Policy, Wish};
use mm_test_support::process::run;
use mm_test_support::site::{Site, quick};
use mm_test_support::watchdog::Cleanup;
use semver::Version;
use serde_json::json;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::embedded().unwrap());

/// The release of the site.
const INSTALLED: &str = "5.29.0";

/// One fault: what makes it, and what the check must say.
struct Case {
    check: &'static str,
    makes: fn(&Lab) -> Cleanup,
    unit: fn(&str) -> Result<String>,
    version: &'static str,
    severity: &'static str,
    evidence: &'static str,
}

const fn case(
    check: &'static str,
    makes: fn(&Lab) -> Cleanup,
    (severity, evidence): (&'static str, &'static str),
) -> Case {
    Case { check, makes, unit: sound_unit, version: INSTALLED, severity, evidence }
}

const fn unit(
    check: &'static str,
    unit: fn(&str) -> Result<String>,
    (severity, evidence): (&'static str, &'static str),
) -> Case {
    Case { check, makes: |_| Cleanup::none(), unit, version: INSTALLED, severity, evidence }
}

#[allow(clippy::unnecessary_wraps, reason = "another one of its kind fails")]
fn sound_unit(_: &str) -> Result<String> {
    Ok("TimeoutStartUSec=1h\nBindsTo=\nRequires=system.slice\nExecStart={ path=/opt/mattermost/bin/mattermost }\n"
        .into())
}

const NGINX: &str = "server {\n  location ~ /api/v[0-9]+/(users/)?websocket$ {\n    proxy_set_header Upgrade $http_upgrade;\n    \
    proxy_http_version 1.1;\n    proxy_pass http://127.0.0.1:PORT;\n  }\n}\n";

const PACKAGES: &str = "Package: adduser\nStatus: install ok installed\n\nPackage: mattermost\nStatus: hold ok installed\n\n\
    Package: postgresql-15\nStatus: install ok installed\n";

const CASES: &[Case] = &[
    Case {
        version: "5.29.1-nightly",
        ..case("published", |_| Cleanup::none(), ("warn", "5.29.1-nightly is not among the releases"))
    },
    case(
        "floating-packages",
        |lab| lab.system_file("var/lib/dpkg/status", &PACKAGES.replace("hold", "install")),
        ("warn", "mattermost: apt upgrade jumps"),
    ),
    case(
        "floating-packages",
        |lab| lab.system_file("var/lib/dpkg/status", &PACKAGES.replace("postgresql-15", "postgresql")),
        ("info", "postgresql: an upgrade of the system brings a new major"),
    ),
    unit("unit-timeout", |_| Ok("TimeoutStartUSec=1min 30s\n".into()), ("warn", "TimeoutStartSec is 90 s")),
    unit(
        "unit-postgres",
        |_| Ok("TimeoutStartUSec=1h\nBindsTo=postgresql@13-main.service\n".into()),
        ("warn", "it stops when postgresql@13-main.service does"),
    ),
    unit(
        "unit-platform",
        |_| Ok("TimeoutStartUSec=1h\nExecStart={ path=/opt/mattermost/bin/platform }\n".into()),
        ("block", "ExecStart runs bin/platform"),
    ),
    case(
        "directories",
        |lab| {
            let (fonts, away) = (lab.root().join("fonts"), lab.system().join("fonts"));
            fs::rename(&fonts, &away).unwrap();
            symlink(&away, &fonts).unwrap();
            Cleanup::none()
        },
        ("action", "fonts is a symlink"),
    ),
    case("directories", |lab| mount(&lab.root().join("i18n"), "64m"), ("action", "i18n is a mount point")),
    case(
        "own-entries",
        |lab| {
            fs::create_dir(lab.root().join("ours")).unwrap();
            Cleanup::none()
        },
        ("info", "ours"),
    ),
    case(
        "release-files",
        |lab| {
            let file = lab.any_file("templates");
            let text = fs::read_to_string(&file).unwrap();
            // Of the same size.
            fs::write(&file, text.to_uppercase()).unwrap();
            Cleanup::none()
        },
        ("warn", "is not as it was released"),
    ),
    case(
        "release-files",
        |lab| {
            fs::remove_file(lab.any_file("i18n")).unwrap();
            Cleanup::none()
        },
        ("warn", "is missing"),
    ),
    case(
        "release-files",
        |lab| {
            let file = lab.any_file("prepackaged_plugins");
            fs::write(&file, "shorter").unwrap();
            Cleanup::none()
        },
        ("warn", "is not as it was released"),
    ),
    case(
        "ownership",
        |lab| {
            chown(lab.root().join("logs"), Some(0), Some(0)).unwrap();
            Cleanup::none()
        },
        ("warn", "belongs to user 0"),
    ),
    case(
        "variables",
        |lab| lab.variable("MM_EMAILSETTINGS_SMTPPASSWORD=secret"),
        ("info", "MM_EMAILSETTINGS_SMTPPASSWORD"),
    ),
    case(
        "session-length",
        |lab| lab.variable("MM_SERVICESETTINGS_SESSIONLENGTHWEBINDAYS=30"),
        ("action", "MM_SERVICESETTINGS_SESSIONLENGTHWEBINDAYS"),
    ),
    case(
        "site-url",
        |lab| {
            lab.site.set("ServiceSettings", "SiteURL", json!(""));
            Cleanup::none()
        },
        ("warn", "SiteURL is empty"),
    ),
    case(
        "config-store",
        |lab| {
            let config = lab.site.config().to_string().replace('\'', "''");
            lab.site.cluster.query(&format!(
                "CREATE TABLE IF NOT EXISTS configurations (id varchar(26), value text, active boolean); \
                 INSERT INTO configurations VALUES ('a', '{config}', true); GRANT SELECT ON configurations TO PUBLIC"
            ));
            lab.variable(&format!("MM_CONFIG={}", lab.site.cluster.url()))
        },
        ("info", "MM_CONFIG names a database"),
    ),
    case(
        "capabilities",
        |lab| {
            lab.site.set("ServiceSettings", "ListenAddress", json!(":443"));
            Cleanup::none()
        },
        ("warn", "bin/mattermost has no capability"),
    ),
    case("selinux", |lab| lab.system_file("sys/fs/selinux/enforce", "1"), ("warn", "it is enforcing")),
    case(
        "fapolicyd",
        |lab| {
            lab.system_file(
                "etc/fapolicyd/rules.d/80-mattermost.rules",
                "# dir=/opt/mattermost\nallow perm=any all : all\n",
            )
        },
        ("warn", "none of its rules names"),
    ),
    case(
        "bleve-index",
        |lab| {
            lab.site.set("BleveSettings", "IndexDir", json!("bleve"));
            Cleanup::none()
        },
        ("info", "it is at bleve"),
    ),
    case(
        "plugins",
        |lab| lab.plugin("com.example.new", "99.0.0", ""),
        ("warn", "com.example.new 1.0.0 wants a server of 99.0.0"),
    ),
    case(
        "plugins",
        |lab| lab.plugin("com.example.go", "5.0.0", "\x7fELF...go1.22.1\0..."),
        ("warn", "com.example.go 1.0.0 was built with Go 1.22.0 or 1.22.1"),
    ),
    case("plugins", |lab| lab.plugin("focalboard", "5.0.0", ""), ("warn", "focalboard 1.0.0 (Boards)")),
    case(
        "proxy",
        |lab| lab.nginx(&NGINX.replace("    proxy_http_version 1.1;\n", "")),
        ("action", "passes websockets on without `proxy_http_version 1.1`"),
    ),
    case(
        "disk",
        |lab| {
            fs::create_dir_all(lab.site.store()).unwrap();
            mount(&lab.site.store(), "100k")
        },
        ("action", "restore points"),
    ),
];

/// A site, its tree as it was, and a system of its own around it.
struct Lab {
    site: Site,
}

impl Lab {
    fn new() -> Self {
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

    fn installation(&self) -> Result<site::Installation> {
        site::probe(&Wanted {
            install: Some(self.root()),
            service: Some("exec".into()),
            state_dir: Some(self.site.state()),
            ..Wanted::default()
        })
    }

    fn root(&self) -> PathBuf {
        self.site.install()
    }

    fn pristine(&self) -> PathBuf {
        self.site.directory().join("pristine")
    }

    fn system(&self) -> PathBuf {
        self.site.directory().join("system")
    }

    /// Makes everything as it was, with a system that has SELinux and nginx and nothing wrong.
    fn reset(&self) {
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

    fn system_file(&self, path: &str, contents: &str) -> Cleanup {
        let path = self.system().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
        Cleanup::none()
    }

    fn nginx(&self, contents: &str) -> Cleanup {
        self.system_file("etc/nginx/conf.d/mattermost.conf", &contents.replace("PORT", &self.site.port.to_string()))
    }

    fn variable(&self, line: &str) -> Cleanup {
        fs::write(self.root().join("config/mattermost.environment"), format!("{line}\n")).unwrap();
        Cleanup::none()
    }

    fn plugin(&self, id: &str, wants: &str, executable: &str) -> Cleanup {
        let plugin = self.root().join("plugins").join(id);
        fs::create_dir_all(&plugin).unwrap();
        let manifest = json!({"id": id, "version": "1.0.0", "min_server_version": wants,
            "server": {"executables": {"linux-amd64": "server"}}});
        fs::write(plugin.join("plugin.json"), manifest.to_string()).unwrap();
        fs::write(plugin.join("server"), executable).unwrap();
        Cleanup::none()
    }

    /// A file of the release in one of its directories.
    fn any_file(&self, directory: &str) -> PathBuf {
        let files = run("find", &[text(&self.root().join(directory)), "-type", "f", "-size", "+0"]);
        files.lines().min().unwrap_or_else(|| panic!("no file in {directory}")).into()
    }

    /// The findings, all of them, on the way to 10.6.1.
    fn look(&self, version: &str, unit: fn(&str) -> Result<String>) -> Vec<Preflight> {
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
        };
        let view = HostView {
            installation: &installation,
            site: &section,
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

fn mount(place: &Path, size: &str) -> Cleanup {
    run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", text(place)]);
    Cleanup::with(format!("umount -l '{}'", place.display()))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn find<'a>(findings: &'a [Preflight], id: &str) -> &'a Preflight {
    findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

#[test]
fn each_check_is_silent_and_bites() {
    let lab = Lab::new();
    lab.reset();
    for finding in lab.look(INSTALLED, sound_unit) {
        assert_eq!((finding.status, finding.severity.as_str()), (Status::Pass, ""), "nothing is wrong: {finding:?}");
    }
    for case in CASES {
        lab.reset();
        let _undone = (case.makes)(&lab);
        let findings = lab.look(case.version, case.unit);
        let finding = find(&findings, case.check);
        assert_eq!(finding.severity, case.severity, "{}: {finding:?}", case.check);
        assert!(finding.evidence.contains(case.evidence), "{}: {finding:?}", case.check);
        assert_eq!(finding.status == Status::Pass, case.severity == "info", "{finding:?}");
        assert!(!finding.fix.is_empty() && !finding.source.is_empty(), "{finding:?}");
        assert!(!finding.evidence.contains("secret"), "{finding:?}");
    }
}

#[test]
fn every_check_of_the_host_has_a_case() {
    let cases: BTreeSet<&str> = CASES.iter().map(|case| case.check).collect();
    assert_eq!(cases, host::ids().into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn what_cannot_be_looked_at_is_said_and_is_no_fault() {
    let lab = Lab::new();
    lab.reset();
    let state = lab.installation().unwrap().state.path().join(MANIFESTS);
    fs::remove_dir_all(&state).unwrap();
    let findings = lab.look(INSTALLED, |_| Err(Error::failed("systemctl is away")));
    for id in ["unit-timeout", "unit-postgres", "unit-platform", "release-files"] {
        assert_eq!(find(&findings, id).status, Status::Error, "{:?}", find(&findings, id));
    }
    let unseen = find(&findings, "release-files");
    assert!(unseen.fix.starts_with("mm-fetch 5.29.0 --edition team --cache "), "{unseen:?}");
    assert!(unseen.evidence.contains("5.29.0 (team)"), "{unseen:?}");

    // With the release in the cache of mm-fetch, proven by another digest than the catalogue's, it is looked at.
    let release = quick("5.29.0").build();
    let releases = lab.site.releases(std::slice::from_ref(&release));
    let mut fetch = mm_test_support::tool::tool("mm-fetch");
    fetch.args(["5.29.0", "--edition", "team", "--mirror", releases.site.url()]);
    fetch.args(["--sha256", &release.sha256, "--cache", text(&lab.site.cache())]).assert().success();
    assert_eq!(find(&lab.look(INSTALLED, sound_unit), "release-files").status, Status::Pass);
}
