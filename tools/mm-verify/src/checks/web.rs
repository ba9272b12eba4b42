//! The web client: its page, and every file that the page names.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use mm_common::contract::ui;
use mm_common::machine::budget::Budget;
use mm_common::machine::signals;
use mm_common::mattermost::api::Server;
use mm_common::{Error, Result};
use url::Url;

use crate::check::{Finding, some};
use crate::look::Look;

/// Types that browsers accept for what a page names; a server error page would be none of these.
const TYPES: &[(&str, &[&str])] = &[
    ("js", &["javascript"]),
    ("css", &["text/css"]),
    ("json", &["json", "manifest"]),
    ("png", &["image/png"]),
    ("svg", &["image/svg"]),
    ("ico", &["image/"]),
];

fn page(server: &Server) -> Result<(u16, String)> {
    let answer = server.get("/", None)?;
    Ok((answer.status, String::from_utf8_lossy(&answer.bytes).into_owned()))
}

pub(crate) fn root(look: &mut Look) -> Result<Finding> {
    let (status, html) = page(&look.server)?;
    let is_page = status == 200 && html.contains("id=\"root\"") | html.contains("id='root'") | html.contains("id=root");
    let references = references(&html).len();
    let named = ui::count(references, "file");
    Ok(if is_page && references > 0 {
        Finding::pass(format!("{} bytes, naming {named}", html.len()))
    } else {
        Finding::fail(format!("GET / answers {status} with {} bytes, naming {named}", html.len()))
            .hint("client/root.html is missing or not readable for the server: install the release again with mm-swap")
    })
}

pub(crate) fn bundles(look: &mut Look) -> Result<Finding> {
    let (_, html) = page(&look.server)?;
    let names = references(&html);
    if names.is_empty() {
        return Err(Look::without("the page of the web client names no file"));
    }
    let mut bad = Vec::new();
    if names.len() > MOST_NAMES {
        return Ok(unending(&format!("the page names {} files, more than {MOST_NAMES}", names.len()), &bad));
    }
    let mut bytes = 0;
    let budget = Budget::new("files that the page names", names.len() as u64, MOST_BYTES, LONGEST);
    for name in &names {
        let measured = look.server.measure(below(&look.server.url, name), None)?;
        if let Err(error) = budget.spend(measured.bytes) {
            signals::check()?;
            return Ok(unending(&error.one_line(), &bad));
        }
        bytes += measured.bytes;
        if measured.status != 200 {
            bad.push(format!("{name}: {}", measured.status));
            continue;
        }
        let kind = measured.header("content-type").unwrap_or_default().to_lowercase();
        let extension = Path::new(strip(name)).extension().and_then(|text| text.to_str()).unwrap_or_default();
        if let Some((_, types)) = TYPES.iter().find(|(known, _)| *known == extension)
            && !types.iter().any(|wanted| kind.contains(wanted))
        {
            bad.push(format!("{name}: type `{kind}`"));
        }
        if let Some(on_disk) = on_disk(look, name)?.filter(|on_disk| *on_disk != measured.bytes) {
            bad.push(format!("{name}: {} of {on_disk} bytes", measured.bytes));
        }
    }
    Ok(if bad.is_empty() {
        Finding::pass(format!("{}, {bytes} bytes", ui::count(names.len(), "file")))
    } else {
        Finding::fail(some(&bad, 5))
            .hint("the page would stay white: install the release again with mm-swap, or purge the proxy's cache")
    })
}

/// A release's page names less than 100 files, of less than 100 MB.
const MOST_NAMES: usize = 2000;
const MOST_BYTES: u64 = 2 << 30;
const LONGEST: Duration = Duration::from_secs(300);

/// The page, and what stands behind it, may be anybody's.
fn unending(limit: &str, bad: &[String]) -> Finding {
    let asked = if bad.is_empty() { String::new() } else { format!("; not as they should be: {}", some(bad, 5)) };
    Finding::fail(format!("{limit}{asked}"))
        .hint("see what the server answers at /: a release's page names a few dozen files")
}

/// Size of the file behind a reference; `None` when there is none: the status has said so.
fn on_disk(look: &Look, name: &str) -> Result<Option<u64>> {
    let Some(below) = strip(name).split("/static/").nth(1) else { return Ok(None) };
    let path = look.installation.root.join("client").join(below);
    // The page came from the server, not from us: a name that leads out of the directory is none of ours.
    if below.split('/').any(|part| part == "..") {
        return Ok(None);
    }
    let data = mm_common::machine::files::look(&path).map_err(|error: Error| error)?;
    Ok(data.filter(std::fs::Metadata::is_file).map(|data| data.len()))
}

/// What the page names, as it is asked for below the server's address: where that has a path, the name begins with it too.
fn below<'a>(base: &str, name: &'a str) -> &'a str {
    let path = Url::parse(base).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
    name.strip_prefix(&path).filter(|rest| rest.starts_with('/')).unwrap_or(name)
}

/// The path without query.
fn strip(name: &str) -> &str {
    name.split(['?', '#']).next().unwrap_or(name)
}

/// What `src` and `href` name below `/static/` (a subpath may stand before it). Names change with every build, so they
/// are taken from the page.
fn references(html: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for attribute in ["src=", "href="] {
        for (at, _) in html.match_indices(attribute) {
            let rest = &html[at + attribute.len()..];
            let value = match rest.chars().next() {
                Some(quote @ ('"' | '\'')) => rest[1..].split(quote).next(),
                _ => rest.split([' ', '>']).next(),
            };
            if let Some(value) = value.filter(|value| value.starts_with('/') && value.contains("/static/")) {
                found.insert(value.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_page_names_is_found_however_it_is_quoted() {
        let html = r#"<link rel="stylesheet" href='/chat/static/main.1.css'><script src=/static/main.2.js defer></script>
            <script src="/static/remote_entry.js?bt=1"></script><a href="https://elsewhere/static/x.js">"#;
        let found: Vec<String> = references(html).into_iter().collect();
        assert_eq!(found, ["/chat/static/main.1.css", "/static/main.2.js", "/static/remote_entry.js?bt=1"]);
        assert_eq!(strip("/static/remote_entry.js?bt=1"), "/static/remote_entry.js");
        assert_eq!(below("http://127.0.0.1:8065/chat", "/chat/static/main.1.css"), "/static/main.1.css");
        assert_eq!(below("http://127.0.0.1:8065", "/static/main.1.css"), "/static/main.1.css");
    }
}
