//! Whom a TLS connection trusts: the certificate authorities of the host, and those of a file beside them.

use std::path::Path;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::contract::error::{Error, Result};
use crate::machine::files;

/// A bundle of all public authorities has 250 kB.
const MOST: u64 = 16 * 1024 * 1024;

/// The configuration. Without a word about it, ureq would trust a list compiled into the program.
pub(super) fn config(ca: Option<&Path>) -> Result<TlsConfig> {
    let roots = match ca {
        None => RootCerts::PlatformVerifier,
        Some(path) => {
            let own = authorities(path)?;
            // A host without any authority of its own still trusts the file.
            let host = rustls_native_certs::load_native_certs().certs;
            RootCerts::from(host.iter().map(|one| Certificate::from_der(one).to_owned()).chain(own))
        }
    };
    Ok(TlsConfig::builder().root_certs(roots).build())
}

fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let refused = || {
        Error::refused(format!("cannot use the certificate authorities in `{}`", path.display()))
            .hint("give a file with certificates in PEM form (-----BEGIN CERTIFICATE-----)")
    };
    // The administrator's own path: links in it are theirs, and usual below /etc/ssl.
    let resolved = std::fs::canonicalize(path).map_err(|error| refused().because(error))?;
    let text = files::read(&resolved, MOST)?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        match item.map_err(|error| refused().because(error))? {
            PemItem::Certificate(certificate) => found.push(certificate),
            _ => return Err(refused().because("it holds something that is not a certificate")),
        }
    }
    if found.is_empty() { Err(refused().because("it holds no certificate")) } else { Ok(found) }
}
