//! Archives that want to harm: each is made here, delivered with the digest that is trusted for it, and has to be
//! refused by name, with nothing of it in the cache. Sound archives of unusual make have to pass.

use std::io::Write as _;

use crate::fixture::{Place, Tar, add, add_raw, archive, complete, release, sha256, sound, written};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

const VERSION: &str = "10.6.1";

/// Runs the tool on an archive with its own digest and more flags; its exit code, its stderr, and what the cache has.
fn try_on(bytes: &[u8], flags: &[&str]) -> (Option<i32>, String, Vec<String>) {
    let place = Place::new();
    let mirror = place.mirror(&[(VERSION, bytes)]);
    let output = place.get(mirror.to_str().unwrap(), VERSION, &sha256(bytes)).args(flags).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap(), place.cached())
}

/// The archive is refused, the reason has these words, and what came is not where a release would be.
#[track_caller]
fn refused(what: &str, bytes: &[u8], words: &str) {
    let (code, said, cached) = try_on(bytes, &[]);
    assert_eq!(code, Some(5), "{what}: {said}");
    assert!(said.contains(words), "{what}: `{words}` is not in:\n{said}");
    assert!(cached.iter().all(|path| path.starts_with("refused/")), "{what}: {cached:?}");
}

/// A sound release and something more.
fn with(more: impl FnOnce(&mut Tar)) -> Vec<u8> {
    archive(|tar| {
        sound(tar);
        more(tar);
    })
}

fn file(tar: &mut Tar, path: &str) {
    add(tar, path, EntryType::Regular, 0o644, b"x");
}

fn link(tar: &mut Tar, path: &str, target: &str) {
    add_raw(tar, path.as_bytes(), EntryType::Symlink, 0o777, b"", target.as_bytes());
}

/// A tar archive as it is, inside gzip.
fn zipped(tar: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(tar).unwrap();
    gzip.finish().unwrap()
}

/// A sound release as a bare tar archive, without the blocks that end it.
fn bare() -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&with(|_| {})[..]), &mut bytes).unwrap();
    bytes.truncate(bytes.len() - 1024);
    bytes
}

/// Extended attributes for the next entry.
fn attributes(tar: &mut Tar, records: &str) {
    add(tar, "././@PaxHeader", EntryType::XHeader, 0o644, records.as_bytes());
}

/// One record, with its own length in front.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let length =
        (1..4).map(|digits| rest.len() + digits).find(|length| length.to_string().len() + rest.len() == *length);
    format!("{}{rest}", length.unwrap())
}

#[test]
fn names_that_lead_out_are_refused() {
    for (what, path) in [
        ("an absolute path", "/etc/cron.d/x"),
        ("a path with .. in front", "../etc/x"),
        ("a path with .. inside", "mattermost/../../etc/x"),
        ("a path with .. that stays inside", "mattermost/bin/../x"),
        ("a path that ends in ..", "mattermost/.."),
        ("a path with . inside", "mattermost/./x"),
        ("a path with an empty part", "mattermost//etc/x"),
        ("a path that is two slashes", "//"),
    ] {
        refused(what, &with(|tar| file(tar, path)), "the release archive");
    }
}

#[test]
fn names_that_deceive_are_refused() {
    refused(
        "a name that is not UTF-8",
        &with(|tar| add_raw(tar, b"mattermost/\xff", EntryType::Regular, 0o644, b"", b"")),
        "not UTF-8",
    );
    refused("a line break in a name", &with(|tar| file(tar, "mattermost/a\nb")), "control characters");
    refused("an escape sequence in a name", &with(|tar| file(tar, "mattermost/\x1b[2J")), "control characters");
    let long = format!("mattermost/{}", "d".repeat(256));
    let long_name = with(|tar| {
        add(tar, "././@LongLink", EntryType::GNULongName, 0o644, long.as_bytes());
        file(tar, "mattermost/x");
    });
    refused("a name no file system takes", &long_name, "too long");
}

#[test]
fn what_is_outside_of_the_one_top_directory_is_refused() {
    refused("two top directories", &with(|tar| file(tar, "other/x")), "more than one top directory");
    refused("a file beside the top directory", &with(|tar| file(tar, "x")), "not below a top directory");
    refused(
        "a link in the place of the top directory",
        &archive(|tar| {
            link(tar, "mattermost", "/etc");
            sound(tar);
        }),
        "not below a top directory",
    );
}

#[test]
fn links_that_lead_out_are_refused() {
    for (what, target, words) in [
        ("an absolute link", "/etc/shadow", "relative path"),
        ("a link up and out", "../../etc/shadow", "leaves the release"),
        ("a link down, up and out", "bin/../../etc", "leaves the release"),
        ("a link to nothing", "nowhere", "leads to nothing"),
        ("a link to itself", "link", "another link"),
        ("a link without a target", "", "has no target"),
        ("a link with an escape sequence", "bin/\x1b[2J", "relative path"),
    ] {
        refused(what, &with(|tar| link(tar, "mattermost/link", target)), words);
    }
    let chain = with(|tar| {
        link(tar, "mattermost/bin/up", "..");
        link(tar, "mattermost/out", "bin/up/..");
    });
    refused("two links that lead out together", &chain, "another link");
    let bytes = with(|tar| add_raw(tar, b"mattermost/link", EntryType::Symlink, 0o777, b"", b"bin/\xff"));
    refused("a target that is not UTF-8", &bytes, "not UTF-8");
}

#[test]
fn writing_through_a_link_or_a_file_is_refused() {
    let through = with(|tar| {
        link(tar, "mattermost/data", "bin");
        file(tar, "mattermost/data/x");
    });
    refused("an entry through a link", &through, "through a symlink");
    let below = with(|tar| file(tar, "mattermost/bin/mattermost/x"));
    refused("a file in the place of a directory", &below, "also a directory");
    let over = with(|tar| {
        file(tar, "mattermost/new/x");
        link(tar, "mattermost/new", "bin");
    });
    refused("a link over a directory", &over, "there twice");
    refused("an entry twice", &with(|tar| file(tar, "mattermost/client/root.html")), "there twice");
    let again = with(|tar| add(tar, "mattermost/bin/", EntryType::Directory, 0o755, b""));
    refused("a directory twice", &again, "there twice");
}

#[test]
fn other_kinds_of_entries_are_refused() {
    for (what, kind, words) in [
        ("a character device", EntryType::Char, "device"),
        ("a block device", EntryType::Block, "device"),
        ("a fifo", EntryType::Fifo, "fifo"),
        ("a sparse file", EntryType::GNUSparse, "sparse"),
        ("a contiguous file", EntryType::Continuous, "unknown kind"),
        ("a global header", EntryType::XGlobalHeader, "unknown kind"),
        ("a volume label", EntryType::new(b'V'), "unknown kind"),
        ("a continuation of another volume", EntryType::new(b'M'), "unknown kind"),
        ("a kind of a vendor's own", EntryType::new(b'Z'), "unknown kind"),
    ] {
        refused(what, &with(|tar| add(tar, "mattermost/odd", kind, 0o644, b"")), words);
    }
    let hard = with(|tar| add_raw(tar, b"mattermost/odd", EntryType::Link, 0o644, b"", b"mattermost/bin/mattermost"));
    refused("a hard link", &hard, "hard link");
    let outside = with(|tar| add_raw(tar, b"mattermost/odd", EntryType::Link, 0o644, b"", b"/etc/shadow"));
    refused("a hard link out", &outside, "hard link");
    let heavy = with(|tar| add(tar, "mattermost/odd/", EntryType::Directory, 0o755, b"contents"));
    refused("a directory with contents", &heavy, "has contents");
    let named = with(|tar| add(tar, "mattermost/odd/", EntryType::Regular, 0o644, b""));
    refused("a file with the name of a directory", &named, "name of a directory");
}

#[test]
fn privileges_are_refused() {
    for mode in [0o4755, 0o2755, 0o6755] {
        let bytes = with(|tar| add(tar, "mattermost/bin/helper", EntryType::Regular, mode, b"x"));
        refused(&format!("a file with mode {mode:o}"), &bytes, "set-uid or set-gid");
    }
}

#[test]
fn sizes_beyond_the_limits_are_refused() {
    let bytes = with(|tar| {
        for number in 0..20 {
            add(tar, &format!("mattermost/client/{number}"), EntryType::Regular, 0o644, &[0; 1000]);
        }
    });
    for (flag, value, words) in [
        ("--max-entries", "15", "more than 15 entries"),
        ("--max-file-bytes", "999", "the limit is 999"),
        ("--max-unpacked-bytes", "15000", "more than 15000 bytes"),
    ] {
        let (code, said, cached) = try_on(&bytes, &[flag, value]);
        assert_eq!(code, Some(5), "{flag}: {said}");
        assert!(said.contains(words), "{flag}: {said}");
        assert!(cached.iter().all(|path| path.starts_with("refused/")), "{flag}: {cached:?}");
    }
    assert_eq!(try_on(&bytes, &["--max-entries", "100", "--max-file-bytes", "1000"]).0, Some(0));
}

#[test]
fn a_bomb_does_not_go_off() {
    // 64 GB of zeros as the header says; the file has a few hundred bytes.
    let bytes = with(|tar| {
        let mut header = Header::new_gnu();
        header.set_path("mattermost/bomb").unwrap();
        header.set_entry_type(EntryType::Regular);
        header.set_size(64 << 30);
        header.set_mode(0o644);
        header.set_cksum();
        tar.get_mut().write_all(header.as_bytes()).unwrap();
    });
    refused("a file of 64 GB", &bytes, "the limit is");
    let name = vec![b'a'; 1_000_000];
    let long = with(|tar| add(tar, "././@LongLink", EntryType::GNULongName, 0o644, &name));
    refused("a name of a megabyte", &long, "1000000 bytes");
    let deep = with(|tar| {
        for number in 0..20 {
            let path = format!("mattermost/{number}/{}", "d/".repeat(1500));
            add(tar, "././@LongLink", EntryType::GNULongName, 0o644, path.as_bytes());
            add(tar, "mattermost/x", EntryType::Directory, 0o755, b"");
        }
    });
    refused("directories in directories in directories", &deep, "the names in it");
    let mut endless = bare();
    endless.resize(endless.len() + 4 * 1024 * 1024, 0);
    refused("zeros without end", &zipped(&endless), "too many zeros");
}

#[test]
fn extended_attributes_that_change_what_an_entry_is_are_refused() {
    for (what, records, words) in [
        ("a size", record("size", "1"), "attribute `size`"),
        ("a sparse map", record("GNU.sparse.map", "0,1"), "attribute `GNU.sparse.map`"),
        ("a capability", record("SCHILY.xattr.security.capability", "x"), "attribute `SCHILY"),
        ("a path that leads out", record("path", "../x"), "`..`"),
        ("two paths", record("path", "mattermost/a") + &record("path", "mattermost/b"), "names an entry twice"),
        ("a link that leads out", record("linkpath", "/etc"), "relative path"),
        ("a broken record", "nonsense".to_owned(), "broken extended attributes"),
        ("a record with a wrong length", "99 path=x\n".to_owned(), "broken extended attributes"),
        ("a record without a value", record("path", "x").replace('=', "-"), "broken extended attributes"),
    ] {
        let bytes = with(|tar| {
            attributes(tar, &records);
            link(tar, "mattermost/odd", "bin");
        });
        refused(what, &bytes, words);
    }
    refused("attributes of nothing", &with(|tar| attributes(tar, &record("mtime", "1"))), "after an extension header");
}

#[test]
fn damaged_archives_are_refused() {
    let whole = release(1, 100_000);
    refused("a gzip file that ends early", &whole[..whole.len() - 20], "truncated");
    refused("a gzip file without its check sum", &whole[..whole.len() - 4], "release archive");
    refused("something after the gzip data", &[&whole[..], b"garbage"].concat(), "follows after the end");
    refused("a second gzip file behind the first", &[&whole[..], &whole[..]].concat(), "follows after the end");
    let mut flipped = whole.clone();
    flipped[50_000] ^= 0x10;
    refused("a flipped bit", &flipped, "release archive");
    refused("no archive at all", &zipped(b"hello"), "truncated");
    refused("an empty file in gzip", &zipped(b""), "truncated");
    refused("not gzip", b"PK\x03\x04 a zip file", "damaged");

    let tar = bare();
    refused("a tar archive without an end", &zipped(&tar), "truncated");
    refused("a tar archive with half an end", &zipped(&[&tar[..], &[0; 512]].concat()), "truncated");
    refused("a tar archive cut inside a file", &zipped(&tar[..tar.len() - 300]), "");
    let after = [&tar[..], &[0; 1024], b"garbage"].concat();
    refused("something after the end of the tar archive", &zipped(&after), "after the end of the tar archive");
    let second = [&tar[..], &[0; 1024], &tar[..]].concat();
    refused("a second tar archive behind the first", &zipped(&second), "after the end of the tar archive");
    let mut header = tar.clone();
    header[512 + 100] ^= 1;
    refused("a damaged header", &zipped(&header), "checksum is wrong");
}

#[test]
fn what_is_not_a_release_of_the_server_is_refused() {
    let empty = archive(|tar| add(tar, "mattermost/", EntryType::Directory, 0o755, b""));
    refused("an empty directory", &empty, "bin/mattermost");
    let plugin = archive(|tar| file(tar, "plugin/plugin.json"));
    refused("a plugin", &plugin, "bin/mattermost");
    let nested = archive(|tar| file(tar, "dist/mattermost/bin/mattermost"));
    refused("a release one directory too deep", &nested, "bin/mattermost");
    let only = |mode: u32, data: &'static [u8]| {
        archive(move |tar| add(tar, "mattermost/bin/mattermost", EntryType::Regular, mode, data))
    };
    refused("a server that cannot be run", &only(0o644, b"x"), "not an executable file");
    refused("an empty server", &only(0o755, b""), "not an executable file");
    refused("a server without a web client", &only(0o755, b"x"), "`client`");
    let directory = archive(|tar| add(tar, "mattermost/bin/mattermost/", EntryType::Directory, 0o755, b""));
    refused("a directory in the place of the server", &directory, "not an executable file");
}

#[test]
fn sound_archives_of_unusual_make_pass() {
    let pass = |what: &str, bytes: &[u8]| {
        let (code, said, cached) = try_on(bytes, &[]);
        assert_eq!(code, Some(0), "{what}: {said}");
        assert_eq!(cached, complete(VERSION, bytes), "{what}");
    };
    let attributed = with(|tar| {
        attributes(tar, &(record("mtime", "1700000000.5") + &record("path", "mattermost/a name")));
        file(tar, "mattermost/x");
    });
    pass("a name in extended attributes", &attributed);
    pass("a link that stays inside", &with(|tar| link(tar, "mattermost/bin/platform", "mattermost")));
    let mut padded = bare();
    padded.resize(padded.len() + 20 * 512, 0);
    pass("padding up to a whole record", &zipped(&padded));

    // As `tar -C dist -cz .` makes it.
    let mut dotted = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    add(&mut dotted, "./", EntryType::Directory, 0o755, b"");
    for directory in ["", "bin/", "client/", "i18n/"] {
        add(&mut dotted, &format!("./mattermost/{directory}"), EntryType::Directory, 0o2775, b"");
    }
    add(&mut dotted, "./mattermost/bin/mattermost", EntryType::Regular, 0o775, b"the server");
    pass("paths with ./ in front", &dotted.into_inner().unwrap().finish().unwrap());
}

#[test]
fn the_hint_says_where_the_archive_was_put_and_what_not_to_do_with_it() {
    let bytes = with(|tar| link(tar, "mattermost/link", "/etc"));
    let place = Place::new();
    let mirror = place.mirror(&[(VERSION, &bytes)]);
    let assert = place.get(mirror.to_str().unwrap(), VERSION, &sha256(&bytes)).assert().code(5);
    let document = written(&assert);
    let hint = document["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("never install it") && hint.contains("NOT-A-RELEASE.REFUSED"), "{hint}");
    assert!(
        document["error"]["causes"].to_string().contains("mattermost/link")
            || document["error"]["causes"].to_string().contains("`link`"),
        "{document}"
    );
}
