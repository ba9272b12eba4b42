//! A body in pieces, read by a thread of its own: whoever hashes and stores one piece does not keep the network
//! waiting, and a server that falls silent is noticed after a time that does not depend on how long it may take to
//! begin.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::contract::error::{Error, Result};

/// Size of a piece.
const PIECE: usize = 256 * 1024;

/// Pieces in flight; with [`PIECE`] this bounds the memory used.
const AHEAD: usize = 8;

/// How often an empty piece comes when there is no other: who reads can look whether it has been asked to stop.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// The pieces of a body, in order. Empty ones say that the connection is silent but not yet for too long.
#[derive(Debug)]
pub struct Pieces {
    queue: Receiver<io::Result<Vec<u8>>>,
    stall: Duration,
    heard: Instant,
}

impl Pieces {
    pub(super) fn of(reader: impl Read + Send + 'static, stall: Duration) -> Result<Self> {
        let (sender, queue) = sync_channel(AHEAD);
        std::thread::Builder::new()
            .name("body".into())
            .spawn(move || read(reader, &sender))
            .map_err(|error| Error::failed("cannot start a thread").because(error))?;
        Ok(Self { queue, stall, heard: Instant::now() })
    }
}

/// Ends after an error: the connection broke, ended before the announced length, or was silent for too long.
impl Iterator for Pieces {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.queue.recv_timeout(TICK.min(self.stall)) {
            Ok(piece) => {
                self.heard = Instant::now();
                Some(piece)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) if self.heard.elapsed() < self.stall => Some(Ok(Vec::new())),
            Err(RecvTimeoutError::Timeout) => {
                let words = format!("the server has sent nothing for {} seconds", self.stall.as_secs_f32());
                Some(Err(io::Error::new(io::ErrorKind::TimedOut, words)))
            }
        }
    }
}

/// Reads to the end, to the first error, or until nobody listens any more.
fn read(mut reader: impl Read, pieces: &SyncSender<io::Result<Vec<u8>>>) {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => Ok(buffer[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let ended = read.is_err();
        if pieces.send(read).is_err() || ended {
            return;
        }
    }
}
