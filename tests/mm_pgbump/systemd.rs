//! mm-pgbump where a real systemd runs server and clusters: what the unit and its drop-ins tell the server follows the
//! cluster, systemd knows of it before the start, and all of it comes back. A container with a network of its own, over
//! this machine's files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use mm_test_support::container::{Container, Network, PATIENCE};
use mm_test_support::process::{TEST_USER, wait_until};
use mm_test_support::site::Site;
use mm_test_support::tool::executable;
use serde_json::Value;

/// Where packages have their units, and what an administrator adds to one.
const UNIT: &str = "usr/lib/systemd/system/mattermost.service";
const ADDED: &str = "etc/systemd/system/mattermost.service.d/database.conf";
/// What mm-pgbump adds instead of changing the unit of a package.
const OURS: &str = "etc/systemd/system/mattermost.service.d/60-mm-tools-database.conf";

struct Host {
    site: Site,
    container: Container,
}

impl Host {
    fn new(unit: &str, added: &str) -> Self {
        let site = Site::builder("10.5.14").build();
        let config = site.config();
        site.cluster.query(&format!(
            "CREATE TABLE configurations (id varchar(26) PRIMARY KEY, value text NOT NULL, createat bigint NOT NULL, active boolean NULL UNIQUE);
             INSERT INTO configurations VALUES ('{}', $json${config}$json$, 1, true); ALTER TABLE configurations OWNER TO mmuser",
            "a".repeat(26)
        ));
        fs::remove_file(site.config_path()).unwrap();
        // Inside it is a cluster of the container's systemd.
        site.cluster.stop();
        let container = Container::boot(&site, Network::Private, &[(UNIT, unit), (ADDED, added)]);
        container.run("install", &["-d", "-o", "postgres", "-g", "postgres", "-m", "2775", "/run/postgresql"]);
        let host = Self { site, container };
        host.container.run("systemctl", &["start", &format!("postgresql@13-{}", host.site.cluster.name)]);
        host
    }

    fn pgbump(&self, code: i32, words: &[&str]) -> (Value, String) {
        let (install, state) = (self.site.install(), self.site.state());
        let common = ["--install", install.to_str().unwrap(), "--state-dir", state.to_str().unwrap(), "-v"];
        let output = self.container.inside(executable("mm-pgbump").to_str().unwrap(), &[words, &common].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "mm-pgbump {words:?}: {said}");
        (serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.container.path(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.container.path(path), text).unwrap();
        self.container.run("systemctl", &["daemon-reload"]);
    }

    /// The server answers, and was started with these data sources.
    fn serves_with(&self, sources: &[&str]) {
        let port = self.site.port;
        let ask = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET /api/v4/system/ping HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3"
        );
        wait_until("the server to answer", PATIENCE, || {
            String::from_utf8_lossy(&self.container.inside("bash", &["-c", &ask]).stdout).contains(" 200 ")
        });
        let pid = self.container.property("mattermost", "MainPID");
        let environment = self.container.run("cat", &[&format!("/proc/{pid}/environ")]);
        for source in sources {
            assert!(environment.split('\0').any(|variable| variable == *source), "it was not started with {source}");
        }
    }

    fn clusters(&self) -> Vec<(String, String, String)> {
        let listed = self.container.run("pg_lsclusters", &["-h"]);
        let lines = listed.lines().filter(|line| line.contains(&self.site.cluster.name));
        let words = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        words.map(|words| (words[0].clone(), words[2].clone(), words[3].clone())).collect()
    }
}

#[test]
fn a_unit_and_its_drop_in_follow_and_come_back() {
    // The configuration is in the database, which the drop-in names; the unit of the package says where the data is.
    let root = "ROOT";
    let unit = |root: &str, argument: &str, url: &str| {
        format!(
            "[Unit]\nDescription=Mattermost\n[Service]\nType=notify\nExecStart={root}/bin/mattermost{argument}\n\
             Environment=MM_SQLSETTINGS_DATASOURCE={url}\nTimeoutStartSec=60\nKillMode=mixed\nRestart=always\nRestartSec=1\n\
             WorkingDirectory={root}\nUser={TEST_USER}\nGroup={TEST_USER}\nLimitNOFILE=49152\n"
        )
    };
    let host = Host::new(&unit(root, "", "x"), "[Service]\n");
    let (url, port) = (host.site.cluster.url(), host.site.cluster.port.to_string());
    let (root, doubled) = (host.site.install().display().to_string(), url.replace('%', "%%"));
    let upgrade = ["--to", "15", "--no-backup", "--keep-port"];

    // In the command line it is not changed, and that is said before anything is done.
    host.write(UNIT, &unit(&root, &format!(" --config {doubled}"), &doubled));
    let (document, said) = host.pgbump(5, &upgrade);
    assert!(said.contains("ExecStart"), "{said}");
    assert!(document["error"]["hint"].as_str().unwrap().contains("leave out --keep-port"), "{document:#}");
    assert_eq!(host.clusters(), [("13".to_owned(), port.clone(), "online".to_owned())]);

    let (packaged, added) = (
        unit(&root, "", &doubled),
        format!("# ours\n[Service]\nEnvironment=\"MM_OTHER=100%%\" \"MM_CONFIG={doubled}\"\nNice=1\n"),
    );
    host.write(UNIT, &packaged);
    host.write(ADDED, &added);
    host.container.run("systemctl", &["start", "mattermost"]);
    host.serves_with(&[&format!("MM_CONFIG={url}"), &format!("MM_SQLSETTINGS_DATASOURCE={url}")]);

    let (document, said) = host.pgbump(0, &upgrade);
    assert_eq!(document["site"]["service"]["unit"], "mattermost.service", "{said}");
    let clusters = host.clusters();
    let new = clusters[1].1.clone();
    assert_eq!(
        clusters,
        [("13".to_owned(), port.clone(), "down".to_owned()), ("15".to_owned(), new.clone(), "online".to_owned())]
    );
    let moved = |text: &str| text.replace(&format!("127.0.0.1:{port}/"), &format!("127.0.0.1:{new}/"));
    assert_ne!(moved(&added), added);
    assert_eq!(host.read(ADDED), moved(&added));
    assert_eq!(host.read(UNIT), packaged);
    assert!(host.read(OURS).contains(&format!("Environment=\"MM_SQLSETTINGS_DATASOURCE={}\"\n", moved(&doubled))));
    let mode = fs::metadata(host.container.path(OURS)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(document["pgbump"]["repointed"], serde_json::json!([format!("/{ADDED}"), format!("/{OURS}")]));
    let moved_url = moved(&url);
    host.serves_with(&[
        &format!("MM_CONFIG={moved_url}"),
        &format!("MM_SQLSETTINGS_DATASOURCE={moved_url}"),
        "MM_OTHER=100%",
    ]);

    host.pgbump(0, &["rollback"]);
    assert_eq!(host.read(ADDED), added);
    assert_eq!(host.read(UNIT), packaged);
    assert!(!host.container.path(OURS).exists());
    host.serves_with(&[&format!("MM_CONFIG={url}"), &format!("MM_SQLSETTINGS_DATASOURCE={url}")]);
}
