//! Other nodes of a cluster, at a move of the database.

use std::path::Path;
use std::time::Duration;

use mm_test_support::cluster::{PASSWORD, ROLE};
use mm_test_support::process::wait_until;

use crate::moving::Moving;
use crate::rig::check_of;

const PATIENCE: Duration = Duration::from_secs(60);

/// What another node writes during and after a move is in the old database only.
#[test]
fn another_node_that_works_with_the_old_database_stands_in_the_way() {
    let moving = Moving::new(true);
    let (source, target) = (moving.source(), moving.target.url());
    let cluster = &moving.site.cluster;
    cluster.query("CREATE TABLE IF NOT EXISTS clusterdiscovery (id varchar(26) PRIMARY KEY, type varchar(64), clustername varchar(64), hostname varchar(512), gossipport int, port int, createat bigint, lastpingat bigint)");
    cluster.query(&format!("ALTER TABLE clusterdiscovery OWNER TO {ROLE}"));
    cluster.query("INSERT INTO clusterdiscovery (id, type, clustername, hostname, gossipport, port, createat, lastpingat) SELECT n, 'mattermost_app', 'c', 'node' || n, 1, 1, 1, extract(epoch FROM now()) * 1000 FROM generate_series(1, 2) n");
    let (document, _) = moving.with(4, "check", &[&target], &[]);
    assert!(check_of(&document, "move-nodes")["evidence"].as_str().unwrap().contains("node2"), "{document}");
    moving.with(5, "move", &[&target], &[]);
    cluster.query("DELETE FROM clusterdiscovery");

    // It tells nobody of itself, and is connected from elsewhere than our server.
    let hba = Path::new("/etc/postgresql/13").join(&cluster.name).join("pg_hba.conf");
    let text = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("local mattermost {ROLE} md5\n{text}")).unwrap();
    cluster.query("SELECT pg_reload_conf()");
    let mut node = std::process::Command::new(mm_test_support::cluster::psql())
        .args(["-X", "-h", "/var/run/postgresql", "-U", ROLE, "-p", &cluster.port.to_string(), "-d", "mattermost"])
        .args(["-c", "SELECT pg_sleep(300)"])
        .env("PGPASSWORD", PASSWORD)
        .spawn()
        .unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(300)'";
    wait_until("the other node to be there", PATIENCE, || cluster.query(sessions) == "1");
    let (_, said) = moving.with(6, "move", &[&target], &[]);
    assert!(said.contains("from a socket of its machine") && said.contains("--accept move-nodes"), "{said}");
    moving.is_as_before(&source);
    moving.answers();
    let (_, said) = moving.with(0, "move", &[&target], &["--accept", "move-nodes"]);
    assert!(said.contains("from a socket of its machine"), "{said}");
    cluster.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(300)'");
    node.wait().unwrap();
    moving.answers();
}
