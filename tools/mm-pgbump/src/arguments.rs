//! The command line.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, Parser, Subcommand, ValueEnum};
use mm_common::contract::time;
use mm_common::run::{Arguments, Common, Format, FormatArgument};

use crate::plan::Method;
use crate::restore_point;

/// What stands first in the long help.
const FIRST: &str = concat!(
    "The PostgreSQL under the server, upgraded to another major and compared row by row.\n",
    "\n",
    "Examples:\n",
    "  mm-pgbump check --to 15 --document none --format human\n",
    "      what would stand in the way\n",
    "  mm-backup --stop --leave-stopped --document none | mm-pgbump --to 15 | mm-verify\n",
    "      the upgrade\n",
    "  mm-pgbump rollback\n",
    "      the old cluster again\n",
    "\n",
    "The manual: man mm-pgbump; the whole upgrade: man 7 mm-upgrade"
);

/// Upgrade the PostgreSQL cluster under a Mattermost server, with proof
///
/// Upgrades the local Debian cluster that the server's database is in, when the next hop of the document (or --to) asks
/// for a later major: looks for what would go wrong, stops the service, reads every table, runs `pg_upgradecluster` with
/// an explicit version and method, and compares every table, sequence, definition, right, role and setting on both
/// sides. Anything unequal leads back to the old cluster, and the service is as before. The old cluster is kept until
/// drop-old.
///
/// The new cluster takes over the port of the old one, so that every client finds it; with --keep-port each keeps its
/// own, and the configuration of the server is repointed: host and port are exchanged in every data source that leads to
/// the old cluster, where the server reads it from (config.json, environment file, unit or drop-in, the row and the
/// `MM_CONFIG` of a configuration in a database), and nothing else. Read replicas at the same place are repointed too;
/// other hosts and ports, such as a pooler's, are not. The same is done where a socket directory has changed. rollback
/// brings the bytes back. A data source in the command line of a unit or in the configuration of supervisord is not
/// changed: with --keep-port that is refused before anything is done.
#[derive(Debug, Parser)]
#[command(name = "mm-pgbump", before_long_help = FIRST, version = mm_common::mattermost::catalogue::tools_version(), after_long_help = AFTER)]
pub struct PgbumpArguments {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    format: FormatArgument,
}

/// The verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Upgrade the cluster when it is needed (default)
    Run,
    /// Say what would stand in the way, and try the way back; the server may run
    Check,
    /// Carry the database into another PostgreSQL server (--target), prove every row, and point the configuration at it;
    /// the old database stays as it is
    Move,
    /// Finish or undo an interrupted run, and nothing more
    Recover,
    /// Switch back to the old cluster; after a move, point the server at the old database again
    Rollback {
        /// The move alone: an upgrade of the target's cluster that was made after it stays
        #[arg(long = "move")]
        of_move: bool,
    },
    /// Drop the old cluster, once mm-verify is content with the new one
    DropOld {
        /// Also without a successful mm-verify in the document
        #[arg(long)]
        force: bool,
    },
}

/// Flags of this tool.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// PostgreSQL major to reach [default: what the next hop needs]
    #[arg(long, value_name = "MAJOR", global = true)]
    pub to: Option<u32>,
    /// Refuse to touch any cluster but this one, such as 13/main
    #[arg(long, value_name = "VERSION/NAME", global = true)]
    pub cluster: Option<String>,
    /// How the data is brought over [default: clone where the file system can, else upgrade]
    #[arg(long, value_parser = MethodParser, global = true)]
    pub method: Option<Method>,
    /// Processes for `pg_upgrade`; helps with several databases or tablespaces only
    #[arg(long, value_name = "N", global = true)]
    pub jobs: Option<u32>,
    /// Each cluster keeps its port, and the configuration of the server is repointed
    #[arg(long, global = true)]
    pub keep_port: bool,
    /// Leave the service stopped for the next tool
    #[arg(long, global = true)]
    pub leave_stopped: bool,
    /// Other databases in the cluster may be upgraded (and stopped) with it; the restore point has to hold them too
    /// (mm-backup create --whole-cluster)
    #[arg(long, global = true)]
    pub shared_cluster: bool,
    /// The restore point of the document must not be older than this, such as 24h
    #[arg(long, value_name = "AGE", value_parser = time::length, global = true)]
    pub require_backup: Option<Duration>,
    /// move, check: the file (mode 600) that names the server to move to, or fd:N for an open descriptor. Line 1: the data
    /// source for the configuration. Line 2, if any: an administrator's, who makes what is not there
    #[arg(long, value_name = "FILE", global = true)]
    pub target: Option<String>,
    /// move, check: a database of that name that holds something is renamed to `NAME_mm_before_TIME` and kept
    #[arg(long, global = true)]
    pub replace: bool,
    /// move, check: out of MySQL, the files of the server's unit that name units of MySQL are changed with the move
    #[arg(long, global = true)]
    pub unit: bool,
    /// move, check: out of MySQL, tables that the release does not know go into the schema `mm_from_mysql`
    #[arg(long, global = true)]
    pub with_extra_tables: bool,
    /// move, check: carry the database of this restore point (`latest`: the newest of this installation) and not the
    /// one that the server is led to, which need not be there any more, as on a new host. Needs the release that the restore point
    /// is of
    #[arg(long, value_name = "ID", global = true)]
    pub from_store: Option<String>,
    /// Directory of the restore points, for --from-store [default: that of mm-backup]
    #[arg(long, value_name = "DIR", value_parser = mm_common::run::path(), global = true)]
    pub store: Option<PathBuf>,
    /// Go on without a restore point
    #[arg(long, conflicts_with = "require_backup", global = true)]
    pub no_backup: bool,
}

/// Reads the name of a method, and says why the one of `pg_upgrade` 18 that takes the old cluster apart is not among
/// them.
#[derive(Debug, Clone)]
struct MethodParser;

impl TypedValueParser for MethodParser {
    type Value = Method;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Method, clap::Error> {
        if value == "swap" {
            return Err(cmd.clone().error(
                ErrorKind::InvalidValue,
                "--method swap is refused: pg_upgrade --swap moves the files out of the old cluster, so there is no way \
                 back even when it fails; clone is as fast where the file system can, upgrade copies",
            ));
        }
        EnumValueParser::<Method>::new().parse_ref(cmd, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Method::value_variants().iter().filter_map(ValueEnum::to_possible_value)))
    }
}

impl Options {
    /// The restore point these flags ask for.
    pub(crate) fn restore_point(&self) -> restore_point::Wanted {
        match (self.no_backup, self.require_backup) {
            (true, _) => restore_point::Wanted::None,
            (false, Some(age)) => restore_point::Wanted::NotOlderThan(age),
            (false, None) => restore_point::Wanted::OfThisHop,
        }
    }
}

impl PgbumpArguments {
    /// The verb; `run` when none is given.
    pub fn verb(&self) -> Verb {
        self.verb.unwrap_or(Verb::Run)
    }
}

impl Arguments for PgbumpArguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn format(&self) -> Format {
        self.format.format
    }

    fn complete_without_document(&self) -> bool {
        match self.verb() {
            Verb::Run => self.options.to.is_some(),
            Verb::Move => self.options.target.is_some(),
            // Without a major, the way back is tried.
            Verb::Check | Verb::Recover | Verb::Rollback { .. } | Verb::DropOld { .. } => true,
        }
    }
}

const AFTER: &str = "\
CHECKS
  They are made by check and before each run, while the server runs, and leave everything as it was. Each has an id, for
  --accept.
  rollback         the way back, on any PostgreSQL, whether it needs an upgrade or not: a database is created, renamed and
                   dropped by whom a restore would have do that, the role that runs dumps is let in, and there is room.
                   What the host does not let us try is a warning.
  packages         what pg_upgradecluster itself asks from postgresql-common 269 on: a package of the old major that has
                   no counterpart for the new one. Accepted, the upgrade goes on without it (--force-packages).
  checksums        to 18 and later: whether the new cluster can be made without data checksums, when the old has none.
  indexes          every B-tree index is asked of amcheck where that extension is installed, and else read from end to
                   end and compared with the order of its collation: what a new C library has put out of order makes
                   lookups miss rows. Those that cannot be read so are named.
  column-options   the pg_dump of the new major writes options of columns that its server does not take, as that of 18.6 does of
                   17.12: every method fails at it. A newer minor release of the new major does not.
  definitions      with --method dump: every definition is made in a throw-away server of the new major. Named is what that
                   refuses, such as rights on a function of an extension that takes other arguments in its newer version; where
                   pg_upgradecluster goes on after such a statement (before postgresql-common 280), they are given by the name.
  replication      slots and standbys, and subscriptions that are enabled: no upgrade carries them as they are. The commands that
                   drop the slots are named.
  foreign-code     an index, statistics or a partition key calls a function that is no superuser's: the proof would run it
                   as a superuser. Cannot be accepted. Of databases that a restore has kept, such rows are not compared.
  user-code        whatever the method, a superuser makes every object anew in the new cluster. That computes what is constant
                   in generated columns, in keys and bounds of partitions and in CHECKs of partitions, and reads constants
                   whose type checks them by a CHECK of a domain; with --method dump, which has the superuser insert every
                   row as well, all CHECKs, domains, generated columns and indexes. Where a function of somebody who is no
                   superuser is called by that, it would run as a superuser: each place is named. Give such functions to a
                   superuser once you have read them, or let them run with --accept user-code. Looked for once more when
                   nobody but this tool can change the old cluster.
  bound-services   a unit that names the unit of the old cluster stops with it, and would start it again; that of the
                   server itself has to name postgresql.service instead.

PROOF
  Compared are rows and content of every table, the state of every sequence, large objects, and all that a dump says:
  the pg_dump and pg_dumpall of the new major write the definitions of every database and the roles of both clusters,
  and each statement has to be there on both sides (owners, rights, columns, constraints, functions, views, comments,
  settings, passwords). Schemas get the owners and rights that they had, also where a dump is silent about them
  (public, or one that was public and was renamed). What one major writes otherwise and is no loss is levelled: names
  of multiranges (14), IN of procedures (14), the provider libc (15), names of columns in views, of ICU's locales, and
  the inheritance of memberships (16). At the end the server's own role connects, reads, and makes and drops a table.
  The hash of a table is the sum over its rows of PostgreSQL's own 64-bit hash (hash_array_extended) of the texts of
  their values, in the order of the names of the columns; up to 11, of the first 64 bits of md5(row::text). Restore
  points have the same hashes. Large tables are read over several connections; from 14 on each of these in ranges.

MOVE
  move carries the server's database, wherever that is, into another PostgreSQL server that exists already: a managed one,
  one of another host or port, in a container, of another distribution. It takes the place of run in a pipeline: where the
  next hop needs no later major it does nothing, where the database is in a cluster of this machine it does what run does;
  check --target likewise, of all hops that remain. Run itself is refused in a hop that needs a move. The whole upgrade:
  mm-upgrade run --postgres-target FILE. Without a document it always moves. --target names a file that only root or the caller can read: line 1 is the data
  source as it is to stand in the configuration, line 2, if any, that of an administrator, who makes what is not there:
  the role with CREATEROLE, the database with CREATEDB; it need not be a superuser. No password gets into the command
  line, the environment, the document or a log: where the administrator is no superuser, a log of the target could show
  the statement that makes the role, so that holds a SCRAM verifier instead.
  The server is stopped, the database dumped and hashed under one snapshot; where the restore point of this hop was made with the
  server stopped and its rows, sequences and large objects are those of now, its dump is loaded instead. The dump is run by the role of line 1, which
  must not be a superuser; rights are given to the roles of the same names; rows, sequences, large objects, definitions
  and rights of both sides are compared as by run; statistics are collected; the server's role connects, reads, and makes
  and drops a table. Then the data source is exchanged wherever the server reads it from (see above). The old role becomes
  the new one, and whatever other roles owned is the new one's too.
  A move fails, and is rolled back, when either side does not answer for three minutes, or answers and makes no progress.
  The old database is only read. rollback points the server back at it, also when the target is gone, and names the
  tables that were written to since; drop-old does not touch it. While another release than that of the move is installed,
  rollback refuses, because it would migrate the old database: mm-swap rollback --database brings both back. Where the
  cluster of the target was upgraded after the move, rollback takes back that upgrade first, and the move when it is run
  again; rollback --move takes back the move alone and leaves the cluster and all others in it as they are.
  A move that failed or was killed leaves the target as it was: gone, empty, or with the database that --replace has
  renamed. The server does not wait for that: a target that cannot be reached is cleared later, by recover or the next
  move, unless somebody works in it. For a target that is gone for good: recover --accept move-leftovers.
  Both data sources stay in the state directory (mode 600, in a directory of root's) as long as there is a way back.
  --from-store ID carries the database of a restore point into the target, and not the one that the data source leads to: on a
  new host onto which the files were restored (mm-backup restore ID --files), with its own database gone. --store names the
  directory of the restore points. The dump is proven by its digest; rows, sequences, large objects and definitions are
  compared with what the restore point says. Its release has to be the installed one. Where the database of the data source
  answers and holds anything else, move-newer refuses; accepted, that stays there. rollback gives the data source back,
  and leaves the server stopped where nobody answers there.
  Checks of check --target and of move, for --accept: move-version, move-server, move-rights, move-encoding,
  move-extensions, move-roles, move-left-behind (what only a superuser makes: publications, event triggers, foreign
  servers; accepted, it stays behind), move-space, move-replicas, move-nodes (other nodes of a cluster would go on writing
  to the old database), move-newer, move-configuration, move-tls, move-clock, move-network. move-target, which says that the target
  holds something, cannot be accepted: --replace renames what is there and keeps it.

OUT OF MYSQL
  move takes a server that works with MariaDB or MySQL to PostgreSQL, at the release that is installed (10.11 or earlier: 11
  has no MySQL): in a hop of its own, which mm-path plans before all others, and in which mm-backup stores files and a
  dump of MySQL's own. Target file, rollback and recover are as above; a restore point is not asked for, as no tool of
  ours loads that dump.
  MySQL is only read, in sessions that may not write: an account with SELECT on its database is enough.
  The installed release makes its tables in the target itself: it is started once on the empty database, with a
  configuration that names no host but the target, and is ended when it answers; the server in use goes on meanwhile. Every
  value is looked at; then the server is stopped, and the rows are carried in one snapshot, table by table, large ones in
  ranges of their key over several sessions (--jobs), where the account has LOCK TABLES, which keeps others from writing while the
  sessions begin; else over one. What PostgreSQL holds is read again, and number and hash of the rows of each table are compared; rows that differ are named by
  their keys. mm-document(5) says what is hashed. Not carried are db_migrations, db_lock and clusterdiscovery, which are
  the release's own; materialized views are filled anew. Driver and data source are exchanged wherever the server reads
  them from; rollback gives the configuration back as it was, byte by byte.
  check --target does all of it up to the moment at which the server would be stopped, and empties the target again.
  Nothing is deleted and nothing is shortened. In lower case are moved users.username, users.email, teams.name,
  channels.name and publicchannels.name, which the server looks up so: the check mysql-case lists them, and the file
  mysql-repairs-TIME.jsonl in the state directory holds what was there.
  Further checks: mysql-engine, mysql-tls, mysql-storage, mysql-search (which search there will be, in which language),
  mysql-unit (a warning: a unit of systemd that names one of MySQL goes on starting and stopping with it after the move;
  with --unit the move takes those names out of its files, with postgresql.service in their place where the target is a
  cluster of this machine. systemd lets no drop-in do that: the file of a package is left alone, and one below
  /etc/systemd/system takes its place until rollback; a link there, as of systemctl link, is refused, and what binds the unit
  in no file of its own is named, and stays). For --accept: mysql-nul (U+0000 in a text; accepted, U+2400 takes
  its place, and the same file holds what was there), mysql-extra-tables (tables the release does not know, such as those
  of plugins: accepted, they stay in MySQL; with --with-extra-tables their rows go into the schema mm_from_mysql, where
  the server does not look, and are compared like all others: integers and bytes as such, all else as the text that MySQL
  shows; without keys and defaults), move-replicas, move-nodes. Nobody can accept mysql-schema, mysql-json (no JSON),
  mysql-long (too many characters), mysql-null, mysql-value, mysql-case-clash (two names become one): correct those rows
  in MySQL.
  Tried with MariaDB 10.11. Others from MySQL 5.7 and MariaDB 10.1 on are not refused: not tried by us, the proof decides.
  TLS is as the data source says (tls=true: with a certificate that this host trusts; skip-verify, preferred).
  Refused: a configuration kept in MySQL (MM_CONFIG=mysql://; the hint says how it becomes a file), --require-backup.
  The search of PostgreSQL finds other things (accents, ß, Chinese words), which is no fault of the move.

METHODS
  clone, upgrade   pg_upgrade; seconds, whatever the size with clone. The old cluster stays as it was.
  dump             dump and restore: minutes per gigabyte. Builds every index anew, which corrects those that a changed
                   collation has damaged. pg_upgradecluster does not notice rows that it fails to restore; the proof does.
  link             pg_upgrade on shared files: fast and small, but there is no way back once the new server has run. Refused (5)
                   with a restore point of `mm-backup --freeze`, which is completed from the old cluster.

EXIT STATUS
  0   upgraded, or no need to (`changed` tells)
  1   failed before anything was changed
  2   wrong usage
  3   stopped half-way and could not undo; the hint says how to go on
  4   check: something stands in the way
  5   refused: something stands in the way, no restore point, the database is not in a cluster of this machine (the hint
      names move), it runs a later major than --to asks for, or a frozen restore point needs what drop-old would drop
  6   failed and rolled back: the old cluster, or the old database, serves, the service is as it was
  65  no document, a broken one, or one of another schema
  74  the document could not be delivered; the work is done
  75  another run holds the lock

EXIT STATUS 3
  The database could be brought neither to the new server nor back; the error says why. Nothing is lost: the old
  cluster, or the old database, is kept and was only read.
  Safe: looking; correcting the cause; mm-pgbump recover, as often as you like; another boot of the machine.
  Not safe: starting clusters or the server by hand, pg_dropcluster, changing the data source or start.conf,
  removing anything from the state directory. Other tools refuse until it is ended.
  Three commands:
      mm-swap status       what is half done, and what ends it
      mm-pgbump recover    finishes or undoes it, once the cause is corrected
      mm-verify            whether the server is well afterwards

EXAMPLES
  What would stand in the way of PostgreSQL 15, while the server runs:
      mm-pgbump check --to 15

  In the pipeline of a hop:
      ... | mm-backup --to /srv/backup --stop --leave-stopped | mm-pgbump --leave-stopped | mm-swap | mm-verify

  By itself, with a restore point made elsewhere:
      mm-pgbump --to 15 --no-backup

  Into a database that a provider has given you (PostgreSQL 15 or later), at the next hop or by itself:
      install -m 600 /dev/null /etc/mm-target
      echo 'postgres://mm:PASSWORD@db.example.com:5432/mattermost?sslmode=verify-full' >/etc/mm-target
      mm-pgbump check --target /etc/mm-target --format human
      mm-pgbump move --target /etc/mm-target

  Back, and for good:
      mm-pgbump rollback              (the new cluster is kept; a later run gives it another name)
      mm-verify | mm-pgbump drop-old";
