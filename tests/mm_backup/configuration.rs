//! The configuration in a database: the server's own, and another one.

use std::fs;
use std::path::Path;

use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::Value;

use crate::access::goes_round;
use crate::tree::{assert_same, describe};
use crate::{make, verify};

/// Moves the configuration into `database`, which is made when it is not the server's own.
fn move_configuration(site: &Site, database: &str) -> String {
    if database != "mattermost" {
        site.cluster.sql("postgres", &format!("CREATE DATABASE {database} OWNER mmuser"));
    }
    let config = site.config().to_string().replace('\'', "''");
    let rows = format!(
        "CREATE TABLE configurations (id varchar(26) PRIMARY KEY, value text NOT NULL, createat bigint NOT NULL, active boolean UNIQUE);
         INSERT INTO configurations VALUES ('{}', '{config}', 1, true);
         ALTER TABLE configurations OWNER TO mmuser",
        "a".repeat(26)
    );
    site.cluster.sql(database, &rows);
    let url = site.cluster.url().replace("/mattermost?", &format!("/{database}?"));
    let file = site.install().join("config/mattermost.environment");
    fs::write(&file, format!("MM_CONFIG={url}\n")).unwrap();
    process::run("chown", &["mm-test:mm-test", file.to_str().unwrap()]);
    fs::remove_file(site.config_path()).unwrap();
    url
}

fn restore(site: &Site, flags: &[&str]) -> (i32, Value, String) {
    let run = site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest"]).args(flags).output();
    let output = run.unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), document, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_configuration_is_in_the_database_of_the_server() {
    let site = Site::builder("5.29.0").build();
    move_configuration(&site, "mattermost");
    goes_round(&site);
    let backup = make(&site, &[]);
    let manifest = fs::read_to_string(backup["manifest"].as_str().unwrap()).unwrap();
    assert!(manifest.contains("public.configurations"));
    // It is in the dump of that database, and in no other.
    let point = Path::new(backup["path"].as_str().unwrap());
    assert_eq!(fs::read_dir(point.join("database")).unwrap().count(), 2);
    let url = site.cluster.url();
    let (code, document, _) = restore(&site, &["--config", "--into-database", &url]);
    assert_eq!(code, 5, "{document}");
}

#[test]
fn the_configuration_is_in_another_database_and_all_of_it_is_lost() {
    let site = Site::builder("5.29.0").build();
    let url = move_configuration(&site, "settings");
    let backup = make(&site, &[]);
    let point = Path::new(backup["path"].as_str().unwrap());
    assert!(point.join("database/config-settings.dump").exists());
    let (code, said) = verify(&site, &["--restore", "-v"]);
    assert_eq!(code, 0, "{said}");
    // All of the server's, and the one of the configuration.
    let tables = "SELECT count(*) + 1 FROM pg_tables WHERE schemaname = 'public'";
    let restored = format!("{} tables restored and equal", site.cluster.query(tables));
    assert!(said.contains(&restored), "{restored}: {said}");
    let tree = describe(&site.install());
    let history = site.history();
    let rows = "SELECT md5(string_agg(c::text, ',')) FROM configurations c";
    let configuration = site.cluster.sql("settings", rows);

    fs::remove_dir_all(site.install()).unwrap();
    site.cluster.sql("postgres", "DROP DATABASE mattermost");
    site.cluster.sql("postgres", "DROP DATABASE settings");
    // What names the server's database is itself in the one that is missing: nothing is begun, and the way is said.
    let (code, document, said) = restore(&site, &[]);
    assert_eq!(code, 1, "{said}");
    let hint = document["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("--config --into-database"), "{document}");
    assert!(!site.install().exists(), "what could not be finished is taken back");

    site.cluster.sql("postgres", "CREATE DATABASE settings OWNER mmuser");
    let (code, document, said) = restore(&site, &["--config", "--into-database", &url]);
    assert_eq!(code, 0, "{document} {said}");
    assert_eq!(site.cluster.sql("settings", rows), configuration);
    let (code, _, said) = restore(&site, &[]);
    assert_eq!(code, 0, "{said}");
    assert_same(&tree, &describe(&site.install()));
    assert_eq!(site.history(), history);
    // A restore into place does not touch the configuration that is there, and says so.
    assert!(said.contains("settings") && said.contains("--config --into-database"), "{said}");
}

#[test]
fn damage_to_the_dump_of_the_configuration_is_found() {
    let site = Site::builder("5.29.0").build();
    move_configuration(&site, "settings");
    let backup = make(&site, &["--no-database"]);
    let dump = Path::new(backup["path"].as_str().unwrap()).join("database/config-settings.dump");
    let bytes = fs::read(&dump).unwrap();
    fs::write(&dump, &bytes[..bytes.len() - 10]).unwrap();
    let (code, said) = verify(&site, &[]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("config-settings.dump"), "{said}");
}
