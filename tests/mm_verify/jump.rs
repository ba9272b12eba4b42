//! mm-verify after a jump over the releases that fill the columns: what it names, what a browser sees, what it fixes.

use crate::lab::{complaints, jump, look, verify, with_status};
use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::Value;

#[test]
fn a_browser_sees_teams_and_text_boxes_on_a_good_server_and_not_after_a_jump() {
    let site = Site::builder("5.29.0").running().build();
    let browser = ["browser.open", "browser.teams", "browser.post", "browser.reply"];
    let (code, document) = look(&site, &["--only", "browser"]);
    assert_eq!((code, complaints(&document)), (0, vec![]), "{document}");
    for check in browser {
        assert!(with_status(&document, "pass").iter().any(|id| id == check), "{check}: {document}");
    }
    let pictures = process::run("find", &[site.state().to_str().unwrap(), "-name", "*.png"]);
    assert_eq!(pictures.lines().count(), 4, "{pictures}");
    for picture in pictures.lines() {
        assert!(document.to_string().contains(picture), "{picture} is not named");
        assert!(std::fs::read(picture).unwrap().starts_with(b"\x89PNG"), "{picture}");
    }

    jump(&site);
    let (code, document) = look(&site, &["--only", "browser"]);
    assert_eq!(code, 4);
    assert!(with_status(&document, "fail").contains(&"browser.open".to_owned()), "{:#?}", complaints(&document));
    assert!(document["error"].to_string().contains("/select_team"), "{}", document["error"]);

    site.tool("mm-verify").args(["repair", "--fix", "null-counts"]).assert().success();
    let (code, document) = look(&site, &["--only", "browser"]);
    assert_eq!((code, complaints(&document)), (0, vec![]));
    assert_eq!(site.cluster.query("SELECT count(*) FROM users WHERE username LIKE 'mm-verify-%'"), "0");
    assert!(process::run("sh", &["-c", "ls -d /tmp/mm-verify-browser-* 2>/dev/null | wc -l"]).trim() == "0");
}

/// Columns that a jump leaves empty, with what identifies their rows, in one digest.
fn counts_digest(site: &Site) -> String {
    site.cluster.query(
        "SELECT md5(string_agg(line, ',' ORDER BY line COLLATE \"C\")) FROM (
           SELECT concat_ws('|', 'm', channelid, userid, coalesce(mentioncountroot, -1), coalesce(msgcountroot, -1)) AS line
             FROM channelmembers UNION ALL
           SELECT concat_ws('|', 'c', id, coalesce(totalmsgcountroot, -1)) FROM channels UNION ALL
           SELECT concat_ws('|', 't', postid, userid, coalesce(unreadmentions, -1)) FROM threadmemberships UNION ALL
           SELECT concat_ws('|', 's', id, coalesce(muted::text, '-'), coalesce(collapsed::text, '-')) FROM sidebarcategories
             UNION ALL
           SELECT concat_ws('|', 'd', table_name, column_name, coalesce(column_default, '-')) FROM information_schema.columns
             WHERE table_schema = 'public' AND column_name IN ('mentioncountroot', 'msgcountroot', 'totalmsgcountroot',
               'unreadmentions', 'muted', 'collapsed', 'remoteid', 'reqfileid')) AS x",
    )
}

#[test]
fn a_jump_is_named_and_repaired_with_the_real_counts_and_the_way_back_is_exact() {
    let site = Site::builder("5.29.0").running().build();
    jump(&site);
    let (code, document) = verify(&site, &[]);
    assert_eq!(code, 4);
    let failed = with_status(&document, "fail");
    for check in ["database.nulls", "users.members", "users.categories", "users.unread", "users.threads"] {
        assert!(failed.iter().any(|id| id == check), "{check}: {:#?}", complaints(&document));
    }
    for check in ["server.ping", "users.me", "users.teams", "users.post", "history.threads"] {
        assert!(!failed.iter().any(|id| id == check), "{check}: {:#?}", complaints(&document));
    }
    let words = complaints(&document).join("\n");
    assert!(words.contains("channelmembers.mentioncountroot is NULL in") && words.contains("alice"), "{words}");
    assert!(words.contains("younger than 5.35"), "{words}");
    let hint = document["error"]["hint"].as_str().unwrap();
    assert!(hint.starts_with("mm-verify repair ") && hint.ends_with(" --fix null-counts"), "{hint}");

    let before = counts_digest(&site);
    let dry = site.tool("mm-verify").args(["repair", "--fix", "null-counts", "--dry-run"]).assert().success();
    let script = String::from_utf8_lossy(&dry.get_output().stdout).into_owned();
    assert!(script.contains("UPDATE channelmembers") && script.contains("SET DEFAULT 0"), "{script}");
    assert_eq!(counts_digest(&site), before);

    site.tool("mm-verify").args(["repair", "--fix", "null-counts"]).assert().success();
    let (code, document) = verify(&site, &[]);
    assert_eq!((code, complaints(&document)), (0, vec![]));
    let wrong = "SELECT count(*) FROM channels c WHERE totalmsgcountroot <> \
                 (SELECT count(*) FROM posts p WHERE p.channelid = c.id AND p.rootid = '')";
    assert_eq!(site.cluster.query(wrong), "0");
    // The server heals without a restart: the same calls as before answer now, and nothing is left to repair.
    let nothing = site.tool("mm-verify").args(["repair", "--fix", "all", "--format", "json"]).assert().success();
    let nothing: Value = serde_json::from_slice(&nothing.get_output().stdout).unwrap();
    assert_eq!((&nothing["msg"], &nothing["changed"]), (&"nothing to repair".into(), &false.into()));

    let state = process::run("find", &[site.state().to_str().unwrap(), "-name", "undo-*.sql"]);
    let undo = std::fs::read_to_string(state.trim()).unwrap();
    site.cluster.query(&undo);
    assert_eq!(counts_digest(&site), before);
}

#[test]
fn a_repair_that_meets_a_lock_changes_nothing_and_says_so() {
    let site = Site::builder("9.11.18").build();
    site.cluster
        .query("ALTER TABLE channels ALTER lastrootpostat DROP NOT NULL; UPDATE channels SET lastrootpostat = NULL");
    let mut locker = std::process::Command::new(mm_test_support::cluster::psql())
        .args(["-XAtqd", &site.cluster.url()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = locker.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"BEGIN; LOCK TABLE channels IN SHARE MODE; SELECT 1;\n").unwrap();
    let mut one = [0];
    std::io::Read::read_exact(locker.stdout.as_mut().unwrap(), &mut one).unwrap();
    let assert = site.tool("mm-verify").args(["repair", "--fix", "last-root-post"]).assert().code(1);
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("lock timeout") && said.contains("hint: nothing was changed"), "{said}");
    drop(stdin);
    locker.wait().unwrap();
    assert_eq!(site.cluster.query("SELECT count(*) FROM channels WHERE lastrootpostat IS NOT NULL"), "0");
    site.tool("mm-verify").args(["repair", "--fix", "last-root-post"]).assert().success();
    assert_eq!(site.cluster.query("SELECT count(*) FROM channels WHERE lastrootpostat IS NULL"), "0");
}
