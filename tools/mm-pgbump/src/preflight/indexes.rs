//! Checks of indexes: rows that a unique one hides, rows that a B-tree lacks, and B-trees whose order is not that of the
//! collation any more, as a new C library leaves them.

use mm_common::Result;
use mm_common::postgres::fingerprint;
use mm_common::postgres::server::Database;

use super::contents::names;
use super::{Question, Seen, order, shortened};

/// Whether an index (`x`) computes something with functions, operators or domains that the superuser does not own.
/// PostgreSQL itself computes such things as the owner of the table; asked by us, they would run as the superuser.
pub(super) const FOREIGN_CODE: &str = "EXISTS (SELECT FROM pg_catalog.pg_depend d
         LEFT JOIN pg_catalog.pg_proc f ON d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND f.oid = d.refobjid
         LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.refobjid
         LEFT JOIN pg_catalog.pg_type t ON d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = d.refobjid
         JOIN pg_catalog.pg_roles r ON r.oid = coalesce(f.proowner, o.oprowner, t.typowner) AND NOT r.rolsuper
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = x.indexrelid)";

/// Why [`FOREIGN_CODE`] is left alone.
pub(super) const FOREIGN_WHY: &str = "it calls functions that are not the superuser's";

/// Rows that a unique index should have kept out, found without asking any index: what a changed collation leaves, and
/// what makes a restored dump lose a whole table without a word.
pub(super) fn duplicates(question: &Question<'_>, databases: &[String]) -> Result<Seen> {
    let (mut found, mut unasked) = (Vec::new(), Vec::new());
    for name in databases {
        let database = Database::superuser(question.old, name)?.with_limit(fingerprint::LIMIT);
        let Ok(held) = fingerprint::hold(&database) else {
            unasked.push(format!("{name}: any"));
            continue;
        };
        let rows = held.script(&duplicates_script())?;
        found.extend(rows.iter().filter(|row| row["n"].as_u64() != Some(0)).map(|row| {
            format!("{name}: {} has {} of its keys more than once", row["i"].as_str().unwrap_or_default(), row["n"])
        }));
        let sql = format!(
            "SELECT indexrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_index x WHERE indisunique AND {FOREIGN_CODE}"
        );
        unasked.extend(names(&database, &sql)?.into_iter().map(|index| format!("{name}: {index}")));
    }
    let hint = "a restore point first; then remove the duplicate rows by hand (`SELECT ... GROUP BY key HAVING count(*) > 1` with SET enable_indexscan, enable_indexonlyscan and enable_bitmapscan to off) and REINDEX the index";
    if found.is_empty() && !unasked.is_empty() {
        let evidence = format!("none of the others does; not looked at ({FOREIGN_WHY}): {}", shortened(&unasked));
        return Ok(Seen::skip(evidence, "REINDEX these: a unique index with duplicate rows cannot be built anew"));
    }
    Ok(Seen::list(&found, "none does", Seen::fail, hint))
}

/// Asks amcheck of every index where the administrator has installed it: to do so is a change, and not ours to make.
/// Elsewhere every index is read in its own order.
pub(super) fn btrees(question: &Question<'_>, databases: &[String]) -> Result<Seen> {
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    let (mut asked, mut read) = (0_usize, 0_usize);
    for name in databases {
        let database = Database::superuser(question.old, name)?.with_limit(fingerprint::LIMIT);
        let Ok(held) = fingerprint::hold(&database) else {
            unread.push(format!("{name}: any: {FOREIGN_WHY}"));
            continue;
        };
        if names(&database, "SELECT extname::pg_catalog.text FROM pg_catalog.pg_extension WHERE extname = 'amcheck'")?
            .is_empty()
        {
            for (index, state) in order::of_all(&held)? {
                match state {
                    order::State::Sound => read += 1,
                    order::State::Broken(how) => found.push(format!("{name}: {index}: {how}")),
                    order::State::Unknown(why) => unread.push(format!("{name}: {index}: {why}")),
                }
            }
            continue;
        }
        let rows = held.rows(AMCHECK)?;
        let asking: String = rows
            .iter()
            .filter_map(|row| Some(order::or_error(row["sql"].as_str()?, row["called"].as_str()?)))
            .collect();
        asked += rows.len();
        for answer in held.script(&format!("{}{asking}{}", order::GO_ON, order::GO_ON_NO_MORE))? {
            if let (Some(index), Some(error)) = (answer["of"].as_str(), answer["error"].as_str()) {
                found.push(format!("{name}: {index}: {error}"));
            }
        }
    }
    if !found.is_empty() {
        let hint = "REINDEX INDEX CONCURRENTLY each of them; if a unique one fails, remove the duplicate rows first";
        return Ok(Seen::fail(shortened(&found), hint));
    }
    let sound = format!("{read} were read in their order and counted, amcheck finds no fault in {asked}");
    if unread.is_empty() {
        return Ok(Seen::pass(sound));
    }
    Ok(Seen::skip(
        format!("{sound}; not checked: {}", shortened(&unread)),
        "CREATE EXTENSION amcheck in these databases, then check again; rows that are there twice are looked for without it",
    ))
}

const AMCHECK: &str = r"
SELECT x.indexrelid::pg_catalog.regclass::pg_catalog.text AS called, pg_catalog.format('SELECT pg_catalog.json_build_object() FROM (SELECT %I.bt_index_check(index => %s::pg_catalog.oid::pg_catalog.regclass%s)', n.nspname, x.indexrelid,
       CASE WHEN 'heapallindexed' = ANY (proargnames) THEN ', heapallindexed => true' END) || ') AS q' AS sql
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
  JOIN LATERAL (SELECT proargnames FROM pg_catalog.pg_proc WHERE proname = 'bt_index_check' AND pronamespace = e.extnamespace
                ORDER BY pronargs DESC LIMIT 1) p ON true,
       pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = indexrelid JOIN pg_catalog.pg_am a ON a.oid = relam
 WHERE extname = 'amcheck' AND amname = 'btree' AND indisvalid AND indisready AND relkind = 'i' AND relpersistence = 'p'
 ORDER BY 1";

fn duplicates_script() -> String {
    format!(
        r"
SET search_path = pg_catalog, pg_temp; SET statement_timeout = 0;
SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
SELECT pg_catalog.format('SELECT pg_catalog.row_to_json(x) FROM (SELECT %L AS i, pg_catalog.count(*) AS n FROM (SELECT 1 FROM ONLY %s WHERE %s%s GROUP BY %s HAVING pg_catalog.count(*) > 1) AS d) AS x',
         indexrelid::pg_catalog.regclass::pg_catalog.text || ' of ' || indrelid::pg_catalog.regclass::pg_catalog.text, indrelid::pg_catalog.regclass,
         (SELECT pg_catalog.string_agg(pg_catalog.format('(%s) IS NOT NULL', pg_catalog.pg_get_indexdef(indexrelid, k, false)), ' AND ') FROM pg_catalog.generate_series(1, indnkeyatts) k),
         coalesce(' AND (' || pg_catalog.pg_get_expr(indpred, indrelid) || ')', ''),
         (SELECT pg_catalog.string_agg('(' || pg_catalog.pg_get_indexdef(indexrelid, k, false) || ')', ', ') FROM pg_catalog.generate_series(1, indnkeyatts) k))
  FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = indrelid
 WHERE indisunique AND indisvalid AND relkind = 'r' AND relnamespace NOT IN ('pg_catalog'::pg_catalog.regnamespace, 'pg_toast'::pg_catalog.regnamespace,
       'information_schema'::pg_catalog.regnamespace) AND NOT {FOREIGN_CODE} \gexec
"
    )
}
