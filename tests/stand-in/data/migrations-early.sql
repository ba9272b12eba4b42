-- Migrations 1 to 55: they bring any schema up to 5.37 in the way of 6.4 and newer, that is WITHOUT the defaults and back-fills of the legacy steps.
-- "@ NUMBER NAME" opens a migration; the section of base.sql with that number runs first. A migration without statements only leaves its row.
-- @ 1 create_teams
-- @ 2 create_team_members
-- @ 3 create_cluster_discovery
-- @ 4 create_command_webhooks
-- @ 5 create_compliances
-- @ 6 create_emojis
-- @ 7 create_user_groups
-- @ 8 create_group_members
-- @ 9 create_group_teams
-- @ 10 create_group_channels
-- @ 11 create_link_metadata
-- @ 12 create_commands
-- @ 13 create_incoming_webhooks
-- @ 14 create_outgoing_webhooks
-- @ 15 create_systems
-- @ 16 create_reactions
ALTER TABLE reactions ADD COLUMN IF NOT EXISTS updateat bigint;
ALTER TABLE reactions ADD COLUMN IF NOT EXISTS deleteat bigint;
ALTER TABLE reactions ADD COLUMN IF NOT EXISTS remoteid varchar(26);
-- @ 17 create_roles
ALTER TABLE roles ALTER COLUMN permissions TYPE text;
-- @ 18 create_schemes
-- @ 19 create_licenses
-- @ 20 create_posts
ALTER TABLE posts ADD COLUMN IF NOT EXISTS remoteid varchar(26);
ALTER TABLE posts ALTER COLUMN fileids TYPE varchar(300);
-- @ 21 create_product_notice_view_state
-- @ 22 create_sessions
-- @ 23 create_terms_of_service
-- @ 24 create_audits
-- @ 25 create_oauth_access_data
-- @ 26 create_preferences
-- @ 27 create_status
ALTER TABLE status ADD COLUMN IF NOT EXISTS dndendtime bigint;
ALTER TABLE status ADD COLUMN IF NOT EXISTS prevstatus varchar(32);
-- @ 28 create_tokens
-- @ 29 create_bots
-- @ 30 create_user_access_tokens
-- @ 31 create_remote_clusters
-- @ 32 create_sharedchannels
-- @ 33 create_sidebar_channels
-- @ 34 create_oauthauthdata
-- @ 35 create_sharedchannelattachments
-- @ 36 create_sharedchannelusers
-- @ 37 create_sharedchannelremotes
-- @ 38 create_jobs
-- @ 39 create_channel_member_history
-- @ 40 create_sidebar_categories
ALTER TABLE sidebarcategories ADD COLUMN IF NOT EXISTS muted boolean;
ALTER TABLE sidebarcategories ADD COLUMN IF NOT EXISTS collapsed boolean;
-- @ 41 create_upload_sessions
ALTER TABLE uploadsessions ADD COLUMN IF NOT EXISTS remoteid varchar(26);
ALTER TABLE uploadsessions ADD COLUMN IF NOT EXISTS reqfileid varchar(26);
-- @ 42 create_threads
-- @ 43 thread_memberships
ALTER TABLE threadmemberships ADD COLUMN IF NOT EXISTS unreadmentions bigint;
-- @ 44 create_user_terms_of_service
-- @ 45 create_plugin_key_value_store
-- @ 46 create_users
ALTER TABLE users ADD COLUMN IF NOT EXISTS remoteid varchar(26);
-- @ 47 create_file_info
ALTER TABLE fileinfo ADD COLUMN IF NOT EXISTS content text;
ALTER TABLE fileinfo ADD COLUMN IF NOT EXISTS remoteid varchar(26);
-- @ 48 create_oauth_apps
-- @ 49 create_channels
ALTER TABLE channels ADD COLUMN IF NOT EXISTS shared boolean;
-- @ 50 create_channelmembers
-- @ 51 create_msg_root_count
ALTER TABLE channels ADD COLUMN IF NOT EXISTS totalmsgcountroot bigint;
ALTER TABLE channelmembers ADD COLUMN IF NOT EXISTS mentioncountroot bigint;
ALTER TABLE channelmembers ADD COLUMN IF NOT EXISTS msgcountroot bigint;
UPDATE channels SET totalmsgcountroot = q.n FROM (SELECT channelid, count(*) AS n FROM posts WHERE rootid = '' GROUP BY channelid) q
    WHERE q.channelid = channels.id AND totalmsgcountroot IS NULL;
-- @ 52 create_public_channels
-- @ 53 create_retention_policies
-- @ 54 create_crt_channelmembership_count
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM systems WHERE name = 'CRTChannelMembershipCountsMigrationComplete') THEN
    UPDATE channelmembers m SET mentioncount = 0, mentioncountroot = 0, msgcount = c.totalmsgcount, msgcountroot = c.totalmsgcountroot
        FROM channels c WHERE c.id = m.channelid AND m.lastviewedat >= c.lastpostat;
    INSERT INTO systems (name, value) VALUES ('CRTChannelMembershipCountsMigrationComplete', 'true');
END IF; END $$;
-- @ 55 create_crt_thread_count_and_unreads
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM systems WHERE name = 'CRTThreadCountsAndUnreadsMigrationComplete') THEN
    UPDATE threadmemberships tm SET lastviewed = m.lastviewedat + 1, unreadmentions = 0
        FROM threads t, channelmembers m WHERE t.postid = tm.postid AND m.channelid = t.channelid AND m.userid = tm.userid AND m.lastviewedat >= t.lastreplyat;
    INSERT INTO systems (name, value) VALUES ('CRTThreadCountsAndUnreadsMigrationComplete', 'true');
END IF; END $$;
