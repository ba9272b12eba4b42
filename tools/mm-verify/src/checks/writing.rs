//! What members do all day, done by a temporary user in a private channel of its own.

use mm_common::Result;
use mm_common::contract::digest;
use mm_common::mattermost::api::{Answer, Upload};
use serde_json::{Value, json};

use crate::check::Finding;
use crate::look::Look;

const LOG: &str = "see the server's log (level error, the path of the call); compare database.nulls and database.roles";

/// A post as it came back: its id, when the answer is one.
fn created(answer: &Answer) -> Option<String> {
    let id = answer.body["id"].as_str()?;
    (answer.status == 201).then(|| id.to_owned())
}

pub(crate) fn post(look: &mut Look) -> Result<Finding> {
    let scratch = look.scratch()?;
    let (token, message) = (scratch.token.clone(), format!("A message of mm-verify: {}", scratch.word));
    let body = json!({ "channel_id": scratch.channel, "message": message });
    let answer = look.server.post("/api/v4/posts", Some(token.reveal()), &body)?;
    let Some(id) = created(&answer) else {
        return Ok(Finding::fail(format!("POST /posts answers {}", answer.verdict())).hint(LOG));
    };
    look.scratch()?.root = Some(id);
    Ok(Finding::pass("POST /posts answers 201"))
}

/// The root post of this run.
fn root(look: &mut Look) -> Result<String> {
    look.scratch()?.root.clone().ok_or_else(|| Look::without("no message could be written"))
}

pub(crate) fn reply(look: &mut Look) -> Result<Finding> {
    let root = root(look)?;
    let scratch = look.scratch()?;
    let token = scratch.token.clone();
    let message = format!("A reply of mm-verify: {}", scratch.word);
    let body = json!({ "channel_id": scratch.channel, "root_id": root, "message": message });
    let answer = look.server.post("/api/v4/posts", Some(token.reveal()), &body)?;
    let Some(id) = created(&answer) else {
        return Ok(Finding::fail(format!("POST /posts with root_id answers {}", answer.verdict())).hint(LOG));
    };
    look.scratch()?.reply = Some(id.clone());
    let thread = look.server.get(&format!("/api/v4/posts/{root}/thread"), Some(token.reveal()))?;
    let posts = &thread.body["posts"];
    Ok(if posts[&root].is_object() && posts[&id].is_object() {
        Finding::pass("the thread holds the message and its reply")
    } else {
        Finding::fail(format!("GET /posts/ID/thread answers {} without both posts", thread.verdict())).hint(LOG)
    })
}

pub(crate) fn edit(look: &mut Look) -> Result<Finding> {
    let root = root(look)?;
    let scratch = look.scratch()?;
    let (token, message) = (scratch.token.clone(), format!("An edited message of mm-verify: {}", scratch.word));
    let path = format!("/api/v4/posts/{root}");
    let answer = look.server.put(&format!("{path}/patch"), Some(token.reveal()), &json!({ "message": message }))?;
    if answer.status == 403 {
        return Ok(Finding::warn("members may not edit their messages").hint(
            "if that is not on purpose: mm-verify repair --fix permissions gives edit_post back to channel_user",
        ));
    }
    // From reports alone, of no server that was observed.
    if answer.error_id() == Some("api.post.update_post.permissions_time_limit.app_error") {
        return Ok(Finding::skip("members may edit a message for a shorter time (ServiceSettings.PostEditTimeLimit)"));
    }
    let read = look.server.get(&path, Some(token.reveal()))?;
    Ok(if answer.is_success() && read.body["message"].as_str() == Some(&message) {
        Finding::pass("what was written is read back")
    } else {
        let (edit, read) = (answer.verdict(), read.verdict());
        Finding::fail(format!("PUT /posts/ID/patch answers {edit}, GET /posts/ID {read} without the new text"))
            .hint(LOG)
    })
}

pub(crate) fn search(look: &mut Look) -> Result<Finding> {
    let root = root(look)?;
    let scratch = look.scratch()?;
    let (token, word, team) = (scratch.token.clone(), scratch.word.clone(), scratch.team.clone());
    let body = json!({ "terms": word, "is_or_search": false });
    let path = format!("/api/v4/teams/{team}/posts/search");
    let answer = look.server.post(&path, Some(token.reveal()), &body)?;
    if answer.error_id() == Some("store.sql_post.search.disabled") {
        return Ok(Finding::skip("search is switched off (ServiceSettings.EnablePostSearch)"));
    }
    let found = answer.body["order"].as_array().is_some_and(|order| order.contains(&Value::from(root)));
    Ok(if found {
        Finding::pass("the new message was found")
    } else if answer.is_success() {
        Finding::warn("the new message was not found")
            .hint("a search engine beside the database may index later; if old messages are not found either, rebuild its index")
    } else {
        Finding::fail(format!("POST /teams/ID/posts/search answers {}", answer.verdict()))
            .hint("search needs DisableDatabaseSearch=false, or a search engine that runs; Bleve is gone from 11.0 on")
    })
}

pub(crate) fn file(look: &mut Look) -> Result<Finding> {
    let driver = look.installation.config.text("FileSettings", "DriverName").unwrap_or_else(|| "local".into());
    if driver != "local" {
        return Ok(Finding::skip(format!("the file store is `{driver}`: an upload could not be removed for good")));
    }
    let scratch = look.scratch()?;
    let (token, channel) = (scratch.token.clone(), scratch.channel.clone());
    let contents = format!("An upload of mm-verify: {}\n", scratch.word).repeat(100);
    let upload = Upload { field: "files", name: "mm-verify.txt", contents: contents.as_bytes() };
    let answer = look.server.upload("/api/v4/files", Some(token.reveal()), &[("channel_id", &channel)], &upload)?;
    if answer.error_id() == Some("api.file.attachments.disabled.app_error") {
        return Ok(Finding::skip("uploads are switched off (FileSettings.EnableFileAttachments)"));
    }
    if answer.status == 403 {
        return Ok(Finding::warn("members may not upload files").hint(
            "if that is not on purpose: mm-verify repair --fix permissions gives upload_file back to channel_user",
        ));
    }
    let Some(id) = answer.body["file_infos"][0]["id"].as_str().filter(|_| answer.status == 201) else {
        return Ok(Finding::fail(format!("POST /files answers {}", answer.verdict()))
            .hint("see server.status and the owner of the data directory (files.owner); upload_file may be missing from channel_user"));
    };
    mm_common::machine::checkpoint::pass("verify-file-uploaded");
    let back = look.server.measure(&format!("/api/v4/files/{id}"), Some(token.reveal()))?;
    Ok(if back.status == 200 && back.sha256 == digest::of_bytes(contents.as_bytes()) {
        Finding::pass(format!("{} bytes came back unaltered", back.bytes))
    } else {
        Finding::fail(format!("GET /files/ID answers {} with {} of {} bytes", back.status, back.bytes, contents.len()))
            .hint("see the owner and mode of the data directory (files.owner)")
    })
}

pub(crate) fn delete(look: &mut Look) -> Result<Finding> {
    let Some(reply) = look.scratch()?.reply.clone() else {
        return Err(Look::without("no reply could be written"));
    };
    let token = look.scratch()?.token.clone();
    let path = format!("/api/v4/posts/{reply}");
    let answer = look.server.delete(&path, Some(token.reveal()))?;
    if answer.status == 403 {
        return Ok(Finding::warn("members may not delete their messages").hint(
            "if that is not on purpose: mm-verify repair --fix permissions gives delete_post back to channel_user",
        ));
    }
    let read = look.server.get(&path, Some(token.reveal()))?;
    Ok(if answer.is_success() && read.status == 404 {
        Finding::pass("a deleted message is not shown any more")
    } else {
        Finding::fail(format!("DELETE /posts/ID answers {}, GET /posts/ID then {}", answer.verdict(), read.verdict()))
            .hint(LOG)
    })
}
