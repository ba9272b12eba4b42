//! A database that is frozen beside itself while nobody writes, and stored when the server serves again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mm_test_support::cluster::Cluster;
use mm_test_support::matrix::some_and;
use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::{Value, json};

use crate::interruptions::{PATIENCE, checkpoints, die_at, ended, start};
use crate::{listed, make, verify};

pub(crate) const FREEZE: [&str; 2] = ["--stop", "--freeze"];

const COPIES: &str = "SELECT datname FROM pg_database WHERE datname LIKE '%\\_mm\\_frozen\\_%' ORDER BY 1";

/// The copies in the site's cluster.
pub(crate) fn copies(site: &Site) -> Vec<String> {
    site.cluster.sql("postgres", COPIES).lines().map(str::to_owned).collect()
}

/// Runs a verb; its exit code and what it said.
pub(crate) fn run(site: &Site, flags: &[&str]) -> (i32, String) {
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(flags).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(crate) fn copy_of(backup: &Value) -> String {
    backup["freeze"]["copy"].as_str().unwrap_or_else(|| panic!("not frozen: {backup}")).to_owned()
}

fn head(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn a_frozen_point_becomes_one_like_any_other(major: u32) {
    let site = Site::builder("10.5.14").postgres(major).running().build();
    site.cluster.query("ALTER DATABASE mattermost SET work_mem = '7MB'; COMMENT ON DATABASE mattermost IS 'ours'");
    let frozen = make(&site, &FREEZE);
    let id = frozen["id"].as_str().unwrap();
    let copy = copy_of(&frozen);
    assert_eq!((&frozen["database"], &frozen["databases"]), (&json!(true), &json!(["mattermost"])));
    process::wait_until("the server to answer again", PATIENCE, || site.answers());

    // Nobody but a superuser gets into the copy, and it takes connections as such.
    let closed = format!(
        "SELECT datallowconn, datconnlimit, pg_get_userbyid(datdba), has_database_privilege('mmuser', datname, 'CONNECT')
         FROM pg_database WHERE datname = '{copy}'"
    );
    assert_eq!(site.cluster.sql("postgres", &closed), "t|0|postgres|f");

    // Until it is complete it is none that can be restored elsewhere, and each refusal names the command.
    let (into, url) = (site.directory().join("into"), format!("{}_x", site.cluster.url()));
    let into = into.to_str().unwrap();
    for (flags, code) in [
        (&["verify"][..], 4),
        (&["export"], 5),
        (&["copy", "--into", into], 5),
        (&["restore", id, "--into", into], 5),
        (&["restore", id, "--into-database", &url], 5),
    ] {
        let (found, said) = run(&site, flags);
        assert_eq!(found, code, "{flags:?}: {said}");
        assert!(said.contains(&format!("hint: mm-backup complete {id} --install")), "{flags:?}: {said}");
    }
    let (_, said) = run(&site, &["prune", "--keep-last", "0", "-v"]);
    assert_eq!(listed(&site).0, [id], "{said}");
    let manifest = head(Path::new(frozen["manifest"].as_str().unwrap()));
    assert!(manifest["database"].is_null() && manifest["frozen"]["copy"]["noted"]["transaction"].is_u64());

    // What users write meanwhile is not in it.
    site.cluster.query("DELETE FROM reactions; UPDATE posts SET message = 'changed'");
    let document = json!({ "schema": "mm.upgrade/1", "backup": frozen });
    let mut command = site.tool("mm-backup");
    let done = command.arg("complete").write_stdin(document.to_string()).assert().success();
    let document: Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
    let completed = document["backup"]["freeze"]["completed"].as_str().unwrap();
    assert_eq!(document["backup"]["manifest_sha256"], frozen["manifest_sha256"]);
    let (code, said) = verify(&site, &[id, "--restore"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&site, &["complete", "-v"]);
    assert!(code == 0 && said.contains("nothing is to be completed"), "{said}");

    // It says what one says that was made at once.
    let (code, said) = run(&site, &["restore", id, "--database", "--stop"]);
    assert_eq!(code, 0, "{said}");
    let plain = make(&site, &["--stop"]);
    let (late, plain) = (&head(Path::new(completed))["database"], head(Path::new(plain["manifest"].as_str().unwrap())));
    for key in ["name", "server_version", "tables", "history", "schema"] {
        assert_eq!(late[key], plain["database"][key], "{key}");
    }
    for key in ["owner", "settings", "comment", "schemas", "roles"] {
        assert_eq!(late["properties"][key], plain["database"]["properties"][key], "{key}");
    }
    let (code, said) = verify(&site, &[]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_frozen_point_becomes_one_like_any_other_on_postgresql_13() {
    a_frozen_point_becomes_one_like_any_other(13);
}

#[test]
fn a_frozen_point_becomes_one_like_any_other_on_postgresql_15() {
    a_frozen_point_becomes_one_like_any_other(15);
}

#[test]
fn whatever_a_superuser_changes_in_the_copy_is_found() {
    let site = Site::builder("10.5.14").build();
    let changes = [
        ("INSERT INTO reactions SELECT userid, id, 'x', 1 FROM posts LIMIT 1", "reactions"),
        ("UPDATE posts SET message = 'changed' WHERE id = (SELECT min(id) FROM posts)", "public.posts"),
        ("DELETE FROM posts WHERE id = (SELECT min(id) FROM posts)", "public.posts"),
        ("ALTER TABLE posts ADD COLUMN added int", "pg_attribute"),
        ("DROP TABLE preferences", "pg_class"),
        ("TRUNCATE sessions", "pg_class"),
    ];
    let mut former = String::new();
    for (sql, named) in changes {
        let frozen = make(&site, &FREEZE);
        let (id, copy) = (frozen["id"].as_str().unwrap(), copy_of(&frozen));
        assert_ne!(copy, former);
        assert_eq!(copies(&site), [copy.as_str()], "the copy before goes");
        site.cluster.sql(&copy, sql);
        let (code, said) = run(&site, &["complete"]);
        assert_eq!(code, 4, "{sql}: {said}");
        assert!(said.contains(&copy) && said.contains(named), "{sql}: {said}");
        assert!(!site.store().join(id).join("database.json").exists(), "{sql}");
        // The way back is closed for it as well, where that is known without reading every row.
        if sql.starts_with("DELETE") {
            let (code, said) = run(&site, &["restore", id, "--database"]);
            assert!(code == 5 && said.contains("--accept frozen-copy"), "{said}");
            let (code, said) = run(&site, &FREEZE);
            assert!(code == 4 && said.contains("was changed"), "the next freeze does not drop it: {said}");
        }
        let (code, said) = run(&site, &["complete", "--accept", "frozen-copy"]);
        assert!(code == 0 && said.contains("was changed"), "{sql}: {said}");
        let completion = head(&site.store().join(id).join("database.json"));
        assert!(completion["unproven"].to_string().contains(named), "{sql}: {completion}");
        former = copy;
    }
}

#[test]
fn a_crash_of_the_server_leaves_said_what_is_unproven() {
    let site = Site::builder("10.5.14").build();
    make(&site, &FREEZE);
    let label = site.cluster.label();
    let (major, name) = label.split_once('/').unwrap();
    process::run("pg_ctlcluster", &["-m", "immediate", major, name, "stop"]);
    site.cluster.start();
    let (code, said) = run(&site, &["complete"]);
    assert!(code == 0 && said.contains("not proven whether rows were deleted"), "{said}");
    let id = listed(&site).0.pop().unwrap();
    let completion = head(&site.store().join(id).join("database.json"));
    assert_eq!(completion["unproven"].as_array().unwrap().len(), 1, "{completion}");
}

#[test]
fn the_way_back_is_a_change_of_names() {
    let site = Site::builder("10.5.14").running().build();
    let set = "ALTER DATABASE mattermost SET work_mem = '7MB'; GRANT CREATE ON DATABASE mattermost TO mmuser";
    site.cluster.query(&format!("{set}; ALTER DATABASE mattermost CONNECTION LIMIT 77"));
    let whose =
        "SELECT pg_get_userbyid(datdba), datconnlimit, s.setconfig, has_database_privilege('public', d.oid, 'CONNECT')
         FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid WHERE datname = 'mattermost'";
    let before = site.cluster.sql("postgres", whose);
    let frozen = make(&site, &FREEZE);
    let (id, copy) = (frozen["id"].as_str().unwrap(), copy_of(&frozen));
    let oid =
        |name: &str| site.cluster.sql("postgres", &format!("SELECT oid FROM pg_database WHERE datname = '{name}'"));
    let (of_copy, of_server) = (oid(&copy), oid("mattermost"));
    site.cluster.query("DELETE FROM posts; CREATE TABLE made_later (x int)");

    let (code, said) = run(&site, &["restore", id, "--database", "--stop", "-v"]);
    assert!(code == 0 && said.contains("renamed"), "{said}");
    assert_eq!(oid("mattermost"), of_copy, "it is the copy itself");
    let kept = site.cluster.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE '%\\_mm\\_before\\_%'");
    assert_eq!(oid(&kept), of_server, "what was there is kept");
    assert_eq!(site.cluster.sql("postgres", whose), before);
    assert_eq!(site.cluster.query("SELECT count(*), to_regclass('made_later') IS NULL FROM posts"), "100|t");
    process::wait_until("the server to answer again", PATIENCE, || site.answers());
    assert!(copies(&site).is_empty());

    // There is no second time: the copy serves now, and is written to.
    let (code, said) = run(&site, &["restore", id, "--database", "--stop"]);
    assert!(code == 5 && said.contains("is gone"), "{said}");
    let (code, said) = run(&site, &["complete"]);
    assert!(code == 0 && said.contains("its frozen copy is gone"), "{said}");
    assert_eq!(run(&site, &["complete", id]).0, 5);
    assert!(site.answers(), "the server was not touched");
    make(&site, &FREEZE);
    let (code, said) = run(&site, &["prune", "--keep-last", "1"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        (listed(&site).0.len(), oid(&kept)),
        (2, String::new()),
        "what was kept goes, and a frozen one takes no place: {said}"
    );
    assert_eq!(copies(&site).len(), 1, "one that is not complete keeps its copy: {said}");
    assert_eq!(run(&site, &["complete"]).0, 0);
    let (_, said) = run(&site, &["prune", "--keep-last", "1"]);
    assert!(!listed(&site).0.contains(&id.to_owned()), "a point without its copy goes: {said}");
}

#[test]
fn freezing_is_killed_at_every_checkpoint() {
    let site = Site::builder("10.5.14").running().build();
    let names = checkpoints(&site, &FREEZE);
    assert!(names.iter().any(|name| name == "freeze-copied"), "{names:?}");
    for name in &some_and(names, |name| name.starts_with("freeze-")) {
        die_at(&site, &FREEZE, name);
        let damaged = listed(&site).1;
        assert!(damaged.is_empty(), "killed at {name}: {damaged:?}");
        let made = make(&site, &FREEZE);
        assert_eq!(copies(&site), [copy_of(&made)], "killed at {name}");
        process::wait_until("the server to answer again", PATIENCE, || site.answers());
    }
    let (code, said) = run(&site, &["complete"]);
    assert_eq!(code, 0, "{said}");
    for id in listed(&site).0 {
        let (code, said) = verify(&site, &[&id]);
        assert_eq!(code, 0, "{said}");
    }
    let (code, said) = run(&site, &["prune"]);
    assert!(code == 0 && copies(&site).is_empty(), "{said}");
}

#[test]
fn completing_and_going_back_are_killed_at_every_checkpoint() {
    let site = Site::builder("10.5.14").build();
    make(&site, &FREEZE);
    let names = checkpoints(&site, &["complete"]);
    assert!(names.iter().any(|name| name == "complete-placed"), "{names:?}");
    for name in &some_and(names, |name| name == "complete-placed") {
        let id = make(&site, &FREEZE)["id"].as_str().unwrap().to_owned();
        die_at(&site, &["complete"], name);
        let (code, said) = run(&site, &["complete"]);
        assert_eq!(code, 0, "killed at {name}: {said}");
        let (code, said) = verify(&site, &[&id]);
        assert_eq!(code, 0, "killed at {name}: {said}");
        assert!(!site.store().join(&id).join(".completing").exists(), "killed at {name}");
    }

    make(&site, &FREEZE);
    let names = checkpoints(&site, &["restore", "latest", "--database"]);
    assert!(names.iter().any(|name| name == "database-renamed"), "{names:?}");
    for name in &some_and(names, |name| name == "database-renamed") {
        make(&site, &FREEZE);
        site.cluster.query("DELETE FROM posts");
        let restore = ["restore", "latest", "--database"];
        die_at(&site, &restore, name);
        let (code, said) = ended(start(&site, &restore, None));
        assert_eq!(code, Some(0), "killed at {name}: {said}");
        assert_eq!(site.cluster.query("SELECT count(*) FROM posts"), "100", "killed at {name}");
        let whose = "SELECT pg_get_userbyid(datdba), datconnlimit FROM pg_database WHERE datname = 'mattermost'";
        assert_eq!(site.cluster.sql("postgres", whose), "mmuser|-1", "killed at {name}");
        assert!(copies(&site).is_empty(), "killed at {name}");
    }
}

/// A session in the server's database.
struct Session(Child);

impl Session {
    fn of(site: &Site, role: &str) -> Self {
        let mut command = match role {
            "postgres" => process::as_user("postgres", mm_test_support::cluster::psql()),
            _ => Command::new(mm_test_support::cluster::psql()),
        };
        match role {
            "postgres" => command.args(["-XAtq", "-p", &site.cluster.port.to_string(), "-d", "mattermost"]),
            _ => command.args(["-XAtq", "-d", &site.cluster.url()]),
        };
        let child = command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let session = Self(child.spawn().unwrap());
        let there = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'psql' AND usename = '{role}' AND pid <> pg_backend_pid() AND datname = 'mattermost'"
        );
        process::wait_until("the session", PATIENCE, || site.cluster.sql("postgres", &there) == "1");
        session
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn what_keeps_it_from_being_frozen_is_said_before_the_stop() {
    let site = Site::builder("10.5.14").running().build();
    let pids = site.pids();
    let watcher = Session::of(&site, "postgres");
    let (code, said) = run(&site, &["--stop", "--freeze", "--exclude", "data/**", "--dry-run"]);
    assert_eq!((code, site.pids()), (0, pids), "{said}");
    let made = make(&site, &FREEZE);
    let reason = made["freeze"]["reason"].as_str().unwrap();
    assert!(reason.contains("others are connected to it (1 session): `postgres` as `psql`"), "{reason}");
    assert!(made["freeze"]["copy"].is_null() && copies(&site).is_empty());
    let (code, said) = verify(&site, &[]);
    assert_eq!(code, 0, "it is dumped: {said}");
    drop(watcher);

    let hop = json!({ "from": "5.29.0", "to": "5.37.10", "edition": "team", "url": "", "sha256": [], "needs": { "postgres": 15 } });
    let document = json!({
        "schema": "mm.upgrade/1",
        "run": { "id": "run", "started": "2026-11-22T03:00:00Z" },
        "path": { "current": "5.29.0", "target": "5.37.10", "policy": "esr", "hops": [hop], "next": hop },
    });
    let earlier = make(&site, &FREEZE);
    let mut command = site.tool("mm-backup");
    let flags = ["--stop", "--freeze", "--accept", "rollback"];
    let output = command.arg("--to").arg(site.store()).args(flags).write_stdin(document.to_string()).assert().success();
    let made: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let freeze = &made["backup"]["freeze"];
    assert!(
        freeze["original"] == site.cluster.label().as_str() && freeze["reason"].is_null(),
        "the upgrade leaves it: {made}"
    );
    assert!(copies(&site).is_empty(), "no copy of an earlier hop is carried along");
    let (code, said) = verify(&site, &[earlier["id"].as_str().unwrap()]);
    assert_eq!(code, 0, "its point is completed first: {said}");

    // What the server itself has left behind is ended.
    let _left = Session::of(&site, "mmuser");
    copy_of(&make(&site, &FREEZE));
}

#[test]
fn a_store_that_is_not_mounted_costs_no_copy() {
    let site = Site::builder("10.5.14").build();
    let frozen = make(&site, &FREEZE);
    let (id, copy) = (frozen["id"].as_str().unwrap(), copy_of(&frozen));
    let away = site.directory().join("away");
    fs::rename(site.store(), &away).unwrap();
    fs::create_dir(site.store()).unwrap();
    fs::set_permissions(site.store(), fs::Permissions::from_mode(0o700)).unwrap();
    let (code, said) = run(&site, &["prune", "-v"]);
    assert!(code == 0 && said.contains(&format!("the frozen copy {copy} stays")), "{said}");
    make(&site, &["--stop"]);
    assert_eq!(copies(&site), [copy.as_str()], "the empty directory proves nothing");

    fs::remove_dir_all(site.store()).unwrap();
    fs::rename(&away, site.store()).unwrap();
    let (code, said) = run(&site, &["complete", id]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&site, &["prune"]);
    assert!(code == 0 && copies(&site).is_empty(), "{said}");
}

#[test]
fn a_frozen_point_takes_the_place_of_no_complete_one() {
    let site = Site::builder("10.5.14").build();
    let complete = make(&site, &[]);
    let frozen = make(&site, &[&FREEZE[..], &["--keep-last", "1"]].concat());
    let ids = [complete["id"].as_str().unwrap(), frozen["id"].as_str().unwrap()];
    assert_eq!(listed(&site).0, ids);
    assert_eq!(run(&site, &["complete"]).0, 0);
    let (code, said) = run(&site, &["prune", "--keep-last", "1"]);
    assert_eq!((code, listed(&site).0.as_slice()), (0, &[ids[1].to_owned()][..]), "{said}");
}

#[test]
fn freeze_needs_a_stopped_server() {
    let site = Site::builder("10.5.14").build();
    for (flags, words) in [(&["--freeze"][..], "--stop"), (&["--stop", "--freeze", "--no-database"], "--no-database")] {
        let (code, said) = run(&site, flags);
        assert!(code == 2 && said.contains("--freeze") && said.contains(words), "{flags:?}: {said}");
    }
    assert!(!site.store().exists() && copies(&site).is_empty());
}

/// Where a store is lost, the copy is all there is: the cluster that the server has moved to since knows nothing of it.
#[test]
fn a_copy_of_a_lost_store_is_looked_for_in_the_cluster_that_has_it() {
    let site = Site::builder("10.5.14").build();
    let copy = copy_of(&make(&site, &FREEZE));
    fs::rename(site.store(), site.directory().join("lost")).unwrap();
    fs::create_dir(site.store()).unwrap();
    fs::set_permissions(site.store(), fs::Permissions::from_mode(0o700)).unwrap();
    let record = || fs::read_dir(state_of(&site).join("frozen")).unwrap().count();
    let stays = format!("the frozen copy {copy} stays");
    let (code, said) = run(&site, &["prune", "-v"]);
    assert!(code == 0 && said.contains(&stays) && said.contains("once it is known to be: "), "{said}");
    let dropping = said.split("once it is known to be: ").nth(1).unwrap().lines().next().unwrap().to_owned();

    // The server has gone to another cluster.
    let other = Cluster::create(13);
    let (from, to) = (site.cluster.port, other.port);
    let program = "runuser -u postgres -- /usr/lib/postgresql/13/bin";
    process::run(
        "sh",
        &[
            "-c",
            &format!(
                "{program}/pg_dump -h /var/run/postgresql -p {from} mattermost | \
                 {program}/psql -qX -v ON_ERROR_STOP=1 -h /var/run/postgresql -p {to} -d mattermost"
            ),
        ],
    );
    let before = site.config()["SqlSettings"]["DataSource"].clone();
    site.set("SqlSettings", "DataSource", json!(other.url()));
    for _ in 0..2 {
        let (code, said) = run(&site, &["prune", "-v", "--accept", "database"]);
        assert!(
            code == 0 && said.contains(&stays) && said.contains("it is in the cluster that had the database"),
            "{said}"
        );
        assert!(!said.contains("DROP DATABASE"), "{said}");
        assert_eq!(record(), 1, "it is forgotten where nobody could have seen it");
    }
    assert_eq!(copies(&site), [copy.as_str()]);

    // Where it was, it is seen to be gone.
    site.set("SqlSettings", "DataSource", before);
    process::run("sh", &["-c", &dropping]);
    assert!(copies(&site).is_empty());
    let (code, said) = run(&site, &["prune", "-v"]);
    assert!(code == 0 && !said.contains(&stays), "{said}");
    assert_eq!(record(), 0);
}

/// Where the tools keep what they remember of a site.
fn state_of(site: &Site) -> std::path::PathBuf {
    let below = fs::read_dir(site.state()).unwrap().map(|entry| entry.unwrap().path());
    below.into_iter().find(|path| path.join("frozen").is_dir()).unwrap()
}

/// A database that everybody may copy comes back as one, and what was there before can be removed all the same.
#[test]
fn a_template_comes_back_as_one_from_its_copy_and_from_its_dump() {
    let site = Site::builder("10.5.14").build();
    let template =
        || site.cluster.sql("postgres", "SELECT datistemplate FROM pg_database WHERE datname = 'mattermost'");
    let set = |is: bool| site.cluster.sql("postgres", &format!("ALTER DATABASE mattermost IS_TEMPLATE {is}"));
    set(true);
    make(&site, &FREEZE);
    set(false);
    let restore = ["restore", "latest", "--database", "-v"];
    let (code, said) = run(&site, &restore);
    assert_eq!(code, 0, "{said}");
    assert_eq!(template(), "t", "{said}");
    make(&site, &[]);
    set(false);
    let (code, said) = run(&site, &restore);
    assert_eq!((code, template().as_str()), (0, "t"), "{said}");
    // One of what was there before is a template itself.
    let (code, said) = run(&site, &restore);
    assert_eq!((code, template().as_str()), (0, "t"), "{said}");
    let (code, said) = run(&site, &["prune", "--keep-last", "2"]);
    assert_eq!(code, 0, "{said}");
    let left = site.cluster.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'mattermost%'");
    assert_eq!(left, "1", "{said}");
}
