//! A private copy of a site: it serves, reaches nothing but its own, and goes away without a trace.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Output;

use mm_test_support::asked::{Asked, nothing_is_open};
use mm_test_support::cluster;
use mm_test_support::process::{self, TEST_USER, ids};
use mm_test_support::site::Site;
use mm_test_support::tool::{self, PACE};
use mm_test_support::watchdog::Cleanup;
use serde_json::{Value, json};

use crate::make;

/// A site with a restore point, and the directory of a copy of it. What a failed test leaves of that goes, too.
struct Original {
    site: Site,
    id: String,
    _cleanup: Cleanup,
}

impl Original {
    fn of(site: Site, flags: &[&str]) -> Self {
        let id = make(&site, flags)["id"].as_str().unwrap().to_owned();
        let state = site.state();
        // Its name is in the record of root's.
        let removal = format!(
            "for n in $(cat {0}/copy-*/copy.json 2>/dev/null | grep -o 'mmcopy[0-9a-f]*'); do \
             for d in /var/lib/postgresql/*/$n; do [ -d $d ] && pg_dropcluster --stop $(basename $(dirname $d)) $n; done; \
             rm -rf /var/lib/mm-tools/copies/$n; done",
            state.display()
        );
        Self { site, id, _cleanup: Cleanup::with(removal) }
    }

    fn place(&self) -> PathBuf {
        self.site.directory().join("copy")
    }

    fn run(&self, flags: &[&str], checkpoint: &str) -> Output {
        let mut command = tool::tool("mm-backup");
        command.arg("copy").args(flags).arg("--to").arg(self.site.store()).arg("--state-dir").arg(self.site.state());
        command.env("MM_CHECKPOINT", checkpoint).output().unwrap()
    }

    /// Makes or starts it, and returns what the document says of it.
    fn copy(&self, flags: &[&str]) -> Value {
        let into = self.place();
        let output = self.run(&[flags, &["--into", into.to_str().unwrap()]].concat(), "");
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["copy"].clone()
    }

    fn refused(&self, flags: &[&str], word: &str) {
        let output = self.run(flags, "");
        let said = said(&output);
        assert!(output.status.code() == Some(5) && said.contains(word) && said.contains("hint:"), "{word}: {said}");
    }

    /// Clusters and records that are left.
    fn left(&self) -> Vec<String> {
        let record = fs::read_dir(self.site.state()).into_iter().flatten().flatten();
        let mut left: Vec<String> = record
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("copy-"))
            .collect();
        left.extend(self.place().symlink_metadata().is_ok().then(|| "files".to_owned()));
        left
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn answers(url: &str) -> bool {
    process::run("bash", &["-c", &format!("curl -s -o /dev/null -w '%{{http_code}}' {url}/api/v4/system/ping || true")])
        == "200"
}

/// A configuration that names what a real one does.
fn with_the_world(site: &Site) {
    site.set("EmailSettings", "SMTPServer", json!("mail.example.com"));
    site.set("EmailSettings", "PushNotificationServer", json!("https://push.example.com"));
    site.set("LdapSettings", "LdapServer", json!("ldap.example.com"));
    site.set("SqlSettings", "DataSourceReplicas", json!(["postgres://u:p@replica.example.com/mm"]));
    site.set("ServiceSettings", "SiteURL", json!("https://chat.example.com"));
    site.set("LogSettings", "FileLocation", json!("/var/log/mattermost"));
    let variables = site.install().join("config/mattermost.environment");
    // Of the server's user, who says in vain whom a copy of his server is to run as.
    fs::write(&variables, "MM_EMAILSETTINGS_SMTPSERVER=relay.example.com\nUser=postgres\nGroup=postgres\n").unwrap();
    let rows = "INSERT INTO sessions (id, token, createat, expiresat, lastactivityat, userid, deviceid, roles, isoauth, props) \
         SELECT 's' || n, 't' || n, 1, 9999999999999, 1, (SELECT min(id) FROM users), '', '', false, '{}' FROM generate_series(1, 3) n;
       INSERT INTO incomingwebhooks (id, createat, updateat, deleteat, userid, channelid, teamid, displayname, description, username, iconurl, channellocked) \
         VALUES ('hook', 1, 1, 0, '', '', '', '', '', '', '', false)";
    site.cluster.query(rows);
}

#[test]
fn a_copy_serves_reaches_nothing_but_its_own_and_leaves_nothing() {
    let site = Site::builder("10.5.14").build();
    with_the_world(&site);
    let original = Original::of(site, &[]);
    let site = &original.site;
    let into = original.place();
    let into = into.to_str().unwrap();
    let before = site.cluster.sql("postgres", "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1");

    let copy = original.copy(&[]);
    assert_eq!((&copy["id"], &copy["user"]), (&json!(original.id), &json!(TEST_USER)), "{copy}");
    let url = copy["url"].as_str().unwrap();
    assert!(answers(url) && url.starts_with("http://127.0.0.1:"), "{url}");
    let root = PathBuf::from(copy["install"].as_str().unwrap());
    let config: Value = serde_json::from_slice(&fs::read(root.join("config/config.json")).unwrap()).unwrap();
    assert!(!root.join("config/mattermost.environment").exists());
    for gone in ["chat.example.com", "mail.example.com", "push.example", "ldap.example", "replica.example", "Tr0ub4dor"]
    {
        assert!(!config.to_string().contains(gone), "{gone}");
    }
    for (section, key) in [
        ("JobSettings", "RunScheduler"),
        ("ImageProxySettings", "Enable"),
        ("PluginSettings", "Enable"),
        ("PluginSettings", "EnableMarketplace"),
        ("AnnouncementSettings", "AdminNoticesEnabled"),
        ("ConnectedWorkspacesSettings", "EnableSharedChannels"),
    ] {
        assert_eq!(config[section][key], json!(false), "{section}.{key}");
    }

    // Its database: everything but what lets others in, with a password of its own, on loopback, of the tools' user.
    let source = config["SqlSettings"]["DataSource"].as_str().unwrap();
    let ask = |sql: &str| {
        process::run(
            mm_test_support::cluster::psql().to_str().unwrap(),
            &["-XAtc", sql, &source.replace("&connect_timeout=10", "")],
        )
    };
    assert_eq!(ask("SELECT count(*) FROM posts").trim(), site.cluster.query("SELECT count(*) FROM posts"));
    assert_eq!(ask("SELECT count(*) FROM sessions").trim(), "0");
    assert_eq!(ask("SELECT count(*) FROM incomingwebhooks WHERE deleteat = 0").trim(), "0");
    assert_eq!(ask("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").trim(), "f");
    assert_eq!(ask("SHOW listen_addresses").trim(), "localhost");
    let name = copy["cluster"].as_str().unwrap();
    let data = fs::metadata(format!("/var/lib/postgresql/13/{name}")).unwrap();
    assert_eq!(data.uid(), ids("mm-tools").0);
    assert_eq!(
        fs::read_to_string(format!("/etc/postgresql/13/{name}/start.conf")).unwrap().lines().last(),
        Some("manual")
    );

    // The directory is root's, and closed to everybody but the server's group.
    let data = fs::metadata(into).unwrap();
    assert_eq!((data.uid(), data.gid(), data.mode() & 0o7777), (0, ids(TEST_USER).1, 0o710));
    for above in root.ancestors().skip(1).take_while(|above| above.starts_with(into)) {
        assert_eq!(fs::metadata(above).unwrap().mode() & 0o007, 0, "{}", above.display());
    }

    original.refused(&["--into", site.directory().join("opt").to_str().unwrap()], "is there already");
    original.refused(&["20200101T000000Z", "--into", into], "holds a copy of");
    let output = original.run(&["--stop", into], "");
    assert_eq!((output.status.code(), answers(url)), (Some(0), false), "{}", said(&output));
    assert!(process::running_below(original.place().as_path()).is_empty());
    assert_eq!(original.copy(&[])["url"], copy["url"], "it is started again as it was");
    assert!(answers(url));

    // Its directory has gone to another place: its database is not taken for a leftover.
    let away = site.directory().join("away");
    fs::rename(into, &away).unwrap();
    original.refused(&["--into", into], "has lost its files");
    fs::create_dir(into).unwrap();
    original.refused(&["--remove", into], "is not the directory that was made for the copy");
    fs::remove_dir(into).unwrap();
    fs::rename(&away, into).unwrap();

    // Somebody leads it back to the original, through the console of the server or in the file.
    assert_eq!(original.run(&["--stop", into], "").status.code(), Some(0));
    let lead = |to: &str| {
        let path = root.join("config/config.json");
        let mut config = config.clone();
        config["SqlSettings"]["DataSource"] = json!(to);
        fs::write(path, config.to_string()).unwrap();
    };
    lead(&site.cluster.url());
    original.refused(&["--into", into], "SqlSettings.DataSource is not a database of the copy");
    lead(source);
    original.copy(&[]);

    let output = original.run(&["--remove", into], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!((original.left(), cluster::majors_of(name)), (Vec::new(), Vec::new()));
    assert!(!PathBuf::from("/var/lib/mm-tools/copies").join(name).exists());
    let of_it =
        format!("ls -d /run/*{name}* /var/log/postgresql/*{name}* /var/lib/postgresql/*/{name} 2>/dev/null | wc -l");
    assert_eq!(process::run("bash", &["-c", &of_it]).trim(), "0");
    assert_eq!(original.run(&["--remove", into], "").status.code(), Some(0), "there is nothing to remove any more");
    fs::create_dir(into).unwrap();
    original.refused(&["--remove", into], "is no copy that mm-backup has made");
    assert_eq!(site.cluster.sql("postgres", "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1"), before);
    assert_eq!(site.cluster.query("SELECT count(*) FROM sessions WHERE id LIKE 's_'"), "3");
}

#[test]
fn what_a_copy_cannot_be_made_of_is_refused_and_nothing_is_left() {
    let site = Site::builder("10.5.14").build();
    site.set("FileSettings", "DriverName", json!("amazons3"));
    site.set("FileSettings", "AmazonS3Bucket", json!("live"));
    let original = Original::of(site, &["--no-data"]);
    let site = &original.site;
    let into = original.place();
    let into = into.to_str().unwrap();
    original.refused(&["--into", into], "the uploaded files are not in the restore point");
    assert_eq!(original.left(), Vec::<String>::new());

    // A directory of somebody else's, who could exchange the copy; and one that the server's user cannot get to.
    let others = site.directory().join("others");
    fs::create_dir(&others).unwrap();
    let (uid, gid) = ids(TEST_USER);
    std::os::unix::fs::chown(&others, Some(uid), Some(gid)).unwrap();
    original.refused(&["--into", others.join("copy").to_str().unwrap()], "no copy is made below");
    let closed = site.directory().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    original.refused(&["--into", closed.join("copy").to_str().unwrap()], "could not get to");
    assert_eq!(original.run(&["--into", into, "--stop", into], "").status.code(), Some(2));
    assert_eq!(original.run(&[], "").status.code(), Some(2));
    assert_eq!(original.left(), Vec::<String>::new());

    // As wanted: without the uploads, and without the bucket.
    let output = original.run(&["--into", into, "--dry-run", "--accept", "missing-uploads"], "");
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["plan"]["mm-backup"]["copy"]["uid"], json!(uid), "{plan}");
    assert_eq!(original.left(), Vec::<String>::new());
    let copy = original.copy(&["--accept", "missing-uploads", "--keep-sessions"]);
    let root = PathBuf::from(copy["install"].as_str().unwrap());
    let config: Value = serde_json::from_slice(&fs::read(root.join("config/config.json")).unwrap()).unwrap();
    assert_eq!(
        (&config["FileSettings"]["DriverName"], &config["FileSettings"]["AmazonS3Bucket"]),
        (&json!("local"), &json!(""))
    );
    assert_eq!(original.run(&["--remove", into], "").status.code(), Some(0));
}

/// Killed at this point, whatever is left is removed, or, where it `repeats`, the next run makes the copy.
fn is_killed_at(original: &Original, checkpoint: &str, repeats: bool) {
    let into = original.place();
    let into = into.to_str().unwrap();
    let output = original.run(&["--into", into], checkpoint);
    assert_eq!(output.status.code(), None, "{checkpoint}: {}", said(&output));
    let record = fs::read_dir(original.site.state()).unwrap().flatten();
    let record = record.map(|entry| entry.path().join("copy.json")).find(|path| path.exists()).unwrap();
    let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    let name = record["cluster"].as_str().unwrap().to_owned();
    if repeats {
        let copy = original.copy(&[]);
        assert!(answers(copy["url"].as_str().unwrap()), "{checkpoint}");
    } else {
        // One that is killed while it removes is finished by the next.
        assert_eq!(original.run(&["--remove", into], "copy-cluster-removed").status.code(), None);
    }
    let output = original.run(&["--remove", into], "");
    assert_eq!(output.status.code(), Some(0), "{checkpoint}: {}", said(&output));
    assert_eq!((original.left(), cluster::majors_of(&name)), (Vec::new(), Vec::new()), "{checkpoint}");
}

#[test]
fn a_copy_that_was_cut_off_is_removed_or_made_anew() {
    let original = Original::of(Site::builder("10.5.14").build(), &[]);
    is_killed_at(&original, "copy-configured", false);
    is_killed_at(&original, "copy-files", true);
}

/// Whoever asks has nothing to wait for, what is half-made is named with what removes it, and the site itself is not touched.
#[test]
fn asked_while_it_makes_a_copy_it_makes_it_or_the_next_run_does() {
    let original = Original::of(Site::builder("10.5.14").running().build(), &[]);
    let site = &original.site;
    let (into, store, pids) = (original.place(), site.store().display().to_string(), site.pids());
    let into = into.to_str().unwrap();
    let asked = Asked::of(site, "mm-backup", &["copy", "--into", into, "--to", &store]);
    let remove = |at: &str| {
        let output = original.run(&["--remove", into], "");
        assert_eq!(output.status.code(), Some(0), "{at}: {}", said(&output));
        assert_eq!(original.left(), Vec::<String>::new(), "{at}");
    };
    let checkpoints = asked.checkpoints();
    remove("undisturbed");
    asked.at_each(&checkpoints, |ended| {
        // The copy lies below the directory of the site: its server is one of those, too.
        assert!(pids.iter().all(|pid| site.pids().contains(pid)), "{}: {}", ended.at, ended.said);
        assert!(ended.code == 0 || !ended.said.contains("nothing has been begun"), "{}: {}", ended.at, ended.said);
        nothing_is_open(site, &ended.at);
        let copy = original.copy(&[]);
        assert!(answers(copy["url"].as_str().unwrap()), "{}", ended.at);
        remove(&ended.at);
    });
}

#[test]
#[ignore = "long: every step of a copy"]
fn a_copy_is_killed_at_every_step() {
    let original = Original::of(Site::builder("10.5.14").build(), &[]);
    let steps = ["recorded", "files", "cluster", "database", "configured", "complete"];
    for checkpoint in steps.map(|step| format!("copy-{step}")).iter().map(String::as_str).chain(["database-created"]) {
        is_killed_at(&original, checkpoint, false);
        is_killed_at(&original, checkpoint, true);
    }
}

#[test]
fn without_postgresql_common_it_has_a_private_cluster() {
    let original = Original::of(Site::builder("10.5.14").build(), &[]);
    let into = original.place();
    // What is in its place is no program: as if it were not installed.
    let hidden = "mount --bind /dev/null /usr/bin/pg_createcluster && exec \"$@\"";
    let tool = tool::executable("mm-backup");
    let run = |flags: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "bash", "-c", hidden, "bash"]).arg(&tool).arg("copy").args(flags);
        command.arg("--to").arg(original.site.store()).arg("--state-dir").arg(original.site.state());
        command.env_clear().env("PATH", process::PATH).env(PACE.0, PACE.1).output().unwrap()
    };
    let into = into.to_str().unwrap();
    let output = run(&["--into", into]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let copy = serde_json::from_slice::<Value>(&output.stdout).unwrap()["copy"].clone();
    let name = copy["cluster"].as_str().unwrap();
    assert_eq!(cluster::majors_of(name), Vec::<u32>::new());
    assert!(answers(copy["url"].as_str().unwrap()));
    let data = PathBuf::from("/var/lib/mm-tools/copies").join(name);
    assert!(data.join("data/PG_VERSION").exists());
    assert_eq!(original.run(&["--stop", into], "").status.code(), Some(0));
    original.copy(&[]);
    let output = original.run(&["--remove", into], "");
    assert!(output.status.code() == Some(0) && !data.exists(), "{}", said(&output));
}
