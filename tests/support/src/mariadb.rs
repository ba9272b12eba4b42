//! A `MariaDB` server of a test's own, and a site's database in it as Mattermost has it there: names in camel case, other types,
//! texts that are counted in bytes. With `MM_TEST_MYSQL_ROOT` it is the one that is unpacked in that directory, `MariaDB` of another
//! release or MySQL (`scripts/test-mysql`).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder, Params, Value};

use crate::cluster::Cluster;
use crate::process::{TEST_USER, free_port, run, wait_until};
use crate::site::Site;
use crate::tool;
use crate::watchdog::Cleanup;

const PATIENCE: Duration = Duration::from_secs(60);

/// The user of the server there, and the awkward part of its password.
pub const USER: &str = "mmuser";
/// See there.
pub const PASSWORD: &str = "p@s:s/w(o)rd?geheim";

/// Where another server is unpacked.
fn other_root() -> Option<PathBuf> {
    std::env::var_os("MM_TEST_MYSQL_ROOT").map(PathBuf::from)
}

/// The server's program, as its own root has it, and whether it is MySQL's.
fn program() -> (&'static str, bool) {
    match other_root() {
        Some(root) if !root.join("usr/sbin/mariadbd").exists() => ("/usr/sbin/mysqld", true),
        _ => ("/usr/sbin/mariadbd", false),
    }
}

/// A server that runs until this is dropped.
pub struct Mariadb {
    directory: PathBuf,
    /// Where it listens.
    pub port: u16,
    cleanup: Cleanup,
}

impl Mariadb {
    /// Starts one, with an empty database `mattermost`, below a directory of the test's.
    pub fn start(below: &Path) -> Self {
        let there = other_root().unwrap_or_else(|| PathBuf::from("/"));
        assert!(
            there.join(program().0.trim_start_matches('/')).exists(),
            "this test needs mariadb-server-core: scripts/prepare installs it"
        );
        // A server with a root of its own sees nothing but what is in there.
        let directory = match other_root() {
            Some(root) => root.join("tmp").join(below.file_name().unwrap()),
            None => below.join("mariadb"),
        };
        let place = directory.to_str().unwrap();
        // Tests of what the same user may do to us beside this one take what they find in /tmp.
        run("install", &["-d", "-o", TEST_USER, place, &format!("{place}/tmp")]);
        let data = format!("{place}/data");
        run("cp", &["-a", "--reflink=auto", template().to_str().unwrap(), &data]);
        let removal = if other_root().is_some() { format!("; rm -rf '{place}'") } else { String::new() };
        let cleanup = Cleanup::with(format!("kill -9 $(cat '{place}/pid'){removal}"));
        let server = Self { cleanup, port: free_port(), directory };
        server.up();
        let mut root = server.connect(None);
        root.query_drop("CREATE DATABASE mattermost CHARACTER SET utf8mb4").unwrap();
        root.query_drop(format!("CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'")).unwrap();
        root.query_drop(format!("GRANT SELECT ON mattermost.* TO {USER}@'%'")).unwrap();
        server
    }

    /// Leaves it running. Its process stands in `pid` beside its socket.
    pub fn keep(&mut self) {
        self.cleanup.keep();
    }

    /// Whether it is another server than this machine's own (`scripts/test-mysql`), and whether it is MySQL.
    pub fn is_other() -> (bool, bool) {
        (other_root().is_some(), program().1)
    }

    /// Starts it again.
    pub fn up(&self) {
        self.up_with(&[]);
    }

    /// The same, with further flags.
    pub fn up_with(&self, flags: &[&str]) {
        let place = inside(&self.directory);
        let mut child = server()
            .arg(format!("--datadir={place}/data"))
            .arg(format!("--tmpdir={place}/tmp"))
            .arg(format!("--socket={place}/socket"))
            .arg(format!("--pid-file={place}/pid"))
            .arg(format!("--port={}", self.port))
            .args([
                "--bind-address=127.0.0.1",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-use-native-aio=0",
                "--innodb-buffer-pool-size=32M",
            ])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::spawn(move || child.wait());
        wait_until("MariaDB to answer", PATIENCE, || Conn::new(self.options(None)).is_ok());
    }

    /// Ends it in good order, and starts it with these further flags.
    pub fn restart(&self, flags: &[&str]) {
        self.connect(None).query_drop("SHUTDOWN").unwrap();
        let pid = self.directory.join("pid");
        wait_until("MariaDB to end", PATIENCE, || !pid.exists());
        self.up_with(flags);
    }

    /// With a certificate of its own, whose files (`server.pem`, `server.key`, `ca.pem`) are in its directory.
    pub fn restart_with_tls(&self) {
        let place = inside(&self.directory);
        let flags = [("cert", "server.pem"), ("key", "server.key"), ("ca", "ca.pem")];
        let flags = flags.map(|(what, file)| format!("--ssl-{what}={place}/{file}"));
        self.restart(&flags.each_ref().map(String::as_str));
    }

    /// Sends it a signal: `-9` ends it at once, `-STOP` lets it hang until `-CONT`.
    pub fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.directory.join("pid")).unwrap();
        run("kill", &[signal, pid.trim()]);
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    fn options(&self, database: Option<&str>) -> OptsBuilder {
        OptsBuilder::new().socket(self.socket().to_str()).user(Some("root")).db_name(database)
    }

    fn connect(&self, database: Option<&str>) -> Conn {
        Conn::new(self.options(database)).unwrap()
    }

    /// As its administrator.
    pub fn sql(&self, sql: &str) {
        let mut session = self.connect(Some("mattermost"));
        session.query_drop("SET SESSION sql_mode = '', foreign_key_checks = 0").unwrap();
        session.query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// As its administrator, with a value.
    pub fn set(&self, sql: &str, value: &[u8]) {
        let mut session = self.connect(Some("mattermost"));
        session.query_drop("SET SESSION sql_mode = ''").unwrap();
        session.exec_drop(sql, (value,)).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(session.affected_rows(), 1, "{sql}");
    }

    /// The first column of a query.
    pub fn column(&self, sql: &str) -> Vec<String> {
        self.connect(Some("mattermost")).query(sql).unwrap()
    }

    /// Number of rows and checksum of every table.
    pub fn state(&self) -> String {
        self.state_of("mattermost")
    }

    /// As [`Mariadb::state`], of another database.
    pub fn state_of(&self, database: &str) -> String {
        let mut session = self.connect(Some(database));
        let tables: Vec<String> = session.query("SHOW TABLES").unwrap();
        let list: Vec<String> = tables.iter().map(|table| format!("`{}`", table.replace('`', "``"))).collect();
        let sums: Vec<(String, Option<u64>)> = session.query(format!("CHECKSUM TABLE {}", list.join(", "))).unwrap();
        format!("{sums:?}")
    }

    /// The data source as Mattermost has it.
    pub fn source(&self) -> String {
        format!("{USER}:{PASSWORD}@tcp(127.0.0.1:{})/mattermost?charset=utf8mb4,utf8&writeTimeout=30s", self.port)
    }

    /// Takes a site to a server of its own, below the site's directory. Its cluster is stopped: nothing of it is to be of use to
    /// anybody.
    pub fn under(site: &Site) -> Self {
        let server = Self::start(site.directory());
        server.fill(&site.cluster);
        site.cluster.stop();
        site.set("SqlSettings", "DriverName", "mysql".into());
        site.set("SqlSettings", "DataSource", server.source().into());
        server
    }

    /// Puts a site's database there.
    pub fn fill(&self, from: &Cluster) {
        let mut session = self.connect(Some("mattermost"));
        session.query_drop("SET SESSION sql_mode = '', autocommit = 0").unwrap();
        for table in lines(from, TABLES) {
            let columns: Vec<Column> =
                lines(from, &COLUMNS.replace("TABLE", &table)).iter().map(|line| Column::of(line)).collect();
            let definitions: Vec<String> = columns.iter().map(|column| column.definition.clone()).collect();
            let key: Vec<String> =
                lines(from, &KEY.replace("TABLE", &table)).iter().map(|name| format!("`{}`", camel(name))).collect();
            let key = if key.is_empty() { String::new() } else { format!(", PRIMARY KEY ({})", key.join(", ")) };
            let sql =
                format!("CREATE TABLE `{}` ({}{key}) CHARACTER SET utf8mb4", camel(&table), definitions.join(", "));
            session.query_drop(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            // Known by another name there (observed).
            if table == "db_migrations" {
                continue;
            }
            let rows: Vec<Params> = lines(from, &format!("SELECT row_to_json(t) FROM public.{table} t"))
                .iter()
                .map(|row| {
                    let row: serde_json::Value = serde_json::from_str(row).unwrap();
                    Params::Positional(columns.iter().map(|column| column.value(&row[&column.name])).collect())
                })
                .collect();
            let marks = vec!["?"; columns.len()].join(", ");
            session.exec_batch(format!("INSERT INTO `{}` VALUES ({marks})", camel(&table)), rows).unwrap();
            session.query_drop("COMMIT").unwrap();
        }
    }
}

/// A path as the server sees it.
fn inside(path: &Path) -> String {
    let path = match other_root() {
        Some(root) => Path::new("/").join(path.strip_prefix(root).unwrap()),
        None => path.to_owned(),
    };
    path.to_str().unwrap().to_owned()
}

/// The server's program, as the user of the tests.
fn server() -> Command {
    let (program, is_mysql) = program();
    let Some(root) = other_root() else {
        let mut command = Command::new(program);
        command.arg("--no-defaults").arg(format!("--user={TEST_USER}"));
        return command;
    };
    let mut command = Command::new("chroot");
    let user = format!("--userspec=+{0}:+{0}", run("id", &["-u", TEST_USER]).trim());
    command.arg(user).arg(root).arg(program).arg("--no-defaults");
    if is_mysql {
        command.args(["--secure-file-priv=NULL", "--mysqlx=OFF"]);
    }
    command
}

/// The data directory of a server with another root.
fn other_template(root: &Path) -> PathBuf {
    let template = root.join("data");
    let lock = std::fs::File::create(root.join("lock")).unwrap();
    lock.lock().unwrap();
    if template.is_dir() {
        return template;
    }
    let new = root.join("tmp/new");
    let _ = std::fs::remove_dir_all(&new);
    run("install", &["-d", "-o", TEST_USER, new.to_str().unwrap()]);
    let mut command = server();
    command.arg(format!("--datadir={}/data", inside(&new)));
    if program().1 {
        let output = command.arg("--initialize-insecure").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    } else {
        // What mariadb-install-db does; that is a script, and there is no shell in there.
        let shared = ["usr/share/mariadb", "usr/share/mysql"].map(|path| root.join(path));
        let shared = shared.into_iter().find(|path| path.join("fill_help_tables.sql").exists()).unwrap();
        let mut sql = String::from("create database mysql;\nuse mysql;\nSET @auth_root_socket=NULL;\n");
        for name in [
            "mysql_system_tables.sql",
            "mariadb_system_tables.sql",
            "mysql_performance_tables.sql",
            "mariadb_performance_tables.sql",
            "mysql_system_tables_data.sql",
            "mariadb_system_tables_data.sql",
        ] {
            sql += &std::fs::read_to_string(shared.join(name)).unwrap_or_default();
        }
        run("install", &["-d", "-o", TEST_USER, new.join("data").to_str().unwrap()]);
        std::fs::write(new.join("sql"), sql).unwrap();
        let mut command = command;
        command.args(["--bootstrap", "--enforce-storage-engine=", "--innodb-use-native-aio=0"]);
        command.arg(format!("--lc-messages-dir={}", inside(&shared)));
        let output = command.stdin(std::fs::File::open(new.join("sql")).unwrap()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::rename(new.join("data"), &template).unwrap();
    template
}

/// The data directory of a server without databases, made once.
fn template() -> PathBuf {
    if let Some(root) = other_root() {
        return other_template(&root);
    }
    let base = tool::cache().join("mariadb");
    std::fs::create_dir_all(&base).unwrap();
    let lock = std::fs::File::create(base.join("lock")).unwrap();
    lock.lock().unwrap();
    let template = base.join("data");
    if !template.is_dir() {
        let working = tempfile::Builder::new().prefix("mm-mariadb.").tempdir().unwrap();
        let place = working.path().join("data");
        run("chown", &[TEST_USER, working.path().to_str().unwrap()]);
        run(
            "mariadb-install-db",
            &[
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-use-native-aio=0",
                &format!("--user={TEST_USER}"),
                &format!("--datadir={}", place.display()),
            ],
        );
        let new = base.join("data.new");
        let _ = std::fs::remove_dir_all(&new);
        run("cp", &["-a", place.to_str().unwrap(), new.to_str().unwrap()]);
        std::fs::rename(&new, &template).unwrap();
    }
    template
}

const TABLES: &str =
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1";

const COLUMNS: &str =
    "SELECT attname || '|' || format_type(atttypid, NULL) || '|' || atttypmod || '|' || attnotnull || '|'
    || coalesce((SELECT string_agg(quote_literal(enumlabel), ',') FROM pg_enum WHERE enumtypid = atttypid), '')
  FROM pg_attribute WHERE attrelid = 'public.TABLE'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum DESC";

const KEY: &str = "SELECT attname FROM pg_index i JOIN pg_attribute a ON attrelid = indrelid AND attnum = ANY (indkey)
  WHERE indrelid = 'public.TABLE'::regclass AND indisprimary ORDER BY array_position(indkey::int2[], attnum)";

fn lines(cluster: &Cluster, sql: &str) -> Vec<String> {
    cluster.query(sql).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// `channelmembers` is `ChannelMembers` there; for names that are compared in lower case the first letter is enough.
pub fn camel(name: &str) -> String {
    if name.contains('_') { name.to_owned() } else { name[..1].to_uppercase() + &name[1..] }
}

struct Column {
    name: String,
    kind: String,
    definition: String,
}

impl Column {
    /// What a column of PostgreSQL is in `MariaDB` (observed on servers of 5.29 to 10.11).
    fn of(line: &str) -> Self {
        let parts: Vec<&str> = line.split('|').collect();
        let [name, kind, modifier, required, labels] = parts.as_slice() else { panic!("{line}") };
        let most: i64 = modifier.parse::<i64>().unwrap() - 4;
        let type_there = match *kind {
            "boolean" => "tinyint(1)".to_owned(),
            "smallint" | "bigint" => (*kind).to_owned(),
            "integer" => "int".to_owned(),
            "jsonb" | "character varying[]" => "json".to_owned(),
            "bytea" => "mediumblob".to_owned(),
            "character" => format!("char({most})"),
            "character varying" if (0..=255).contains(&most) => format!("varchar({most})"),
            "character varying" | "text" => "text".to_owned(),
            _ if !labels.is_empty() => format!("enum({labels})"),
            other => panic!("{name} is a {other}"),
        };
        let null = if *required == "true" { " NOT NULL" } else { "" };
        Self { name: (*name).into(), kind: (*kind).into(), definition: format!("`{}` {type_there}{null}", camel(name)) }
    }

    fn value(&self, value: &serde_json::Value) -> Value {
        match (self.kind.as_str(), value) {
            (_, serde_json::Value::Null) => Value::NULL,
            ("bytea", serde_json::Value::String(text)) => {
                let digits: Vec<char> = text[2..].chars().collect();
                let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
                Value::Bytes(digits.chunks(2).map(byte).collect())
            }
            ("jsonb" | "character varying[]", value) => Value::Bytes(value.to_string().into_bytes()),
            (_, serde_json::Value::String(text)) => Value::Bytes(text.clone().into_bytes()),
            (_, serde_json::Value::Bool(value)) => Value::Int(i64::from(*value)),
            (_, value) => Value::Bytes(value.to_string().into_bytes()),
        }
    }
}
