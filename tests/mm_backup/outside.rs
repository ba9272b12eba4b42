//! What the configuration names outside of the install root is stored with the rights of the server's user.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::{Value, json};

use crate::verify;

/// A directory beside the install root with these files, owned and moded as said.
fn place(site: &Site, name: &str, owner: &str, mode: &str, files: &[(&str, &str, &str)]) -> PathBuf {
    let place = site.directory().join(name);
    fs::create_dir(&place).unwrap();
    for (file, owner, mode) in files {
        fs::write(place.join(file), *file).unwrap();
        let file = place.join(file);
        process::run("chown", &[owner, file.to_str().unwrap()]);
        process::run("chmod", &[mode, file.to_str().unwrap()]);
    }
    process::run("chown", &[owner, place.to_str().unwrap()]);
    process::run("chmod", &[mode, place.to_str().unwrap()]);
    place
}

/// Makes a restore point; returns its section and what was said.
fn make(site: &Site) -> (Value, String) {
    let made = site.tool("mm-backup").arg("--to").arg(site.store()).assert().success();
    let document: Value = serde_json::from_slice(&made.get_output().stdout).unwrap();
    (document["backup"].clone(), String::from_utf8_lossy(&made.get_output().stderr).into_owned())
}

fn holds(backup: &Value, path: &Path) -> bool {
    Path::new(backup["path"].as_str().unwrap()).join("files").join(path.strip_prefix("/").unwrap()).exists()
}

#[test]
fn uploads_are_in_a_directory_of_the_servers_own() {
    let site = Site::builder("5.29.0").build();
    process::run("chmod", &["0711", site.directory().to_str().unwrap()]);
    let roots = place(&site, "roots", "root:root", "0755", &[("key", "root:root", "0644")]);
    let closed = place(&site, "closed", "root:root", "0700", &[("key", "root:root", "0644")]);
    let (data, away) = (site.install().join("data"), site.directory().join("away"));
    fs::rename(&data, &away).unwrap();
    // The service user's link, and its setting.
    symlink(&closed, &data).unwrap();
    for target in [&closed, &roots] {
        site.set("FileSettings", "Directory", json!(if *target == closed { "./data/".into() } else { target.clone() }));
        let (backup, said) = make(&site);
        assert!(!holds(&backup, &target.join("key")), "{said}");
        let left_out = backup["left_out"].to_string();
        assert!(left_out.contains(target.to_str().unwrap()), "{backup}");
        assert!(said.contains(&format!("`{}` is not stored", target.display())), "{said}");
        assert_eq!(verify(&site, &[]).0, 0);
    }
    fs::remove_file(&data).unwrap();
    fs::rename(&away, &data).unwrap();
    let files = [("plain", "mm-test", "0600"), ("admins", "root:root", "0600"), ("lent", "root:mm-test", "0640")];
    let own = place(&site, "own", "mm-test:mm-test", "0750", &files);
    let groups = place(&site, "groups", "root:mm-test", "0770", &files);
    for target in [&own, &groups] {
        site.set("FileSettings", "Directory", json!(target));
        let (backup, said) = make(&site);
        assert!(holds(&backup, &target.join("plain")) && holds(&backup, &target.join("lent")), "{said}");
        assert!(!holds(&backup, &target.join("admins")), "{said}");
        assert_eq!(backup["left_out"].as_array().unwrap().len(), 1, "{backup}");
        assert!(said.contains("admins` is not stored"), "{said}");
        assert_eq!(verify(&site, &[]).0, 0);
    }
}

#[test]
fn what_another_setting_names_is_stored_where_the_server_could_read_it() {
    let site = Site::builder("5.29.0").build();
    process::run("chmod", &["0711", site.directory().to_str().unwrap()]);
    let files = [("public", "root:root", "0644"), ("group", "root:mm-test", "0640"), ("secret", "root:root", "0600")];
    let open = place(&site, "plugins", "root:root", "0755", &files);
    let closed = place(&site, "closed", "root:root", "0700", &[("key", "root:root", "0644")]);
    fs::hard_link(open.join("secret"), open.join("secret-too")).unwrap();
    site.set("PluginSettings", "Directory", json!(open));
    // Anybody may read the file, and nobody may reach it.
    site.set("ServiceSettings", "TLSKeyFile", json!(closed.join("key")));
    let (backup, said) = make(&site);
    assert!(holds(&backup, &open.join("public")) && holds(&backup, &open.join("group")), "{said}");
    for secret in [open.join("secret"), open.join("secret-too"), closed.join("key")] {
        assert!(!holds(&backup, &secret), "{said}");
        assert!(said.contains(&format!("`{}` is not stored", secret.display())), "{said}");
    }
    // Nor is it linked on once it is closed.
    process::run("chmod", &["0700", open.to_str().unwrap()]);
    let (backup, said) = make(&site);
    assert!(!holds(&backup, &open.join("public")), "{said}");
    assert_eq!(verify(&site, &[]).0, 0);
}

#[test]
fn a_restore_goes_through_no_link_above_the_uploads() {
    use std::os::unix::fs::MetadataExt as _;
    let site = Site::builder("5.29.0").build();
    process::run("chmod", &["0711", site.directory().to_str().unwrap()]);
    let above = place(&site, "srv", "mm-test:mm-test", "0755", &[]);
    let data = above.join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("upload"), "mine").unwrap();
    process::run("chown", &["-R", "mm-test:mm-test", data.to_str().unwrap()]);
    site.set("FileSettings", "Directory", json!(data));
    let (backup, _) = make(&site);
    let restore = |more: &[&str]| {
        let mut restore = site.tool("mm-backup");
        restore.args(["restore", backup["id"].as_str().unwrap(), "--files", "--to"]).arg(site.store()).args(more);
        restore
    };
    // What belongs to the server's user leads to a directory of root's.
    let roots = place(&site, "roots", "root:root", "0755", &[]);
    let away = site.directory().join("away");
    fs::rename(&above, &away).unwrap();
    symlink(&roots, &above).unwrap();
    let before = fs::metadata(&roots).unwrap();
    let assert = restore(&[]).assert().code(5);
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    let after = fs::metadata(&roots).unwrap();
    assert_eq!(
        (before.mtime(), before.mtime_nsec()),
        (after.mtime(), after.mtime_nsec()),
        "root's was written: {said}"
    );
    assert!(said.contains(&format!("`{}` is a link", above.display())) && said.contains("--into"), "{said}");
    // As it was, it works; and what the restore has kept is not looked for behind a link either.
    fs::remove_file(&above).unwrap();
    fs::rename(&away, &above).unwrap();
    fs::write(data.join("upload"), "another").unwrap();
    restore(&[]).assert().success();
    assert_eq!(fs::read_to_string(data.join("upload")).unwrap(), "mine");
    let kept = fs::read_dir(&above).unwrap().flatten().map(|entry| entry.file_name());
    let kept = kept.into_iter().find(|name| name.to_string_lossy().starts_with(".mm-restore-")).unwrap();
    fs::create_dir(roots.join(&kept)).unwrap();
    fs::write(roots.join(&kept).join("canary"), "").unwrap();
    fs::rename(&above, &away).unwrap();
    symlink(&roots, &above).unwrap();
    site.tool("mm-backup").args(["prune", "--keep-last", "9", "--to"]).arg(site.store()).assert().code(5);
    assert!(roots.join(&kept).join("canary").exists());
}
