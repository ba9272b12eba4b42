//! Data sources as they are found, and as nobody should write them.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> DataSource {
    DataSource::parse(text).unwrap()
}

fn variable<'a>(source: &'a DataSource, name: &str) -> Option<&'a str> {
    source.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[test]
fn reads_what_mattermost_writes() {
    let source = parse(
        "postgres://mmuser:p%40ss%2Fw%3Ard%25@db.example.com:5601/mattermost?sslmode=disable&connect_timeout=10&binary_parameters=yes",
    );
    assert_eq!((source.host.as_str(), source.port), ("db.example.com", 5601));
    assert_eq!((source.user.as_str(), source.database.as_str()), ("mmuser", "mattermost"));
    assert_eq!(source.password, Some(Secret::new("p@ss/w:rd%")));
    assert_eq!(variable(&source, "PGSSLMODE"), Some("disable"));
    assert_eq!(variable(&source, "PGCONNECT_TIMEOUT"), Some("10"));
    assert_eq!(variable(&source, "PGOPTIONS"), None);
}

#[test]
fn one_of_mysql_is_told_so_in_either_form() {
    for text in ["u:secret@tcp(db:3306)/mm?charset=utf8mb4", "u:secret@unix(/run/mysqld/mysqld.sock)/mm"] {
        let error = DataSource::parse(text).unwrap_err();
        let said = format!("{} {:?}", error.one_line(), error.causes());
        assert!(said.contains("MySQL") && !said.contains("secret"), "{said}");
    }
}

#[test]
fn what_lib_pq_hands_to_the_server_becomes_an_option() {
    let source = parse("postgres://u@h/d?statement_timeout=5000&search_path=a,+b&options=-c%20geqo%3Doff");
    assert_eq!(variable(&source, "PGOPTIONS"), Some("-c geqo=off -c search_path=a,\\ b -c statement_timeout=5000"));
    let words = parse("host=h user=u statement_timeout=7");
    assert_eq!(variable(&words, "PGOPTIONS"), Some("-c statement_timeout=7"));
}

#[test]
fn every_way_to_write_a_socket() {
    for text in [
        "postgres://u:p@/d?host=/run/postgresql&port=5601",
        "postgres://u:p@%2Frun%2Fpostgresql:5601/d",
        "user=u password=p host=/run/postgresql port=5601 dbname=d",
    ] {
        let source = parse(text);
        assert_eq!((source.host.as_str(), source.port), ("/run/postgresql", 5601), "{text}");
        assert!(source.is_socket());
        assert_eq!(variable(&source, "PGSSLMODE"), Some("disable"), "{text}");
    }
    assert_eq!(parse("postgres:///d?host=/run/postgresql&user=u").user, "u");
}

#[test]
fn a_data_source_without_a_user_is_entered_by_the_user_of_the_server() {
    // As NixOS and some images write it.
    let source = DataSource::parse_for("postgres:///mattermost?host=/run/postgresql", "mm").unwrap();
    assert_eq!((source.user.as_str(), source.database.as_str()), ("mm", "mattermost"));
    let words = DataSource::parse_for("host=/run/postgresql", "mm").unwrap();
    assert_eq!((words.user.as_str(), words.database.as_str()), ("mm", "mm"));
    assert_eq!(DataSource::parse_for("postgres://u@/d", "mm").unwrap().user, "u");
}

#[test]
fn defaults_are_those_of_lib_pq() {
    let source = parse("postgres://u@[::1]");
    assert_eq!((source.host.as_str(), source.port, source.database.as_str()), ("::1", 5432, "u"));
    assert_eq!(variable(&source, "PGSSLMODE"), Some("require"));
    assert_eq!(parse("user=u").host, "localhost");
    let verified = parse("postgres://u@h/d?sslmode=verify-full");
    assert_eq!(variable(&verified, "PGSSLROOTCERT"), Some(HOST_AUTHORITIES[0]));
    let red_hat = "/etc/pki/tls/certs/ca-bundle.crt";
    assert_eq!(host_authorities(|place| place == red_hat || place == "/etc/ssl/cert.pem"), red_hat);
    assert_eq!(host_authorities(|_| false), HOST_AUTHORITIES[0]);
}

#[test]
fn quoting_of_words() {
    let source = parse(r"user = u password='a b:c\\d@/%\'' dbname=x\ y");
    assert_eq!(source.password, Some(Secret::new(r"a b:c\d@/%'")));
    assert_eq!(source.database, "x y");
}

#[test]
fn what_is_no_data_source_is_refused_without_quoting_it() {
    for text in [
        "",
        "hunter2",
        "postgres://u:hunter2%zz@h/d",
        "postgres://u:hunter2@h:port/d",
        "postgres://u:hunter2@h1:1,h2:2/d",
        "user=u password='hunter2",
        "mmuser:hunter2@tcp(db:3306)/mattermost",
        "user=u password='hunter2\nx'",
        "postgres://u:hunter2@h/d?sslinline=true",
    ] {
        let error = DataSource::parse(text).unwrap_err();
        assert_eq!(error.code(), 5, "{text}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    assert!(!format!("{:?}", parse("postgres://u:hunter2@h/d")).contains("hunter2"));
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        use std::fmt::Write as _;
        write!(all, "%{byte:02X}").unwrap();
        all
    })
}

proptest! {
    #[test]
    fn any_password_survives_both_forms(password in "[^\\p{Cc}]{1,40}", database in "[^\\p{Cc}\\s]{1,20}") {
        let url = format!("postgres://u:{}@h/{}", encoded(&password), encoded(&database));
        let quoted = |text: &str| text.replace('\\', r"\\").replace('\'', r"\'");
        let words = format!("host=h user=u dbname='{}' password='{}'", quoted(&database), quoted(&password));
        for text in [url, words] {
            let source = DataSource::parse(&text).unwrap();
            prop_assert_eq!(source.password.as_ref().map(Secret::reveal), Some(password.as_str()));
            prop_assert_eq!(&source.database, &database);
            prop_assert_eq!(&source.host, "h");
        }
    }

    #[test]
    fn nothing_makes_it_panic(text in "\\PC{0,60}") {
        let _ = DataSource::parse(&text);
        let _ = DataSource::parse(&format!("postgres://{text}"));
    }
}
