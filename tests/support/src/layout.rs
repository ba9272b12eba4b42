//! How real sites have their database: whose it is, where its tables are, and what else is in it.

use crate::cluster::{Cluster, DATABASE, ROLE};
use crate::process;
use crate::site::Site;

/// Who owns the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The superuser; the role of the server has all rights on the database (the recipe of the old documentation).
    Superuser,
    /// The role of the server.
    Role,
    /// A role that nobody logs in as.
    Third,
}

/// Where the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// In `public`.
    Public,
    /// In one that was `public`, and there is no other one (as migrations from MySQL leave it).
    Renamed,
    /// In one of the server's own, beside `public`.
    Own,
}

/// All of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Who owns the database.
    pub owner: Owner,
    /// Where the tables are.
    pub schema: Schema,
    /// Whether the role may create databases.
    pub createdb: bool,
    /// Whether the superuser gets in by peer authentication.
    pub peer: bool,
}

impl Layout {
    /// Every one of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let owners = [Owner::Superuser, Owner::Role, Owner::Third];
        let schemas = [Schema::Public, Schema::Renamed, Schema::Own];
        let of = move |owner, schema| {
            [true, false].into_iter().flat_map(move |createdb| {
                [true, false].into_iter().map(move |peer| Self { owner, schema, createdb, peer })
            })
        };
        owners.into_iter().flat_map(move |owner| schemas.into_iter().flat_map(move |schema| of(owner, schema)))
    }

    /// Gives a site this layout. Without `peer` the caller closes the door, see [`set_peer`].
    pub fn apply(self, site: &Site) {
        let sql = |sql: &str| drop(site.cluster.query(sql));
        sql("CREATE ROLE third NOLOGIN; CREATE ROLE reader NOLOGIN");
        match self.schema {
            Schema::Public => sql("GRANT USAGE ON SCHEMA public TO reader"),
            Schema::Renamed => {
                sql(&format!(
                    "ALTER SCHEMA public RENAME TO mattermost; GRANT USAGE ON SCHEMA mattermost TO reader; \
                     GRANT ALL ON SCHEMA mattermost TO {ROLE}; ALTER ROLE {ROLE} IN DATABASE {DATABASE} SET search_path = mattermost"
                ));
            }
            Schema::Own => {
                sql(&format!(
                    "CREATE SCHEMA mattermost AUTHORIZATION {ROLE}; ALTER DATABASE {DATABASE} SET search_path = mattermost"
                ));
                let move_all = "SELECT format('ALTER TABLE public.%I SET SCHEMA mattermost', tablename) FROM pg_tables \
                     WHERE schemaname = 'public' UNION ALL SELECT format('ALTER MATERIALIZED VIEW public.%I SET SCHEMA mattermost', matviewname) \
                     FROM pg_matviews WHERE schemaname = 'public' UNION ALL SELECT format('ALTER TYPE public.%I SET SCHEMA mattermost', typname) \
                     FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname = 'public' AND typtype = 'e' \\gexec";
                sql(move_all);
            }
        }
        match self.owner {
            Owner::Role => {}
            Owner::Superuser | Owner::Third => {
                let owner = if self.owner == Owner::Third { "third" } else { "postgres" };
                sql(&format!(
                    "ALTER DATABASE {DATABASE} OWNER TO {owner}; GRANT ALL PRIVILEGES ON DATABASE {DATABASE} TO {ROLE}"
                ));
                if self.owner == Owner::Third && self.schema == Schema::Public {
                    sql("ALTER SCHEMA public OWNER TO third");
                }
                if site.cluster.major >= 15 && self.schema == Schema::Public {
                    sql(&format!("GRANT ALL ON SCHEMA public TO {ROLE}"));
                }
            }
        }
        if self.createdb {
            sql(&format!("ALTER ROLE {ROLE} CREATEDB"));
        }
    }
}

/// Lets the superuser in by peer authentication, or nobody but with a password over TCP.
pub fn set_peer(cluster: &Cluster, peer: bool) {
    for (major, ..) in cluster.all_of_this_name() {
        let hba = format!("/etc/postgresql/{major}/{}/pg_hba.conf", cluster.name);
        let kept = format!("{hba}.open");
        if peer {
            process::run("sh", &["-c", &format!("[ ! -e '{kept}' ] || mv '{kept}' '{hba}'")]);
        } else {
            process::run("cp", &["-a", &hba, &kept]);
            std::fs::write(&hba, "local all all reject\nhost all all 127.0.0.1/32 md5\n").expect("it is ours");
        }
        process::run("pg_ctlcluster", &[&major.to_string(), &cluster.name, "reload"]);
    }
}

/// Owners, rights and settings of the server's database and of its schemas, as the catalogue has them.
pub fn rights(cluster: &Cluster) -> String {
    // The right MAINTAIN came with 17: up to then the owner of a table could do that anyway.
    let text = r"regexp_replace(a::text, '(=[^/m]*)m\*?/', '\1/')";
    let sorted =
        |acl: &str| format!("(SELECT array_agg({text} ORDER BY a::text COLLATE \"C\") FROM unnest({acl}) AS a)");
    let (database, schema) = (sorted("datacl"), sorted("coalesce(nspacl, acldefault('n', nspowner))"));
    let relation =
        sorted("coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", relowner))");
    let default = sorted("defaclacl");
    cluster.query(&format!(
        "SELECT datname, pg_get_userbyid(datdba), {database} FROM pg_database WHERE datname = current_database();
         SELECT nspname, pg_get_userbyid(nspowner), {schema}, obj_description(oid, 'pg_namespace')
           FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1;
         SELECT coalesce(rolname, ''), setconfig FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole
          WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1;
         SELECT pg_get_userbyid(defaclrole), defaclnamespace::regnamespace::text, defaclobjtype, {default} FROM pg_default_acl ORDER BY 1, 2, 3;
         SELECT nspname, relname, pg_get_userbyid(relowner), {relation} FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
          WHERE nspname IN ('public', 'mattermost', 'rich', 'wide', 'members') AND relkind IN ('r', 'm', 'v', 'S', 'f')
            AND relname <> 'pg_stat_statements_info' ORDER BY 1, 2",
    ))
}

/// Everything that a database can hold and a restore or an upgrade could lose, as far as an ordinary role may make it; `reader`
/// and `third` are roles that are there.
pub const RICHES: &str = r"
CREATE SCHEMA rich; CREATE SCHEMA copies; GRANT USAGE ON SCHEMA rich TO reader WITH GRANT OPTION;
COMMENT ON SCHEMA rich IS 'it''s rich';
CREATE TYPE rich.mood AS ENUM ('sad', 'ok'); CREATE DOMAIN rich.positive AS int CHECK (VALUE > 0);
CREATE TYPE rich.span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TYPE rich.pair AS (a int, b text);
CREATE COLLATION rich.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE rich.things (id int GENERATED BY DEFAULT AS IDENTITY, name text COLLATE rich.folded DEFAULT 'a;
--
-- Name: x; Type: TABLE; Schema: y; Owner: z
', mood rich.mood, n rich.positive, doubled int GENERATED ALWAYS AS (id * 2) STORED, p rich.pair, s rich.span,
  at timestamptz DEFAULT '2020-02-02 02:02:02+02', CONSTRAINT named UNIQUE (id) DEFERRABLE);
INSERT INTO rich.things (name) VALUES ('one'), ('two');
ALTER TABLE rich.things ADD CONSTRAINT later CHECK (id > 0) NOT VALID;
CREATE UNLOGGED TABLE rich.fleeting (id serial, x int); INSERT INTO rich.fleeting (x) VALUES (1);
CREATE TABLE copies.posts AS SELECT 1 AS id, 'copy' AS message;
CREATE TABLE rich.parts (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE rich.parts_1 PARTITION OF rich.parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE VIEW rich.seen AS SELECT t.id, t.name FROM rich.things t WHERE t.id > 0;
CREATE MATERIALIZED VIEW rich.sums AS SELECT count(*) AS n FROM rich.things;
CREATE INDEX by_name ON rich.things (lower(name)) WHERE id > 0;
CREATE TABLE rich.words (val varchar(20), n int CONSTRAINT few CHECK (n BETWEEN 1 AND 5 AND n <> 4),
  CONSTRAINT known CHECK (val IN ('a', 'it''s (b')));
CREATE VIEW rich.some AS SELECT val FROM rich.words WHERE val IN ('a', 'b') AND n BETWEEN 1 AND 4 AND n <> 2;
CREATE INDEX of_some ON rich.words (n) WHERE val IN ('a', 'b');
CREATE STATISTICS rich.both (dependencies) ON id, n FROM rich.things;
CREATE FUNCTION rich.add(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql IMMUTABLE AS $f$ SELECT a + b; -- ;
$f$;
CREATE PROCEDURE rich.noop(a int) LANGUAGE plpgsql AS 'BEGIN END';
CREATE AGGREGATE rich.total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE OPERATOR rich.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = rich.add);
CREATE FUNCTION rich.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE INSERT ON rich.things FOR EACH ROW EXECUTE FUNCTION rich.touch();
CREATE RULE quiet AS ON DELETE TO rich.fleeting DO INSTEAD NOTHING;
ALTER TABLE rich.things ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON rich.things USING (id IN (SELECT f.id FROM rich.fleeting f));
CREATE TEXT SEARCH CONFIGURATION rich.words (COPY = simple);
GRANT EXECUTE ON PROCEDURE rich.noop(int) TO reader; COMMENT ON PROCEDURE rich.noop(int) IS 'nothing';
REVOKE ALL ON FUNCTION rich.add(int, int) FROM PUBLIC; GRANT EXECUTE ON FUNCTION rich.add(int, int) TO reader;
GRANT SELECT (id, name) ON rich.things TO reader; GRANT ALL ON rich.fleeting TO third;
GRANT USAGE ON SEQUENCE rich.fleeting_id_seq TO reader; REVOKE USAGE ON TYPE rich.mood FROM PUBLIC;
COMMENT ON TABLE rich.things IS 'things'; COMMENT ON COLUMN rich.things.name IS 'its name';
ALTER TABLE rich.things SET (autovacuum_enabled = off, fillfactor = 70); ALTER TABLE rich.things ALTER name SET STATISTICS 77;
ALTER TABLE rich.things REPLICA IDENTITY FULL; ALTER TABLE rich.things CLUSTER ON named;
SELECT lo_from_bytea(4712, '\xdeadbeef'); GRANT SELECT ON LARGE OBJECT 4712 TO reader; COMMENT ON LARGE OBJECT 4712 IS 'large';
ALTER DEFAULT PRIVILEGES IN SCHEMA rich GRANT SELECT ON TABLES TO reader;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO third;
";

/// What is legal and odd: every kind of partition, inheritance with columns that came later, triggers in each state, names with
/// everything in them, values at the ends of their types. For an ordinary role; `reader` and `third` are roles that are there.
pub const EXOTIC: &str = include_str!("exotic.sql");

/// Settings of a database and of roles that are odd, as a superuser makes them.
pub const EXOTIC_SETTINGS: &str = include_str!("exotic_superuser.sql");

/// What `pg_upgradecluster --method dump` does not carry: it enables every trigger.
pub const DISABLED: &str = "ALTER TABLE rich.things DISABLE TRIGGER touched;";

/// And what only a superuser makes.
pub const SUPERUSER_RICHES: &str = r"
CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA copies; CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA copies;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '192.0.2.1', dbname 'x');
CREATE USER MAPPING FOR reader SERVER far OPTIONS (user 'x', password 'geheim');
CREATE SCHEMA wide; CREATE FOREIGN TABLE wide.away (n int) SERVER far OPTIONS (table_name 'y');
GRANT SELECT ON wide.away TO reader;
CREATE TABLE wide.thirds (x int); ALTER TABLE wide.thirds OWNER TO third;
REVOKE ALL ON wide.thirds FROM third; GRANT SELECT ON wide.thirds TO third;
CREATE FUNCTION wide.noticed() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER noticed ON ddl_command_end EXECUTE FUNCTION wide.noticed(); ALTER EVENT TRIGGER noticed ENABLE ALWAYS;
CREATE SCHEMA members; CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA members; CREATE EXTENSION IF NOT EXISTS hstore SCHEMA members;
GRANT USAGE ON SCHEMA members TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA members TO reader WITH GRANT OPTION;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA members TO reader; GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO reader;
GRANT SELECT (rolname) ON pg_catalog.pg_authid TO reader; GRANT SELECT ON information_schema.columns TO third;
CREATE PUBLICATION told FOR TABLE wide.thirds;
COMMENT ON ROLE third IS 'the third';
";

/// Changes owners, rights, default privileges and settings at random, as an administrator might have; what PostgreSQL itself
/// refuses is left out. The same seed makes the same changes.
pub fn scramble(cluster: &Cluster, seed: u64) -> Vec<String> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut any = |list: &[&str]| -> String {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = u64::try_from(list.len()).expect("a list is short");
        list[usize::try_from((state >> 33) % length).expect("it is less than that")].to_owned()
    };
    let roles = ["mmuser", "reader", "third", "\"odd role\""];
    let tables =
        ["public.posts", "public.users", "rich.things", "rich.seen", "rich.sums", "copies.posts", "wide.thirds"];
    let schemas = ["public", "rich", "copies", "wide"];
    cluster.query("CREATE ROLE \"odd role\"");
    let mut made = Vec::new();
    for _ in 0..30 {
        let (role, other) = (any(&roles), any(&roles));
        let (table, schema) = (any(&tables), any(&schemas));
        let right = any(&["SELECT", "ALL", "INSERT, UPDATE", "TRUNCATE", "REFERENCES"]);
        let option = any(&["", "", " WITH GRANT OPTION"]);
        let on_schema = any(&["USAGE", "CREATE", "ALL"]);
        let what = any(&["TABLES", "SEQUENCES", "FUNCTIONS", "TYPES"]);
        let everybody = any(&[&role, "PUBLIC"]);
        let templates = [
            format!("GRANT {right} ON {table} TO {role}{option}"),
            format!("REVOKE {right} ON {table} FROM {role}"),
            format!("GRANT {on_schema} ON SCHEMA {schema} TO {role}{option}"),
            format!("REVOKE {on_schema} ON SCHEMA {schema} FROM {everybody}"),
            format!("ALTER DEFAULT PRIVILEGES FOR ROLE {other} IN SCHEMA {schema} GRANT ALL ON {what} TO {role}"),
            format!("ALTER DEFAULT PRIVILEGES FOR ROLE {other} REVOKE ALL ON {what} FROM {everybody}"),
            format!("ALTER SCHEMA {schema} OWNER TO {role}"),
            format!("ALTER TABLE {} OWNER TO {role}", any(&["copies.posts", "wide.thirds", "rich.fleeting"])),
            format!("GRANT {} ON DATABASE {DATABASE} TO {everybody}", any(&["CONNECT", "CREATE", "TEMPORARY"])),
            format!(
                "ALTER ROLE {role} IN DATABASE {DATABASE} SET {}",
                any(&["work_mem = '2MB'", "search_path = rich, public"])
            ),
            format!("ALTER DATABASE {DATABASE} SET {}", any(&["statement_timeout = '1h'", "timezone = 'Asia/Tokyo'"])),
            format!("SET SESSION AUTHORIZATION {role}; GRANT SELECT ON {table} TO {other}"),
            format!("GRANT {role} TO {other}"),
            format!("REVOKE EXECUTE ON FUNCTION rich.touch() FROM {everybody}"),
            format!("COMMENT ON SCHEMA {schema} IS 'of {seed}'"),
        ];
        let one = any(&templates.iter().map(String::as_str).collect::<Vec<_>>());
        let quoted = one.replace('\'', "''");
        cluster.query(&format!(
            "DO $do$ BEGIN EXECUTE '{}'; EXCEPTION WHEN OTHERS THEN NULL; END $do$",
            quoted.replace("; ", "'; EXECUTE '")
        ));
        made.push(one);
    }
    // What the server itself needs.
    cluster.query(&format!(
        "GRANT ALL ON SCHEMA public TO {ROLE}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}; GRANT CONNECT ON DATABASE {DATABASE} TO {ROLE}"
    ));
    made
}
