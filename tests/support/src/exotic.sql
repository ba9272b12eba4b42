CREATE SCHEMA exotic; CREATE SCHEMA "we ird.sch""ema"; CREATE SCHEMA empty; GRANT USAGE ON SCHEMA empty TO PUBLIC;
COMMENT ON SCHEMA "we ird.sch""ema" IS E'back\\slash \'quote\' :x %s\nline';
SET search_path = exotic;
CREATE TYPE label AS ENUM ('it''s', 'Ünï "q"', ''); ALTER TYPE label ADD VALUE 'between' BEFORE '';
CREATE DOMAIN base AS text CONSTRAINT "no ""x""" CHECK (VALUE <> 'x'); CREATE DOMAIN derived AS base NOT NULL DEFAULT 'd' CHECK (length(VALUE) < 9);
CREATE DOMAIN list AS int[] CHECK (array_length(VALUE, 1) < 4);
CREATE TYPE nested AS (l label[], d base, "odd.name" int); COMMENT ON COLUMN nested.d IS 'attribute';
COMMENT ON TYPE label IS 'type'; COMMENT ON DOMAIN base IS 'domain'; COMMENT ON CONSTRAINT "no ""x""" ON DOMAIN base IS 'domain constraint';
CREATE TABLE above (id int PRIMARY KEY, note text, CONSTRAINT own CHECK (id > 0) NO INHERIT, CONSTRAINT all_of_them CHECK (note <> 'z'));
CREATE TABLE below (own text DEFAULT 'o', note text DEFAULT 'n') INHERITS (above); ALTER TABLE above ADD later int DEFAULT 7; ALTER TABLE above ADD CONSTRAINT added CHECK (later > 0) NOT VALID;
ALTER TABLE below ALTER id SET DEFAULT 3; INSERT INTO below (own) VALUES ('x'); INSERT INTO above VALUES (1, 'a', 1);
CREATE TABLE two (t int); CREATE TABLE of_both (z int) INHERITS (above, two); INSERT INTO of_both VALUES (4, 'q', 4, 5, 6);
CREATE TABLE typed OF nested (d WITH OPTIONS DEFAULT 'typed'); INSERT INTO typed VALUES ('{it''s,""}', 'y', 1);
CREATE TABLE none (); INSERT INTO none DEFAULT VALUES; INSERT INTO none DEFAULT VALUES;
CREATE TABLE parts (id int, at date, w text DEFAULT '', PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('2020-01-01') PARTITION BY LIST (id);
CREATE TABLE parts_a1 PARTITION OF parts_a FOR VALUES IN (1, 7); CREATE TABLE parts_rest PARTITION OF parts_a DEFAULT;
CREATE TABLE parts_b (w text, gone int, at date NOT NULL, id int NOT NULL); ALTER TABLE parts_b DROP gone; ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
INSERT INTO parts VALUES (1, '2019-01-01', 'a'), (2, '2019-01-01', 'b'), (3, '2021-01-01', 'c');
CREATE INDEX on_parts ON parts (w DESC NULLS FIRST) INCLUDE (id); CREATE TABLE hashed (k text) PARTITION BY HASH (k);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed VALUES ('one'), ('two'), ('three');
CREATE TABLE refers (id int GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT -5 MINVALUE -1000 MAXVALUE 100 CYCLE CACHE 3), p int, at date, self int UNIQUE,
  FOREIGN KEY (p, at) REFERENCES parts (id, at) MATCH FULL ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT "to self" FOREIGN KEY (self) REFERENCES refers (self) ON UPDATE CASCADE NOT VALID);
INSERT INTO refers (p, at) VALUES (1, '2019-01-01'), (NULL, NULL);
CREATE TABLE spans (during int4range, EXCLUDE USING gist (during WITH &&) DEFERRABLE INITIALLY DEFERRED); INSERT INTO spans VALUES ('[1,3)'), ('[5,9)');
CREATE FUNCTION twice(x text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT x || x $$;
CREATE TABLE values (id bigserial, "col'umn" text DEFAULT E'a\\b''c', "select" numeric(20,5), f float8, r real, m money, b bit(5), vb bit varying, i inet, c cidr, mac macaddr, x xml, ts tsvector, tq tsquery, j json, jb jsonb,
  a int[], aa text[][], iv interval, t time, tz timetz, d date, u uuid, ch char(7), "char" "char", n name, o oid, cl regclass, p point, po polygon, rg numrange, nr nested, la label, dl list, dd derived,
  tw text GENERATED ALWAYS AS (twice("col'umn")) STORED, by bytea, lsn pg_lsn, tmz timestamptz, tm timestamp);
INSERT INTO values ("select", f, r, m, b, vb, i, c, mac, x, ts, tq, j, jb, a, aa, iv, t, tz, d, u, ch, "char", n, o, cl, p, po, rg, nr, la, dl, by, lsn, tmz, tm)
  VALUES (1.50000, 'NaN', '-0', 12.34, '10101', '1', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '<a>ü</a>', 'fat:1A & rat'::text::tsvector, 'a & !b', '{"a" : 1.0 , "a":2}', '{"b": [1.0, null]}',
  '[0:1]={1,2}', '{{a,NULL},{"b,","\""}}', '1 mon -1 day 00:00:00.5', '24:00', '12:00+05:30', 'infinity', '5b0b0e6c-8b5c-4a3a-9d53-0d5a4d6b6f10', 'ab', 'x', 'nam', 4294967295, 'exotic.above', '(0.1,1e300)', '((0,0),(1,1),(2,0))', '[1.0,2.00)', ROW('{between}', NULL, 2), '', '{1,2}', '\x00ff', '16/B374D848', '-infinity', '4713-01-01 00:00:00 BC'),
  ('NaN', '-Infinity', 'Infinity', '-0.01', NULL, '', '::1', NULL, NULL, NULL, '', '', 'null', 'null', '{}', '{}', '-00:00:00.000001', '00:00', '00:00-15:59', '-infinity', NULL, '', '', '', 0, NULL, NULL, NULL, 'empty', NULL, NULL, NULL, '', '0/0', '2020-02-02 02:02:02.000001+02', 'infinity');
CREATE INDEX words ON values USING gin (to_tsvector('english', "col'umn")); CREATE INDEX blocks ON values USING brin (id) WITH (pages_per_range = 7, autosummarize = on);
CREATE INDEX hash_ ON values USING hash (ch); CREATE INDEX points ON values USING spgist (p); CREATE UNIQUE INDEX "uni.q" ON values (("select" + 1), lower("col'umn") COLLATE "C" text_pattern_ops DESC) WHERE "select" > 0;
CREATE INDEX inside ON values USING gin (jb jsonb_path_ops) WITH (fastupdate = off); COMMENT ON INDEX "uni.q" IS 'index'; ALTER INDEX "uni.q" ALTER COLUMN 1 SET STATISTICS 500;
ALTER TABLE values ALTER "col'umn" SET STORAGE EXTERNAL, ALTER f SET (n_distinct = -0.5), SET (toast.autovacuum_enabled = off, parallel_workers = 3);
CREATE UNIQUE INDEX ident ON values (id); ALTER TABLE values ALTER id SET NOT NULL, REPLICA IDENTITY USING INDEX ident; ALTER TABLE none REPLICA IDENTITY NOTHING;
CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple, stopwords = english, accept = false); CREATE TEXT SEARCH CONFIGURATION conf (PARSER = default); ALTER TEXT SEARCH CONFIGURATION conf ADD MAPPING FOR asciiword, word WITH dict, english_stem;
COMMENT ON TEXT SEARCH CONFIGURATION conf IS 'conf'; COMMENT ON TEXT SEARCH DICTIONARY dict IS 'dict'; CREATE INDEX by_conf ON typed USING gin (to_tsvector('exotic.conf', d));
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN IF TG_OP = 'INSERT' THEN RETURN NEW; END IF; RETURN OLD; END $body$;
CREATE TRIGGER plain BEFORE UPDATE OF note ON above FOR EACH ROW WHEN (OLD.note IS DISTINCT FROM NEW.note) EXECUTE FUNCTION fires('a''rg', 'b\c');
CREATE TRIGGER many AFTER INSERT ON above REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION fires(); CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON above DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fires();
CREATE TRIGGER on_all BEFORE INSERT ON parts FOR EACH ROW EXECUTE FUNCTION fires(); ALTER TABLE above ENABLE REPLICA TRIGGER many; ALTER TABLE above ENABLE ALWAYS TRIGGER checked;
COMMENT ON TRIGGER plain ON above IS 'trigger'; CREATE RULE also AS ON UPDATE TO two DO ALSO NOTIFY "ch an"; CREATE RULE never AS ON INSERT TO two WHERE NEW.t < 0 DO INSTEAD NOTHING; COMMENT ON RULE also ON two IS 'rule';
CREATE VIEW checked WITH (security_barrier) AS SELECT id, note AS "no te" FROM above WHERE id > 0 WITH CASCADED CHECK OPTION; CREATE VIEW over (a) AS SELECT "no te" FROM checked; ALTER VIEW over ALTER a SET DEFAULT 'def'; COMMENT ON VIEW over IS 'view'; COMMENT ON COLUMN over.a IS 'column of a view';
CREATE RECURSIVE VIEW counts (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counts WHERE n < 5;
CREATE VIEW joined AS SELECT a.*, x.k, row_number() OVER (PARTITION BY a.id ORDER BY x.k DESC NULLS LAST) AS rn, CASE WHEN a.id = 1 THEN 'one'::text ELSE a.note END AS c, ARRAY(SELECT k FROM hashed ORDER BY 1) AS l, EXTRACT(epoch FROM now()) AS e, (a.note COLLATE "C") IS NOT DISTINCT FROM 'x' AS same, a.note ~~* 'x%' AS li, a.id BETWEEN SYMMETRIC 1 AND 3 AS bs, TRIM(BOTH ' ' FROM a.note) AS tr, SUBSTRING(a.note FROM 1 FOR 2) AS ss, now() AT TIME ZONE 'UTC' AS tz, current_date AS cd, NULLIF(a.id, 2) AS nu, GREATEST(a.id, 2) AS gr, a.id IN (1, 2, 3) AS inn FROM above a LEFT JOIN LATERAL (SELECT k FROM hashed WHERE k > a.note LIMIT 1) x ON true;
CREATE MATERIALIZED VIEW first AS SELECT id FROM above; CREATE UNIQUE INDEX on_first ON first (id); CREATE MATERIALIZED VIEW second AS SELECT count(*) AS n FROM first; CREATE MATERIALIZED VIEW third_one AS SELECT 1 AS n WITH NO DATA; COMMENT ON MATERIALIZED VIEW first IS 'matview';
CREATE FUNCTION outs(IN a int, OUT b int, INOUT c text DEFAULT 'c', VARIADIC d int[] DEFAULT '{}') LANGUAGE sql STABLE STRICT SECURITY DEFINER COST 7 PARALLEL SAFE SET search_path = exotic, "we ird.sch""ema", pg_temp SET work_mem = '1MB' AS 'SELECT 1, c';
CREATE FUNCTION rows(poly anyelement) RETURNS TABLE (x int, y anyelement) LANGUAGE plpgsql ROWS 9 AS 'BEGIN END';
COMMENT ON FUNCTION outs(int, text, int[]) IS 'function'; GRANT EXECUTE ON FUNCTION outs(int, text, int[]) TO reader WITH GRANT OPTION;
CREATE FUNCTION of_pair(nested) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''cast''::text'; CREATE CAST (nested AS text) WITH FUNCTION of_pair(nested) AS ASSIGNMENT; COMMENT ON CAST (nested AS text) IS 'cast';
CREATE FUNCTION less(label, label) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1::text < $2::text';
CREATE OPERATOR <<< (LEFTARG = label, RIGHTARG = label, FUNCTION = less, COMMUTATOR = >>>, RESTRICT = scalarltsel); CREATE OPERATOR >>> (LEFTARG = label, RIGHTARG = label, FUNCTION = less, COMMUTATOR = <<<); COMMENT ON OPERATOR <<< (label, label) IS 'operator';
CREATE AGGREGATE biggest (text) (SFUNC = text_larger, STYPE = text, SORTOP = OPERATOR(pg_catalog.>), PARALLEL = SAFE, COMBINEFUNC = text_larger); COMMENT ON AGGREGATE biggest (text) IS 'aggregate';
CREATE AGGREGATE counted (*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0'); 
CREATE PROCEDURE done(INOUT a int, b text DEFAULT 'x') LANGUAGE plpgsql AS 'BEGIN a := 1; END'; COMMENT ON PROCEDURE done(int, text) IS 'procedure'; GRANT EXECUTE ON PROCEDURE done(int, text) TO reader;
CREATE STATISTICS stats (ndistinct, mcv) ON id, note FROM above; ALTER STATISTICS stats SET STATISTICS 55; COMMENT ON STATISTICS stats IS 'statistics';
CREATE COLLATION german FROM "C"; COMMENT ON COLLATION german IS 'collation'; CREATE CONVERSION conv FOR 'LATIN1' TO 'UTF8' FROM pg_catalog.iso8859_1_to_utf8; COMMENT ON CONVERSION conv IS 'conversion';
CREATE SEQUENCE seq AS smallint INCREMENT 3 MINVALUE 5 MAXVALUE 500 START 8 CYCLE; SELECT nextval('seq'), nextval('seq'); COMMENT ON SEQUENCE seq IS 'sequence'; GRANT UPDATE ON SEQUENCE seq TO PUBLIC; CREATE SEQUENCE down INCREMENT -1;
ALTER TABLE above ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY "some one" ON above AS RESTRICTIVE FOR UPDATE TO reader, third USING (id > 0) WITH CHECK (note <> 'no'); CREATE POLICY open ON above; COMMENT ON POLICY "some one" ON above IS 'policy'; ALTER TABLE above NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
COMMENT ON CONSTRAINT own ON above IS 'constraint'; GRANT SELECT (id), UPDATE (note), REFERENCES (id) ON above TO PUBLIC; GRANT SELECT ON above TO reader WITH GRANT OPTION; GRANT TRUNCATE, TRIGGER ON two TO third;
CREATE TABLE "we ird.sch""ema"."Täble.x;--:y %s" ("q""uote" int, "back\slash" text, "$dollar" int, "ünï" text); INSERT INTO "we ird.sch""ema"."Täble.x;--:y %s" VALUES (1, 'a\b', 2, 'ü'); GRANT SELECT ("q""uote") ON "we ird.sch""ema"."Täble.x;--:y %s" TO reader; COMMENT ON COLUMN "we ird.sch""ema"."Täble.x;--:y %s"."back\slash" IS 'odd';
CREATE TABLE "we ird.sch""ema"."a.b" (x int); CREATE TABLE "we ird.sch""ema"."0123456789012345678901234567890123456789012345678901234567890_x" (x serial); CREATE TABLE "we ird.sch""ema"."TABLE x" (x int); GRANT SELECT ON "we ird.sch""ema"."TABLE x" TO reader; CREATE VIEW "we ird.sch""ema"."COLUMN a.b" AS SELECT 1 AS one; GRANT SELECT (one) ON "we ird.sch""ema"."COLUMN a.b" TO reader;
CREATE TABLE "line
break" (x int); INSERT INTO "line
break" VALUES (1); CREATE FUNCTION "fun()ny, name"("arg, x" int) RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON FUNCTION "fun()ny, name"(int) TO reader;
CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY); INSERT INTO fleeting VALUES (1); ALTER DEFAULT PRIVILEGES IN SCHEMA exotic REVOKE ALL ON TYPES FROM reader; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO reader; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE TABLE forced (id int PRIMARY KEY); INSERT INTO forced VALUES (1), (2); CREATE TABLE to_forced (id int REFERENCES forced); INSERT INTO to_forced VALUES (1);
ALTER TABLE forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY few ON forced TO mmuser USING (id > 1);
SELECT lo_put(lo_create(4901), 100000, 'far'), lo_create(4902);
RESET search_path;
ALTER DATABASE mattermost SET search_path = "$user", public, "a,b", "q""uote", exotic;  ALTER DATABASE mattermost SET datestyle = 'ISO, DMY'; ALTER DATABASE mattermost SET statement_timeout = 0;
