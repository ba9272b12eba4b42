//! What is looked at of the target's server and the way to it.

use std::time::{Duration, Instant};

use mm_common::Result;
use mm_common::machine::disk;
use mm_common::postgres::cluster;

use super::super::origin::Old;
use super::super::target::Target;
use super::Question;
use crate::preflight::Seen;

/// Bytes of a sample that is sent to the target.
const SAMPLE: usize = 4 << 20;

/// Bytes of database that a restore makes in a second: 602 MB took 30 s with two processes.
const RESTORED_PER_SECOND: f64 = 20_971_520.0;

/// How far a clock may be off before it is worth a word.
const CLOCK: f64 = 5.0;

pub(super) fn writable(target: &Target) -> Result<Seen> {
    let rows = target.front.rows(
        "SELECT pg_catalog.pg_is_in_recovery() AS standby, pg_catalog.current_setting('transaction_read_only') AS read_only",
    )?;
    let row = rows.first().cloned().unwrap_or_default();
    if row["standby"] == true {
        return Ok(Seen::fail("it is a standby", "name the primary server"));
    }
    if target.admin.is_none() && row["read_only"] == "on" {
        let hint = "ALTER ROLE or ALTER DATABASE ... SET default_transaction_read_only = off";
        return Ok(Seen::fail("its sessions may only read", hint));
    }
    Ok(Seen::pass(format!("PostgreSQL {}", target.front.version)))
}

pub(super) fn space(question: &Question<'_>) -> Result<Seen> {
    let bytes = question.origin.bytes;
    let state = question.installation.state.path();
    // Observed: 112 MB of dump for 602 MB of database. That of a restore point is there already.
    let (dump, free) = (bytes / 2, disk::free(state)?);
    if matches!(question.old, Old::Living(_)) && free < dump {
        return Ok(Seen::fail(
            format!("the dump may take {dump} bytes at `{}`, where {free} are free", state.display()),
            "make room there, or move the state directory (--state-dir)",
        ));
    }
    let here = cluster::of_database(&question.target.front).ok().flatten();
    let Some(cluster) = here else {
        let hint = format!("see that its disk has {bytes} bytes, and as much again for its write-ahead log");
        return Ok(Seen::skip("the disk of a server elsewhere cannot be asked", hint));
    };
    let free = disk::free(&cluster.data)?;
    if free < bytes {
        return Ok(Seen::fail(
            format!("the database has {bytes} bytes, and {free} are free at `{}`", cluster.data.display()),
            "make room there",
        ));
    }
    Ok(Seen::pass(format!("{bytes} bytes; {free} are free at `{}`", cluster.data.display())))
}

pub(super) fn tls(target: &Target) -> Result<Seen> {
    let database = target.own.as_ref().unwrap_or(&target.front);
    let rows =
        database.rows("SELECT ssl, version FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()")?;
    let row = rows.first().cloned().unwrap_or_default();
    let host = &target.named.source.host;
    if row["ssl"] == true {
        return Ok(Seen::pass(row["version"].as_str().unwrap_or("TLS").to_owned()));
    }
    if host.starts_with('/') || host.starts_with("127.") || matches!(host.as_str(), "localhost" | "::1") {
        return Ok(Seen::pass("none, and it does not leave this machine"));
    }
    Ok(Seen::warn(
        format!("no TLS to {host}: messages and passwords can be read on the way"),
        "sslmode=verify-full in the target's data source, or a tunnel",
    ))
}

pub(super) fn clock(target: &Target) -> Result<Seen> {
    let asked = "SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::pg_catalog.float8 AS now";
    let theirs = target.front.value(asked)?.as_f64().unwrap_or_default();
    let ours = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let off = theirs - ours;
    if off.abs() > CLOCK {
        return Ok(Seen::warn(
            format!("it differs by {off:.0} s from this machine's"),
            "let both follow one source of time",
        ));
    }
    Ok(Seen::pass("as this machine's"))
}

pub(super) fn network(question: &Question<'_>) -> Result<Seen> {
    let database = question.target.own.as_ref().unwrap_or(&question.target.front);
    let timed = |script: &str| -> Result<f64> {
        let begun = Instant::now();
        database.script(script)?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let once = timed("SELECT 1;\n")?;
    let often = timed(&"SELECT 1;\n".repeat(21))?;
    let trip = ((often - once) / 20.0).max(0.0);
    // What is sent as a literal is read to its end and thrown away.
    let sent = timed(&format!("SELECT pg_catalog.length('{}');\n", "x".repeat(SAMPLE)))?;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let (sample, bytes) = (SAMPLE as f64, question.origin.bytes as f64);
    let rate = sample / (sent - once).max(0.001);
    let seconds = (bytes / RESTORED_PER_SECOND).max(bytes / 2.0 / rate) + bytes / RESTORED_PER_SECOND / 4.0 + 5.0;
    let estimate = Duration::from_secs_f64(seconds).as_secs();
    Ok(Seen::pass(format!(
        "a round trip of {:.1} ms, {:.0} MB a second; about {estimate} s without the server for {bytes:.0} bytes",
        trip * 1000.0,
        rate / 1e6
    )))
}
