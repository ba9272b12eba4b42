use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use super::*;

/// Answers one request with `answer` and returns what was asked.
fn once(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut asked, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            asked.push_str(&line);
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        asked.push_str(&String::from_utf8(body).unwrap());
        stream.write_all(answer.as_bytes()).unwrap();
        asked
    });
    (url, thread)
}

#[test]
fn a_refusal_is_an_answer_that_names_the_error() {
    let (url, asked) = once(
        "HTTP/1.1 500 Internal Server Error\r\nX-Version-Id: 9.10.0.9\r\nContent-Length: 64\r\n\r\n\
         {\"id\":\"app.x.app_error\",\"detailed_error\":\"NULL\",\"status_code\":5}",
    );
    let answer = Server::at(url).get("/api/v4/users/me", Some("token")).unwrap();
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("x-version-id"), Some("9.10.0.9"));
    assert_eq!(answer.verdict(), "500 app.x.app_error (NULL)");
    assert!(asked.join().unwrap().to_lowercase().contains("authorization: bearer token"));
}

#[test]
fn a_server_that_limits_the_rate_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::at(format!("http://{}", listener.local_addr().unwrap()));
    let thread = std::thread::spawn(move || {
        ["429 Too Many Requests\r\nRetry-After: 0", "200 OK"].map(|status| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"{\"a\":1}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.extend(byte);
            }
            write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
            asked
        })
    });
    assert_eq!(server.post("/api/v4/posts", None, &serde_json::json!({"a": 1})).unwrap().status, 200);
    let [first, second] = thread.join().unwrap();
    assert_eq!(first, second, "the same is asked again");
}

#[test]
fn the_release_of_a_server_is_read_from_its_header() {
    let is_of = |id: &str, version: &str| {
        let headers = vec![("x-version-id".to_owned(), id.to_owned())];
        let answer = Answer { status: 200, headers, body: Value::Null, bytes: Vec::new() };
        answer.is_of(&Version::parse(version).unwrap())
    };
    assert!(is_of("9.10.2.9.10.2.c0d8bf68.false", "9.10.2"));
    assert!(is_of("9.10.0.9.10.2.c0d8bf68.false", "9.10.2"));
    assert!(!is_of("9.10.0.9.10.1.c0d8bf68.false", "9.10.2"));
    assert!(!is_of("9.10.20.9.10.20.c0.false", "9.10.2"));
    assert!(!is_of("", "9.10.2"));
}

#[test]
fn a_redirect_is_not_followed() {
    let (url, _asked) = once("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(Server::at(url).get("/", None).unwrap().status, 302);
}

#[test]
fn a_closed_port_is_an_error_that_names_the_call() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Server::at(url).get("/api/v4/system/ping", None).unwrap_err();
    assert!(error.message().contains("/api/v4/system/ping"), "{error:?}");
    assert!(error.next_step().is_some());
}

#[test]
fn an_upload_is_a_form_and_what_is_large_is_measured() {
    let (url, asked) = once("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}");
    let file = Upload { field: "files", name: "a.txt", contents: b"hello" };
    let answer = Server::at(url).upload("/api/v4/files", None, &[("channel_id", "c")], &file).unwrap();
    assert_eq!(answer.status, 201);
    let asked = asked.join().unwrap();
    assert!(asked.contains("name=\"channel_id\"\r\n\r\nc\r\n"), "{asked}");
    assert!(asked.contains("filename=\"a.txt\"") && asked.contains("\r\n\r\nhello\r\n--"), "{asked}");

    let (url, _asked) = once("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let measured = Server::at(url).measure("/static/main.js", None).unwrap();
    assert_eq!((measured.bytes, measured.sha256), (5, crate::contract::digest::of_bytes(b"hello")));
}
