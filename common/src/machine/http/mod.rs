//! The way out: HTTP requests to servers that this project does not run. The host's certificate authorities, proxies
//! from the environment, a limit for each phase, redirects counted and never from https to http. Nothing is unpacked
//! on the way (a `.tar.gz` stays one), and any status is an answer.

mod pieces;
mod proxy;
mod trust;

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use ureq::http::{HeaderMap, Method, Request};
use ureq::{Agent, Body};
use url::{Host, Url};

pub use pieces::Pieces;
pub use proxy::Environment;

use crate::contract::error::{Error, Result};

/// How long each phase of a request may take, and what is trusted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Finding the address, connecting, TLS.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// Without a single byte of the body.
    pub stall: Duration,
    /// Redirects followed.
    pub redirects: u32,
    /// Certificate authorities to trust beside the host's (PEM).
    pub ca: Option<PathBuf>,
    /// Proxy settings.
    pub environment: Environment,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Slow name servers and satellite links stay below this; a firewall that drops packets does not answer later.
            connect: Duration::from_secs(20),
            // A proxy that scans what it fetches for malware sends nothing before it has the whole file.
            first_byte: Duration::from_secs(120),
            stall: Duration::from_secs(30),
            // As many as browsers' and curl's users ever meet between a download page and its storage.
            redirects: 10,
            ca: None,
            environment: Environment::of_process(),
        }
    }
}

/// Makes requests.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    options: Options,
}

/// The head of an answer, with its body still to be read.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The address that answered, after redirects.
    pub url: Url,
    headers: HeaderMap,
    body: Body,
    stall: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// What happened.
    pub error: Error,
    /// Whether it may be different a little later: connections, time limits, name servers; not TLS, redirects, usage.
    pub passing: bool,
}

impl Trouble {
    /// Trouble that will be the same next time.
    pub fn lasting(error: Error) -> Self {
        Self { error, passing: false }
    }

    /// Trouble that may be over soon.
    pub fn passing(error: Error) -> Self {
        Self { error, passing: true }
    }
}

impl Client {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// Refused when the file of certificate authorities cannot be used.
    pub fn new(options: Options) -> Result<Self> {
        let config = Agent::config_builder()
            .tls_config(trust::config(options.ca.as_deref())?)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("mm-tools/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(options.connect))
            .timeout_resolve(Some(options.connect))
            .timeout_send_request(Some(options.connect))
            .timeout_recv_response(Some(options.first_byte))
            // The reader of a body looks after `stall`; this ends the thread behind it in the end.
            .timeout_per_read(Some(options.stall.max(options.first_byte)))
            .input_buffer_size(256 * 1024)
            .proxy(None)
            .build();
        Ok(Self { agent: config.into(), options })
    }

    /// GET. Redirects are followed within their limit; every other status is an answer.
    pub fn get(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Answer, Trouble> {
        self.ask(&Method::GET, url, headers)
    }

    /// As [`Client::get`], for requests that may take long: `stop` is asked again and again, and when it fails, nobody
    /// waits for the answer any more.
    pub fn get_unless(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        stop: &dyn Fn() -> Result<()>,
    ) -> Result<Answer, Trouble> {
        self.ask_unless(Method::GET, url, headers, stop)
    }

    /// HEAD, which differs from [`Client::get_unless`] in that the body of the answer is empty.
    pub fn head_unless(&self, url: &Url, stop: &dyn Fn() -> Result<()>) -> Result<Answer, Trouble> {
        self.ask_unless(Method::HEAD, url, &[], stop)
    }

    fn ask_unless(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        stop: &dyn Fn() -> Result<()>,
    ) -> Result<Answer, Trouble> {
        let (client, url) = (self.clone(), url.clone());
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (sender, answers) = sync_channel(1);
        std::thread::Builder::new()
            .name("request".into())
            .spawn(move || {
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                // When nobody waits any more, the answer is of no use.
                let _ = sender.send(client.ask(&method, &url, &headers));
            })
            .map_err(|error| Trouble::lasting(Error::failed("cannot start a thread").because(error)))?;
        loop {
            stop().map_err(Trouble::lasting)?;
            match answers.recv_timeout(pieces::TICK) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Trouble::lasting(Error::failed("a fault in this program stopped a request")));
                }
            }
        }
    }

    fn ask(&self, method: &Method, url: &Url, headers: &[(&str, &str)]) -> Result<Answer, Trouble> {
        let mut url = url.clone();
        for _ in 0..=self.options.redirects {
            check(&url).map_err(Trouble::lasting)?;
            let proxy = self.options.environment.proxy_for(&url).map_err(Trouble::lasting)?;
            // A body that was packed on the way would not have the digest that was published.
            let mut request = Request::builder().method(method).uri(url.as_str()).header("accept-encoding", "identity");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(()).map_err(|error| trouble(&url, &error.into()))?;
            let request = self.agent.configure_request(request).proxy(proxy).build();
            let response = self.agent.run(request).map_err(|error| trouble(&url, &error))?;
            let (head, body) = response.into_parts();
            let status = head.status.as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { status, url, headers: head.headers, body, stall: self.options.stall });
            }
            url = redirect(&url, &head.headers).map_err(Trouble::lasting)?;
        }
        let limit = self.options.redirects;
        Err(Trouble::lasting(
            Error::failed(format!("cannot get `{url}`")).because(format!("more than {limit} redirects led to it")),
        ))
    }

    /// GET of something small: status 200 and its body, or `None` when the server says that it has no such thing.
    pub fn small(&self, url: &Url, most: u64) -> Result<Option<Vec<u8>>, Trouble> {
        let answer = self.get(url, &[])?;
        match answer.status {
            200 => answer.read_all(most).map(Some),
            404 | 410 => Ok(None),
            status => Err(Trouble { error: status_error(url, status), passing: is_passing(status) }),
        }
    }
}

impl Answer {
    /// A header, when there is one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The size of the body as the server announces it.
    pub fn length(&self) -> Option<u64> {
        self.header("content-length").and_then(|text| text.trim().parse().ok())
    }

    /// The body, piece by piece.
    pub fn pieces(self) -> Result<Pieces> {
        Pieces::of(self.body.into_with_config().limit(u64::MAX).reader(), self.stall)
    }

    /// The whole body, when it is not larger than `most` bytes.
    pub fn read_all(self, most: u64) -> Result<Vec<u8>, Trouble> {
        let url = self.url.clone();
        let failed = || Error::failed(format!("cannot get `{url}`"));
        let mut bytes = Vec::new();
        for piece in self.pieces().map_err(Trouble::lasting)? {
            bytes.extend_from_slice(&piece.map_err(|error| Trouble::passing(failed().because(error)))?);
            if bytes.len() as u64 > most {
                return Err(Trouble::lasting(failed().because(format!("the answer is larger than {most} bytes"))));
            }
        }
        Ok(bytes)
    }
}

/// The error for a status that is not what was asked for.
pub fn status_error(url: &Url, status: u16) -> Error {
    let error =
        Error::failed(format!("cannot get `{url}`")).because(format!("the server answers with status {status}"));
    match status {
        401 | 407 => error.hint("the server or the proxy wants credentials; use a mirror without, or set https_proxy"),
        403 => error.hint("the server or a proxy forbids it; ask who runs them, or use --mirror"),
        404 | 410 => error.hint("look whether the release exists under that address, or use --mirror"),
        _ => error,
    }
}

/// Whether a status may be another one soon.
pub fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Only plain web addresses, and no credentials: they would end up in the document and in the process list.
fn check(url: &Url) -> Result<()> {
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(Error::usage(format!("`{url}` is not an http or https address")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let mut bare = url.clone();
        // These fail for addresses without a host only, which was checked.
        let _ = bare.set_username("").and_then(|()| bare.set_password(None));
        return Err(Error::usage(format!("the address `{bare}` is given with a user name or password"))
            .because("it would be seen by every user of this machine")
            .hint("copy the releases into a directory and give that as --mirror"));
    }
    Ok(())
}

fn redirect(from: &Url, headers: &HeaderMap) -> Result<Url> {
    let failed = || Error::failed(format!("cannot get `{from}`"));
    let location = headers.get("location").and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| failed().because("the server redirects to nowhere"))?;
    let to = from.join(location).map_err(|error| failed().because("the server redirects wrongly").because(error))?;
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(failed().because(format!("the server redirects from https to `{}`", to.scheme())));
    }
    Ok(to)
}

fn trouble(url: &Url, error: &ureq::Error) -> Trouble {
    let failed = Error::failed(format!("cannot get `{url}`"));
    match error {
        ureq::Error::Timeout(phase) => Trouble::passing(failed.because(format!("it took too long ({phase})"))),
        ureq::Error::HostNotFound => Trouble::passing(
            failed.because("the name of the host is not known").hint("look at /etc/resolv.conf, or set https_proxy"),
        ),
        ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => Trouble::passing(failed.because(error)),
        ureq::Error::Io(cause) if is_tls(cause) => Trouble::lasting(untrusted(url, failed.because(cause))),
        ureq::Error::Io(cause) => Trouble::passing(failed.because(cause)),
        ureq::Error::Rustls(cause) => Trouble::lasting(untrusted(url, failed.because(cause))),
        ureq::Error::ConnectProxyFailed(_) => Trouble::lasting(
            failed.because(error).hint("look at the variables https_proxy, http_proxy, all_proxy and no_proxy"),
        ),
        _ => Trouble::lasting(failed.because(error)),
    }
}

/// rustls reports a certificate it does not trust as invalid data from the connection.
fn is_tls(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData
}

fn untrusted(url: &Url, error: Error) -> Error {
    // rustls' word for a server that shows the certificate of an authority as its own.
    if error.one_line().contains("CaUsedAsEndEntity") {
        let name = match url.host() {
            Some(Host::Domain(name)) => format!("DNS:{name}"),
            Some(Host::Ipv4(address)) => format!("IP:{address}"),
            Some(Host::Ipv6(address)) => format!("IP:{address}"),
            None => "DNS:NAME".into(),
        };
        return error
            .because("the server's own certificate is one for a certificate authority, as `openssl req -x509` makes them by default")
            .hint(format!(
                "give the server one that is not, and that with --ca: openssl req -x509 -newkey rsa:2048 -nodes -days 365 \
                 -subj /CN=mirror -addext subjectAltName={name} -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem"
            ));
    }
    error.hint("if a proxy of your company opens TLS, give its certificate authority with --ca FILE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(location: &str, from: &str) -> Result<Url> {
        let mut headers = HeaderMap::new();
        headers.insert("location", location.parse().unwrap());
        redirect(&Url::parse(from).unwrap(), &headers)
    }

    #[test]
    fn redirects_are_resolved_and_never_leave_https() {
        assert_eq!(to("/b", "https://one.test/a").unwrap().as_str(), "https://one.test/b");
        assert_eq!(to("https://two.test/", "http://one.test/").unwrap().as_str(), "https://two.test/");
        assert!(to("http://one.test/a", "https://one.test/a").is_err());
        assert!(to("//two.test/x", "https://one.test/a").is_ok());
    }

    #[test]
    fn credentials_and_other_schemes_are_refused_and_not_repeated() {
        for text in ["https://user:secret@one.test/", "ftp://one.test/", "file:///etc/passwd"] {
            let error = check(&Url::parse(text).unwrap()).unwrap_err();
            assert_eq!(error.code(), 2, "{text}");
            assert!(!error.one_line().contains("secret"), "{error:?}");
        }
    }
}
