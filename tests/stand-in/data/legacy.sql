-- The legacy steps, as run by servers up to 6.3: each commits its version into systems. "include N" runs a section of base.sql.
-- @ 5.30.0
ALTER TABLE roles ALTER COLUMN permissions TYPE text;
ALTER TABLE fileinfo ADD COLUMN IF NOT EXISTS content text;
ALTER TABLE threadmemberships ADD COLUMN IF NOT EXISTS unreadmentions bigint DEFAULT 0;
-- @ 5.31.0
-- @ 5.32.0
-- include 31 32 35 36 37
ALTER TABLE reactions ADD COLUMN IF NOT EXISTS updateat bigint;
ALTER TABLE reactions ADD COLUMN IF NOT EXISTS deleteat bigint;
ALTER TABLE reactions ADD COLUMN IF NOT EXISTS remoteid varchar(26);
ALTER TABLE users ADD COLUMN IF NOT EXISTS remoteid varchar(26);
ALTER TABLE posts ADD COLUMN IF NOT EXISTS remoteid varchar(26);
ALTER TABLE fileinfo ADD COLUMN IF NOT EXISTS remoteid varchar(26);
ALTER TABLE channels ADD COLUMN IF NOT EXISTS shared boolean;
ALTER TABLE sidebarcategories ADD COLUMN IF NOT EXISTS muted boolean DEFAULT false;
-- @ 5.33.0
CREATE TABLE IF NOT EXISTS schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
INSERT INTO schema_migrations (version, dirty) VALUES (1, false) ON CONFLICT DO NOTHING;
-- @ 5.34.0
ALTER TABLE sidebarcategories ADD COLUMN IF NOT EXISTS collapsed boolean DEFAULT false;
-- @ 5.35.0
ALTER TABLE posts ALTER COLUMN fileids TYPE varchar(300);
ALTER TABLE uploadsessions ADD COLUMN IF NOT EXISTS remoteid varchar(26) DEFAULT '';
ALTER TABLE uploadsessions ADD COLUMN IF NOT EXISTS reqfileid varchar(26) DEFAULT '';
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'channels' AND column_name = 'totalmsgcountroot') THEN
    ALTER TABLE channels ADD COLUMN totalmsgcountroot bigint DEFAULT 0;
    UPDATE channels SET totalmsgcountroot = q.n FROM (SELECT channelid, count(*) AS n FROM posts WHERE rootid = '' GROUP BY channelid) q WHERE q.channelid = channels.id;
END IF;
IF NOT EXISTS (SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'channelmembers' AND column_name = 'msgcountroot') THEN
    ALTER TABLE channelmembers ADD COLUMN mentioncountroot bigint DEFAULT 0, ADD COLUMN msgcountroot bigint DEFAULT 0;
    UPDATE channelmembers m SET mentioncountroot = m.mentioncount, msgcountroot = c.totalmsgcountroot
        FROM channels c WHERE c.id = m.channelid AND m.lastviewedat >= c.lastpostat;
END IF; END $$;
-- @ 5.36.0
-- include 53
ALTER TABLE status ADD COLUMN IF NOT EXISTS dndendtime bigint;
ALTER TABLE status ADD COLUMN IF NOT EXISTS prevstatus varchar(32);
-- @ 5.37.0
-- @ 5.38.0
-- @ 5.39.0
-- @ 6.0.0
ALTER TABLE commandwebhooks DROP COLUMN IF EXISTS parentid;
ALTER TABLE channelmembers ALTER COLUMN notifyprops TYPE jsonb USING notifyprops::jsonb;
ALTER TABLE users ALTER COLUMN props TYPE jsonb USING props::jsonb, ALTER COLUMN notifyprops TYPE jsonb USING notifyprops::jsonb, ALTER COLUMN timezone TYPE jsonb USING timezone::jsonb;
ALTER TABLE jobs ALTER COLUMN data TYPE jsonb USING data::jsonb;
ALTER TABLE linkmetadata ALTER COLUMN data TYPE jsonb USING data::jsonb;
ALTER TABLE sessions ALTER COLUMN props TYPE jsonb USING props::jsonb;
ALTER TABLE threads ALTER COLUMN participants TYPE jsonb USING participants::jsonb;
DO $$ BEGIN IF EXISTS (SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'posts' AND column_name = 'parentid') THEN
    UPDATE posts SET rootid = parentid WHERE rootid = '' AND parentid <> '';
END IF; END $$;
ALTER TABLE posts DROP COLUMN IF EXISTS parentid, ALTER COLUMN props TYPE jsonb USING props::jsonb;
-- @ 6.1.0
ALTER TABLE channelmembers ALTER COLUMN roles TYPE varchar(256);
ALTER TABLE teammembers ALTER COLUMN roles TYPE varchar(256);
ALTER TABLE sessions ALTER COLUMN roles TYPE varchar(256);
-- @ 6.2.0
-- @ 6.3.0
ALTER TABLE schemes ADD COLUMN IF NOT EXISTS defaultplaybookadminrole varchar(64) DEFAULT '';
ALTER TABLE schemes ADD COLUMN IF NOT EXISTS defaultplaybookmemberrole varchar(64) DEFAULT '';
ALTER TABLE schemes ADD COLUMN IF NOT EXISTS defaultrunadminrole varchar(64) DEFAULT '';
ALTER TABLE schemes ADD COLUMN IF NOT EXISTS defaultrunmemberrole varchar(64) DEFAULT '';
ALTER TABLE pluginkeyvaluestore ALTER COLUMN pkey TYPE varchar(150);
ALTER TABLE channels ADD COLUMN IF NOT EXISTS lastrootpostat bigint DEFAULT 0;
UPDATE channels SET lastrootpostat = q.at FROM (SELECT channelid, max(createat) AS at FROM posts WHERE rootid = '' GROUP BY channelid) q
    WHERE q.channelid = channels.id AND coalesce(lastrootpostat, 0) = 0;
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM systems WHERE name = 'CRTChannelMembershipCountsMigrationComplete') THEN
    UPDATE channelmembers m SET mentioncount = 0, mentioncountroot = 0, msgcount = c.totalmsgcount, msgcountroot = c.totalmsgcountroot
        FROM channels c WHERE c.id = m.channelid AND m.lastviewedat >= c.lastpostat;
    INSERT INTO systems (name, value) VALUES ('CRTChannelMembershipCountsMigrationComplete', 'true');
END IF; END $$;
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM systems WHERE name = 'CRTThreadCountsAndUnreadsMigrationComplete') THEN
    UPDATE threadmemberships tm SET lastviewed = m.lastviewedat + 1, unreadmentions = 0
        FROM threads t, channelmembers m WHERE t.postid = tm.postid AND m.channelid = t.channelid AND m.userid = tm.userid AND m.lastviewedat >= t.lastreplyat;
    INSERT INTO systems (name, value) VALUES ('CRTThreadCountsAndUnreadsMigrationComplete', 'true');
END IF; END $$;
