//! Whose the objects of a restored database are. The role that ran the dump owns all of them at first; each is given to its
//! owner by a statement that is written here, from what the catalogues say it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::definitions;
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
SELECT 'SCHEMA - ' || nspname AS key, 'SCHEMA ' || nspname AS named, pg_catalog.format('ALTER SCHEMA %I', nspname) AS alter, r.rolsuper AS super, '' AS definition
  FROM pg_catalog.pg_namespace n JOIN spaces s USING (oid, nspname) JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
 WHERE nspname <> 'public'
UNION ALL
SELECT word || ' ' || nspname || ' ' || relname, word || ' ' || nspname || '.' || relname, pg_catalog.format('ALTER %s %I.%I', word, nspname, relname), r.rolsuper,
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
   word || ' ' || nspname || '.' || proname || '(' || pg_catalog.oidvectortypes(proargtypes) || ')',
   pg_catalog.format('ALTER %s %I.%I(%s)', word, nspname, proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), r.rolsuper,
   CASE word WHEN 'AGGREGATE' THEN p.oid::pg_catalog.text ELSE pg_catalog.pg_get_functiondef(p.oid) END
  FROM (SELECT *, CASE prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END AS word FROM
        (SELECT oid, proname, pronamespace, proowner, proargtypes, prokind FROM pg_catalog.pg_proc) AS all_of_them) p
  JOIN spaces s ON s.oid = pronamespace JOIN pg_catalog.pg_roles r ON r.oid = proowner
 WHERE NOT EXISTS (SELECT FROM extension WHERE classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND objid = p.oid)
UNION ALL
SELECT word || ' ' || nspname || ' ' || typname, word || ' ' || nspname || '.' || typname, pg_catalog.format('ALTER %s %I.%I', word, nspname, typname), r.rolsuper, t.oid::pg_catalog.text
  FROM (SELECT oid, typname, typnamespace, typowner, typtype, typrelid, CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END AS word FROM pg_catalog.pg_type) t
  JOIN spaces s ON s.oid = typnamespace JOIN pg_catalog.pg_roles r ON r.oid = typowner
 WHERE (typtype IN ('d', 'e', 'r') OR typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = typrelid AND relkind = 'c'))
   AND NOT EXISTS (SELECT FROM extension WHERE classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND objid = t.oid)
UNION ALL
SELECT word || ' ' || nspname || ' ' || name, word || ' ' || nspname || '.' || name, pg_catalog.format('ALTER %s %I.%s%s', word, nspname, written, further), r.rolsuper, o.oid::pg_catalog.text
  FROM (SELECT 'STATISTICS' AS word, oid, stxname AS name, pg_catalog.quote_ident(stxname) AS written, stxnamespace AS space, stxowner AS owner, '' AS further, 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass AS class FROM pg_catalog.pg_statistic_ext
        UNION ALL SELECT 'COLLATION', oid, collname, pg_catalog.quote_ident(collname), collnamespace, collowner, '', 'pg_catalog.pg_collation'::pg_catalog.regclass FROM pg_catalog.pg_collation
        UNION ALL SELECT 'CONVERSION', oid, conname, pg_catalog.quote_ident(conname), connamespace, conowner, '', 'pg_catalog.pg_conversion'::pg_catalog.regclass FROM pg_catalog.pg_conversion
        UNION ALL SELECT 'TEXT SEARCH CONFIGURATION', oid, cfgname, pg_catalog.quote_ident(cfgname), cfgnamespace, cfgowner, '', 'pg_catalog.pg_ts_config'::pg_catalog.regclass FROM pg_catalog.pg_ts_config
        UNION ALL SELECT 'TEXT SEARCH DICTIONARY', oid, dictname, pg_catalog.quote_ident(dictname), dictnamespace, dictowner, '', 'pg_catalog.pg_ts_dict'::pg_catalog.regclass FROM pg_catalog.pg_ts_dict
        UNION ALL SELECT 'OPERATOR', oid, oprname, oprname, oprnamespace, oprowner, pg_catalog.format(' (%s, %s)',
            CASE WHEN oprleft = 0 THEN 'NONE' ELSE pg_catalog.format_type(oprleft, NULL) END, CASE WHEN oprright = 0 THEN 'NONE' ELSE pg_catalog.format_type(oprright, NULL) END), 'pg_catalog.pg_operator'::pg_catalog.regclass FROM pg_catalog.pg_operator) AS o
  JOIN spaces s ON s.oid = space JOIN pg_catalog.pg_roles r ON r.oid = o.owner
 WHERE NOT EXISTS (SELECT FROM extension WHERE classid = class AND objid = o.oid)
UNION ALL
SELECT 'BLOB - ' || l.oid, 'BLOB ' || l.oid, pg_catalog.format('ALTER LARGE OBJECT %s', l.oid), r.rolsuper, ''
  FROM pg_catalog.pg_largeobject_metadata l JOIN pg_catalog.pg_roles r ON r.oid = lomowner";

/// Something that did not go to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBack {
    /// What, as a dump announces it: `TABLE public.posts`.
    pub object: String,
    /// Its owner where it was dumped.
    pub role: String,
}

/// Gives everything that [`ROLE`] owns in `restored` to its owner: the one that `entries` (the dump's table of contents)
/// names, or else `owner`. Something goes to a superuser only where the database that is replaced has the very same thing,
/// and it is a superuser's there, or where `accepted`: a function that is a superuser's could be run as one by anybody.
/// What is of a role that is not there goes to `owner`, too. Returns what went to `owner` instead.
pub fn give(
    restored: &Database,
    replaced: Option<&Database>,
    entries: &BTreeSet<String>,
    owner: &str,
    accepted: bool,
) -> Result<Vec<KeptBack>> {
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
        let mut keep =
            |role: &str| kept_back.push(KeptBack { object: text(&object, "named").into(), role: role.into() });
        let Some(role) = roles.iter().find(|role| entries.contains(&format!("{key} {}", text(role, "name")))) else {
            let of_nobody =
                entries.range(format!("{key} ")..).next().and_then(|entry| entry.strip_prefix(key)?.strip_prefix(' '));
            of_nobody.into_iter().for_each(&mut keep);
            continue;
        };
        let is_same = now.get(key).is_some_and(|now| is_same(key, now, text(&object, "definition")));
        // What belongs to `owner` anyway is not kept from it.
        if role["super"] == true && text(role, "name") != owner && !accepted && !is_same {
            keep(text(role, "name"));
        } else if text(role, "name") != owner {
            sql.push_str(
                &format_args!("{} OWNER TO {};\n", text(&object, "alter"), identifier(text(role, "name"))).to_string(),
            );
        }
    }
    sql.push_str(&format_args!("REASSIGN OWNED BY {ROLE} TO {};\nDROP OWNED BY {ROLE}", identifier(owner)).to_string());
    restored
        .execute_verbatim(&sql)
        .context(|| format!("cannot give the restored database `{}` to its owners", restored.name))?;
    Ok(kept_back)
}

/// Whether two definitions are the same. What a function does is compared letter by letter; expressions are written otherwise
/// once they have been dumped and restored.
fn is_same(key: &str, now: &str, restored: &str) -> bool {
    let is_code = ["FUNCTION ", "PROCEDURE ", "AGGREGATE "].iter().any(|kind| key.starts_with(kind));
    now == restored || (!is_code && definitions::settled(now) == definitions::settled(restored))
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}
