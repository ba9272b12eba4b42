//! Checks of the text columns that 6.0 turns into JSON.

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::mattermost::catalogue::Severity;
use semver::Version;

use super::database::DatabaseView;
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<DatabaseView<'a>>> {
    vec![
        Check {
            id: "json-text",
            title: "Text that is no JSON for PostgreSQL",
            source: "mattermost/mattermost#18684, #18663; important-upgrade-notes v6.0",
            look: json_text,
        },
        Check {
            id: "json-defaults",
            title: "Defaults of columns that become JSON",
            source: "mattermost/mattermost#18747",
            look: |view| Ok(json_defaults(view)),
        },
    ]
}

/// The release that converts, and what it converts.
const RELEASE: Version = Version::new(6, 0, 0);
const COLUMNS: [(&str, &str); 9] = [
    ("channelmembers", "notifyprops"),
    ("jobs", "data"),
    ("linkmetadata", "data"),
    ("posts", "props"),
    ("sessions", "props"),
    ("threads", "participants"),
    ("users", "notifyprops"),
    ("users", "props"),
    ("users", "timezone"),
];

fn still_text<'v>(view: &'v DatabaseView<'_>) -> impl Iterator<Item = (&'static str, &'static str)> + 'v {
    COLUMNS.into_iter().filter(|(table, column)| view.column(table, column).is_some_and(|found| found.kind != "jsonb"))
}

fn json_text(view: &DatabaseView<'_>) -> Result<Outcome> {
    let Some(hop) = view.way.crossing(&RELEASE) else { return Ok(Outcome::not_crossed("6.0")) };
    let columns: Vec<_> = still_text(view).collect();
    // An escape of the character 0, which jsonb cannot hold. After an even number of backslashes it is one; after an odd
    // number the backslash before it is itself escaped, and the text is harmless. LIKE passes over the many rows
    // without it at a fraction of the cost.
    let zero = |column: &str| format!(r"{column} LIKE '%\\u0000%' AND {column} ~ '(^|[^\\])(\\\\)*\\u0000'");
    let wanted: Vec<_> = columns
        .iter()
        .flat_map(|(table, column)| [(*table, zero(column)), (*table, format!("{column} = ''"))])
        .collect();
    let counted = view.counts(&wanted)?;
    let mut evidence = Vec::new();
    let mut fix = Vec::new();
    for ((table, column), counts) in columns.iter().zip(counted.chunks(2)) {
        if counts[0] > 0 {
            evidence.push(format!(r"{table}.{column} holds \u0000 in {}", ui::count(counts[0], "row")));
            fix.push(format!("UPDATE {table} SET {column} = {} WHERE {}", shown_instead(column), zero(column)));
        }
        if counts[1] > 0 {
            let empty = if *column == "participants" { "[]" } else { "{}" };
            evidence.push(format!("{table}.{column} is an empty text in {}", ui::count(counts[1], "row")));
            fix.push(format!("UPDATE {table} SET {column} = '{empty}' WHERE {column} = ''"));
        }
    }
    Ok(Outcome::of(evidence, "all of it can be converted", |evidence| Bad {
        severity: Severity::Block,
        evidence,
        hop: Some(hop.to.clone()),
        fix: format!("after a backup: {}", fix.join("; ")),
    }))
}

/// The text with the picture of the character 0 (U+2400) in its place, and everything else as it was: a backslash that is
/// itself escaped begins no escape.
fn shown_instead(column: &str) -> String {
    format!(r"pg_catalog.regexp_replace({column}, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\u2400', 'g')")
}

fn json_defaults(view: &DatabaseView<'_>) -> Outcome {
    let Some(hop) = view.way.crossing(&RELEASE) else { return Outcome::not_crossed("6.0") };
    let mut evidence = Vec::new();
    let mut fix = Vec::new();
    for (table, column) in still_text(view) {
        if let Some(default) = view.column(table, column).and_then(|found| found.default.as_ref()) {
            evidence.push(format!("{table}.{column} has the default {default}"));
            fix.push(format!("ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT"));
        }
    }
    Outcome::of(evidence, "none has one", |evidence| Bad {
        severity: Severity::Block,
        evidence,
        hop: Some(hop.to.clone()),
        fix: fix.join("; "),
    })
}
