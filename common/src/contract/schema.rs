//! The JSON Schema of the document, made from the types the tools themselves read and write.

use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::{Map, Value};

use super::document::SCHEMA;
use super::sections::{Backup, Failure, Fetch, Hop, Path, Pgbump, Run, Site, Swap, Verify};

/// The JSON document that travels through a pipeline of mm-tools (mm-document(5)). Keys that are not named here may
/// be there too, and survive.
#[derive(Serialize, JsonSchema)]
struct Document {
    /// `mm.upgrade/1`.
    schema: String,
    run: Option<Run>,
    site: Option<Site>,
    path: Option<Path>,
    fetch: Option<Fetch>,
    backup: Option<Backup>,
    pgbump: Option<Pgbump>,
    swap: Option<Swap>,
    verify: Option<Verify>,
    /// What `--dry-run` would do, by tool.
    plan: Option<Value>,
    /// What `status` of mm-swap or `--status` of mm-path has found.
    status: Option<Value>,
    /// What `mm-verify baseline` has noted.
    baseline: Option<Value>,
    /// What `mm-verify repair` has found and done.
    repair: Option<Value>,
    /// The copy that `mm-backup copy` has made.
    copy: Option<Value>,
    /// What mm-upgrade was called with (`arguments`), and where it keeps the links to its runs (`runs`).
    upgrade: Option<Value>,
    /// What mm-rehearse has measured: `done`, as below.
    rehearsal: Option<Value>,
    /// The finished hops.
    done: Option<Vec<Done>>,
    /// True as soon as any tool of this hop changed something.
    changed: Option<bool>,
    /// Whether the last tool failed.
    failed: Option<bool>,
    /// The last tool's line.
    msg: Option<String>,
    error: Option<Failure>,
}

/// A finished hop, with what each tool did in it.
#[derive(Serialize, JsonSchema)]
struct Done {
    hop: Hop,
    fetch: Option<Fetch>,
    backup: Option<Backup>,
    pgbump: Option<Pgbump>,
    swap: Option<Swap>,
    verify: Option<Verify>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// The schema as JSON text with a newline at its end.
///
/// # Errors
/// Never in practice: a schema is always JSON.
pub fn json() -> serde_json::Result<String> {
    let mut schema = schema_for!(Document);
    if let Some(name) = schema.pointer_mut("/properties/schema") {
        *name = serde_json::json!({ "const": SCHEMA });
    }
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}
