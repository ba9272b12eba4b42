//! mm-pgbump on a cluster with everything that is not the default: page checksums, a locale of the C library, its data on
//! a file system that clones files, and a server that reaches it over the unix socket.

use std::process::Command;

use mm_test_support::process::run;

use crate::rig::{Afterwards, Rig};

/// As if the cluster had been made with another locale and with checksums: every index is built anew.
fn make_over(rig: &Rig) {
    let name = &rig.site.cluster.name;
    rig.site.cluster.sql(
        "postgres",
        "UPDATE pg_database SET datcollate = 'en_US.UTF-8', datctype = 'en_US.UTF-8' WHERE datcollate = 'C.UTF-8'",
    );
    for database in ["mattermost", "postgres", "template1"] {
        rig.site.cluster.sql(database, &format!("REINDEX DATABASE {database}"));
    }
    run("pg_ctlcluster", &["13", name, "stop"]);
    let data = rig.site.directory().join("disk/13").join(name);
    let checksums = "/usr/lib/postgresql/13/bin/pg_checksums";
    run("runuser", &["-u", "postgres", "--", checksums, "--enable", "--no-sync", "-D", data.to_str().unwrap()]);
    run("pg_ctlcluster", &["13", name, "start"]);
}

#[test]
fn a_cluster_is_cloned_with_checksums_and_locale_under_a_server_on_the_unix_socket() {
    let locales = Command::new("locale").arg("-a").output().unwrap();
    assert!(
        String::from_utf8_lossy(&locales.stdout).contains("en_US.utf8"),
        "there is no en_US.UTF-8: run scripts/prepare"
    );
    let rig = Rig::new();
    let disk = rig.site.directory().join("disk");
    let image = rig.site.directory().join("image");
    std::fs::create_dir(&disk).unwrap();
    std::fs::File::create(&image).unwrap().set_len(2 << 30).unwrap();
    run("mkfs.xfs", &["-q", "-m", "reflink=1", image.to_str().unwrap()]);
    run("mount", &["-o", "loop", image.to_str().unwrap(), disk.to_str().unwrap()]);
    let place = disk.clone();
    let unmount = Afterwards(move || {
        let _ = Command::new("umount").arg("-l").arg(&place).status();
    });
    rig.move_data(&disk);
    make_over(&rig);
    let rig = rig.enrich();
    // It has to come before the removal of the site, so it has to be declared after it.
    let _unmount = unmount;
    let socket =
        rig.site.cluster.url().replace(&format!("@127.0.0.1:{}/mattermost?", rig.site.cluster.port), "@/mattermost?");
    let socket = format!("{socket}&host=/var/run/postgresql&port={}", rig.site.cluster.port);
    rig.site.set("SqlSettings", "DataSource", socket.into());
    rig.serves("13");
    let riches = rig.riches();
    let is_on = |what: &str| rig.site.cluster.sql("postgres", &format!("SHOW {what}"));
    assert_eq!((is_on("data_checksums"), is_on("lc_collate")), ("on".to_owned(), "en_US.UTF-8".to_owned()));

    // The file system can clone, but not that of a tablespace.
    let (_, said) = rig.pgbump(4, &["check", "--to", "15", "--shared-cluster", "--method", "clone"]);
    assert!(said.contains("no file can be cloned in the tablespace"), "{said}");
    let (document, _) = rig.pgbump(0, &["check", "--to", "15", "--shared-cluster"]);
    assert!(document["msg"].as_str().unwrap().contains("--method upgrade"), "{document}");
    let shelf = disk.join("shelf");
    run("install", &["-d", "-o", "postgres", shelf.to_str().unwrap()]);
    rig.site.cluster.sql("other", &format!("CREATE TABLESPACE better LOCATION '{}'", shelf.display()));
    rig.site.cluster.sql("other", "ALTER TABLE \"a b\".pairs SET TABLESPACE better");
    rig.site.cluster.sql("other", "DROP TABLESPACE shelf");
    rig.site.cluster.sql("other", "ALTER TABLESPACE better RENAME TO shelf");

    // No method is asked for, and now all can.
    let (document, _) = rig.upgrade(0, &["--shared-cluster"]);
    assert_eq!(document["pgbump"]["method"], "clone", "{document:#}");
    rig.is_upgraded();
    rig.lets_in();
    assert_eq!(rig.riches(), riches);
    assert_eq!((is_on("data_checksums"), is_on("lc_collate")), ("on".to_owned(), "en_US.UTF-8".to_owned()));
    rig.pgbump(0, &["rollback"]);
    rig.serves("13");
    assert_eq!(rig.riches(), riches);
    rig.drop_clusters();
}
