//! Long work on a server that may stop answering. A program waits for ever where a connection is dead and nobody says so: in
//! a tunnel, behind a proxy, at a server whose machine is gone. So meanwhile the server is asked whether the work goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mm_common::machine::threads;
use mm_common::postgres::server::Database;
use mm_common::{Error, Result};
use serde_json::Value;

/// Between two looks.
const LOOKS: Duration = Duration::from_secs(2);

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(20);

/// How long nothing may go on. A slow disk, or a server that is restarted, takes less.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long nothing may go on in this build.
#[cfg(not(feature = "checkpoints"))]
pub(crate) fn patience() -> Duration {
    PATIENCE
}

/// How long nothing may go on in this build, where a test does not say otherwise.
#[cfg(feature = "checkpoints")]
pub(crate) fn patience() -> Duration {
    let said = std::env::var("MM_CHECKPOINT_PATIENCE").ok().and_then(|seconds| seconds.parse().ok());
    said.map_or(PATIENCE, Duration::from_secs)
}

/// The size of the database, and how many sessions of the role work there: one that waits for its client does not.
const GOES_ON: &str = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS size,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
         WHERE datname = pg_catalog.current_database() AND usename = current_user AND pid <> pg_catalog.pg_backend_pid()
           AND state = 'active' AND wait_event_type IS DISTINCT FROM 'Client') AS working";

/// What is seen of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Bytes of the database on the server.
    pub size: u64,
    /// Bytes here.
    pub here: u64,
}

/// Does `work` on a database, which the flag ends. `here` are the bytes that it has made on this machine, `tell` says how far
/// it is.
///
/// # Errors
/// As the work; failed also when the server has not answered, or nothing has gone on there, for three minutes.
pub(crate) fn watched<T: Send>(
    database: &Database,
    label: &str,
    here: impl Fn() -> u64,
    mut tell: impl FnMut(Seen),
    work: impl Fn(&Database, &AtomicBool) -> Result<T> + Sync,
) -> Result<T> {
    let [ended, done, begun] = std::array::from_fn(|_| Arc::new(AtomicBool::new(false)));
    let watched = database.clone().cancelled_by(&ended);
    let asked = database.clone().with_limit(LOOK).cancelled_by(&done);
    let doing = || {
        begun.store(true, Ordering::Relaxed);
        let result = work(&watched, &ended);
        done.store(true, Ordering::Relaxed);
        result
    };
    let (result, hangs) = threads::both(doing, || {
        let (mut last, mut alive, mut looked) = (None, Instant::now(), Instant::now());
        // Where there is no second thread the work has not begun yet, and is done when this ends.
        while !done.load(Ordering::Relaxed) && (begun.load(Ordering::Relaxed) || alive.elapsed() < LOOKS) {
            std::thread::sleep(Duration::from_millis(50));
            if looked.elapsed() < LOOKS {
                continue;
            }
            let answer = asked.rows(GOES_ON);
            looked = Instant::now();
            let row = answer.as_ref().ok().and_then(|rows| rows.first());
            if let Some((seen, works)) = row.and_then(|row| Some(seen(row, here()))?) {
                tell(seen);
                if works || last != Some(seen) {
                    alive = looked;
                }
                last = Some(seen);
            }
            if alive.elapsed() >= patience() {
                ended.store(true, Ordering::Relaxed);
                return Some((answer.err(), alive.elapsed().as_secs()));
            }
        }
        None
    });
    match (result, hangs) {
        (Err(_), Some((Some(error), seconds))) => {
            Err(Error::failed(format!("{label} has not answered for {seconds} seconds")).because(error.one_line()))
        }
        (Err(error), Some((None, seconds))) => {
            Err(Error::failed(format!("the connections to {label} hang: nothing has gone on for {seconds} seconds"))
                .because(
                    "the server answers new connections, and those that do the work wait for this side, or are gone",
                )
                .because(error.one_line()))
        }
        (result, _) => result,
    }
}

fn seen(row: &Value, here: u64) -> Option<(Seen, bool)> {
    Some((Seen { size: row["size"].as_u64()?, here }, row["working"].as_u64()? > 0))
}

/// How far a work is that makes about `whole` bytes, and how long it will take: `120 of 600 MB, about 40 s more`.
pub(super) fn so_far(bytes: u64, whole: u64, since: Duration) -> String {
    let (done, all) = (bytes / 1_000_000, whole / 1_000_000);
    // Too early, or more than was thought.
    if bytes < whole / 20 || bytes >= whole {
        return format!("{done} of about {all} MB");
    }
    let more = u128::from(whole - bytes) * since.as_millis() / u128::from(bytes) / 1000;
    format!("{done} of about {all} MB, about {more} s more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_when_it_can_be_known() {
        let after = |seconds, bytes| so_far(bytes, 600_000_000, Duration::from_secs(seconds));
        assert_eq!(after(1, 1_000_000), "1 of about 600 MB");
        assert_eq!(after(10, 120_000_000), "120 of about 600 MB, about 40 s more");
        assert_eq!(after(70, 640_000_000), "640 of about 600 MB");
    }
}
