//! The database carried into another server, and the way back. For the tool every target here is one it has no files of: it
//! knows the data source and nothing else.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use mm_test_support::cluster::{Cluster, ROLE, TELLTALE};
use mm_test_support::layout::RICHES;
use mm_test_support::process::{run, wait_until};
use mm_test_support::site::Site;
use serde_json::Value;

use crate::rig::{VERSION, check_of, find_below, next_major};

/// Limits that fit a test: where a connection hangs, nobody waits three minutes, and a hundred rows are a large table.
pub(crate) const SMALL: [(&str, &str); 2] = [("MM_CHECKPOINT_PATIENCE", "8"), ("MM_CHECKPOINT_ROWS", "20")];

const PATIENCE: Duration = Duration::from_secs(60);

/// A site on 13, and a server of 15 with an empty database of the server's role, as a provider hands it out.
pub(crate) struct Moving {
    pub(crate) site: Site,
    pub(crate) target: Cluster,
}

impl Moving {
    pub(crate) fn new(running: bool) -> Self {
        let builder = Site::builder(VERSION);
        let site = if running { builder.running() } else { builder }.build();
        Self { site, target: Cluster::create(next_major().parse().unwrap()) }
    }

    /// The file that names the target.
    pub(crate) fn file(&self, lines: &[&str]) -> PathBuf {
        let path = self.site.directory().join("target");
        std::fs::write(&path, lines.join("\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Runs the tool and wants this exit code. The answer is the document, and what was said.
    pub(crate) fn pgbump(&self, code: i32, arguments: &[&str]) -> (Value, String) {
        let output = self.site.tool("mm-pgbump").args(arguments).arg("-v").envs(SMALL).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "mm-pgbump {arguments:?}: {said}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for secret in [TELLTALE, "geheim"] {
            assert!(!said.contains(secret) && !text.contains(secret), "{said}{text}");
        }
        (serde_json::from_str(&text).unwrap_or_default(), said)
    }

    pub(crate) fn with(&self, code: i32, verb: &str, lines: &[&str], further: &[&str]) -> (Value, String) {
        let file = self.file(lines);
        self.pgbump(code, &[&[verb, "--target", file.to_str().unwrap()], further].concat())
    }

    pub(crate) fn source(&self) -> String {
        self.site.config()["SqlSettings"]["DataSource"].as_str().unwrap().to_owned()
    }

    /// Number and digest of the posts, in a cluster's database.
    pub(crate) fn posts(cluster: &Cluster, database: &str) -> String {
        let sql = "SELECT count(*), md5(string_agg(md5(p::text), '' ORDER BY id)) FROM public.posts p";
        cluster.sql(database, sql)
    }

    pub(crate) fn answers(&self) {
        wait_until("the server to answer", PATIENCE, || self.site.answers());
    }

    /// Nothing of a move is there any more.
    pub(crate) fn is_as_before(&self, source: &str) {
        assert_eq!(self.source(), source);
        assert_eq!(self.target.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "0");
        for name in
            ["journal", "private", "facts", "dump", "finished", "finished.private", "finished.facts", "leftovers"]
        {
            let left = find_below(&self.site.state(), &format!("pgmove.{name}"));
            assert!(left.is_none(), "{left:?}");
        }
    }

    /// A table whose rows are more than what is sent before: the sample of the network has 4 MB.
    pub(crate) fn large(&self) {
        self.site.cluster.query(&format!(
            "CREATE TABLE large AS SELECT repeat(md5(n::text), 40) AS t FROM generate_series(1, 8000) n; ALTER TABLE large OWNER TO {ROLE}"
        ));
    }

    /// All that a dump says of the target's database, its settings and rights included, and its extensions.
    pub(crate) fn described(&self, database: &str) -> String {
        let port = self.target.port.to_string();
        let program = format!("/usr/lib/postgresql/{}/bin/pg_dump", self.target.major);
        let words = ["-u", "postgres", "--", &program, "-h", "/run/postgresql", "-p", &port];
        let text = run("runuser", &[&words[..], &["--create", "--schema-only", "-d", database]].concat());
        let lines = text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
        let settings =
            self.target.sql(database, "SELECT setconfig, setrole::regrole FROM pg_db_role_setting ORDER BY 2");
        lines.chain(settings.lines()).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn empty_target(&self) {
        self.target.sql("postgres", "DROP DATABASE mattermost");
        self.target.sql("postgres", &format!("CREATE DATABASE mattermost OWNER {ROLE}"));
    }
}

/// No superuser at the target, the same names: what most people who are given a database will see.
#[test]
fn the_database_moves_with_all_it_holds_and_the_server_finds_its_way_back() {
    let moving = Moving::new(true);
    for cluster in [&moving.site.cluster, &moving.target] {
        cluster.sql("postgres", "CREATE ROLE reader; CREATE ROLE third");
    }
    moving.site.cluster.query(&format!("SET SESSION AUTHORIZATION {ROLE}; {RICHES}"));
    moving.site.cluster.query(&format!("ALTER DATABASE mattermost SET statement_timeout = '1h'; GRANT SELECT ON posts TO reader; SELECT lo_create(4713); ALTER LARGE OBJECT 4713 OWNER TO {ROLE}"));
    let before = (moving.source(), Moving::posts(&moving.site.cluster, "mattermost"), moving.site.history());

    let lines = [moving.target.url()];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (document, _) = moving.with(0, "check", &lines, &[]);
    for id in [
        "move-version",
        "move-target",
        "move-rights",
        "move-encoding",
        "move-roles",
        "move-network",
        "move-configuration",
    ] {
        assert_eq!(check_of(&document, id)["status"], "pass", "{}", check_of(&document, id));
    }
    assert!(check_of(&document, "move-network")["evidence"].as_str().unwrap().contains("round trip"));
    moving.is_as_before(&before.0);
    moving.answers();

    let (document, _) = moving.with(0, "move", &lines, &[]);
    assert_eq!(document["pgbump"]["proof"]["equal"], true, "{document}");
    assert_eq!((&document["pgbump"]["method"], &document["changed"]), (&"move".into(), &true.into()));
    assert_eq!(moving.source(), moving.target.url());
    assert_eq!(Moving::posts(&moving.target, "mattermost"), before.1);
    assert_eq!(moving.target.query("SELECT n FROM rich.sums"), "2");
    assert_eq!(moving.target.query("SELECT has_table_privilege('reader', 'posts', 'SELECT'), count(*) FROM pg_largeobject_metadata WHERE oid = 4713"), "t|1");
    moving.answers();
    // Again: it is there.
    assert!(moving.with(0, "move", &lines, &[]).1.contains("already"));
    assert!(moving.pgbump(0, &["drop-old", "--force"]).1.contains("nothing is dropped"));

    moving.target.query("UPDATE posts SET message = 'since' WHERE id = (SELECT min(id) FROM posts)");
    let (_, said) = moving.pgbump(0, &["rollback"]);
    assert!(said.contains("public.posts"), "{said}");
    assert_eq!(moving.source(), before.0);
    assert_eq!((Moving::posts(&moving.site.cluster, "mattermost"), moving.site.history()), (before.1, before.2));
    moving.answers();
}

/// An administrator's data source in line 2: role and database are made, over TLS, under other names; and a database that
/// is in the way is renamed, never dropped.
#[test]
fn an_administrator_makes_role_and_database_and_what_is_there_is_kept() {
    let moving = Moving::new(false);
    moving.target.sql("postgres", "CREATE ROLE chief SUPERUSER LOGIN PASSWORD 'geheim2'");
    moving.site.cluster.query("CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore");
    let posts = Moving::posts(&moving.site.cluster, "mattermost");
    let port = moving.target.port;
    let app = format!("postgres://app:geheim@127.0.0.1:{port}/new?sslmode=require");
    let admin = format!("postgres://chief:geheim2@127.0.0.1:{port}/postgres?sslmode=require");
    // Nobody could make them.
    moving.with(5, "move", &[&app], &[]);
    let (document, _) = moving.with(0, "move", &[&app, &admin], &[]);
    assert_eq!(document["pgbump"]["proof"]["roles"][ROLE], "app", "{document}");
    assert_eq!(moving.source(), app);
    assert_eq!(Moving::posts(&moving.target, "new"), posts);
    assert_eq!(
        moving.target.sql("new", "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"),
        "app"
    );
    let powers = "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = 'app'";
    assert_eq!(moving.target.sql("postgres", powers), "f");
    moving.pgbump(0, &["rollback"]);

    let (document, _) = moving.with(4, "check", &[&app, &admin], &[]);
    assert!(check_of(&document, "move-target")["evidence"].as_str().unwrap().contains("public.posts"), "{document}");
    moving.with(5, "move", &[&app, &admin], &[]);
    moving.with(0, "move", &[&app, &admin], &["--replace"]);
    let kept = moving
        .target
        .sql("postgres", "SELECT datname FROM pg_database WHERE datname ~ '^new_mm_before_[0-9]{8}T[0-9]{6}Z$'");
    assert_eq!(Moving::posts(&moving.target, &kept), posts);
    assert_eq!(Moving::posts(&moving.target, "new"), posts);
}

#[test]
fn what_cannot_be_moved_is_refused_before_anything_is_stopped() {
    let moving = Moving::new(true);
    let target = moving.target.url();
    let source = moving.source();
    let bad = |id: &str, word: &str, further: &[&str]| {
        let (document, said) = moving.with(4, "check", &[&target], further);
        let check = check_of(&document, id);
        assert!(check["status"] == "fail" && check["evidence"].as_str().unwrap().contains(word), "{id}: {said}");
        moving.with(5, "move", &[&target], further);
    };
    moving.target.query("CREATE TABLE here (x int)");
    bad("move-target", "the table public.here", &[]);
    moving.target.query("DROP TABLE here");
    bad("move-version", "need 17", &["--to", "17"]);
    moving.target.sql("postgres", &format!("ALTER ROLE {ROLE} SUPERUSER"));
    bad("move-rights", "is a superuser", &[]);
    moving
        .target
        .sql("postgres", &format!("ALTER ROLE {ROLE} NOSUPERUSER; ALTER DATABASE mattermost OWNER TO postgres"));
    bad("move-rights", "permission denied for schema public", &[]);
    moving.target.sql("postgres", &format!("ALTER DATABASE mattermost OWNER TO {ROLE}"));
    moving.site.cluster.query("CREATE EXTENSION postgres_fdw");
    bad("move-extensions", "postgres_fdw", &[]);
    moving.site.cluster.query("DROP EXTENSION postgres_fdw; CREATE PUBLICATION told FOR TABLE posts");
    bad("move-left-behind", "PUBLICATION", &[]);
    moving.site.cluster.query("DROP PUBLICATION told");
    moving.site.set(
        "SqlSettings",
        "DataSourceReplicas",
        serde_json::json!(["postgres://u:geheim@192.0.2.1/mattermost"]),
    );
    bad("move-replicas", "192.0.2.1", &[]);
    moving.site.set("SqlSettings", "DataSourceReplicas", serde_json::json!([]));
    // Its own, and a file that others can read.
    assert!(moving.with(5, "move", &[&source], &[]).1.contains("works with now"));
    let file = moving.file(&[&target]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(moving.pgbump(5, &["move", "--target", file.to_str().unwrap()]).1.contains("chmod 600"));
    assert!(moving.pgbump(5, &["move", "--target", "/nowhere/target"]).1.contains("/nowhere/target"));
    moving.is_as_before(&source);
    moving.answers();
}

/// What a move fills, its undo empties: so nothing that is there is ever let pass.
#[test]
fn a_target_that_holds_something_is_refused_whatever_is_accepted() {
    let moving = Moving::new(false);
    let source = moving.source();
    moving.target.query(&format!("CREATE TABLE here AS SELECT 42 AS n; ALTER TABLE here OWNER TO {ROLE}"));
    let (_, said) = moving.with(5, "move", &[&moving.target.url()], &["--accept", "move-target"]);
    assert!(said.contains("public.here") && said.contains("--replace"), "{said}");
    assert_eq!(moving.target.query("SELECT n FROM here"), "42");
    moving.target.query("DROP TABLE here");
    moving.is_as_before(&source);

    // The database is somebody's, and the role is not there.
    let target = &moving.target;
    target.sql("postgres", "CREATE ROLE chief SUPERUSER LOGIN PASSWORD 'geheim2'; CREATE DATABASE new");
    target.sql("new", "CREATE TABLE here AS SELECT 42 AS n");
    let app = format!("postgres://app:geheim@127.0.0.1:{}/new?sslmode=disable", target.port);
    let admin = format!("postgres://chief:geheim2@127.0.0.1:{}/postgres?sslmode=disable", target.port);
    for further in [["--accept", "move-target"].as_slice(), &["--accept", "move-target", "--replace"]] {
        let (_, said) = moving.with(5, "move", &[&app, &admin], further);
        assert!(said.contains("`new` is there"), "{said}");
        assert_eq!(target.sql("new", "SELECT n FROM here"), "42");
        assert_eq!(target.sql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'app'"), "0");
    }
    moving.is_as_before(&source);
}
