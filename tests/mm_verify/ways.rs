//! The ways in and the things compared with: a token, a proxy, a restore point of a server that ran, files one by one.

use crate::lab::{check_of, complaints, traces, verify, with_status};
use mm_common::machine::state::State;
use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::Value;

#[test]
fn a_token_that_was_given_is_looked_with_and_left_alone() {
    let site = Site::builder("9.11.18").running().build();
    let token = "abcdefghijklmnopqrstuvwxyz";
    site.cluster.query(&format!(
        "INSERT INTO sessions (id, token, createat, expiresat, lastactivityat, userid, deviceid, roles, isoauth,
           expirednotify, props)
         SELECT reverse('{token}'), '{token}', 1, 9999999999999, 1, id, '', 'system_user', false, false, '{{}}'
         FROM users WHERE username = 'alice'"
    ));
    let file = site.directory().join("token");
    let with = |text: &str| {
        std::fs::write(&file, text).unwrap();
        verify(&site, &["--no-sessions", "--only", "users", "--token-file", file.to_str().unwrap()])
    };
    let (code, document) = with(&format!("{token}\n"));
    assert_eq!((code, complaints(&document)), (0, vec![]), "{document}");
    let members = check_of(&document, "users.members");
    assert!(members["status"] == "pass" && members["evidence"].to_string().contains("1 user\""), "{members}");
    assert!(!document.to_string().contains(token), "the token is shown");
    assert_eq!(traces(&site), "1", "the session is not ours to end");

    let (code, document) = with("zzzzzzzzzzzzzzzzzzzzzzzzzz");
    assert_eq!(code, 1, "{document}");
    assert!(document["error"].to_string().contains("cannot look as the account that was given"), "{document}");
    std::fs::remove_file(&file).unwrap();
    let (code, document) = verify(&site, &["--no-sessions", "--only", "users", "--token-file", file.to_str().unwrap()]);
    assert!(code == 1 && document["error"].to_string().contains("token"), "{code} {}", document["error"]);
}

#[test]
fn a_proxy_that_does_not_pass_the_websocket_on_is_found_at_the_address_users_type() {
    let site = Site::builder("10.6.1").build();
    let port = process::free_port();
    let public = format!("http://127.0.0.1:{port}");
    site.set("ServiceSettings", "SiteURL", public.clone().into());
    site.start();
    let look = |lines: &str| {
        let mut proxy = crate::proxy::start(&site, port, lines);
        let (code, document) = verify(&site, &["--only", "server.websocket"]);
        proxy.kill().unwrap();
        proxy.wait().unwrap();
        (code, check_of(&document, "server.websocket"))
    };
    let (code, check) = look(crate::proxy::PASSES);
    assert!(code == 0 && check["evidence"].to_string().contains(&public), "{check}");

    let (code, check) = look("proxy_set_header Host $http_host;");
    assert_eq!((code, &check["status"]), (4, &"fail".into()), "{check}");
    let said = check["evidence"].to_string();
    assert!(said.contains(&public) && said.contains("400"), "{said}");
    assert!(check["hint"].to_string().contains("must pass the headers Upgrade and Connection"), "{check}");

    // A private hop is not reached at the site URL, so it is not blamed for what stands before the public one.
    let address = format!("127.0.0.1:{}", site.port);
    let state = State::of(&site.install().canonicalize().unwrap(), Some(&site.state()));
    let note = serde_json::json!({"address": address, "since": "2026-01-01T00:00:00Z"});
    std::fs::write(state.path().join("private.json"), note.to_string()).unwrap();
    let document = serde_json::json!({
        "schema": "mm.upgrade/1", "run": {"id": "x", "started": "2026-01-01T00:00:00Z"},
        "swap": {"from": "10.5.14", "to": "10.6.1", "exchanged": [], "retired": null,
                 "private_address": address},
    });
    let assert = site
        .tool("mm-verify")
        .args(["--only", "server.websocket", "--format", "json"])
        .write_stdin(document.to_string())
        .assert()
        .success();
    let document: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(complaints(&document), Vec::<String>::new());
}

#[test]
fn a_restore_point_of_a_running_server_proves_the_old_messages_while_new_ones_come_in() {
    let site = Site::builder("9.11.18").running().build();
    let backed_up = site.tool("mm-backup").args(["--to", site.store().to_str().unwrap()]).assert().success();
    let document = backed_up.get_output().stdout.clone();
    let look = || {
        let output = site
            .tool("mm-verify")
            .args(["--only", "history.posts", "--only", "history.counts", "--format", "json"])
            .write_stdin(document.clone())
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let check = check_of(&document, "history.posts");
        assert!(check["compared_with"].to_string().contains("the restore point"), "{check}");
        assert!(with_status(&document, "pass").contains(&"history.counts".to_owned()), "{document}");
        (check["status"].as_str().unwrap().to_owned(), check["evidence"].to_string())
    };
    let insert = |id: &str, of: &str, values: &str| {
        site.cluster.query(&format!(
            "INSERT INTO posts SELECT (jsonb_populate_record(p, jsonb_build_object('id', {id}, {values}))).* FROM posts p
             WHERE {of}"
        ));
    };
    assert_eq!(look().0, "pass");

    // People go on writing: new messages, and replies that raise `updateat` of old ones.
    let now = "(extract(epoch FROM now()) * 1000)::bigint + 5000";
    let time = format!("'createat', {now}, 'updateat', {now}");
    insert("reverse(p.id)", "p.rootid = ''", &time);
    site.cluster.query(&format!("UPDATE posts SET updateat = {now} WHERE id IN (SELECT postid FROM threads)"));
    let (status, said) = look();
    assert!(status == "pass" && said.contains("100 posts"), "{status}: {said}");

    let victim = "(SELECT min(id) FROM posts WHERE rootid = '' AND createat < 1800000000000)";
    let run = |sql: &str| drop(site.cluster.query(&sql.replace("VICTIM", victim).replace("NOW", now)));
    run("CREATE TABLE kept AS SELECT * FROM posts WHERE id = VICTIM");
    run("UPDATE posts SET message = 'x' WHERE id = VICTIM");
    let (status, said) = look();
    assert!(status == "fail" && said.contains("altered or added"), "{status}: {said}");
    run("DELETE FROM posts WHERE id IN (SELECT id FROM kept)");
    let (status, said) = look();
    assert!(status == "fail" && said.contains("1 message missing"), "{status}: {said}");

    // An edit leaves the old text behind as one more row of the same time. That row is not taken for the lost message.
    let edited = "id = (SELECT max(id) FROM posts WHERE rootid = '' AND createat < 1800000000000)";
    insert("md5(p.id)::char(26)", edited, &format!("'originalid', p.id, 'updateat', {now}, 'deleteat', {now}"));
    run(&format!(
        "UPDATE posts SET message = 'edited', editat = NOW, updateat = NOW WHERE {edited} AND originalid = ''"
    ));
    let (status, said) = look();
    assert!(status == "fail" && said.contains("1 message missing"), "{status}: {said}");
    run("INSERT INTO posts SELECT * FROM kept");
    let (status, said) = look();
    assert!(status == "warn" && said.contains("edited or deleted since"), "{status}: {said}");
}

#[test]
fn a_file_beyond_the_sample_is_missed_only_when_all_are_looked_at() {
    let site = Site::builder("9.11.18").build();
    // Many rows for one file, and one of them, outside the sample and beyond the first ten thousand, for a file that is gone.
    site.cluster.query(
        "INSERT INTO fileinfo SELECT (jsonb_populate_record(f, jsonb_build_object('id', left(md5(n::text), 26)))).*
           FROM fileinfo f, generate_series(1, 10100) AS n WHERE f.id = (SELECT min(id) FROM fileinfo WHERE deleteat = 0);
         UPDATE fileinfo SET path = 'gone' WHERE id = (SELECT max(id) FROM fileinfo WHERE id NOT IN
           (SELECT id FROM fileinfo WHERE deleteat = 0 ORDER BY md5(id) LIMIT 2000))",
    );
    let look = |arguments: &[&str]| {
        let (code, document) = verify(&site, &[&["--only", "history.files"], arguments].concat());
        (code, check_of(&document, "history.files")["evidence"].to_string())
    };
    let total = site.cluster.query("SELECT count(*) FROM fileinfo WHERE deleteat = 0");
    for arguments in [&[][..], &["--files", "sample"]] {
        let (code, said) = look(arguments);
        assert!(code == 0 && said.contains(&format!("2000 of {total} files")), "{code}: {said}");
    }
    let (code, said) = look(&["--files", "all"]);
    assert!(code == 4 && said.contains("gone is missing"), "{code}: {said}");
    assert!(said.contains(&format!("{total} of {total} files")), "{said}");

    site.cluster.query(
        "UPDATE fileinfo SET path = (SELECT max(path) FROM fileinfo WHERE path <> 'gone') WHERE path = 'gone';
         UPDATE posts SET fileids = '[\"aaaaaaaaaaaaaaaaaaaaaaaaaa\"]' WHERE id = (SELECT min(id) FROM posts WHERE deleteat = 0)",
    );
    let (_, document) = verify(&site, &["--only", "history.files"]);
    assert_eq!(with_status(&document, "warn"), ["history.files"], "{document}");
    assert!(complaints(&document)[0].contains("1 attachment of messages without a row"), "{:?}", complaints(&document));
}
