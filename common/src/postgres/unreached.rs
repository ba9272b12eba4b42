//! What to do where a database is not reached.

use super::source::DataSource;
use crate::contract::error::Error;
use crate::contract::shell;

/// The next step by what libpq says (13 to 18 say it in these words).
pub(super) fn next_step(source: &DataSource, error: &Error) -> String {
    let said = error.one_line();
    let has = |words: &str| said.contains(words);
    let (host, port) = (&source.host, source.port);
    if has("password authentication failed") {
        format!(
            "the password in SqlSettings.DataSource is not that of the role `{}`: correct it there, or set it anew with \\password in psql",
            source.user
        )
    } else if has("could not translate host name") {
        format!(
            "correct the host in SqlSettings.DataSource, or let this machine know it: getent hosts {}",
            shell::word(host)
        )
    } else if has("no pg_hba.conf entry") {
        format!(
            "let `{}` in from this machine in pg_hba.conf of the server at {host}, and have it reload that",
            source.user
        )
    } else if has("does not exist") {
        "correct role and database in SqlSettings.DataSource; psql -l, as a superuser, lists the databases".to_owned()
    } else if has("Connection refused") || has("No such file or directory") {
        format!(
            "PostgreSQL does not run there, or listens elsewhere than on port {port}: pg_lsclusters tells; then systemctl start postgresql"
        )
    } else if has("timeout expired") || has("No route to host") || has("Network is unreachable") {
        format!("{host} does not answer from here: look at its network and firewall for port {port}")
    } else {
        "look at the log of PostgreSQL, and at SqlSettings.DataSource".to_owned()
    }
}
