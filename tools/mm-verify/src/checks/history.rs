//! The messages: compared with the restore point of this hop, else with the baseline.

use std::path::Path;

use mm_common::Result;
use mm_common::contract::error::Context as _;
use mm_common::machine::tree::{Dir, Kind};
use mm_common::postgres::fingerprint::{self, History};

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
    let Some(baseline) = &look.baseline else { return Ok(None) };
    let end = baseline.created.parse().map_or(u64::MAX, |created: jiff::Timestamp| {
        u64::try_from((created.as_second() + 1) * 1000).unwrap_or(u64::MAX)
    });
    let label = format!("the baseline of {}", baseline.created);
    Ok(baseline.history.clone().map(|history| Before { history, label, cold: false, end }))
}

const NOTHING: &str = "neither a restore point nor a baseline is at hand to compare with";

pub(crate) fn posts(look: &mut Look) -> Result<Finding> {
    let Some(before) = before(look)? else {
        return Ok(Finding::skip(NOTHING).hint("run mm-verify behind mm-backup in the pipeline"));
    };
    let database = look.database()?;
    let (then, method) = (&before.history.posts, before.history.method);
    let against = format!("{}: {} posts, digest {}", before.label, then.rows, then.hash);
    // People may have written since; what they wrote is later than what was there then. Without a cut of its own the
    // record holds all posts of its time, those with a clock ahead included: these are met by the second look.
    let mut now = fingerprint::history_by(database, method, Some(before.history.cut.unwrap_or(before.end)))?.posts;
    if now != *then && before.history.cut.is_none() {
        let all = fingerprint::history_by(database, method, None)?.posts;
        if all == *then {
            now = all;
        }
    }
    if now == *then {
        return Ok(Finding::pass(format!("{} posts, digest {}", now.rows, now.hash)).against(against));
    }
    let evidence = format!("{} posts, digest {}", now.rows, now.hash);
    if now.rows < then.rows {
        return Ok(Finding::fail(format!("{} messages are missing: {evidence}", then.rows - now.rows))
            .against(against)
            .hint("go back with `mm-swap rollback --database`, or restore the database with `mm-backup restore ID --database`"));
    }
    // An edit or a deletion raises updateat (observed), so what the users did themselves can be told from damage.
    let touched = database
        .value(&format!("SELECT count(*) FROM posts WHERE createat < {0} AND updateat >= {0}", before.end))?
        .as_u64()
        .unwrap_or_default();
    Ok(if touched > 0 || (!before.cold && now.rows > then.rows) {
        Finding::warn(format!(
            "{evidence}; {touched} older messages were edited, deleted or answered since, so the digests cannot be equal"
        ))
        .hint("take the restore point with --stop: then the comparison is exact")
    } else {
        Finding::fail(format!("messages were altered or added: {evidence}"))
            .hint("go back with `mm-swap rollback --database`, or restore the database with `mm-backup restore ID --database`")
    }
    .against(against))
}

pub(crate) fn counts(look: &mut Look) -> Result<Finding> {
    let Some(before) = before(look)? else {
        return Ok(Finding::skip(NOTHING).hint("run mm-verify behind mm-backup in the pipeline"));
    };
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
        let words = format!("{table} has {have} of {rows} rows");
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
            "SELECT count(*) FILTER (WHERE p.rootid <> '') AS replies,
               count(*) FILTER (WHERE p.rootid <> '' AND r.id IS NULL) AS orphans,
               count(*) FILTER (WHERE c.id IS NULL) AS homeless
             FROM posts p LEFT JOIN posts r ON r.id = p.rootid AND p.rootid <> ''
               LEFT JOIN channels c ON c.id = p.channelid
             WHERE p.deleteat = 0",
        )
        .context(|| "cannot read the threads".to_owned())?;
    let number = |key: &str| rows.first().and_then(|row| row[key].as_u64()).unwrap_or_default();
    let (replies, orphans, homeless) = (number("replies"), number("orphans"), number("homeless"));
    let words = format!("{replies} replies, {orphans} without root post; {homeless} posts without channel");
    Ok(if orphans + homeless > 0 {
        Finding::fail(words).hint("rows of `posts` or `channels` are missing: compare with the restore point")
    } else {
        Finding::pass(words)
    })
}

/// Files are looked at in full up to this number, beyond it this many of them: enough to see a file store that was
/// lost, moved or not restored, in well under a second.
const FILES: u64 = 2000;

pub(crate) fn files(look: &mut Look) -> Result<Finding> {
    let driver = look.installation.config.text("FileSettings", "DriverName").unwrap_or_else(|| "local".into());
    if driver != "local" {
        return Ok(Finding::skip(format!("the file store is `{driver}`, not a directory of this machine")));
    }
    let rows = look.database()?.rows(&format!(
        "SELECT path, size, count(*) OVER () AS n FROM fileinfo
         WHERE deleteat = 0 AND coalesce(path, '') <> '' ORDER BY md5(id) LIMIT {FILES}"
    ))?;
    let total = rows.first().and_then(|row| row["n"].as_u64()).unwrap_or_default();
    if rows.is_empty() {
        return Ok(Finding::pass("no file was ever uploaded"));
    }
    let root = Dir::open_following(&look.installation.data)?;
    let mut wrong = Vec::new();
    for row in &rows {
        let path = row["path"].as_str().unwrap_or_default();
        match size_of(&root, Path::new(path)) {
            Some(bytes) if row["size"].as_u64().is_none_or(|size| size == bytes) => {}
            Some(bytes) => wrong.push(format!("{path} has {bytes} bytes instead of {}", row["size"])),
            None => wrong.push(format!("{path} is missing")),
        }
    }
    let looked = format!("{} of {total} files looked at in {}", rows.len(), look.installation.data.display());
    Ok(if wrong.is_empty() {
        Finding::pass(looked)
    } else {
        Finding::fail(format!("{} are not as they were uploaded: {}; {looked}", wrong.len(), some(&wrong, 3)))
            .hint("see whether the data directory is mounted; `mm-backup restore ID --files` puts files back")
    })
}

fn size_of(root: &Dir, path: &Path) -> Option<u64> {
    let directory = root.descend(path.parent()?).ok()??;
    let meta = directory.look(path.file_name()?).ok()??;
    (meta.kind == Kind::File).then_some(meta.bytes)
}
