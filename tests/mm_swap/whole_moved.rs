//! A hop in which the database has moved to another server is rolled back by one command, and the old database is found as
//! it was left.

use std::os::unix::fs::PermissionsExt as _;

use mm_test_support::cluster::Cluster;
use mm_test_support::process::wait_until;

use super::back::{FROM, NEXT, PATIENCE};
use super::whole::{BACK, Hop};

/// A server whose database is on no cluster that this machine knows, in a hop that moves it to one.
fn moved() -> (Hop, Cluster, String) {
    let hop = Hop::new(None);
    let (target, source) = (Cluster::create(15), hop.site.config()["SqlSettings"]["DataSource"].clone());
    hop.site.cluster.hide(hop.site.directory());
    let file = hop.site.directory().join("target");
    std::fs::write(&file, target.url()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    hop.forward(&format!("move --target {}", file.display()), 0);
    assert_eq!(hop.site.running_version().as_deref(), Some(NEXT));
    assert_eq!(hop.site.config()["SqlSettings"]["DataSource"], target.url().as_str());
    (hop, target, source.as_str().unwrap().to_owned())
}

fn is_back(hop: &Hop, source: &str) {
    wait_until("the old release to answer", PATIENCE, || hop.site.answers());
    assert_eq!(hop.site.running_version().as_deref(), Some(FROM));
    assert_eq!(hop.site.config()["SqlSettings"]["DataSource"], source);
    assert_eq!(hop.site.history(), hop.history());
}

#[test]
fn the_old_database_serves_the_old_release_again() {
    let (hop, _target, source) = moved();
    let (document, _) = hop.swap(&["rollback", "--database", "--dry-run"], 0);
    assert_eq!(document["plan"]["mm-swap"]["way_back"]["kind"], "untouched-source", "{document}");
    // The new release would migrate it as soon as it is started there.
    let refused = hop.tool("mm-pgbump", &["rollback"], "");
    let said = super::back::said(&refused);
    assert!(refused.status.code() == Some(5) && said.contains("hint: mm-swap rollback --database"), "{said}");
    assert!(!said.contains("--leave-stopped"), "nobody may start it there: {said}");
    assert_eq!(hop.site.running_version().as_deref(), Some(NEXT));
    hop.swap(BACK, 0);
    is_back(&hop, &source);
}

/// It needs nothing of the database that is given up.
#[test]
fn where_the_new_database_is_gone_the_old_one_serves_all_the_same() {
    let (hop, target, source) = moved();
    target.stop();
    let (document, _) = hop.swap(&["rollback", "--database", "--dry-run"], 0);
    assert_eq!(document["plan"]["mm-swap"]["way_back"]["kind"], "untouched-source", "{document}");
    hop.swap(BACK, 0);
    is_back(&hop, &source);
}
