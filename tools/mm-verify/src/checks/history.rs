//! The messages: compared with the restore point of this hop, else with what its move has read from MySQL, else with the
//! baseline.

use std::path::Path;
use std::time::Duration;

use mm_common::Result;
use mm_common::contract::error::Context as _;
use mm_common::contract::shell;
use mm_common::contract::ui;
use mm_common::machine::budget::Budget;
use mm_common::machine::tree::{Dir, Kind};
use mm_common::mattermost::handed_on;
use mm_common::postgres::fingerprint::{self, History};
use serde_json::Value;

use crate::arguments::Extent;
use crate::check::{Finding, some};
use crate::look::Look;
use crate::restore_point::RestorePoint;

/// What the messages are compared with.
struct Before {
    history: History,
    label: String,
    /// Nothing was written between then and the stop of the server.
    cold: bool,
    /// Everything then was created before this time (milliseconds).
    end: u64,
}

fn before(look: &Look) -> Result<Option<Before>> {
    if let Some(backup) = &look.backup
        && backup.database
    {
        let point = RestorePoint::of(backup)?;
        let label = format!("the restore point {}", point.id);
        return Ok(point.history.map(|history| Before { history, label, cold: point.cold, end: point.end }));
    }
    let proof = look.pgbump.as_ref().and_then(|pgbump| pgbump.proof.as_ref());
    if let Some(history) = proof.and_then(|proof| proof.pointer("/mysql/history")) {
        let history: History = serde_json::from_value(history.clone())
            .context(|| "cannot understand `pgbump.proof.mysql.history`".into())?;
        let end = history.newest.map_or(0, |newest| newest + 1);
        return Ok(Some(Before { history, label: "what was read from MySQL in this hop".into(), cold: true, end }));
    }
    let Some(baseline) = &look.baseline else { return Ok(None) };
    let end = baseline.created.parse().map_or(u64::MAX, |created: jiff::Timestamp| {
        u64::try_from((created.as_second() + 1) * 1000).unwrap_or(u64::MAX)
    });
    let label = format!("the baseline of {}", baseline.created);
    Ok(baseline.history.clone().map(|history| Before { history, label, cold: false, end }))
}

const NOTHING: &str = "neither a restore point nor a baseline is at hand to compare with";

/// There is nothing to compare with; what is missing of a frozen restore point is only not stored yet.
fn nothing(look: &Look) -> Result<Finding> {
    if let Some(backup) = look.backup.as_ref().filter(|backup| backup.is_frozen())
        && !handed_on::is_complete(&backup.path)?
    {
        return Ok(Finding::warn(format!("the restore point {} is frozen: its database is not stored yet", backup.id))
            .hint(format!(
                "mm-backup complete {} --install {} --to {}",
                backup.id,
                shell::word(&look.installation.root),
                shell::word(&backup.store)
            )));
    }
    Ok(Finding::skip(NOTHING).hint("run mm-verify behind mm-backup in the pipeline"))
}

pub(crate) fn posts(look: &mut Look) -> Result<Finding> {
    let Some(before) = before(look)? else { return nothing(look) };
    let database = look.database()?;
    let (then, method) = (&before.history.posts, before.history.method);
    let against = format!("{}: {}, digest {}", before.label, ui::count(then.rows, "post"), then.hash);
    // People may have written since; what they wrote is later than the newest message of then. A record of an earlier
    // release of these tools does not name that one: all posts are met by a second look if nobody wrote.
    let cut = before.history.cut.or(before.history.newest.map(|newest| newest + 1));
    let end = cut.unwrap_or(before.end);
    let mut now = fingerprint::history_by(database, method, Some(end))?.posts;
    if now != *then && cut.is_none() {
        let all = fingerprint::history_by(database, method, None)?.posts;
        if all == *then {
            now = all;
        }
    }
    let evidence = format!("{}, digest {}", ui::count(now.rows, "post"), now.hash);
    if now == *then {
        return Ok(Finding::pass(evidence).against(against));
    }
    // An edit sets editat and a deletion deleteat, so what users did themselves can be told from damage. (A reply raises
    // only updateat, which is in no digest.) An edit also keeps the old text as another post with the same time of
    // creation: such a row makes up for no lost one.
    let since = database.rows(&format!(
        "SELECT pg_catalog.count(*) AS touched, pg_catalog.count(*) FILTER (WHERE originalid <> '' AND deleteat >= {since}) AS copies
         FROM posts WHERE createat < {end} AND (editat >= {since} OR deleteat >= {since})",
        since = before.end
    ))?;
    let number = |key: &str| since.first().and_then(|row| row[key].as_u64()).unwrap_or_default();
    let (touched, copies) = (number("touched"), number("copies"));
    let kept = now.rows.saturating_sub(copies);
    let finding = if kept < then.rows {
        Finding::fail(format!("{} missing: {evidence}", ui::count(then.rows - kept, "message"))).hint(BACK)
    } else if touched > 0 || (!before.cold && now.rows > then.rows) {
        Finding::warn(format!(
            "{evidence}; {} edited or deleted since, so the digests cannot be equal",
            ui::count(touched, "older message")
        ))
        .hint("take the restore point with --stop: then the comparison is exact")
    } else {
        Finding::fail(format!("messages were altered or added: {evidence}")).hint(BACK)
    };
    Ok(finding.against(against))
}

const BACK: &str =
    "go back with `mm-swap rollback --database`, or restore the database with `mm-backup restore ID --database`";

pub(crate) fn counts(look: &mut Look) -> Result<Finding> {
    let Some(before) = before(look)? else { return nothing(look) };
    // Only the counts are wanted here: a cut before all posts makes their digest cheap.
    let now = fingerprint::history(look.database()?, Some(0))?.counts;
    let then = &before.history.counts;
    let (mut lost, mut fewer, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (table, rows) in then {
        let have = now.get(table).copied().unwrap_or_default();
        all.push(format!("{have} {table}"));
        if have >= *rows {
            continue;
        }
        let words = format!("{table} has {have} of {}", ui::count(rows, "row"));
        // Rows of these are never removed by what users do, only marked; the others lose some every day.
        let is_kept = matches!(table.as_str(), "users" | "teams" | "channels" | "fileinfo" | "emoji");
        if is_kept || have == 0 { lost.push(words) } else { fewer.push(words) }
    }
    let finding = if !lost.is_empty() {
        Finding::fail(some(&lost, 10))
            .hint("rows are missing: go back with `mm-swap rollback --database`, or restore the database of the restore point")
    } else if !fewer.is_empty() {
        Finding::warn(some(&fewer, 10))
    } else {
        Finding::pass(all.join(", "))
    };
    Ok(finding.against(before.label))
}

pub(crate) fn threads(look: &mut Look) -> Result<Finding> {
    let database = look.database()?;
    // A reply whose root post is gone cannot be shown. Deleting a root marks its replies too, so both stay.
    let rows = database
        .rows(
            "SELECT pg_catalog.count(*) FILTER (WHERE p.rootid <> '') AS replies,
               pg_catalog.count(*) FILTER (WHERE p.rootid <> '' AND r.id IS NULL) AS orphans,
               pg_catalog.count(*) FILTER (WHERE c.id IS NULL) AS homeless
             FROM posts p LEFT JOIN posts r ON r.id = p.rootid AND p.rootid <> ''
               LEFT JOIN channels c ON c.id = p.channelid
             WHERE p.deleteat = 0",
        )
        .context(|| "cannot read the threads".to_owned())?;
    let number = |key: &str| rows.first().and_then(|row| row[key].as_u64()).unwrap_or_default();
    let (replies, orphans, homeless) = (number("replies"), number("orphans"), number("homeless"));
    let words = format!(
        "{}, {orphans} without root post; {} without channel",
        ui::count(replies, "reply"),
        ui::count(homeless, "post")
    );
    let config = &look.installation.config;
    let retention = config.flag("DataRetentionSettings", "EnableMessageDeletion") == Some(true);
    Ok(if orphans > 0 && homeless == 0 && retention {
        Finding::warn(words).hint("the retention policy removes a root post while younger replies to it stay")
    } else if orphans + homeless > 0 {
        Finding::fail(words).hint("rows of `posts` or `channels` are missing: compare with the restore point")
    } else {
        Finding::pass(words)
    })
}

/// How many files `--files sample` looks at: enough to see a file store that was lost, moved or not restored, in well
/// under a second.
const SAMPLE: u64 = 2000;

/// How many rows are held at a time when all files are looked at.
const PAGE: u64 = 10_000;
/// All rows of a site with ten million of them take minutes.
const LONGEST: Duration = Duration::from_secs(7200);

/// What the rows say of the files, looked at so far.
#[derive(Default)]
struct Tally {
    looked: u64,
    wrong: u64,
    /// The first few.
    words: Vec<String>,
}

impl Tally {
    fn add(&mut self, root: &Dir, row: &Value) {
        let path = row["path"].as_str().unwrap_or_default();
        self.looked += 1;
        let words = match size_of(root, Path::new(path)) {
            Some(bytes) if row["size"].as_u64().is_none_or(|size| size == bytes) => return,
            Some(bytes) => format!("{path} has {bytes} bytes instead of {}", row["size"]),
            None => format!("{path} is missing"),
        };
        self.wrong += 1;
        if self.words.len() < 3 {
            self.words.push(words);
        }
    }
}

pub(crate) fn files(look: &mut Look) -> Result<Finding> {
    let driver = look.installation.config.text("FileSettings", "DriverName").unwrap_or_else(|| "local".into());
    if driver != "local" {
        return Ok(Finding::skip(format!("the file store is `{driver}`, not a directory of this machine")));
    }
    let database = look.database()?;
    let stored = "FROM fileinfo WHERE deleteat = 0 AND coalesce(path, '') <> ''";
    let total = database.value(&format!("SELECT pg_catalog.count(*) {stored}"))?.as_u64().unwrap_or_default();
    // An attachment whose row is gone is shown to nobody. A retention policy removes rows and leaves the message.
    let unnamed = database
        .value(
            "SELECT pg_catalog.count(*) FROM (SELECT (pg_catalog.regexp_matches(fileids, '[a-z0-9]{26}', 'g'))[1] AS id FROM posts
               WHERE deleteat = 0 AND pg_catalog.length(fileids) > 2) AS named
             WHERE NOT EXISTS (SELECT 1 FROM fileinfo f WHERE f.id = named.id)",
        )?
        .as_u64()
        .unwrap_or_default();
    let mut tally = Tally::default();
    if total > 0 {
        let root = Dir::open_following(&look.installation.data)?;
        let (mut after, mut order) = (String::new(), format!("ORDER BY pg_catalog.md5(id) LIMIT {SAMPLE}"));
        if look.options.files == Extent::All {
            order = format!("ORDER BY id LIMIT {PAGE}");
        }
        // Rows are what the service user makes of them: a view has another one after each.
        let budget = Budget::new("rows of fileinfo", total.saturating_mul(2).max(1000), u64::MAX, LONGEST);
        loop {
            let rows = database.rows(&format!("SELECT id, path, size {stored} AND id > '{after}' {order}"))?;
            for row in &rows {
                budget.spend(0)?;
                tally.add(&root, row);
            }
            match rows.last().and_then(|row| row["id"].as_str()) {
                Some(last) if look.options.files == Extent::All => after = last.replace('\'', "''"),
                _ => break,
            }
        }
    }
    let looked =
        format!("{} of {} looked at in {}", tally.looked, ui::count(total, "file"), look.installation.data.display());
    Ok(if tally.wrong > 0 {
        Finding::fail(format!("not as uploaded: {}, such as {}; {looked}", tally.wrong, some(&tally.words, 3)))
            .hint("see whether the data directory is mounted; `mm-backup restore ID --files` puts files back")
    } else if unnamed > 0 {
        Finding::warn(format!("{} of messages without a row in fileinfo; {looked}", ui::count(unnamed, "attachment")))
            .hint("a retention policy leaves that behind; without one, compare `fileinfo` with the restore point")
    } else if total == 0 {
        Finding::pass("no file was ever uploaded")
    } else {
        Finding::pass(looked)
    })
}

fn size_of(root: &Dir, path: &Path) -> Option<u64> {
    let directory = root.descend(path.parent()?).ok()??;
    let meta = directory.look(path.file_name()?).ok()??;
    (meta.kind == Kind::File).then_some(meta.bytes)
}
