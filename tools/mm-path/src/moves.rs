//! The hop that takes the database out of MySQL, before all others: nothing else works with it there.

use mm_common::contract::error::Result;
use mm_common::contract::sections::{Hop, Needs, Note, Path, Why};
use mm_common::mattermost::catalogue::{Catalogue, Driver};
use semver::Version;

use crate::plan::{self, Plan, Start};
use crate::wish::Wish;

const SOURCE: &str = "mattermost/docs: important-upgrade-notes v11.0";

/// Plans for a server on MySQL or `MariaDB`: first the move at the installed release, then the way of the releases as it is
/// on PostgreSQL.
pub(crate) fn out_of_mysql(catalogue: &Catalogue, start: &Start, wish: &Wish) -> Result<Plan> {
    let after = Start { driver: Some(Driver::Postgres), mysql: None, postgres: None, ..start.clone() };
    let mut plan = plan::releases(catalogue, &after, wish)?;
    let hop = hop(catalogue, start, wish, &plan.path);
    let path = &mut plan.path;
    // Its version is that of the target.
    path.notes.retain(|note| note.id != "postgres-unknown");
    path.hops.insert(0, hop.clone());
    path.next = Some(hop);
    Ok(plan)
}

fn hop(catalogue: &Catalogue, start: &Start, wish: &Wish, path: &Path) -> Hop {
    let installed = &start.version;
    let needs = |version: &Version| catalogue.requirement(version).and_then(|entry| entry.postgres);
    let stops = path.hops.iter().map(|hop| &hop.to);
    // Moved once: to what the hardest of all that follow asks for.
    let major = stops.chain([installed]).filter_map(needs).chain(wish.postgres).max();
    let engine = engine(start);
    let version = major.map_or_else(String::new, |major| format!(" {major} or later"));
    Hop {
        from: installed.clone(),
        to: installed.clone(),
        changes: vec!["database".into()],
        edition: path.current_edition.unwrap_or(start.edition),
        url: String::new(),
        sha256: Vec::new(),
        why: vec![Why {
            rule: "mysql".into(),
            text: format!(
                "The database is in {engine}, which Mattermost 11 has no support for and which no restore point can hold: it \
                 moves first, at the installed release"
            ),
            source: SOURCE.into(),
        }],
        needs: Needs { postgres: major, is_move: true, bytes: Some(0), ..Needs::default() },
        rolling: false,
        notes: vec![Note {
            id: "mysql".into(),
            severity: "action".into(),
            title: format!("The database moves from {engine} to PostgreSQL{version}"),
            action: format!(
                "Take a server of PostgreSQL{version} and write its data source into a file (mode 600): {}. MySQL is only \
                 read, and is the way back. Not with Mattermost's migration-assist --fix-varchar, which counts bytes and \
                 deletes valid rows with long non-ASCII text.",
                commands()
            ),
            source: SOURCE.into(),
        }],
        estimate: serde_json::Map::new(),
    }
}

/// What the server works with now.
pub(crate) fn engine(start: &Start) -> String {
    start.mysql.as_ref().map_or_else(|| "MySQL".into(), |version| format!("MySQL {version}"))
}

/// How a move is looked at and made; `mm-upgrade` does both.
pub(crate) fn commands() -> &'static str {
    "`mm-pgbump check --target FILE` looks at everything, and `mm-pgbump move --target FILE` in the place of mm-pgbump moves it \
     in this hop (mm-upgrade: --postgres-target FILE)"
}
