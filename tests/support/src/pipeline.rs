//! The pipeline of one hop, and the loop around it, as an administrator types them.

use serde_json::Value;

use crate::site::{Releases, Site};
use crate::tool::shell;

/// The tools of one hop with the flags that confine them to this site: `mm-fetch … | mm-swap stage | … | mm-verify`.
pub fn hop(site: &Site, releases: &Releases) -> String {
    hop_with(site, releases, |_| String::new())
}

/// As [`hop`], with further flags for each tool.
pub fn hop_with(site: &Site, releases: &Releases, more: impl Fn(&str) -> String) -> String {
    let flags = site.flags().join(" ");
    let of = |tool: &str, own: &str| format!("{tool} {own} {flags} {}", more(tool));
    [
        of(
            "mm-fetch",
            &format!(
                "--mirror {} --cache {} --catalogue {}",
                releases.site.url(),
                site.cache().display(),
                releases.catalogue.display()
            ),
        ),
        format!("mm-swap stage {flags}"),
        of("mm-backup", &format!("--to {} --stop --leave-stopped", site.store().display())),
        of("mm-pgbump", "--leave-stopped"),
        of("mm-swap", ""),
        of("mm-verify", ""),
    ]
    .join(" | ")
}

/// Plans for this site; `arguments` are those of mm-path beyond [`Site::flags`] and the catalogue.
pub fn plan(site: &Site, releases: &Releases, arguments: &[&str]) -> Value {
    let mut command = site.tool("mm-path");
    command.args(arguments).arg("--catalogue").arg(&releases.catalogue);
    let assert = command.assert().success();
    serde_json::from_slice(&assert.get_output().stdout).expect("mm-path writes a document")
}

/// How a pipeline ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code of its last tool: there is no `pipefail`.
    pub code: i32,
    /// The document it wrote.
    pub document: Value,
    /// What all its tools said on stderr.
    pub said: String,
}

impl Outcome {
    /// Panics unless the pipeline ended well.
    pub fn good(self) -> Value {
        assert_eq!(self.code, 0, "{}\n{}", self.said, self.document["error"]);
        self.document
    }
}

/// Runs a pipeline with a document on its standard input.
pub fn run(pipeline: &str, document: &Value) -> Outcome {
    let output = shell(pipeline).write_stdin(document.to_string()).output().expect("bash is there");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("the pipeline wrote no document: {error}\n{said}"));
    Outcome { code: output.status.code().unwrap_or(-1), document, said }
}

/// Plans for `arguments` and carries out the next hop.
pub fn carry_out(site: &Site, releases: &Releases, arguments: &[&str]) -> Outcome {
    run(&hop(site, releases), &plan(site, releases, arguments))
}
