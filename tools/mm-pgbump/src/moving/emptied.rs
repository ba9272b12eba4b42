//! A database that was there and empty before a move has filled it, made so again.

use std::time::Duration;

use mm_common::contract::ui;
use mm_common::postgres::dump::{identifier, literal};
use mm_common::postgres::server::Database;
use mm_common::postgres::{properties, schemas};
use mm_common::{Context as _, Error, Result};

use super::look::extensions_of;
use super::origin::Origin;
use super::record::Before;
use super::target::{self, Target};

/// Dropping takes moments, whatever the size; ten thousand large objects take a minute.
const LIMIT: Duration = Duration::from_secs(1800);

/// Statements that remove what a role owns in the database it is in; each is made of what is there then.
const EMPTY: &str = r"SET search_path = pg_catalog, pg_temp; SET statement_timeout = 0;
SELECT pg_catalog.format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) FROM pg_catalog.pg_namespace n
 WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'public') AND pg_catalog.pg_get_userbyid(nspowner) = current_user
   AND NOT nspname = ANY (ARRAY[@KEPT@]::pg_catalog.name[]) \gexec
SELECT pg_catalog.format('DROP %s IF EXISTS %I.%I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
   WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, nspname, relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
 WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND pg_catalog.pg_get_userbyid(relowner) = current_user AND nspname NOT LIKE 'pg\_%'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objid = c.oid AND deptype IN ('e', 'a', 'i')) \gexec
SELECT pg_catalog.format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::pg_catalog.regprocedure)
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = pronamespace
 WHERE pg_catalog.pg_get_userbyid(proowner) = current_user AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend WHERE classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND objid = p.oid AND deptype = 'e') \gexec
SELECT pg_catalog.format('DROP TYPE IF EXISTS %I.%I CASCADE', nspname, typname)
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = typnamespace
 WHERE (typtype IN ('d', 'e') OR typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_class k WHERE k.oid = typrelid AND k.relkind = 'c'))
   AND pg_catalog.pg_get_userbyid(typowner) = current_user AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend WHERE classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND objid = t.oid AND deptype = 'e') \gexec
WITH defaults AS (SELECT defaclacl AS acl,
    CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS'
      ELSE 'LARGE OBJECTS' END AS kind,
    CASE defaclnamespace WHEN 0 THEN '' ELSE pg_catalog.format(' IN SCHEMA %s', defaclnamespace::pg_catalog.regnamespace) END AS space
   FROM pg_catalog.pg_default_acl WHERE @DEFAULTS@ AND pg_catalog.pg_get_userbyid(defaclrole) = current_user)
SELECT sql FROM (
  SELECT 1 AS place, pg_catalog.format('ALTER DEFAULT PRIVILEGES%s REVOKE ALL ON %s FROM %s', d.space, d.kind,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END) AS sql
    FROM defaults d, pg_catalog.aclexplode(d.acl) a
  UNION ALL SELECT 2, pg_catalog.format('ALTER DEFAULT PRIVILEGES GRANT ALL ON %s TO CURRENT_USER', kind) FROM defaults WHERE space = ''
  UNION ALL SELECT 3, pg_catalog.format('ALTER DEFAULT PRIVILEGES GRANT ALL ON %s TO PUBLIC', kind) FROM defaults
    WHERE space = '' AND kind IN ('FUNCTIONS', 'TYPES')) AS all_of_them ORDER BY place \gexec
SELECT pg_catalog.format('SELECT NULL WHERE pg_catalog.lo_unlink(%s) IS NULL', oid)
  FROM pg_catalog.pg_largeobject_metadata WHERE pg_catalog.pg_get_userbyid(lomowner) = current_user \gexec
";

/// What a database is like that a move is about to fill.
pub(super) fn before(origin: &Origin, own: &Database) -> Result<Before> {
    let extensions = origin.missing_extensions(own)?.into_iter().map(|(name, _)| name).collect();
    Ok(Before { extensions, ..before_schema(own)? })
}

/// As [`before`], where the server makes the tables itself, which needs no extension.
pub(crate) fn before_schema(own: &Database) -> Result<Before> {
    let rights = "SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_default_acl
        WHERE pg_catalog.pg_get_userbyid(defaclrole) = current_user";
    let default_rights = own.value(rights)? != 0;
    Ok(Before { properties: properties::read(own)?, extensions: Vec::new(), default_rights })
}

/// Makes the database of the target what it was: nothing that we have put into it is left, nor settings of ours.
///
/// # Errors
/// Failed also when something is left.
pub(super) fn empty(target: &Target, own: &Database, before: &Before) -> Result<()> {
    let spaces = before.properties.spaces().unwrap_or_default();
    let kept: Vec<String> = spaces.keys().map(|name| literal(name)).collect();
    for name in &before.extensions {
        // Whoever has made it may drop it; that it is gone is seen below.
        let _ = target.as_either(own, &format!("DROP EXTENSION IF EXISTS {} CASCADE", identifier(name)));
    }
    own.clone()
        .with_limit(LIMIT)
        .script(&EMPTY.replace("@KEPT@", &kept.join(", ")).replace("@DEFAULTS@", &(!before.default_rights).to_string()))
        .context(|| format!("cannot empty the database `{}` again", own.name))?;
    if spaces.contains_key("public") {
        own.execute("CREATE SCHEMA IF NOT EXISTS public")?;
    }
    let extensions = extensions_of(own)?.into_iter().map(|(name, _)| name);
    let made = extensions.filter(|name| before.extensions.contains(name)).map(|name| format!("the extension {name}"));
    let left: Vec<String> = target::contents(own)?.into_iter().chain(made).collect();
    if !left.is_empty() {
        return Err(Error::failed(format!("the database `{}` is not empty again", own.name)).because(left.join("; ")));
    }
    let setter = target.setter(own);
    let unsettled = properties::bring_back(&setter, &before.properties)?;
    let unsettled = unsettled.into_iter().map(|(what, error)| format!("{what} ({})", error.causes().join("; ")));
    for one in unsettled.chain(schemas::settle_own(&setter, &spaces)?) {
        ui::warn(&format!("the database `{}` at the target is not quite as before: {one}", own.name));
    }
    Ok(())
}
