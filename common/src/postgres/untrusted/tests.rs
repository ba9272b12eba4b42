use super::*;

/// As `pg_restore` of 17.12 and of 18.6 printed it; the list says `BLOB METADATA - 4700..6000 mm` and
/// `BLOB METADATA - 4706 odd role`.
const GROUPS: &str = "--
-- Name: 4700..6000; Type: BLOB METADATA; Schema: -; Owner: mm
--

SELECT pg_catalog.lo_create('4700');
SELECT pg_catalog.lo_create('6000');

ALTER LARGE OBJECT 4700 OWNER TO mm;
ALTER LARGE OBJECT 6000 OWNER TO mm;

--
-- Name: 4706; Type: BLOB METADATA; Schema: -; Owner: odd role
--

SELECT pg_catalog.lo_create('4706');

ALTER LARGE OBJECT 4706 OWNER TO \"odd role\";
";

#[test]
fn each_large_object_of_a_group_has_its_owner() {
    assert_eq!(large_objects(GROUPS), ["BLOB - 4700 mm", "BLOB - 6000 mm", "BLOB - 4706 odd role"]);
}

#[test]
fn the_lines_of_a_dump_are_understood() {
    assert_eq!(entry("215; 1259 16390 TABLE public my posts mmuser"), "TABLE public my posts mmuser");
    let made = |line: &str| extension(line).map(|found| (found.name, found.schema));
    assert_eq!(
        made("CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;"),
        Some(("uuid-ossp".into(), "public".into()))
    );
    assert_eq!(made("CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA \"a\"\"b\";").unwrap().1, "a\"b");
    assert_eq!(made("DROP ROLE x;"), None);
}
