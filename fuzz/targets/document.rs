//! The document on standard input: whatever it is, no panic; what is a document is written as it was read, unknown keys in
//! their order, and every section of it is either of its shape or refused as a broken document.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mm_common::Result;
use mm_common::contract::document::Document;
use mm_common::contract::sections::{Backup, Failure, Fetch, Path, Pgbump, Run, Site, Swap, Verify};

fuzz_target!(|text: &[u8]| {
    let Ok(mut document) = Document::parse(text, "here") else { return };
    let written = document.to_json();
    let again = Document::parse(written.as_bytes(), "here").expect("what was written reads");
    assert_eq!(again, document);
    assert_eq!(again.to_json(), written);
    shaped(document.section::<Run>("run"));
    shaped(document.section::<Site>("site"));
    shaped(document.section::<Path>("path"));
    shaped(document.section::<Fetch>("fetch"));
    shaped(document.section::<Backup>("backup"));
    shaped(document.section::<Pgbump>("pgbump"));
    shaped(document.section::<Swap>("swap"));
    shaped(document.section::<Verify>("verify"));
    shaped(document.section::<Failure>("error"));
    document.report(true, false, "fuzzed");
    assert_eq!(document.get("changed").and_then(serde_json::Value::as_bool), Some(true));
});

fn shaped<T>(section: Result<Option<T>>) {
    if let Err(error) = section {
        assert_eq!(error.code(), 65);
    }
}
