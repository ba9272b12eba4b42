//! Roles and their permissions. The order of permissions in an answer means nothing.

use serde_json::Value;

use super::call::{ApiError, ok};
use super::{Call, Reply, shapes};

pub(super) fn route(call: &Call<'_>) -> Option<Reply> {
    Some(match (call.method(), call.path) {
        ("GET", ["roles"]) if call.version().at_least(6, 0) => super::system::admin(call, all),
        ("POST", ["roles", "names"]) => call.session().and_then(|_| names(call)),
        ("GET", ["roles", "name", name]) => call.session().and_then(|_| one(call, "name", name)),
        ("GET", ["roles", id]) if super::call::is_id(id) => call.session().and_then(|_| one(call, "id", id)),
        ("PUT", ["roles", id, "patch"]) => super::system::admin(call, |call| patch(call, id)),
        _ => return None,
    })
}

fn all(call: &Call<'_>) -> Reply {
    let rows = call.database().rows("SELECT * FROM roles", &[])?;
    Ok(ok(&rows.iter().map(|row| shapes::role(row, call.version())).collect()))
}

fn names(call: &Call<'_>) -> Reply {
    let asked = call.request.json();
    let names: Vec<String> =
        asked.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(ApiError::body("rolenames"));
    }
    let rows = call.database().rows("SELECT * FROM roles WHERE name = ANY($1)", &[&names])?;
    Ok(ok(&rows.iter().map(|row| shapes::role(row, call.version())).collect()))
}

fn one(call: &Call<'_>, column: &str, value: &str) -> Reply {
    let found = call.database().row(&format!("SELECT * FROM roles WHERE {column} = $1"), &[&value])?;
    found
        .map(|row| ok(&shapes::role(&row, call.version())))
        .ok_or_else(|| ApiError::missing("app.role.get_by_name.app_error"))
}

/// `{"permissions": [...]}`
fn patch(call: &Call<'_>, id: &str) -> Reply {
    let asked = call.request.json();
    let Some(list) = asked.get("permissions").and_then(Value::as_array) else {
        return Err(ApiError::body("permissions"));
    };
    let permissions =
        list.iter().filter_map(Value::as_str).fold(String::new(), |text, permission| format!("{text} {permission}"));
    let now = crate::text::now_ms();
    call.database()
        .execute("UPDATE roles SET permissions = $2, updateat = $3 WHERE id = $1", &[&id, &permissions, &now])?;
    one(call, "id", id)
}
