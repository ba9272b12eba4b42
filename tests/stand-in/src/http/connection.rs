//! A connection over TCP or the Unix socket of local mode, and the loop that answers its requests.

use std::fmt::Write as _;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Request, Response, reason};

/// One end of a connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    fn another(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }

    pub(crate) fn read_timeout(&self, limit: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(limit)),
            Self::Unix(stream) => stream.set_read_timeout(Some(limit)),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}

/// What to do with a request.
pub(crate) enum Answer {
    Send(Response),
    /// Send it, then hand the connection over (a websocket).
    Upgrade(Response, Box<dyn FnOnce(Connection) + Send>),
}

/// Answers the requests of a connection until either side closes it.
pub(crate) fn serve(connection: Connection, answer: impl Fn(&Request) -> Answer) -> io::Result<()> {
    // The idle limit of the real server is 60 s.
    connection.read_timeout(Duration::from_secs(60))?;
    let local = matches!(connection, Connection::Unix(_));
    let mut input = BufReader::new(connection.another()?);
    let mut output = connection;
    while let Some(mut request) = Request::read(&mut input, &mut output)? {
        request.local = local;
        let close =
            request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) || request.old;
        match answer(&request) {
            Answer::Send(response) => send(
                &mut output,
                &if request.old { response.sized() } else { response },
                request.method == "HEAD",
                close,
            )?,
            Answer::Upgrade(response, go_on) => {
                send(&mut output, &response, true, false)?;
                go_on(output);
                return Ok(());
            }
        }
        if close {
            break;
        }
    }
    Ok(())
}

fn send(output: &mut Connection, response: &Response, head: bool, close: bool) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if close {
        text.push_str("Connection: close\r\n");
    }
    let chunked = !response.sized && response.body.len() > 2048;
    if response.status != 101 {
        let _ = write!(text, "Date: {}\r\n", crate::text::http_date(crate::text::now_ms()));
        if chunked {
            text.push_str("Transfer-Encoding: chunked\r\n");
        } else if !(head && response.body.is_empty()) {
            let _ = write!(text, "Content-Length: {}\r\n", response.body.len());
        }
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    if !head && chunked {
        for chunk in response.body.chunks(4096) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    } else if !head {
        bytes.extend_from_slice(&response.body);
    }
    output.write_all(&bytes)?;
    output.flush()
}
