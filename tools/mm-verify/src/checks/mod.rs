//! The checks, in the order in which they are made: what only reads comes before what writes, so that what we write is
//! never taken for what users wrote.

#![allow(clippy::unnecessary_wraps, reason = "all checks have one signature, also those that can always look")]

pub(crate) mod browser;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) mod memberships;
pub(crate) mod nulls;
pub(crate) mod plugins;
pub(crate) mod reading;
pub(crate) mod roles;
pub(crate) mod schema;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod web;
pub(crate) mod websocket;
pub(crate) mod writing;

use crate::check::{Area, Definition, Needs};

/// All checks.
pub(crate) const ALL: &[Definition] = &[
    Definition {
        id: "files.version",
        title: "the release that should be there is installed",
        area: Area::Files,
        needs: Needs::Nothing,
        look: files::version,
    },
    Definition {
        id: "files.release",
        title: "the files of the release are whole and unaltered",
        area: Area::Files,
        needs: Needs::Nothing,
        look: files::release,
    },
    Definition {
        id: "files.owner",
        title: "the server may write what it must",
        area: Area::Files,
        needs: Needs::Nothing,
        look: files::owner,
    },
    Definition {
        id: "files.port",
        title: "the server may listen on its port",
        area: Area::Files,
        needs: Needs::Nothing,
        look: files::port,
    },
    Definition {
        id: "files.config",
        title: "the configuration is readable for the server and only for it",
        area: Area::Files,
        needs: Needs::Nothing,
        look: files::config,
    },
    Definition {
        id: "files.settings",
        title: "no setting was lost or reset",
        area: Area::Files,
        needs: Needs::Nothing,
        look: settings::kept,
    },
    Definition {
        id: "database.schema",
        title: "the schema is that of the release",
        area: Area::Database,
        needs: Needs::Nothing,
        look: schema::schema,
    },
    Definition {
        id: "database.migrations",
        title: "the application migrations are done",
        area: Area::Database,
        needs: Needs::Nothing,
        look: schema::flags,
    },
    Definition {
        id: "database.jobs",
        title: "no migration job is pending",
        area: Area::Database,
        needs: Needs::Nothing,
        look: schema::jobs,
    },
    Definition {
        id: "database.indexes",
        title: "all indexes are valid",
        area: Area::Database,
        needs: Needs::Nothing,
        look: schema::indexes,
    },
    Definition {
        id: "database.nulls",
        title: "no column that the server needs is empty",
        area: Area::Database,
        needs: Needs::Nothing,
        look: nulls::nulls,
    },
    Definition {
        id: "database.defaults",
        title: "the columns added by 5.30 to 5.35 have their defaults",
        area: Area::Database,
        needs: Needs::Nothing,
        look: nulls::defaults,
    },
    Definition {
        id: "database.permissions",
        title: "members may list and join teams, read and write",
        area: Area::Database,
        needs: Needs::Nothing,
        look: roles::needed,
    },
    Definition {
        id: "database.roles",
        title: "no role has lost a permission",
        area: Area::Database,
        needs: Needs::Nothing,
        look: roles::kept,
    },
    Definition {
        id: "database.memberships",
        title: "the teams have their members",
        area: Area::Database,
        needs: Needs::Nothing,
        look: memberships::kept,
    },
    Definition {
        id: "history.posts",
        title: "every message is there, unaltered",
        area: Area::History,
        needs: Needs::Nothing,
        look: history::posts,
    },
    Definition {
        id: "history.counts",
        title: "users, teams, channels and files are all there",
        area: Area::History,
        needs: Needs::Nothing,
        look: history::counts,
    },
    Definition {
        id: "history.threads",
        title: "every reply has its root post",
        area: Area::History,
        needs: Needs::Nothing,
        look: history::threads,
    },
    Definition {
        id: "history.files",
        title: "uploaded files are on disk with their size",
        area: Area::History,
        needs: Needs::Nothing,
        look: history::files,
    },
    Definition {
        id: "server.ping",
        title: "the server answers",
        area: Area::Server,
        needs: Needs::Nothing,
        look: server::ping,
    },
    Definition {
        id: "server.status",
        title: "the server reaches its database and its file store",
        area: Area::Server,
        needs: Needs::Nothing,
        look: server::status,
    },
    Definition {
        id: "server.version",
        title: "the running server is the installed release",
        area: Area::Server,
        needs: Needs::Nothing,
        look: server::version,
    },
    Definition {
        id: "web.root",
        title: "the page of the web client is served",
        area: Area::Web,
        needs: Needs::Nothing,
        look: web::root,
    },
    Definition {
        id: "web.bundles",
        title: "every bundle of the web client is served whole",
        area: Area::Web,
        needs: Needs::Nothing,
        look: web::bundles,
    },
    Definition {
        id: "users.me",
        title: "users are recognised",
        area: Area::Users,
        needs: Needs::Sessions,
        look: reading::me,
    },
    Definition {
        id: "users.teams",
        title: "users see their teams",
        area: Area::Users,
        needs: Needs::Sessions,
        look: reading::teams,
    },
    Definition {
        id: "users.members",
        title: "users get their channel memberships, without which no team opens",
        area: Area::Users,
        needs: Needs::Sessions,
        look: reading::members,
    },
    Definition {
        id: "users.channels",
        title: "users see their channels",
        area: Area::Users,
        needs: Needs::Sessions,
        look: reading::channels,
    },
    Definition {
        id: "users.categories",
        title: "users get the categories of their sidebar",
        area: Area::Users,
        needs: Needs::Sessions,
        look: reading::categories,
    },
    Definition {
        id: "users.unread",
        title: "users see what is unread",
        area: Area::Users,
        needs: Needs::Sessions,
        look: reading::unread,
    },
    Definition {
        id: "users.threads",
        title: "users see their threads",
        area: Area::Users,
        needs: Needs::Sessions,
        look: reading::threads,
    },
    Definition {
        id: "users.history",
        title: "users can read the messages of their channels",
        area: Area::Users,
        needs: Needs::Sessions,
        look: reading::history,
    },
    Definition {
        id: "users.post",
        title: "a member can write a message",
        area: Area::Users,
        needs: Needs::Scratch,
        look: writing::post,
    },
    Definition {
        id: "users.reply",
        title: "a member can reply to a message",
        area: Area::Users,
        needs: Needs::Scratch,
        look: writing::reply,
    },
    Definition {
        id: "users.edit",
        title: "a member can edit a message and reads back what was written",
        area: Area::Users,
        needs: Needs::Scratch,
        look: writing::edit,
    },
    Definition {
        id: "users.search",
        title: "search finds a message",
        area: Area::Users,
        needs: Needs::Scratch,
        look: writing::search,
    },
    Definition {
        id: "users.file",
        title: "a member can upload a file and gets it back",
        area: Area::Users,
        needs: Needs::Scratch,
        look: writing::file,
    },
    Definition {
        id: "server.websocket",
        title: "events arrive over the WebSocket",
        area: Area::Server,
        needs: Needs::Scratch,
        look: websocket::event,
    },
    Definition {
        id: "users.delete",
        title: "a member can delete a message",
        area: Area::Users,
        needs: Needs::Scratch,
        look: writing::delete,
    },
    Definition {
        id: "server.plugins",
        title: "enabled plugins are active and fit the release",
        area: Area::Server,
        needs: Needs::Scratch,
        look: plugins::plugins,
    },
    Definition {
        id: "browser.open",
        title: "a browser that is signed in comes to a channel, not to a choice of teams",
        area: Area::Browser,
        needs: Needs::Scratch,
        look: browser::open_page,
    },
    Definition {
        id: "browser.teams",
        title: "the team sidebar shows the teams",
        area: Area::Browser,
        needs: Needs::Scratch,
        look: browser::teams,
    },
    Definition {
        id: "browser.post",
        title: "the main text box accepts text",
        area: Area::Browser,
        needs: Needs::Scratch,
        look: browser::post_box,
    },
    Definition {
        id: "browser.reply",
        title: "the reply box accepts text",
        area: Area::Browser,
        needs: Needs::Scratch,
        look: browser::reply_box,
    },
];
