//! What a cluster holds, as facts that can be compared: a name for each thing, and what matters of it. The same facts
//! read on both majors give the same text, so an upgrade that lost or changed something shows as a difference.

use std::collections::BTreeMap;

use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::fingerprint;
use mm_common::postgres::server::Database;
use mm_common::{Error, Result};

/// The facts about a whole cluster, by name.
pub(crate) type Facts = BTreeMap<String, String>;

/// Facts whose difference is worth a word but is no loss: a new major has other settings.
const NOTED: &str = "configuration ";

/// Of the cluster: roles, memberships, tablespaces, databases, prepared transactions and settings. Password hashes are hashed again.
const CLUSTER: &str = r"
SELECT 'role ' || rolname AS k, pg_catalog.concat_ws(' ', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
       rolbypassrls, rolconnlimit, coalesce(rolvaliduntil::pg_catalog.text, '-'), coalesce(pg_catalog.md5(rolpassword), '-')) AS v
  FROM pg_catalog.pg_authid WHERE rolname !~ '^pg_'
UNION ALL
SELECT 'membership ' || m.rolname::pg_catalog.text || ' in ' || g.rolname, pg_catalog.bool_or(admin_option)::pg_catalog.text
  FROM pg_catalog.pg_auth_members JOIN pg_catalog.pg_authid g ON g.oid = roleid JOIN pg_catalog.pg_authid m ON m.oid = member GROUP BY 1
UNION ALL
SELECT 'tablespace ' || spcname, pg_catalog.pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_'
UNION ALL
SELECT 'database ' || datname, pg_catalog.concat_ws(' ', 'owner', pg_catalog.pg_get_userbyid(datdba), pg_catalog.pg_encoding_to_char(encoding), datcollate,
       datctype, 'template', datistemplate, 'connect', datallowconn, datconnlimit)
  FROM pg_catalog.pg_database
UNION ALL
SELECT 'prepared transaction ' || gid, owner::pg_catalog.text || ' in ' || database FROM pg_catalog.pg_prepared_xacts
UNION ALL
SELECT pg_catalog.concat_ws(' ', 'setting of', coalesce('database ' || datname, 'every database'),
       coalesce('role ' || rolname, 'every role'), pg_catalog.split_part(one, '=', 1)), pg_catalog.split_part(one, '=', 2)
  FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_database d ON d.oid = setdatabase LEFT JOIN pg_catalog.pg_authid r ON r.oid = setrole,
       pg_catalog.unnest(setconfig) AS one
UNION ALL
SELECT 'configuration ' || name, setting FROM pg_catalog.pg_settings
 WHERE source = 'configuration file' AND name NOT IN ('cluster_name', 'config_file', 'data_directory', 'external_pid_file',
       'hba_file', 'ident_file', 'port', 'stats_temp_directory')
";

/// Of one database. What belongs to an extension is left out: its version may differ.
const DATABASE: &str = r#"
WITH spaces AS (SELECT oid, nspname, nspowner FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
     members AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'),
     relations AS (SELECT c.*, nspname || '.' || relname AS called FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = relnamespace
       WHERE NOT EXISTS (SELECT FROM members WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objid = c.oid))
SELECT 'schema ' || nspname AS k, 'owner ' || pg_catalog.pg_get_userbyid(nspowner) AS v FROM spaces
UNION ALL
SELECT 'relation ' || called, pg_catalog.concat_ws(' ', 'kind', relkind, 'owner', pg_catalog.pg_get_userbyid(relowner), 'kept', relpersistence,
       'rows secured', relrowsecurity, CASE relkind WHEN 'm' THEN 'filled ' || relispopulated::pg_catalog.text END)
  FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
UNION ALL
SELECT 'grants on ' || called, pg_catalog.string_agg(DISTINCT one, ', ' ORDER BY one)
  FROM (SELECT called, (CASE grantee WHEN 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(grantee) END || '=' || privilege_type) COLLATE "C" AS one
          FROM relations, pg_catalog.aclexplode(relacl) WHERE grantee <> relowner) g GROUP BY called
UNION ALL
SELECT 'column ' || called || '.' || attname, pg_catalog.concat_ws(' ', pg_catalog.format_type(atttypid, atttypmod),
       CASE WHEN attnotnull THEN 'not null' END, CASE WHEN atthasdef THEN 'default' END)
  FROM relations r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid
 WHERE relkind IN ('r', 'p', 'f', 'c') AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint ' || conname || ' of ' || called, pg_catalog.concat_ws(' ', contype, 'valid', convalidated)
  FROM pg_catalog.pg_constraint n JOIN relations r ON r.oid = n.conrelid WHERE contype <> 'n'
UNION ALL
SELECT 'index ' || i.called || ' of ' || t.called, pg_catalog.concat_ws(' ', 'unique', indisunique, 'primary', indisprimary)
  FROM pg_catalog.pg_index x JOIN relations i ON i.oid = indexrelid JOIN relations t ON t.oid = indrelid WHERE indisvalid
UNION ALL
SELECT 'trigger ' || tgname || ' of ' || called, 'enabled ' || tgenabled::pg_catalog.text
  FROM pg_catalog.pg_trigger JOIN relations r ON r.oid = tgrelid WHERE NOT tgisinternal
UNION ALL
SELECT 'policy ' || polname || ' of ' || called, polcmd::pg_catalog.text FROM pg_catalog.pg_policy JOIN relations r ON r.oid = polrelid
UNION ALL
SELECT 'function ' || nspname || '.' || proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
       pg_catalog.concat_ws(' ', lanname, pg_catalog.md5(prosrc))
  FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = pronamespace JOIN pg_catalog.pg_language l ON l.oid = prolang
 WHERE NOT EXISTS (SELECT FROM members WHERE classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND objid = p.oid)
UNION ALL
SELECT 'type ' || nspname || '.' || typname, pg_catalog.concat_ws(' ', typtype,
       (SELECT pg_catalog.string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_catalog.pg_enum WHERE enumtypid = t.oid))
  FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = typnamespace
 WHERE typtype IN ('e', 'd', 'r') AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND objid = t.oid)
UNION ALL
SELECT 'extension ' || extname, 'in ' || nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = extnamespace
UNION ALL
SELECT 'publication ' || pubname, 'all tables ' || puballtables::pg_catalog.text FROM pg_catalog.pg_publication
UNION ALL
SELECT 'event trigger ' || evtname, evtevent::pg_catalog.text || ' ' || evtenabled::pg_catalog.text FROM pg_catalog.pg_event_trigger
UNION ALL
SELECT 'large objects', pg_catalog.count(DISTINCT loid)::pg_catalog.text || ' with hash ' ||
       coalesce(pg_catalog.sum(('x' || pg_catalog.substr(pg_catalog.md5(loid::pg_catalog.text || ' ' || pageno::pg_catalog.text || ' ' || pg_catalog.encode(data, 'hex')), 1, 16))::bit(64)::bigint::numeric), 0)
  FROM pg_catalog.pg_largeobject
"#;

/// The state of every sequence, each asked by itself.
const SEQUENCES: &str = r"
SET search_path = pg_catalog, pg_temp; SET statement_timeout = 0;
SELECT pg_catalog.format('SELECT pg_catalog.row_to_json(x) FROM (SELECT %L AS k, last_value || '' '' || is_called AS v FROM %I.%I) AS x',
       'sequence ' || nspname || '.' || relname, nspname, relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
 WHERE relkind = 'S' AND relpersistence <> 't' AND nspname !~ '^pg_' AND nspname <> 'information_schema' \gexec
";

/// The databases of a cluster that can be connected to.
pub(crate) fn databases(cluster: &Cluster, entrance: &str) -> Result<Vec<String>> {
    let rows = Database::superuser(cluster, entrance)?
        .rows("SELECT datname::pg_catalog.text AS name FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1")?;
    Ok(rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect())
}

/// How the rows of both sides are hashed.
pub(crate) fn method(old: &Cluster) -> fingerprint::Method {
    if old.major >= 12 { fingerprint::Method::Hash64 } else { fingerprint::Method::Md5 }
}

/// Reads everything there is to know of a cluster, its rows hashed by `method`. `entrance` is a database it has.
///
/// # Errors
/// Also when a table cannot be read to its end: a damaged page is found here, before anything was changed.
pub(crate) fn gather(cluster: &Cluster, entrance: &str, method: fingerprint::Method) -> Result<Facts> {
    let mut facts = catalogue(cluster, entrance)?;
    for name in databases(cluster, entrance)? {
        let database = Database::superuser(cluster, &name)?;
        for (table, print) in fingerprint::tables_by(&database, method)? {
            facts.insert(format!("{name}: table {table}"), format!("{} rows with hash {}", print.rows, print.hash));
        }
    }
    Ok(facts)
}

/// As [`gather`], without the contents of the tables: quick, so it is tried before the service is stopped.
pub(crate) fn catalogue(cluster: &Cluster, entrance: &str) -> Result<Facts> {
    let mut facts = Facts::new();
    let front = Database::superuser(cluster, entrance)?;
    add(&mut facts, "", &front.rows(CLUSTER)?)?;
    for name in databases(cluster, entrance)? {
        let database = Database::superuser(cluster, &name)?;
        let prefix = format!("{name}: ");
        let settled = "SET search_path = pg_catalog, pg_temp; SET statement_timeout = 0;\n";
        let query = format!("{settled}SELECT pg_catalog.row_to_json(x) FROM ({DATABASE}) AS x;\n");
        let database = database.with_limit(fingerprint::LIMIT);
        add(&mut facts, &prefix, &database.script(&query)?)?;
        add(&mut facts, &prefix, &database.script(SEQUENCES)?)?;
    }
    Ok(facts)
}

fn add(facts: &mut Facts, prefix: &str, rows: &[serde_json::Value]) -> Result<()> {
    for row in rows {
        let (Some(key), value) = (row["k"].as_str(), row["v"].as_str().unwrap_or_default()) else {
            return Err(Error::failed("the database named a fact without its name"));
        };
        facts.insert(format!("{prefix}{key}"), value.to_owned());
    }
    Ok(())
}

/// What differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// What was lost or changed.
    pub faults: Vec<String>,
    /// What merely differs.
    pub notes: Vec<String>,
}

/// Compares the facts of two clusters.
pub(crate) fn compare(before: &Facts, after: &Facts) -> Differences {
    let mut differences = Differences::default();
    let mut say = |name: &str, text: String| {
        if name.starts_with(NOTED) { differences.notes.push(text) } else { differences.faults.push(text) }
    };
    for (name, value) in before {
        match after.get(name) {
            Some(now) if now == value => {}
            Some(now) => say(name, format!("{name}: it was `{value}` and is `{now}`")),
            None => say(name, format!("{name}: it is gone (it was `{value}`)")),
        }
    }
    for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        say(name, format!("{name}: it was not there before (it is `{value}`)"));
    }
    differences
}

/// Numbers for the report: databases, tables and rows.
pub(crate) fn summary(facts: &Facts) -> (usize, usize, u64) {
    let databases = facts.keys().filter(|name| name.starts_with("database ")).count();
    let tables: Vec<_> = facts.iter().filter(|(name, _)| name.contains(": table ")).collect();
    let rows = tables.iter().filter_map(|(_, value)| value.split(' ').next()?.parse::<u64>().ok()).sum();
    (databases, tables.len(), rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_lost_row_is_a_fault_and_a_setting_is_a_note() {
        let before =
            facts(&[("mm: table public.teams", "1001 rows with hash 7"), ("configuration a", "1"), ("role x", "t")]);
        let after =
            facts(&[("mm: table public.teams", "0 rows with hash 0"), ("configuration a", "2"), ("role y", "t")]);
        let differences = compare(&before, &after);
        assert_eq!(differences.faults.len(), 3, "{differences:?}");
        assert!(differences.faults[0].contains("it was `1001 rows with hash 7` and is `0 rows with hash 0`"));
        assert_eq!(differences.notes.len(), 1);
        assert_eq!(compare(&before, &before), Differences::default());
        assert_eq!(summary(&before), (0, 1, 1001));
    }
}
