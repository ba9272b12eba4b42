//! The C library of this host, which releases of Mattermost need from 12.0 on. Read in its file: no program is run for it.

use std::path::{Path, PathBuf};

use mm_common::machine::files;
use mm_common::mattermost::catalogue::Dotted;

/// Where it is when this program did not bring it into memory itself: Debian, Red Hat, Arch.
const PLACES: [&str; 6] = [
    "lib/x86_64-linux-gnu/libc.so.6",
    "lib/aarch64-linux-gnu/libc.so.6",
    "lib64/libc.so.6",
    "usr/lib64/libc.so.6",
    "usr/lib/libc.so.6",
    "lib/libc.so.6",
];

/// What the library says of itself: `GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.`
const NAME: &[u8] = b"GNU C Library";
const VERSION: &[u8] = b"release version ";

/// So far behind its name, in bytes, does its version stand: the distribution's own name is between them.
const REACH: usize = 200;

/// It has 2 MB.
const MOST: u64 = 64 * 1024 * 1024;

/// The version of the library that the host's loader gives to programs, this one among them. None where that cannot be
/// seen, or where the host has another library.
pub(crate) fn of_host() -> Option<Dotted> {
    let mut places = mapped().into_iter().chain(PLACES.map(|place| Path::new("/").join(place)));
    places.find_map(|place| of_file(&place))
}

/// The file that this program's own library was loaded from.
fn mapped() -> Option<PathBuf> {
    let maps = files::read_text(Path::new("/proc/self/maps"), MOST).ok()?;
    maps.lines().find_map(library_in).map(PathBuf::from)
}

/// The path of the library in a line of `maps`; older systems call the file `libc-2.31.so`.
fn library_in(line: &str) -> Option<&str> {
    let path = &line[line.find('/')?..];
    let name = path.rsplit('/').next()?;
    let is_numbered = name.strip_prefix("libc-2.").and_then(|rest| rest.strip_suffix(".so")).is_some();
    (name == "libc.so.6" || is_numbered).then_some(path)
}

fn of_file(path: &Path) -> Option<Dotted> {
    let resolved = std::fs::canonicalize(path).ok()?;
    in_text(&files::read(&resolved, MOST).ok()?)
}

fn in_text(bytes: &[u8]) -> Option<Dotted> {
    let find = |bytes: &[u8], words: &[u8]| bytes.windows(words.len()).position(|window| window == words);
    let mut rest = bytes;
    while let Some(at) = find(rest, NAME) {
        rest = &rest[at + NAME.len()..];
        let near = &rest[..rest.len().min(REACH)];
        if let Some(at) = find(near, VERSION) {
            let number: Vec<u8> = near[at + VERSION.len()..]
                .iter()
                .copied()
                .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
                .collect();
            return String::from_utf8(number).ok()?.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_the_library_says_of_itself() {
        let of = |text: &str| in_text(text.as_bytes()).map(|version| version.to_string());
        let debian =
            "\0glibc 2.36\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\nCopyright";
        assert_eq!(of(debian).as_deref(), Some("2.36"));
        assert_eq!(of("GNU C Library (GNU libc) stable release version 2.28.\n").as_deref(), Some("2.28"));
        assert_eq!(
            of("the GNU C Library manual\0GNU C Library development release version 2.41.9000.").as_deref(),
            Some("2.41.9000")
        );
        for none in ["", "GNU C Library", "GNU C Library stable release version x", "musl libc (x86_64)"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn the_library_of_this_program_is_found_among_what_is_mapped() {
        let line = "7f00-7f01 r--p 00000000 08:01 42                         /usr/lib/x86_64-linux-gnu/libc.so.6";
        assert_eq!(library_in(line), Some("/usr/lib/x86_64-linux-gnu/libc.so.6"));
        assert!(library_in("7f00-7f01 r--p 00000000 08:01 42   /lib/x86_64-linux-gnu/libc-2.31.so").is_some());
        for other in [
            "7f00-7f01 r--p 00000000 00:00 0",
            "7f r--p 0 0 4 /lib/libcrypto.so.3",
            "7f r--p 0 0 4 /lib/libc-client.so",
        ] {
            assert_eq!(library_in(other), None, "{other}");
        }
        // The tests run where there is one, as the tools do.
        assert!(mapped().is_some());
        assert_eq!(of_host(), of_file(&mapped().unwrap()));
        assert!(of_host().is_some_and(|version| version.major() == 2));
    }
}
