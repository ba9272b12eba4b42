-- Migrations 56 to 109 (5.39 to 8.1).
-- "@ NUMBER NAME" opens a migration; the section of base.sql with that number runs first. A migration without statements only leaves its row.
-- @ 56 upgrade_channels_v6.0
-- @ 57 upgrade_command_webhooks_v6.0
ALTER TABLE commandwebhooks DROP COLUMN IF EXISTS parentid;
-- @ 58 upgrade_channelmembers_v6.0
ALTER TABLE channelmembers ALTER COLUMN notifyprops TYPE jsonb USING notifyprops::jsonb;
-- @ 59 upgrade_users_v6.0
ALTER TABLE users ALTER COLUMN props TYPE jsonb USING props::jsonb, ALTER COLUMN notifyprops TYPE jsonb USING notifyprops::jsonb, ALTER COLUMN timezone TYPE jsonb USING timezone::jsonb;
-- @ 60 upgrade_jobs_v6.0
ALTER TABLE jobs ALTER COLUMN data TYPE jsonb USING data::jsonb;
-- @ 61 upgrade_link_metadata_v6.0
ALTER TABLE linkmetadata ALTER COLUMN data TYPE jsonb USING data::jsonb;
-- @ 62 upgrade_sessions_v6.0
ALTER TABLE sessions ALTER COLUMN props TYPE jsonb USING props::jsonb;
-- @ 63 upgrade_threads_v6.0
ALTER TABLE threads ALTER COLUMN participants TYPE jsonb USING participants::jsonb;
-- @ 64 upgrade_status_v6.0
-- @ 65 upgrade_groupchannels_v6.0
-- @ 66 upgrade_posts_v6.0
DO $$ BEGIN IF EXISTS (SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'posts' AND column_name = 'parentid') THEN
    UPDATE posts SET rootid = parentid WHERE rootid = '' AND parentid <> '';
END IF; END $$;
ALTER TABLE posts DROP COLUMN IF EXISTS parentid, ALTER COLUMN props TYPE jsonb USING props::jsonb;
-- @ 67 upgrade_channelmembers_v6.1
ALTER TABLE channelmembers ALTER COLUMN roles TYPE varchar(256);
-- @ 68 upgrade_teammembers_v6.1
ALTER TABLE teammembers ALTER COLUMN roles TYPE varchar(256);
-- @ 69 upgrade_jobs_v6.1
-- @ 70 upgrade_cte_v6.1
-- @ 71 upgrade_sessions_v6.1
ALTER TABLE sessions ALTER COLUMN roles TYPE varchar(256);
-- @ 72 upgrade_schemes_v6.3
ALTER TABLE schemes ADD COLUMN IF NOT EXISTS defaultplaybookadminrole varchar(64) DEFAULT '';
ALTER TABLE schemes ADD COLUMN IF NOT EXISTS defaultplaybookmemberrole varchar(64) DEFAULT '';
ALTER TABLE schemes ADD COLUMN IF NOT EXISTS defaultrunadminrole varchar(64) DEFAULT '';
ALTER TABLE schemes ADD COLUMN IF NOT EXISTS defaultrunmemberrole varchar(64) DEFAULT '';
ALTER TABLE channels ADD COLUMN IF NOT EXISTS lastrootpostat bigint DEFAULT 0;
-- @ 73 upgrade_plugin_key_value_store_v6.3
ALTER TABLE pluginkeyvaluestore ALTER COLUMN pkey TYPE varchar(150);
-- @ 74 upgrade_users_v6.3
-- @ 75 alter_upload_sessions_index
-- @ 76 upgrade_lastrootpostat
ALTER TABLE channels ADD COLUMN IF NOT EXISTS lastrootpostat bigint DEFAULT 0;
UPDATE channels SET lastrootpostat = q.at FROM (SELECT channelid, max(createat) AS at FROM posts WHERE rootid = '' GROUP BY channelid) q
    WHERE q.channelid = channels.id AND coalesce(lastrootpostat, 0) = 0;
-- @ 77 upgrade_users_v6.5
-- @ 78 create_oauth_mattermost_app_id
ALTER TABLE oauthapps ADD COLUMN IF NOT EXISTS mattermostappid varchar(32) DEFAULT '';
-- @ 79 usergroups_displayname_index
-- @ 80 posts_createat_id
CREATE INDEX IF NOT EXISTS idx_posts_create_at_id ON posts (createat, id);
-- @ 81 threads_deleteat
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'threads' AND column_name = 'threaddeleteat') THEN
    ALTER TABLE threads ADD COLUMN IF NOT EXISTS deleteat bigint;
    UPDATE threads SET deleteat = posts.deleteat FROM posts WHERE posts.id = threads.postid AND threads.deleteat IS NULL;
END IF; END $$;
-- @ 82 upgrade_oauth_mattermost_app_id
UPDATE oauthapps SET mattermostappid = '' WHERE mattermostappid IS NULL;
ALTER TABLE oauthapps ALTER COLUMN mattermostappid SET DEFAULT '', ALTER COLUMN mattermostappid SET NOT NULL;
-- @ 83 threads_threaddeleteat
ALTER TABLE threads ADD COLUMN IF NOT EXISTS threaddeleteat bigint;
UPDATE threads SET threaddeleteat = posts.deleteat FROM posts WHERE posts.id = threads.postid AND threads.threaddeleteat IS NULL;
ALTER TABLE threads DROP COLUMN IF EXISTS deleteat;
-- @ 84 recent_searches
CREATE TABLE IF NOT EXISTS recentsearches (
    userid char(26) NOT NULL,
    searchpointer integer NOT NULL,
    createat bigint NOT NULL,
    query jsonb,
    PRIMARY KEY (userid, searchpointer)
);
-- @ 85 fileinfo_add_archived_column
ALTER TABLE fileinfo ADD COLUMN IF NOT EXISTS archived boolean NOT NULL DEFAULT false;
-- @ 86 add_cloud_limits_archived
ALTER TABLE teams ADD COLUMN IF NOT EXISTS cloudlimitsarchived boolean NOT NULL DEFAULT false;
-- @ 87 sidebar_categories_index
-- @ 88 remaining_migrations
-- @ 89 add-channelid-to-reaction
ALTER TABLE reactions ADD COLUMN IF NOT EXISTS channelid varchar(26) NOT NULL DEFAULT '';
UPDATE reactions SET channelid = posts.channelid FROM posts WHERE posts.id = reactions.postid AND reactions.channelid = '';
-- @ 90 create_enums
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'channel_type') THEN CREATE TYPE channel_type AS ENUM ('P', 'G', 'O', 'D'); END IF; END $$;
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'team_type') THEN CREATE TYPE team_type AS ENUM ('I', 'O'); END IF; END $$;
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'upload_session_type') THEN CREATE TYPE upload_session_type AS ENUM ('attachment', 'import'); END IF; END $$;
ALTER TABLE channels ALTER COLUMN type TYPE channel_type USING type::text::channel_type;
ALTER TABLE teams ALTER COLUMN type TYPE team_type USING type::text::team_type;
ALTER TABLE uploadsessions ALTER COLUMN type TYPE upload_session_type USING type::text::upload_session_type;
-- @ 91 create_post_reminder
CREATE TABLE IF NOT EXISTS postreminders (
    postid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    targettime bigint,
    PRIMARY KEY (postid, userid)
);
-- @ 92 add_createat_to_teamembers
ALTER TABLE teammembers ADD COLUMN IF NOT EXISTS createat bigint DEFAULT 0;
-- @ 93 notify_admin
CREATE TABLE IF NOT EXISTS notifyadmin (
    userid varchar(26) NOT NULL,
    requiredfeature varchar(100) NOT NULL,
    requiredplan varchar(26) NOT NULL,
    createat bigint,
    trial boolean NOT NULL,
    PRIMARY KEY (userid, requiredfeature, requiredplan)
);
-- @ 94 threads_teamid
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'threads' AND column_name = 'threadteamid') THEN
    ALTER TABLE threads ADD COLUMN IF NOT EXISTS teamid varchar(26);
END IF; END $$;
-- @ 95 remove_posts_parentid
ALTER TABLE posts DROP COLUMN IF EXISTS parentid;
-- @ 96 threads_threadteamid
ALTER TABLE threads ADD COLUMN IF NOT EXISTS threadteamid varchar(26);
UPDATE threads SET threadteamid = channels.teamid FROM channels WHERE channels.id = threads.channelid AND threads.threadteamid IS NULL;
ALTER TABLE threads DROP COLUMN IF EXISTS teamid;
-- @ 97 create_posts_priority
CREATE TABLE IF NOT EXISTS postspriority (
    postid varchar(26) NOT NULL,
    channelid varchar(26) NOT NULL,
    priority varchar(32) NOT NULL,
    requestedack boolean,
    persistentnotifications boolean,
    PRIMARY KEY (postid)
);
ALTER TABLE channelmembers ADD COLUMN IF NOT EXISTS urgentmentioncount bigint;
-- @ 98 create_post_acknowledgements
CREATE TABLE IF NOT EXISTS postacknowledgements (
    postid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    acknowledgedat bigint,
    PRIMARY KEY (postid, userid)
);
-- @ 99 create_drafts
CREATE TABLE IF NOT EXISTS drafts (
    userid varchar(26) NOT NULL,
    channelid varchar(26) NOT NULL,
    rootid varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    fileids varchar(300),
    message varchar(65535),
    props varchar(8000),
    PRIMARY KEY (userid, channelid, rootid)
);
-- @ 100 add_draft_priority_column
ALTER TABLE drafts ADD COLUMN IF NOT EXISTS priority text;
-- @ 101 create_true_up_review_history
CREATE TABLE IF NOT EXISTS trueupreviewhistory (
    duedate bigint NOT NULL,
    completed boolean,
    PRIMARY KEY (duedate)
);
-- @ 102 posts_originalid_index
CREATE INDEX IF NOT EXISTS idx_posts_original_id ON posts (originalid);
-- @ 103 add_sentat_to_notifyadmin
ALTER TABLE notifyadmin ADD COLUMN IF NOT EXISTS sentat bigint DEFAULT NULL;
-- @ 104 upgrade_notifyadmin
ALTER TABLE notifyadmin ALTER COLUMN requiredfeature TYPE varchar(255), ALTER COLUMN requiredplan TYPE varchar(100);
-- @ 105 remove_tokens
DELETE FROM tokens;
-- @ 106 fileinfo_channelid
ALTER TABLE fileinfo ADD COLUMN IF NOT EXISTS channelid varchar(26);
UPDATE fileinfo SET channelid = posts.channelid FROM posts WHERE posts.id = fileinfo.postid AND fileinfo.channelid IS NULL;
-- @ 107 threadmemberships_cleanup
DELETE FROM threadmemberships WHERE (postid, userid) IN (SELECT tm.postid, tm.userid FROM threadmemberships tm JOIN threads t ON t.postid = tm.postid
    WHERE NOT EXISTS (SELECT 1 FROM channelmembers m WHERE m.channelid = t.channelid AND m.userid = tm.userid));
-- @ 108 remove_orphaned_oauth_preferences
DELETE FROM preferences WHERE category = 'oauth_app' AND name NOT IN (SELECT id FROM oauthapps);
-- @ 109 create_persistent_notifications
CREATE TABLE IF NOT EXISTS persistentnotifications (
    postid varchar(26) NOT NULL,
    createat bigint,
    deleteat bigint,
    lastsentat bigint,
    sentcount smallint,
    PRIMARY KEY (postid)
);
ALTER TABLE postspriority ADD COLUMN IF NOT EXISTS persistentnotifications boolean;
