//! INSERT statements with untyped literals, as the driver of the real server sends them: the column decides what a value becomes (varchar or jsonb), and a
//! column that is not there is PostgreSQL's complaint.

/// An INSERT in the making.
pub(crate) struct Insert {
    table: &'static str,
    columns: Vec<(&'static str, String)>,
    conflict: &'static str,
}

impl Insert {
    pub(crate) fn into(table: &'static str) -> Self {
        Self { table, columns: Vec::new(), conflict: "" }
    }

    pub(crate) fn text(mut self, column: &'static str, value: &str) -> Self {
        self.columns.push((column, quoted(value)));
        self
    }

    pub(crate) fn int(mut self, column: &'static str, value: i64) -> Self {
        self.columns.push((column, value.to_string()));
        self
    }

    pub(crate) fn bool(mut self, column: &'static str, value: bool) -> Self {
        self.columns.push((column, value.to_string()));
        self
    }

    pub(crate) fn null(mut self, column: &'static str) -> Self {
        self.columns.push((column, "NULL".to_owned()));
        self
    }

    /// Only when the condition holds (a column that the version writes).
    pub(crate) fn when(self, condition: bool, add: impl FnOnce(Self) -> Self) -> Self {
        if condition { add(self) } else { self }
    }

    /// Text after the values, such as `ON CONFLICT DO NOTHING`.
    pub(crate) fn on_conflict(mut self, clause: &'static str) -> Self {
        self.conflict = clause;
        self
    }

    pub(crate) fn sql(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        let values: Vec<&str> = self.columns.iter().map(|(_, value)| value.as_str()).collect();
        format!("INSERT INTO {} ({}) VALUES ({}) {};\n", self.table, names.join(", "), values.join(", "), self.conflict)
    }
}

/// A literal. PostgreSQL's text cannot hold a NUL.
pub(crate) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\0', "").replace('\'', "''"))
}
