//! Out of a server of MySQL that asks for TLS.

use std::path::Path;

use mm_test_support::cluster::TELLTALE;
use mm_test_support::mariadb::USER;
use mm_test_support::process::run;
use serde_json::Value;

use crate::moving::{Moving, SMALL};
use crate::moving_recipes::certificates;
use crate::out_of_mysql::Leaving;
use crate::rig::check_of;

/// As [`Leaving::with`], on a host that trusts this authority.
fn trusting(leaving: &Leaving, authority: &Path, code: i32, verb: &str) -> (Value, String) {
    let file = leaving.moving.file(&[&leaving.moving.target.url()]);
    let target = if verb == "rollback" { vec![] } else { vec!["--target", file.to_str().unwrap()] };
    let mut tool = leaving.moving.site.tool("mm-pgbump");
    tool.args([verb, "-v"]).args(target).envs(SMALL).env("SSL_CERT_FILE", authority.join("ca.pem"));
    let output = tool.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{verb}: {said}");
    assert!(!said.contains("geheim") && !text.contains("geheim") && !text.contains(TELLTALE), "{said}{text}");
    (serde_json::from_str(&text).unwrap_or_default(), said)
}

#[test]
fn the_way_to_mysql_is_encrypted_as_the_data_source_says() {
    let leaving = Leaving::new();
    let (moving, mariadb) = (&leaving.moving, &leaving.mariadb);
    let (own, others) = (certificates(moving, "localhost"), certificates(moving, "elsewhere"));
    let place = mariadb.socket().parent().unwrap().to_owned();
    for file in ["ca.pem", "server.pem", "server.key"] {
        let (from, to) = (own.join(file), place.join(file));
        run("install", &["-o", "mm-test", "-m", "600", from.to_str().unwrap(), to.to_str().unwrap()]);
    }
    mariadb.restart_with_tls();
    mariadb.sql(&format!("ALTER USER {USER}@'%' REQUIRE SSL"));
    let source = mariadb.state();
    let lead = |host: &str, tls: &str| {
        let text = mariadb.source().replace("127.0.0.1", host);
        moving.site.set("SqlSettings", "DataSource", format!("{text}{tls}").into());
    };
    // Without it nobody is let in, and a certificate that is not known, or is another host's, lets nobody go on.
    for (host, tls, authority, word) in [
        ("127.0.0.1", "", &own, "Access denied"),
        ("localhost", "&tls=true", &others, "invalid peer certificate"),
        ("127.0.0.1", "&tls=true", &own, "not valid for name"),
    ] {
        lead(host, tls);
        let (document, said) = trusting(&leaving, authority, 5, "move");
        let error = document["error"].to_string();
        assert!(error.contains(word) && error.contains("cannot connect"), "{tls}: {document}{said}");
    }
    for (host, tls, authority) in [
        ("127.0.0.1", "&tls=skip-verify", &others),
        ("127.0.0.1", "&tls=preferred", &others),
        ("localhost", "&tls=true", &own),
    ] {
        lead(host, tls);
        let (document, _) = trusting(&leaving, authority, 0, "check");
        assert!(check_of(&document, "mysql-tls")["evidence"].as_str().unwrap().starts_with("TLSv1."), "{document}");
    }
    let (document, said) = trusting(&leaving, &own, 0, "move");
    assert_eq!(document["pgbump"]["proof"]["equal"], true, "{said}");
    assert_eq!(Moving::posts(&moving.target, "mattermost"), leaving.posts);
    trusting(&leaving, &own, 0, "rollback");
    moving.empty_target();

    // Where it is only preferred, a server that has none is spoken to without.
    mariadb.restart(&["--skip-ssl"]);
    mariadb.sql(&format!("ALTER USER {USER}@'%' REQUIRE NONE"));
    lead("127.0.0.1", "&tls=preferred");
    let (document, _) = trusting(&leaving, &own, 0, "check");
    assert_eq!(check_of(&document, "mysql-tls")["evidence"], "it does not leave this machine", "{document}");
    lead("127.0.0.1", "&tls=skip-verify");
    let (document, _) = trusting(&leaving, &own, 4, "check");
    assert!(document["error"].to_string().contains("the server offers none"), "{document}");
    assert_eq!(mariadb.state(), source);
}
