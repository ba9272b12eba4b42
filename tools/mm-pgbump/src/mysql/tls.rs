//! TLS to MySQL, as `tls` in the data source asks for it. The crate that speaks MySQL's protocol would bring another TLS with
//! certificates of its own; so it speaks to a socket of ours as to a local server, and what goes on from there is encrypted by the
//! TLS of all these tools, with the certificates of the host.
//!
//! MySQL's TLS begins within its protocol: the server greets, the client asks for TLS, and only then says who it is. That one more
//! packet is put in here, and the packets after it are numbered one lower for the client, until it is let in; commands begin at 0.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mm_common::machine::given::Given;
use mm_common::mattermost::tls;
use mm_common::mysql::Address;
use mm_common::{Context as _, Error, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::wait;

/// How much is read at once; TLS takes no more into one record.
const PIECE: usize = 16 * 1024;

/// More than any packet before somebody is let in.
const LONGEST: usize = 1 << 16;

/// In the flags of the greeting and of the answer: TLS.
const OFFERED: u8 = 0x08;

/// What a data source asks for (go-sql-driver).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// TLS, with a certificate that the host trusts, of the name.
    Verified,
    /// TLS, whatever the certificate.
    AnyCertificate,
    /// The same, where the server offers it.
    WhereOffered,
}

impl Wish {
    /// Reads the parameter `tls`.
    ///
    /// # Errors
    /// Refused for a name: the driver knows configurations that a program has registered, and the server registers none.
    pub(super) fn of(parameter: &str) -> Result<Self> {
        match parameter.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Self::Verified),
            "skip-verify" => Ok(Self::AnyCertificate),
            "preferred" => Ok(Self::WhereOffered),
            _ => Err(Error::refused("the data source of the server is not understood")
                .because("its tls is none of true, false, skip-verify and preferred")
                .hint("correct SqlSettings.DataSource")),
        }
    }
}

/// A socket at which the server answers, once.
pub(super) struct Relay {
    // Its directory goes with it: once the client is there, nobody else can connect.
    _place: Given,
    path: PathBuf,
    fault: Fault,
}

impl Relay {
    /// Connects to the server and hears its greeting; none where it offers no TLS, and that was only preferred: whoever speaks to
    /// a socket takes what he says there for local, and says his password in clear.
    ///
    /// # Errors
    /// When it cannot be reached, does not greet, or offers no TLS where that was asked for.
    pub(super) fn begin(
        address: &Address,
        wish: Wish,
        (reached, greeted): (Duration, Duration),
    ) -> Result<Option<Self>> {
        let server = reach(address, reached)?;
        let host = address.host.clone();
        let heard = Arc::new(server.try_clone().context(|| spoken(&host))?);
        let greeting = wait::given_up(greeted, move || packet(&mut &*heard))
            // Whoever was given up goes on listening otherwise.
            .inspect_err(|_| drop(server.shutdown(Shutdown::Both)))?
            .context(|| spoken(&host))?;
        if !offers_tls(&greeting) && !is_error(&greeting) {
            return match wish {
                Wish::WhereOffered => Ok(None),
                _ => {
                    Err(Error::failed(spoken(&host)).because("the server offers none, and the data source asks for it"))
                }
            };
        }
        let attempt = || "cannot make a socket of our own".to_owned();
        let place = Given::make(&std::env::temp_dir(), "mm-tools-mysql.")?;
        let path = place.path().join("socket");
        let listener = UnixListener::bind(&path).context(attempt)?;
        let fault = Fault::default();
        let told = fault.clone();
        let relay = move || {
            let Ok((mut client, _)) = listener.accept() else { return };
            drop(listener);
            // The client is hung up on after this: it asks why.
            if let Err(error) = carry(&mut client, (server, &greeting), &host, wish) {
                *told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        };
        std::thread::Builder::new().spawn(relay).context(attempt)?;
        Ok(Some(Self { _place: place, path, fault }))
    }

    /// Where the client connects to.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What tells why it has ended; it may be asked as long as the connection is there.
    pub(super) fn fault(&self) -> Fault {
        self.fault.clone()
    }
}

/// Why a connection has ended, where neither side wanted it.
#[derive(Debug, Clone, Default)]
pub(super) struct Fault(Arc<Mutex<Option<Error>>>);

impl Fault {
    /// It is told once.
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn spoken(host: &str) -> String {
    format!("cannot speak TLS with {host}")
}

fn reach(address: &Address, limit: Duration) -> Result<TcpStream> {
    let attempt = || format!("cannot reach {}, port {}", address.host, address.port);
    let mut last = Error::failed("its name leads nowhere");
    for place in (address.host.as_str(), address.port).to_socket_addrs().context(attempt)? {
        match TcpStream::connect_timeout(&place, limit) {
            Ok(stream) => {
                stream.set_nodelay(true).context(attempt)?;
                return Ok(stream);
            }
            Err(error) => last = Error::failed("nobody answers").because(error),
        }
    }
    Err(last.within(attempt()))
}

/// Lets the client in over TLS, and then passes on what either says. That the client hangs up is no fault.
fn carry(client: &mut UnixStream, (mut server, greeting): (TcpStream, &[u8]), host: &str, wish: Wish) -> Result<()> {
    let attempt = || spoken(host);
    client.write_all(greeting).context(attempt)?;
    if is_error(greeting) {
        return Ok(());
    }
    let mut answer = packet(client).context(attempt)?;
    // Flags, the longest packet, the character set, and bytes that say nothing.
    let Some(head) = answer.get_mut(4..36) else {
        return Err(Error::failed(attempt()).because("the answer to its greeting is too short"));
    };
    head[1] |= OFFERED;
    let request: Vec<u8> = [&[32, 0, 0, 1], &*head].concat();
    server.write_all(&request).context(attempt)?;
    let mut stream = tls::connect(host, server, wish != Wish::Verified)?;
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).context(attempt)?;
    }
    answer[3] = answer[3].wrapping_add(1);
    stream.write_all(&answer).and_then(|()| stream.flush()).context(attempt)?;
    let_in(client, &mut stream).context(attempt)?;
    let mut buffer = vec![0; PIECE];
    loop {
        // What is decrypted already, no poll tells of.
        loop {
            match stream.conn.reader().read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) if client.write_all(&buffer[..read]).is_err() => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Error::failed(attempt()).because(error)),
            }
        }
        let (says, asks) = waited(&stream.sock, client).context(attempt)?;
        if says {
            if stream.conn.read_tls(&mut stream.sock).context(attempt)? == 0 {
                return Ok(());
            }
            stream.conn.process_new_packets().map_err(|error| Error::failed(attempt()).because(error))?;
        }
        if asks {
            let read = match client.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => return Ok(()),
                Ok(read) => read,
            };
            stream.conn.writer().write_all(&buffer[..read]).context(attempt)?;
        }
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut stream.sock).context(attempt)?;
        }
    }
}

/// Passes on, packet by packet, what is said until the server lets the client in, or does not.
fn let_in(client: &mut UnixStream, server: &mut (impl Read + Write)) -> io::Result<()> {
    loop {
        let mut said = packet(server)?;
        said[3] = said[3].wrapping_sub(1);
        client.write_all(&said)?;
        match said.get(4..) {
            Some([0 | 0xff, ..]) | None => return Ok(()),
            // The password is known already; that the client is let in is the next packet.
            Some([1, 3]) => continue,
            Some(_) => {}
        }
        let mut answer = packet(client)?;
        answer[3] = answer[3].wrapping_add(1);
        server.write_all(&answer)?;
        server.flush()?;
    }
}

/// A packet: three bytes with its length, one with its number, and what it says.
fn packet(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    from.read_exact(&mut packet)?;
    let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet is too long for a greeting"));
    }
    packet.resize(4 + length, 0);
    from.read_exact(&mut packet[4..])?;
    Ok(packet)
}

fn is_error(packet: &[u8]) -> bool {
    packet.get(4) == Some(&0xff)
}

/// After the version (up to a zero), a number of four bytes, and nine bytes stand the lower flags.
fn offers_tls(greeting: &[u8]) -> bool {
    let version = greeting.iter().skip(5).position(|byte| *byte == 0).map(|length| 5 + length);
    version.and_then(|end| greeting.get(end + 1 + 4 + 9 + 1)).is_some_and(|flags| flags & OFFERED != 0)
}

/// Waits until the one or the other has something to say.
fn waited(one: &TcpStream, other: &UnixStream) -> io::Result<(bool, bool)> {
    let mut both = [PollFd::new(one.as_fd(), PollFlags::POLLIN), PollFd::new(other.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut both, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok((both[0].any().unwrap_or(true), both[1].any().unwrap_or(true))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_is_read_as_the_driver_reads_it() {
        for (text, wanted) in [
            ("true", Wish::Verified),
            ("TRUE", Wish::Verified),
            ("1", Wish::Verified),
            ("skip-verify", Wish::AnyCertificate),
            ("preferred", Wish::WhereOffered),
        ] {
            assert_eq!(Wish::of(text).unwrap(), wanted);
        }
        assert_eq!(Wish::of("ours").unwrap_err().code(), 5);
    }

    fn greeting(flags: [u8; 2]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0, 10];
        bytes.extend_from_slice(b"8.0.36\0");
        bytes.extend_from_slice(&[1, 2, 3, 4]);
        bytes.extend_from_slice(b"12345678\0");
        bytes.extend_from_slice(&flags);
        bytes[0] = u8::try_from(bytes.len() - 4).unwrap();
        bytes
    }

    #[test]
    fn without_tls_nothing_is_said_over_a_socket_that_would_be_taken_for_local() {
        let begun = |flags, wish| {
            let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(&greeting(flags)).unwrap();
                stream
            });
            let address = Address::parse(&format!("mm:secret@tcp(127.0.0.1:{port})/db")).unwrap();
            let limit = Duration::from_secs(20);
            let relay = Relay::begin(&address, wish, (limit, limit));
            drop(server.join().unwrap());
            relay
        };
        assert!(begun([0xff, 0xf7], Wish::WhereOffered).unwrap().is_none());
        assert!(begun([0xff, 0xff], Wish::WhereOffered).unwrap().is_some());
        for wish in [Wish::Verified, Wish::AnyCertificate] {
            let error = begun([0xff, 0xf7], wish).err().unwrap();
            assert!(error.one_line().contains("127.0.0.1"), "{error:?}");
        }
    }

    #[test]
    fn a_greeting_says_whether_tls_is_offered() {
        assert!(offers_tls(&greeting([0xff, 0xff])) && !offers_tls(&greeting([0xff, 0xf7])));
        assert!(!offers_tls(&[]) && !offers_tls(b"\0\0\0\0\xff"));
    }

    #[test]
    fn packets_are_numbered_for_each_side_until_the_client_is_in() {
        let (mut us, mut client) = UnixStream::pair().unwrap();
        let (mut server, mut them) = UnixStream::pair().unwrap();
        let passing = std::thread::spawn(move || let_in(&mut us, &mut server));
        // Another way to sign in is asked for, answered, and good; the last packet comes of itself.
        them.write_all(&[1, 0, 0, 3, 0xfe]).unwrap();
        assert_eq!(packet(&mut client).unwrap(), [1, 0, 0, 2, 0xfe]);
        client.write_all(&[1, 0, 0, 3, 7]).unwrap();
        assert_eq!(packet(&mut them).unwrap(), [1, 0, 0, 4, 7]);
        them.write_all(&[2, 0, 0, 5, 1, 3, 1, 0, 0, 6, 0]).unwrap();
        assert_eq!(packet(&mut client).unwrap(), [2, 0, 0, 4, 1, 3]);
        assert_eq!(packet(&mut client).unwrap(), [1, 0, 0, 5, 0]);
        passing.join().unwrap().unwrap();
    }
}
