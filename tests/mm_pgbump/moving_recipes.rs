//! The targets that the README gives as examples, as they stand there, but for the names and ports of this machine: a managed
//! database over TLS with nobody's help, a container's port into a cluster of this host, a tunnel.

use std::path::{Path, PathBuf};

use mm_test_support::cluster::url;
use mm_test_support::forwarder::Forwarder;
use mm_test_support::process::run;

use crate::moving::Moving;
use crate::rig::check_of;

/// The data sources of the README's row that begins so, in order.
fn recipe(begin: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|above| above.join("README.md"));
    let readme = readme.filter(|path| path.is_file()).find_map(|path| std::fs::read_to_string(path).ok()).unwrap();
    let row =
        readme.lines().find(|line| line.starts_with(&format!("| {begin}"))).expect("the README has it").to_owned();
    let quoted = row.split('`').skip(1).step_by(2).map(str::to_owned);
    quoted.filter(|text| text.starts_with("postgres://") || text.starts_with("host=")).collect()
}

/// An authority, and the server's certificate by it for this name; both readable by everybody.
pub(crate) fn certificates(moving: &Moving, name: &str) -> PathBuf {
    let place = moving.site.install().join("config").join(name);
    std::fs::create_dir(&place).unwrap();
    let script = format!(
        "cd '{0}' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca 2>/dev/null
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN={name} 2>/dev/null
         printf 'subjectAltName=DNS:{name}' >ext; openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem 2>/dev/null
         chmod 755 . && chmod 644 ca.pem",
        place.display()
    );
    run("sh", &["-ec", &script]);
    place
}

/// The database is made in the provider's console, and belongs to a role that has no other power.
fn as_a_provider_does(moving: &Moving) {
    let sql = |sql: &str| drop(moving.target.sql("postgres", sql));
    sql("DROP DATABASE mattermost");
    sql("CREATE ROLE mm LOGIN PASSWORD 'geheim'");
    sql("CREATE DATABASE mattermost OWNER mm");
}

/// Moves there and back, and looks whether all posts went along.
fn there_and_back(moving: &Moving, lines: &[&str]) {
    let (source, posts) = (moving.source(), Moving::posts(&moving.site.cluster, "mattermost"));
    moving.with(0, "check", lines, &[]);
    moving.with(0, "move", lines, &[]);
    assert_eq!(moving.source(), lines[0]);
    assert_eq!(Moving::posts(&moving.target, "mattermost"), posts);
    moving.pgbump(0, &["rollback"]);
    assert_eq!(moving.source(), source);
}

#[test]
fn a_managed_database_is_reached_as_its_data_source_says_or_not_at_all() {
    let moving = Moving::new(false);
    as_a_provider_does(&moving);
    let (own, others) = (certificates(&moving, "localhost"), certificates(&moving, "elsewhere"));
    let data = moving.target.data_directory();
    for file in ["server.pem", "server.key"] {
        let (from, to) = (own.join(file), data.join(file));
        run("install", &["-o", "postgres", "-m", "600", from.to_str().unwrap(), to.to_str().unwrap()]);
    }
    moving.target.sql("postgres", "ALTER SYSTEM SET ssl_cert_file = 'server.pem'");
    moving.target.sql("postgres", "ALTER SYSTEM SET ssl_key_file = 'server.key'");
    moving.target.sql("postgres", "SELECT pg_reload_conf()");
    let recipe = recipe("a managed database").remove(0);
    let of = |host: &str, authority: &Path| {
        let text = recipe.replace("db.example.com:5432", &format!("{host}:{}", moving.target.port));
        let text = text.replace("PASSWORD", "geheim");
        text.replace("/etc/ssl/provider.pem", authority.join("ca.pem").to_str().unwrap())
    };
    let source = moving.source();
    for (bad, cause) in [(of("localhost", &others), "certificate verify failed"), (of("127.0.0.1", &own), "host name")]
    {
        for (verb, code) in [("check", 5), ("move", 5)] {
            let (document, said) = moving.with(code, verb, &[&bad], &[]);
            assert!(document["error"].to_string().contains(cause), "{verb}: {document}{said}");
        }
        assert_eq!(moving.source(), source);
    }
    let good = of("localhost", &own);
    let (document, _) = moving.with(0, "check", &[&good], &[]);
    assert!(check_of(&document, "move-tls")["evidence"].as_str().unwrap().starts_with("TLSv1."), "{document}");
    there_and_back(&moving, &[&good]);
}

#[test]
fn a_containers_port_and_a_tunnel_are_as_good_as_any() {
    let moving = Moving::new(false);
    // From a container's port, which no cluster of this machine has, to a cluster of this machine.
    let tunnel = Forwarder::to(moving.site.cluster.port);
    moving.site.cluster.hide(moving.site.directory());
    moving.site.set("SqlSettings", "DataSource", url(tunnel.port).into());
    moving.target.sql("postgres", "DROP DATABASE mattermost");
    let administrator = recipe("a container's port").remove(0);
    let administrator = format!("{administrator} port={}", moving.target.port);
    there_and_back(&moving, &[&moving.target.url(), &administrator]);

    as_a_provider_does(&moving);
    let way = Forwarder::to(moving.target.port);
    let recipe = recipe("another host").remove(0).replace("5433", &way.port.to_string()).replace("PASSWORD", "geheim");
    there_and_back(&moving, &[&recipe]);
}
