//! The option file that hands a password to the programs of MySQL and `MariaDB`: neither a command line nor the environment of
//! a program would be as private.

use super::Address;
use crate::contract::secret::Secret;

/// The text of one. `loose-` lets each of them pass over what only the other one knows.
pub(super) fn text(address: &Address) -> Secret {
    let mut lines = vec![
        "[client]".to_owned(),
        format!("user={}", quoted(&address.user)),
        "default-character-set=utf8mb4".to_owned(),
        // What caching_sha2_password asks for where there is no TLS; the server in use asks for the same.
        "loose-get-server-public-key=1".to_owned(),
        // A server could ask for any file that the user of the client may read.
        "loose-local-infile=0".to_owned(),
    ];
    if let Some(password) = &address.password {
        lines.push(format!("password={}", quoted(password.reveal())));
    }
    match &address.socket {
        Some(socket) => lines.push(format!("socket={}", quoted(&socket.to_string_lossy()))),
        None => lines.extend([
            format!("host={}", quoted(&address.host)),
            format!("port={}", address.port),
            // By the name `localhost` alone they would look for a socket.
            "protocol=TCP".to_owned(),
        ]),
    }
    // As go-sql-driver takes the parameter `tls`.
    let tls: &[&str] = match address.tls.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None => &["loose-ssl-verify-server-cert=0"],
        Some("preferred") => &["loose-ssl-verify-server-cert=0", "loose-ssl-mode=PREFERRED"],
        Some("skip-verify") => &["loose-ssl-verify-server-cert=0", "loose-ssl=1", "loose-ssl-mode=REQUIRED"],
        Some(_) => &["loose-ssl=1", "loose-ssl-verify-server-cert=1", "loose-ssl-mode=VERIFY_IDENTITY"],
    };
    lines.extend(tls.iter().map(|&line| line.to_owned()));
    lines.extend(["[mysqldump]".to_owned(), "loose-set-gtid-purged=OFF".into(), "loose-column-statistics=0".into()]);
    Secret::new(lines.join("\n") + "\n")
}

/// As option files want a value in which anything may stand.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str(r"\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str(r"\n"),
            '\r' => text.push_str(r"\r"),
            '\t' => text.push_str(r"\t"),
            c => text.push(c),
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_password_may_hold_ends_no_value_and_no_line() {
        assert_eq!(quoted("a\"b#c\\d\n'e"), r#""a\"b#c\\d\n'e""#);
        let of = |text_of: &str| text(&Address::parse(text_of).unwrap()).reveal().to_owned();
        let plain = of("u:p@tcp(localhost:3307)/mm");
        for line in ["user=\"u\"", "password=\"p\"", "host=\"localhost\"", "port=3307", "protocol=TCP"] {
            assert!(plain.lines().any(|one| one == line), "{line}: {plain}");
        }
        assert!(of("u@unix(/run/s)/mm").contains("socket=\"/run/s\"\n"));
        assert!(of("u@/mm").contains("\nloose-local-infile=0\n"));
        assert!(of("u:p@tcp(db)/mm?tls=true").contains("VERIFY_IDENTITY"));
        assert!(of("u:p@tcp(db)/mm?tls=skip-verify").contains("REQUIRED"));
    }
}
