//! The lock row of the schema migrator: `db_lock`, id `mm-lock-key`, expiry in seconds, 15 s ahead, refreshed half-way.

use std::thread;
use std::time::Duration;

use postgres::Client;

use crate::error::{During as _, Result};

const KEY: &str = "mm-lock-key";
const TTL: i64 = 15;

/// Takes the lock; waits for the row that a killed server left behind to expire.
pub(crate) fn take(client: &mut Client) -> Result<()> {
    let doing = || "taking the migration lock".to_owned();
    client
        .batch_execute("CREATE TABLE IF NOT EXISTS db_lock (id varchar(64) PRIMARY KEY, expireat bigint)")
        .during(doing)?;
    loop {
        let now = crate::text::now_ms() / 1000;
        let statement = "INSERT INTO db_lock (id, expireat) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET expireat = excluded.expireat \
                         WHERE db_lock.expireat <= $3";
        if client.execute(statement, &[&KEY, &(now + TTL), &now]).during(doing)? == 1 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
}

pub(crate) fn refresh(client: &mut Client) -> Result<()> {
    let until = crate::text::now_ms() / 1000 + TTL;
    client
        .execute("UPDATE db_lock SET expireat = $2 WHERE id = $1", &[&KEY, &until])
        .during(|| "keeping the migration lock".to_owned())?;
    Ok(())
}

pub(crate) fn release(client: &mut Client) -> Result<()> {
    client
        .execute("DELETE FROM db_lock WHERE id = $1", &[&KEY])
        .during(|| "giving the migration lock back".to_owned())?;
    Ok(())
}
