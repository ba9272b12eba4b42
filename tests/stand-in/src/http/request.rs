//! A request as it came over the wire.

use std::io::{self, BufRead, Read as _, Write};

use serde_json::Value;

/// The largest body that is read: uploads of the tests are small.
const LIMIT: usize = 64 << 20;

/// One request, its body read to the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path without the query, decoded.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// HTTP/1.0: no chunks, no further request on the connection.
    pub(crate) old: bool,
    /// Over the Unix socket of local mode, where everybody is the administrator.
    pub(crate) local: bool,
}

impl Request {
    /// Reads one request; none when the peer closed the connection between two.
    pub(crate) fn read(input: &mut impl BufRead, output: &mut impl Write) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if input.take(65_536).read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no request line"));
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let old = words.next() == Some("HTTP/1.0");
        let mut request = Self { method: method.to_owned(), path: decoded(path), old, ..Self::default() };
        request.query = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (decoded(key), decoded(&value.replace('+', " "))))
            .collect();
        loop {
            let mut line = String::new();
            input.take(65_536).read_line(&mut line)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                request.headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
        if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            output.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        request.body = read_body(&request, input)?;
        Ok(Some(request))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.header("cookie")?.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `page` and `per_page` as OFFSET and LIMIT.
    pub(crate) fn page(&self, default: i64) -> (i64, i64) {
        let number =
            |name: &str, default: i64| self.param(name).and_then(|text| text.parse().ok()).unwrap_or(default).max(0);
        let size = number("per_page", default).min(200);
        (number("page", 0) * size, size)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The parts of a multipart form: field name, file name, content.
    pub(crate) fn parts(&self) -> Vec<(String, Option<String>, Vec<u8>)> {
        let kind = self.header("content-type").unwrap_or_default();
        let Some(boundary) = kind.split("boundary=").nth(1).map(|boundary| format!("--{}", boundary.trim_matches('"')))
        else {
            return Vec::new();
        };
        let mut parts = Vec::new();
        for part in split(&self.body, boundary.as_bytes()).into_iter().skip(1) {
            let Some(at) = find(part, b"\r\n\r\n") else { continue };
            let (head, content) = part.split_at(at);
            let head = String::from_utf8_lossy(head);
            let attribute = |name: &str| {
                let after = head.split(&format!("; {name}=\"")).nth(1)?;
                after.split('"').next().map(str::to_owned)
            };
            let content = content.get(4..content.len().saturating_sub(2)).unwrap_or_default();
            parts.push((attribute("name").unwrap_or_default(), attribute("filename"), content.to_vec()));
        }
        parts
    }
}

fn read_body(request: &Request, input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut line = String::new();
            input.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16).unwrap_or(0);
            if body.len() + size > LIMIT {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "body too large"));
            }
            let start = body.len();
            body.resize(start + size, 0);
            input.read_exact(body.get_mut(start..).unwrap_or_default())?;
            line.clear();
            input.read_line(&mut line)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0_usize);
    if length > LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "body too large"));
    }
    body.resize(length, 0);
    input.read_exact(&mut body)?;
    Ok(body)
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

fn split<'a>(mut text: &'a [u8], word: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find(text, word) {
        let (part, rest) = text.split_at(at);
        parts.push(part);
        text = rest.get(word.len()..).unwrap_or_default();
    }
    parts.push(text);
    parts
}

/// Percent-decoding.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        if let (b'%', Some(code)) = (byte, digits.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            out.push(code);
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_put_together() {
        let text = "POST /a%20b?x=1%2B1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let request = Request::read(&mut text.as_bytes(), &mut Vec::new()).unwrap().unwrap();
        assert_eq!(
            (request.path.as_str(), request.param("x"), request.body.as_slice()),
            ("/a b", Some("1+1"), &b"abcde"[..])
        );
    }

    #[test]
    fn a_form_with_a_file_is_taken_apart() {
        let body = "--B\r\nContent-Disposition: form-data; name=\"channel_id\"\r\n\r\nc1\r\n\
                    --B\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.txt\"\r\n\r\nhello\r\n\r\n--B--\r\n";
        let headers = vec![("Content-Type".to_owned(), "multipart/form-data; boundary=B".to_owned())];
        let parts = Request { headers, body: body.into(), ..Request::default() }.parts();
        assert_eq!(parts[0], ("channel_id".to_owned(), None, b"c1".to_vec()));
        assert_eq!(parts[1], ("files".to_owned(), Some("a.txt".to_owned()), b"hello\r\n".to_vec()));
    }
}
