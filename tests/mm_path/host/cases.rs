//! What is wrong, and what each check must say of it.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use mm_common::contract::error::Result;
use mm_common::contract::version::Edition;
use mm_common::mattermost::manifest::Manifest;
use mm_common::mattermost::site::MANIFESTS;
use mm_test_support::process::run;
use mm_test_support::site::quick;
use mm_test_support::watchdog::Cleanup;
use semver::Version;
use serde_json::json;

use super::INSTALLED;
use super::lab::{Lab, NGINX, PACKAGES, text};

/// One fault: what makes it, and what the check must say.
pub(crate) struct Case {
    pub(crate) check: &'static str,
    pub(crate) makes: fn(&Lab) -> Cleanup,
    pub(crate) unit: fn(&str) -> Result<String>,
    pub(crate) version: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) evidence: &'static str,
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
pub(crate) fn sound_unit(_: &str) -> Result<String> {
    Ok("TimeoutStartUSec=1h\nBindsTo=\nRequires=system.slice\nExecStart={ path=/opt/mattermost/bin/mattermost }\n"
        .into())
}

pub(crate) const CASES: &[Case] = &[
    case(
        "rollback",
        |lab| {
            let hba = format!("/etc/postgresql/13/{}/pg_hba.conf", lab.site.cluster.name);
            let open = lab.site.directory().join("pg_hba.open");
            fs::copy(&hba, &open).unwrap();
            let reload = format!("pg_ctlcluster 13 {} reload", lab.site.cluster.name);
            fs::write(&hba, "local all all reject\nhost all all 127.0.0.1/32 md5\n").unwrap();
            run("sh", &["-c", &reload]);
            Cleanup::with(format!("cp {} {hba}; {reload}", text(&open)))
        },
        ("action", "not tried: the database `mattermost` cannot be exchanged"),
    ),
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
    unit(
        "unit-flags",
        |_| Ok("TimeoutStartUSec=1h\nExecStart={ argv[]=/opt/mattermost/bin/mattermost --disableconfigwatch }\n".into()),
        ("block", "--disableconfigwatch, which 9.0 does not know"),
    ),
    case(
        "uploads",
        |lab| {
            fs::remove_dir_all(lab.root().join("data")).unwrap();
            Cleanup::none()
        },
        ("action", "data, which is not there"),
    ),
    case("disk", |lab| mount(&lab.root().join("logs"), "100k"), ("action", "logs for what the server writes")),
    case(
        "ownership",
        |lab| {
            chown(lab.root().join("logs"), Some(0), Some(0)).unwrap();
            Cleanup::none()
        },
        ("warn", "may not write"),
    ),
    // What a command that was run as root leaves.
    case(
        "ownership",
        |lab| {
            let plugin = lab.root().join("plugins/com.example.roots");
            fs::create_dir_all(&plugin).unwrap();
            chown(&plugin, Some(0), Some(0)).unwrap();
            Cleanup::none()
        },
        ("warn", "may not write 1 entry in"),
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
        "plugin-bundles",
        |lab| {
            lab.bundle("data/plugins/focalboard.tar.gz", "focalboard", "0.15.0", 18);
            lab.bundle("prepackaged_plugins/mattermost-plugin-boards-v7.8.2.tar.gz", "focalboard", "7.8.2", 40);
            Cleanup::none()
        },
        ("action", "focalboard.tar.gz is focalboard 0.15.0, older than the 7.8.2 that came with the release"),
    ),
    case(
        "plugin-bundles",
        |lab| {
            lab.bundle("data/plugins/focalboard.tar.gz", "focalboard", "0.15.0", 18);
            lab.boards_migrated_to(40);
            Cleanup::none()
        },
        ("action", "migration 40 of focalboard; "),
    ),
    case(
        "plugin-bundles",
        |lab| {
            // Nothing in the file store: the one that came with the release runs.
            lab.bundle("prepackaged_plugins/mattermost-plugin-boards-v7.8.2.tar.gz", "focalboard", "7.8.2", 39);
            lab.boards_migrated_to(40);
            Cleanup::none()
        },
        ("action", "which will run, is 7.8.2 and knows those up to 39"),
    ),
    // A newer one comes with the fetched release of a hop.
    case(
        "plugin-bundles",
        |lab| {
            lab.bundle("data/plugins/jira.tar.gz", "jira", "5.29.0", 1);
            let release = quick("9.11.18").build();
            let manifest =
                Manifest::of_archive(&release.tarball, &Version::new(9, 11, 18), Edition::Team, &release.sha256);
            let kept = lab.installation().unwrap().state.path().join(MANIFESTS).join("9.11.18-team.json");
            manifest.unwrap().write(&kept).unwrap();
            Cleanup::with(format!("rm {}", text(&kept)))
        },
        ("warn", "jira.tar.gz is jira 5.29.0, older than the 9.11.0 that comes with 9.11.18"),
    ),
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

fn mount(place: &Path, size: &str) -> Cleanup {
    run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", text(place)]);
    Cleanup::with(format!("umount -l '{}'", place.display()))
}
