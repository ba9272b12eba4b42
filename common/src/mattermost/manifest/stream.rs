//! The outer layer of an archive: reading, hashing and unpacking gzip, on a thread of its own so that the tar layer
//! does not wait for it.

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::bufread::GzDecoder;

use crate::contract::digest::Hasher;
use crate::contract::error::{Error, Result};
use crate::contract::progress;

/// Size of the pieces handed from thread to thread; large enough that handing over costs nothing.
const PIECE: usize = 256 * 1024;

/// Pieces in flight; with [`PIECE`] this bounds the memory used.
const AHEAD: usize = 8;

/// The tar stream inside a gzip file.
pub(super) struct Inflated {
    pieces: Option<Receiver<io::Result<Vec<u8>>>>,
    piece: Vec<u8>,
    at: usize,
    worker: Option<JoinHandle<String>>,
}

impl Inflated {
    /// Starts to read.
    pub(super) fn new(reader: impl Read + Send + 'static) -> Result<Self> {
        let (sender, pieces) = sync_channel(AHEAD);
        let worker = std::thread::Builder::new()
            .name("gunzip".into())
            .spawn(move || inflate(reader, &sender))
            .map_err(|error| Error::failed("cannot start a thread").because(error))?;
        Ok(Self { pieces: Some(pieces), piece: Vec::new(), at: 0, worker: Some(worker) })
    }

    /// The SHA-256 of the gzip file. To be asked when the tar stream has been read to its end.
    pub(super) fn digest(mut self) -> String {
        drop(self.pieces.take());
        // A panic of the worker has shown as the end of the stream; an empty digest equals none.
        self.worker.take().and_then(|worker| worker.join().ok()).unwrap_or_default()
    }
}

impl Read for Inflated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.pieces.as_ref().map(Receiver::recv) {
                Some(Ok(piece)) => (self.piece, self.at) = (piece?, 0),
                Some(Err(_)) | None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        progress::passed(count as u64);
        Ok(count)
    }
}

/// Reads to the end or the first error; a receiver that is gone ends it too. Returns the digest of what was read.
fn inflate(reader: impl Read, pieces: &SyncSender<io::Result<Vec<u8>>>) -> String {
    let mut decoder = GzDecoder::new(BufReader::with_capacity(PIECE, Hashing { reader, hasher: Hasher::default() }));
    loop {
        let mut piece = vec![0; PIECE];
        match fill(&mut decoder, &mut piece) {
            Ok(0) => break,
            Ok(count) => {
                piece.truncate(count);
                if pieces.send(Ok(piece)).is_err() {
                    return String::new();
                }
            }
            Err(error) => {
                // When nobody listens any more, an earlier error is being reported.
                let _ = pieces.send(Err(error));
                return String::new();
            }
        }
    }
    let mut rest = decoder.into_inner();
    match rest.fill_buf() {
        Ok([]) => rest.into_inner().hasher.finish(),
        Ok(_) => {
            let error = io::Error::new(io::ErrorKind::InvalidData, "something follows after the end of the gzip data");
            let _ = pieces.send(Err(error));
            String::new()
        }
        Err(error) => {
            let _ = pieces.send(Err(error));
            String::new()
        }
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

struct Hashing<R> {
    reader: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
