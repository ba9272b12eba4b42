//! One call: the server, the request, the session, and the refusals that every area needs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Session;
use crate::database::{Database, NullError};
use crate::emulated::Version;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::server::Server;

/// A refusal in the form of the API.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) id: &'static str,
    pub(crate) message: String,
    /// What the driver said; goes into the log, and in some versions out.
    pub(crate) detail: String,
    /// The function of the real server that is named in the log.
    pub(crate) place: &'static str,
}

/// What an area answers.
pub(crate) type Reply = Result<Response, ApiError>;

impl ApiError {
    pub(crate) fn new(status: u16, id: &'static str, message: &str) -> Self {
        Self { status, id, message: message.to_owned(), detail: String::new(), place: "" }
    }

    pub(crate) fn because(mut self, place: &'static str, detail: &impl ToString) -> Self {
        self.place = place;
        self.detail = detail.to_string();
        self
    }

    pub(crate) fn session() -> Self {
        Self::new(401, "api.context.session_expired.app_error", "Invalid or expired session, please login again.")
    }

    pub(crate) fn permission() -> Self {
        Self::new(403, "api.context.permissions.app_error", "You do not have the appropriate permissions.")
    }

    pub(crate) fn missing(id: &'static str) -> Self {
        Self::new(404, id, "Unable to find the existing entity.")
    }

    pub(crate) fn parameter(name: &str) -> Self {
        Self::new(
            400,
            "api.context.invalid_url_param.app_error",
            &format!("Invalid or missing {name} parameter in request URL."),
        )
    }

    pub(crate) fn body(name: &str) -> Self {
        Self::new(
            400,
            "api.context.invalid_body_param.app_error",
            &format!("Invalid or missing {name} in request body."),
        )
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::new(500, "app.store.app_error", "Unable to read from the database.").because("Store", &error)
    }
}

impl From<NullError> for ApiError {
    fn from(error: NullError) -> Self {
        Self::new(500, "app.store.app_error", "Unable to read from the database.").because("Store", &error)
    }
}

/// A call in the making.
pub(crate) struct Call<'a> {
    pub(crate) server: &'a Server,
    pub(crate) request: &'a Request,
    /// The path below `/api/v4`, cut at the slashes.
    pub(crate) path: &'a [&'a str],
    pub(crate) session: Option<Session>,
}

impl Call<'_> {
    pub(crate) fn method(&self) -> &str {
        &self.request.method
    }

    pub(crate) fn database(&self) -> &Database {
        &self.server.database
    }

    pub(crate) fn version(&self) -> Version {
        self.server.version()
    }

    pub(crate) fn session(&self) -> Result<&Session, ApiError> {
        self.session.as_ref().ok_or_else(ApiError::session)
    }

    /// The user a path segment means; `me` is the caller. Local mode has no `me`.
    pub(crate) fn user(&self, segment: &str) -> Result<String, ApiError> {
        let session = self.session()?;
        if segment == "me" {
            return if session.local {
                Err(ApiError::missing("app.user.missing_account.const"))
            } else {
                Ok(session.user.clone())
            };
        }
        if !is_id(segment) {
            return Err(ApiError::parameter("user_id"));
        }
        if segment != session.user && !self.can("edit_other_users")? {
            return Err(ApiError::permission());
        }
        Ok(segment.to_owned())
    }

    /// Whether the roles of the caller in the system allow it.
    pub(crate) fn can(&self, permission: &str) -> Result<bool, ApiError> {
        let session = self.session()?;
        Ok(session.local || self.roles_hold(session.roles.iter().cloned().collect(), permission)?)
    }

    /// Whether the roles of the caller in the system or in the team allow it.
    pub(crate) fn can_in_team(&self, team: &str, permission: &str) -> Result<bool, ApiError> {
        let roles = self.team_roles(team)?;
        Ok(self.can(permission)? || self.roles_hold(roles, permission)?)
    }

    fn team_roles(&self, team: &str) -> Result<BTreeSet<String>, ApiError> {
        let query = "SELECT * FROM teammembers WHERE teamid = $1 AND userid = $2 AND deleteat = 0";
        let found = self.database().row(query, &[&team, &self.session()?.user])?;
        Ok(found.map(|row| member_roles(&row, "team").into_iter().collect()).unwrap_or_default())
    }

    /// Whether the roles of the caller in the system, the team of the channel, or the channel allow it.
    pub(crate) fn can_in_channel(&self, channel: &str, permission: &str) -> Result<bool, ApiError> {
        if self.can(permission)? {
            return Ok(true);
        }
        let query = "SELECT m.*, c.teamid FROM channelmembers m JOIN channels c ON c.id = m.channelid WHERE m.channelid = $1 AND m.userid = $2";
        let Some(row) = self.database().row(query, &[&channel, &self.session()?.user])? else { return Ok(false) };
        let mut roles: BTreeSet<String> = member_roles(&row, "channel").into_iter().collect();
        if !row.text("teamid").is_empty() {
            roles.extend(self.team_roles(row.text("teamid"))?);
        }
        self.roles_hold(roles, permission)
    }

    fn roles_hold(&self, roles: BTreeSet<String>, permission: &str) -> Result<bool, ApiError> {
        let names: Vec<String> = roles.into_iter().collect();
        let rows =
            self.database().rows("SELECT permissions FROM roles WHERE name = ANY($1) AND deleteat = 0", &[&names])?;
        Ok(rows.iter().any(|row| row.text("permissions").split_whitespace().any(|held| held == permission)))
    }

    /// The column as the request gave it, or a refusal.
    pub(crate) fn given(body: &Value, name: &str) -> Result<String, ApiError> {
        match body.get(name).and_then(Value::as_str) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(ApiError::body(name)),
        }
    }
}

/// The roles that a row of `teammembers` or `channelmembers` gives: the explicit ones and those of the three flags.
pub(crate) fn member_roles(row: &crate::database::Row, what: &str) -> Vec<String> {
    let mut roles: Vec<String> = Vec::new();
    for (flag, role) in [("schemeguest", "guest"), ("schemeuser", "user"), ("schemeadmin", "admin")] {
        if row.is(flag) {
            roles.push(format!("{what}_{role}"));
        }
    }
    roles.extend(row.text("roles").split_whitespace().map(str::to_owned));
    roles
}

pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

pub(crate) fn ok(value: &Value) -> Response {
    Response::new(200, "application/json", value.to_string())
}

pub(crate) fn created(value: &Value) -> Response {
    Response::new(201, "application/json", value.to_string())
}

/// `{"status":"OK"}`
pub(crate) fn done() -> Response {
    ok(&json!({"status": "OK"}))
}

/// The header of answers that must not be kept.
pub(crate) fn uncached(response: Response) -> Response {
    response.with("Cache-Control", "no-cache, no-store, must-revalidate")
}
