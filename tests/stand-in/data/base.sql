-- The schema of a fresh 5.29 server. A section is named by the migration that creates the same table from 6.4 on.
-- @ 1
CREATE TABLE IF NOT EXISTS teams (
    id varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    name varchar(64),
    displayname varchar(64),
    type varchar(255),
    alloweddomains varchar(1000),
    allowopeninvite boolean,
    companyname varchar(64),
    description varchar(255),
    email varchar(128),
    groupconstrained boolean,
    inviteid varchar(32),
    lastteamiconupdate bigint,
    schemeid varchar(26),
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX IF NOT EXISTS teams_name_key ON teams (name);
-- @ 2
CREATE TABLE IF NOT EXISTS teammembers (
    teamid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    deleteat bigint,
    roles varchar(64),
    schemeadmin boolean,
    schemeguest boolean,
    schemeuser boolean,
    PRIMARY KEY (teamid, userid)
);
-- @ 3
CREATE TABLE IF NOT EXISTS clusterdiscovery (
    id varchar(26) NOT NULL,
    createat bigint,
    type varchar(64),
    clustername varchar(64),
    gossipport integer,
    hostname varchar(512),
    lastpingat bigint,
    port integer,
    PRIMARY KEY (id)
);
-- @ 4
CREATE TABLE IF NOT EXISTS commandwebhooks (
    id varchar(26) NOT NULL,
    userid varchar(26),
    channelid varchar(26),
    createat bigint,
    commandid varchar(26),
    parentid varchar(26),
    rootid varchar(26),
    usecount integer,
    PRIMARY KEY (id)
);
-- @ 5
CREATE TABLE IF NOT EXISTS compliances (
    id varchar(26) NOT NULL,
    userid varchar(26),
    createat bigint,
    type varchar(64),
    count integer,
    "desc" varchar(512),
    emails varchar(1024),
    endat bigint,
    keywords varchar(512),
    startat bigint,
    status varchar(64),
    PRIMARY KEY (id)
);
-- @ 6
CREATE TABLE IF NOT EXISTS emoji (
    id varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    name varchar(64),
    creatorid varchar(26),
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX IF NOT EXISTS emoji_name_deleteat_key ON emoji (name, deleteat);
-- @ 7
CREATE TABLE IF NOT EXISTS usergroups (
    id varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    name varchar(64),
    displayname varchar(128),
    allowreference boolean,
    description varchar(1024),
    remoteid varchar(48),
    source varchar(64),
    PRIMARY KEY (id)
);
-- @ 8
CREATE TABLE IF NOT EXISTS groupmembers (
    groupid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    createat bigint,
    deleteat bigint,
    PRIMARY KEY (groupid, userid)
);
-- @ 9
CREATE TABLE IF NOT EXISTS groupteams (
    groupid varchar(26) NOT NULL,
    teamid varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    autoadd boolean,
    schemeadmin boolean,
    PRIMARY KEY (groupid, teamid)
);
-- @ 10
CREATE TABLE IF NOT EXISTS groupchannels (
    channelid varchar(26) NOT NULL,
    groupid varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    autoadd boolean,
    schemeadmin boolean,
    PRIMARY KEY (channelid, groupid)
);
-- @ 11
CREATE TABLE IF NOT EXISTS linkmetadata (
    hash bigint NOT NULL,
    type varchar(16),
    data varchar(4096),
    timestamp bigint,
    url varchar(2048),
    PRIMARY KEY (hash)
);
-- @ 12
CREATE TABLE IF NOT EXISTS commands (
    id varchar(26) NOT NULL,
    teamid varchar(26),
    createat bigint,
    updateat bigint,
    deleteat bigint,
    username varchar(64),
    displayname varchar(64),
    autocomplete boolean,
    autocompletedesc varchar(1024),
    autocompletehint varchar(1024),
    creatorid varchar(26),
    description varchar(128),
    iconurl varchar(1024),
    method varchar(1),
    pluginid varchar(190),
    token varchar(26),
    trigger varchar(128),
    url varchar(1024),
    PRIMARY KEY (id)
);
-- @ 13
CREATE TABLE IF NOT EXISTS incomingwebhooks (
    id varchar(26) NOT NULL,
    userid varchar(26),
    teamid varchar(26),
    channelid varchar(26),
    createat bigint,
    updateat bigint,
    deleteat bigint,
    username varchar(255),
    displayname varchar(64),
    channellocked boolean,
    description varchar(500),
    iconurl varchar(1024),
    PRIMARY KEY (id)
);
-- @ 14
CREATE TABLE IF NOT EXISTS outgoingwebhooks (
    id varchar(26) NOT NULL,
    teamid varchar(26),
    channelid varchar(26),
    createat bigint,
    updateat bigint,
    deleteat bigint,
    username varchar(64),
    displayname varchar(64),
    callbackurls varchar(1024),
    contenttype varchar(128),
    creatorid varchar(26),
    description varchar(500),
    iconurl varchar(1024),
    token varchar(26),
    triggerwhen integer,
    triggerwords varchar(1024),
    PRIMARY KEY (id)
);
-- @ 15
CREATE TABLE IF NOT EXISTS systems (
    name varchar(64) NOT NULL,
    value varchar(1024),
    PRIMARY KEY (name)
);
-- @ 16
CREATE TABLE IF NOT EXISTS reactions (
    postid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    emojiname varchar(64) NOT NULL,
    createat bigint,
    PRIMARY KEY (postid, userid, emojiname)
);
-- @ 17
CREATE TABLE IF NOT EXISTS roles (
    id varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    name varchar(64),
    displayname varchar(128),
    builtin boolean,
    description varchar(1024),
    permissions varchar(4096),
    schememanaged boolean,
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX IF NOT EXISTS roles_name_key ON roles (name);
-- @ 18
CREATE TABLE IF NOT EXISTS schemes (
    id varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    name varchar(64),
    displayname varchar(128),
    defaultchanneladminrole varchar(64),
    defaultchannelguestrole varchar(64),
    defaultchanneluserrole varchar(64),
    defaultteamadminrole varchar(64),
    defaultteamguestrole varchar(64),
    defaultteamuserrole varchar(64),
    description varchar(1024),
    scope varchar(32),
    PRIMARY KEY (id)
);
-- @ 19
CREATE TABLE IF NOT EXISTS licenses (
    id varchar(26) NOT NULL,
    createat bigint,
    bytes varchar(10000),
    PRIMARY KEY (id)
);
-- @ 20
CREATE TABLE IF NOT EXISTS posts (
    id varchar(26) NOT NULL,
    userid varchar(26),
    channelid varchar(26),
    createat bigint,
    updateat bigint,
    deleteat bigint,
    editat bigint,
    type varchar(26),
    fileids varchar(150),
    filenames varchar(4000),
    hashtags varchar(1000),
    hasreactions boolean,
    ispinned boolean,
    message varchar(65535),
    originalid varchar(26),
    parentid varchar(26),
    props varchar(8000),
    rootid varchar(26),
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS idx_posts_channel_id_update_at ON posts (channelid, updateat);
CREATE INDEX IF NOT EXISTS idx_posts_root_id ON posts (rootid);
CREATE INDEX IF NOT EXISTS idx_posts_channel_id_delete_at_create_at ON posts (channelid, deleteat, createat);
-- @ 21
CREATE TABLE IF NOT EXISTS productnoticeviewstate (
    noticeid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    timestamp bigint,
    viewed integer,
    PRIMARY KEY (noticeid, userid)
);
-- @ 22
CREATE TABLE IF NOT EXISTS sessions (
    id varchar(26) NOT NULL,
    userid varchar(26),
    createat bigint,
    deviceid varchar(512),
    expirednotify boolean,
    expiresat bigint,
    isoauth boolean,
    lastactivityat bigint,
    props varchar(1000),
    roles varchar(64),
    token varchar(26),
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS idx_sessions_token ON sessions (token);
-- @ 23
CREATE TABLE IF NOT EXISTS termsofservice (
    id varchar(26) NOT NULL,
    userid varchar(26),
    createat bigint,
    text varchar(65535),
    PRIMARY KEY (id)
);
-- @ 24
CREATE TABLE IF NOT EXISTS audits (
    id varchar(26) NOT NULL,
    userid varchar(26),
    createat bigint,
    action varchar(512),
    extrainfo varchar(1024),
    ipaddress varchar(64),
    sessionid varchar(26),
    PRIMARY KEY (id)
);
-- @ 25
CREATE TABLE IF NOT EXISTS oauthaccessdata (
    token varchar(26) NOT NULL,
    userid varchar(26),
    clientid varchar(26),
    expiresat bigint,
    redirecturi varchar(256),
    refreshtoken varchar(26),
    scope varchar(128),
    PRIMARY KEY (token)
);
-- @ 26
CREATE TABLE IF NOT EXISTS preferences (
    category varchar(32) NOT NULL,
    name varchar(32) NOT NULL,
    userid varchar(26) NOT NULL,
    value varchar(2000),
    PRIMARY KEY (category, name, userid)
);
-- @ 27
CREATE TABLE IF NOT EXISTS status (
    userid varchar(26) NOT NULL,
    lastactivityat bigint,
    manual boolean,
    status varchar(32),
    PRIMARY KEY (userid)
);
-- @ 28
CREATE TABLE IF NOT EXISTS tokens (
    token varchar(64) NOT NULL,
    createat bigint,
    type varchar(64),
    extra varchar(2048),
    PRIMARY KEY (token)
);
-- @ 29
CREATE TABLE IF NOT EXISTS bots (
    userid varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    description varchar(1024),
    lasticonupdate bigint,
    ownerid varchar(190),
    PRIMARY KEY (userid)
);
-- @ 30
CREATE TABLE IF NOT EXISTS useraccesstokens (
    id varchar(26) NOT NULL,
    userid varchar(26),
    description varchar(512),
    isactive boolean,
    token varchar(26),
    PRIMARY KEY (id)
);
-- @ 33
CREATE TABLE IF NOT EXISTS sidebarchannels (
    categoryid varchar(128) NOT NULL,
    channelid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    sortorder bigint,
    PRIMARY KEY (categoryid, channelid, userid)
);
-- @ 34
CREATE TABLE IF NOT EXISTS oauthauthdata (
    code varchar(128) NOT NULL,
    userid varchar(26),
    createat bigint,
    clientid varchar(26),
    expiresin integer,
    redirecturi varchar(256),
    scope varchar(128),
    state varchar(1024),
    PRIMARY KEY (code)
);
-- @ 38
CREATE TABLE IF NOT EXISTS jobs (
    id varchar(26) NOT NULL,
    createat bigint,
    type varchar(32),
    data varchar(1024),
    lastactivityat bigint,
    priority bigint,
    progress bigint,
    startat bigint,
    status varchar(32),
    PRIMARY KEY (id)
);
-- @ 39
CREATE TABLE IF NOT EXISTS channelmemberhistory (
    channelid varchar(26) NOT NULL,
    jointime bigint NOT NULL,
    userid varchar(26) NOT NULL,
    leavetime bigint,
    PRIMARY KEY (channelid, jointime, userid)
);
-- @ 40
CREATE TABLE IF NOT EXISTS sidebarcategories (
    id varchar(128) NOT NULL,
    userid varchar(26),
    teamid varchar(26),
    displayname varchar(64),
    type varchar(64),
    sorting varchar(64),
    sortorder bigint,
    PRIMARY KEY (id)
);
-- @ 41
CREATE TABLE IF NOT EXISTS uploadsessions (
    id varchar(26) NOT NULL,
    userid varchar(26),
    channelid varchar(26),
    createat bigint,
    type varchar(32),
    filename varchar(256),
    fileoffset bigint,
    filesize bigint,
    path varchar(512),
    PRIMARY KEY (id)
);
-- @ 42
CREATE TABLE IF NOT EXISTS threads (
    postid varchar(26) NOT NULL,
    channelid varchar(26),
    lastreplyat bigint,
    participants text,
    replycount bigint,
    PRIMARY KEY (postid)
);
-- @ 43
CREATE TABLE IF NOT EXISTS threadmemberships (
    postid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    following boolean,
    lastupdated bigint,
    lastviewed bigint,
    PRIMARY KEY (postid, userid)
);
-- @ 44
CREATE TABLE IF NOT EXISTS usertermsofservice (
    userid varchar(26) NOT NULL,
    createat bigint,
    termsofserviceid varchar(26),
    PRIMARY KEY (userid)
);
-- @ 45
CREATE TABLE IF NOT EXISTS pluginkeyvaluestore (
    pkey varchar(50) NOT NULL,
    pluginid varchar(190) NOT NULL,
    expireat bigint,
    pvalue bytea,
    PRIMARY KEY (pkey, pluginid)
);
-- @ 46
CREATE TABLE IF NOT EXISTS users (
    id varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    username varchar(64),
    password varchar(128),
    allowmarketing boolean,
    authdata varchar(128),
    authservice varchar(32),
    email varchar(128),
    emailverified boolean,
    failedattempts integer,
    firstname varchar(64),
    lastname varchar(64),
    lastpasswordupdate bigint,
    lastpictureupdate bigint,
    locale varchar(5),
    mfaactive boolean,
    mfasecret varchar(128),
    nickname varchar(64),
    notifyprops varchar(2000),
    position varchar(128),
    props varchar(4000),
    roles varchar(256),
    timezone varchar(256),
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX IF NOT EXISTS users_username_key ON users (username);
CREATE UNIQUE INDEX IF NOT EXISTS users_email_key ON users (email);
CREATE UNIQUE INDEX IF NOT EXISTS users_authdata_key ON users (authdata);
-- @ 47
CREATE TABLE IF NOT EXISTS fileinfo (
    id varchar(26) NOT NULL,
    postid varchar(26),
    createat bigint,
    updateat bigint,
    deleteat bigint,
    name varchar(256),
    creatorid varchar(26),
    extension varchar(64),
    haspreviewimage boolean,
    height integer,
    mimetype varchar(256),
    minipreview bytea,
    path varchar(512),
    previewpath varchar(512),
    size bigint,
    thumbnailpath varchar(512),
    width integer,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS idx_fileinfo_postid_at ON fileinfo (postid);
-- @ 48
CREATE TABLE IF NOT EXISTS oauthapps (
    id varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    name varchar(64),
    callbackurls varchar(1024),
    clientsecret varchar(128),
    creatorid varchar(26),
    description varchar(512),
    homepage varchar(256),
    iconurl varchar(512),
    istrusted boolean,
    PRIMARY KEY (id)
);
-- @ 49
CREATE TABLE IF NOT EXISTS channels (
    id varchar(26) NOT NULL,
    teamid varchar(26),
    createat bigint,
    updateat bigint,
    deleteat bigint,
    name varchar(64),
    displayname varchar(64),
    type varchar(1),
    creatorid varchar(26),
    extraupdateat bigint,
    groupconstrained boolean,
    header varchar(1024),
    lastpostat bigint,
    purpose varchar(250),
    schemeid varchar(26),
    totalmsgcount bigint,
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX IF NOT EXISTS channels_name_teamid_key ON channels (name, teamid);
-- @ 50
CREATE TABLE IF NOT EXISTS channelmembers (
    channelid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    lastupdateat bigint,
    lastviewedat bigint,
    mentioncount bigint,
    msgcount bigint,
    notifyprops varchar(2000),
    roles varchar(64),
    schemeadmin boolean,
    schemeguest boolean,
    schemeuser boolean,
    PRIMARY KEY (channelid, userid)
);
-- @ 52
CREATE TABLE IF NOT EXISTS publicchannels (
    id varchar(26) NOT NULL,
    teamid varchar(26),
    deleteat bigint,
    name varchar(64),
    displayname varchar(64),
    header varchar(1024),
    purpose varchar(250),
    PRIMARY KEY (id)
);
-- Tables that came between 5.30 and 5.36; the legacy steps name these sections.
-- @ 31
CREATE TABLE IF NOT EXISTS remoteclusters (
    remoteid varchar(26) NOT NULL,
    name varchar(64) NOT NULL,
    createat bigint,
    displayname varchar(64),
    creatorid varchar(26),
    lastpingat bigint,
    remoteteamid varchar(26),
    remotetoken varchar(26),
    siteurl varchar(512),
    token varchar(26),
    topics varchar(512),
    PRIMARY KEY (remoteid, name)
);
-- @ 32
CREATE TABLE IF NOT EXISTS sharedchannels (
    channelid varchar(26) NOT NULL,
    teamid varchar(26),
    createat bigint,
    updateat bigint,
    creatorid varchar(26),
    home boolean,
    readonly boolean,
    remoteid varchar(26),
    sharedisplayname varchar(64),
    shareheader varchar(1024),
    sharename varchar(64),
    sharepurpose varchar(250),
    PRIMARY KEY (channelid)
);
-- @ 35
CREATE TABLE IF NOT EXISTS sharedchannelattachments (
    id varchar(26) NOT NULL,
    createat bigint,
    fileid varchar(26),
    lastsyncat bigint,
    remoteid varchar(26),
    PRIMARY KEY (id)
);
-- @ 36
CREATE TABLE IF NOT EXISTS sharedchannelusers (
    id varchar(26) NOT NULL,
    userid varchar(26),
    channelid varchar(26),
    createat bigint,
    lastsyncat bigint,
    remoteid varchar(26),
    PRIMARY KEY (id)
);
-- @ 37
CREATE TABLE IF NOT EXISTS sharedchannelremotes (
    id varchar(26) NOT NULL,
    channelid varchar(26) NOT NULL,
    createat bigint,
    updateat bigint,
    creatorid varchar(26),
    isinviteaccepted boolean,
    isinviteconfirmed boolean,
    lastpostid varchar(26),
    lastpostupdateat bigint,
    remoteid varchar(26),
    PRIMARY KEY (id, channelid)
);
-- @ 53
CREATE TABLE IF NOT EXISTS retentionpolicies (
    id varchar(26) NOT NULL,
    displayname varchar(64),
    postduration bigint,
    PRIMARY KEY (id)
);
CREATE TABLE IF NOT EXISTS retentionpoliciesteams (
    teamid varchar(26) NOT NULL,
    policyid varchar(26),
    PRIMARY KEY (teamid)
);
CREATE TABLE IF NOT EXISTS retentionpolicieschannels (
    channelid varchar(26) NOT NULL,
    policyid varchar(26),
    PRIMARY KEY (channelid)
);
