//! Restoring parts, restoring elsewhere, and reading a restore point without this tool.

use std::fs;
use std::path::Path;
use std::process::Command;

use mm_test_support::cluster::encoded;
use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::json;

use crate::round_trip::furnish;
use crate::tree::{assert_same, describe};
use crate::{make, stored, verify};

fn restore(site: &Site, flags: &[&str]) -> std::process::Output {
    site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest"]).args(flags).output().unwrap()
}

#[test]
fn parts_come_back_and_the_rest_stays() {
    let site = Site::builder("5.29.0").build();
    make(&site, &[]);
    let before = describe(&site.install().join("config"));
    site.set("TeamSettings", "SiteName", json!("changed"));
    fs::write(site.install().join("config/stray"), "made later").unwrap();
    fs::write(site.install().join("custom/tls/server.key"), "overwritten").unwrap();
    fs::write(site.install().join("NOTICE.txt"), "changed and to stay").unwrap();

    assert!(restore(&site, &["--path", "custom/tls/server.key"]).status.success());
    let key = fs::read_to_string(site.install().join("custom/tls/server.key")).unwrap();
    assert!(key.contains("PRIVATE KEY"));
    assert!(site.install().join("config/stray").exists());

    assert!(restore(&site, &["--config"]).status.success());
    assert_same(&before, &describe(&site.install().join("config")));
    assert_eq!(fs::read_to_string(site.install().join("NOTICE.txt")).unwrap(), "changed and to stay");
    // What was there is still to be found, until prune.
    let kept = site.directory().join("opt/.mattermost.mm");
    let strays = process::run("find", &[kept.to_str().unwrap(), "-name", "stray"]);
    assert_eq!(strays.lines().count(), 1, "{strays}");
    site.tool("mm-backup").arg("--to").arg(site.store()).arg("prune").assert().success();
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
}

#[test]
fn data_that_was_left_out_stays_where_it_is() {
    let site = Site::builder("5.29.0").build();
    make(&site, &["--no-data", "--exclude", "custom/tls/*.key"]);
    let key = site.install().join("custom/tls/server.key");
    fs::write(&key, "not in the restore point").unwrap();
    let data = describe(&site.install().join("data"));
    fs::remove_file(site.install().join("NOTICE.txt")).unwrap();
    fs::write(site.install().join("custom/stray"), "made later").unwrap();
    let output = restore(&site, &["--files"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same(&data, &describe(&site.install().join("data")));
    assert_eq!(fs::read_to_string(&key).unwrap(), "not in the restore point");
    assert!(site.install().join("NOTICE.txt").exists());
    assert!(!site.install().join("custom/stray").exists());
}

#[test]
fn data_elsewhere_and_data_on_a_file_system_of_its_own_come_back() {
    let site = Site::builder("5.29.0").build();
    let elsewhere = site.directory().join("files of users");
    process::run("mv", &[site.install().join("data").to_str().unwrap(), elsewhere.to_str().unwrap()]);
    site.set("FileSettings", "Directory", json!(elsewhere));
    let plugins = site.install().join("plugins");
    process::run("mount", &["-t", "tmpfs", "none", plugins.to_str().unwrap()]);
    fs::create_dir(plugins.join("some")).unwrap();
    fs::write(plugins.join("some/plugin.json"), "{}").unwrap();
    make(&site, &[]);
    let (tree, data) = (describe(&site.install()), describe(&elsewhere));
    fs::remove_dir_all(&elsewhere).unwrap();
    fs::remove_dir_all(plugins.join("some")).unwrap();
    fs::remove_dir_all(site.install().join("client")).unwrap();
    let output = restore(&site, &[]);
    let kept: Vec<_> = fs::read_dir(&plugins).unwrap().flatten().map(|entry| entry.file_name()).collect();
    // Removed before the comparison: what is kept stands in the mount, as it cannot stand elsewhere.
    for name in kept.iter().filter(|name| name.to_string_lossy().starts_with(".mm-restore-")) {
        fs::remove_dir_all(plugins.join(name)).unwrap();
    }
    let (mut tree_now, mut tree) = (describe(&site.install()), tree);
    process::run("umount", &[plugins.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The mount point's own times change when something is kept in it.
    tree.remove(Path::new("plugins"));
    tree_now.remove(Path::new("plugins"));
    assert_same(&tree, &tree_now);
    assert_same(&data, &describe(&elsewhere));
}

#[test]
fn a_configuration_that_is_a_link_comes_back_with_what_it_leads_to() {
    let site = Site::builder("5.29.0").build();
    let etc = site.directory().join("etc");
    fs::create_dir(&etc).unwrap();
    let (link, file) = (site.config_path(), etc.join("config.json"));
    process::run("mv", &[link.to_str().unwrap(), file.to_str().unwrap()]);
    std::os::unix::fs::symlink(&file, &link).unwrap();
    make(&site, &[]);
    let (tree, outside) = (describe(&site.install()), describe(&file));
    fs::remove_file(&file).unwrap();
    fs::remove_dir_all(site.install().join("config")).unwrap();
    let output = restore(&site, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same(&tree, &describe(&site.install()));
    assert_same(&outside, &describe(&file));
}

#[test]
fn a_restore_point_is_restored_elsewhere() {
    let site = Site::builder("5.29.0").build();
    furnish(&site.install());
    make(&site, &[]);
    let tree = describe(&site.install());
    let into = site.directory().join("look");
    assert!(restore(&site, &["--into", into.to_str().unwrap()]).status.success());
    assert_same(&tree, &describe(&into.join(site.install().strip_prefix("/").unwrap())));
    for flags in [&["--into", into.to_str().unwrap()][..], &["--into", into.to_str().unwrap(), "--path", "data"]] {
        let again = restore(&site, flags);
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(again.status.code() == Some(5) && said.contains("is there already"), "{said}");
    }

    site.cluster.sql("postgres", "CREATE DATABASE \"an other\" OWNER mmuser");
    let url = site.cluster.url().replace("/mattermost?", &format!("/{}?", encoded("an other")));
    let output = restore(&site, &["--into-database", &url]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.cluster.sql("an other", "SELECT count(*) FROM posts").trim(), "100");
    let again = restore(&site, &["--into-database", &url]);
    assert_eq!(again.status.code(), Some(5), "a database with something in it is not restored into");
}

#[test]
fn plain_tools_read_a_restore_point() {
    let site = Site::builder("5.29.0").build();
    furnish(&site.install());
    let backup = make(&site, &[]);
    let point = Path::new(backup["path"].as_str().unwrap());
    let check = Command::new("sha256sum").args(["-c", "manifest.json.sha256"]).current_dir(point).output().unwrap();
    assert!(check.status.success());
    let copy = site.directory().join("copied");
    let files = stored(&site, &backup, "");
    process::run("cp", &["-a", files.to_str().unwrap(), copy.to_str().unwrap()]);
    assert_same(&describe(&site.install()), &describe(&copy));
    site.cluster.sql("postgres", "CREATE DATABASE plain OWNER mmuser");
    let dump = fs::File::open(point.join("database/mattermost.dump")).unwrap();
    let restored = Command::new("setpriv")
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "/usr/lib/postgresql/13/bin/pg_restore"])
        .args(["--exit-on-error", "-d", "plain", "-p", &site.cluster.port.to_string(), "-h", "/var/run/postgresql"])
        .stdin(dump)
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    assert_eq!(site.cluster.sql("plain", "SELECT count(*) FROM posts").trim(), "100");
}

#[test]
fn an_exported_restore_point_is_one_after_tar_has_unpacked_it() {
    let site = Site::builder("5.29.0").build();
    furnish(&site.install());
    make(&site, &[]);
    make(&site, &[]);
    let stream = site.tool("mm-backup").arg("--to").arg(site.store()).arg("export").assert().success();
    let there = site.directory().join("unpacked");
    fs::create_dir(&there).unwrap();
    let tar = site.directory().join("point.tar");
    fs::write(&tar, &stream.get_output().stdout).unwrap();
    process::run("tar", &["-xpf", tar.to_str().unwrap(), "-C", there.to_str().unwrap()]);
    process::run("mv", &[site.store().to_str().unwrap(), site.directory().join("gone").to_str().unwrap()]);
    process::run("mv", &[there.to_str().unwrap(), site.store().to_str().unwrap()]);
    process::run("chmod", &["0700", site.store().to_str().unwrap()]);
    let (code, said) = verify(&site, &[]);
    assert_eq!(code, 0, "{said}");
    // Attributes are in the manifest, so a restore has them even though tar's stream has not.
    let tree = describe(&site.install());
    fs::remove_dir_all(site.install()).unwrap();
    let output = restore(&site, &["--files"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same(&tree, &describe(&site.install()));
}
