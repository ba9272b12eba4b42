//! What is known of Mattermost: the installation, its configuration, releases and what they own, schema, roles, API.

pub mod api;
pub mod bundle;
pub mod carried;
pub mod catalogue;
pub mod config;
pub mod handed_on;
pub mod health;
pub mod id;
pub mod manifest;
pub mod nodes;
pub mod reach;
pub mod roles;
pub mod schema;
pub mod session;
pub mod site;
pub mod stored;
pub mod tls;
pub mod way_back;
pub mod websocket;
