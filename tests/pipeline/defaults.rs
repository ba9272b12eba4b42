//! What a host says once for all tools: in the environment and in a file of root's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use mm_test_support::site::Site;
use mm_test_support::tool::{self, TOOLS};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// A tool that reads its defaults from `file`, and no document.
fn with(name: &str, file: &Path, flags: &[&str]) -> assert_cmd::Command {
    let mut command = tool::tool(name);
    command.env("MM_CHECKPOINT_CONF", file).args(["--document", "none", "-v"]).args(flags);
    command
}

#[test]
fn a_flag_comes_before_the_environment_and_that_before_the_file() {
    let place = tempfile::tempdir().unwrap();
    let (file, path) = (place.path().join("mm-tools.conf"), |name: &str| place.path().join(name).display().to_string());
    for name in ["file", "environment", "flag"] {
        fs::create_dir(path(name)).unwrap();
    }
    write(&file, &format!("# of this host\nMM_STORE={}\nMM_STATE_DIR={}\n", path("file"), path("state")));
    let list = |command: &mut assert_cmd::Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (list["store"].as_str().unwrap().to_owned(), said(&output))
    };
    let (store, told) = list(&mut with("mm-backup", &file, &["list"]));
    assert_eq!(store, path("file"));
    assert!(told.contains(&format!("--to={store}, from {}", file.display())), "{told}");
    let (store, told) = list(with("mm-backup", &file, &["list"]).env("MM_STORE", path("environment")));
    assert_eq!(store, path("environment"));
    assert!(told.contains("from MM_STORE in the environment"), "{told}");
    for flag in ["--to", "--store"] {
        let mut command = with("mm-backup", &file, &["list", flag, &path("flag")]);
        let (store, told) = list(command.env("MM_STORE", path("environment")));
        assert_eq!(store, path("flag"));
        assert!(told.contains("--to is given"), "{told}");
    }
}

#[test]
fn a_file_that_others_may_write_is_refused_and_a_name_that_means_nothing_is_told_by_every_tool() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("mm-tools.conf");
    for name in TOOLS {
        write(&file, "MM_STORE=/srv/backup\n");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        let flags = if name == "mm-path" { &["--to", "latest"][..] } else { &[] };
        let output = with(name, &file, flags).output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{name}: {}", said(&output));
        assert!(said(&output).contains("is not trusted") && said(&output).contains("hint: chown root:root"), "{name}");
        // A word that no tool knows may be a later release's: it is told, and stops nothing.
        write(&file, "MM_STOER=/srv/backup\n");
        let output = with(name, &file, flags).output().unwrap();
        assert!(said(&output).contains("line 1") && said(&output).contains("MM_STOER"), "{name}: {}", said(&output));
    }
    // What is asked for on paper is not about this host.
    write(&file, "MM_INSTALL=/nowhere\n");
    let output = with("mm-path", &file, &["--from", "10.5.14", "--to", "10.6.1"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_document_comes_before_the_file_and_a_site_needs_no_flags() {
    let site = Site::builder("10.5.12").running().build();
    let file = site.directory().join("mm-tools.conf");
    let text = |install: &Path| {
        format!(
            "MM_INSTALL={}\nMM_STATE_DIR={}\nMM_STORE='{}'\nMM_SERVICE=exec\n",
            install.display(),
            site.state().display(),
            site.store().display()
        )
    };
    write(&file, &text(&site.install()));
    let output = with("mm-backup", &file, &[]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["backup"]["store"], site.store().to_str().unwrap());
    assert_eq!(document["site"]["install"], site.install().to_str().unwrap());
    // Another host's file, or one that is about another installation.
    write(&file, &text(Path::new("/nowhere")));
    let mut command = tool::tool("mm-verify");
    command.env("MM_CHECKPOINT_CONF", &file).args(["-v", "--browser", "no", "--dry-run"]);
    let output = command.write_stdin(document.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("--install: as the document says"), "{}", said(&output));
}
