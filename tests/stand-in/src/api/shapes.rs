//! The objects of the API: which keys, in which order, in which version; read from rows as strictly as the real server reads them.

use serde_json::{Map, Value, json};

use super::call::member_roles;
use crate::database::{NullError, Row};
use crate::emulated::Version;

type Read<T> = Result<T, NullError>;

/// Who looks at a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Eyes {
    Login,
    Own,
    Others,
}

pub(crate) fn user(row: &Row, version: Version, eyes: Eyes) -> Value {
    let mut user = Map::new();
    let mut put = |key: &str, value: Value| drop(user.insert(key.to_owned(), value));
    let own = eyes != Eyes::Others;
    put("id", row.raw("id"));
    for (key, column) in [("create_at", "createat"), ("update_at", "updateat"), ("delete_at", "deleteat")] {
        put(key, json!(row.int_or_zero(column)));
    }
    put("username", row.raw("username"));
    if !version.at_least(11, 0) {
        put("auth_data", json!(""));
    }
    put("auth_service", json!(row.text("authservice")));
    put("email", row.raw("email"));
    if own && row.is("emailverified") {
        put("email_verified", json!(true));
    }
    for (key, column) in
        [("nickname", "nickname"), ("first_name", "firstname"), ("last_name", "lastname"), ("position", "position")]
    {
        put(key, json!(row.text(column)));
    }
    put("roles", json!(row.text("roles")));
    let props = row.document("props");
    if own && version.at_least(7, 2) && props.as_object().is_some_and(|props| !props.is_empty()) {
        put("props", props);
    }
    if own {
        put("notify_props", row.document("notifyprops"));
        put("last_password_update", json!(row.int_or_zero("lastpasswordupdate")));
        if row.int_or_zero("lastpictureupdate") != 0 {
            put("last_picture_update", json!(row.int_or_zero("lastpictureupdate")));
        }
        if eyes == Eyes::Login && row.int_or_zero("failedattempts") != 0 {
            put("failed_attempts", json!(row.int_or_zero("failedattempts")));
        }
    }
    put("locale", json!(row.text("locale")));
    put("timezone", row.document("timezone"));
    if version.at_least(5, 30) {
        put("disable_welcome_email", json!(false));
    }
    Value::Object(user)
}

/// A team; e-mail address and invitation are blanked for those who may not see them.
pub(crate) fn team(row: &Row, version: Version, admin: bool, member: bool) -> Value {
    let mut team = json!({
        "id": row.text("id"), "create_at": row.int_or_zero("createat"), "update_at": row.int_or_zero("updateat"),
        "delete_at": row.int_or_zero("deleteat"), "display_name": row.text("displayname"), "name": row.text("name"),
        "description": row.text("description"), "email": if admin { row.text("email") } else { "" }, "type": row.text("type"),
        "company_name": row.text("companyname"), "allowed_domains": row.text("alloweddomains"),
        "invite_id": if admin || member { row.text("inviteid") } else { "" }, "allow_open_invite": row.is("allowopeninvite"),
        "scheme_id": or_null(row, "schemeid"), "group_constrained": row.raw("groupconstrained"),
    });
    if version.at_least(5, 30) {
        add(&mut team, "policy_id", Value::Null);
    }
    if version.at_least(7, 1) {
        add(&mut team, "cloud_limits_archived", json!(row.is("cloudlimitsarchived")));
    }
    team
}

pub(crate) fn team_member(row: &Row) -> Value {
    json!({
        "team_id": row.text("teamid"), "user_id": row.text("userid"), "roles": member_roles(row, "team").join(" "),
        "delete_at": row.int_or_zero("deleteat"), "scheme_guest": row.is("schemeguest"), "scheme_user": row.is("schemeuser"),
        "scheme_admin": row.is("schemeadmin"), "explicit_roles": row.text("roles"),
    })
}

/// A channel. From 5.35 on the number of root posts must not be NULL.
pub(crate) fn channel(row: &Row, version: Version) -> Read<Value> {
    let mut channel = json!({
        "id": row.text("id"), "create_at": row.int_or_zero("createat"), "update_at": row.int_or_zero("updateat"),
        "delete_at": row.int_or_zero("deleteat"), "team_id": row.text("teamid"), "type": row.text("type"),
        "display_name": row.text("displayname"), "name": row.text("name"), "header": row.text("header"), "purpose": row.text("purpose"),
        "last_post_at": row.int("lastpostat")?, "total_msg_count": row.int("totalmsgcount")?,
        "extra_update_at": row.int_or_zero("extraupdateat"), "creator_id": row.text("creatorid"), "scheme_id": or_null(row, "schemeid"),
        "props": null, "group_constrained": row.raw("groupconstrained"),
    });
    if version.at_least(5, 35) {
        add(&mut channel, "shared", row.raw("shared"));
        add(&mut channel, "total_msg_count_root", json!(row.int("totalmsgcountroot")?));
        add(&mut channel, "policy_id", Value::Null);
    }
    if version.at_least(6, 3) {
        add(&mut channel, "last_root_post_at", json!(row.int_or_zero("lastrootpostat")));
    }
    if version.at_least(11, 0) {
        add(&mut channel, "banner_info", Value::Null);
        add(&mut channel, "policy_enforced", json!(false));
    }
    Ok(channel)
}

/// A membership of a channel. From 5.35 on both root counts must not be NULL; the urgent count may be, on healthy databases too.
pub(crate) fn channel_member(row: &Row, version: Version) -> Read<Value> {
    let mut member = json!({
        "channel_id": row.text("channelid"), "user_id": row.text("userid"), "roles": member_roles(row, "channel").join(" "),
        "last_viewed_at": row.int("lastviewedat")?, "msg_count": row.int("msgcount")?, "mention_count": row.int("mentioncount")?,
    });
    if version.at_least(5, 35) {
        add(&mut member, "mention_count_root", json!(row.int("mentioncountroot")?));
        if version.at_least(7, 2) {
            add(&mut member, "urgent_mention_count", json!(row.int_or_zero("urgentmentioncount")));
        }
        add(&mut member, "msg_count_root", json!(row.int("msgcountroot")?));
    }
    add(&mut member, "notify_props", row.document("notifyprops"));
    add(&mut member, "last_update_at", json!(row.int_or_zero("lastupdateat")));
    for (key, column) in
        [("scheme_guest", "schemeguest"), ("scheme_user", "schemeuser"), ("scheme_admin", "schemeadmin")]
    {
        add(&mut member, key, json!(row.is(column)));
    }
    add(&mut member, "explicit_roles", json!(row.text("roles")));
    Ok(member)
}

/// A post, with what the caller counted about its thread.
pub(crate) fn post(row: &Row, version: Version, replies: i64) -> Value {
    let mut post = json!({
        "id": row.text("id"), "create_at": row.int_or_zero("createat"), "update_at": row.int_or_zero("updateat"),
        "edit_at": row.int_or_zero("editat"), "delete_at": row.int_or_zero("deleteat"), "is_pinned": row.is("ispinned"),
        "user_id": row.text("userid"), "channel_id": row.text("channelid"), "root_id": row.text("rootid"),
    });
    if !version.at_least(6, 0) {
        // A 5.x server on a schema without the column reads nothing there.
        add(&mut post, "parent_id", json!(row.text("parentid")));
    }
    add(&mut post, "original_id", json!(row.text("originalid")));
    add(&mut post, "message", json!(row.text("message")));
    add(&mut post, "type", json!(row.text("type")));
    add(&mut post, "props", object(row.document("props")));
    add(&mut post, "hashtags", json!(row.text("hashtags")));
    let files = row.document("fileids");
    if files.as_array().is_some_and(|files| !files.is_empty()) {
        add(&mut post, "file_ids", files);
    } else if version.at_least(11, 0) {
        add(&mut post, "file_ids", json!([]));
    }
    if row.is("hasreactions") {
        add(&mut post, "has_reactions", json!(true));
    }
    add(&mut post, "pending_post_id", json!(""));
    if version.at_least(9, 6) {
        add(&mut post, "remote_id", json!(row.text("remoteid")));
    }
    add(&mut post, "reply_count", json!(replies));
    if version.at_least(5, 30) {
        add(&mut post, "last_reply_at", json!(0));
        add(&mut post, "participants", Value::Null);
    }
    add(&mut post, "metadata", json!({}));
    post
}

pub(crate) fn file(row: &Row, version: Version) -> Value {
    let mut file = json!({"id": row.text("id"), "user_id": row.text("creatorid"), "post_id": row.text("postid")});
    if version.at_least(5, 30) {
        add(&mut file, "channel_id", json!(row.text("channelid")));
    }
    for (key, column) in [("create_at", "createat"), ("update_at", "updateat"), ("delete_at", "deleteat")] {
        add(&mut file, key, json!(row.int_or_zero(column)));
    }
    add(&mut file, "name", json!(row.text("name")));
    add(&mut file, "extension", json!(row.text("extension")));
    add(&mut file, "size", json!(row.int_or_zero("size")));
    add(&mut file, "mime_type", json!(row.text("mimetype")));
    add(&mut file, "mini_preview", Value::Null);
    if version.at_least(5, 30) {
        add(&mut file, "remote_id", json!(row.text("remoteid")));
    }
    if version.at_least(7, 0) {
        add(&mut file, "archived", json!(row.is("archived")));
    }
    file
}

pub(crate) fn role(row: &Row, version: Version) -> Value {
    let permissions: Vec<&str> = row.text("permissions").split_whitespace().collect();
    let mut role = json!({
        "id": row.text("id"), "name": row.text("name"), "display_name": row.text("displayname"), "description": row.text("description"),
        "create_at": row.int_or_zero("createat"), "update_at": row.int_or_zero("updateat"), "delete_at": row.int_or_zero("deleteat"),
        "permissions": permissions, "scheme_managed": row.is("schememanaged"), "built_in": row.is("builtin"),
    });
    if version.at_least(11, 0) {
        add(&mut role, "scheme_id", Value::Null);
    }
    role
}

pub(crate) fn add(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

fn or_null(row: &Row, column: &str) -> Value {
    if row.text(column).is_empty() { Value::Null } else { row.raw(column) }
}

fn object(value: Value) -> Value {
    if value.is_object() { value } else { json!({}) }
}
