//! mm-verify from outside: silent on a good server, and biting on one that is broken in just the way a check is for.

use crate::lab::{complaints, verify, with_status};
use mm_test_support::process;
use mm_test_support::site::Site;

#[test]
fn a_good_server_of_every_era_passes_every_check_and_keeps_nothing_of_them() {
    for version in ["5.29.0", "5.37.10", "6.3.10", "8.1.13", "9.11.18", "10.6.1"] {
        let site = Site::builder(version).running().build();
        let before = (site.history(), site.counts(), site.user_files());
        let (code, document) = verify(&site, &[]);
        assert_eq!(complaints(&document), Vec::<String>::new(), "{version}");
        assert_eq!(code, 0, "{version}: {document}");
        assert!(
            (site.history(), site.counts()) == (before.0, before.1),
            "{version}: something is left in the database"
        );
        let files = site.user_files();
        let new: Vec<&String> = files.keys().filter(|path| !before.2.contains_key(*path)).collect();
        assert!(files == before.2, "{version}: {new:?} are left in the file store");
        assert_eq!(site.cluster.query("SELECT count(*) FROM sessions"), "0", "{version}");
    }
}

/// Breaks the site with `sabotage`, looks, fixes it with `fix`, and wants exactly the checks of `fails` to fail.
fn bites(site: &Site, what: &str, fails: &[&str], sabotage: impl FnOnce(&Site), fix: impl FnOnce(&Site)) {
    sabotage(site);
    let (code, document) = verify(site, &[]);
    let failed = with_status(&document, "fail");
    assert_eq!(failed, fails, "{what}: {:#?}", complaints(&document));
    assert_eq!(code, if fails.is_empty() { 0 } else { 4 }, "{what}");
    fix(site);
}

/// As [`bites`], by statements.
fn bites_sql(site: &Site, fails: &[&str], sabotage: &str, fix: &str) {
    let run = |sql: &str| drop(site.cluster.query(sql));
    bites(site, sabotage, fails, |_| run(sabotage), |_| run(fix));
}

#[test]
fn each_check_of_the_database_bites_on_just_what_it_is_for() {
    let site = Site::builder("10.6.1").running().build();
    site.tool("mm-verify").args(["baseline", "--browser", "no"]).assert().success();
    let query = |sql: &str| site.cluster.query(sql);

    bites_sql(
        &site,
        &["database.schema"],
        "CREATE TABLE kept AS SELECT * FROM db_migrations WHERE version = 54; DELETE FROM db_migrations WHERE version = 54",
        "INSERT INTO db_migrations SELECT * FROM kept; DROP TABLE kept",
    );
    bites_sql(
        &site,
        &["database.migrations"],
        "DELETE FROM systems WHERE name = 'add_bot_permissions'",
        "INSERT INTO systems VALUES ('add_bot_permissions', 'true')",
    );
    let (_, document) = {
        query(
            "INSERT INTO jobs (id, type, status, priority, createat, startat, lastactivityat, progress, data) VALUES \
               ('aaaaaaaaaaaaaaaaaaaaaaaaaa', 'delete_empty_drafts_migration', 'pending', 0, 1, 0, 0, 0, '{}')",
        );
        verify(&site, &["--only", "database.jobs"])
    };
    assert_eq!(with_status(&document, "warn"), ["database.jobs"]);
    query("DELETE FROM jobs WHERE id = 'aaaaaaaaaaaaaaaaaaaaaaaaaa'");
    bites_sql(
        &site,
        &["database.indexes"],
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'posts_pkey'::regclass",
        "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'posts_pkey'::regclass",
    );
    for (role, permission, also) in
        [("team_user", "list_team_channels", vec![]), ("channel_user", "create_post", vec!["users.post"])]
    {
        let fails: Vec<&str> = ["database.permissions", "database.roles"].into_iter().chain(also).collect();
        bites_sql(
            &site,
            &fails,
            &format!("UPDATE roles SET permissions = replace(permissions, '{permission}', '') WHERE name = '{role}'"),
            &format!("UPDATE roles SET permissions = permissions || ' {permission}' WHERE name = '{role}'"),
        );
    }
    bites_sql(
        &site,
        &["database.memberships"],
        "CREATE TABLE kept AS SELECT * FROM teammembers; DELETE FROM teammembers WHERE teamid = (SELECT min(id) FROM teams); \
         UPDATE teams SET deleteat = 1 WHERE id = (SELECT min(id) FROM teams)",
        "DELETE FROM teammembers; INSERT INTO teammembers SELECT * FROM kept; DROP TABLE kept; UPDATE teams SET deleteat = 0",
    );
}

#[test]
fn each_check_of_the_messages_and_files_bites_on_just_what_it_is_for() {
    let site = Site::builder("9.11.18").running().build();
    site.tool("mm-verify").args(["baseline", "--browser", "no"]).assert().success();
    let some_post = "(SELECT min(id) FROM posts WHERE rootid = '' AND id NOT IN (SELECT postid FROM threads))";

    bites_sql(
        &site,
        &["history.posts"],
        &format!(
            "CREATE TABLE kept AS SELECT * FROM posts WHERE id = {some_post}; DELETE FROM posts WHERE id = {some_post}"
        ),
        "INSERT INTO posts SELECT * FROM kept; DROP TABLE kept",
    );
    bites_sql(
        &site,
        &["history.posts"],
        &format!("UPDATE posts SET message = message || ' ' WHERE id = {some_post}"),
        &format!("UPDATE posts SET message = left(message, -1) WHERE id = {some_post}"),
    );
    // What users do themselves is told from damage: an edit sets editat.
    bites_sql(
        &site,
        &[],
        &format!(
            "UPDATE posts SET message = message || '!', editat = 99999999999999, updateat = 99999999999999 WHERE id = {some_post}"
        ),
        &format!(
            "UPDATE posts SET message = left(message, -1), editat = 0, updateat = createat WHERE id = {some_post}"
        ),
    );
    bites_sql(
        &site,
        &["history.posts", "history.threads"],
        "CREATE TABLE kept AS SELECT * FROM posts WHERE id = (SELECT min(postid) FROM threads); \
         DELETE FROM posts WHERE id IN (SELECT id FROM kept)",
        "INSERT INTO posts SELECT * FROM kept; DROP TABLE kept",
    );
    bites_sql(
        &site,
        &["history.counts"],
        "CREATE TABLE kept AS SELECT * FROM emoji; DELETE FROM emoji",
        "INSERT INTO emoji SELECT * FROM kept; DROP TABLE kept",
    );
    let upload = site.install().join("data").join(site.cluster.query("SELECT min(path) FROM fileinfo"));
    let kept = std::fs::read(&upload).unwrap();
    let owner = |site: &Site| process::run("chown", &["-R", "mm-test:", site.install().join("data").to_str().unwrap()]);
    let put_back = |site: &Site| {
        std::fs::write(&upload, &kept).unwrap();
        owner(site);
    };
    bites(&site, "an upload is gone", &["history.files"], |_| std::fs::remove_file(&upload).unwrap(), put_back);
    bites(&site, "an upload is cut", &["history.files"], |_| std::fs::write(&upload, "").unwrap(), put_back);

    let client = site.install().join("client");
    let bundle = std::fs::read_dir(&client)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("main.") && path.extension().is_some_and(|e| e == "js"))
        .unwrap();
    let away = bundle.with_extension("away");
    let hide = |from: &std::path::Path, to: &std::path::Path| std::fs::rename(from, to).unwrap();
    bites(&site, "a bundle is gone", &["web.bundles"], |_| hide(&bundle, &away), |_| hide(&away, &bundle));
    let page = client.join("root.html");
    let away = page.with_extension("away");
    bites(&site, "the page is gone", &["web.root"], |_| hide(&page, &away), |_| hide(&away, &page));

    let logs = site.install().join("logs");
    let chown = |to: &str| process::run("chown", &[to, logs.to_str().unwrap()]);
    bites(&site, "logs are root's", &["files.owner"], |_| drop(chown("root:")), |_| drop(chown("mm-test:")));
    let config = site.install().join("config");
    let shared = |owner: &str, mode: &str| {
        process::run("chown", &[owner, config.to_str().unwrap()]);
        process::run("chmod", &[mode, config.to_str().unwrap()]);
    };
    let mode = process::run("stat", &["-c", "%a", config.to_str().unwrap()]).trim().to_owned();
    bites(&site, "config/ is shared with root", &[], |_| shared("root", "2775"), |_| shared("mm-test", &mode));
    let file = site.config_path();
    let open = |words: &[&str]| drop(process::run(words[0], &[&words[1..], &[file.to_str().unwrap()]].concat()));
    let listed = |_: &Site| {
        open(&["chown", "root:root"]);
        open(&["setfacl", "-m", "u:mm-test:rw"]);
    };
    let given_back = |_: &Site| {
        open(&["setfacl", "-b"]);
        open(&["chown", "mm-test:mm-test"]);
    };
    bites(&site, "the configuration is root's, with an access list", &[], listed, given_back);
    let url = site.config()["ServiceSettings"]["SiteURL"].clone();
    bites(
        &site,
        "the site URL was reset",
        &["files.settings"],
        |site| site.set("ServiceSettings", "SiteURL", "".into()),
        |site| site.set("ServiceSettings", "SiteURL", url.clone()),
    );
}

#[test]
fn each_check_of_the_running_server_bites_on_just_what_it_is_for() {
    let site = Site::builder("9.11.18").build();
    let faults = site.install().join("bin/.stand-in-faults");
    for (fault, fails) in [
        ("post-broken", vec!["users.post"]),
        ("search-broken", vec!["users.search"]),
        ("delete-broken", vec!["users.delete"]),
        ("websocket-broken", vec!["server.websocket"]),
        ("direct-messages-hidden", vec!["users.channels"]),
        ("wrong-version=9.5.0", vec!["server.version"]),
        ("missing-bundle", vec!["web.bundles"]),
        ("login-broken", vec!["users.me", "users.teams", "users.unread"]),
        ("", vec![]),
    ] {
        std::fs::write(&faults, fault).unwrap();
        site.start();
        bites(&site, fault, &fails, |_| {}, Site::stop);
    }
    std::fs::write(&faults, "missing-permission=team_user:view_team").unwrap();
    site.start();
    let (_, document) = verify(&site, &[]);
    let failed = with_status(&document, "fail");
    for check in ["database.permissions", "users.members", "users.channels", "users.search"] {
        assert!(failed.iter().any(|id| id == check), "{check}: {failed:?}");
    }
    site.tool("mm-verify").args(["repair", "--fix", "permissions"]).assert().success();
    bites(&site, "the repaired permission", &[], |_| {}, Site::stop);
    let (code, document) = verify(&site, &[]);
    assert_eq!((code, with_status(&document, "fail")), (4, vec!["server.ping".to_owned()]));
    let ping = document["error"].to_string();
    assert!(ping.contains("server.ping") && ping.contains("start the server"), "{ping}");
}

#[test]
fn the_checks_of_columns_configuration_port_and_plugins_bite_on_just_what_they_are_for() {
    let site = Site::builder("9.11.18").build();
    let id = "org.example.counter";
    let plugin = site.install().join("plugins").join(id);
    std::fs::create_dir_all(&plugin).unwrap();
    let wants = |release: &str| {
        let manifest = serde_json::json!({"id": id, "name": id, "version": "1.0.0", "min_server_version": release});
        std::fs::write(plugin.join("plugin.json"), manifest.to_string()).unwrap();
    };
    wants("9.0.0");
    let mut enabled = site.config()["PluginSettings"]["PluginStates"].clone();
    enabled[id] = serde_json::json!({"Enable": true});
    site.set("PluginSettings", "PluginStates", enabled);
    site.start();
    let status = |check: &str| {
        let (_, document) = verify(&site, &["--only", check]);
        let checks = document["verify"]["checks"].as_array().unwrap();
        let found = checks.iter().find(|found| found["id"] == check).unwrap();
        (found["status"].as_str().unwrap().to_owned(), found["evidence"].to_string())
    };
    let fails = |check: &str, words: &str| {
        let (status, evidence) = status(check);
        assert!(status == "fail" && evidence.contains(words), "{check} {status}: {evidence}");
    };
    // A command that was run as root leaves such files: the server runs them, and cannot update or remove them.
    let (warned, evidence) = status("files.owner");
    assert!(
        warned == "warn" && evidence.contains(&format!("2 entries that mm-test may not write: {}", plugin.display())),
        "{warned}: {evidence}"
    );
    process::run("chown", &["-R", "mm-test:", plugin.to_str().unwrap()]);
    for check in ["database.nulls", "files.config", "files.owner", "files.port", "server.plugins"] {
        assert_eq!(status(check).0, "pass", "{check}: {}", status(check).1);
    }

    for (table, column) in [
        ("channelmembers", "mentioncountroot"),
        ("channelmembers", "msgcountroot"),
        ("channels", "totalmsgcountroot"),
        ("channels", "lastrootpostat"),
        ("sidebarcategories", "muted"),
        ("sidebarcategories", "collapsed"),
    ] {
        site.cluster.query(&format!(
            "UPDATE {table} SET {column} = NULL WHERE ctid = (SELECT ctid FROM {table} ORDER BY ctid LIMIT 1)"
        ));
        fails("database.nulls", &format!("{table}.{column} is NULL in 1 row"));
        let repairs = ["repair", "--fix", "null-counts", "--fix", "last-root-post"];
        site.tool("mm-verify").args(repairs).assert().success();
        assert_eq!(status("database.nulls").0, "pass", "{table}.{column} after its repair");
    }

    let config = site.config_path();
    let config = config.to_str().unwrap();
    process::run("chown", &["root:root", config]);
    process::run("chmod", &["600", config]);
    fails("files.config", "cannot read it");
    process::run("chown", &["mm-test:", config]);

    wants("99.0.0");
    fails("server.plugins", "too new");
    wants("9.0.0");
    site.stop();
    std::fs::write(site.install().join("bin/.stand-in-faults"), format!("plugin-inactive={id}")).unwrap();
    site.start();
    fails("server.plugins", "enabled but not running");
    site.stop();

    // Nothing listens there, and nothing gave the program the right to.
    site.set("ServiceSettings", "ListenAddress", "127.0.0.1:1".into());
    fails("files.port", "port 1 is privileged");
}
