//! What points into the directories of the old cluster: a setting, a tablespace, a variable. The new server takes it over,
//! and does not start any more once the old cluster is dropped.

use std::path::{Path, PathBuf};

use mm_common::Result;
use mm_common::machine::files;
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::server::Database;
use serde_json::Value;

/// The id of the check, for `--accept`.
pub(crate) const ID: &str = "references";

/// What to do about it.
pub(crate) const HINT: &str = "move what they name out of the directories of the old cluster (to /etc/postgresql-common, say), change them (ALTER SYSTEM, \
                               or the file that sets them), and restart the cluster";

/// The files that `pg_upgradecluster` copies, with the setting that it then gives the new path.
const COPIED: &[(&str, &str)] = &[
    ("ssl_cert_file", "server.crt"),
    ("ssl_key_file", "server.key"),
    ("ssl_ca_file", "root.crt"),
    ("ssl_crl_file", "root.crl"),
];

/// The settings whose paths `pg_upgradecluster` adapts.
const ADAPTED: &[&str] =
    &["config_file", "data_directory", "external_pid_file", "hba_file", "ident_file", "stats_temp_directory"];

/// Settings whose relative paths are meant from the data directory, and name files of the administrator's.
const FROM_DATA: &[&str] = &[
    "krb_server_keyfile",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_crl_dir",
    "ssl_crl_file",
    "ssl_dh_params_file",
    "ssl_key_file",
];

/// What of a cluster that is to be upgraded points into its own directories, and is not carried along.
///
/// # Errors
/// When it cannot be asked.
pub(crate) fn of_old(old: &Cluster, superuser: &Database) -> Result<Vec<String>> {
    let places = Places::of(old);
    let carried = |name: &str, value: &str, file: &str| {
        let copied = COPIED.iter().any(|(setting, copied)| {
            let relative = value == *copied;
            let main = relative || file.ends_with("/postgresql.conf");
            *setting == name && main && (relative || old.data.join(copied) == Path::new(value))
        });
        copied || ADAPTED.contains(&name)
    };
    found(old, superuser, &places, true, carried)
}

/// What of the cluster `new` points into the directories of `old`, which are to be deleted.
///
/// # Errors
/// When it cannot be asked.
pub(crate) fn into_old(old: &Cluster, new: &Cluster, superuser: &Database) -> Result<Vec<String>> {
    found(new, superuser, &Places::of(old), false, |_, _, _| false)
}

fn found(
    cluster: &Cluster,
    superuser: &Database,
    places: &Places,
    with_relative: bool,
    carried: impl Fn(&str, &str, &str) -> bool,
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    for row in superuser.rows(
        "SELECT name, setting, coalesce(sourcefile, '') AS file FROM pg_catalog.pg_settings WHERE vartype = 'string' AND setting <> ''",
    )? {
        let (name, value) = (text(&row, "name"), text(&row, "setting"));
        let relative = with_relative && FROM_DATA.contains(&name.as_str()) && places.holds_relative(&value);
        if (relative || places.are_named_in(&value)) && !carried(&name, &value, &text(&row, "file")) {
            found.push(format!("{name} = '{value}'"));
        }
    }
    for row in superuser.rows(
        "SELECT pg_catalog.unnest(setconfig) AS setting FROM pg_catalog.pg_db_role_setting
         UNION ALL SELECT 'the tablespace ' || spcname || ' at ' || pg_catalog.pg_tablespace_location(oid)
           FROM pg_catalog.pg_tablespace WHERE pg_catalog.pg_tablespace_location(oid) <> ''",
    )? {
        let setting = text(&row, "setting");
        if places.are_named_in(&setting) {
            found.push(setting);
        }
    }
    let environment = cluster.configuration.join("environment");
    if files::look(&environment)?.is_some() {
        let lines = files::read_text(&environment, 1 << 20)?;
        let lines = lines.lines().filter(|line| !line.trim_start().starts_with('#') && places.are_named_in(line));
        found.extend(lines.map(|line| format!("{}: {line}", environment.display())));
    }
    Ok(found)
}

/// The directories of a cluster.
struct Places {
    data: PathBuf,
    all: Vec<PathBuf>,
}

impl Places {
    fn of(cluster: &Cluster) -> Self {
        let mut all = Vec::new();
        for directory in [&cluster.data, &cluster.configuration] {
            all.extend(std::fs::canonicalize(directory));
            all.push(directory.clone());
        }
        Self { data: cluster.data.clone(), all }
    }

    fn holds_relative(&self, value: &str) -> bool {
        !value.starts_with('/') && files::look(&self.data.join(value)).is_ok_and(|there| there.is_some())
    }

    /// Whether a word of the text is a path into one of them, by its letters or through links.
    fn are_named_in(&self, text: &str) -> bool {
        text.split(|c: char| c.is_whitespace() || "'\",:=;|<>&()".contains(c))
            .filter(|word| word.starts_with('/'))
            .any(|word| self.hold(Path::new(word)))
    }

    fn hold(&self, path: &Path) -> bool {
        let inside = |path: &Path| self.all.iter().any(|place| path.starts_with(place));
        let real = path.ancestors().find_map(|above| std::fs::canonicalize(above).ok());
        inside(path) || real.is_some_and(|real| inside(&real))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_among_other_words_and_through_links() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        let (data, link) = (place.join("13/main"), place.join("link"));
        std::fs::create_dir_all(&data).unwrap();
        std::os::unix::fs::symlink(&data, &link).unwrap();
        let places = Places { all: vec![data.clone()], data: data.clone() };
        let text = |rest: &str| format!("cp %p \"{}{rest}\"/%f", data.display());
        assert!(places.are_named_in(&text("/archive")) && places.are_named_in(&text("")));
        assert!(places.are_named_in(&link.join("server.key").display().to_string()));
        assert!(
            !places.are_named_in(&text("-archive")) && !places.are_named_in(&text("/../archive").replace("/main", ""))
        );
        assert!(!places.are_named_in("log") && !places.holds_relative("server.crt"));
        std::fs::File::create(data.join("server.crt")).unwrap();
        assert!(places.holds_relative("server.crt"));
    }
}
