//! The database password is in the configuration and nowhere else: not in a document, a log, a state file, a restore
//! point's manifest, or the command line of any process.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use mm_test_support::cluster::TELLTALE;
use mm_test_support::pipeline::{hop_with, plan};
use mm_test_support::site::{Site, quick};
use mm_test_support::tool::shell;

/// Files below `directory` that contain the password, those left out where it belongs.
fn leaks(directory: &Path, allowed: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            let path = entry.path();
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file() && !allowed(&path) {
                let bytes = fs::read(&path).unwrap();
                if bytes.windows(TELLTALE.len()).any(|window| window == TELLTALE.as_bytes()) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    found
}

/// Whether nobody but its owner, root, can read a file.
fn is_private(path: &Path) -> bool {
    let data = fs::metadata(path).unwrap();
    data.uid() == 0 && data.mode() & 0o077 == 0
}

#[test]
fn the_password_of_the_database_is_in_no_output_file_or_command_line() {
    let site = Site::builder("10.5.14").running().build();
    let releases = site.releases(&[quick("10.5.14").build(), quick("10.6.1").build()]);
    let document = plan(&site, &releases, &["--to", "10.6.1", "--postgres", "15"]);
    assert!(!document.to_string().contains(TELLTALE));
    let documents = site.directory().join("documents");
    fs::create_dir(&documents).unwrap();

    // Every tool as wordy as it can be, under a recorder of all programs that are started by it or its children. Not in a
    // pipe: the recorder of a tool goes on for as long as the server that the tool has started.
    let pipeline = hop_with(&site, &releases, |_| "--verbose".to_owned());
    fs::write(documents.join("0.json"), document.to_string()).unwrap();
    for (at, command) in pipeline.split(" | ").enumerate() {
        let place = documents.display();
        let script = format!(
            "exec strace -D -f --seccomp-bpf -qq -s 65535 -e trace=execve -o {place}/{at}.trace {command} \
             <{place}/{at}.json >{place}/{}.json 2>{place}/{at}.said",
            at + 1
        );
        let output = shell(&script).output().unwrap();
        let said = fs::read_to_string(documents.join(format!("{at}.said"))).unwrap();
        assert!(output.status.success(), "the hop itself is to work: {command}: {said}");
    }

    let traces = fs::read_to_string(documents.join("3.trace")).unwrap();
    assert!(traces.contains("pg_upgradecluster"), "the recorder has seen nothing: {traces}");
    assert_eq!(leaks(&documents, &|_| false), Vec::<String>::new());
    // What a way back needs: the configuration as it was before the hop, for root alone.
    let kept = |path: &Path| path.parent().is_some_and(|parent| parent.ends_with("configs")) && is_private(path);
    assert_eq!(leaks(&site.state(), &kept), Vec::<String>::new());
    assert_eq!(leaks(&site.install(), &|path| path.ends_with("config/config.json")), Vec::<String>::new());
    // A restore point holds the configuration, because a restore needs it; it is for root alone.
    let configuration = |path: &Path| path.ends_with("config.json");
    assert_eq!(leaks(&site.store(), &configuration), Vec::<String>::new());
    assert!(is_private(&site.store()), "the store can be read by others");
    assert!(is_private(&site.state()), "the state can be read by others");
}

#[test]
fn a_password_that_is_refused_is_not_quoted_in_the_error() {
    let site = Site::builder("10.5.14").running().build();
    site.cluster.sql("postgres", "ALTER ROLE mmuser PASSWORD 'another'");
    let store = site.store();
    for (name, arguments) in [
        ("mm-backup", vec!["--to", store.to_str().unwrap()]),
        ("mm-verify", vec![]),
        ("mm-pgbump", vec!["check", "--to", "15"]),
    ] {
        let output = site.tool(name).args(arguments).arg("--verbose").output().unwrap();
        for stream in [&output.stdout, &output.stderr] {
            assert!(!String::from_utf8_lossy(stream).contains(TELLTALE), "{name}: {}", String::from_utf8_lossy(stream));
        }
    }
}
