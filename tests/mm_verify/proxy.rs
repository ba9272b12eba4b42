//! A proxy before a site, as an administrator would set it up.

use std::path::Path;
use std::process::Child;

use mm_test_support::process;
use mm_test_support::site::Site;

/// Lines that pass everything on, as the documentation has them.
pub(crate) const PASSES: &str = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
                                 proxy_set_header Connection upgrade; proxy_set_header Host $http_host;";

/// A proxy on `port` with these lines in its server.
pub(crate) fn start(site: &Site, port: u16, lines: &str) -> Child {
    start_as(site, "proxy", port, lines)
}

/// As [`start`], one of several.
pub(crate) fn start_as(site: &Site, name: &str, port: u16, lines: &str) -> Child {
    let directory = site.directory().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let place = directory.to_str().unwrap();
    std::fs::write(
        directory.join("nginx.conf"),
        format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;
             events {{ worker_connections 64; }}
             http {{ access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxied;
               fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
               server {{ listen 127.0.0.1:{port}; {lines} location / {{ proxy_pass {}; }} }} }}",
            site.url()
        ),
    )
    .unwrap();
    process::run("chown", &["-R", "mm-test:", place]);
    let child = process::as_user("mm-test", Path::new("/usr/sbin/nginx"))
        .args(["-e", &format!("{place}/error.log"), "-c", &format!("{place}/nginx.conf"), "-p", place])
        .current_dir(&directory)
        .spawn()
        .expect("scripts/prepare installs nginx");
    process::wait_until("the proxy to listen", std::time::Duration::from_secs(30), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    child
}
