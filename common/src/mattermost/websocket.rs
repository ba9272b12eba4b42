//! A WebSocket client (RFC 6455) as small as the tools need it: one text message at a time, no extensions. Written by
//! hand because the crates for it bring hashing, random and HTTP crates of their own for these few lines.

use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use serde_json::Value;
use url::Url;

use super::id;
use super::reach::{self, Ends, Reach};
use crate::contract::error::{Error, Result};

/// A message larger than this is not an event of Mattermost.
const MOST: u64 = 4 * 1024 * 1024;

/// How long a server that answers 429 is left alone.
const PAUSE: Duration = Duration::from_secs(1);

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// What a connection runs over.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// An open connection to `/api/v4/websocket`.
pub struct Socket {
    reader: BufReader<Box<dyn Stream>>,
    url: String,
}

/// Scheme, host and port of the next page, as a browser names them; pages that are no address are passed over.
fn next_origin(pages: &mut std::slice::Iter<'_, String>) -> Option<String> {
    pages.find_map(|page| Some(Url::parse(page).ok()?.origin().ascii_serialization()))
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Socket {
    /// Connects to the server at `base` (`http` or `https`), as a browser on the first of `pages` would, and as one on the
    /// next when the server forbids that (403). `limit` is for connecting and for each later wait. No secret is sent: that
    /// is for the caller to do, to the end that `reach` has confirmed.
    ///
    /// # Errors
    /// Failed when the server cannot be reached or does not upgrade; the answer is quoted.
    pub fn open(base: &str, reach: &Reach, pages: &[String], limit: Duration) -> Result<Self> {
        let mut pages = pages.iter();
        let place = format!("{}/api/v4/websocket", base.trim_end_matches('/'));
        let failed = || Error::failed(format!("cannot open a WebSocket to {place}"));
        let url = Url::parse(&place).map_err(|error| failed().because(error))?;
        let host = url.host_str().ok_or_else(|| failed().because("the address names no host"))?;
        let port = url.port_or_known_default().ok_or_else(|| failed().because("the address names no port"))?;
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = reach.addresses(name, port).map_err(|error| failed().because(error))?;
        let begun = Instant::now();
        let mut origin = next_origin(&mut pages).unwrap_or_else(|| url.origin().ascii_serialization());
        let mut forbidden = Vec::new();
        loop {
            let stream = reach::connect(&addresses, limit).map_err(|error| failed().because(error))?;
            let ends = Ends::of(&stream).map_err(|error| failed().because(error))?;
            let stream: Box<dyn Stream> = if url.scheme() == "https" {
                let any = reach.takes_any_certificate();
                Box::new(super::tls::connect(name, stream, any).map_err(|error| error.within(failed().message()))?)
            } else {
                Box::new(stream)
            };
            let mut socket = Self { reader: BufReader::new(stream), url: place.clone() };
            let status = socket.upgrade(&url, &origin)?;
            match status.split(' ').nth(1).unwrap_or_default() {
                "101" => {
                    reach.confirm(ends)?;
                    return Ok(socket);
                }
                "429" if begun.elapsed() < limit => std::thread::sleep(PAUSE),
                "403" => {
                    forbidden.push(std::mem::take(&mut origin));
                    let Some(next) = next_origin(&mut pages) else { return Err(socket.forbidden(&status, &forbidden)) };
                    origin = next;
                }
                _ => return Err(socket.not_upgraded(&status)),
            }
        }
    }

    /// Asks for the upgrade; the line with the status of the answer, 101 only when the server upgrades.
    fn upgrade(&mut self, url: &Url, origin: &str) -> Result<String> {
        let key = base64(&id::random::<16>()?);
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: {origin}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
            url.path()
        );
        self.reader.get_mut().write_all(request.as_bytes()).map_err(|error| self.failed("ask for", error))?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            // An answer without end of line is cut at 64 kB.
            let mut limited = (&mut self.reader).take(64 * 1024);
            let count = limited.read_line(&mut line).map_err(|error| self.failed("ask for", error))?;
            let line = line.trim_end().to_owned();
            if count == 0 || line.is_empty() || lines.len() > 200 {
                break;
            }
            lines.push(line);
        }
        let status = lines.first().cloned().unwrap_or_else(|| "nothing".into());
        let is_upgrade = lines.iter().any(|line| line.to_lowercase().replace(' ', "") == "upgrade:websocket");
        if status.split(' ').nth(1) == Some("101") && !is_upgrade {
            return Err(self.not_upgraded(&status));
        }
        Ok(status)
    }

    fn not_upgraded(&self, status: &str) -> Error {
        self.failed("upgrade to", format!("the server answers `{status}`"))
            .hint("a proxy before the server must pass the headers Upgrade and Connection and speak HTTP/1.1")
    }

    /// A server forbids (403) an Origin that is not its own. Up to 7.8.6 that is the Host that it was asked for; from
    /// 7.8.7 and 8.0 on the scheme and host of `SiteURL`, where one is set (observed on 5.29.0 to 10.11.6).
    fn forbidden(&self, status: &str, origins: &[String]) -> Error {
        self.failed("upgrade to", format!("the server answers `{status}` to the Origin {}", origins.join(" and to "))).hint(
            "the server takes no other Origin than that of ServiceSettings.SiteURL or of the Host it is asked for: set SiteURL to \
             the address that users type, and let a proxy pass their Host (in nginx `proxy_set_header Host $host;` in the same \
             block as its other proxy_set_header lines: those in a `location` drop the ones around it)",
        )
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Value) -> Result<()> {
        self.write(TEXT, message.to_string().as_bytes())
    }

    /// The next message; control frames are answered on the way.
    ///
    /// # Errors
    /// Failed when none comes within the limit, or the server closes.
    pub fn receive(&mut self) -> Result<Value> {
        let mut text = Vec::new();
        loop {
            let (is_last, kind, payload) = self.frame().map_err(|error| match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => self.failed("read from", "nothing came in time"),
                _ => self.failed("read from", error),
            })?;
            match kind {
                PING => self.write(PONG, &payload)?,
                PONG => {}
                CLOSE => return Err(self.failed("read from", "the server closed it")),
                _ => {
                    text.extend_from_slice(&payload);
                    if text.len() as u64 > MOST {
                        return Err(self.failed("read from", format!("a message is larger than {MOST} bytes")));
                    }
                    if is_last {
                        return serde_json::from_slice(&text).map_err(|error| self.failed("understand", error));
                    }
                }
            }
        }
    }

    fn frame(&mut self) -> std::io::Result<(bool, u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.reader.read_exact(&mut head)?;
        let length = match head[1] & 0x7F {
            126 => {
                let mut bytes = [0; 2];
                self.reader.read_exact(&mut bytes)?;
                u64::from(u16::from_be_bytes(bytes))
            }
            127 => {
                let mut bytes = [0; 8];
                self.reader.read_exact(&mut bytes)?;
                u64::from_be_bytes(bytes)
            }
            short => u64::from(short),
        };
        if length > MOST {
            return Err(std::io::Error::other(format!("a frame is larger than {MOST} bytes")));
        }
        let mut payload = Vec::new();
        (&mut self.reader).take(length).read_to_end(&mut payload)?;
        if payload.len() as u64 != length {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok((head[0] & 0x80 != 0, head[0] & 0x0F, payload))
    }

    /// A client masks what it sends: the mask hides nothing, it keeps proxies from taking it for HTTP.
    fn write(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        let mask = id::random::<4>()?;
        let mut frame = vec![0x80 | kind];
        match u16::try_from(payload.len()) {
            Ok(length @ 0..=125) => frame.push(0x80 | length.to_be_bytes()[1]),
            Ok(length) => {
                frame.push(0x80 | 0x7E);
                frame.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => return Err(self.failed("write to", "the message is too long")),
        }
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.reader.get_mut().write_all(&frame).map_err(|error| self.failed("write to", error))
    }

    fn failed(&self, attempt: &str, cause: impl std::fmt::Display) -> Error {
        Error::failed(format!("cannot {attempt} the WebSocket {}", self.url)).because(cause)
    }
}

/// Base64 (RFC 4648), for the one header that wants it.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            if at <= chunk.len() {
                let index = usize::try_from(number >> (18 - 6 * at) & 63).unwrap_or_default();
                text.push(char::from(ALPHABET[index]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use serde_json::json;

    use super::*;

    #[test]
    fn base64_is_as_in_the_rfc() {
        let cases = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let coded: Vec<String> = cases.iter().map(|text| base64(text.as_bytes())).collect();
        assert_eq!(coded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }

    fn answering(answer: &'static [u8]) -> (String, std::thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut asked = Vec::new();
            let mut buffer = [0; 4096];
            while !asked.ends_with(b"\r\n\r\n") {
                let count = stream.read(&mut buffer).unwrap();
                asked.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(answer).unwrap();
            // The masked pong or message that the client sends next, if it does.
            let count = stream.read(&mut buffer).unwrap_or_default();
            asked.extend_from_slice(&buffer[..count]);
            asked
        });
        (url, thread)
    }

    #[test]
    fn frames_are_put_together_and_pings_answered() {
        let (url, server) = answering(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\
              \x89\x02hi\x01\x09{\"event\":\x80\x08\"hello\"}",
        );
        let mut socket =
            Socket::open(&url, &Reach::default(), &["https://chat.example.org/x".to_owned()], Duration::from_secs(5))
                .unwrap();
        assert_eq!(socket.receive().unwrap(), json!({"event": "hello"}));
        drop(socket);
        let asked = server.join().unwrap();
        let text = String::from_utf8_lossy(&asked);
        assert!(text.contains("Origin: https://chat.example.org\r\n"), "{text}");
        // A pong with the two bytes of the ping, masked.
        let pong = &asked[asked.len() - 8..];
        assert_eq!((pong[0], pong[1]), (0x8A, 0x82));
        assert_eq!([pong[6] ^ pong[2], pong[7] ^ pong[3]], *b"hi");
    }

    #[test]
    fn a_refused_upgrade_says_what_the_server_answered() {
        let (url, _server) = answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        let error =
            Socket::open(&url, &Reach::default(), std::slice::from_ref(&url), Duration::from_secs(5)).unwrap_err();
        assert!(error.causes()[0].contains("403 Forbidden"), "{error:?}");
    }
}
