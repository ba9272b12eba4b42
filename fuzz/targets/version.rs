//! Versions, lines and ranges as people and releases write them: no panic, and what is read is written as it was meant.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mm_common::contract::version;
use mm_common::mattermost::catalogue::{Line, Range};

fuzz_target!(|text: &str| {
    if let Ok(read) = version::parse(text) {
        assert_eq!(version::parse(&read.to_string()).expect("what was written reads"), read);
        let line = Line::of(&read);
        assert!(line.first() <= line.next(), "{line}");
        assert_eq!(version::line(&read).parse::<Line>().expect("what was written reads"), line);
    }
    if let Ok(line) = text.parse::<Line>() {
        assert_eq!(line.to_string().parse::<Line>(), Ok(line));
        let _ = (line.first(), line.next());
    }
    let _ = serde_json::from_value::<Range>(text.into());
});
