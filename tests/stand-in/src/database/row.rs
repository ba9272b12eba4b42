//! A row, read as strictly as the real server reads: NULL where it wants a number or a truth value is an error that names the column.

use std::fmt;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// One row of a query: column names in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Row(pub(crate) Map<String, Value>);

/// NULL stood where the server reads a plain value. The text is the one that real servers log.
#[derive(Debug, Clone)]
pub(crate) struct NullError(String);

impl fmt::Display for NullError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Row {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match serde_json::from_str(text) {
            Ok(Value::Object(columns)) => Ok(Self(columns)),
            _ => Err(Error::new("a row that is not an object")),
        }
    }

    fn null(&self, column: &str, what: &str) -> NullError {
        let index = self.0.keys().position(|name| name == column).unwrap_or_default();
        NullError(format!("sql: Scan error on column index {index}, name \"{column}\": {what}"))
    }

    /// A number that must be there.
    pub(crate) fn int(&self, column: &str) -> std::result::Result<i64, NullError> {
        self.0
            .get(column)
            .and_then(Value::as_i64)
            .ok_or_else(|| self.null(column, "converting NULL to int64 is unsupported"))
    }

    /// A truth value that must be there.
    pub(crate) fn bool(&self, column: &str) -> std::result::Result<bool, NullError> {
        let missing = || self.null(column, "sql/driver: couldn't convert <nil> (<nil>) into type bool");
        self.0.get(column).and_then(Value::as_bool).ok_or_else(missing)
    }

    /// A number where the server tolerates NULL.
    pub(crate) fn int_or_zero(&self, column: &str) -> i64 {
        self.0.get(column).and_then(Value::as_i64).unwrap_or_default()
    }

    /// A truth value where the server tolerates NULL.
    pub(crate) fn is(&self, column: &str) -> bool {
        self.0.get(column).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(crate) fn text(&self, column: &str) -> &str {
        self.0.get(column).and_then(Value::as_str).unwrap_or_default()
    }

    /// NULL or a value, as it is.
    pub(crate) fn raw(&self, column: &str) -> Value {
        self.0.get(column).cloned().unwrap_or_default()
    }

    /// A JSON document, whether the column is text (before 6.0) or jsonb.
    pub(crate) fn document(&self, column: &str) -> Value {
        match self.0.get(column) {
            Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
            Some(other) => other.clone(),
            None => Value::Null,
        }
    }
}
