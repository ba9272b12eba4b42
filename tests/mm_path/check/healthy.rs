//! A database in which nothing is wrong.

use std::fmt::Write as _;

use mm_common::mattermost::roles;
use semver::Version;

use super::CATALOGUE;

/// What a server of this release leaves in a database, as far as the checks look at it.
pub(crate) fn healthy(release: &Version) -> String {
    let modern = *release >= Version::new(6, 0, 0);
    let json = if modern { "jsonb" } else { "varchar(8000)" };
    let mut sql = format!(
        "CREATE TABLE systems (name varchar(64) PRIMARY KEY, value varchar(1024));
         CREATE TABLE teams (id varchar(26) PRIMARY KEY, name varchar(64) CONSTRAINT teams_name_key UNIQUE);
         CREATE TABLE teammembers (teamid varchar(26), userid varchar(26), schemeguest boolean, PRIMARY KEY (teamid, userid));
         CREATE TABLE channels (id varchar(26) PRIMARY KEY, name varchar(64), teamid varchar(26), totalmsgcountroot bigint DEFAULT 0);
         CREATE TABLE channelmembers (channelid varchar(26), userid varchar(26), notifyprops {json}, schemeguest boolean,
             mentioncountroot bigint DEFAULT 0, msgcountroot bigint DEFAULT 0, PRIMARY KEY (channelid, userid));
         CREATE TABLE users (id varchar(26) PRIMARY KEY, username varchar(64), email varchar(128), deleteat bigint DEFAULT 0,
             props {json}, notifyprops {json}, timezone {json}, authservice varchar(32) DEFAULT '', roles varchar(256) DEFAULT '');
         CREATE TABLE licenses (id varchar(26) PRIMARY KEY, bytes varchar(10000));
         CREATE TABLE bots (userid varchar(26) PRIMARY KEY);
         CREATE TABLE posts (id varchar(26) PRIMARY KEY, message varchar(65535), props {json}, deleteat bigint DEFAULT 0);
         CREATE TABLE preferences (userid varchar(26), category varchar(32), name varchar(32), PRIMARY KEY (userid, category, name));
         CREATE TABLE sessions (id varchar(26) PRIMARY KEY, props {json});
         CREATE TABLE fileinfo (id varchar(26) PRIMARY KEY);
         CREATE TABLE roles (id varchar(64) PRIMARY KEY, name varchar(64) UNIQUE, permissions text, deleteat bigint DEFAULT 0);
         CREATE TABLE status (userid varchar(26) PRIMARY KEY);
         CREATE TABLE threads (postid varchar(26) PRIMARY KEY, participants {json});
         CREATE TABLE threadmemberships (postid varchar(26), userid varchar(26), unreadmentions bigint DEFAULT 0, PRIMARY KEY (postid, userid));
         CREATE TABLE sidebarcategories (id varchar(128) PRIMARY KEY, muted boolean DEFAULT false, collapsed boolean DEFAULT false);
         CREATE TABLE reactions (userid varchar(26), postid varchar(26), emojiname varchar(64), PRIMARY KEY (userid, postid, emojiname));
         CREATE TABLE jobs (id varchar(26) PRIMARY KEY, data {json});
         CREATE TABLE linkmetadata (hash bigint PRIMARY KEY, data {json});
         CREATE TABLE uploadsessions (id varchar(26) PRIMARY KEY, remoteid varchar(26) DEFAULT '', reqfileid varchar(26) DEFAULT '');
         CREATE TABLE clusterdiscovery (id varchar(26) PRIMARY KEY, hostname varchar(512), lastpingat bigint);
         INSERT INTO teams VALUES ('t1', 'alpha'), ('t2', 'beta');
         INSERT INTO users VALUES ('u1', 'alice', 'a@x', 0, '{{}}', '{{}}', '{{}}'), ('u2', 'bob', 'b@x', 0, '{{}}', '{{}}', '{{}}');
         INSERT INTO channels VALUES ('c1', 'town', 't1', 0), ('c2', 'town', 't2', 0);
         INSERT INTO teammembers VALUES ('t1', 'u1', false), ('t1', 'u2', false);
         INSERT INTO channelmembers VALUES ('c1', 'u1', '{{}}', false), ('c1', 'u2', '{{}}', false);
         INSERT INTO sidebarcategories VALUES ('favorites', false, false);
         INSERT INTO uploadsessions VALUES ('s1', '', '');
         INSERT INTO clusterdiscovery VALUES ('i0', 'gone-for-long', 1);
         INSERT INTO posts VALUES ('p1', 'hello', '{{}}', 0);
         INSERT INTO licenses VALUES ('l1', '{licence}');
         INSERT INTO systems VALUES ('ActiveLicenseId', 'l1');
         INSERT INTO systems VALUES ('Version', '{version}');\n",
        // {{"sku_short_name":"professional","features":{{"users":1000}}}}
        licence = "eyJza3Vfc2hvcnRfbmFtZSI6InByb2Zlc3Npb25hbCIsImZlYXR1cmVzIjp7InVzZXJzIjoxMDAwfX0=",
        version = if modern { Version::new(6, 4, 0) } else { Version::new(release.major, release.minor, 0) },
    );
    // A text that only looks like the escape of the character 0: the backslash before it is escaped itself.
    let tricky = if modern { "{}" } else { r#"{"a": "\\u0000"}"# };
    writeln!(sql, "INSERT INTO posts VALUES ('p2', 'tricky', '{tricky}', 0);").unwrap();
    for (role, permissions) in roles::built_in(release).unwrap() {
        let permissions = permissions.into_iter().collect::<Vec<_>>().join(" ");
        writeln!(sql, "INSERT INTO roles VALUES ('{role}', '{role}', '{permissions}', 0);").unwrap();
    }
    if *release >= Version::new(6, 4, 0) {
        sql.push_str("CREATE TABLE db_lock (id varchar(64) PRIMARY KEY, expireat bigint);\n");
        sql.push_str("CREATE TABLE db_migrations (version bigint PRIMARY KEY, name varchar NOT NULL);\n");
        let highest = CATALOGUE.migrations().of(release).unwrap().highest.unwrap();
        if highest >= 113 {
            sql.push_str("CREATE TABLE retentionidsfordeletion (id varchar(26) PRIMARY KEY);\n");
        }
        for known in CATALOGUE.migrations().names.iter().filter(|known| known.number <= highest) {
            writeln!(sql, "INSERT INTO db_migrations VALUES ({}, '{}');", known.number, known.name).unwrap();
        }
    }
    sql
}
