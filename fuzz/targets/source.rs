//! The data source: no panic; what is understood holds nothing that would break out of a line of the password file or
//! of libpq's environment, and is not printed with its password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mm_common::postgres::source::DataSource;

fuzz_target!(|text: &str| {
    match DataSource::parse(text) {
        Err(error) => assert_eq!(error.code(), 5),
        Ok(source) => {
            assert!(source.port > 0);
            let password = source.password.as_ref().map(mm_common::contract::secret::Secret::reveal);
            let texts = [Some(source.host.as_str()), Some(&source.user), Some(&source.database), password];
            let variables = source.environment.iter().map(|(_, value)| value.as_str());
            for value in texts.into_iter().flatten().chain(variables) {
                assert!(!value.contains(['\n', '\r', '\0']), "{value:?} does not fit on a line");
            }
            assert!(source.environment.iter().all(|(name, _)| name.starts_with("PG") && name != "PGPASSWORD"));
        }
    }
});
