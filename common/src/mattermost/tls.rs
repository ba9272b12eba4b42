//! TLS for the one connection that is not plain HTTP: with the host's own certificate store, as the HTTP client.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::contract::error::{Error, Result};

/// Wraps a connection to `host`.
pub(super) fn connect(host: &str, stream: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let failed = || Error::failed(format!("cannot speak TLS with `{host}`"));
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed().because(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed().because(error))?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(|error| failed().because(error))?;
    Ok(StreamOwned::new(connection, stream))
}
