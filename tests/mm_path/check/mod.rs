//! The preflight checks of the database on real PostgreSQL 13 and 15: each is silent on a healthy database and bites
//! when the one thing it is about is broken.

mod cases;
mod healthy;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use mm_common::contract::sections::{Hop, Preflight, Status};
use mm_common::contract::version::Edition;
use mm_common::mattermost::carried::Carried;
use mm_common::mattermost::catalogue::Catalogue;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_path::Server;
use mm_path::check::{Outside, Way, database};
use mm_path::plan::{Start, plan};
use mm_path::wish::{Policy, Wish};
use mm_test_support::cluster::{self, Cluster};
use semver::Version;
use serde_json::{Value, json};

use cases::CASES;
use healthy::healthy;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::embedded().unwrap());

/// The one release that is in the cache, with the migrations that it has.
static AT_HAND: LazyLock<BTreeMap<Version, Carried>> = LazyLock::new(|| {
    let known = CATALOGUE.migrations().names.iter().filter(|known| known.number < 150);
    let postgres = known.map(|known| (u64::from(known.number), known.name.clone())).collect();
    BTreeMap::from([(Version::new(11, 2, 4), Carried { postgres, mysql: Vec::new() })])
});

struct Lab {
    cluster: Cluster,
    server: Database,
}

impl Lab {
    fn new(major: u32) -> Self {
        let cluster = Cluster::create(major);
        let server = Database::connect(&DataSource::parse(&cluster.url()).unwrap(), None).unwrap();
        Self { cluster, server }
    }

    /// A database as a server of this release leaves it.
    fn database(&self, name: &str, release: &Version) -> Database {
        self.cluster.sql("postgres", &format!("CREATE DATABASE {name} OWNER {}", cluster::ROLE));
        let database = self.server.sibling(name);
        database.execute(&healthy(release)).unwrap();
        database
    }
}

fn hops(from: &Version, to: &str, edition: Edition, postgres: Option<(u32, u32)>) -> Vec<Hop> {
    let mut start = Start::on_paper(from.clone(), edition);
    start.postgres = postgres.map(|(major, _)| Server { major, ..Server::default() });
    let wish = Wish {
        to: to.parse().unwrap(),
        policy: Policy::Esr,
        via: Vec::new(),
        avoid: Vec::new(),
        postgres: postgres.map(|(_, wished)| wished),
        edition: None,
    };
    plan(&CATALOGUE, &start, &wish).unwrap().path.hops
}

fn way<'a>(from: &'a Version, hops: &'a [Hop], edition: Edition) -> Way<'a> {
    static NOTHING: LazyLock<Value> = LazyLock::new(|| json!({}));
    static NOWHERE: LazyLock<Outside> = LazyLock::new(Outside::nowhere);
    let (config, licence, outside) = (Some(&*NOTHING), Some(""), &*NOWHERE);
    let carried = &*AT_HAND;
    Way { catalogue: &CATALOGUE, from, hops, edition, before: None, config, licence, outside, carried }
}

fn find<'a>(findings: &'a [Preflight], id: &str) -> &'a Preflight {
    findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

/// Every case: silent on the healthy database of its way, where nothing else bites either; biting once it is broken.
fn silent_and_biting(major: u32) {
    let lab = Lab::new(major);
    let mut bases: BTreeMap<String, Vec<Preflight>> = BTreeMap::new();
    for (index, case) in CASES.iter().enumerate() {
        let from = Version::parse(case.from).unwrap();
        let hops = hops(&from, case.to, case.edition, None);
        let config = serde_json::from_str(case.config).unwrap();
        let way = Way { before: case.before, ..way(&from, &hops, case.edition) };
        let base =
            format!("base_{}_{}_{}_{}", case.from, case.to, case.edition, case.before.is_some()).replace('.', "_");
        let before = bases.entry(base.clone()).or_insert_with(|| {
            let before = database::findings(&lab.database(&base, &from), way).unwrap();
            for finding in &before {
                assert!(
                    matches!(finding.status, Status::Pass | Status::Skip),
                    "PostgreSQL {major}, {base}: healthy, and yet {finding:?}"
                );
            }
            before
        });
        assert_eq!(find(before, case.check).status, Status::Pass, "{} does not look at {base}", case.check);
        let name = format!("check_{index}");
        lab.cluster.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {base} OWNER {}", cluster::ROLE));
        let database = lab.server.sibling(&name);
        if case.broken.starts_with("-- superuser") {
            lab.cluster.sql(&name, case.broken);
        } else if !case.broken.is_empty() {
            database.execute(case.broken).unwrap();
        }
        let after = database::findings(&database, Way { config: Some(&config), ..way }).unwrap();
        let finding = find(&after, case.check);
        assert_eq!(finding.severity, case.severity, "PostgreSQL {major}, {}: {finding:?}", case.check);
        assert!(finding.evidence.contains(case.evidence), "PostgreSQL {major}, {}: {finding:?}", case.check);
        assert!(matches!(finding.status, Status::Fail | Status::Warn), "{finding:?}");
        assert!(!finding.fix.is_empty() && !finding.source.is_empty(), "{finding:?}");
    }
}

#[test]
fn each_check_is_silent_and_bites_on_postgresql_13() {
    silent_and_biting(13);
}

#[test]
fn each_check_is_silent_and_bites_on_postgresql_15() {
    silent_and_biting(15);
}

/// The variable outranks the database, which outranks the file; one that cannot be read is not one that is not there.
#[test]
fn a_licence_is_looked_for_where_the_server_looks_for_it() {
    let lab = Lab::new(15);
    let from = Version::new(10, 5, 14);
    let database = lab.database("licensed", &from);
    let hops = hops(&from, "10.11", Edition::Enterprise, None);
    let coded = |name: &str| match name {
        // {"sku_short_name":"E20"} and {"sku_short_name":"enterprise"}
        "E20" => "eyJza3Vfc2hvcnRfbmFtZSI6IkUyMCJ9".to_owned(),
        "enterprise" => "eyJza3Vfc2hvcnRfbmFtZSI6ImVudGVycHJpc2UifQ==".to_owned(),
        other => other.to_owned(),
    };
    let look = |variable: Option<&str>, file: Option<&str>| {
        let (variable, written) = (variable.map(coded), file.map(coded));
        let outside = Outside::new(variable.as_deref(), Ok(written.clone()), "/opt/mattermost/config/licence".into());
        let way = Way { outside: &outside, ..way(&from, &hops, Edition::Enterprise) };
        let finding = find(&database::findings(&database, way).unwrap(), "licence").clone();
        for text in [variable, written].into_iter().flatten() {
            assert!(!finding.evidence.contains(&text) && !finding.fix.contains(&text), "{finding:?}");
        }
        (finding.status, finding.evidence)
    };
    // The healthy database has a `professional` one.
    let (status, evidence) = look(None, Some("E20"));
    assert!(status == Status::Pass && evidence.contains("professional"), "{status:?} {evidence}");
    let (status, evidence) = look(Some("E20"), None);
    assert!(status == Status::Fail && evidence.contains("it is an E20"), "{status:?} {evidence}");
    let (status, evidence) = look(Some("no licence!"), None);
    assert!(status == Status::Error && evidence.contains("the variable MM_LICENSE"), "{status:?} {evidence}");

    // One that was removed.
    database.execute("UPDATE systems SET value = '' WHERE name = 'ActiveLicenseId'").unwrap();
    let (status, evidence) = look(None, Some("E20"));
    assert!(status == Status::Fail && evidence.contains("it is an E20"), "{status:?} {evidence}");
    let (status, evidence) = look(Some("enterprise"), Some("E20"));
    assert!(status == Status::Pass && evidence.contains("enterprise"), "{status:?} {evidence}");
    let (status, evidence) = look(None, Some("no licence!"));
    assert!(status == Status::Error && evidence.contains("`/opt/mattermost/config/licence`"), "{status:?} {evidence}");
    let (status, evidence) = look(None, None);
    assert_eq!(status, Status::Skip);
    assert_eq!(evidence, "there is none in MM_LICENSE, in the database, and in `/opt/mattermost/config/licence`");
}

#[test]
fn every_check_of_the_database_has_a_case() {
    let cases: BTreeSet<&str> = CASES.iter().map(|case| case.check).collect();
    assert_eq!(cases, database::ids().into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn what_a_check_may_not_read_is_not_a_fault() {
    let lab = Lab::new(15);
    let from = Version::new(5, 37, 10);
    let database = lab.database("closed", &from);
    lab.cluster.sql("closed", "ALTER TABLE posts OWNER TO postgres; REVOKE ALL ON posts FROM PUBLIC");
    let hops = hops(&from, "6.3", Edition::Team, None);
    let findings = database::findings(&database, way(&from, &hops, Edition::Team)).unwrap();
    let closed = find(&findings, "json-text");
    assert_eq!(closed.status, Status::Error, "{closed:?}");
    assert!(closed.evidence.contains("permission denied"), "{closed:?}");
    assert_eq!(find(&findings, "missing-tables").status, Status::Pass, "hidden is not missing");
    assert_eq!(find(&findings, "duplicates").status, Status::Pass, "the others go on");
}

#[test]
fn text_that_is_no_json_is_fixed_by_what_is_printed_and_the_rest_of_it_stays() {
    let lab = Lab::new(13);
    let from = Version::new(5, 37, 10);
    let database = lab.database("text", &from);
    let before = r#"{"path": "C:\\u0000", "zeros": "a\u0000\u0000b\\\u0000"}"#;
    let after = r#"{"path": "C:\\u0000", "zeros": "a\u2400\u2400b\\\u2400"}"#;
    let read = || database.value("SELECT props FROM posts WHERE id = 'p1'").unwrap();
    database
        .execute(&format!("UPDATE posts SET props = '{before}' WHERE id = 'p1'; UPDATE users SET timezone = ''"))
        .unwrap();
    assert_eq!(read(), before);
    let hops = hops(&from, "6.3", Edition::Team, None);
    let look = || find(&database::findings(&database, way(&from, &hops, Edition::Team)).unwrap(), "json-text").clone();
    let found = look();
    assert_eq!(found.status, Status::Fail, "{found:?}");
    database.execute(found.fix.strip_prefix("after a backup: ").unwrap()).unwrap();
    assert_eq!(look().status, Status::Pass);
    assert_eq!(read(), after);
    database.execute("SELECT props::jsonb, 1 FROM posts; SELECT timezone::jsonb FROM users").unwrap();
}

#[test]
fn duplicates_block_where_postgresql_is_upgraded() {
    let lab = Lab::new(13);
    let from = Version::new(5, 37, 10);
    let database = lab.database("bump", &from);
    database.execute("ALTER TABLE teams DROP CONSTRAINT teams_name_key; UPDATE teams SET name = 'alpha'").unwrap();
    let hops = hops(&from, "6.3", Edition::Team, Some((13, 15)));
    let findings = database::findings(&database, way(&from, &hops, Edition::Team)).unwrap();
    let duplicates = find(&findings, "duplicates");
    assert_eq!((duplicates.severity.as_str(), duplicates.hop.as_ref()), ("block", Some(&Version::new(6, 3, 10))));
}

#[test]
fn renumbered_migrations_do_not_block_a_release_that_renumbers_them() {
    let lab = Lab::new(15);
    let from = Version::new(10, 11, 15);
    let database = lab.database("renumbered", &from);
    database.execute("INSERT INTO db_migrations VALUES (142, 'add_schemeid_to_roles')").unwrap();
    let hops = hops(&from, "11.7.10", Edition::Team, None);
    let findings = database::findings(&database, way(&from, &hops, Edition::Team)).unwrap();
    assert_eq!(find(&findings, "migration-names").status, Status::Pass);
}

#[test]
fn what_a_fetched_release_adds_is_told() {
    let lab = Lab::new(15);
    let from = Version::new(10, 11, 15);
    let database = lab.database("added", &from);
    let hops = hops(&from, "11.2", Edition::Team, None);
    let findings = database::findings(&database, way(&from, &hops, Edition::Team)).unwrap();
    let finding = find(&findings, "release-migrations");
    assert_eq!(finding.status, Status::Pass, "{finding:?}");
    assert!(finding.evidence.starts_with("11.2.4 adds "), "{finding:?}");
    assert!(finding.evidence.contains("142 create_content_flagging_tables, "), "{finding:?}");
}
