//! A tunnel on loopback that passes bytes on to a port, and has the troubles of one.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// What happens to a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The connection is cut; others go on.
    Cut,
    /// The connection hangs: both ends are alive for the system, and nothing is passed on. Others go on.
    Hang,
    /// Every connection is cut, and new ones are.
    CutAll,
    /// Nothing is passed on any more, on no connection.
    HangAll,
}

/// A question that is passed on, and whose answer is lost with its connection, once.
#[derive(Debug, Clone, Copy)]
pub struct Unanswered {
    /// What the connection has carried to the server before.
    pub after: &'static str,
    /// What is in the question.
    pub question: &'static str,
}

#[derive(Debug)]
struct State {
    /// For all connections: 0 passes on, 1 hangs, 2 cuts. A connection of its own may also wait for an answer that it loses: 3.
    all: AtomicU8,
    /// Bytes to the server on one connection after which the trouble comes, once.
    after: AtomicU64,
    trouble: Trouble,
    unanswered: Option<Unanswered>,
    has_come: AtomicBool,
    passed: AtomicU64,
}

impl State {
    /// The trouble comes over a connection.
    fn come(&self, own: &AtomicU8) {
        match self.trouble {
            Trouble::Cut => own.store(2, Ordering::SeqCst),
            Trouble::Hang => own.store(1, Ordering::SeqCst),
            Trouble::CutAll => self.all.store(2, Ordering::SeqCst),
            Trouble::HangAll => self.all.store(1, Ordering::SeqCst),
        }
    }
}

/// A tunnel, until the end of the process.
#[derive(Debug)]
pub struct Forwarder {
    /// Where it listens.
    pub port: u16,
    state: Arc<State>,
}

impl Forwarder {
    /// A tunnel to a port of this machine, which works.
    pub fn to(port: u16) -> Self {
        Self::with(port, Trouble::Cut, u64::MAX)
    }

    /// A tunnel that gets into trouble when a connection has carried more than `after` bytes to the server.
    pub fn with(to: u16, trouble: Trouble, after: u64) -> Self {
        Self::open(to, trouble, after, None)
    }

    /// A tunnel that loses the answer to this question, and its connection, or with `all` every connection.
    pub fn losing(to: u16, unanswered: Unanswered, all: bool) -> Self {
        Self::open(to, if all { Trouble::CutAll } else { Trouble::Cut }, u64::MAX, Some(unanswered))
    }

    fn open(to: u16, trouble: Trouble, after: u64, unanswered: Option<Unanswered>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State {
            all: AtomicU8::new(0),
            after: AtomicU64::new(after),
            trouble,
            unanswered,
            has_come: AtomicBool::new(false),
            passed: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Closed at once: what a tunnel does whose other end is gone.
                if shared.all.load(Ordering::SeqCst) == 2 {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let own = Arc::new(AtomicU8::new(0));
                let ends = [(&client, &server, true), (&server, &client, false)];
                for (from, into, counts) in ends {
                    let (from, into) = (from.try_clone().expect("a copy"), into.try_clone().expect("a copy"));
                    let (shared, own) = (Arc::clone(&shared), Arc::clone(&own));
                    std::thread::spawn(move || pass(from, into, counts, &shared, &own));
                }
            }
        });
        Self { port, state }
    }

    /// Whether the trouble has come.
    pub fn has_come(&self) -> bool {
        self.state.has_come.load(Ordering::SeqCst)
    }

    /// Bytes passed on to the server.
    pub fn passed(&self) -> u64 {
        self.state.passed.load(Ordering::SeqCst)
    }

    /// The tunnel works again, for new connections.
    pub fn works_again(&self) {
        self.state.after.store(u64::MAX, Ordering::SeqCst);
        self.state.all.store(0, Ordering::SeqCst);
    }

    /// Whoever was behind it is gone.
    pub fn is_gone(&self) {
        self.state.all.store(2, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut into: TcpStream, counts: bool, state: &State, own: &AtomicU8) {
    let _ = from.set_read_timeout(Some(Duration::from_millis(50)));
    let (mut buffer, mut sent, mut is_near) = ([0; 8192], 0_u64, false);
    loop {
        match own.load(Ordering::SeqCst).max(state.all.load(Ordering::SeqCst)) {
            0 => {}
            3 if !counts => {}
            3 => {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            1 => {
                // What hangs does not notice that one end is closed either.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            _ => break,
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        if own.load(Ordering::SeqCst) == 3 {
            state.come(own);
            own.store(2, Ordering::SeqCst);
            break;
        }
        if let Some(Unanswered { after, question }) = state.unanswered.filter(|_| counts) {
            let has = |words: &str| buffer[..read].windows(words.len()).any(|part| part == words.as_bytes());
            is_near |= has(after);
            if is_near && has(question) && !state.has_come.swap(true, Ordering::SeqCst) {
                own.store(3, Ordering::SeqCst);
            }
        }
        if counts {
            sent += read as u64;
            state.passed.fetch_add(read as u64, Ordering::SeqCst);
            if sent > state.after.load(Ordering::SeqCst) && !state.has_come.swap(true, Ordering::SeqCst) {
                state.come(own);
                continue;
            }
        }
        if into.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = into.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
