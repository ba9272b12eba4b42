//! Another user of the machine: everybody may run what is installed, and listen where the server does when it is down.

use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::Duration;

use mm_test_support::process::{self, TEST_USER};
use mm_test_support::site::Site;
use serde_json::Value;

/// Far longer than a refusal takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process of somebody else's that executes the server's file and does nothing.
fn strangers_server(site: &Site) -> Child {
    let (installed, aside) = (site.install().join("bin/mattermost"), site.install().join("bin/aside"));
    std::fs::rename(&installed, &aside).unwrap();
    std::fs::copy("/bin/cat", &installed).unwrap();
    let mut command = process::as_user("nobody", &installed);
    let child = command.current_dir(site.install()).stdin(Stdio::piped()).spawn().unwrap();
    let runs = || std::fs::read_link(format!("/proc/{}/exe", child.id())).is_ok_and(|exe| exe == installed);
    process::wait_until("the stranger to run", PATIENCE, runs);
    std::fs::remove_file(&installed).unwrap();
    std::fs::rename(&aside, &installed).unwrap();
    child
}

#[test]
fn a_strangers_process_is_not_the_server_and_its_user_not_the_owner() {
    let site = Site::builder("10.6.1").build();
    let mut stranger = strangers_server(&site);
    let output = site.tool("mm-path").args(["--to", "10.11.4", "--format", "json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["site"]["owner"], TEST_USER, "{said}");
    assert_eq!(document["site"]["service"]["was_running"], false, "{said}");
    assert!(said.contains(&format!("process {} of the user", stranger.id())), "{said}");
    // Nobody waits for its end.
    let store = site.store();
    let mut command = site.tool("mm-backup");
    command.args(["--stop", "--to"]).arg(store).timeout(PATIENCE).assert().success();
    assert!(stranger.try_wait().unwrap().is_none(), "it was let alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn no_session_goes_to_what_listens_where_the_server_does() {
    let site = Site::builder("10.6.1").build();
    let listener = TcpListener::bind(("127.0.0.1", site.port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let assert = site.tool("mm-verify").timeout(PATIENCE).assert().code(5);
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("not the server that listens") && said.contains("hint:"), "{said}");
    assert!(listener.accept().is_err(), "somebody was connected to");
}
