//! What the recorded calls do not show: websocket, local mode, cookies, creation and removal, files, the configuration in a database.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_push_string,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod lab;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use lab::{Lab, Site};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

fn open(site: &Site, headers: &[(&'static str, String)]) -> Result<WebSocket<TcpStream>, u16> {
    let mut request = format!("ws://127.0.0.1:{}/api/v4/websocket", site.port).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(("127.0.0.1", site.port)).unwrap();
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

fn next(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(text.as_str()).unwrap();
        }
    }
}

#[test]
fn a_websocket_proves_something_only_after_the_challenge() {
    let lab = Lab::new();
    lab.seeded("x");
    for version in ["5.29.0", "5.37.1", "6.3.0", "9.10.0"] {
        let site = lab.server(version, "x");
        let token = site.token("alice");
        let mut socket = open(&site, &[]).unwrap();
        socket.get_ref().set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        assert!(socket.read().is_err(), "{version}: it says nothing by itself");
        socket.get_ref().set_read_timeout(None).unwrap();
        let challenge = json!({"seq": 1, "action": "authentication_challenge", "data": {"token": token}});
        socket.send(Message::text(challenge.to_string())).unwrap();
        let hello = next(&mut socket);
        assert_eq!(hello["event"], "hello");
        assert!(hello["data"]["server_version"].as_str().unwrap().starts_with(&format!("{version}.")));
        assert_eq!(hello["data"].get("connection_id").is_some(), version != "5.29.0");
        assert_eq!(next(&mut socket), json!({"status": "OK", "seq_reply": 1}));
        assert_eq!(next(&mut socket)["event"], "status_change");

        let channel = lab.sql("x", "SELECT id FROM channels WHERE name = 'dev' LIMIT 1");
        let post = format!(r#"{{"channel_id":"{channel}","message":"heard on {version}"}}"#);
        let id = site.call("POST", "/api/v4/posts", &site.token("bob"), &post).id();
        let event = next(&mut socket);
        assert_eq!(event["event"], "posted");
        let heard: Value = serde_json::from_str(event["data"]["post"].as_str().unwrap()).unwrap();
        assert_eq!(heard["id"], id.as_str());

        let mut socket = open(&site, &[("Authorization", format!("Bearer {token}"))]).unwrap();
        assert_eq!(next(&mut socket)["event"], "hello");
        assert_eq!(open(&site, &[("Origin", "http://evil.test".to_owned())]).unwrap_err(), 403);
        let plain = site.get("/api/v4/websocket", &token);
        assert!(plain.status == 400 && String::from_utf8_lossy(&plain.body).starts_with("Bad Request\n{"));
    }
}

/// As 5.29.0 to 7.1.9 did on the one hand, and 7.8.15, 10.6.0 and 10.11.6 on the other.
#[test]
fn a_websocket_wants_the_origin_of_the_address_asked_and_from_7_8_7_on_that_of_the_site_url() {
    let lab = Lab::new();
    lab.seeded("x");
    for (version, of_site) in [("5.37.10", false), ("7.1.9", false), ("7.8.15", true), ("10.6.0", true)] {
        let mut site = lab.install(version, "x");
        let path = site.root.join("config/config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["ServiceSettings"]["SiteURL"] = "https://chat.example.com".into();
        std::fs::write(&path, config.to_string()).unwrap();
        site.start("");
        site.wait();
        let origin = |from: String| open(&site, &[("Origin", from)]).map_or_else(|status| status, |_| 101);
        let (asked, public) = (format!("http://127.0.0.1:{}", site.port), "https://chat.example.com".to_owned());
        let expected = if of_site { (403, 101) } else { (101, 403) };
        assert_eq!((origin(asked), origin(public)), expected, "{version}");
        assert_eq!(origin("http://chat.example.com".into()), 403, "{version}: the scheme counts");
        assert!(open(&site, &[]).is_ok(), "{version}: a program that is no browser names none");
        // In no official release, though a pull request had it before 6.3.0.
        assert_eq!(lab.sql("x", "SELECT count(*) FROM jobs WHERE type = 'fix_channel_unreads_for_crt'"), "0");
    }
}

#[test]
fn local_mode_is_an_administrator_without_a_me() {
    let lab = Lab::new();
    lab.seeded("x");
    let path = lab.path().join("override.sock");
    let mut site = lab.install("9.10.0", "x");
    let mut command = site.command(&[]);
    command.env("MM_SERVICESETTINGS_ENABLELOCALMODE", "true").env("MM_SERVICESETTINGS_LOCALMODESOCKETLOCATION", &path);
    site.spawn(command);
    site.wait();
    site.until_log("Starting Local Unix Socket");
    let call = |line: &str| {
        let mut stream = UnixStream::connect(&path).unwrap();
        write!(stream, "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(call("GET /api/v4/teams").starts_with("HTTP/1.1 200 "));
    assert!(call("GET /api/v4/users/me").starts_with("HTTP/1.1 404 "));
    let carol = lab.sql("x", "SELECT id FROM users WHERE username = 'carol'");
    assert!(call(&format!("DELETE /api/v4/users/{carol}?permanent=true")).starts_with("HTTP/1.1 200 "));
    assert_eq!(lab.sql("x", "SELECT count(*) FROM users WHERE username = 'carol'"), "0");
    // The overrides left no trace in the file.
    assert!(!std::fs::read_to_string(site.root.join("config/config.json")).unwrap().contains("override.sock"));
}

#[test]
fn accounts_channels_posts_and_files_are_made_and_removed_as_the_configuration_allows() {
    let lab = Lab::new();
    lab.seeded("x");
    for version in ["5.29.0", "10.6.1"] {
        let site = lab.server(version, "x");
        let admin = site.token("admin");
        let name = format!("scratch{}", version.replace('.', ""));
        let user =
            json!({"username": name, "email": format!("{name}@example.test"), "password": "Sekret-1-abc"}).to_string();
        assert_eq!(site.call("POST", "/api/v4/users", "", &user).status, 403, "no open server");
        let made = site.call("POST", "/api/v4/users", &admin, &user);
        assert_eq!(made.status, 201);
        let team = lab.sql("x", "SELECT id FROM teams WHERE name = 'alpha'");
        let join = json!({"team_id": team, "user_id": made.id()}).to_string();
        assert_eq!(site.call("POST", &format!("/api/v4/teams/{team}/members"), &admin, &join).status, 201);
        let login = json!({"login_id": name, "password": "Sekret-1-abc"}).to_string();
        let token = site.call("POST", "/api/v4/users/login", "", &login).header("Token").unwrap().to_owned();
        let members = site.get(&format!("/api/v4/users/me/teams/{team}/channels/members"), &token);
        assert_eq!(members.json().as_array().unwrap().len(), 2);

        let channel = json!({"team_id": team, "name": name, "display_name": "Scratch", "type": "P"}).to_string();
        let channel = site.call("POST", "/api/v4/channels", &token, &channel);
        assert_eq!(channel.status, 201, "{}", site.log());
        let form = format!(
            "--B\r\nContent-Disposition: form-data; name=\"channel_id\"\r\n\r\n{}\r\n--B\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.txt\"\r\n\r\nhello file\r\n--B--\r\n",
            channel.id()
        );
        let bearer = format!("Authorization: Bearer {token}");
        let upload = site
            .request("POST", "/api/v4/files", &[&bearer, "Content-Type: multipart/form-data; boundary=B"], &form)
            .unwrap();
        assert_eq!(upload.status, 201);
        let file = upload.json()["file_infos"][0]["id"].as_str().unwrap().to_owned();
        let post = json!({"channel_id": channel.id(), "message": "with a file", "file_ids": [file]}).to_string();
        let post = site.call("POST", "/api/v4/posts", &token, &post);
        assert_eq!((post.status, post.json()["file_ids"][0].as_str()), (201, Some(file.as_str())));
        assert_eq!(site.get(&format!("/api/v4/files/{file}"), &token).body, b"hello file");
        assert_eq!(site.get(&format!("/api/v4/files/{file}"), &site.token("dave")).status, 403);
        let path = format!("/api/v4/posts/{}", post.id());
        assert_eq!(
            site.call("PUT", &format!("{path}/patch"), &token, r#"{"message":"edited"}"#).json()["message"],
            "edited"
        );
        assert_eq!(site.call("DELETE", &path, &token, "").status, 200);
        assert_eq!(site.get(&path, &token).status, 404);
        assert_ne!(lab.sql("x", &format!("SELECT deleteat FROM posts WHERE id = '{}'", post.id())), "0");

        let user = format!("/api/v4/users/{}", made.id());
        assert_eq!(
            site.call("DELETE", &format!("{user}?permanent=true"), &admin, "").id(),
            "api.user.delete_user.not_enabled.app_error"
        );
        assert_eq!(site.call("DELETE", &user, &admin, "").status, 200);
        assert_eq!(site.get("/api/v4/users/me", &token).status, 401, "deactivated");
    }
}

#[test]
fn a_browser_gets_cookies_and_the_page_names_bundles_that_are_there() {
    let lab = Lab::new();
    lab.seeded("x");
    let site = lab.server("10.6.1", "x");
    let body = r#"{"login_id":"alice","password":"Sekret-alice-1"}"#;
    let answer = site.request("POST", "/api/v4/users/login", &["X-Requested-With: XMLHttpRequest"], body).unwrap();
    let names: Vec<&str> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "Set-Cookie")
        .filter_map(|(_, value)| value.split('=').next())
        .collect();
    assert_eq!(names, ["MMAUTHTOKEN", "MMUSERID", "MMCSRF"]);
    let page = String::from_utf8(site.get("/alpha/channels/town-square", "").body).unwrap();
    for path in page.split('"').filter(|word| word.starts_with("/static/")) {
        assert_eq!(site.get(path, "").status, 200, "{path}");
    }
    // The chunks of the client are named by its main script alone.
    let client = std::fs::read_dir(site.root.join("client")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = client.map(|name| name.into_string().unwrap()).collect();
    let main = names.iter().find(|name| name.starts_with("main.") && name.ends_with("js")).unwrap();
    let main = String::from_utf8(site.get(&format!("/static/{main}"), "").body).unwrap();
    for chunk in ["17.", "232.", "8901."] {
        let name = names.iter().find(|name| name.starts_with(chunk)).unwrap();
        assert!(!page.contains(name.as_str()) && main.contains(name.as_str()), "{name}");
        std::fs::remove_file(site.root.join("client").join(name)).unwrap();
        assert_eq!(site.get(&format!("/static/{name}"), "").status, 404, "{name}");
    }
    assert_eq!(site.get("/static/../config/config.json", "").status, 404);
    assert_eq!(site.get("/static/%2e%2e/config/config.json", "").status, 404);
}

#[test]
fn the_configuration_may_lie_in_a_database() {
    let lab = Lab::new();
    lab.create("x");
    let mut site = lab.install("9.5.14", "nowhere");
    let before = std::fs::read_to_string(site.root.join("config/config.json")).unwrap();
    let port = site.port;
    let command = |site: &Site| {
        let mut command = site.command(&[]);
        command.env("MM_CONFIG", lab.url("x")).env("MM_SERVICESETTINGS_LISTENADDRESS", format!("127.0.0.1:{port}"));
        command
    };
    let first = command(&site);
    site.spawn(first);
    site.wait();
    site.stop();
    assert_eq!(
        std::fs::read_to_string(site.root.join("config/config.json")).unwrap(),
        before,
        "the file is not touched"
    );
    assert_eq!(lab.sql("x", "SELECT count(*) FROM configurations WHERE active"), "1");
    lab.sql("x", "UPDATE configurations SET value = replace(value, '\"SiteName\": \"Mattermost\"', '\"SiteName\": \"Ours\",\"NoSuchKey\":1')");
    let again = command(&site);
    site.spawn(again);
    site.wait();
    assert_eq!(site.get("/api/v4/config/client?format=old", "").json()["SiteName"], "Ours");
    assert_eq!(lab.sql("x", "SELECT count(*) || ' ' || count(active) FROM configurations"), "2 1");
}
