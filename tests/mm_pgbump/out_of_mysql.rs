//! Out of `MariaDB` into PostgreSQL, and the way back.

use mm_test_support::cluster::{Cluster, TELLTALE, url};
use mm_test_support::forwarder::Forwarder;
use mm_test_support::mariadb::{Mariadb, USER};
use mm_test_support::site::Site;
use serde_json::Value;

use crate::moving::Moving;
use crate::rig::{VERSION, check_of, find_below};

const INDEXES: &str = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1";

/// A site on `MariaDB`, and a server of PostgreSQL 15 with an empty database of the server's role.
pub(crate) struct Leaving {
    pub(crate) moving: Moving,
    pub(crate) mariadb: Mariadb,
    /// Number and digest of the posts as they were in PostgreSQL before all this.
    pub(crate) posts: String,
    /// Its indexes, as the release makes them.
    pub(crate) indexes: String,
    /// The configuration file, byte for byte.
    pub(crate) config: Vec<u8>,
}

impl Leaving {
    pub(crate) fn new() -> Self {
        let site = Site::builder(VERSION).build();
        let posts = Moving::posts(&site.cluster, "mattermost");
        let indexes = site.cluster.query(INDEXES);
        let mariadb = Mariadb::under(&site);
        let config = std::fs::read(site.config_path()).unwrap();
        Self { moving: Moving { site, target: Cluster::create(15) }, mariadb, posts, indexes, config }
    }

    pub(crate) fn with(&self, code: i32, verb: &str, further: &[&str]) -> (Value, String) {
        self.moving.with(code, verb, &[&self.moving.target.url()], further)
    }

    fn target(&self, sql: &str) -> String {
        self.moving.target.query(sql)
    }

    fn config(&self) -> Vec<u8> {
        std::fs::read(self.moving.site.config_path()).unwrap()
    }

    /// Nothing of a move is there any more.
    pub(crate) fn is_as_before(&self) {
        self.moving.is_as_before(&self.mariadb.source());
        assert!(self.config() == self.config);
        assert_eq!(self.repairs(), None);
    }

    /// What the file says in which repairs are written down.
    fn repairs(&self) -> Option<String> {
        let state = self.moving.site.state();
        let found = walk(&state).into_iter().find(|path| path.to_string_lossy().contains("mysql-repairs-"))?;
        Some(std::fs::read_to_string(found).unwrap())
    }
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_database_of_mariadb_moves_with_every_row_and_the_server_finds_its_way_back() {
    let leaving = Leaving::new();
    let source = leaving.mariadb.state();
    let (document, _) = leaving.with(0, "check", &[]);
    let (is_other, is_mysql) = Mariadb::is_other();
    let engine = check_of(&document, "mysql-engine");
    assert_eq!(engine["status"], if is_other { "warn" } else { "pass" }, "{engine}");
    for id in [
        "mysql-schema",
        "mysql-nul",
        "mysql-json",
        "mysql-long",
        "mysql-case",
        "mysql-search",
        "move-target",
        "move-configuration",
    ] {
        assert_eq!(check_of(&document, id)["status"], "pass", "{}", check_of(&document, id));
    }
    leaving.is_as_before();

    // Its posts are carried in pieces, over three sessions at once, where its account may keep others from writing meanwhile.
    leaving.mariadb.sql(&format!("GRANT LOCK TABLES ON mattermost.* TO {USER}@'%'"));
    let (document, said) = leaving.with(0, "move", &["--jobs", "3"]);
    assert_eq!(document["pgbump"]["proof"]["equal"], true, "{said}");
    assert_eq!(document["pgbump"]["proof"]["mysql"]["sessions"], 3, "{document}");
    let wanted = if is_mysql {
        "MySQL "
    } else if is_other {
        "MariaDB "
    } else {
        "MariaDB 10.11."
    };
    assert!(document["pgbump"]["proof"]["mysql"]["engine"].as_str().unwrap().starts_with(wanted), "{document}");
    assert_eq!(Moving::posts(&leaving.moving.target, "mattermost"), leaving.posts);
    assert_eq!(leaving.target(INDEXES), leaving.indexes);
    let settings = leaving.moving.site.config();
    assert_eq!(settings["SqlSettings"]["DriverName"], "postgres");
    assert_eq!(settings["SqlSettings"]["DataSource"], leaving.moving.target.url());
    assert_eq!(leaving.target("SELECT name FROM db_migrations WHERE version = 92"), "add_createat_to_teamembers");
    leaving.moving.site.start();
    leaving.moving.site.stop();
    // Again: it is there.
    assert!(leaving.with(0, "move", &[]).1.contains("already"));
    assert_eq!(leaving.mariadb.state(), source);

    leaving.target("UPDATE posts SET message = 'since' WHERE id = (SELECT min(id) FROM posts)");
    // With another name of the target, by hand, the data source could not be exchanged, and the driver is not either.
    let (tunnel, moved) = (Forwarder::to(leaving.moving.target.port), leaving.config());
    leaving.moving.site.set("SqlSettings", "DataSource", url(tunnel.port).into());
    leaving.moving.pgbump(5, &["rollback"]);
    assert_eq!(leaving.moving.site.config()["SqlSettings"]["DriverName"], "postgres");
    std::fs::write(leaving.moving.site.config_path(), moved).unwrap();
    let (_, said) = leaving.moving.pgbump(0, &["rollback"]);
    assert!(said.contains("public.posts"), "{said}");
    assert!(leaving.config() == leaving.config, "the configuration is not what it was");
    assert_eq!(leaving.mariadb.state(), source);
}

/// Each is a way in which programs that load rows lose or change some.
#[test]
fn what_hurts_arrives_as_it_was() {
    let leaving = Leaving::new();
    let mariadb = &leaving.mariadb;
    let texts = [
        "\u{1f600}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} 漢字 \u{ffff}".to_owned(),
        "it's \"quoted\" \\ \\N \\. \\\\n $1 ; -- {a,b}".to_owned(),
        "\\.\n\\.\r\n\tline\u{b}\u{c}\u{8}\u{1b}[31m end  ".to_owned(),
        "漢".repeat(16_383),
        "\u{1f600}".repeat(16_383),
        "NULL".to_owned(),
        String::new(),
    ];
    let ids: Vec<String> = leaving_ids(&leaving, texts.len());
    // As `text` holds 65,535 bytes and four times as many are to go in.
    mariadb.sql("ALTER TABLE Posts MODIFY Message longtext");
    for (id, text) in ids.iter().zip(&texts) {
        mariadb.set(&format!("UPDATE Posts SET Message = ? WHERE Id = '{id}'"), text.as_bytes());
    }
    let json = r#"{"b":1.10,"a":[1e30,-0.0,18446744073709551616],"b":"\u00e9\ud83d\ude00\\u0000\/","c":{"":null}}"#;
    mariadb.set(&format!("UPDATE Posts SET Props = ? WHERE Id = '{}'", ids[0]), json.as_bytes());
    let bytes: Vec<u8> = (0..=255).chain([0, 0, b'\\', b'\n']).collect();
    mariadb.sql("INSERT INTO Pluginkeyvaluestore (PluginId, PKey, PValue, ExpireAt) VALUES ('p', 'k', 'x', 0)");
    mariadb.set("UPDATE Pluginkeyvaluestore SET PValue = ? WHERE PKey = 'k'", &bytes);
    // As 5.x made them, and as some databases were made: three bytes a character, and one.
    mariadb.sql("ALTER TABLE Teams CONVERT TO CHARACTER SET utf8mb3");
    mariadb.sql("ALTER TABLE Preferences CONVERT TO CHARACTER SET latin1");
    mariadb.set("UPDATE Teams SET DisplayName = ? ORDER BY Id LIMIT 1", "Größe 漢字".as_bytes());
    mariadb.set("UPDATE Preferences SET Value = ? ORDER BY UserId, Category, Name LIMIT 1", "né €".as_bytes());
    // A table of a plugin's, with what other databases would read otherwise.
    mariadb.sql(
        "CREATE TABLE IR_Odd (ID bigint unsigned PRIMARY KEY, `Big` int unsigned, At datetime, Part decimal(30,10), F double, B binary(4), Doc json, `od``d` text)",
    );
    mariadb.sql(
        "INSERT INTO IR_Odd VALUES (18446744073709551615, 4294967295, '0000-00-00 00:00:00', 1.10, 0.1, x'00FF0001', '{\"a\": 1.10}', 'a\\\\b'), \
         (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    );
    let (document, _) = leaving.with(4, "check", &[]);
    assert_eq!(check_of(&document, "mysql-extra-tables")["status"], "fail");
    leaving.with(0, "check", &["--with-extra-tables"]);
    leaving.is_as_before();
    // An account that only reads is enough; the pieces come one after the other then.
    let (document, said) = leaving.with(0, "move", &["--with-extra-tables", "--jobs", "3"]);
    assert_eq!(document["pgbump"]["proof"]["mysql"]["repaired"], 0, "{said}");
    assert_eq!(document["pgbump"]["proof"]["mysql"]["sessions"], 1, "{document}");
    assert_eq!(document["pgbump"]["proof"]["mysql"]["tables"]["mm_from_mysql.ir_odd"][0], 2, "{document}");
    let odd = leaving.target("SELECT id, big, at, part, f, b, doc, \"od`d\" FROM mm_from_mysql.ir_odd ORDER BY big");
    let wanted = r#"18446744073709551615|4294967295|0000-00-00 00:00:00|1.1000000000|0.1|\x00ff0001|{"a": 1.10}|a\b"#;
    assert_eq!(odd.lines().next(), Some(wanted), "{odd}");
    for (id, text) in ids.iter().zip(&texts) {
        let sql = format!("SELECT message IS NOT NULL, md5(message) FROM posts WHERE id = '{id}'");
        assert_eq!(leaving.target(&sql), format!("t|{}", md5(&leaving, text)), "{text:.40}");
    }
    let props = leaving.target(&format!("SELECT props FROM posts WHERE id = '{}'", ids[0]));
    let wanted = "{\"a\": [1000000000000000000000000000000, 0.0, 18446744073709551616], \"b\": \"é\u{1f600}\\\\u0000/\", \"c\": {\"\": null}}";
    // MySQL itself makes doubles of large numbers, before we see them.
    assert!(props == wanted || Mariadb::is_other().1, "{props}");
    let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    assert_eq!(leaving.target("SELECT encode(pvalue, 'hex') FROM pluginkeyvaluestore WHERE pkey = 'k'"), digits);
    assert_eq!(leaving.target("SELECT count(*) FROM teams WHERE displayname = 'Größe 漢字'"), "1");
    assert_eq!(leaving.target("SELECT count(*) FROM preferences WHERE value = 'né €'"), "1");
}

fn leaving_ids(leaving: &Leaving, count: usize) -> Vec<String> {
    leaving.mariadb.column("SELECT Id FROM Posts ORDER BY Id").into_iter().take(count).collect()
}

/// What PostgreSQL itself makes of the text.
fn md5(leaving: &Leaving, text: &str) -> String {
    leaving.target(&format!("SELECT md5(E'{}')", text.replace('\\', "\\\\").replace('\'', "''")))
}

#[test]
fn rows_that_postgresql_cannot_hold_are_named_and_nothing_is_lost_or_cut_off() {
    let leaving = Leaving::new();
    let mariadb = &leaving.mariadb;
    let ids = leaving_ids(&leaving, 3);
    let bad = |id: &str, word: &str, accepted: &[&str]| {
        let (document, said) = leaving.with(4, "check", accepted);
        let check = check_of(&document, id);
        assert!(
            check["status"] == "fail" && check["evidence"].as_str().unwrap().contains(word),
            "{id}: {check} {said}"
        );
        leaving.is_as_before();
        leaving.with(5, "move", accepted);
        leaving.is_as_before();
    };
    let audit = "INSERT INTO Audits (Id, CreateAt, ExtraInfo) VALUES ('audit1', 1, REPEAT('漢', 1025))";
    mariadb.sql(audit);
    bad("mysql-long", "audits id=audit1 (extrainfo)", &["--accept", "mysql-long"]);
    mariadb.sql("UPDATE Audits SET ExtraInfo = REPEAT('漢', 1024) WHERE Id = 'audit1'");
    mariadb.sql("ALTER TABLE Posts MODIFY Props longtext");
    mariadb.sql(&format!("UPDATE Posts SET Props = '{{broken' WHERE Id = '{}'", ids[1]));
    bad("mysql-json", &format!("posts id={} (props)", ids[1]), &["--accept", "mysql-json"]);
    mariadb.sql(&format!("UPDATE Posts SET Props = '{{}}' WHERE Id = '{}'", ids[1]));
    mariadb.sql("ALTER TABLE Users MODIFY Username varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    mariadb.sql("UPDATE Users SET Username = 'Same' ORDER BY Id LIMIT 1");
    mariadb.sql("UPDATE Users SET Username = 'same' ORDER BY Id DESC LIMIT 1");
    bad("mysql-case-clash", "username=", &["--accept", "mysql-case-clash"]);
    mariadb.sql("UPDATE Users SET Username = 'Other' WHERE Username = 'Same'");
    mariadb.sql("UPDATE Users SET EmailVerified = 2 WHERE Username = 'Other'");
    bad("mysql-value", "(emailverified)", &[]);
    mariadb.sql("UPDATE Users SET EmailVerified = 1 WHERE Username = 'Other'");
    mariadb.sql("ALTER TABLE Posts ADD Ours int");
    bad("mysql-schema", "posts.ours", &["--accept", "mysql-schema"]);
    mariadb.sql("ALTER TABLE Posts DROP Ours");
    mariadb.sql("CREATE TABLE Playbook (Id int)");
    bad("mysql-extra-tables", "Playbook", &[]);
    mariadb.set(&format!("UPDATE Posts SET Message = ? WHERE Id = '{}'", ids[0]), b"a\0b");
    mariadb.set(&format!("UPDATE Posts SET Props = ? WHERE Id = '{}'", ids[2]), br#"{"a":"\u0000 \\u0000"}"#);
    bad("mysql-nul", &format!("posts id={} (message)", ids[0]), &["--accept", "mysql-extra-tables"]);

    // What may be accepted is done, and what was there stands in a file.
    let source = mariadb.state();
    let (document, said) = leaving.with(0, "move", &["--accept", "mysql-extra-tables", "--accept", "mysql-nul"]);
    assert_eq!(document["pgbump"]["proof"]["mysql"]["repaired"], 3, "{said}");
    assert!(said.contains("Playbook") && said.contains("mysql-case"), "{said}");
    let of = |column: &str, id: &str| leaving.target(&format!("SELECT {column} FROM posts WHERE id = '{id}'"));
    assert_eq!(of("message", &ids[0]), "a\u{2400}b");
    assert_eq!(of("props", &ids[2]), "{\"a\": \"\u{2400} \\\\u0000\"}");
    assert_eq!(leaving.target("SELECT count(*) FROM users WHERE username IN ('other', 'same')"), "2");
    let repairs = leaving.repairs().unwrap();
    for before in [r#""before":"a\u0000b""#, r#""before":"Other""#, r#"{\"a\":\"\\u0000 \\\\u0000\"}"#] {
        assert!(repairs.contains(before), "{repairs}");
    }
    assert_eq!(mariadb.state(), source);
    leaving.moving.pgbump(0, &["rollback"]);
    assert!(leaving.config() == leaving.config);
    assert_eq!(leaving.repairs(), None);
}

#[test]
fn what_is_not_supported_is_refused_before_anything_is_made() {
    let leaving = Leaving::new();
    let site = &leaving.moving.site;
    let refused = |word: &str| {
        let (_, said) = leaving.with(5, "move", &[]);
        assert!(said.contains(word) && !said.contains(TELLTALE), "{said}");
        assert!(find_below(&site.state(), "pgmove.journal").is_none());
    };
    site.set("SqlSettings", "DataSource", "u:geheim@tcp(192.0.2.1:3306)/mm?tls=ours".into());
    refused("its tls is none of true, false, skip-verify and preferred");
    site.set("SqlSettings", "DataSource", "u:geheim@tcp(127.0.0.1:1)/mm".into());
    refused("cannot connect to the database `mm` at 127.0.0.1, port 1");
    site.set("SqlSettings", "DataSource", "u:geheim@pipe(x)/mm".into());
    refused("is not understood");
    site.set("SqlSettings", "DataSource", leaving.mariadb.source().into());
    site.set("SqlSettings", "DataSourceReplicas", serde_json::json!(["u:geheim@tcp(192.0.2.1)/mm"]));
    refused("move-replicas");
    site.set("SqlSettings", "DataSourceReplicas", serde_json::json!([]));
    leaving.target("CREATE TABLE here (x int)");
    refused("the table public.here");
    leaving.target("DROP TABLE here");
    let (_, said) = leaving.with(5, "move", &["--require-backup", "1h"]);
    assert!(said.contains("no restore point brings a database of MySQL back"), "{said}");
    let (_, said) = leaving.with(5, "move", &["--from-store", "latest"]);
    assert!(said.contains("the server works with MySQL"), "{said}");
    let environment = site.install().join("config/mattermost.environment");
    std::fs::write(&environment, "MM_CONFIG='mysql://u:geheim@tcp(127.0.0.1:3306)/mm'\n").unwrap();
    refused("the configuration is in a MySQL database");
    std::fs::remove_file(&environment).unwrap();
    // A socket leads there too.
    let socket = leaving.mariadb.socket();
    let source = format!("root@unix({})/mattermost", socket.display());
    site.set("SqlSettings", "DataSource", source.clone().into());
    leaving.with(0, "check", &[]);
    leaving.moving.is_as_before(&source);
}
