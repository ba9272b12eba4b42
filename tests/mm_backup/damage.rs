//! A damaged restore point is found, whatever is damaged.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

use mm_test_support::site::Site;

use crate::{listed, make, stored, verify};

/// What it is done to, and how.
type Damage<'a> = (&'a str, Box<dyn Fn() + 'a>);

pub(crate) fn flip_a_bit(path: &Path, at: u64) {
    let data = fs::metadata(path).unwrap();
    let mut file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
    // A disk that rots does not touch the times.
    file.set_modified(data.modified().unwrap()).unwrap();
}

#[test]
fn a_flipped_bit_a_missing_file_and_a_truncated_dump_are_found() {
    let site = Site::builder("5.29.0").build();
    let backup = make(&site, &[]);
    let id = backup["id"].as_str().unwrap();
    assert_eq!(verify(&site, &[]).0, 0);
    let point = Path::new(backup["path"].as_str().unwrap());
    let pristine = site.directory().join("pristine");
    let copy = |from: &Path, to: &Path| {
        mm_test_support::process::run("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
    };
    copy(point, &pristine);
    let notice = stored(&site, &backup, "NOTICE.txt");
    let dump = point.join("database/mattermost.dump");
    let damages: [Damage<'_>; 8] = [
        ("NOTICE.txt", Box::new(|| flip_a_bit(&notice, 3))),
        ("NOTICE.txt", Box::new(|| fs::remove_file(&notice).unwrap())),
        ("NOTICE.txt", Box::new(|| fs::write(&notice, "").unwrap())),
        (
            "current",
            Box::new(|| {
                let link = stored(&site, &backup, "custom/current");
                fs::remove_file(&link).unwrap();
                std::os::unix::fs::symlink("/etc", &link).unwrap();
            }),
        ),
        ("mattermost.dump", Box::new(|| flip_a_bit(&dump, 5000))),
        (
            "mattermost.dump",
            Box::new(|| {
                let file = fs::File::options().write(true).open(&dump).unwrap();
                file.set_len(fs::metadata(&dump).unwrap().len() - 1000).unwrap();
            }),
        ),
        ("mattermost.dump", Box::new(|| fs::remove_file(&dump).unwrap())),
        ("manifest.json", Box::new(|| flip_a_bit(&point.join("manifest.json"), 40))),
    ];
    for (what, damage) in damages {
        damage();
        let (code, said) = verify(&site, &[id]);
        // A manifest that cannot be parsed any more is no restore point at all.
        assert!(code == 4 || (what == "manifest.json" && code == 1), "{what}: {code} {said}");
        assert!(said.contains(what) || said.contains(id), "{what} is not named: {said}");
        fs::remove_dir_all(point).unwrap();
        copy(&pristine, point);
        assert_eq!(verify(&site, &[id]).0, 0, "the pristine copy is good");
    }
}

#[test]
fn a_dump_that_reads_well_and_holds_other_rows_is_found_by_restoring_it() {
    let site = Site::builder("5.29.0").build();
    let backup = make(&site, &[]);
    let (code, said) = verify(&site, &["--restore", "-v"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("tables restored and equal"), "{said}");
    // Another dump of the same database, with the digests made to fit: only its rows tell.
    site.cluster.query("UPDATE posts SET message = 'forged' WHERE id = (SELECT min(id) FROM posts)");
    let other = make(&site, &[]);
    let point = Path::new(backup["path"].as_str().unwrap());
    let forged = Path::new(other["path"].as_str().unwrap()).join("database/mattermost.dump");
    fs::copy(&forged, point.join("database/mattermost.dump")).unwrap();
    let digest = |path: &Path| mm_common::contract::digest::of_bytes(&fs::read(path).unwrap());
    let mut text = fs::read_to_string(point.join("manifest.json")).unwrap();
    let start = text.find("\"sha256\": \"").unwrap() + 11;
    text.replace_range(start..start + 64, &digest(&forged));
    fs::write(point.join("manifest.json"), text).unwrap();
    let line = format!("{}  manifest.json\n", digest(&point.join("manifest.json")));
    fs::write(point.join("manifest.json.sha256"), line).unwrap();
    let id = backup["id"].as_str().unwrap();
    assert_eq!(verify(&site, &[id]).0, 0, "without restoring, the forgery is not seen");
    let (code, said) = verify(&site, &[id, "--restore"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("rows of the table public.posts differ"), "{said}");
    let own = fs::read_dir("/var/lib/mm-tools/scratch").unwrap().flatten().filter(|entry| {
        // Others of the same machine may be at it; theirs are alive.
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.split('.').nth(1).unwrap_or_default().to_owned();
        !Path::new("/proc").join(pid).exists()
    });
    assert_eq!(own.count(), 0, "the throw-away server is gone");
}

#[test]
fn the_whole_cluster_is_in_it_when_asked_for_and_is_proven_too() {
    let site = Site::builder("10.5.14").build();
    site.cluster.sql("postgres", "CREATE DATABASE wiki");
    site.cluster.sql("postgres", "CREATE DATABASE closed ALLOW_CONNECTIONS false");
    site.cluster.sql("wiki", "CREATE TABLE pages AS SELECT n FROM generate_series(1, 100) n");
    let alone = make(&site, &[]);
    assert_eq!(alone["databases"], serde_json::json!(["mattermost"]));
    let made = site.tool("mm-backup").arg("--to").arg(site.store()).arg("--whole-cluster").assert().success();
    let said = String::from_utf8_lossy(&made.get_output().stderr).into_owned();
    assert!(said.contains("the database `closed` takes no connections"), "{said}");
    let whole: serde_json::Value = serde_json::from_slice(&made.get_output().stdout).unwrap();
    let whole = whole["backup"].clone();
    assert_eq!(whole["databases"], serde_json::json!(["mattermost", "postgres", "template1", "wiki"]));
    let dump = Path::new(whole["path"].as_str().unwrap()).join("database/other-wiki.dump");
    let listed = Command::new("pg_restore").arg("--list").arg(&dump).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("TABLE public pages"));
    let id = whole["id"].as_str().unwrap();
    let (code, said) = verify(&site, &[id, "--restore"]);
    assert_eq!(code, 0, "{said}");
    flip_a_bit(&dump, 100);
    let (code, said) = verify(&site, &[id]);
    assert!(code == 4 && said.contains("other-wiki.dump"), "{said}");
}

#[test]
fn a_damaged_file_is_never_restored() {
    let site = Site::builder("5.29.0").build();
    let backup = make(&site, &[]);
    flip_a_bit(&stored(&site, &backup, "NOTICE.txt"), 0);
    let before = crate::tree::describe(&site.install());
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("NOTICE.txt"));
    crate::tree::assert_same(&before, &crate::tree::describe(&site.install()));
    let databases = "SELECT count(*) FROM pg_database WHERE datname LIKE '%_mm_%'";
    assert_eq!(site.cluster.sql("postgres", databases).trim(), "0");
    let staging = site.directory().join("opt/.mattermost.mm");
    assert_eq!(fs::read_dir(staging).map_or(0, Iterator::count), 0, "nothing staged is left");
}

#[test]
fn what_is_no_restore_point_is_not_listed_as_one() {
    let site = Site::builder("5.29.0").build();
    let good = make(&site, &[])["id"].as_str().unwrap().to_owned();
    let broken = site.store().join("20200101T000000Z");
    fs::create_dir_all(broken.join("files")).unwrap();
    fs::create_dir_all(site.store().join("lost+found")).unwrap();
    assert_eq!(listed(&site), (vec![good], vec!["20200101T000000Z".to_owned()]));
    assert_eq!(verify(&site, &["20200101T000000Z"]).0, 1);
    assert_eq!(verify(&site, &["nothing"]).0, 5);
    assert_eq!(verify(&site, &["../../etc"]).0, 2);
}

#[test]
fn of_a_damaged_restore_point_everything_whole_is_restored_and_the_rest_is_named() {
    let site = Site::builder("5.29.0").build();
    let backup = make(&site, &[]);
    let notice = stored(&site, &backup, "NOTICE.txt");
    let pristine = fs::read(&notice).unwrap();
    flip_a_bit(&notice, 3);
    fs::remove_file(stored(&site, &backup, "README.md")).unwrap();
    let run = |flags: &[&str]| {
        let mut command = site.tool("mm-backup");
        let output = command.arg("--to").arg(site.store()).args(["restore", "latest", "--files"]).args(flags).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let into = site.directory().join("into");
    let into_flags = ["--into", into.to_str().unwrap()];
    let restored = into.join(site.install().strip_prefix("/").unwrap());
    for (damaged, missing) in [(2, vec!["NOTICE.txt", "README.md"]), (1, vec!["README.md"])] {
        let (code, said) = run(&into_flags);
        assert_eq!(code, Some(7), "{said}");
        assert!(said.contains(&format!("but for {damaged} file")), "{said}");
        let there = crate::tree::describe(&restored);
        for (name, entry) in crate::tree::describe(&site.install()) {
            let is_missing = missing.iter().any(|missing| name == Path::new(missing));
            assert_eq!(there.get(&name), (!is_missing).then_some(&entry), "{name:?}");
            assert!(!is_missing || said.contains(&format!("/{}`", name.display())), "{name:?}: {said}");
        }
        // Somebody has found a good copy of one.
        fs::write(&notice, &pristine).unwrap();
    }
    fs::write(stored(&site, &backup, "README.md"), fs::read(site.install().join("README.md")).unwrap()).unwrap();
    assert_eq!(run(&into_flags).0, Some(0));
    crate::tree::assert_same(&crate::tree::describe(&site.install()), &crate::tree::describe(&restored));
    assert_eq!(run(&into_flags).0, Some(5), "all of it is there already");

    // Into place only who says so.
    flip_a_bit(&notice, 3);
    let before = crate::tree::describe(&site.install());
    let (code, said) = run(&[]);
    assert!(code == Some(1) && said.contains("--accept damaged-files"), "{said}");
    crate::tree::assert_same(&before, &crate::tree::describe(&site.install()));
    let (code, said) = run(&["--accept", "damaged-files"]);
    assert!(code == Some(7) && said.contains("NOTICE.txt"), "{said}");
    assert!(!site.install().join("NOTICE.txt").exists() && site.install().join("README.md").exists());
}

#[test]
fn a_restore_elsewhere_that_fails_leaves_nothing() {
    let site = Site::builder("5.29.0").build();
    make(&site, &[]);
    let place = site.directory().join("small");
    fs::create_dir(&place).unwrap();
    // Too few bytes are seen before; that no further file can be made is seen when it happens.
    for (limit, code) in [("size=300k", 5), ("size=64m,nr_inodes=20", 1)] {
        mm_test_support::process::run("mount", &["-t", "tmpfs", "-o", limit, "none", place.to_str().unwrap()]);
        let mut command = site.tool("mm-backup");
        command.arg("--to").arg(site.store()).args(["restore", "latest", "--files", "--into"]).arg(place.join("into"));
        let output = command.output().unwrap();
        let left = fs::read_dir(&place).unwrap().count();
        mm_test_support::process::run("umount", &[place.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(code), "{limit}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(left, 0, "{limit}");
    }
}

/// The CHECK asks for the key of its own table, which is made after the rows: such a database does not come back from any dump.
#[test]
fn a_database_that_does_not_restore_by_itself_is_not_blamed_on_the_disk() {
    let site = Site::builder("10.5.14").build();
    site.cluster.query(
        "CREATE FUNCTION known(text) RETURNS boolean LANGUAGE plpgsql AS
         $$ BEGIN RETURN EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = 'public.aa_said'::regclass AND contype = 'p'); END $$;
         CREATE TABLE aa_said (word text PRIMARY KEY CHECK (known(word))); INSERT INTO aa_said VALUES ('a');
         ALTER TABLE aa_said OWNER TO mmuser; ALTER FUNCTION known(text) OWNER TO mmuser",
    );
    make(&site, &[]);
    assert_eq!(verify(&site, &[]).0, 0);
    let (code, said) = verify(&site, &["--restore"]);
    assert_eq!(code, 4, "{said}");
    for word in ["does not come back as it was", "aa_said", "no disk is the cause"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}
