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
use crate::outside;

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

/// Whether this is the page of the client.
fn is_client(status: u16, html: &str) -> bool {
    status == 200 && ["id=\"root\"", "id='root'", "id=root"].iter().any(|root| html.contains(root))
}

pub(crate) fn root(look: &mut Look) -> Result<Finding> {
    let (status, html) = page(&look.server)?;
    let references = references(&html).len();
    let named = ui::count(references, "file");
    Ok(if is_client(status, &html) && references > 0 {
        Finding::pass(format!("{} bytes, naming {named}", html.len()))
    } else {
        Finding::fail(format!("GET / answers {status} with {} bytes, naming {named}", html.len()))
            .hint("client/root.html is missing or not readable for the server: install the release again with mm-swap")
    })
}

/// The client as the server hands it out, and as it comes through what stands before it.
pub(crate) fn bundles(look: &mut Look) -> Result<Finding> {
    let (_, html) = page(&look.server)?;
    let names = references(&html);
    if names.is_empty() {
        return Err(Look::without("the page of the web client names no file"));
    }
    let budget = Budget::new("files that the page names", 2 * MOST_NAMES as u64, MOST_BYTES, LONGEST);
    let own = answers(&look.server, &names, &budget, &|name| on_disk(look, name))?;
    if let Some(finding) = own.finding(
        "the page would stay white: install the release again with mm-swap, or purge the cache of a proxy in between",
    ) {
        return Ok(finding);
    }
    let served = format!("{}, {} bytes", ui::count(names.len(), "file"), own.bytes);
    // Other nodes of a cluster may be at another release for a while.
    let in_cluster = look.installation.config.flag("ClusterSettings", "Enable") == Some(true);
    let Some(base) = outside::address(look).filter(|_| !in_cluster) else { return Ok(Finding::pass(served)) };
    let base = match outside::reached(&base) {
        Ok(base) => base,
        Err(error) => return Ok(Finding::pass(format!("{served}; {}", error.one_line()))),
    };
    let outside = Server::at(base.clone());
    let (status, html) = page(&outside)?;
    let found = references(&html);
    if !is_client(status, &html) || found.is_empty() {
        return Ok(Finding::pass(format!("{served}; at {base} another page is shown ({status})")));
    }
    // What stands between may add files of its own; an earlier page lacks some of this one's.
    let there: BTreeSet<&str> = found.iter().map(|name| below(&base, name)).collect();
    let is_own = names.iter().all(|name| there.contains(below(&look.server.url, name)));
    // What stands between may compress and shorten what it passes on.
    let through = answers(&outside, &found, &budget, &|_| Ok(None))?;
    if let Some(limit) = &through.limit {
        return Ok(Finding::warn(format!("{served}; at {base}: {limit}")));
    }
    if let Some(finding) = through.at(&base).finding(
        "users would see a white page: purge the cache of the proxy, and see that it passes /static/ on to the server",
    ) {
        return Ok(finding);
    }
    Ok(if is_own {
        Finding::pass(format!("{served}; the same at {base}"))
    } else {
        Finding::warn(format!("{served}; the page at {base} names others"))
            .hint("users get an earlier client: purge the cache of the proxy")
    })
}

/// What came of asking for the files that a page names.
#[derive(Debug, Default)]
struct Answers {
    bytes: u64,
    bad: Vec<String>,
    /// The limit at which the asking ended.
    limit: Option<String>,
}

impl Answers {
    /// With the address that was asked.
    fn at(mut self, base: &str) -> Self {
        for bad in &mut self.bad {
            *bad = format!("{base}{bad}");
        }
        self
    }

    /// What is wrong, if anything is.
    fn finding(&self, hint: &str) -> Option<Finding> {
        match &self.limit {
            Some(limit) => Some(unending(limit, &self.bad)),
            None if self.bad.is_empty() => None,
            None => Some(Finding::fail(some(&self.bad, 5)).hint(hint)),
        }
    }
}

/// Asks for each of these; `size` says how large one has to be, where that is known.
fn answers(
    server: &Server,
    names: &BTreeSet<String>,
    budget: &Budget,
    size: &dyn Fn(&str) -> Result<Option<u64>>,
) -> Result<Answers> {
    let mut answers = Answers::default();
    if names.len() > MOST_NAMES {
        answers.limit = Some(format!("the page names {} files, more than {MOST_NAMES}", names.len()));
        return Ok(answers);
    }
    for name in names {
        let measured = server.measure(below(&server.url, name), None)?;
        if let Err(error) = budget.spend(measured.bytes) {
            signals::check()?;
            answers.limit = Some(error.one_line());
            break;
        }
        answers.bytes += measured.bytes;
        if measured.status != 200 {
            answers.bad.push(format!("{name}: {}", measured.status));
            continue;
        }
        let kind = measured.header("content-type").unwrap_or_default().to_lowercase();
        let extension = Path::new(strip(name)).extension().and_then(|text| text.to_str()).unwrap_or_default();
        if let Some((_, types)) = TYPES.iter().find(|(known, _)| *known == extension)
            && !types.iter().any(|wanted| kind.contains(wanted))
        {
            answers.bad.push(format!("{name}: type `{kind}`"));
        }
        if let Some(size) = size(name)?.filter(|size| *size != measured.bytes) {
            answers.bad.push(format!("{name}: {} of {size} bytes", measured.bytes));
        }
    }
    Ok(answers)
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
