//! Which proxy a request goes through, from the variables that curl knows.

use ureq::Proxy;
use url::Url;

use crate::contract::error::{Error, Result};

/// The proxy variables, as they were when the process started.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Vec<(String, String)>,
}

// A proxy's address may hold a password.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        let known = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
        let names = known.iter().flat_map(|name| [(*name).to_owned(), name.to_uppercase()]);
        Self { variables: names.filter_map(|name| std::env::var(&name).ok().map(|value| (name, value))).collect() }
    }

    /// A set variable that is not empty; the lower-case spelling wins, as in curl.
    fn get(&self, name: &str) -> Option<(&str, &str)> {
        let find = |name: &str| self.variables.iter().find(|(key, value)| key == name && !value.trim().is_empty());
        find(name).or_else(|| find(&name.to_uppercase())).map(|(key, value)| (key.as_str(), value.trim()))
    }

    /// The proxy for an address.
    ///
    /// # Errors
    /// Refused when the variable does not hold the address of a proxy: going around a proxy that somebody wants is no
    /// way to treat a typing error.
    pub(super) fn proxy_for(&self, url: &Url) -> Result<Option<Proxy>> {
        let host = url.host_str().unwrap_or_default();
        if self.get("no_proxy").is_some_and(|(_, list)| excepted(host, list)) {
            return Ok(None);
        }
        let scheme = if url.scheme() == "https" { "https_proxy" } else { "http_proxy" };
        let Some((name, value)) = self.get(scheme).or_else(|| self.get("all_proxy")) else { return Ok(None) };
        // Its address is not repeated in the error, because it may hold a password.
        Proxy::new(value).map(Some).map_err(|error| {
            Error::refused(format!("the variable {name} does not hold the address of a proxy"))
                .because(error)
                .hint(format!("set it as in {name}=http://proxy.example.com:3128, or unset it"))
        })
    }
}

/// Whether a list such as `localhost,.example.com,10.0.0.1` has the host: by its name, by a domain it is in, or `*`.
fn excepted(host: &str, list: &str) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        let domain = entry.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
        entry == "*" || (!domain.is_empty() && (host == domain || host.ends_with(&format!(".{domain}"))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment { variables: variables.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect() }
    }

    fn host(environment: &Environment, url: &str) -> Option<String> {
        environment.proxy_for(&Url::parse(url).unwrap()).unwrap().map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn the_scheme_chooses_the_variable() {
        let both = environment(&[("http_proxy", "http://plain:3128"), ("HTTPS_PROXY", "http://tls:3128")]);
        assert_eq!(host(&both, "http://one.test/").as_deref(), Some("plain"));
        assert_eq!(host(&both, "https://one.test/").as_deref(), Some("tls"));
        let all = environment(&[("ALL_PROXY", "http://all:1"), ("http_proxy", "")]);
        assert_eq!(host(&all, "http://one.test/").as_deref(), Some("all"));
        assert_eq!(host(&environment(&[]), "http://one.test/"), None);
    }

    #[test]
    fn some_hosts_are_excepted() {
        let list = "localhost, .example.com,127.0.0.1";
        for name in ["localhost", "example.com", "a.example.com", "127.0.0.1", "LOCALHOST"] {
            assert!(excepted(name, list), "{name}");
        }
        for name in ["badexample.com", "example.org", "127.0.0.10"] {
            assert!(!excepted(name, list), "{name}");
        }
        assert!(excepted("anything", "*"));
    }

    #[test]
    fn a_broken_setting_is_not_passed_over_and_not_repeated() {
        let broken = environment(&[("https_proxy", "gopher://u:secret@[")]);
        let error = broken.proxy_for(&Url::parse("https://one.test/").unwrap()).unwrap_err();
        assert_eq!(error.code(), 5);
        assert!(!error.one_line().contains("secret"), "{error:?}");
    }
}
