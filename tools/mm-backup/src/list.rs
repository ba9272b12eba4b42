//! `list`, and tables for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use jiff::Timestamp;
use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::sections::Backup;
use mm_common::contract::{call, shell, terminal, time, ui};
use mm_common::machine::pins::{self, Pin};
use mm_common::run::{Format, Output, Session};
use serde_json::json;

use crate::arguments::{BackupArguments, ListArguments};
use crate::mysql::MysqlPart;
use crate::plan::Plan;
use crate::store::{Damaged, Point, Store};
use crate::trust;
use crate::whose::{self, Whose};

/// Shows the restore points of a store.
pub(crate) fn list(session: &mut Session, arguments: &BackupArguments, flags: &ListArguments) -> Result<String> {
    session.tell_open();
    let store = Store::open(&arguments.store)?;
    let whose = Whose::of(session)?;
    let (mut points, mut damaged) = store.list()?;
    if flags.max_age.is_some() || flags.latest {
        let newest = whose.among(points.clone()).pop().ok_or_else(|| none_in(&store, &points))?;
        if let Some(most) = flags.max_age {
            require_younger(&store, &newest, damaged.last(), most, Timestamp::now())?;
        }
        if flags.latest {
            points = vec![newest];
            damaged.clear();
        }
    }
    let doubts = doubts(&points);
    let pins = pins::all(&store.path)?;
    let people = match arguments.format.format {
        Format::Human => true,
        Format::Json => false,
        Format::Auto => std::io::stdout().is_terminal(),
    };
    session.output = Output::Text(if people {
        table(&points, &damaged, &whose, &doubts, &pins)
    } else {
        json_list(&store, &points, &damaged, &whose, &doubts, &pins)
    });
    Ok(ui::count(points.len(), "restore point"))
}

/// There is none, or none of this installation.
fn none_in(store: &Store, others: &[Point]) -> Error {
    let place = shell::word(&store.path);
    let what = if others.is_empty() { "no restore point" } else { "no restore point of this installation" };
    let error = Error::new(Kind::CheckSaysNo, format!("there is {what} in `{}`", store.path.display()));
    let newest = others
        .last()
        .map(|other| format!("the newest of another, {}, is of {}", other.head.id, whose::place(&other.head)));
    newest.into_iter().fold(error, Error::because).hint(format!("mm-backup --to {place} makes one"))
}

/// What monitoring asks: whether the newest restore point is young enough.
fn require_younger(
    store: &Store,
    newest: &Point,
    damaged: Option<&Damaged>,
    most: Duration,
    now: Timestamp,
) -> Result<()> {
    let created: Option<Timestamp> = newest.head.created.parse().ok();
    // One from the future says that a clock is wrong, and nothing about its age.
    let age = created.and_then(|created| Duration::try_from(now.duration_since(created)).ok());
    if age.is_some_and(|age| age <= most) {
        return Ok(());
    }
    let message = format!("no restore point in `{}` is younger than {}", store.path.display(), hours(most));
    let error = Error::new(Kind::CheckSaysNo, message);
    let error = match age {
        Some(age) => error.because(format!("the newest, {}, is {} old", newest.head.id, hours(age))),
        None => error.because(format!(
            "the newest, {}, is of {}, and now it is {}",
            newest.head.id,
            newest.head.created,
            time::at(now)
        )),
    };
    let error = match damaged {
        Some(damaged) if damaged.id > newest.head.id => {
            error.because(format!("{} is damaged: {}", damaged.id, damaged.why))
        }
        _ => error,
    };
    Err(error
        .hint("journalctl -u mm-backup -n 50 says how the last backup went; systemctl start mm-backup makes one now"))
}

/// A length of time in hours and minutes.
fn hours(length: Duration) -> String {
    let minutes = length.as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// Why restore points may have been changed, by their identifiers.
type Doubts = BTreeMap<String, String>;

fn doubts(points: &[Point]) -> Doubts {
    let of = |point: &Point| match trust::doubt(point) {
        Ok(doubt) => doubt.map(|doubt| (point.head.id.clone(), doubt)),
        Err(error) => Some((point.head.id.clone(), error.one_line())),
    };
    points.iter().filter_map(of).collect()
}

fn json_list(
    store: &Store,
    points: &[Point],
    damaged: &[Damaged],
    whose: &Whose,
    doubts: &Doubts,
    pins: &[Pin],
) -> String {
    let points: Vec<_> = points
        .iter()
        .map(|Point { path, head }| {
            json!({
                "id": head.id, "path": path, "created": head.created, "install": head.install,
                "host": head.host, "other_host": whose.is_of_other_host(head),
                "version": head.version, "edition": head.edition, "cold": head.cold,
                "databases": head.in_cluster(), "files": head.totals.files, "bytes": head.totals.bytes, "added": head.totals.added,
                "linked": head.totals.linked, "seconds": head.totals.seconds, "doubt": doubts.get(&head.id),
                "pinned": pins.iter().find(|pin| pin.id == head.id),
                "mysql": head.mysql.as_ref().map(|part| json!({
                    "name": part.name, "server_version": part.server_version, "bytes": part.dump.bytes,
                    "tables": part.tables.len(), "rows": part.tables.values().sum::<u64>(),
                })),
                "frozen": head.was_frozen().then(|| json!({
                    "copy": head.frozen.as_ref().map(|part| &part.copy.copy),
                    "original": head.original.as_ref().map(|part| part.database.label()),
                    "complete": head.database.is_some(),
                })),
                "database": head.database.as_ref().map(|part| json!({
                    "name": part.name, "server_version": part.server_version, "bytes": part.dump.bytes,
                    "tables": part.tables.len(), "posts": part.history.as_ref().map(|history| history.posts.rows),
                })),
            })
        })
        .collect();
    let damaged: Vec<_> = damaged.iter().map(|damaged| json!({ "id": damaged.id, "why": damaged.why })).collect();
    let list = json!({ "schema": "mm.backup-list/1", "store": store.path, "points": points, "damaged": damaged });
    format!("{}\n", serde_json::to_string_pretty(&list).unwrap_or_default())
}

fn table(points: &[Point], damaged: &[Damaged], whose: &Whose, doubts: &Doubts, pins: &[Pin]) -> String {
    let mut rows = vec![["ID", "CREATED", "RELEASE", "DATABASE", "FILES", "SIZE", "ADDED", "SERVER"].map(String::from)];
    rows.extend(points.iter().map(|Point { head, .. }| {
        [
            head.id.clone(),
            head.created.clone(),
            format!("{} {}", head.version, head.edition),
            match (&head.database, head.incomplete()) {
                (Some(part), _) => format!("{} ({})", part.name, part.server_version),
                (None, Some(part)) => format!("{} ({}), frozen", part.name(), part.server_version()),
                (None, None) => head.mysql.as_ref().map_or_else(|| "-".into(), MysqlPart::in_words),
            },
            head.totals.files.to_string(),
            size(head.totals.bytes),
            size(head.totals.added),
            if head.cold { "stopped" } else { "running" }.into(),
        ]
    }));
    let mut text = columns(&rows);
    let mut line = |line: String| terminal::fold(&mut text, "", "    ", &call::prose(&line));
    for Damaged { id, why } in damaged {
        line(format!("{id}  DAMAGED: {why}"));
    }
    for point in points {
        if let (Some(part), Ok(command)) = (point.head.incomplete(), point.completing()) {
            line(format!("{}  FROZEN: incomplete, its database is {}: {command}", point.head.id, part.in_words()));
        }
    }
    for point in points.iter().filter(|point| whose.is_of_other_host(&point.head)) {
        line(format!("{}  OTHER MACHINE: it is of {}", point.head.id, whose::place(&point.head)));
    }
    for pin in pins.iter().filter(|pin| points.iter().any(|point| point.head.id == pin.id)) {
        line(format!("{}  PINNED: {}", pin.id, pin.in_words()));
    }
    for (id, doubt) in doubts {
        line(format!("{id}  MAY HAVE BEEN CHANGED: {doubt}"));
    }
    text
}

/// Columns that a narrow terminal does without, the first one first: an identifier is the time already.
const DISPENSABLE: [usize; 5] = [1, 6, 4, 7, 3];

fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    let mut shown: Vec<usize> = (0..N).collect();
    for column in DISPENSABLE {
        let width = shown.iter().map(|at| widths[*at] + 2).sum::<usize>();
        if terminal::shown().is_some_and(|there| width > there + 2) {
            shown.retain(|at| *at != column);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = shown.iter().map(|at| format!("{:1$}", row[*at], widths[*at])).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    let mut unit = 0;
    let mut tenths = bytes.saturating_mul(10);
    while tenths >= 10_240 && unit < 4 {
        tenths /= 1024;
        unit += 1;
    }
    let names = ["B", "KiB", "MiB", "GiB", "TiB"];
    if unit == 0 { format!("{bytes} B") } else { format!("{}.{} {}", tenths / 10, tenths % 10, names[unit]) }
}

/// What a dry run would do.
pub(crate) fn plan_table(plan: &Plan) -> String {
    let mut text = String::new();
    for root in &plan.roots {
        let _ = writeln!(text, "store     {}", root.path.display());
    }
    for pattern in &plan.exclude {
        let _ = writeln!(text, "leave out {pattern}");
    }
    text.push_str(match (plan.database, plan.whole_cluster) {
        (false, _) if plan.mysql => "dump      the database of MySQL\n",
        (false, _) => "leave out the database\n",
        (true, false) if plan.freeze => "freeze    the database; mm-backup complete dumps it\n",
        (true, false) => "dump      the database\n",
        (true, true) => "dump      the database, and every other one of its cluster\n",
    });
    if plan.stop {
        text.push_str(if plan.start { "stop the service, and start it again\n" } else { "stop the service\n" });
    }
    text
}

/// What was made, as the one line of a nightly log.
pub(crate) fn made_line(backup: &Backup, store: &Store, shares: bool) -> String {
    let points = store.list().map(|(points, _)| points).unwrap_or_default();
    let whose = points.iter().find(|point| point.head.id == backup.id).map(|made| Whose::at(&made.head.install));
    let points: Vec<Point> =
        points.into_iter().filter(|point| whose.as_ref().is_none_or(|whose| whose.has(&point.head))).collect();
    let added = points.iter().find(|point| point.head.id == backup.id).map_or(0, |point| point.head.totals.added);
    let oldest = points.first().map_or("", |point| point.head.created.get(..10).unwrap_or_default());
    format!(
        "restore point {}: {}, {} of it new, in {:.0} s; {} in {}, the oldest of {oldest}{}\n",
        backup.id,
        size(backup.bytes),
        size(added),
        backup.seconds,
        ui::count(points.len(), "restore point"),
        store.path.display(),
        if shares { "" } else { "; no hard links there: each takes the room of all files" },
    )
}

/// What was made.
pub(crate) fn made_table(backup: &Backup) -> String {
    format!(
        "restore point  {}\nfiles          {} ({})\ndatabase       {}\nserver         {}\nduration       {:.1} s\n",
        backup.path.display(),
        backup.files,
        size(backup.bytes),
        match &backup.freeze {
            Some(freeze) if freeze.has_frozen() => "frozen; mm-backup complete dumps it",
            _ if backup.database || backup.mysql.is_some() => "dumped",
            _ => "left out",
        },
        if backup.cold { "stopped" } else { "running" },
        backup.seconds,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn ages_are_readable() {
        assert_eq!(
            [59, 3600, 93_660].map(|seconds| super::hours(Duration::from_secs(seconds))),
            ["0 min", "1 h", "26 h 1 min"]
        );
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(super::size(0), "0 B");
        assert_eq!(super::size(1536), "1.5 KiB");
        assert_eq!(super::size(u64::MAX), "1677721.5 TiB");
    }
}
