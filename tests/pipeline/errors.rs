//! What goes wrong most often, and what is said then: what, where, why, and a next step.

use std::process::Output;

use mm_test_support::process::{PATH, free_port, run};
use mm_test_support::site::Site;
use mm_test_support::tool;
use mm_test_support::upgrade::SCRIPTS;
use serde_json::json;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_flag_of_another_verb_and_a_mistyped_one_are_named() {
    for (name, words, hint) in [
        ("mm-swap", &["prune", "--database"][..], "--database is a flag of mm-swap rollback"),
        ("mm-swap", &["status", "--databse"], "--database, a flag of mm-swap rollback, may be meant"),
        ("mm-backup", &["list", "--keep-dayly", "7"], "--keep-daily, a flag of mm-backup"),
        ("mm-verify", &["baseline", "--fix", "x"], "--fix is a flag of mm-verify repair"),
    ] {
        let output = tool::tool(name).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(hint), "{words:?}: {}", said(&output));
    }
}

#[test]
fn a_broken_document_is_shown_where_it_breaks() {
    let text = "{\n  \"schema\": \"mm.upgrade/1\",\n  \"run\": {\"id\": \"x\",, \"dry_run\": false}\n}\n";
    let output = tool::tool("mm-swap").write_stdin(text).output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    assert!(said(&output).contains("line 3 column") && said(&output).contains("there stands `"), "{}", said(&output));
    assert!(said(&output).contains(",, \"dry_run\""), "{}", said(&output));
}

#[test]
fn a_store_that_cannot_be_written_and_a_point_that_is_not_there_are_told_with_what_to_do() {
    let site = Site::builder("10.5.12").build();
    let backup = |words: &[&str]| {
        let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(words).output().unwrap();
        (output.status.code(), said(&output), output)
    };
    let (code, text, output) = backup(&["create"]);
    assert_eq!(code, Some(0), "{text}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = document["backup"]["id"].as_str().unwrap().to_owned();
    let typed = format!("{}8Z", &id[..id.len() - 2]);
    let wrong = if typed == id { format!("{}7Z", &id[..id.len() - 2]) } else { typed };
    let (code, text, _) = backup(&["verify", &wrong]);
    assert_eq!(code, Some(5), "{text}");
    let list = format!("the nearest is {id}; mm-backup list --to {} --install ", site.store().display());
    assert!(text.contains(&list) && text.contains(" shows all"), "{text}");

    let store = site.store();
    let store = store.to_str().unwrap();
    run("mount", &["--bind", store, store]);
    run("mount", &["-o", "remount,ro,bind", store]);
    let (code, text, _) = backup(&["create"]);
    run("umount", &[store]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("Read-only file system") && text.contains(&format!("findmnt --target {store}")), "{text}");
}

/// What people keep backups on: a full disk, a stick, a share, a disk that is not mounted.
#[test]
fn a_store_on_the_wrong_file_system_is_refused_before_anything_is_stopped() {
    let site = Site::builder("10.5.12").running().build();
    let store = site.store();
    std::fs::create_dir(&store).unwrap();
    let word = store.to_str().unwrap();
    let flags = [&site.flags()[..], &["--to".into(), word.into(), "--stop".into()]].concat();
    let refused = |what: &str, command: &mut std::process::Command, words: &[&str]| {
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(5), "{what}: {said}");
        for words in words {
            assert!(said.contains(words), "{what}: `{words}`: {said}");
        }
        assert!(site.answers(), "{what}: {said}");
        assert!(std::fs::read_dir(&store).unwrap().next().is_none(), "{what}: something is left in {word}");
    };
    let backup = || {
        let mut command = std::process::Command::new(tool::executable("mm-backup"));
        command.args(&flags).env_clear().env("PATH", PATH);
        command
    };

    run("mount", &["-t", "tmpfs", "-o", "mode=700,size=200k", "tmpfs", word]);
    let full = std::panic::catch_unwind(|| {
        refused("full", &mut backup(), &["are needed, 204800 are free", "mm-backup prune", "another store with --to"]);
    });
    run("umount", &[word]);
    full.unwrap();

    // No links, as on a stick; no owners, as on a share.
    let traced = |call: &str, error: &str, flags: &[String]| {
        let mut traced = std::process::Command::new("strace");
        traced.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
        traced.args(["-e", &format!("inject={call}:error={error}")]).arg(tool::executable("mm-backup")).args(flags);
        traced
    };
    for (call, error, lacks) in [
        ("symlinkat", "EPERM", "it does not keep links"),
        ("utimensat", "EPERM", "it does not keep owners, modes and times"),
        ("linkat", "EIO", "it does not keep hard links"),
    ] {
        refused(
            call,
            traced(call, error, &flags).env_clear().env("PATH", PATH),
            &["cannot hold restore points", lacks, "give a store on a file system of Linux", "no_root_squash"],
        );
    }

    // Nothing is written into the empty directory below a disk that is not there.
    let table = site.directory().join("fstab");
    std::fs::write(&table, format!("UUID=1 / ext4 defaults 0 1\nUUID=2 {word} ext4 noauto 0 2\n")).unwrap();
    let script = "touch /etc/fstab; mount --bind \"$0\" /etc/fstab && exec \"$@\"";
    let mut alone = std::process::Command::new("unshare");
    alone.args(["--mount", "bash", "-c", script]).arg(&table).arg(tool::executable("mm-backup")).args(&flags);
    let hint = format!("mount {word}");
    refused("not mounted", alone.env_clear().env("PATH", PATH), &["is not mounted", "/etc/fstab names one", &hint]);
    // Without hard links a store only takes more room.
    // Hot: strace would follow a server that is started.
    let mut without = traced("linkat", "EPERM", &flags[..flags.len() - 1]);
    let output = without.env_clear().env("PATH", PATH).stdin(std::process::Stdio::null()).output().unwrap();
    assert!(output.status.success() && said(&output).contains("has no hard links"), "{}", said(&output));
    // The one line of a night says it too.
    let mut nightly = [&flags[..flags.len() - 1], &["--format".into(), "human".into()]].concat();
    nightly.insert(0, "create".into());
    let mut without = traced("linkat", "EPERM", &nightly);
    let output = without.env_clear().env("PATH", PATH).stdin(std::process::Stdio::null()).output().unwrap();
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(line.contains("no hard links there") && line.lines().count() == 1, "{line}{}", said(&output));
    assert!(backup().output().unwrap().status.success());
}

#[test]
fn a_mirror_that_is_out_of_reach_is_told_with_how_to_look_at_it() {
    let place = tempfile::tempdir().unwrap();
    let (cache, empty) = (place.path().join("cache"), place.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let url = format!("http://127.0.0.1:{}", free_port());
    let (cache, empty) = (cache.to_str().unwrap(), empty.to_str().unwrap());
    for (flags, code, words) in [
        (
            &["--mirror", &url][..],
            1,
            &["Connection refused", "curl -sSI http://127.0.0.1:", "--from-bundle DIR here"][..],
        ),
        (&["--mirror", empty], 5, &["10.6.1 is unavailable", "is not there", "put it there, as VERSION/FILE"]),
        (&["--mirror", "/no/such"], 2, &["`/no/such` is not a directory", "give an http or https address"]),
        (&["--from-bundle", "/no/such"], 2, &["`/no/such` is not a directory", "mm-fetch --bundle has made"]),
        (&["--offline"], 5, &["--offline forbids to download it", "leave --offline out"]),
    ] {
        let mut command = tool::tool("mm-fetch");
        command.args(["10.6.1", "--edition", "team", "--cache", cache, "--document", "none"]).args(flags);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {}", said(&output));
        for words in words {
            assert!(said(&output).contains(words), "{flags:?}: `{words}`: {}", said(&output));
        }
    }
}

/// A verb or an option of the script that was mistyped, and values that are none.
#[test]
fn a_mistyped_word_for_mm_upgrade_is_told_with_the_one_that_may_be_meant() {
    for (words, code, hint) in [
        (&["resme"][..], 2, "resume may be meant; the verbs are run, resume, rollback and status"),
        (&["run", "--polcy", "esr"], 2, "--policy may be meant"),
        (&["strat"], 2, "hint: the verbs are run, resume, rollback and status"),
        (&["run"], 2, "mm-upgrade run --to latest-esr --dry-run"),
        (&["run", "--to"], 2, "--to needs a value"),
        (&["run", "--to", "10.6.1", "--window", "2-5"], 2, "--window '2-5' is no time of day from HH:MM to HH:MM"),
        (&["run", "--to", "10.6.1", "--window", "22:00"], 2, "for example: --window 02:00-05:00"),
        (&["run", "--to", "10.6.1", "--watch", "5m"], 2, "for example: --watch 300"),
        (&["run", "--to", "10.6.1", "--on-failure", "pray"], 2, "for example: --on-failure rollback"),
        (&["status", "--format", "xml"], 2, "for example: --format json"),
        (&["resume", "--dry-run"], 2, "what comes next of a run: mm-upgrade status"),
    ] {
        let script = format!("exec {SCRIPTS}/mm-upgrade \"$@\"");
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &script, "mm-upgrade"]).args(words).env_clear();
        command.env("PATH", format!("{}:{PATH}", tool::directory().display()));
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", said(&output));
        assert!(said(&output).contains(hint), "{words:?}: {}", said(&output));
    }
}

#[test]
fn a_database_that_is_down_a_wrong_password_and_a_wrong_host_are_told_apart() {
    let site = Site::builder("10.5.12").build();
    let source = site.config()["SqlSettings"]["DataSource"].as_str().unwrap().to_owned();
    let (head, rest) = source.split_once('@').unwrap();
    let (_, tail) = rest.split_once('/').unwrap();
    let port = site.cluster.port;
    let (scheme_and_user, _) = head.rsplit_once(':').unwrap();
    for (wrong, hint) in [
        (format!("{head}@127.0.0.1:{}/{tail}", free_port()), "PostgreSQL does not run there"),
        (format!("{scheme_and_user}:wrong@127.0.0.1:{port}/{tail}"), "is not that of the role"),
        (format!("{head}@no-such-host.invalid:{port}/{tail}"), "getent hosts no-such-host.invalid"),
        (format!("{head}@127.0.0.1:{port}/nothing?sslmode=disable"), "psql -l"),
    ] {
        site.set("SqlSettings", "DataSource", json!(wrong));
        let output = site.tool("mm-pgbump").args(["check", "--to", "15"]).output().unwrap();
        let said = said(&output);
        assert!(!output.status.success() && said.contains(hint), "{wrong}: {said}");
        assert!(!said.contains("wrong@"), "{said}");
    }
}
