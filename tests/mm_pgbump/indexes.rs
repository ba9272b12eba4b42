//! Indexes that are not what they say, made for real: found by `mm-pgbump check` before an upgrade carries them over,
//! with amcheck where it is installed and without it.

use serde_json::Value;

use crate::rig::{Rig, check_of};

const INCOMPLETE: &str = "CREATE TABLE words (word text); CREATE INDEX words_word ON words (word); \
    INSERT INTO words SELECT 'n' || n FROM generate_series(1, 1000) n; \
    UPDATE pg_index SET indisready = false WHERE indexrelid = 'words_word'::regclass; \
    INSERT INTO words VALUES ('left out'); \
    UPDATE pg_index SET indisready = true WHERE indexrelid = 'words_word'::regclass;";

fn indexes(rig: &Rig, code: i32) -> Value {
    let (document, _) = rig.pgbump(code, &["check", "--to", "15"]);
    check_of(&document, "indexes").clone()
}

#[test]
fn a_row_that_an_index_lacks_is_found() {
    let rig = Rig::new();
    let check = indexes(&rig, 0);
    assert!(
        check["status"] == "pass" && check["evidence"].as_str().unwrap().contains("amcheck finds no fault in 0"),
        "{check}"
    );
    rig.finds(&[(
        "indexes",
        "public.words_word: it holds 1000 rows where the table has 1001",
        INCOMPLETE,
        "DROP TABLE words",
    )]);
    let with_amcheck = format!("CREATE EXTENSION amcheck; {INCOMPLETE}");
    rig.finds(&[("indexes", "words_word: heap tuple", &with_amcheck, "DROP TABLE words")]);
    rig.is_as_before();
}

/// In all the ways in which an index can be ordered, and none of them in the order that it claims: what a C library
/// leaves behind that orders text in another way than the one before.
const DISORDER: &str = r#"
CREATE TABLE words (n int, word text, kind "char" DEFAULT 'x');
INSERT INTO words SELECT n % 3, CASE n % 2 WHEN 0 THEN 'N' ELSE 'n' END || n FROM generate_series(1, 999) n;
INSERT INTO words VALUES (1, NULL), (1, NULL), (NULL, 'one'), (NULL, NULL);
CREATE INDEX words_plain ON words (word COLLATE "en-US-x-icu");
CREATE INDEX words_second ON words (n DESC, word COLLATE "en-US-x-icu" DESC NULLS LAST);
CREATE INDEX words_first ON words (word COLLATE "en-US-x-icu" NULLS FIRST, n) INCLUDE (kind);
CREATE INDEX words_part ON words ((word || '.') COLLATE "en-US-x-icu") WHERE n = 1;
CREATE INDEX words_pattern ON words (word COLLATE "en-US-x-icu", kind);
UPDATE pg_index SET indcollation = replace(indcollation::text, (SELECT oid::text FROM pg_collation WHERE collname = 'en-US-x-icu'), '100')::oidvector
 WHERE indrelid = 'words'::regclass;
UPDATE pg_attribute SET attcollation = 100
 WHERE attcollation <> 0 AND attrelid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'words'::regclass);
UPDATE pg_index SET indclass = replace(indclass::text, (SELECT oid::text FROM pg_opclass WHERE opcname = 'text_ops' AND opcmethod = 403),
   (SELECT oid::text FROM pg_opclass WHERE opcname = 'text_pattern_ops' AND opcmethod = 403))::oidvector
 WHERE indexrelid = 'words_pattern'::regclass;
"#;

const BROKEN: [&str; 5] = ["words_plain", "words_second", "words_first", "words_part", "words_pattern"];

#[test]
fn indexes_out_of_order_are_found_without_amcheck_and_are_sound_when_built_anew() {
    let rig = Rig::new();
    let found = |word: &str| {
        let look = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off;";
        rig.site.cluster.query(&format!("{look} SELECT count(*) FROM words WHERE word = '{word}'"))
    };
    rig.site.cluster.query(DISORDER);
    let missed =
        (1..=999).filter(|n| found(&format!("{}{n}", if n % 2 == 0 { "N" } else { "n" })) == "0").take(1).count();
    assert_eq!(missed, 1, "lookups by these indexes find everything: the test shows nothing any more");
    let check = indexes(&rig, 4);
    let evidence = check["evidence"].as_str().unwrap();
    for name in BROKEN {
        assert!(evidence.contains(&format!("mattermost: public.{name}: ")), "{name}: {evidence}");
    }
    assert_eq!(evidence.matches("out of the order of its collation or type").count(), BROKEN.len(), "{evidence}");
    assert!(check["hint"].as_str().unwrap().contains("REINDEX INDEX CONCURRENTLY"), "{check}");
    rig.upgrade(5, &[]);
    rig.is_as_before();

    // The cure that is named, and then they are what they say, each of them read.
    for name in BROKEN {
        rig.site.cluster.query(&format!("REINDEX INDEX CONCURRENTLY {name}"));
    }
    let check = indexes(&rig, 0);
    assert_eq!(check["status"], "pass", "{check}");
    assert_eq!(found("n1"), "1");
}

#[test]
fn what_cannot_be_read_in_its_order_is_named() {
    let rig = Rig::new();
    let all_read = indexes(&rig, 0);
    let read = |check: &Value| check["evidence"].as_str().unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
    rig.site.cluster.query(
        "CREATE EXTENSION hstore; CREATE TYPE pair AS (a int, b text); \
         CREATE TABLE things (a int[], h hstore, p pair, u uuid, t text, d date, b bool); \
         INSERT INTO things SELECT ARRAY[n, NULL], 'a=>1', (n, 'x')::pair, NULL, 't' || n, NULL, n % 2 = 0 FROM generate_series(1, 100) n; \
         CREATE INDEX things_array ON things (a DESC NULLS LAST, b); CREATE INDEX things_extension ON things (h); \
         CREATE INDEX things_text ON things (t text_pattern_ops, d, u); CREATE INDEX things_gin ON things USING gin (a); \
         CREATE INDEX things_row ON things (p); CREATE INDEX things_twin ON things (d); CREATE INDEX things_twin_2 ON things (d); \
         CREATE SEQUENCE called; GRANT ALL ON called TO PUBLIC; ANALYZE things",
    );
    // Of the owner of the table, who is not to be given the rights of the superuser.
    rig.site.cluster.query(
        "SET SESSION AUTHORIZATION mmuser; CREATE TABLE theirs (t text); INSERT INTO theirs VALUES ('a'); \
         CREATE FUNCTION key_of(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \
         $$ BEGIN IF current_setting('is_superuser') = 'on' THEN PERFORM nextval('called'); END IF; RETURN $1; END $$; \
         CREATE UNIQUE INDEX theirs_key ON theirs (key_of(t))",
    );
    let (document, _) = rig.pgbump(0, &["check", "--to", "15"]);
    assert_eq!(rig.site.cluster.query("SELECT is_called FROM called"), "f", "their function ran as the superuser");
    let check = check_of(&document, "indexes");
    let evidence = check["evidence"].as_str().unwrap();
    assert_eq!(check["status"], "skip", "{check}");
    assert!(check["hint"].as_str().unwrap().contains("CREATE EXTENSION amcheck"), "{check}");
    assert!(evidence.contains("public.theirs_key: it calls functions that are not the superuser's"), "{evidence}");
    assert!(evidence.contains("public.things_row: its keys cannot be compared one by one"), "{evidence}");
    // Of two that have the same order, PostgreSQL reads one.
    assert_eq!(evidence.matches("in its place").count(), 1, "{evidence}");
    assert_eq!(evidence.matches(": public.").count(), 3, "{evidence}");
    assert_eq!(read(check), read(&all_read) + 4);
    let check = check_of(&document, "duplicates");
    assert_eq!(check["status"], "skip", "{check}");
    assert!(check["evidence"].as_str().unwrap().contains("theirs_key"), "{check}");
}
