//! Check of the web server in front: from 5.33 on Mattermost refuses websockets over HTTP 1.0, nginx's default.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Result};
use mm_common::machine::files;
use mm_common::mattermost::catalogue::Severity;
use semver::Version;

use super::host::HostView;
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<HostView<'a>>> {
    vec![Check {
        id: "proxy",
        title: "Websockets through nginx",
        source: "mattermost/docs#4323; important-upgrade-notes v5.33",
        look: proxy,
    }]
}

/// Where nginx keeps its configuration.
const NGINX: &str = "etc/nginx";
/// A larger file is no configuration.
const MOST: u64 = 1024 * 1024;

fn proxy(view: &HostView<'_>) -> Result<Outcome> {
    let Some(hop) = view.way.crossing(&Version::new(5, 33, 0)) else { return Ok(Outcome::not_crossed("5.33")) };
    let Some(port) = view.installation.port() else {
        return Ok(Outcome::Beside("the port of the server is not known".into()));
    };
    let nginx = view.system.join(NGINX);
    if !nginx.is_dir() {
        return Ok(Outcome::Beside("there is no nginx on this host".into()));
    }
    let mut evidence = Vec::new();
    for path in configurations(&nginx)? {
        let text = files::read_text(&path, MOST)?;
        if speaks_http_1_0(&text, port) {
            evidence.push(format!("{} passes websockets on without `proxy_http_version 1.1`", path.display()));
        }
    }
    Ok(Outcome::of(evidence, "nothing to fix", |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: Some(hop.to.clone()),
        fix: "add `proxy_http_version 1.1;` to the location of the websocket, then nginx -t and reload".into(),
    }))
}

/// The files that nginx's own layouts include.
fn configurations(base: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in ["conf.d", "sites-enabled"] {
        let directory = base.join(name);
        if !directory.is_dir() {
            continue;
        }
        let entries = std::fs::read_dir(&directory).context(|| format!("cannot list `{}`", directory.display()))?;
        // sites-enabled holds symlinks; they are root's, as the whole directory is.
        let targets = entries.flatten().filter_map(|entry| entry.path().canonicalize().ok());
        found.extend(targets.filter(|path| path.is_file()));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Whether a configuration passes websockets to this port and leaves nginx at HTTP 1.0.
fn speaks_http_1_0(text: &str, port: u16) -> bool {
    let lines = || text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let to_us = lines().any(|line| line.contains(&format!(":{port}")));
    let upgrades =
        lines().any(|line| line.contains("proxy_set_header") && line.to_ascii_lowercase().contains("upgrade"));
    let modern =
        lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").contains("proxy_http_version 1.1"));
    to_us && upgrades && !modern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proxy_of_websockets_to_this_server_at_http_1_0_is_told() {
        let old = "upstream backend { server 127.0.0.1:8065; }\nlocation ~ /api/v[0-9]+/websocket$ {\n  proxy_set_header Upgrade $http_upgrade;\n  proxy_pass http://backend;\n}\n";
        assert!(speaks_http_1_0(old, 8065));
        assert!(!speaks_http_1_0(old, 8066), "somebody else's");
        assert!(!speaks_http_1_0(&old.replace("proxy_pass", "proxy_http_version  1.1; proxy_pass"), 8065));
        assert!(
            speaks_http_1_0(&old.replace("proxy_pass", "# proxy_http_version 1.1;\nproxy_pass"), 8065),
            "a comment is none"
        );
        assert!(!speaks_http_1_0("server 127.0.0.1:8065;", 8065), "no websockets");
    }

    #[test]
    fn reads_what_nginx_includes() {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("sites-enabled")).unwrap();
        std::fs::File::create(base.path().join("site")).unwrap();
        std::os::unix::fs::symlink(base.path().join("site"), base.path().join("sites-enabled/mattermost")).unwrap();
        assert_eq!(configurations(base.path()).unwrap(), [base.path().join("site").canonicalize().unwrap()]);
    }
}
