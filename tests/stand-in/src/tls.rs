//! The server's own TLS (`ConnectionSecurity`): what comes in is deciphered in this process and handed to the rest of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::config::Config;
use crate::error::{During as _, Result};

/// How long one side is listened to before the other.
const TURN: Duration = Duration::from_millis(2);

/// Certificate and key, where the configuration says that the server speaks TLS itself.
pub(crate) fn configured(config: &Config) -> Result<Option<Arc<ServerConfig>>> {
    if config.text("ServiceSettings", "ConnectionSecurity") != "TLS" {
        return Ok(None);
    }
    let path = |key: &str| config.text("ServiceSettings", key);
    let (certificate, key) = (path("TLSCertFile"), path("TLSKeyFile"));
    let chain: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&certificate).during(|| certificate.clone())?.collect();
    let secret = PrivateKeyDer::from_pem_file(&key).during(|| key.clone())?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .during(|| "TLS".into())?
        .with_no_client_auth()
        .with_single_cert(chain.during(|| certificate.clone())?, secret)
        .during(|| certificate)?;
    Ok(Some(Arc::new(config)))
}

/// The plain end of a connection that speaks TLS.
pub(crate) fn plain(stream: TcpStream, config: &Arc<ServerConfig>) -> std::io::Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let inner = TcpStream::connect(listener.local_addr()?)?;
    let (plain, _) = listener.accept()?;
    inner.set_nodelay(true)?;
    inner.set_read_timeout(Some(TURN))?;
    stream.set_read_timeout(Some(TURN))?;
    let connection = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
    let mut tls = StreamOwned::new(connection, stream);
    std::thread::spawn(move || {
        let mut inner = inner;
        while pass(&mut tls, &mut inner) && pass(&mut inner, &mut tls) {}
    });
    Ok(plain)
}

/// Whether the one side may have more to say.
fn pass(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut buffer = [0; 16 * 1024];
    match from.read(&mut buffer) {
        Ok(0) => false,
        Ok(count) => to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_ok(),
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
    }
}
