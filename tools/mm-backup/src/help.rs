//! The end of the long help, which is also the man page's.

/// Layout, choices, exit status, examples.
pub(crate) const AFTER: &str = "RESTORE POINTS
  STORE/ID/files/...               every file, under its absolute path, as it was
  STORE/ID/database/NAME.dump      the database, as pg_restore reads it
  STORE/ID/database/globals.sql    the roles with their passwords (mode 0600), as psql reads it
  STORE/ID/database/other-NAME.dump  with --whole-cluster: another database of the cluster
  STORE/ID/manifest.json           what everything is (schema mm.backup/1), one entry a line
  STORE/ID/manifest.json.sha256    its digest, as sha256sum -c reads it
  STORE/ID/database.json           of a frozen one that was completed: what the dump holds (with .sha256)
  STORE/.store-mark                with --freeze: by which the store is known again, wherever it is mounted

  Without this tool: cp -a STORE/ID/files/opt/mattermost /opt/, then createdb -O mmuser
  mattermost, then pg_restore -d mattermost STORE/ID/database/mattermost.dump.

  The dump is in pg_dump's custom format at compression level 1: for a million posts it was
  written in 5.8 s and had 112 MB, against 15.5 s and 104 MB at the default level, and 12.3 s
  and 104 MB as a directory with two jobs. Restoring takes about 31 s with two processes in
  each of these formats; plain SQL through zstd is written in 2.9 s, but restores in 41 s, and
  pg_restore cannot read it. Dump and fingerprints of all tables are made under one snapshot,
  which is taken before the first file is read: the file of every post in the dump is in the
  restore point. Fingerprints are made of PostgreSQL's own 64-bit hash of each row, over up to
  --jobs connections; restore points of earlier releases have MD5, and are proven by that.

  verify --restore and every restore compare the rows of every table, large objects with their
  owners and rights, where each sequence stands, which materialized views are filled, and all
  definitions, rights and settings. A role that is no superuser makes and sees less of it: what it
  left out, what is not as it was, and what it could not compare is named.

  With --stop, what can be stored is stored while the server still runs. After the stop everything
  is looked at once more, and what is not as it was then, by size, times and inode, is stored
  anew: the restore point is the stopped state, and users do not wait for files that nobody has
  changed.

  A configuration in the server's own database (MM_CONFIG) is in its dump; one in another
  database has a dump of its own, database/config-NAME.dump, which restore puts into an empty
  database: mm-backup restore ID --config --into-database URL. Into place it is never restored.

  A store on a file system that /etc/fstab names and that is not mounted is refused (5), and so is
  one that does not keep links, owners, modes, times and every name, as FAT and many network shares
  (NFS needs no_root_squash). It is tried before anything is stopped. To such a place a restore
  point goes as one file: mm-backup export.

  With --whole-cluster every other database of the same local cluster is dumped too, as its
  superuser and under a snapshot of its own, templates that take connections among them: what
  mm-pgbump --shared-cluster asks for. verify proves them; restore leaves them to their owners:
  createdb -T template0 -O OWNER NAME, then pg_restore -d NAME STORE/ID/database/other-NAME.dump.

  Of a server that works with MySQL or MariaDB it holds STORE/ID/database/NAME.sql.gz: one snapshot
  that mariadb-dump or mysqldump makes (--single-transaction --routines --hex-blob; the password
  goes through a file of mode 0600), with the rows of every table counted on the way. With the
  server stopped they are compared with what MySQL itself counts. verify hashes the dump and counts
  again. The account needs SELECT, SHOW VIEW and TRIGGER. restore brings back the files and leaves
  MySQL as it is, as no tool here writes to it; into an empty database the dump is loaded by
  zcat STORE/ID/database/NAME.sql.gz | mariadb NAME. --freeze and --whole-cluster are for PostgreSQL.

  Files in S3 are not in it: create refuses until --no-data says that this is known. It refuses
  as well when the data directory is missing or empty while the database names uploads: that is
  a file system that is not mounted. Sockets, fifos, devices and files that vanish while they
  are to be read are left out; -v says which, and the manifest has them under \"skipped\".

  Restoring into place works on a copy and exchanges at the end. What was there before is kept
  beside it and named at the end; prune removes it. The database is restored under a new name,
  compared (the rows of every table, and each statement of the dump with what a dump of it says:
  owners, rights, definitions, settings), tried by the server's own role, and then renamed; the
  old one is kept under a name that says so. What is left out by rule is named, and is no
  difference. That needs a superuser (root on the machine of a local cluster) or the owner of
  the database with CREATEDB; otherwise use --into-database with an empty database.

  The database may have gone to another port or host since the restore point was made, as with
  mm-pgbump --keep-port. It is restored to where the server's data is now, and host and port are
  exchanged in the restored configuration, so that the server finds it there; nothing else in it
  is. Without the database that is done only when nobody answers where the restored
  configuration leads. The line at the end says so.

  Of a damaged restore point everything that is whole can be restored: beside it (--into DIR),
  or into place with --accept damaged-files. The damaged files are named, and the exit status is
  7; run again on the same DIR, it restores what is missing there and whole by then.

  In an upgrade the restore point of the first hop and that of the newest are pinned (--pin-all:
  every hop's): no --keep flag takes them. list shows pins, which are files in the store; mm-swap
  prune and mm-pgbump drop-old release them with the way back that they give up, and so does
  mm-backup unpin ID.

  Several machines may have one store, also with their servers in the same directory: a restore
  point says on which it was made (a digest of /etc/machine-id, and the host name), and `latest`,
  list --latest and --max-age, the --keep flags and prune go by those of this machine. list names
  the others. Restoring one of another machine over what is installed here takes --accept
  other-host; where nothing is installed and the store has those of one other only, `latest` is its
  newest. Restore points of earlier releases, and of machines without an identifier, count as this
  machine's.

  A logical replication slot stays with the database that was there before. restore names each,
  also with --dry-run, with the command that makes it anew: whoever reads it has to begin anew.

FROZEN RESTORE POINTS
  create --stop --freeze copies the database within its cluster (CREATE DATABASE ... TEMPLATE)
  while nobody writes, and dumps nothing: that is what takes the time. Files are stored as ever.
  complete makes the dump from the copy, with fingerprints and all, beside the server that serves
  again; in a pipeline it stands behind mm-swap. What it adds is database.json with a digest of its
  own; the manifest stays as it is. A run of complete that was cut off is begun anew by the next
  one, or by the next create. It waits until a server that runs privately is public.

  Until then the restore point is frozen: list says so, retention keeps it, it is good for going
  back on this host; verify ends with 4, and export, copy and restore --into with 5.

  The copy is closed to everybody but superusers, and belongs to one. complete proves that nobody
  has changed it: no row version and no definition is newer than the freeze, the server has counted
  no insert, update or delete in it, no row of its catalogues is gone. Otherwise it ends with 4;
  --accept frozen-copy takes the copy as it is, and database.json says what was found. After a
  crash of the server that nobody deleted rows cannot be proven: that is said, and recorded.

  restore ID --database on this host renames the copy into place where it is there and unchanged,
  in the time of a moment, whatever it holds; what was there is kept until prune. Then the copy is
  the server's database: a restore point that was not complete has none any more.

  In a hop that upgrades PostgreSQL or moves the database (mm-pgbump) neither copy nor dump is made:
  complete reads what the hop leaves as it was, the kept cluster or the source. It starts the cluster
  beside the one that serves, with a socket in its data directory, read-only, for nobody else, and
  stops it again. That it is what was carried over is proven by the rows that mm-pgbump hashed, and in
  a cluster by its next transaction: otherwise 4, or --accept frozen-copy. Until then mm-pgbump
  drop-old, the next upgrade, and --method link refuse (5), mm-swap puts no release in place before
  the upgrade or the move is made, and restore stores the database first. Once the hop was taken back
  the server works with that database again, and it cannot be stored any more. --whole-cluster stores
  the other databases of the cluster with it. A database of MySQL is dumped as ever.

  Where the database cannot be copied it is dumped while the server is stopped, and that is said
  before the stop: others are connected to it, prepared transactions, too little space, another
  collation version, no superuser available, --whole-cluster where no cluster is upgraded. A
  CHECKPOINT is made before the stop, for at most 10 seconds. Of the copies of a run that of its
  first hop and the newest stay; the one of the hop before goes when the new one is there and the
  server serves again, or before, where there is no room for three. prune removes those of restore
  points that are complete and not pinned.

COPIES
  copy --into DIR makes a private copy of the site, as a staging server or to try an upgrade on,
  and starts it on a port of loopback: files below DIR/files, database in a cluster of its own
  (mmcopy..., run by the user mm-tools, which mm-pgbump can upgrade; without postgresql-common a
  private one). DIR is root's, and closed to everybody but the group of the server's user. That
  user is the one of the unit in the restore point, or the owner of the executable; never root.

  The copy reaches nothing but its own: no mail and push messages, no LDAP, SAML and other
  logins by third parties, no plugins (--with-plugins), no search servers, cluster, image proxy,
  marketplace, notices, shared channels, webhooks, commands, link previews, exports and retention;
  no job scheduler and no persistent notifications; files are local. Settings that name a host are
  emptied, paths lead below DIR, variables (MM_*) are dropped. Sessions, tokens, OAuth apps and
  webhooks are invalid (--keep-sessions leaves them). Before every start its configuration is
  looked through: what names another database, port, path or host is refused (5), unless with
  --accept outside. Plugins that run keep the hosts that their settings name.

  A restore point without the uploaded files (S3, --no-data) is refused unless with --accept
  missing-uploads. Superusers' objects of the database are made only with --accept
  superuser-objects, in the copy's own cluster.

  The other tools work on it with --install, --state-dir and --service exec as the document says
  them (key copy). It is not started at boot: the same command starts it again. copy --stop DIR
  stops it; copy --remove DIR removes it and nothing else, also what a killed run has left.

THE WAY BACK
  create --stop tries the way back before it stops the server: a database is created, renamed and
  dropped as a restore would, and there is room for it. In a hop (a document with a next one) the
  old release, too, has to be one that can be kept beside the new one (no immutable or read-only
  entries), and
  create refuses (5) with what opens the way back where it is closed; --accept rollback goes on
  all the same. A restore point of no hop is made, and the same is said as a warning.

  While a run of any of the tools is open that was cut off, create, complete, restore, unpin and
  prune refuse, and the hint is the command that ends it. recover ends a restore, and so does the
  next restore; one that mm-swap had asked for is ended by mm-swap recover, as part of the swap.

EXIT STATUS
  0 done; 1 failed, nothing half-made is kept; 2 wrong usage; 3 stopped half-way, the hint
  says how to go on; 4 verify: the restore point is damaged or not complete, complete: the copy
  was changed; 5 refused; 7 restore: files of the
  restore point are damaged, all others are restored; 65 no or a broken document;
  74 the document could not be delivered; 75 another run holds the lock.

EXIT STATUS 3
  A restore is half in place and could be neither finished nor undone; the error says why. Nothing
  is lost: the restore point is only read, and what was there before is kept beside it.
  Safe: looking; correcting the cause; mm-backup recover, as often as you like; another boot.
  Not safe: starting the server by hand, renaming or dropping databases, removing anything from
  the store, the state directory or beside the install root. Other tools refuse until it is ended.
  Three commands:
      mm-swap status       what is half done, and what ends it
      mm-backup recover    finishes or undoes it, once the cause is corrected
      mm-verify            whether the server is well afterwards

EXAMPLES
  Every night, with retention, in cron:
      mm-backup --install /opt/mattermost --to /srv/backup --keep-daily 7 --keep-weekly 4

  In an upgrade:
      mm-path --to 10.6.1 | mm-fetch | mm-backup --to /srv/backup --stop --freeze --leave-stopped \\
          | mm-pgbump --leave-stopped | mm-swap | mm-backup complete | mm-verify

  Prove the newest restore point:
      mm-backup verify --restore --to /srv/backup

  Look at yesterday's configuration without touching anything:
      mm-backup restore 20261122T030000Z --to /srv/backup --config --into /tmp/look

  A staging server, and its end:
      mm-backup copy --to /srv/backup --into /srv/staging
      mm-backup copy --remove /srv/staging

  Encrypted, to another machine, and back into a new store (mkdir -m 700 DIR):
      mm-backup export --to /srv/backup | age -r KEY | ssh host 'cat > mattermost.tar.age'
      ssh host 'cat mattermost.tar.age' | age -d -i FILE | tar -xpf - -C DIR
      mm-backup verify --to DIR

  Into a repository of restic, and back:
      mm-backup export --to /srv/backup | restic backup --stdin --stdin-filename mattermost.tar
      restic dump latest mattermost.tar | tar -xpf - -C DIR

  Into S3; with `set -o pipefail` a failure of either side is one of the line:
      mm-backup export --to /srv/backup | aws s3 cp - s3://BUCKET/mattermost.tar";
