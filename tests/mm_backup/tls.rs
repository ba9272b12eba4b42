//! A database that is reached with TLS only, as one on another host: no superuser is in reach.

use std::fs;
use std::path::{Path, PathBuf};

use mm_test_support::cluster::{PASSWORD, encoded};
use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::{Value, json};

use crate::{listed, make, verify};

/// An authority, and what it has signed: `server` for localhost, `client` for the role of the server.
struct Authority(PathBuf);

impl Authority {
    fn make(site: &Site, name: &str) -> Self {
        let directory = site.directory().join(name);
        fs::create_dir(&directory).unwrap();
        let authority = Self(directory);
        let (key, certificate) = (authority.file("ca.key"), authority.file("ca.crt"));
        let subject = format!("/CN={name}");
        process::run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                &subject,
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        );
        authority
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A key with a certificate, both of `owner`.
    fn sign(&self, name: &str, subject: &str, alternative: &str, owner: &str) {
        let (key, request, certificate) =
            (self.file(&format!("{name}.key")), self.file("request"), self.file(&format!("{name}.crt")));
        let extension = self.file("extension");
        fs::write(&extension, format!("subjectAltName={alternative}\n")).unwrap();
        process::run(
            "openssl",
            &[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-subj",
                subject,
                "-keyout",
                &key,
                "-out",
                &request,
            ],
        );
        process::run(
            "openssl",
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-days",
                "2",
                "-CA",
                &self.file("ca.crt"),
                "-CAkey",
                &self.file("ca.key"),
                "-CAcreateserial",
                "-extfile",
                &extension,
                "-out",
                &certificate,
            ],
        );
        process::run("chown", &[owner, &key, &certificate]);
        process::run("chmod", &["0600", &key]);
    }
}

/// What `pg_hba.conf` says, exchanged while this lives.
struct Rules {
    path: PathBuf,
    before: String,
    reload: [String; 3],
}

impl Rules {
    fn set(site: &Site, text: &str) -> Self {
        let (major, name) = (site.cluster.major.to_string(), site.cluster.name.clone());
        let path = Path::new("/etc/postgresql").join(&major).join(&name).join("pg_hba.conf");
        let before = fs::read_to_string(&path).unwrap();
        let rules = Self { path, before, reload: [major, name, "reload".to_owned()] };
        rules.write(text);
        rules
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
        process::run("pg_ctlcluster", &self.reload.each_ref().map(String::as_str));
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        self.write(&self.before);
    }
}

fn failure(site: &Site) -> (Option<i32>, String) {
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_database_is_dumped_and_restored_over_tls_and_a_stranger_is_not_believed() {
    let site = Site::builder("5.29.0").build();
    let (ours, other) = (Authority::make(&site, "authority"), Authority::make(&site, "stranger"));
    ours.sign("server", "/CN=localhost", "DNS:localhost", "postgres");
    ours.sign("client", "/CN=mmuser", "DNS:client", "mm-test");
    for (setting, file) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key"), ("ssl_ca_file", "ca.crt")]
    {
        site.cluster.sql("postgres", &format!("ALTER SYSTEM SET {setting} = '{}'", ours.file(file)));
    }
    site.cluster.sql("postgres", "ALTER SYSTEM SET ssl = on");
    site.cluster.sql("postgres", "ALTER ROLE mmuser CREATEDB");
    let rules = Rules::set(&site, "hostssl all mmuser localhost md5\n");

    let (port, password) = (site.cluster.port, encoded(PASSWORD));
    let reach = |host: &str, parameters: &str| {
        let source = format!("postgres://mmuser:{password}@{host}:{port}/mattermost?{parameters}");
        site.set("SqlSettings", "DataSource", json!(source));
    };
    let trusted = ours.file("ca.crt");

    // The server takes nothing but TLS.
    reach("localhost", "sslmode=disable");
    let (code, said) = failure(&site);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no pg_hba.conf entry"), "{said}");
    // Signed by somebody else; right, but for another name than the one that was asked for.
    for (host, authority) in [("localhost", other.file("ca.crt")), ("127.0.0.1", trusted.clone())] {
        reach(host, &format!("sslmode=verify-full&sslrootcert={authority}"));
        let (code, said) = failure(&site);
        assert_eq!(code, Some(1), "{host}: {said}");
        let why = if host == "localhost" { "certificate verify failed" } else { "does not match host name" };
        assert!(said.contains(why), "{host}: {said}");
    }
    assert!(!site.store().exists() || listed(&site).0.is_empty());

    reach("localhost", "sslmode=require");
    make(&site, &[]);
    reach("localhost", &format!("sslmode=verify-full&sslrootcert={trusted}"));
    let backup = make(&site, &[]);
    assert_eq!(backup["database"], true);
    let (code, said) = verify(&site, &["--restore"]);
    assert_eq!(code, 0, "{said}");
    let restore =
        site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest", "--database"]).output();
    let restore = restore.unwrap();
    let document: Value = serde_json::from_slice(&restore.stdout).unwrap();
    assert!(restore.status.success(), "{document}");

    // The server wants to see who comes.
    rules.write("hostssl all mmuser localhost md5 clientcert=verify-ca\n");
    let (code, said) = failure(&site);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("certificate"), "{said}");
    let (certificate, key) = (ours.file("client.crt"), ours.file("client.key"));
    reach("localhost", &format!("sslmode=verify-full&sslrootcert={trusted}&sslcert={certificate}&sslkey={key}"));
    make(&site, &[]);
    drop(rules);
    assert_eq!(listed(&site).0.len(), 3);
}
