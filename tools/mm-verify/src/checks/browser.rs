//! The web client in a real browser, signed in as a temporary user that is like a real one: a member of the same
//! teams, with a copy of the same memberships. So it meets what that person meets, and alters nothing of theirs.

use mm_common::machine::files::{self, Access};
use mm_common::{Error, Result};
use serde_json::json;
use url::Url;

use crate::browsing::Browser;
use crate::check::{Finding, some};
use crate::look::Look;
use crate::{browsing, devtools};

/// An open browser and what was seen on the way.
#[derive(Debug)]
pub(crate) struct Visit {
    browser: Box<dyn Browser>,
    /// The team's name in addresses.
    team: String,
    /// All teams of the user, as people see them.
    teams: Vec<String>,
    channel: String,
    /// What became of the page for signing in.
    login: Login,
    /// Whether the main page opened.
    is_in: bool,
}

/// What the client shows to somebody who is not signed in: by that the checks prove themselves first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    /// A form of an era that the checks know.
    Known,
    /// Nothing at all.
    White,
    /// Something else.
    Unknown,
}

/// Elements by era of the client, as read in the bundles and the source of 2018-07 (5.1), 2019 and later, 2025-09 and
/// 2026-07 (11.10). `#post_textbox` and `#reply_textbox` are in all of them.
mod era {
    /// The page for signing in; its form, or what leads to another way of signing in.
    pub(super) const LOGIN: &str = "#login_section, #loginId, #input_loginId, [class*='login'], [class*='signup']";
    /// The teams of a user with two or more; the class up to 2018.
    pub(super) const TEAMS: &str = "#teamSidebarWrapper, .team-sidebar";
    /// Links in it.
    pub(super) const TEAM_LINKS: &str = "#teamSidebarWrapper a, .team-sidebar a";

    /// The icon that opens the thread of a message: `commentIcon_CHANNEL_POST` in 2018, `CENTER_commentIcon_POST` later.
    pub(super) fn reply(post: &str) -> String {
        format!("#post_{post} [id*='commentIcon_'][id$='{post}']")
    }
}

/// Where the client is of no era known here, the checks cannot be made: that is no fault of the server.
fn unknown(what: &str, picture: &str) -> Error {
    Look::without(&format!("the web client shows {what} in no form known to these checks{picture}"))
        .hint("look with your own browser; a newer mm-verify may know this client")
}

const BROKEN: &str =
    "look at database.nulls and users.members; `mm-verify repair --list` has the fix where they name columns";

/// The browser; opened by the first check that needs it.
fn visit(look: &mut Look) -> Result<&mut Visit> {
    if look.visit.is_none() {
        let opened = open(look);
        look.visit = Some(opened);
    }
    match &mut look.visit {
        Some(Ok(visit)) => Ok(visit),
        Some(Err(error)) => Err(error.clone()),
        None => Err(Look::without("there is no browser")),
    }
}

/// Why no browser is used, if none is to be.
fn unwanted(look: &Look) -> Option<Finding> {
    match look.options.browser.as_str() {
        "no" => Some(Finding::skip("--browser no was given")),
        "auto" if devtools::installed().is_none() => {
            Some(Finding::skip("neither Chromium nor Chrome is installed").hint("apt-get install chromium"))
        }
        _ => None,
    }
}

fn open(look: &mut Look) -> Result<Visit> {
    let address = Some(look.options.browser.clone()).filter(|browser| browser != "auto");
    let base = look.server.url.clone();
    let shadow = look.shadow()?;
    let (user, token, team, channel) =
        (shadow.user.clone(), shadow.token.clone(), shadow.team.clone(), shadow.channel.clone());
    let csrf = shadow.csrf.clone();
    let answer = look.server.get("/api/v4/users/me/teams", Some(token.reveal()))?;
    let all: Vec<_> = answer.body.as_array().cloned().unwrap_or_default();
    let text = |team: &serde_json::Value, key: &str| team[key].as_str().unwrap_or_default().to_owned();
    let name = all.iter().find(|one| text(one, "id") == team).map(|one| text(one, "name")).unwrap_or_default();
    let channel = look.server.get(&format!("/api/v4/channels/{channel}"), Some(token.reveal()))?;
    let channel = text(&channel.body, "name");
    let browser = browsing::open(address.as_deref())?;
    mm_common::machine::checkpoint::pass("verify-browser-open");
    // Cookies belong to a page, so one of this server has to be open first; this one needs nobody to be signed in.
    browser.go(&format!("{base}/robots.txt"))?;
    // A new browser would first be asked whether to use the desktop app.
    browser.script("localStorage.setItem('__landingPageSeen__', 'true');", &[])?;
    browser.go(&format!("{base}/login"))?;
    let login = if browser.element(era::LOGIN)?.is_some() {
        Login::Known
    } else {
        let text = browser.script("return document.body ? document.body.innerText.trim() : '';", &[])?;
        if text.as_str().is_some_and(str::is_empty) { Login::White } else { Login::Unknown }
    };
    browser.cookie(&base, "MMAUTHTOKEN", token.reveal(), true)?;
    browser.cookie(&base, "MMUSERID", &user, false)?;
    browser.cookie(&base, "MMCSRF", csrf.reveal(), false)?;
    let teams = all.iter().map(|team| text(team, "display_name")).collect();
    Ok(Visit { browser, team: name, teams, channel, login, is_in: false })
}

/// Keeps a picture of the page, in the directory that was given or the state directory, and returns words for the evidence.
fn picture(look: &mut Look, step: &str) -> Result<String> {
    // Those of each release stay, so that the picture of a failure is there when it is read about.
    let ours = || look.state().join("screenshots").join(look.release().to_string());
    let directory = look.options.screenshots.clone().unwrap_or_else(ours);
    files::create_directory(files::parent(&directory)?, 0o700)?;
    files::create_directory(&directory, 0o700)?;
    let path = directory.join(format!("{step}.png"));
    let image = visit(look)?.browser.picture()?;
    files::write(&path, &image, Access::PRIVATE)?;
    Ok(format!("; picture: {}", path.display()))
}

pub(crate) fn open_page(look: &mut Look) -> Result<Finding> {
    if let Some(skip) = unwanted(look) {
        return Ok(skip);
    }
    let base = look.server.url.clone();
    if visit(look)?.login == Login::White {
        let picture = picture(look, "1-open")?;
        return Ok(Finding::fail(format!("/login stays white: the client does not start{picture}"))
            .hint("look at files.release and web.bundles: a script of the client is missing or altered"));
    }
    known(look)?;
    let visit = visit(look)?;
    visit.browser.go(&format!("{base}/"))?;
    // The client decides where to go once its calls are answered: the text box means in, the list of teams means out.
    let settled = visit.browser.element(
        "#post_textbox, #channelHeaderTitle, .select-team__container, .signup-team-dir, #login_section, #input_loginId",
    )?;
    let place = visit.browser.place()?;
    let path = Url::parse(&place).map_or(place, |url| url.path().to_owned());
    visit.is_in = settled.is_some() && path.contains("/channels/");
    let is_in = visit.is_in;
    let picture = picture(look, "1-open")?;
    Ok(if is_in {
        Finding::pass(format!("/ leads to {path}{picture}"))
    } else if path.ends_with("/select_team") {
        Finding::fail(format!("/ leads to {path}: members are told that there is no team{picture}")).hint(BROKEN)
    } else if path.ends_with("/login") {
        Finding::fail(format!("/ leads to {path}: the session is not accepted{picture}")).hint("see the server's log")
    } else {
        Finding::fail(format!("/ leads to {path}, and no channel appears{picture}")).hint(BROKEN)
    })
}

/// Whether the client is one that the checks know.
fn known(look: &mut Look) -> Result<()> {
    match visit(look)?.login {
        Login::Known => Ok(()),
        Login::White => Err(Look::without("the web client does not start")),
        Login::Unknown => {
            let picture = picture(look, "0-login")?;
            Err(unknown("the page for signing in", &picture))
        }
    }
}

/// The main page, or why it is not there.
fn inside(look: &mut Look) -> Result<()> {
    if visit(look)?.is_in { Ok(()) } else { Err(Look::without("the web client did not open a team")) }
}

pub(crate) fn teams(look: &mut Look) -> Result<Finding> {
    if let Some(skip) = unwanted(look) {
        return Ok(skip);
    }
    inside(look)?;
    let visit = visit(look)?;
    let teams = visit.teams.clone();
    if teams.len() < 2 {
        // The sidebar is only there for members of several teams.
        return Ok(Finding::pass(format!("the one team is open: {}", some(&teams, 1))));
    }
    let Some(sidebar) = visit.browser.element(era::TEAMS)? else {
        let picture = picture(look, "2-teams")?;
        return Err(unknown(&format!("the {} teams of the user", teams.len()), &picture));
    };
    // The real client shows initials and keeps the name in a label; so what counts is that a link to each is there.
    let links = visit.browser.script("return document.querySelectorAll(arguments[0]).length;", &[era::TEAM_LINKS])?;
    let shown = visit.browser.text(&sidebar)?.replace('\n', ", ");
    let picture = picture(look, "2-teams")?;
    let count = links.as_u64().unwrap_or_default();
    Ok(if count >= teams.len() as u64 {
        Finding::pass(format!("the sidebar shows {} teams: {shown}{picture}", teams.len()))
    } else {
        Finding::fail(format!("the sidebar shows {count} of {} teams: {shown}{picture}", teams.len())).hint(BROKEN)
    })
}

/// Text for the boxes. It is typed and never sent.
const TEXT: &str = "typed by mm-verify";

pub(crate) fn post_box(look: &mut Look) -> Result<Finding> {
    if let Some(skip) = unwanted(look) {
        return Ok(skip);
    }
    let base = look.server.url.clone();
    known(look)?;
    let visit = visit(look)?;
    // The private channel has an address of its own, which works even where / does not: so the box is looked at by itself.
    visit.browser.go(&format!("{base}/{}/channels/{}", visit.team, visit.channel))?;
    let Some(element) = visit.browser.element("#post_textbox")? else {
        let place = visit.browser.place()?;
        let picture = picture(look, "3-post")?;
        return Ok(Finding::fail(format!("the main text box does not appear at {place}{picture}")).hint(BROKEN));
    };
    let held = visit.browser.type_into(&element, TEXT)?;
    let picture = picture(look, "3-post")?;
    Ok(if held == TEXT {
        Finding::pass(format!("the main text box accepts text{picture}"))
    } else {
        Finding::fail(format!("the main text box holds `{held}` after typing{picture}")).hint(BROKEN)
    })
}

pub(crate) fn reply_box(look: &mut Look) -> Result<Finding> {
    if let Some(skip) = unwanted(look) {
        return Ok(skip);
    }
    let base = look.server.url.clone();
    known(look)?;
    let shadow = look.shadow()?;
    let (token, channel) = (shadow.token.clone(), shadow.channel.clone());
    let body = json!({ "channel_id": channel, "message": "A message of mm-verify to be replied to" });
    let posted = look.server.post("/api/v4/posts", Some(token.reveal()), &body)?;
    let Some(post) = posted.body["id"].as_str().filter(|_| posted.status == 201).map(str::to_owned) else {
        return Err(Look::without("no message could be written"));
    };
    let visit = visit(look)?;
    visit.browser.go(&format!("{base}/{}/channels/{}", visit.team, visit.channel))?;
    if let Some(row) = visit.browser.element(&format!("#post_{post}"))? {
        visit.browser.hover(&row)?;
        let Some(button) = visit.browser.element(&era::reply(&post))? else {
            let picture = picture(look, "4-reply")?;
            return Err(unknown("the button for a reply", &picture));
        };
        visit.browser.click(&button)?;
    } else {
        let picture = picture(look, "4-reply")?;
        return Ok(Finding::fail(format!("a new message does not appear in its channel{picture}")).hint(BROKEN));
    }
    let Some(element) = visit.browser.element("#reply_textbox")? else {
        let picture = picture(look, "4-reply")?;
        return Ok(Finding::fail(format!("the reply box does not appear{picture}")).hint(BROKEN));
    };
    let held = visit.browser.type_into(&element, TEXT)?;
    let picture = picture(look, "4-reply")?;
    Ok(if held == TEXT {
        Finding::pass(format!("the reply box accepts text{picture}"))
    } else {
        Finding::fail(format!("the reply box holds `{held}` after typing{picture}")).hint(BROKEN)
    })
}
