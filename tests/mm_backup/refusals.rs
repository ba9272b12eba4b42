//! What mm-backup does not do, and what it says instead.

use std::fs;
use std::path::Path;

use mm_test_support::process;
use mm_test_support::site::Site;
use mm_test_support::tool::tool;
use serde_json::{Value, json};

use crate::tree::{assert_same, describe};
use crate::{listed, make, stored};

fn refusal(site: &Site, flags: &[&str], code: i32) -> Value {
    let output = site.tool("mm-backup").args(flags).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{flags:?}: {document}");
    assert!(document["error"]["hint"].is_string(), "{document}");
    document["error"].clone()
}

#[test]
fn files_in_s3_are_said_to_be_elsewhere() {
    let site = Site::builder("5.29.0").build();
    site.set("FileSettings", "DriverName", json!("amazons3"));
    let store = site.store();
    let error = refusal(&site, &["--to", store.to_str().unwrap()], 5);
    assert!(error["hint"].as_str().unwrap().contains("--no-data"), "{error}");
    assert!(!store.exists() || listed(&site).0.is_empty());
    let backup = make(&site, &["--no-data"]);
    assert!(!stored(&site, &backup, "data").exists());
    assert!(stored(&site, &backup, "config/config.json").exists());
}

#[test]
fn a_data_directory_that_is_not_mounted_is_not_taken_for_an_empty_one() {
    let site = Site::builder("5.29.0").build();
    let store = site.store();
    let (data, away) = (site.install().join("data"), site.directory().join("away"));
    fs::rename(&data, &away).unwrap();
    for is_there in [false, true] {
        if is_there {
            fs::create_dir(&data).unwrap();
        }
        let error = refusal(&site, &["--to", store.to_str().unwrap()], 5);
        assert!(error["message"].as_str().unwrap().contains("missing or empty"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("--no-data"), "{error}");
    }
    make(&site, &["--no-data"]);
    // A server on which nothing was ever uploaded has none either.
    site.cluster.query("DELETE FROM fileinfo");
    make(&site, &[]);
    assert_eq!(listed(&site).0.len(), 2);
}

#[test]
fn a_store_that_is_inside_or_open_to_others_is_refused() {
    let site = Site::builder("5.29.0").build();
    let inside = site.install().join("backup");
    refusal(&site, &["--to", inside.to_str().unwrap()], 5);
    // The server has to keep its own directories, whatever an administrator is told to do.
    for own in [site.install(), site.install().join("data")] {
        let error = refusal(&site, &["--to", own.to_str().unwrap()], 5);
        assert!(!error["hint"].as_str().unwrap().contains("chown"), "{error}");
    }
    let open = site.directory().join("open");
    fs::create_dir(&open).unwrap();
    process::run("chmod", &["0777", open.to_str().unwrap()]);
    let error = refusal(&site, &["--to", open.to_str().unwrap()], 5);
    assert!(error["hint"].as_str().unwrap().contains("chmod"), "{error}");
    let foreign = site.directory().join("foreign");
    fs::create_dir(&foreign).unwrap();
    process::run("chown", &["mm-test", foreign.to_str().unwrap()]);
    refusal(&site, &["--to", foreign.to_str().unwrap()], 5);
}

#[test]
fn too_little_space_is_seen_before_the_service_is_stopped() {
    let site = Site::builder("5.29.0").running().build();
    let store = site.store();
    fs::create_dir(&store).unwrap();
    process::run("mount", &["-t", "tmpfs", "-o", "size=2m,mode=0700", "none", store.to_str().unwrap()]);
    let before = site.pids();
    let output = site.tool("mm-backup").args(["--stop", "--to", store.to_str().unwrap()]).output().unwrap();
    let after = site.pids();
    process::run("umount", &[store.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("not enough space") && said.contains("are missing"), "{said}");
    assert_eq!(before, after, "the server was stopped for nothing");
}

#[test]
fn links_of_the_service_user_lead_nowhere() {
    let site = Site::builder("5.29.0").build();
    let secret = site.directory().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("shadow"), "root's own").unwrap();
    process::run("chmod", &["-R", "go-rwx", secret.to_str().unwrap()]);
    std::os::unix::fs::symlink(&secret, site.install().join("custom/trap")).unwrap();
    // A configured file that the server's user cannot read is not read for it by root.
    site.set("ServiceSettings", "TLSKeyFile", json!(secret.join("shadow")));
    let backup = make(&site, &[]);
    let copy = stored(&site, &backup, "custom/trap");
    assert_eq!(fs::read_link(&copy).unwrap(), secret);
    let point = Path::new(backup["path"].as_str().unwrap()).join("files");
    assert!(!point.join(secret.strip_prefix("/").unwrap()).exists());

    // And a directory that has become a link is not restored through.
    fs::remove_dir_all(site.install().join("custom/tls")).unwrap();
    std::os::unix::fs::symlink(&secret, site.install().join("custom/tls")).unwrap();
    let store = site.store();
    let flags = ["restore", "latest", "--path", "custom/tls/server.key", "--to", store.to_str().unwrap()];
    let output = site.tool("mm-backup").args(flags).output().unwrap();
    assert_ne!(output.status.code(), Some(0));
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1, "something was written through the link");
}

#[test]
fn a_run_that_finds_no_database_leaves_no_store() {
    let site = Site::builder("5.29.0").build();
    site.cluster.stop();
    let place = site.directory().join("backups");
    let output = site.tool("mm-backup").arg("--to").arg(place.join("of/this")).output().unwrap();
    assert_ne!(output.status.code(), Some(0));
    assert!(!place.exists(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_restore_is_of_its_own_installation_and_a_dry_one_touches_nothing() {
    let site = Site::builder("5.29.0").build();
    let id = make(&site, &[])["id"].as_str().unwrap().to_owned();
    site.cluster.query("DELETE FROM posts");
    fs::write(site.install().join("custom/later"), "later").unwrap();
    let before = describe(site.directory());
    let restore = |install: &Path, flags: &[&str]| {
        let mut command = tool("mm-backup");
        command.arg("--install").arg(install).arg("--state-dir").arg(site.state()).args(["--service", "exec", "--to"]);
        let output = command.arg(site.store()).args(["restore", &id]).args(flags).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), document)
    };
    let (code, document) = restore(&site.install(), &["--dry-run"]);
    assert_eq!(code, Some(0), "{document}");
    let said = document["msg"].as_str().unwrap();
    assert!(said.contains("would restore") && said.contains(&id) && document["changed"] == false, "{document}");
    assert_same(&before, &describe(site.directory()));

    let other = site.directory().join("opt/other");
    process::run("cp", &["-a", site.install().to_str().unwrap(), other.to_str().unwrap()]);
    let before = describe(site.directory());
    let (code, document) = restore(&other, &[]);
    assert_eq!(code, Some(5), "{document}");
    assert!(document["error"]["message"].as_str().unwrap().contains("is not one of"), "{document}");
    assert_same(&before, &describe(site.directory()));
    assert_eq!(site.cluster.query("SELECT count(*) FROM posts").trim(), "0");
}

#[test]
fn usage_is_checked() {
    let site = Site::builder("5.29.0").build();
    make(&site, &["--no-database"]);
    let store = site.store().to_str().unwrap().to_owned();
    let to = ["--to", store.as_str()];
    for (flags, code) in [
        (vec!["restore", "latest", "--database"], 5),
        (vec!["restore", "latest", "--database", "--into", "/nowhere"], 2),
        (vec!["restore", "none"], 5),
        (vec!["restore", "latest", "--path", "../../etc/passwd"], 2),
        (vec!["prune"], 2),
        (vec!["--stop", "verify"], 2),
        (vec!["restore"], 2),
        (vec!["--exclude", "logs/[ab].gz"], 2),
    ] {
        let output = site.tool("mm-backup").args(&flags).args(to).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let file = site.config_path();
    for verb in ["create", "list"] {
        let output = site.tool("mm-backup").args([verb, "--to"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(said.contains("is not a directory") && said.contains("--to"), "{said}");
    }
}

#[test]
fn a_restore_point_that_others_can_change_is_said_to_be_and_not_restored() {
    let site = Site::builder("5.29.0").build();
    let one = make(&site, &[]);
    let point = Path::new(one["path"].as_str().unwrap());
    let manifest = point.join("manifest.json");
    let run = |flags: &[&str]| {
        let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(flags).output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (output.status.code(), stdout, stderr)
    };
    let into = site.directory().join("into");
    let restore = ["restore", "latest", "--files", "--into", into.to_str().unwrap()];
    let faults: [(&Path, [&str; 2], [&str; 2]); 3] = [
        (&site.store(), ["chown", "mm-test"], ["chown", "root"]),
        (point, ["chmod", "0777"], ["chmod", "0700"]),
        (&manifest, ["chmod", "0660"], ["chmod", "0600"]),
    ];
    for (path, fault, fix) in faults {
        let shown = path.to_str().unwrap();
        process::run(fault[0], &[fault[1], shown]);
        let (_, list, _) = run(&["list", "--format", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        assert!(list["points"][0]["doubt"].as_str().unwrap().contains(shown), "{list}");
        assert!(run(&["list", "--format", "human"]).1.contains("MAY HAVE BEEN CHANGED"));
        let (code, _, said) = run(&["verify"]);
        assert!(code == Some(0) && said.contains("may have been changed") && said.contains(shown), "{said}");
        let (code, _, said) = run(&restore);
        assert!(code == Some(5) && said.contains(shown) && said.contains("--accept store-owner"), "{said}");
        assert!(!into.exists());
        process::run(fix[0], &[fix[1], shown]);
    }
    process::run("chmod", &["0777", point.to_str().unwrap()]);
    // What the manifest says of the copies is not believed either.
    let two = make(&site, &[]);
    let number_of = |backup: &Value| {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(stored(&site, backup, "NOTICE.txt")).unwrap())
    };
    assert_ne!(number_of(&one), number_of(&two));
    let id = one["id"].as_str().unwrap();
    let (code, _, said) = run(&["restore", id, "--files", "--into", into.to_str().unwrap(), "--accept", "store-owner"]);
    assert!(code == Some(0) && said.contains("may have been changed"), "{said}");
    let (_, list, _) = run(&["list", "--format", "json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert!(list["points"][1]["doubt"].is_null(), "{list}");
}

/// A dry run ends as the run would: whoever plans a night asks it in the afternoon.
#[test]
fn a_dry_restore_is_refused_where_the_restore_would_be() {
    let site = Site::builder("10.5.14").running().build();
    let made = make(&site, &[]);
    let id = made["id"].as_str().unwrap().to_owned();
    let dry = |flags: &[&str], code: i32| {
        let mut command = site.tool("mm-backup");
        let output = command.arg("--to").arg(site.store()).args(["restore", &id, "--dry-run"]).args(flags).output();
        let output = output.unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (output.status.code(), &document["changed"]),
            (Some(code), &Value::from(false)),
            "{flags:?}: {document}"
        );
        document["msg"].as_str().unwrap().to_owned()
    };
    assert!(dry(&[], 5).contains("is running"));
    let said = dry(&["--stop"], 0);
    for part in
        ["stop the server", "entries at ", "exchange the database mattermost for one with ", "start the server again"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!dry(&["--stop", "--leave-stopped", "--files"], 0).contains("start the server"));
    assert!(dry(&["--stop", "--path", "config/nothing.json"], 5).contains("nothing of that name"));
    assert!(dry(&["--into-database", &site.cluster.url()], 5).contains("is not empty"));
    let into = site.directory().join("into");
    assert!(dry(&["--into", into.to_str().unwrap(), "--files"], 0).contains("below"));
    assert!(!into.exists());
    let taken = into.join(site.install().strip_prefix("/").unwrap());
    fs::create_dir_all(&taken).unwrap();
    assert!(dry(&["--into", into.to_str().unwrap(), "--files"], 5).contains("is there already"));
    // Another tool was cut off.
    let state = fs::read_dir(site.state()).unwrap().flatten().next().unwrap().path();
    fs::write(state.join("pgbump.journal"), "{}").unwrap();
    assert!(dry(&["--stop"], 5).contains("mm-pgbump was cut off"));
    fs::remove_file(state.join("pgbump.journal")).unwrap();
    // And the proof of the manifest comes first.
    fs::write(made["manifest"].as_str().unwrap(), "{}").unwrap();
    dry(&["--stop"], 1);
}

/// A slip of the hand makes no store of a directory of the system; any other may hold other things as well.
#[test]
fn a_directory_of_the_system_is_not_made_a_store() {
    let site = Site::builder("10.5.14").build();
    for store in ["/etc", "/etc/mattermost-points", "/", "/var/lib"] {
        for further in [&[][..], &["--dry-run"]] {
            let said = refusal(&site, &[&["--to", store], further].concat(), 5).to_string();
            assert!(said.contains("is not made a store") && said.contains("of the system"), "{store}: {said}");
        }
    }
    assert!(!Path::new("/etc/mattermost-points").exists());
    // What people mount or make below such a directory is theirs.
    for store in ["/run/media/mattermost-points", "/usr/local/mattermost-points"] {
        let mut dry = site.tool("mm-backup");
        dry.args(["--to", store, "--dry-run"]).assert().code(0);
    }
    fs::create_dir_all(site.store().join("lost+found")).unwrap();
    fs::write(site.store().join("README"), "x").unwrap();
    make(&site, &[]);
    make(&site, &[]);
    assert_eq!(listed(&site).0.len(), 2);
}
