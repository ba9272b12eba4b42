//! The database of a restore point carried into another server: on a host where its own server is gone, and in a pipeline whose
//! restore point has the dump already.

use std::path::PathBuf;

use mm_test_support::cluster::ROLE;
use mm_test_support::layout::RICHES;
use mm_test_support::matrix::some;
use mm_test_support::site::Site;
use mm_test_support::tool::shell;
use serde_json::Value;

use crate::moving::Moving;
use crate::moving_killed::dies_at;
use crate::rig::check_of;

/// A site with a restore point that was made with the server stopped.
struct Held {
    moving: Moving,
    store: PathBuf,
    source: String,
    posts: String,
}

impl Held {
    fn new() -> Self {
        let moving = Moving::new(false);
        for cluster in [&moving.site.cluster, &moving.target] {
            cluster.sql("postgres", "CREATE ROLE reader; CREATE ROLE third");
        }
        moving.site.cluster.query(&format!("SET SESSION AUTHORIZATION {ROLE}; {RICHES}"));
        moving.site.cluster.query(
            "ALTER DATABASE mattermost SET statement_timeout = '1h'; GRANT SELECT ON posts TO reader; CREATE EXTENSION pg_trgm",
        );
        let held = Self {
            store: moving.site.store(),
            source: moving.source(),
            posts: Moving::posts(&moving.site.cluster, "mattermost"),
            moving,
        };
        held.stores(&[]);
        held
    }

    /// Makes another restore point.
    fn stores(&self, further: &[&str]) {
        let made = self.moving.site.tool("mm-backup").arg("--to").arg(&self.store).args(further).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn with(&self, code: i32, verb: &str, id: &str, further: &[&str]) -> (Value, String) {
        let flags = ["--from-store", id, "--store", self.store.to_str().unwrap()];
        self.moving.with(code, verb, &[&self.moving.target.url()], &[&flags, further].concat())
    }

    fn has_arrived(&self) {
        let target = &self.moving.target;
        assert_eq!(self.moving.source(), target.url());
        assert_eq!(Moving::posts(target, "mattermost"), self.posts);
        assert_eq!(target.query("SELECT n FROM rich.sums"), "2");
        assert_eq!(target.query("SELECT has_table_privilege('reader', 'posts', 'SELECT')"), "t");
        assert_eq!(target.query("SHOW statement_timeout"), "1h");
        assert_eq!(target.query("SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'"), "1");
    }
}

#[test]
fn a_restore_point_moves_into_a_server_where_its_own_is_gone() {
    let held = Held::new();
    let Held { moving, source, .. } = &held;
    // A new host: the files are there, and nobody answers where the data source leads.
    moving.site.cluster.stop();
    let (document, _) = held.with(0, "check", "latest", &[]);
    for id in ["move-version", "move-target", "move-rights", "move-encoding", "move-extensions", "move-left-behind"] {
        assert_eq!(check_of(&document, id)["status"], "pass", "{}", check_of(&document, id));
    }
    assert_eq!(check_of(&document, "move-newer")["status"], "warn", "{}", check_of(&document, "move-newer"));
    moving.is_as_before(source);

    let (document, said) = held.with(0, "move", "latest", &[]);
    assert_eq!(document["pgbump"]["proof"]["equal"], true, "{said}");
    let id = document["pgbump"]["proof"]["loaded_from"].as_str().unwrap().to_owned();
    assert!(held.store.join(&id).is_dir() && document["msg"].as_str().unwrap().contains(&id), "{document}");
    held.has_arrived();
    assert!(held.with(0, "move", "latest", &[]).1.contains("already"));
    moving.site.start();
    moving.answers();
    moving.site.stop();

    // Back, where nobody answers still: that is for the administrator to know.
    let (_, said) = moving.pgbump(0, &["rollback"]);
    assert!(said.contains("is stopped, and leads to"), "{said}");
    assert_eq!(&moving.source(), source);
    moving.empty_target();
    moving.is_as_before(source);
}

#[test]
fn killed_anywhere_a_restore_points_move_is_taken_back_or_finished() {
    let held = Held::new();
    let Held { moving, source, .. } = &held;
    moving.site.cluster.stop();
    let file = moving.file(&[&moving.target.url()]);
    let store = held.store.to_str().unwrap();
    let run = ["move", "--target", file.to_str().unwrap(), "--from-store", "latest", "--store", store];
    for checkpoint in
        some(["move-intent", "move-stopped", "move-filling", "move-restored", "move-read-back", "move-proven"])
    {
        dies_at(moving, checkpoint, &run);
        moving.pgbump(0, &["recover"]);
        moving.is_as_before(source);
    }
    for checkpoint in some(["move-repointed", "move-done", "move-recorded"]) {
        dies_at(moving, checkpoint, &run);
        let (document, said) = moving.pgbump(0, &["recover"]);
        assert_eq!(document["pgbump"]["proof"]["equal"], true, "{checkpoint}: {said}");
        held.has_arrived();
        dies_at(moving, "move-rollback-pointed", &["rollback"]);
        moving.pgbump(0, &["rollback"]);
        moving.empty_target();
        moving.is_as_before(source);
    }
}

#[test]
fn what_a_restore_point_has_not_or_is_not_fit_for_is_said_before_anything_is_done() {
    let held = Held::new();
    let Held { moving, source, .. } = &held;
    // The database is there, as it was then, and then not any more.
    let (document, _) = held.with(0, "check", "latest", &[]);
    assert_eq!(check_of(&document, "move-newer")["status"], "pass", "{}", check_of(&document, "move-newer"));
    moving.site.cluster.query("UPDATE posts SET message = 'since' WHERE id = (SELECT min(id) FROM posts)");
    let (document, _) = held.with(4, "check", "latest", &[]);
    let evidence = check_of(&document, "move-newer")["evidence"].to_string();
    assert!(evidence.contains("public.posts"), "{evidence}");
    held.with(5, "move", "latest", &[]);
    moving.is_as_before(source);
    held.with(0, "move", "latest", &["--accept", "move-newer"]);
    held.has_arrived();
    moving.pgbump(0, &["rollback"]);
    assert_eq!(moving.site.cluster.query("SELECT count(*) FROM posts WHERE message = 'since'"), "1");
    moving.empty_target();

    let refused = |id: &str, word: &str| {
        let (document, said) = held.with(5, "move", id, &[]);
        assert!(document["error"].to_string().contains(word), "{word}: {said}");
        moving.is_as_before(source);
    };
    refused("nosuch", "there is no restore point");
    held.stores(&["--no-database"]);
    refused("latest", "it holds no database");
    held.stores(&["--accept", "database"]);
    let points = std::fs::read_dir(&held.store).unwrap().map(|entry| entry.unwrap().path());
    let dump = points.map(|point| point.join("database/mattermost.dump")).filter(|dump| dump.is_file()).max().unwrap();
    let mut bytes = std::fs::read(&dump).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&dump, bytes).unwrap();
    refused("latest", "is damaged");
    // It is one of another installation, which is not meant by `latest`, and of another release.
    let other = Site::builder("9.11.18").build();
    let made = other.tool("mm-backup").arg("--to").arg(other.store()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let store = other.store();
    let with = |id: &str| {
        let flags = ["--from-store", id, "--store", store.to_str().unwrap()];
        moving.with(5, "move", &[&moving.target.url()], &flags).1
    };
    let said = with("latest");
    assert!(said.contains("there is no restore point of") && said.contains("some are of"), "{said}");
    let mut names = std::fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let said = with(&names.find(|name| name.ends_with('Z')).unwrap());
    assert!(said.contains("is one of 9.11.18, and 10.5.14 is installed"), "{said}");
    moving.is_as_before(source);
}

/// What the restore point of the hop has dumped is not dumped again, unless something was written since.
#[test]
fn the_dump_of_the_hop_is_loaded_where_the_database_is_as_it_was() {
    let moving = Moving::new(false);
    let (source, posts) = (moving.source(), Moving::posts(&moving.site.cluster, "mattermost"));
    let file = moving.file(&[&moving.target.url()]);
    let flags = moving.site.flags().join(" ");
    let run = |between: &str| -> Value {
        let script = format!(
            "mm-backup {flags} --to {} --stop --leave-stopped </dev/null >{2}.document; {between}; \
             mm-pgbump move {flags} --target {} <{2}.document",
            moving.site.store().display(),
            file.display(),
            file.display()
        );
        let output = shell(&script).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let document = run("true");
    assert_eq!(document["pgbump"]["proof"]["loaded_from"], document["backup"]["id"], "{document}");
    assert_eq!(Moving::posts(&moving.target, "mattermost"), posts);
    moving.pgbump(0, &["rollback"]);
    moving.empty_target();

    let sql = moving.site.directory().join("since.sql");
    let port = moving.site.cluster.port;
    for (statement, arrived) in [
        // The rows are the same.
        (
            "CREATE INDEX since ON posts (message)",
            "SELECT count(*) FROM pg_catalog.pg_indexes WHERE indexname = 'since'",
        ),
        (
            "UPDATE posts SET message = 'since' WHERE id = (SELECT min(id) FROM posts)",
            "SELECT count(*) FROM posts WHERE message = 'since'",
        ),
    ] {
        std::fs::write(&sql, statement).unwrap();
        let document = run(&format!("runuser -u postgres -- psql -Xqp {port} -d mattermost <{}", sql.display()));
        assert_eq!(document["pgbump"]["proof"]["loaded_from"], Value::Null, "{document}");
        assert_eq!(moving.target.query(arrived), "1");
        moving.pgbump(0, &["rollback"]);
        moving.empty_target();
    }
    assert_eq!(moving.source(), source);
}
