//! Create, destroy everything, restore.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::Path;

use mm_test_support::process;
use mm_test_support::site::Site;

use crate::tree::{assert_same, describe};
use crate::{make, stored};

/// Everything that copies of trees lose: attributes, capabilities, access lists, several names, holes, odd names, empty
/// directories, dangling links, odd modes; and what no copy can hold.
pub(crate) fn furnish(root: &Path) {
    let odd = root.join("custom").join(OsStr::from_bytes(b"not utf-8 \xff\xfe"));
    fs::write(&odd, "odd").unwrap();
    fs::write(root.join("custom/new\nline"), "").unwrap();
    fs::hard_link(&odd, root.join("custom/second name")).unwrap();
    symlink("/no/such/place", root.join("custom/dangling")).unwrap();
    fs::create_dir(root.join("custom/empty")).unwrap();
    let sparse = fs::File::create(root.join("data/sparse")).unwrap();
    sparse.write_at(b"end", 64 << 20).unwrap();
    xattr::set(root.join("custom/second name"), "user.origin", b"\0value").unwrap();
    xattr::set(root.join("custom/empty"), "user.directory", b"too").unwrap();
    // Labels of a policy that is not loaded are kept as any other attribute, also of links.
    for name in ["bin/mattermost", "custom/second name", "custom/empty", "custom/dangling"] {
        xattr::set(root.join(name), "security.selinux", b"system_u:object_r:mattermost_t:s0\0").unwrap();
    }
    nix::unistd::mkfifo(&root.join("custom/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("custom/socket")).unwrap());
    let text = |path: &str| root.join(path).to_str().unwrap().to_owned();
    process::run("setfacl", &["-m", "u:daemon:r,g:daemon:rw", &text("custom/second name")]);
    process::run("setfacl", &["-m", "d:u:daemon:rx", &text("custom/empty")]);
    process::run("setcap", &["cap_net_bind_service=+ep", &text("bin/mattermost")]);
    process::run("chmod", &["6750", &text("custom/second name")]);
    process::run("chmod", &["2770", &text("custom/empty")]);
    process::run("touch", &["-d", "1999-12-31T23:59:59.123456789Z", &text("custom/empty")]);
    process::run("touch", &["-h", "-d", "2001-02-03T04:05:06.7Z", &text("custom/dangling")]);
}

fn everything_comes_back(major: u32) {
    let site = Site::builder("5.29.0").postgres(major).build();
    furnish(&site.install());
    let tree = describe(&site.install());
    let posts = site.cluster.query("SELECT count(*), md5(string_agg(id || message, ',' ORDER BY id)) FROM posts");
    let backup = make(&site, &[]);
    let manifest = fs::read_to_string(backup["manifest"].as_str().unwrap()).unwrap();
    let (head, entries) = manifest.split_once("\"entries\": [").unwrap();
    let (_, skipped) = head.split_once("\"skipped\": [").unwrap();
    for special in ["custom/fifo", "custom/socket"] {
        assert!(skipped.contains(special) && !entries.contains(special), "{special} is not said to be left out");
    }
    assert!(entries.contains("system.posix_acl_access") && entries.contains("system.posix_acl_default"));

    fs::remove_dir_all(site.install()).unwrap();
    site.cluster.sql("postgres", "DROP DATABASE mattermost");
    site.cluster.sql("postgres", "DROP ROLE mmuser");
    site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest"]).assert().success();

    assert_same(&tree, &describe(&site.install()));
    let restored = site.cluster.query("SELECT count(*), md5(string_agg(id || message, ',' ORDER BY id)) FROM posts");
    assert_eq!(posts, restored);
    site.start();
    site.stop();
}

#[test]
fn everything_comes_back_on_postgresql_13() {
    everything_comes_back(13);
}

#[test]
fn everything_comes_back_on_postgresql_15() {
    everything_comes_back(15);
}

#[test]
fn the_database_goes_back_and_the_later_one_is_kept() {
    let site = Site::builder("5.29.0").build();
    site.tool("mm-backup").arg("--to").arg(site.store()).assert().success();
    site.cluster.query("DELETE FROM posts");
    site.cluster.query("CREATE TABLE made_later (x int)");
    let store = site.store();
    let arguments = ["restore", "latest", "--database", "--to", store.to_str().unwrap()];
    site.tool("mm-backup").args(arguments).assert().success();
    assert_eq!(site.cluster.query("SELECT count(*) FROM posts").trim(), "100");
    assert_eq!(site.cluster.query("SELECT to_regclass('made_later') IS NULL").trim(), "t");
    let kept = site.cluster.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE '%_mm_before_%'");
    assert_eq!(site.cluster.sql(kept.trim(), "SELECT count(*) FROM posts").trim(), "0");

    site.tool("mm-backup").args(["prune", "--to", store.to_str().unwrap()]).assert().success();
    let databases = "SELECT count(*) FROM pg_database WHERE datname LIKE '%_mm_%'";
    assert_eq!(site.cluster.sql("postgres", databases).trim(), "0");
}

#[test]
fn a_running_server_is_not_exchanged_under_its_feet() {
    let site = Site::builder("5.29.0").running().build();
    let before = site.pids();
    site.tool("mm-backup").arg("--to").arg(site.store()).assert().success();
    assert_eq!(site.pids(), before, "a hot backup leaves the server alone");
    let refused = site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest"]).assert().code(5);
    let document: serde_json::Value = serde_json::from_slice(&refused.get_output().stdout).unwrap();
    assert!(document["error"]["hint"].as_str().unwrap().contains("--stop"), "{document}");
    assert_eq!(site.pids(), before);
    site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest", "--stop"]).assert().success();
    process::wait_until("the server to answer again", std::time::Duration::from_secs(60), || site.answers());
}

#[test]
fn a_file_of_10_gb_that_is_mostly_holes_stays_one() {
    let site = Site::builder("5.29.0").build();
    let large = site.install().join("data/large");
    let file = fs::File::create(&large).unwrap();
    file.write_at(b"middle", 5 << 30).unwrap();
    file.write_at(b"end", (10 << 30) - 3).unwrap();
    drop(file);
    let backup = make(&site, &["--no-database"]);
    let copy = stored(&site, &backup, "data/large");
    let data = fs::metadata(&copy).unwrap();
    assert_eq!(data.len(), 10 << 30);
    assert!(data.blocks() * 512 < 1 << 20, "{} blocks", data.blocks());
    let mut words = [0; 6];
    fs::File::open(&copy).unwrap().read_exact_at(&mut words, 5 << 30).unwrap();
    assert_eq!(&words, b"middle");
    // As sha256sum has it.
    let digest = "786b99f9696642043355adb16a0beff7fd60ab0a619481900d07607ff86d4c92";
    let manifest = fs::read_to_string(backup["manifest"].as_str().unwrap()).unwrap();
    let line = manifest.lines().find(|line| line.contains("/data/large\"")).unwrap();
    assert!(line.contains(digest) && line.contains("\"bytes\":10737418240"), "{line}");
}
