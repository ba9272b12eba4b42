//! How names, digests, modes and times stand in a manifest. JSON knows text only; a file name is bytes.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use mm_common::contract::digest;
use serde::de::Unexpected;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A file name or path: a string, or `{"hex": "…"}` where it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(pub OsString);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Shape {
    Text(String),
    Bytes { hex: String },
}

impl Name {
    /// As a path.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// Its bytes: the order of entries is theirs.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<PathBuf> for Name {
    fn from(path: PathBuf) -> Self {
        Self(path.into_os_string())
    }
}

impl From<OsString> for Name {
    fn from(name: OsString) -> Self {
        Self(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_path().display().fmt(f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => Shape::Bytes { hex: digest::hex(self.as_bytes()) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Shape::deserialize(deserializer)? {
            Shape::Text(text) => Ok(Self(text.into())),
            Shape::Bytes { hex } => unhex(&hex)
                .map(|bytes| Self(OsString::from_vec(bytes)))
                .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&hex), &"hexadecimal digits")),
        }
    }
}

/// A SHA-256, kept as its 32 bytes: manifests of large installations are held in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// From 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        unhex(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&digest::hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"a SHA-256"))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Permission bits as people write them: `"0640"`.
pub(crate) mod octal {
    use super::{D1, Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(crate) fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{mode:04o}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        u32::from_str_radix(&text, 8).map_err(D1::custom)
    }
}

/// Times with nanoseconds, which a JSON number cannot hold.
pub(crate) mod time {
    use mm_common::machine::tree::Time;

    use super::{D1, Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{:09}", time.seconds, time.nanoseconds))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let (seconds, nanoseconds) = text.split_once('.').ok_or_else(|| D1::custom("a time has a point"))?;
        Ok(Time {
            seconds: seconds.parse().map_err(D1::custom)?,
            nanoseconds: nanoseconds.parse().map_err(D1::custom)?,
        })
    }
}

/// Extended attributes: an object of hexadecimal values.
pub(crate) mod xattrs {
    use std::collections::BTreeMap;

    use mm_common::contract::digest;

    use super::{D1, Deserialize, Deserializer, Serializer, unhex};

    #[expect(clippy::ptr_arg, reason = "serde hands over the field as it is")]
    pub(crate) fn serialize<S: Serializer>(all: &Vec<(String, Vec<u8>)>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(all.iter().map(|(name, value)| (name, digest::hex(value))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Vec<u8>)>, D::Error> {
        let all = BTreeMap::<String, String>::deserialize(deserializer)?;
        all.into_iter()
            .map(|(name, value)| unhex(&value).map(|value| (name, value)).ok_or_else(|| D1::custom("not hexadecimal")))
            .collect()
    }
}

use serde::de::Error as D1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_is_not_utf8_survives() {
        for bytes in [b"plain".to_vec(), vec![0xff, b'a', 0x80], "z\u{301}\n\"".as_bytes().to_vec()] {
            let name = Name(OsString::from_vec(bytes));
            let text = serde_json::to_string(&name).unwrap();
            assert_eq!(serde_json::from_str::<Name>(&text).unwrap(), name, "{text}");
        }
    }

    #[test]
    fn digests_and_odd_hexadecimal() {
        assert!(Digest::parse("abc").is_none());
        assert!(Digest::parse(&"zz".repeat(32)).is_none());
        assert_eq!(Digest::parse(&"0a".repeat(32)).unwrap().to_string(), "0a".repeat(32));
    }

    proptest! {
        #[test]
        fn any_name_and_digest_survives_the_manifest(bytes: Vec<u8>, digest: [u8; 32]) {
            let name = Name(OsString::from_vec(bytes));
            let text = serde_json::to_string(&name).unwrap();
            prop_assert_eq!(serde_json::from_str::<Name>(&text).unwrap(), name);
            let text = serde_json::to_string(&Digest(digest)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), Digest(digest));
        }
    }
}
