-- Migrations 111 to 159 (9.0 to 11.6).
-- "@ NUMBER NAME" opens a migration; the section of base.sql with that number runs first. A migration without statements only leaves its row.
-- @ 111 update_vacuuming
ALTER TABLE posts SET (autovacuum_vacuum_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05);
-- @ 112 rework_desktop_tokens
CREATE TABLE IF NOT EXISTS desktoptokens (
    token varchar(64) NOT NULL,
    userid varchar(26) NOT NULL,
    createat bigint NOT NULL,
    PRIMARY KEY (token)
);
-- @ 113 create_retentionidsfordeletion_table
CREATE TABLE IF NOT EXISTS retentionidsfordeletion (
    id varchar(26) NOT NULL,
    ids varchar(26)[],
    tablename varchar(64),
    PRIMARY KEY (id)
);
-- @ 114 sharedchannelremotes_drop_nextsyncat_description
ALTER TABLE sharedchannelremotes DROP COLUMN IF EXISTS nextsyncat, DROP COLUMN IF EXISTS description;
-- @ 115 user_reporting_changes
ALTER TABLE users ADD COLUMN IF NOT EXISTS lastlogin bigint NOT NULL DEFAULT 0;
CREATE MATERIALIZED VIEW IF NOT EXISTS poststats AS SELECT userid, to_timestamp(createat / 1000)::date AS day, count(*) AS numposts, max(createat) AS lastpostdate
    FROM posts GROUP BY userid, day;
-- @ 116 create_outgoing_oauth_connections
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'outgoingoauthconnections_granttype') THEN CREATE TYPE outgoingoauthconnections_granttype AS ENUM ('client_credentials', 'password'); END IF; END $$;
CREATE TABLE IF NOT EXISTS outgoingoauthconnections (
    id varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    name varchar(64),
    audiences varchar(1024),
    clientid varchar(255),
    clientsecret varchar(255),
    creatorid varchar(26),
    credentialspassword varchar(255),
    credentialsusername varchar(255),
    granttype outgoingoauthconnections_granttype,
    oauthtokenurl text,
    PRIMARY KEY (id)
);
-- @ 117 msteams_shared_channels
ALTER TABLE sharedchannelremotes ADD COLUMN IF NOT EXISTS lastpostcreateat bigint NOT NULL DEFAULT 0;
ALTER TABLE sharedchannelremotes ADD COLUMN IF NOT EXISTS lastpostcreateid varchar(26);
ALTER TABLE remoteclusters ADD COLUMN IF NOT EXISTS pluginid varchar(190) NOT NULL DEFAULT '';
-- @ 118 create_index_poststats
CREATE INDEX IF NOT EXISTS idx_poststats_userid ON poststats (userid);
-- @ 119 msteams_shared_channels_opts
ALTER TABLE remoteclusters ADD COLUMN IF NOT EXISTS options smallint NOT NULL DEFAULT 0;
-- @ 120 create_channelbookmarks_table
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'channel_bookmark_type') THEN CREATE TYPE channel_bookmark_type AS ENUM ('link', 'file'); END IF; END $$;
CREATE TABLE IF NOT EXISTS channelbookmarks (
    id varchar(26) NOT NULL,
    channelid varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    displayname text,
    type channel_bookmark_type,
    emoji varchar(64),
    fileinfoid varchar(26),
    imageurl text,
    linkurl text,
    originalid varchar(26),
    ownerid varchar(26) NOT NULL,
    parentid varchar(26),
    sortorder integer,
    PRIMARY KEY (id)
);
-- @ 121 remove_true_up_review_history
DROP TABLE IF EXISTS trueupreviewhistory;
-- @ 122 preferences_value_length
ALTER TABLE preferences ALTER COLUMN value TYPE text;
-- @ 123 remove_upload_file_permission
-- @ 124 remove_manage_team_permission
-- @ 125 remoteclusters_add_default_team_id
ALTER TABLE remoteclusters ADD COLUMN IF NOT EXISTS defaultteamid varchar(26) DEFAULT '';
-- @ 126 sharedchannels_remotes_add_deleteat
ALTER TABLE remoteclusters ADD COLUMN IF NOT EXISTS deleteat bigint DEFAULT 0;
ALTER TABLE sharedchannelremotes ADD COLUMN IF NOT EXISTS deleteat bigint DEFAULT 0;
-- @ 127 add_mfa_used_ts_to_users
ALTER TABLE users ADD COLUMN IF NOT EXISTS mfausedtimestamps jsonb;
-- @ 128 create_scheduled_posts
CREATE TABLE IF NOT EXISTS scheduledposts (
    id varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    channelid varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    errorcode varchar(200),
    fileids varchar(300),
    message varchar(65535),
    priority text,
    processedat bigint,
    props varchar(8000),
    rootid varchar(26),
    scheduledat bigint NOT NULL,
    PRIMARY KEY (id)
);
-- @ 129 add_property_system_architecture
DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'property_field_type') THEN CREATE TYPE property_field_type AS ENUM ('text', 'select', 'multiselect', 'date', 'user', 'multiuser'); END IF; END $$;
CREATE TABLE IF NOT EXISTS propertygroups (
    id varchar(26) NOT NULL,
    name varchar(64) NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE IF NOT EXISTS propertyfields (
    id varchar(26) NOT NULL,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL,
    name varchar(255) NOT NULL,
    type property_field_type,
    attrs jsonb,
    groupid varchar(26) NOT NULL,
    targetid varchar(255),
    targettype varchar(255),
    PRIMARY KEY (id)
);
CREATE TABLE IF NOT EXISTS propertyvalues (
    id varchar(26) NOT NULL,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL,
    fieldid varchar(26) NOT NULL,
    groupid varchar(26) NOT NULL,
    targetid varchar(255) NOT NULL,
    targettype varchar(255) NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (id)
);
-- @ 130 system_console_stats
-- @ 131 create_index_pagination_on_property_values
-- @ 132 create_index_pagination_on_property_fields
-- @ 133 add_channel_banner_fields
ALTER TABLE channels ADD COLUMN IF NOT EXISTS bannerinfo jsonb;
-- @ 134 create_access_control_policies
CREATE TABLE IF NOT EXISTS accesscontrolpolicies (
    id varchar(26) NOT NULL,
    createat bigint NOT NULL,
    name varchar(128) NOT NULL,
    type varchar(128) NOT NULL,
    active boolean NOT NULL,
    data jsonb,
    props jsonb,
    revision integer NOT NULL,
    version varchar(8) NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE IF NOT EXISTS accesscontrolpolicyhistory (
    id varchar(26) NOT NULL,
    revision integer NOT NULL,
    createat bigint NOT NULL,
    name varchar(128) NOT NULL,
    type varchar(128) NOT NULL,
    data jsonb,
    props jsonb,
    version varchar(8) NOT NULL,
    PRIMARY KEY (id, revision)
);
-- @ 135 sidebarchannels_categoryid
CREATE INDEX IF NOT EXISTS idx_sidebarchannels_categoryid ON sidebarchannels (categoryid);
-- @ 136 create_attribute_view
-- @ 137 update_attribute_view
-- @ 138 add_default_category_name_to_channel
ALTER TABLE channels ADD COLUMN IF NOT EXISTS defaultcategoryname varchar(64) NOT NULL DEFAULT '';
-- @ 139 remoteclusters_add_last_global_user_sync_at
ALTER TABLE remoteclusters ADD COLUMN IF NOT EXISTS lastglobalusersyncat bigint DEFAULT 0;
-- @ 140 add_lastmemberssyncat_to_sharedchannelremotes
ALTER TABLE sharedchannelremotes ADD COLUMN IF NOT EXISTS lastmemberssyncat bigint DEFAULT 0;
ALTER TABLE sharedchannelusers ADD COLUMN IF NOT EXISTS lastmembershipsyncat bigint DEFAULT 0;
-- @ 141 add_remoteid_channelid_to_post_acknowledgements
ALTER TABLE postacknowledgements ADD COLUMN IF NOT EXISTS remoteid varchar(26) DEFAULT '';
ALTER TABLE postacknowledgements ADD COLUMN IF NOT EXISTS channelid varchar(26) DEFAULT '';
-- @ 142 create_content_flagging_tables
CREATE TABLE IF NOT EXISTS contentflaggingcommonreviewers (
    userid varchar(26) NOT NULL,
    PRIMARY KEY (userid)
);
CREATE TABLE IF NOT EXISTS contentflaggingteamreviewers (
    teamid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    PRIMARY KEY (teamid, userid)
);
CREATE TABLE IF NOT EXISTS contentflaggingteamsettings (
    teamid varchar(26) NOT NULL,
    enabled boolean,
    PRIMARY KEY (teamid)
);
-- @ 143 content_flagging_table_index
-- @ 144 add_dcr_fields_to_oauth_apps
ALTER TABLE oauthapps ADD COLUMN IF NOT EXISTS isdynamicallyregistered boolean DEFAULT false;
-- @ 145 add_pkce_to_oauthauthdata
ALTER TABLE oauthauthdata ADD COLUMN IF NOT EXISTS codechallenge varchar(128);
ALTER TABLE oauthauthdata ADD COLUMN IF NOT EXISTS codechallengemethod varchar(10);
-- @ 146 add_audience_and_resource_to_oauth
ALTER TABLE oauthauthdata ADD COLUMN IF NOT EXISTS resource varchar(512);
ALTER TABLE oauthaccessdata ADD COLUMN IF NOT EXISTS audience varchar(512);
-- @ 147 create_autotranslation_tables
CREATE TABLE IF NOT EXISTS translations (
    objectid varchar(26) NOT NULL,
    objecttype varchar NOT NULL,
    dstlang varchar NOT NULL,
    updateat bigint NOT NULL,
    confidence real,
    meta jsonb,
    normhash char(64) NOT NULL,
    providerid varchar NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (objectid, objecttype, dstlang)
);
ALTER TABLE channels ADD COLUMN IF NOT EXISTS autotranslation boolean NOT NULL DEFAULT false;
ALTER TABLE channelmembers ADD COLUMN IF NOT EXISTS autotranslation boolean NOT NULL DEFAULT false;
-- @ 148 add_burn_on_read_messages
CREATE TABLE IF NOT EXISTS readreceipts (
    postid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    expireat bigint NOT NULL,
    PRIMARY KEY (postid, userid)
);
CREATE TABLE IF NOT EXISTS temporaryposts (
    postid varchar(26) NOT NULL,
    type varchar(26) NOT NULL,
    expireat bigint NOT NULL,
    fileids varchar(300),
    message varchar(65535),
    PRIMARY KEY (postid)
);
ALTER TABLE drafts ADD COLUMN IF NOT EXISTS type text;
ALTER TABLE scheduledposts ADD COLUMN IF NOT EXISTS type text;
-- @ 149 create_recaps
CREATE TABLE IF NOT EXISTS recaps (
    id varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL,
    botid varchar(26) NOT NULL,
    readat bigint NOT NULL,
    status varchar(32) NOT NULL,
    title varchar(255) NOT NULL,
    totalmessagecount integer NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE IF NOT EXISTS recapchannels (
    id varchar(26) NOT NULL,
    channelid varchar(26) NOT NULL,
    createat bigint NOT NULL,
    actionitems text,
    channelname varchar(64) NOT NULL,
    highlights text,
    recapid varchar(26) NOT NULL,
    sourcepostids text,
    PRIMARY KEY (id)
);
-- @ 150 add_translation_state
ALTER TABLE translations ADD COLUMN IF NOT EXISTS state varchar(20) NOT NULL DEFAULT 'ready';
-- @ 151 add_autotranslationdisabled_to_channelmembers
ALTER TABLE channelmembers ADD COLUMN IF NOT EXISTS autotranslationdisabled boolean NOT NULL DEFAULT false;
-- @ 152 translations_primary_key_change
-- @ 153 add_translation_channel_id
ALTER TABLE translations ADD COLUMN IF NOT EXISTS channelid varchar(26);
-- @ 154 drop_translation_updateat_index
-- @ 155 create_translation_channel_updateat_index
-- @ 156 add_schemeid_to_roles
ALTER TABLE roles ADD COLUMN IF NOT EXISTS schemeid varchar(26) DEFAULT '';
-- @ 157 backfill_roles_schemeid
-- @ 158 add_roles_schemeid_index
CREATE INDEX IF NOT EXISTS idx_roles_schemeid ON roles (schemeid);
-- @ 159 deduplicate_policy_names
