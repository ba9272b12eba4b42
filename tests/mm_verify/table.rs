//! The table of mm-verify's checks: each has a case in which it bites, and none bites on the good server before and
//! after. A check without a case fails the first test.

use std::collections::BTreeSet;
use std::path::Path;

use crate::bench::Break::{Client, Expected, Fault, Hand, Sql};
use crate::bench::{Bench, Case, VERSION};
use crate::lab::{check_of, look};
use mm_test_support::process;
use mm_test_support::site::Site;

const ALONE: &[&str] = &[];
/// A message and a reply have to be there first.
const WRITTEN: &[&str] = &["users.post", "users.reply"];

const CASES: &[Case] = &[
    Case("files.interrupted", ALONE, "fail", Hand(|b| b.cut_off(true), |b| b.cut_off(false))),
    Case("files.version", ALONE, "fail", Expected("9.11.17")),
    Case("files.release", ALONE, "fail", Hand(|b| b.hide("NOTICE.txt"), |b| b.show("NOTICE.txt"))),
    Case("files.owner", ALONE, "fail", Hand(|b| b.chown("root:", "logs"), |b| b.chown("mm-test:", "logs"))),
    Case(
        "files.port",
        ALONE,
        "fail",
        Hand(|b| b.listen("127.0.0.1:1"), |b| b.listen(&format!("127.0.0.1:{}", b.site.port))),
    ),
    Case(
        "files.config",
        ALONE,
        "fail",
        Hand(|b| b.chown("root:", "config/config.json"), |b| b.chown("mm-test:", "config/config.json")),
    ),
    Case("files.settings", ALONE, "fail", Hand(|b| b.address(""), |b| b.address(&b.site_url))),
    Case(
        "database.schema",
        ALONE,
        "fail",
        Sql(
            "CREATE TABLE kept AS SELECT * FROM db_migrations WHERE version = 54; DELETE FROM db_migrations WHERE version = 54",
            "INSERT INTO db_migrations SELECT * FROM kept; DROP TABLE kept",
        ),
    ),
    Case(
        "database.migrations",
        ALONE,
        "fail",
        Sql(
            "DELETE FROM systems WHERE name = 'add_bot_permissions'",
            "INSERT INTO systems VALUES ('add_bot_permissions', 'true')",
        ),
    ),
    Case(
        "database.jobs",
        ALONE,
        "warn",
        Sql(
            "INSERT INTO jobs (id, type, status, priority, createat, startat, lastactivityat, progress, data) VALUES
           ('aaaaaaaaaaaaaaaaaaaaaaaaaa', 'delete_empty_drafts_migration', 'pending', 0, 1, 0, 0, 0, '{}')",
            "DELETE FROM jobs WHERE id = 'aaaaaaaaaaaaaaaaaaaaaaaaaa'",
        ),
    ),
    Case(
        "database.indexes",
        ALONE,
        "fail",
        Sql(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'posts_pkey'::regclass",
            "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'posts_pkey'::regclass",
        ),
    ),
    Case(
        "database.nulls",
        ALONE,
        "fail",
        Sql(
            "CREATE TABLE kept AS SELECT id, totalmsgcountroot FROM channels; UPDATE channels SET totalmsgcountroot = NULL",
            "UPDATE channels c SET totalmsgcountroot = k.totalmsgcountroot FROM kept k WHERE k.id = c.id; DROP TABLE kept",
        ),
    ),
    // What a jump from 5.29 leaves beside the migrations. No row is NULL yet: those that come will be.
    Case(
        "database.defaults",
        ALONE,
        "warn",
        Sql(
            "INSERT INTO systems VALUES ('Version', '5.29.0'); ALTER TABLE channels ALTER totalmsgcountroot DROP DEFAULT",
            "DELETE FROM systems WHERE name = 'Version'",
        ),
    ),
    Case(
        "database.permissions",
        ALONE,
        "fail",
        Sql(
            "UPDATE roles SET permissions = replace(permissions, 'list_team_channels', '') WHERE name = 'team_user'",
            "UPDATE roles SET permissions = permissions || ' list_team_channels' WHERE name = 'team_user'",
        ),
    ),
    // Not one of those without which nobody can work.
    Case(
        "database.roles",
        ALONE,
        "fail",
        Sql(
            "UPDATE roles SET permissions = replace(permissions, 'manage_team_roles', '') WHERE name = 'team_admin'",
            "UPDATE roles SET permissions = permissions || ' manage_team_roles' WHERE name = 'team_admin'",
        ),
    ),
    Case(
        "database.memberships",
        ALONE,
        "fail",
        Sql(
            "CREATE TABLE kept AS SELECT * FROM teammembers; DELETE FROM teammembers",
            "INSERT INTO teammembers SELECT * FROM kept; DROP TABLE kept",
        ),
    ),
    Case(
        "history.posts",
        ALONE,
        "fail",
        Sql(
            "UPDATE posts SET message = message || ' ' WHERE id = (SELECT min(id) FROM posts)",
            "UPDATE posts SET message = left(message, -1) WHERE id = (SELECT min(id) FROM posts)",
        ),
    ),
    Case(
        "history.counts",
        ALONE,
        "fail",
        Sql(
            "CREATE TABLE kept AS SELECT * FROM emoji; DELETE FROM emoji",
            "INSERT INTO emoji SELECT * FROM kept; DROP TABLE kept",
        ),
    ),
    Case(
        "history.threads",
        ALONE,
        "fail",
        Sql(
            "CREATE TABLE kept AS SELECT * FROM posts WHERE id = (SELECT min(postid) FROM threads);
         DELETE FROM posts WHERE id IN (SELECT id FROM kept)",
            "INSERT INTO posts SELECT * FROM kept; DROP TABLE kept",
        ),
    ),
    Case("history.files", ALONE, "fail", Hand(|b| b.hide(&b.upload()), |b| b.show(&b.upload()))),
    Case("server.ping", ALONE, "fail", Hand(|b| b.site.stop(), |b| b.site.start())),
    // The plain ping goes on saying OK.
    Case(
        "server.status",
        &["server.ping"],
        "fail",
        Hand(
            |b| b.site.cluster.stop(),
            |b| {
                b.site.stop();
                b.site.cluster.start();
                b.site.start();
            },
        ),
    ),
    Case("server.version", ALONE, "fail", Fault("wrong-version=9.5.0")),
    Case("web.root", ALONE, "fail", Hand(|b| b.hide("client/root.html"), |b| b.show("client/root.html"))),
    Case("web.bundles", &["web.root"], "fail", Fault("missing-bundle")),
    Case("users.me", ALONE, "fail", Fault("login-broken")),
    Case("users.teams", ALONE, "fail", Fault("call-broken=GET /users/*/teams")),
    Case("users.members", &["users.channels"], "fail", Fault("call-broken=GET /users/*/teams/*/channels/members")),
    Case("users.channels", &["users.members"], "fail", Fault("call-broken=GET /users/*/teams/*/channels")),
    Case(
        "users.categories",
        &["users.channels"],
        "fail",
        Fault("call-broken=GET /users/*/teams/*/channels/categories"),
    ),
    Case("users.unread", &["users.teams"], "fail", Fault("call-broken=GET /users/*/teams/unread")),
    Case("users.threads", &["users.teams"], "fail", Fault("call-broken=GET /users/*/teams/*/threads")),
    Case("users.history", &["users.channels"], "fail", Fault("call-broken=GET /channels/*/posts")),
    Case("users.post", ALONE, "fail", Fault("post-broken")),
    Case("users.reply", WRITTEN, "fail", Fault("call-broken=GET /posts/*/thread")),
    Case("users.edit", WRITTEN, "fail", Fault("call-broken=PUT /posts/*/patch")),
    Case("users.search", WRITTEN, "fail", Fault("search-broken")),
    Case("users.file", WRITTEN, "fail", Fault("call-broken=GET /files/*")),
    Case("users.delete", WRITTEN, "fail", Fault("delete-broken")),
    Case("server.websocket", WRITTEN, "fail", Fault("websocket-broken")),
    Case("server.plugins", ALONE, "fail", Fault("plugin-inactive=org.example.counter")),
    // The temporary user cannot be removed; the next run tries again.
    Case(
        "traces.removed",
        WRITTEN,
        "fail",
        Sql(
            "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'never'; END $$;
         CREATE TRIGGER never BEFORE DELETE ON users FOR EACH ROW EXECUTE FUNCTION never()",
            "DROP TRIGGER never ON users; DROP FUNCTION never()",
        ),
    ),
];

const BROWSER: &[Case] = &[
    // The client asks for these to know which teams it may show, and shows the choice of teams without.
    Case("browser.open", ALONE, "fail", Fault("call-broken=GET /users/*/teams/*/channels/members")),
    Case(
        "browser.teams",
        &["browser.open"],
        "fail",
        Client("{id: 'teamSidebarWrapper'}, ...buttons", "{id: 'teamSidebarWrapper'}"),
    ),
    Case(
        "browser.post",
        &["browser.open"],
        "fail",
        Client("box('post_textbox')", "element('input', {id: 'post_textbox', maxlength: '3'})"),
    ),
    Case(
        "browser.reply",
        &["browser.open"],
        "fail",
        Client("box('reply_textbox', rootId)", "element('input', {id: 'reply_textbox', maxlength: '3'})"),
    ),
];

#[test]
fn every_check_has_a_case_in_which_it_bites() {
    let site = Site::builder(VERSION).build();
    let (_, document) = look(&site, &["--dry-run"]);
    let listed = document["verify"]["checks"].as_array().unwrap().iter();
    let mut checks: BTreeSet<&str> = listed.map(|check| check["id"].as_str().unwrap()).collect();
    assert!(checks.len() > 40, "{checks:?}");
    checks.insert("traces.removed");
    let cases: BTreeSet<&str> = CASES.iter().chain(BROWSER).map(|Case(id, ..)| *id).collect();
    assert_eq!(checks, cases, "checks of mm-verify, and cases here");
    assert_eq!(cases.len(), CASES.len() + BROWSER.len(), "a check has one case");
}

#[test]
fn each_check_bites_in_its_case_and_none_on_the_good_server() {
    let bench = Bench::new();
    bench.is_silent(CASES, &["--browser", "no"], "before");
    bench.all_bite(CASES, &["--browser", "no"]);
    bench.is_silent(CASES, &["--browser", "no"], "after");
}

/// With a WebDriver that is there already, as on a test machine, and given by its address.
#[test]
fn each_check_of_the_browser_bites_in_its_case_with_a_driver_given_by_its_address() {
    let bench = Bench::new();
    let port = process::free_port();
    let home = bench.site.directory().join("browser");
    std::fs::create_dir_all(&home).unwrap();
    process::run("chown", &["mm-test:", home.to_str().unwrap()]);
    // In a container the browser's own sandbox may not be allowed, and with a given driver that is not ours to say.
    let wrapper = home.join("google-chrome");
    std::fs::write(&wrapper, "#!/bin/sh\nexec /usr/bin/chromium --no-sandbox \"$@\"\n").unwrap();
    process::run("chmod", &["755", wrapper.to_str().unwrap()]);
    let mut driver = process::as_user("mm-test", Path::new("chromedriver"));
    driver.arg(format!("--port={port}")).env("PATH", format!("{}:{}", home.display(), process::PATH));
    driver.env("HOME", &home).env("TMPDIR", &home).current_dir(&home).stdin(std::process::Stdio::null());
    driver.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut driver = driver.spawn().expect("scripts/prepare installs chromium-driver");
    process::wait_until("the driver to listen", std::time::Duration::from_secs(60), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let address = format!("http://127.0.0.1:{port}");
    let arguments = ["--browser", address.as_str(), "--only", "browser"];
    bench.is_silent(BROWSER, &arguments, "before");
    bench.all_bite(BROWSER, &["--browser", &address]);
    // It was ended with each run, though the driver goes on.
    assert!(driver.try_wait().unwrap().is_none());
    driver.kill().unwrap();
    driver.wait().unwrap();
    let check = check_of(&bench.look(VERSION, &arguments.map(str::to_owned)), "browser.open");
    assert_eq!(check["status"], "error", "nobody listens there any more: {check}");
}
