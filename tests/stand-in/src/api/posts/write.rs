//! The statements that one new post is made of, in the columns that the version writes. Used by the seeder too.

use std::fmt::Write as _;

use serde_json::Value;

use crate::database::{Insert, quoted};
use crate::emulated::Version;

/// A post that is to be.
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) channel: String,
    pub(crate) user: String,
    pub(crate) root: String,
    pub(crate) message: String,
    pub(crate) props: Value,
    pub(crate) files: Vec<String>,
    pub(crate) at: i64,
}

/// The row itself, the counters of the channel, mentions, the thread with its followers, the files.
pub(crate) fn statements(version: Version, draft: &Draft) -> String {
    let mut script = row(version, draft);
    let (channel, at, root) = (quoted(&draft.channel), draft.at, draft.root.is_empty());
    let rooted = version.at_least(5, 35);
    let mut counters = "totalmsgcount = totalmsgcount + 1".to_owned();
    if rooted && root {
        counters.push_str(", totalmsgcountroot = totalmsgcountroot + 1");
    }
    if version.at_least(6, 3) && root {
        let _ = write!(counters, ", lastrootpostat = greatest(lastrootpostat, {at})");
    }
    let _ = writeln!(
        script,
        "UPDATE channels SET lastpostat = greatest({at}, lastpostat), {counters} WHERE id = {channel};"
    );
    let mentioned =
        draft.message.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '@' && letter != '_');
    let names: Vec<String> =
        mentioned.filter_map(|word| word.strip_prefix('@')).filter(|name| !name.is_empty()).map(quoted).collect();
    if !names.is_empty() {
        let mentions = if rooted && root { ", mentioncountroot = mentioncountroot + 1" } else { "" };
        let _ = writeln!(
            script,
            "UPDATE channelmembers SET mentioncount = mentioncount + 1{mentions} WHERE channelid = {channel} \
             AND userid IN (SELECT id FROM users WHERE username IN ({})) AND userid <> {};",
            names.join(", "),
            quoted(&draft.user)
        );
    }
    if !root {
        script.push_str(&thread(version, draft, &names));
    }
    for file in &draft.files {
        let channel = if version.at_least(8, 0) { format!(", channelid = {channel}") } else { String::new() };
        let _ = writeln!(
            script,
            "UPDATE fileinfo SET postid = {}{channel} WHERE id = {} AND postid = '';",
            quoted(&draft.id),
            quoted(file)
        );
    }
    script
}

fn row(version: Version, draft: &Draft) -> String {
    let files = serde_json::json!(draft.files).to_string();
    Insert::into("posts")
        .text("id", &draft.id)
        .int("createat", draft.at)
        .int("updateat", draft.at)
        .int("editat", 0)
        .int("deleteat", 0)
        .bool("ispinned", false)
        .text("userid", &draft.user)
        .text("channelid", &draft.channel)
        .text("rootid", &draft.root)
        .when(!version.at_least(6, 0), |insert| insert.text("parentid", &draft.root))
        .text("originalid", "")
        .text("message", &draft.message)
        .text("type", "")
        .text("props", &draft.props.to_string())
        .text("hashtags", "")
        .text("filenames", "[]")
        .text("fileids", &files)
        .bool("hasreactions", false)
        .when(version.at_least(5, 32), |insert| insert.null("remoteid"))
        .sql()
}

fn thread(version: Version, draft: &Draft, mentioned: &[String]) -> String {
    let (root, channel, user, at) = (quoted(&draft.root), quoted(&draft.channel), quoted(&draft.user), draft.at);
    let json = if version.at_least(6, 0) { "jsonb" } else { "text" };
    let mut columns = "postid, channelid, replycount, lastreplyat, participants".to_owned();
    let mut values = format!("{root}, {channel}, q.n, {at}, q.people::{json}");
    if version.at_least(7, 7) {
        columns.push_str(", threadteamid");
        let _ = write!(values, ", (SELECT teamid FROM channels WHERE id = {channel})");
    }
    let mut script = format!(
        "UPDATE posts SET updateat = greatest(updateat, {at}) WHERE id = {root};
         INSERT INTO threads ({columns}) SELECT {values} FROM
            (SELECT count(*) AS n, coalesce(json_agg(DISTINCT userid), '[]')::text AS people FROM posts WHERE rootid = {root} AND deleteat = 0) q
         ON CONFLICT (postid) DO UPDATE SET replycount = excluded.replycount, lastreplyat = excluded.lastreplyat, participants = excluded.participants;\n"
    );
    let (column, value) = if version.at_least(5, 30) { (", unreadmentions", ", 0") } else { ("", "") };
    let _ = writeln!(
        script,
        "INSERT INTO threadmemberships (postid, userid, following, lastviewed, lastupdated{column})
            SELECT DISTINCT {root}, p.userid, true, CASE WHEN p.userid = {user} THEN {at} ELSE 0 END, {at}{value} FROM posts p WHERE p.id = {root} OR p.id = {}
         ON CONFLICT (postid, userid) DO UPDATE SET lastupdated = excluded.lastupdated, lastviewed = greatest(threadmemberships.lastviewed, excluded.lastviewed);",
        quoted(&draft.id)
    );
    if version.at_least(5, 30) && !mentioned.is_empty() {
        let _ = writeln!(
            script,
            "UPDATE threadmemberships SET unreadmentions = unreadmentions + 1 WHERE postid = {root} \
             AND userid IN (SELECT id FROM users WHERE username IN ({})) AND userid <> {user};",
            mentioned.join(", ")
        );
    }
    script
}
