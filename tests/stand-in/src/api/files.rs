//! Files: rows in `fileinfo`, content below the data directory in the real layout.

use serde_json::json;

use super::call::{ApiError, created, ok};
use super::{Call, Reply, shapes};
use crate::database::{Insert, Row};
use crate::emulated::Version;
use crate::http::Response;
use crate::text;

pub(super) fn route(call: &Call<'_>) -> Option<Reply> {
    Some(match (call.method(), call.path) {
        ("POST", ["files"]) => call.session().and_then(|_| upload(call)),
        ("GET", ["files", id]) => call.session().and_then(|_| content(call, id)),
        ("GET", ["files", id, "info"]) => call.session().and_then(|_| info(call, id)),
        _ => return None,
    })
}

/// A new file.
pub(crate) struct New<'a> {
    pub(crate) id: &'a str,
    pub(crate) user: &'a str,
    pub(crate) channel: &'a str,
    pub(crate) post: &'a str,
    pub(crate) name: &'a str,
    pub(crate) size: i64,
    pub(crate) at: i64,
}

impl New<'_> {
    /// `YYYYMMDD/teams/noteam/channels/CHID/users/UID/FILEID/name`
    pub(crate) fn path(&self) -> String {
        let day = jiff::Timestamp::from_millisecond(self.at).unwrap_or_default().strftime("%Y%m%d");
        format!("{day}/teams/noteam/channels/{}/users/{}/{}/{}", self.channel, self.user, self.id, self.name)
    }

    pub(crate) fn sql(&self, version: Version) -> String {
        let extension = self.name.rsplit_once('.').map_or("", |(_, extension)| extension);
        Insert::into("fileinfo")
            .text("id", self.id)
            .text("creatorid", self.user)
            .text("postid", self.post)
            .int("createat", self.at)
            .int("updateat", self.at)
            .int("deleteat", 0)
            .text("path", &self.path())
            .text("thumbnailpath", "")
            .text("previewpath", "")
            .text("name", self.name)
            .text("extension", extension)
            .int("size", self.size)
            .text("mimetype", kind(extension))
            .int("width", 0)
            .int("height", 0)
            .bool("haspreviewimage", false)
            .when(version.at_least(5, 30), |insert| insert.text("content", ""))
            .when(version.at_least(5, 32), |insert| insert.null("remoteid"))
            .when(version.at_least(8, 0), |insert| insert.text("channelid", self.channel))
            .sql()
    }
}

pub(crate) fn kind(extension: &str) -> &'static str {
    match extension {
        "txt" | "log" => "text/plain; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "application/javascript",
        "json" => "application/json",
        "html" => "text/html; charset=utf-8",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn upload(call: &Call<'_>) -> Reply {
    if !call.server.config.on("FileSettings", "EnableFileAttachments") {
        let message = "File attachments have been disabled on this server.";
        return Err(ApiError::new(403, "api.file.attachments.disabled.app_error", message));
    }
    let parts = call.request.parts();
    let simple = (call.request.param("channel_id"), call.request.param("filename"));
    let field = parts
        .iter()
        .find(|(name, _, _)| name == "channel_id")
        .map(|(_, _, value)| String::from_utf8_lossy(value).into_owned());
    let channel = field.or_else(|| simple.0.map(str::to_owned)).ok_or_else(|| ApiError::body("channel_id"))?;
    if !call.can_in_channel(&channel, "upload_file")? {
        return Err(ApiError::permission());
    }
    let mut sent: Vec<(String, Vec<u8>)> =
        parts.into_iter().filter_map(|(_, name, content)| Some((name?, content))).collect();
    if let (Some(name), true) = (simple.1, sent.is_empty()) {
        sent.push((name.to_owned(), call.request.body.clone()));
    }
    let user = call.session()?.user.clone();
    let mut infos = Vec::new();
    for (name, content) in sent {
        let name = name.rsplit('/').next().unwrap_or_default().to_owned();
        let id = text::new_id();
        let size = i64::try_from(content.len()).unwrap_or_default();
        let new = New { id: &id, user: &user, channel: &channel, post: "", name: &name, size, at: text::now_ms() };
        call.server.store(&new.path(), &content).map_err(|error| {
            ApiError::new(500, "api.file.write_file.app_error", "Unable to write the file.")
                .because("WriteFile", &error)
        })?;
        call.database().script(&new.sql(call.version()))?;
        infos.push(shapes::file(&found(call, &id)?, call.version()));
    }
    Ok(created(&json!({"file_infos": infos, "client_ids": []})))
}

fn found(call: &Call<'_>, id: &str) -> Result<Row, ApiError> {
    let row = call.database().row("SELECT * FROM fileinfo WHERE id = $1 AND deleteat = 0", &[&id])?;
    row.ok_or_else(|| ApiError::missing("app.file_info.get.app_error"))
}

fn allowed(call: &Call<'_>, row: &Row) -> Result<(), ApiError> {
    let own = row.text("creatorid") == call.session()?.user;
    let post = call.database().row("SELECT channelid FROM posts WHERE id = $1", &[&row.text("postid")])?;
    let reads = post.map_or(Ok(false), |post| call.can_in_channel(post.text("channelid"), "read_channel"))?;
    if own || reads { Ok(()) } else { Err(ApiError::permission()) }
}

fn info(call: &Call<'_>, id: &str) -> Reply {
    let row = found(call, id)?;
    allowed(call, &row)?;
    let who = if call.version().at_least(6, 4) { "private" } else { "public" };
    Ok(ok(&shapes::file(&row, call.version())).with("Cache-Control", format!("max-age=2592000, {who}")))
}

fn content(call: &Call<'_>, id: &str) -> Reply {
    let row = found(call, id)?;
    allowed(call, &row)?;
    let bytes = std::fs::read(call.server.data().join(row.text("path"))).map_err(|error| {
        ApiError::new(
            404,
            "api.file.read_file.reading_local.app_error",
            "Encountered an error reading from local server file storage.",
        )
        .because("ReadFile", &error)
    })?;
    let name = row.text("name");
    let cache = if call.version().at_least(9, 6) { "private, max-age=86400" } else { "private, no-cache" };
    let modified = text::http_date(row.int_or_zero("createat"));
    let length = bytes.len().to_string();
    Ok(Response::new(200, row.text("mimetype"), bytes)
        .sized()
        .with("Accept-Ranges", "bytes")
        .with("Cache-Control", cache)
        .with("Content-Disposition", format!("attachment;filename=\"{name}\"; filename*=UTF-8''{name}"))
        .with("Content-Security-Policy", "Frame-ancestors 'none'")
        .with("Last-Modified", modified)
        .with("X-Content-Type-Options", "nosniff")
        .with("X-Frame-Options", "DENY")
        .with("X-Uncompressed-Content-Length", length))
}
