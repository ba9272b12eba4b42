//! What lies in a tarball: names, modes, contents. Bundles carry a hash of their content in the name, and the content differs by version.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::Request;
use crate::emulated::{Edition, Identity};
use crate::{config, text};

const ROOT: &str = include_str!("../../data/client/root.html");
const MAIN: &str = include_str!("../../data/client/main.js");
const STYLE: &str = include_str!("../../data/client/main.css");

/// Owner of the entries: a build machine's, unknown to the host that unpacks (as with the real ones).
const OWNER: (u64, u64) = (1001, 121);

struct Tree<'a, W: Write> {
    archive: &'a mut Builder<W>,
    /// Seconds since 1970, the same for every build of a version.
    time: u64,
}

impl<W: Write> Tree<'_, W> {
    fn entry(&mut self, path: &str, mode: u32, kind: EntryType, content: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(OWNER.0);
        header.set_gid(OWNER.1);
        header.set_mtime(self.time);
        header.set_size(content.len() as u64);
        self.archive.append_data(&mut header, format!("mattermost/{path}"), content)
    }

    fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(&format!("{path}/"), 0o755, EntryType::Directory, &[])
    }

    fn file(&mut self, path: &str, content: impl AsRef<[u8]>) -> io::Result<()> {
        self.entry(path, 0o644, EntryType::Regular, content.as_ref())
    }
}

/// Writes the whole tree.
pub(super) fn write(
    archive: &mut Builder<impl Write>,
    identity: &Identity,
    program: &[u8],
    request: &Request,
) -> io::Result<()> {
    let version = identity.version;
    let lines = u64::from(version.major) * 100 + u64::from(version.minor);
    let mut tree = Tree { archive, time: 1_480_000_000 + lines * 150_000 + u64::from(version.patch) * 86_400 };
    tree.entry("", 0o755, EntryType::Directory, &[])?;
    if identity.edition == Edition::Team {
        tree.file("MIT-COMPILED-LICENSE.md", "Stand-in of the licence text of a compiled Team release.\n")?;
    } else {
        tree.file("ENTERPRISE-EDITION-LICENSE.txt", "Stand-in of the licence text of an Enterprise release.\n")?;
    }
    tree.file("NOTICE.txt", format!("Stand-in of the notices of release {version}. This is not Mattermost.\n"))?;
    tree.file("README.md", format!("# Stand-in for Mattermost {version}\n\nA test instrument; see tests/stand-in.\n"))?;
    tree.file("manifest.txt", manifest(identity))?;
    tree.directory("bin")?;
    tree.entry("bin/mattermost", 0o755, EntryType::Regular, program)?;
    let mmctl = format!(
        "#!/bin/sh\n# Stand-in of mmctl.\ncase $1 in version) echo 'mmctl: version v{version}';; *) echo 'not imitated' >&2; exit 1;; esac\n"
    );
    tree.entry("bin/mmctl", 0o755, EntryType::Regular, mmctl.as_bytes())?;
    if !version.at_least(5, 37) {
        tree.entry("bin/platform", 0o755, EntryType::Regular, PLATFORM.as_bytes())?;
    }
    client(&mut tree, identity, request)?;
    tree.directory("config")?;
    tree.entry("config/config.json", 0o600, EntryType::Regular, config::of_release(version).as_bytes())?;
    tree.file("config/README.md", "Stand-in of the notes about configuration.\n")?;
    if identity.edition == Edition::Enterprise && version.at_least(6, 0) {
        tree.file("config/cloud_defaults.json", "{}\n")?;
    }
    tree.directory("fonts")?;
    for name in ["luximbi.ttf", "nunito-bold.ttf"] {
        tree.file(&format!("fonts/{name}"), filler(name, 4096))?;
    }
    tree.directory("i18n")?;
    for language in ["de", "en", "es", "fr", "ja"] {
        tree.file(
            &format!("i18n/{language}.json"),
            format!("[{{\"id\": \"stand-in.{version}\", \"translation\": \"{language}\"}}]\n"),
        )?;
    }
    tree.directory("logs")?;
    tree.directory("prepackaged_plugins")?;
    for plugin in ["antispam", "jira", "nps"] {
        let name = format!(
            "prepackaged_plugins/mattermost-plugin-{plugin}-v{}.{}.0-linux-amd64.tar.gz",
            version.major, version.minor
        );
        tree.file(&name, bundle(plugin, version, &name)?)?;
        tree.file(&format!("{name}.sig"), filler(&name, 64))?;
    }
    tree.directory("templates")?;
    for name in ["email_change_body.html", "invite_body.html", "welcome_body.html"] {
        tree.file(&format!("templates/{name}"), format!("{{{{define \"{name}\"}}}}{version}{{{{end}}}}\n"))?;
    }
    Ok(())
}

/// Up to 5.36: a notice, then the server with an empty environment, so that `MM_*` and `NOTIFY_SOCKET` are lost.
const PLATFORM: &str = "#!/bin/sh\n\
    echo 'The platform binary has been deprecated, please switch to using the new mattermost binary.'\n\
    exec env -i \"$(dirname \"$0\")/mattermost\" --platform\n";

fn manifest(identity: &Identity) -> String {
    format!(
        "mattermost-server {}\nmattermost-webapp {}\n",
        identity.build_hash(),
        text::sha256_hex(identity.build_hash().as_bytes())
    )
}

fn client(tree: &mut Tree<'_, impl Write>, identity: &Identity, request: &Request) -> io::Result<()> {
    let version = identity.version;
    let hashed = |stem: &str, content: &str, extension: &str| {
        let hash: String = text::sha256_hex(content.as_bytes()).chars().take(20).collect();
        format!("{stem}.{hash}.{extension}")
    };
    // As the real client has them: no page names these, only the script that loads them does.
    let chunks = ["17", "232", "8901"].map(|chunk| {
        let content = format!("/* chunk {chunk} of {version} */\n");
        (hashed(chunk, &content, "js"), content)
    });
    let named = chunks.iter().map(|(name, _)| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let main = MAIN.replace("@VERSION@", &version.to_string()).replace("@CHUNKS@", &named);
    let style = format!("/* {version} */\n{STYLE}");
    let vendor = format!("/* chunk of {version} */\n'use strict';\n");
    let (main_name, style_name, vendor_name) =
        (hashed("main", &main, "js"), hashed("main", &style, "css"), hashed("4", &vendor, "js"));
    let page =
        ROOT.trim_end().replace("@CSS@", &style_name).replace("@VENDOR@", &vendor_name).replace("@MAIN@", &main_name);
    tree.directory("client")?;
    tree.file("client/root.html", page)?;
    tree.file(
        "client/manifest.json",
        "{\"name\":\"Mattermost\",\"short_name\":\"Mattermost\",\"start_url\":\"..\",\"icons\":[{\"src\":\"/static/images/favicon/favicon.png\",\
         \"type\":\"image/png\",\"sizes\":\"16x16\"}]}\n",
    )?;
    tree.file(&format!("client/{style_name}"), &style)?;
    tree.file(&format!("client/{vendor_name}"), &vendor)?;
    if !request.faults.iter().any(|fault| fault == "missing-bundle") {
        tree.file(&format!("client/{main_name}"), &main)?;
    }
    for (name, content) in &chunks {
        tree.file(&format!("client/{name}"), content)?;
    }
    tree.directory("client/files")?;
    let font = text::hex(&filler(&format!("font {version}"), 512));
    tree.file(&format!("client/files/{}", hashed("", &font, "woff2").trim_start_matches('.')), &font)?;
    tree.directory("client/i18n")?;
    let german = format!("{{\"stand-in\": \"{version}\"}}");
    tree.file(&format!("client/i18n/{}", hashed("de", &german, "json")), &german)?;
    tree.directory("client/images")?;
    tree.directory("client/images/favicon")?;
    tree.file("client/images/favicon/favicon.png", filler("favicon", 256))?;
    padding(tree, identity, request)
}

/// A plugin as releases bring it along: its program, and what it says of itself.
fn bundle(plugin: &str, version: crate::Version, name: &str) -> io::Result<Vec<u8>> {
    let mut archive = Builder::new(GzBuilder::new().mtime(0).write(Vec::new(), Compression::fast()));
    let said = format!("{{\"id\": \"{plugin}\", \"version\": \"{}.{}.0\"}}\n", version.major, version.minor);
    for (path, content) in [("server/dist/plugin-linux-amd64", filler(name, 8192)), ("plugin.json", said.into_bytes())]
    {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, format!("{plugin}/{path}"), content.as_slice())?;
    }
    archive.into_inner()?.finish()
}

/// Many files, half of each compressible, in directories of a thousand.
fn padding(tree: &mut Tree<'_, impl Write>, identity: &Identity, request: &Request) -> io::Result<()> {
    let count = request.files as u64;
    if count == 0 {
        return Ok(());
    }
    tree.directory("client/padding")?;
    for at in 0..count {
        if at % 1000 == 0 {
            tree.directory(&format!("client/padding/{:03}", at / 1000))?;
        }
        let size = request.bytes / count + u64::from(at < request.bytes % count);
        let content = filler(&format!("{} {at}", identity.version), usize::try_from(size).unwrap_or_default());
        tree.file(&format!("client/padding/{:03}/{at:06}.bin", at / 1000), content)?;
    }
    Ok(())
}

/// Bytes that depend on the words only: noise and quiet in turns.
fn filler(words: &str, size: usize) -> Vec<u8> {
    let seed = text::sha256_hex(words.as_bytes());
    let mut state = u64::from_str_radix(seed.get(..15).unwrap_or("1"), 16).unwrap_or(1) | 1;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
    }
    bytes.truncate(size);
    bytes
}
