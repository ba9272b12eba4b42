//! How the server of this machine is reached, and by which connection a secret may go.
//!
//! Anybody may listen where the server does while it is down, and pass on what he gets. So a connection to it is used only
//! after a first answer, to a request without a token, has come over it, and when its other end is then a descriptor of the
//! server's own process. A server that speaks TLS itself is connected to at its own port, under the name of the site URL; with
//! that proof, or where no secret goes, its certificate may be of an authority that this machine does not know, of another name,
//! or too old: its users may all the same trust it, and it has not changed with the release.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector, Transport,
};
use url::Url;

use super::site::Installation;
use crate::contract::error::{Error, Result};
use crate::machine::service::{Service, process};
use crate::machine::{signals, user};

/// The first answer is a short JSON text.
const MOST: usize = 64 * 1024;

/// How long connecting may take where nobody says.
const UNLIMITED: Duration = Duration::from_secs(60);

/// The way to a server: none of its own for an address that an administrator named.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// The address to connect to, whatever the name of the server resolves to.
    address: Option<SocketAddr>,
    /// The service whose process has to be at the other end.
    service: Option<Service>,
    /// Nothing secret goes over it.
    is_open: bool,
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    ours: SocketAddr,
    theirs: SocketAddr,
}

impl Installation {
    /// The way to the server at one of its own addresses. Who may not look at the server's descriptors asks nothing of them.
    pub fn reach(&self, url: &str) -> Reach {
        let own = self.local_url();
        let local = Url::parse(&own).ok().filter(|_| own != url && url == self.answering_url());
        let address = local.and_then(|url| {
            let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
            (host.as_str(), url.port_or_known_default()?).to_socket_addrs().ok()?.next()
        });
        Reach { address, service: user::is_root().then(|| self.service.clone()), is_open: false }
    }
}

impl Reach {
    /// The same way, for what is asked without a secret of a server that may just be starting.
    #[must_use]
    pub fn without_proof(self) -> Self {
        Self { service: None, is_open: true, ..self }
    }

    /// Whether it is something else than a certificate that tells who is at the other end, or does not matter.
    pub(super) fn takes_any_certificate(&self) -> bool {
        self.is_open || self.service.is_some()
    }

    /// What names lead to.
    pub(super) fn names(&self) -> Names {
        Names { address: self.address, others: DefaultResolver::default() }
    }

    /// Where to connect to for a host and port.
    pub(super) fn addresses(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        match self.address {
            Some(address) => Ok(vec![address]),
            None => (host, port).to_socket_addrs().map(Iterator::collect),
        }
    }

    /// To be called when something has answered over the connection.
    ///
    /// # Errors
    /// Refused (exit 5) when its other end is not the server's.
    pub(super) fn confirm(&self, ends: Ends) -> Result<()> {
        let Some(service) = &self.service else { return Ok(()) };
        let own = process::servers(&service.install).into_iter().chain(service.process()?);
        if own.into_iter().any(|process| process.holds_connection(ends.theirs, ends.ours)) {
            return Ok(());
        }
        Err(Error::refused(format!("it is not the server that answers at {}", ends.theirs))
            .because(format!("no process of the installation in `{}` has that connection", service.install.display()))
            .hint(format!(
                "find out what does: ss -tnp sport = :{}; or say where to ask with --url URL",
                ends.theirs.port()
            )))
    }
}

impl Ends {
    pub(super) fn of(stream: &TcpStream) -> std::io::Result<Self> {
        Ok(Self { ours: stream.local_addr()?, theirs: stream.peer_addr()? })
    }
}

/// Connects to the first of these that answers.
pub(super) fn connect(addresses: &[SocketAddr], limit: Duration) -> std::io::Result<TcpStream> {
    let mut stream = Err(std::io::Error::other("the host has no address"));
    for address in addresses {
        stream = TcpStream::connect_timeout(address, limit);
        if stream.is_ok() {
            break;
        }
    }
    let stream = stream?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(stream)
}

/// Opens the connections of an HTTP client, and confirms each before it is used.
#[derive(Debug)]
pub(super) struct Confirming {
    reach: Reach,
    /// The path of the request that needs nobody to be known.
    ping: String,
    tls: RustlsConnector,
}

impl Confirming {
    /// For the server at `base`.
    pub(super) fn new(reach: Reach, base: &str) -> Self {
        let path = Url::parse(base).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        Self { reach, ping: format!("{path}/api/v4/system/ping"), tls: RustlsConnector::default() }
    }

    fn ask(&self, transport: &mut dyn Transport, details: &ConnectionDetails<'_>) -> Result<(), ureq::Error> {
        let host = details.uri.authority().map(ureq::http::uri::Authority::as_str).unwrap_or_default();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: mm-tools/{}\r\nAccept: */*\r\n\r\n",
            self.ping,
            env!("CARGO_PKG_VERSION")
        );
        let output = transport.buffers().output();
        let Some(place) = output.get_mut(..request.len()) else { return Err(unfit("the request does not fit")) };
        place.copy_from_slice(request.as_bytes());
        transport.transmit_output(request.len(), details.timeout)?;
        let mut answer = Vec::new();
        while !is_whole(&answer).map_err(unfit)? {
            if answer.len() > MOST {
                return Err(unfit("the first answer is too long"));
            }
            if !transport.await_input(details.timeout)? {
                return Err(unfit("the server closed the connection"));
            }
            let input = transport.buffers().input();
            let count = input.len();
            answer.extend_from_slice(input);
            transport.buffers().input_consume(count);
        }
        Ok(())
    }
}

/// Whether a whole answer of HTTP/1.1 is there.
fn is_whole(answer: &[u8]) -> Result<bool, &'static str> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let value = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).next_back()
    };
    if value("connection") == Some("close") {
        return Err("the server closes the connection after each answer");
    }
    let body = &answer[end + 4..];
    if value("transfer-encoding") == Some("chunked") {
        return Ok(body.ends_with(b"0\r\n\r\n"));
    }
    match value("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) => Ok(body.len() >= length),
        _ => Err("the first answer does not say how long it is"),
    }
}

fn unfit(why: &'static str) -> ureq::Error {
    ureq::Error::Other(why.into())
}

impl Connector<()> for Confirming {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Self::Out>, ureq::Error> {
        let limit = left(details.timeout)?.unwrap_or(UNLIMITED);
        let stream = connect(&details.addrs, limit).map_err(|error| late(error, details.timeout))?;
        let ends = Ends::of(&stream)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        let Some(transport) = self.tls.connect(details, Some(Tcp { stream, buffers }))? else { return Ok(None) };
        let mut transport: Box<dyn Transport> = Box::new(transport);
        if self.reach.service.is_some() {
            self.ask(&mut *transport, details)?;
            self.reach.confirm(ends).map_err(|error| ureq::Error::Other(Box::new(error)))?;
        }
        Ok(Some(transport))
    }
}

/// A plain connection.
#[derive(Debug)]
struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(left(timeout)?)?;
        self.stream.write_all(&self.buffers.output()[..amount]).map_err(|error| late(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(left(timeout)?)?;
        let count = loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => signals::check_io()?,
                read => break read.map_err(|error| late(error, timeout))?,
            }
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        // Nothing was asked, so there is nothing to read from one that is open.
        let quiet = || {
            self.stream.set_nonblocking(true)?;
            let quiet = matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
            self.stream.set_nonblocking(false)?;
            Ok::<_, std::io::Error>(quiet)
        };
        quiet().unwrap_or(false)
    }
}

fn left(timeout: NextTimeout) -> Result<Option<Duration>, ureq::Error> {
    if timeout.after.is_zero() {
        return Err(ureq::Error::Timeout(timeout.reason));
    }
    Ok(timeout.not_zero().map(|left| *left))
}

fn late(error: std::io::Error, timeout: NextTimeout) -> ureq::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

/// Where names lead: an address of the way needs no asking.
#[derive(Debug)]
pub(super) struct Names {
    address: Option<SocketAddr>,
    others: DefaultResolver,
}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let Some(address) = self.address else { return self.others.resolve(uri, config, timeout) };
        let mut known = self.empty();
        known.push(address);
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_first_answer_is_known() {
        for (answer, whole) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", Ok(false)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Ok(true)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", Ok(false)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", Ok(true)),
            ("HTTP/1.1 200 OK\r\n", Ok(false)),
            ("HTTP/1.1 200 OK\r\n\r\n", Err(())),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", Err(())),
        ] {
            assert_eq!(is_whole(answer.as_bytes()).map_err(drop), whole, "{answer}");
        }
    }
}
