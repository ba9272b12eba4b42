//! Whose the objects of a restored database are. The role that ran the dump owns all of them at first; each is given to its
//! owner by a statement that is written here, from what the catalogues say it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::dump::identifier;
use super::server::Database;
use super::untrusted::ROLE;
use crate::contract::error::{Context as _, Result};

/// Objects by the words with which a dump's table of contents names them, the statement that gives one away, and what it
/// does, in one text.
const OBJECTS: &str = r"WITH spaces AS (SELECT oid, nspname FROM pg_catalog.pg_namespace
    WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'),
  extension AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'),
  kinds (relkind, word) AS (VALUES ('r'::pg_catalog.char, 'TABLE'), ('p', 'TABLE'), ('v', 'VIEW'), ('m', 'MATERIALIZED VIEW'), ('S', 'SEQUENCE'), ('f', 'FOREIGN TABLE'))
SELECT 'SCHEMA - ' || nspname AS key, pg_catalog.format('ALTER SCHEMA %I', nspname) AS alter, r.rolsuper AS super, '' AS definition
  FROM pg_catalog.pg_namespace n JOIN spaces s USING (oid, nspname) JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
 WHERE nspname <> 'public'
UNION ALL
SELECT word || ' ' || nspname || ' ' || relname, pg_catalog.format('ALTER %s %I.%I', word, nspname, relname), r.rolsuper,
   pg_catalog.concat_ws('; ', CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) END, c.reloptions::pg_catalog.text,
     (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', attname, pg_catalog.format_type(atttypid, atttypmod), pg_catalog.pg_get_expr(adbin, adrelid)), ', ' ORDER BY attname)
        FROM pg_catalog.pg_attribute LEFT JOIN pg_catalog.pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
     (SELECT pg_catalog.string_agg(pg_catalog.pg_get_indexdef(indexrelid), ', ' ORDER BY pg_catalog.pg_get_indexdef(indexrelid)) FROM pg_catalog.pg_index WHERE indrelid = c.oid),
     (SELECT pg_catalog.string_agg(pg_catalog.pg_get_constraintdef(k.oid), ', ' ORDER BY conname) FROM pg_catalog.pg_constraint k WHERE conrelid = c.oid),
     (SELECT pg_catalog.string_agg(pg_catalog.pg_get_triggerdef(t.oid), ', ' ORDER BY tgname) FROM pg_catalog.pg_trigger t WHERE tgrelid = c.oid AND NOT tgisinternal),
     (SELECT pg_catalog.string_agg(pg_catalog.pg_get_ruledef(w.oid), ', ' ORDER BY rulename) FROM pg_catalog.pg_rewrite w WHERE ev_class = c.oid),
     (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', polname, pg_catalog.pg_get_expr(polqual, polrelid), pg_catalog.pg_get_expr(polwithcheck, polrelid)), ', ' ORDER BY polname)
        FROM pg_catalog.pg_policy WHERE polrelid = c.oid))
  FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = relnamespace JOIN kinds ON kinds.relkind = c.relkind
  JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
 WHERE NOT EXISTS (SELECT FROM extension WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objid = c.oid)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND c.relkind = 'S')
UNION ALL
SELECT word || ' ' || nspname || ' ' || proname || '(' || pg_catalog.oidvectortypes(proargtypes) || ')',
   pg_catalog.format('ALTER %s %I.%I(%s)', word, nspname, proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), r.rolsuper,
   CASE word WHEN 'AGGREGATE' THEN p.oid::pg_catalog.text ELSE pg_catalog.pg_get_functiondef(p.oid) END
  FROM (SELECT *, CASE prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END AS word FROM
        (SELECT oid, proname, pronamespace, proowner, proargtypes, prokind FROM pg_catalog.pg_proc) AS all_of_them) p
  JOIN spaces s ON s.oid = pronamespace JOIN pg_catalog.pg_roles r ON r.oid = proowner
 WHERE NOT EXISTS (SELECT FROM extension WHERE classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND objid = p.oid)
UNION ALL
SELECT word || ' ' || nspname || ' ' || typname, pg_catalog.format('ALTER %s %I.%I', word, nspname, typname), r.rolsuper, t.oid::pg_catalog.text
  FROM (SELECT oid, typname, typnamespace, typowner, typtype, typrelid, CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END AS word FROM pg_catalog.pg_type) t
  JOIN spaces s ON s.oid = typnamespace JOIN pg_catalog.pg_roles r ON r.oid = typowner
 WHERE (typtype IN ('d', 'e', 'r') OR typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = typrelid AND relkind = 'c'))
   AND NOT EXISTS (SELECT FROM extension WHERE classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND objid = t.oid)";

/// Gives everything that [`ROLE`] owns in `restored` to its owner: the one that `entries` (the dump's table of contents)
/// names, or else `owner`. Something goes to a superuser only where the database that is replaced has the very same thing,
/// and it is a superuser's there, or where `accepted`: a function that is a superuser's could be run as one by anybody.
/// Returns what went to `owner` instead.
pub fn give(
    restored: &Database,
    replaced: Option<&Database>,
    entries: &BTreeSet<String>,
    owner: &str,
    accepted: bool,
) -> Result<Vec<String>> {
    let roles = restored.rows("SELECT rolname AS name, rolsuper AS super FROM pg_catalog.pg_roles")?;
    let now: BTreeMap<String, String> = match replaced {
        Some(database) => database
            .rows(OBJECTS)?
            .iter()
            .filter(|row| row["super"] == true)
            .map(|row| (text(row, "key").to_owned(), text(row, "definition").to_owned()))
            .collect(),
        None => BTreeMap::new(),
    };
    let mut sql = String::new();
    let mut kept_back = Vec::new();
    for object in restored.rows(OBJECTS)? {
        let key = text(&object, "key");
        let Some(role) = roles.iter().find(|role| entries.contains(&format!("{key} {}", text(role, "name")))) else {
            continue;
        };
        let is_same = now.get(key).is_some_and(|definition| definition == text(&object, "definition"));
        if role["super"] == true && !accepted && !is_same {
            kept_back.push(format!("{key} of {}", text(role, "name")));
        } else if text(role, "name") != owner {
            sql.push_str(
                &format_args!("{} OWNER TO {};\n", text(&object, "alter"), identifier(text(role, "name"))).to_string(),
            );
        }
    }
    sql.push_str(&format_args!("REASSIGN OWNED BY {ROLE} TO {};\nDROP OWNED BY {ROLE}", identifier(owner)).to_string());
    restored
        .execute(&sql)
        .context(|| format!("cannot give the restored database `{}` to its owners", restored.name))?;
    Ok(kept_back)
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}
