//! Code of users that a superuser runs by carrying their database into another cluster: `pg_upgrade` and a dump both have
//! a superuser make every object anew, and a dump has the same superuser insert every row.
//!
//! Most expressions are only stored then. Evaluated are (observed from 13 to 15, but for indexes, statistics and foreign
//! keys, which are taken for evaluated without having been observed):
//! * what is constant in the expressions of generated columns, of partition keys, and of the CHECKs of partitions, as soon
//!   as the table is made or attached; in those of indexes and statistics, when a foreign key is added or an index attached;
//!   in the CHECKs of a table with a foreign key, where `constraint_exclusion` is on;
//! * the CHECKs of a domain, whenever text becomes a value of it, or of an array, a row or a range of it: constants in any
//!   expression, bounds of partitions, first values of aggregates, values of columns that were added later; from 18 on
//!   statistics too;
//! * for every row of a dump, also the CHECKs of its table and of its types, generated columns, partition keys, and
//!   expressions of indexes.
//!
//! A cast is looked for anew when an expression is read: one that was made later than the expression counts as well.
//!
//! All of it is found in the catalogues, which runs nothing of anybody's.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::foreign::{self, Use};
use super::server::Database;
use crate::contract::error::{Context as _, Result};

/// How a database is carried over.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Rows are inserted by a superuser, as from a dump; `pg_upgrade` takes files.
    pub inserts_rows: bool,
    /// Statistics are carried over as well.
    pub sets_statistics: bool,
}

/// What would run, as a superuser.
#[derive(Debug)]
pub struct Code {
    /// Each place, with the function and its owner.
    pub places: BTreeSet<String>,
    /// What to do about it.
    pub hint: String,
}

/// Whatever it is whose expressions these are: kind, object, part and the expression itself, to be completed by a
/// condition on the table, as those of [`foreign`] are.
const GENERATED: [&str; 2] = [
    "SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, f.oid, 0, f.adbin::pg_catalog.text FROM pg_catalog.pg_attrdef f
   JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum AND a.attgenerated <> '' WHERE f.adrelid",
    // Up to 14 it is the column that depends on what its expression uses.
    "SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, f.adrelid, f.adnum::pg_catalog.int4, f.adbin::pg_catalog.text FROM pg_catalog.pg_attrdef f
   JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum AND a.attgenerated <> '' WHERE f.adrelid",
];
const CHECKS: &str = "SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid, 0, c.conbin::pg_catalog.text FROM pg_catalog.pg_constraint c
   WHERE c.contype = 'c' AND c.conrelid";

/// Every table.
const ANY: &str = "<> 0";

/// Tables whose CHECKs are looked at when they are attached, or planned with when a foreign key is added.
const ATTACHED: &str = "IN (SELECT oid FROM pg_catalog.pg_class WHERE relispartition
    UNION SELECT conrelid FROM pg_catalog.pg_constraint WHERE contype = 'f'
    UNION SELECT confrelid FROM pg_catalog.pg_constraint WHERE contype = 'f')";

/// First versions with generated columns, with values of columns that were added later, and with bodies of functions that
/// are read when the function is made (and multiranges).
const GENERATING: u32 = 120_000;
const MISSING: u32 = 110_000;
const BODIES: u32 = 140_000;

/// What would run in a database as a superuser.
///
/// # Errors
/// When its catalogues cannot be read.
pub fn code(superuser: &Database, way: Way) -> Result<Option<Code>> {
    let generated: &[&str] = if superuser.version_num >= GENERATING { &GENERATED } else { &[] };
    let of_any = |of: &[&str]| of.iter().map(|one| format!("{one} {ANY}")).collect::<Vec<_>>();
    let checks = format!("{CHECKS} {}", if way.inserts_rows { ANY } else { ATTACHED });
    let mut made = of_any(&[foreign::INDEXES, foreign::PARTITIONS]);
    made.extend(of_any(generated));
    made.push(checks);
    let mut found = foreign::read(superuser, &foreign::uses("", &made))?;
    if !way.inserts_rows {
        found.retain(Use::is_early);
    }
    // Nobody computes statistics but as their owner; whoever plans with them computes what is constant.
    let statistics = foreign::read(superuser, &foreign::uses("", &of_any(&[foreign::STATISTICS])))?;
    found.extend(statistics.into_iter().filter(Use::is_early));
    let further = superuser.rows(&further(superuser.version_num, way, &made))?;
    let mut further: Vec<Further> = serde_json::from_value(further.into())
        .context(|| format!("cannot understand what `{}` computes", superuser.name))?;
    further.retain(|one| way.inserts_rows || one.tree.is_empty() || foreign::is_early(&one.tree, one.plain, converts));
    let given = found.iter().map(Use::given).chain(further.iter().map(|one| one.given.as_str()));
    let hint = foreign::hint(superuser, given);
    let reasons = found.iter().map(|one| one.reason.clone()).chain(further.iter().map(|one| one.reason.clone()));
    let places: BTreeSet<String> = reasons.collect();
    Ok((!places.is_empty()).then_some(Code { places, hint }))
}

/// Code that no expression mentions.
#[derive(Debug, Deserialize)]
struct Further {
    reason: String,
    given: String,
    /// The expression that converts, where it does only if it is computed; and whether the cast is nothing but its function.
    tree: String,
    plain: bool,
}

/// Functions of somebody who is no superuser; and whether each, where it converts, runs nothing but itself.
const THEIRS: &str = "theirs(oid, called, given, plain) AS (
  SELECT p.oid, pg_catalog.format('the %s of %I', pg_catalog.pg_describe_object('pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0), r.rolname),
    pg_catalog.format('ALTER FUNCTION %1$s OWNER TO %2$I; ALTER FUNCTION %1$s SECURITY INVOKER;',
      (pg_catalog.pg_identify_object('pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0)).identity, SESSION_USER), i.oid IS NULL
   FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid = p.proowner AND NOT r.rolsuper
   LEFT JOIN inlined i ON i.oid = p.oid)";
const CONVERTING: &str = "SELECT castfunc FROM pg_catalog.pg_cast WHERE castfunc <> 0";

/// Types to and from which such a function converts, and domains whose CHECKs call one.
const CHECKED: &str = "casts(type, called, given, plain) AS (
  SELECT c.castsource, t.called, t.given, t.plain FROM pg_catalog.pg_cast c JOIN theirs t ON t.oid = c.castfunc
  UNION SELECT c.casttarget, t.called, t.given, t.plain FROM pg_catalog.pg_cast c JOIN theirs t ON t.oid = c.castfunc),
 used(type, kind, object) AS (
  SELECT c.contypid, d.refclassid, d.refobjid FROM pg_catalog.pg_constraint c
   JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = c.oid
   WHERE c.contypid <> 0 AND NOT (d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid = c.contypid)),
 checked(type, called, given) AS (
  SELECT u.type, t.called, t.given FROM used u
   LEFT JOIN pg_catalog.pg_operator o ON u.kind = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = u.object
   JOIN theirs t ON t.oid = CASE u.kind WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN u.object ELSE o.oprcode::pg_catalog.oid END
  UNION SELECT u.type, k.called, k.given FROM used u JOIN casts k ON u.kind = 'pg_catalog.pg_type'::pg_catalog.regclass AND k.type = u.object";

/// Which type has values of which in it.
const HOLDS: &str = "holds(outer_type, inner_type) AS (
  SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
  UNION SELECT t.oid, t.typelem FROM pg_catalog.pg_type t WHERE t.typelem <> 0 AND t.typlen = -1
  UNION SELECT t.oid, a.atttypid FROM pg_catalog.pg_type t
   JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped WHERE t.typtype = 'c'
  UNION SELECT r.rngtypid, r.rngsubtype FROM pg_catalog.pg_range r
  UNION SELECT u.type, u.object FROM used u WHERE u.kind = 'pg_catalog.pg_type'::pg_catalog.regclass";

/// All other expressions that are read when an object is made.
const READ: &str = "SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, oid, 0, adbin::pg_catalog.text FROM pg_catalog.pg_attrdef
  UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, oid, 0, conbin::pg_catalog.text FROM pg_catalog.pg_constraint
  UNION ALL SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, oid, 0, pg_catalog.concat(ev_qual::pg_catalog.text, ev_action::pg_catalog.text)
   FROM pg_catalog.pg_rewrite WHERE oid >= 16384
  UNION ALL SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, oid, 0, pg_catalog.concat(polqual::pg_catalog.text, polwithcheck::pg_catalog.text)
   FROM pg_catalog.pg_policy
  UNION ALL SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, oid, 0, tgqual::pg_catalog.text FROM pg_catalog.pg_trigger
  UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid, 0, typdefaultbin::pg_catalog.text FROM pg_catalog.pg_type
  UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, oid, 0, relpartbound::pg_catalog.text FROM pg_catalog.pg_class
  UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, 0, proargdefaults::pg_catalog.text FROM pg_catalog.pg_proc WHERE oid >= 16384";

/// Where values of a type become such from text, besides constants.
const INPUT: &str = "SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, aggfnoid::pg_catalog.oid, 0, aggtranstype
   FROM pg_catalog.pg_aggregate WHERE agginitval IS NOT NULL
  UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, aggfnoid::pg_catalog.oid, 0, aggmtranstype
   FROM pg_catalog.pg_aggregate WHERE aggminitval IS NOT NULL";
const ADDED_LATER: &str =
    "SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, attrelid, attnum::pg_catalog.int4, atttypid FROM pg_catalog.pg_attribute
   WHERE atthasmissing AND NOT attisdropped";
const WITH_STATISTICS: &str =
    "SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, a.attrelid, a.attnum::pg_catalog.int4, a.atttypid
   FROM pg_catalog.pg_statistic s JOIN pg_catalog.pg_attribute a ON a.attrelid = s.starelid AND a.attnum = s.staattnum";
const WITH_ROWS: &str =
    "SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, a.attrelid, a.attnum::pg_catalog.int4, a.atttypid
   FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
   WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped";

/// What only a superuser makes, and may have made of somebody's function: it runs with what it is for.
const OF_SUPERUSERS: &str = "SELECT pg_catalog.format('%s is ordered by %s',
    pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, k.object, 0), t.called), t.given, '', true
   FROM (SELECT partrelid, pg_catalog.unnest(partclass::pg_catalog.oid[]) FROM pg_catalog.pg_partitioned_table
     UNION SELECT indexrelid, pg_catalog.unnest(indclass::pg_catalog.oid[]) FROM pg_catalog.pg_index) AS k(object, class)
   JOIN pg_catalog.pg_opclass c ON c.oid = k.class JOIN pg_catalog.pg_amproc p ON p.amprocfamily = c.opcfamily
   JOIN theirs t ON t.oid = p.amproc
  UNION ALL SELECT pg_catalog.format('%s calls %s', pg_catalog.pg_describe_object(k.kind, k.object, 0), t.called), t.given, '', true
   FROM (SELECT 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, oid, evtfoid FROM pg_catalog.pg_event_trigger
     UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, oid, fdwvalidator FROM pg_catalog.pg_foreign_data_wrapper
     UNION ALL SELECT 'pg_catalog.pg_language'::pg_catalog.regclass, oid, lanvalidator FROM pg_catalog.pg_language
   ) AS k(kind, object, function) JOIN theirs t ON t.oid = k.function";

/// Nodes of an expression that convert, perhaps by a cast.
const CONVERTS: &str =
    r"'\{(COERCEVIAIO|RELABELTYPE|ARRAYCOERCEEXPR|CONVERTROWTYPEEXPR|COERCETODOMAIN|FUNCEXPR [^{}]*:funcformat [12]) '";

/// Whether a node is one of them.
fn converts(node: &str) -> bool {
    const CONVERSIONS: [&str; 5] =
        ["COERCEVIAIO", "RELABELTYPE", "ARRAYCOERCEEXPR", "CONVERTROWTYPEEXPR", "COERCETODOMAIN"];
    match node.split(' ').next() {
        Some("FUNCEXPR") => [":funcformat 1 ", ":funcformat 2 "].iter().any(|format| node.contains(format)),
        Some(kind) => CONVERSIONS.contains(&kind),
        None => false,
    }
}

/// What runs without being mentioned; `made` are the expressions that are evaluated.
fn further(version_num: u32, way: Way, made: &[String]) -> String {
    let mut checked = CHECKED.to_owned();
    if way.inserts_rows {
        checked += "\n  UNION SELECT r.rngtypid, t.called, t.given FROM pg_catalog.pg_range r JOIN theirs t ON t.oid = r.rngsubdiff";
    }
    let mut holds = HOLDS.to_owned();
    let mut read = vec![READ.to_owned()];
    if version_num >= BODIES {
        holds += "\n  UNION SELECT r.rngmultitypid, r.rngtypid FROM pg_catalog.pg_range r";
        read.push("SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, 0, prosqlbody::pg_catalog.text FROM pg_catalog.pg_proc WHERE oid >= 16384".to_owned());
    }
    read.extend([foreign::INDEXES, foreign::STATISTICS, foreign::PARTITIONS].map(|of| format!("{of} {ANY}")));
    let mut input = vec![INPUT];
    let further =
        [(version_num >= MISSING, ADDED_LATER), (way.sets_statistics, WITH_STATISTICS), (way.inserts_rows, WITH_ROWS)];
    input.extend(further.into_iter().filter(|(applies, _)| *applies).map(|(_, of)| of));
    // A column has a value, and what is converted is checked, only where there are rows.
    let rows = way.inserts_rows;
    format!(
        r"WITH RECURSIVE {}, {THEIRS}, {checked}), {holds}),
 tainted(type, called, given) AS (
  SELECT type, called, given FROM checked
  UNION SELECT h.outer_type, t.called, t.given FROM tainted t JOIN holds h ON h.inner_type = t.type),
 read(kind, object, part, tree) AS ({}),
 made(kind, object, part, tree) AS ({}),
 input(kind, object, part, type) AS ({}
  UNION ALL SELECT r.kind, r.object, r.part, m.found[1]::pg_catalog.oid
   FROM read r, pg_catalog.regexp_matches(r.tree, '\{{CONST :consttype (\d+) ', 'g') AS m(found) WHERE EXISTS (SELECT FROM tainted))
 SELECT pg_catalog.format('%s has a value of the type %s, which calls %s', pg_catalog.pg_describe_object(i.kind, i.object, i.part),
   pg_catalog.format_type(i.type, NULL), t.called) AS reason, t.given AS given, '' AS tree, true AS plain FROM input i JOIN tainted t ON t.type = i.type
 UNION SELECT pg_catalog.format('%s converts %s, which calls %s', pg_catalog.pg_describe_object(m.kind, m.object, m.part),
   pg_catalog.format_type(k.type, NULL), k.called), k.given, m.tree, k.plain
  FROM made m JOIN pg_catalog.pg_depend d ON d.classid = m.kind AND d.objid = m.object AND d.objsubid = m.part
  LEFT JOIN pg_catalog.pg_attribute a ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND a.attrelid = d.refobjid
   AND a.attnum = d.refobjsubid AND {rows}
  JOIN (SELECT type, called, given, plain FROM casts UNION SELECT type, called, given, true FROM tainted WHERE {rows}) AS k ON k.type = CASE d.refclassid WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN d.refobjid ELSE a.atttypid END
  WHERE m.tree ~ {CONVERTS}
 UNION {OF_SUPERUSERS}
 ORDER BY reason",
        foreign::inlined(CONVERTING),
        read.join("\n  UNION ALL "),
        made.join("\n  UNION ALL "),
        input.join("\n  UNION ALL "),
    )
}
