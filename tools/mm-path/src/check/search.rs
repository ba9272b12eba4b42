//! Checks of search engines and Boards: what releases on the way drop or ask to be built anew, and how much that is.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::Severity;
use semver::Version;

use super::database::DatabaseView;
use super::{Bad, Check, Outcome, Way};

pub(super) fn checks<'a>() -> Vec<Check<DatabaseView<'a>>> {
    vec![
        Check {
            id: "search-bleve",
            title: "Search with Bleve",
            source: "mattermost/docs: important-upgrade-notes v6.1, v11.0",
            look: bleve,
        },
        Check {
            id: "search-elasticsearch",
            title: "Search with Elasticsearch",
            source: "mattermost/docs: important-upgrade-notes v5.26, v6.0, v9.11",
            look: elasticsearch,
        },
        Check {
            id: "boards",
            title: "Contents of Boards",
            source: "mattermost/mattermost#25712, #22258; mattermost-community/focalboard#4547",
            look: boards,
        },
    ]
}

/// Whether a setting is switched on.
fn is_on(way: &Way<'_>, section: &str, key: &str) -> Result<bool> {
    let config = way.config.ok_or_else(|| Error::failed("the configuration is not known"))?;
    Ok(config[section][key].as_bool().unwrap_or(false))
}

fn messages(view: &DatabaseView<'_>) -> Result<String> {
    Ok(ui::count(view.count("posts", "deleteat = 0")?, "message"))
}

fn bleve(view: &DatabaseView<'_>) -> Result<Outcome> {
    let way = &view.way;
    let (format, end) = (way.crossing(&Version::new(6, 1, 0)), way.crossing(&Version::new(11, 0, 0)));
    let Some(first) = format.or(end) else {
        return Ok(Outcome::Beside("the way crosses neither 6.1 nor 11.0".into()));
    };
    if !is_on(way, "BleveSettings", "EnableSearching")? {
        return Ok(Outcome::Good("it is not in use".into()));
    }
    let messages = messages(view)?;
    let is_only = is_on(way, "SqlSettings", "DisableDatabaseSearch")?;
    let mut evidence = Vec::new();
    let mut fix = Vec::new();
    if format.is_some() && end.is_none() {
        evidence.push(format!("6.1 changes its index: {messages} not found until indexed again"));
        fix.push("purge the index and build it again in the System Console after that hop");
    }
    if end.is_some() {
        evidence.push(format!("11.0 has no Bleve: {messages} searched by the database from then on"));
        if is_only {
            evidence.push("and the database's search is switched off: nothing will be found".into());
            fix.push("set SqlSettings.DisableDatabaseSearch to false before 11.0");
        } else {
            fix.push("tell people that words are found differently; the index can be removed afterwards");
        }
    }
    let severity = if end.is_some() && is_only { Severity::Action } else { Severity::Warn };
    Ok(Outcome::Bad(Bad { severity, evidence, hop: Some(end.unwrap_or(first).to.clone()), fix: fix.join("; ") }))
}

fn elasticsearch(view: &DatabaseView<'_>) -> Result<Outcome> {
    let way = &view.way;
    if way.edition == Edition::Team {
        return Ok(Outcome::Beside("Team Edition has none".into()));
    }
    let releases = [(5, 26), (6, 0), (9, 11)].map(|(major, minor)| Version::new(major, minor, 0));
    let hops = releases.each_ref().map(|release| way.crossing(release));
    let Some(first) = hops.iter().flatten().next() else {
        return Ok(Outcome::Beside("the way crosses none of 5.26, 6.0 and 9.11".into()));
    };
    if !is_on(way, "ElasticsearchSettings", "EnableIndexing")? {
        return Ok(Outcome::Good("it is not in use".into()));
    }
    let mut evidence = Vec::new();
    let mut fix = Vec::new();
    if hops[0].is_some() {
        evidence.push(format!("5.26 needs its index built anew, of {}", messages(view)?));
        fix.push("purge and index again at a quiet time");
    }
    if hops[1].is_some() {
        evidence.push("6.0 needs Elasticsearch 7 or newer".into());
        fix.push("upgrade Elasticsearch before 6.0");
    }
    if hops[2].is_some() {
        evidence.push("9.11 speaks the language of Elasticsearch 8, and OpenSearch only when told so".into());
        fix.push("with OpenSearch (AWS) set ElasticsearchSettings.Backend to opensearch");
    }
    Ok(Outcome::Bad(Bad { severity: Severity::Action, evidence, hop: Some(first.to.clone()), fix: fix.join("; ") }))
}

/// The tables of Boards with something to lose, newest name first.
const BOARDS: [&str; 2] = ["focalboard_boards", "focalboard_blocks"];

fn boards(view: &DatabaseView<'_>) -> Result<Outcome> {
    let Some(hop) = view.way.crossing(&Version::new(9, 0, 0)) else { return Ok(Outcome::not_crossed("9.0")) };
    let Some(table) = BOARDS.into_iter().find(|table| view.has_table(table)) else {
        return Ok(Outcome::Good("there are none".into()));
    };
    let rows = view.count(table, "true")?;
    let evidence =
        (rows > 0).then(|| format!("{} in {table}, and 9.0 does not bring Boards any more", ui::count(rows, "row")));
    Ok(Outcome::of(evidence.into_iter().collect(), "there are tables, and nothing in them", |evidence| {
        Bad {
        severity: Severity::Warn,
        evidence,
        hop: Some(hop.to.clone()),
        fix: "export the boards, or install the plugin that the community keeps (mattermost-plugin-boards); the tables stay"
            .into(),
    }
    }))
}
