//! Another user of the machine: everybody may run what is installed, and listen where the server does when it is down.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
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

/// Where no unit says so, the user is that of what is installed, whoever runs it; also one to whom a part of it belongs.
#[test]
fn no_process_says_as_which_user_the_server_runs() {
    let site = Site::builder("10.6.1").build();
    let owner = || {
        let output = site.tool("mm-path").args(["--to", "10.11.4", "--format", "json"]).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (document["site"]["owner"].clone(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let give = |user: &str, path: &str| process::run("chown", &[user, site.install().join(path).to_str().unwrap()]);
    give("nobody", "plugins");
    let mut stranger = strangers_server(&site);
    let (found, said) = owner();
    assert_eq!(found, TEST_USER, "{said}");
    // Hardened.
    for path in ["", "bin", "bin/mattermost"] {
        give("root", path);
    }
    let (found, said) = owner();
    assert_eq!(found, TEST_USER, "{said}");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// The server's user puts entries of root's where its user is looked up.
#[test]
fn files_of_roots_that_were_moved_there_make_nobody_root() {
    let site = Site::builder("10.6.1").build();
    for path in ["bin/mattermost", "bin", "logs", "config"] {
        process::run("chown", &["-h", "root:root", site.install().join(path).to_str().unwrap()]);
    }
    let output = site.tool("mm-path").args(["--to", "10.11.4", "--format", "json"]).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["site"]["owner"], TEST_USER, "{}", String::from_utf8_lossy(&output.stderr));
}

/// Stands before the server at another address of this machine, passes everything on, and keeps what it was sent.
fn relay(listener: TcpListener, server: SocketAddr) -> Arc<Mutex<Vec<u8>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut server = TcpStream::connect(server).unwrap();
            let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = client.read(&mut buffer) {
                    kept.lock().unwrap().extend_from_slice(&buffer[..count]);
                    let _ = server.write_all(&buffer[..count]);
                }
                let _ = server.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    seen
}

/// The server listens at one address, and somebody else at the one where it is looked for, with the same port.
#[test]
fn no_session_goes_through_what_passes_it_on_to_the_server() {
    let site = Site::builder("10.6.1").build();
    let server: SocketAddr = format!("127.0.0.2:{}", site.port).parse().unwrap();
    site.set("ServiceSettings", "ListenAddress", server.to_string().into());
    site.start_with(&[]);
    process::wait_until("the server to listen", PATIENCE, || TcpStream::connect(server).is_ok());
    site.set("ServiceSettings", "ListenAddress", format!(":{}", site.port).into());
    let seen = relay(TcpListener::bind(("127.0.0.1", site.port)).unwrap(), server);
    let mut command = site.tool("mm-verify");
    command.args(["--only", "users.me", "--only", "server.websocket", "--only", "server.ping", "--format", "json"]);
    let output = command.timeout(PATIENCE).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("it is not the server that answers at 127.0.0.1"), "{said}");
    let seen = String::from_utf8_lossy(&seen.lock().unwrap()).to_lowercase();
    assert!(seen.contains("get /api/v4/system/ping"), "{seen}");
    assert!(!seen.contains("authorization") && !seen.contains("authentication_challenge"), "{seen}");
    site.stop();
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
