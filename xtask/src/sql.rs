//! Reads the SQL that stands in the sources of the tools, and says where a name of PostgreSQL's own is not qualified.
//!
//! Whoever may create a function or a type in a schema of the search path can have one of his own found by a bare name,
//! also where `pg_catalog` comes first: the function whose argument types fit better is taken. So functions, types and
//! relations of PostgreSQL are written with `pg_catalog.`. Tables of the server are not: where they are is for the search
//! path of its role to say. Operators are not either; a superuser's session has a search path without anybody's schema.

use std::path::Path;

use mm_common::machine::files;
use mm_common::{Error, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A source file is not larger than this.
const MOST: u64 = 1024 * 1024;

/// What is written like a function and is none: the grammar has it, and it is always PostgreSQL's own.
const GRAMMAR: [&str; 9] =
    ["cast", "coalesce", "extract", "greatest", "least", "nullif", "overlay", "position", "trim"];

/// Types that are words of the grammar; all others are looked for in the search path.
const TYPES: [&str; 12] = [
    "bigint",
    "bit",
    "boolean",
    "char",
    "character",
    "double",
    "int",
    "integer",
    "interval",
    "numeric",
    "smallint",
    "timestamp",
];

/// Words that stand before a name with a list of columns, which looks like a call.
const BEFORE_COLUMNS: [&str; 4] = ["AS", "INTO", "TABLE", "WITH"];

/// Schemas are what names are qualified with.
const SCHEMAS: [&str; 3] = ["pg_catalog", "pg_temp", "pg_toast"];

/// A text is SQL when it has one of these words in capitals, which prose has not, has a cast, or calls a function of PostgreSQL's.
const WORDS: [&str; 17] = [
    "SELECT", "FROM", "WHERE", "JOIN", "EXISTS", "INSERT", "INTO", "UPDATE", "DELETE", "VALUES", "AND", "CASE", "IS",
    "LIKE", "ORDER", "GROUP", "HAVING",
];

/// A name that is not qualified.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    name: String,
}

/// Looks at all sources of the tools.
///
/// # Errors
/// Failed with every finding in it, and when there is no SQL at all.
pub(crate) fn check(root: &Path) -> Result<()> {
    let (mut found, mut texts) = (Vec::new(), 0);
    for path in &sources(root)? {
        let (findings, count) = read(&files::read_text(path, MOST)?)
            .map_err(|error| Error::failed(format!("cannot read `{}`", path.display())).because(error))?;
        texts += count;
        let name = path.strip_prefix(root).unwrap_or(path).display();
        found.extend(findings.iter().map(|finding| format!("{name}:{}: {}", finding.line, finding.name)));
    }
    if texts == 0 {
        return Err(Error::failed("the sources have no SQL"));
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!("names in SQL without `pg_catalog.`:\n{}", found.join("\n"))))
}

/// The sources of the tools.
///
/// # Errors
/// When a directory cannot be read.
pub(crate) fn sources(root: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut sources = Vec::new();
    for directory in ["common/src", "tools"] {
        collect(&root.join(directory), &mut sources)?;
    }
    Ok(sources)
}

fn collect(directory: &Path, into: &mut Vec<std::path::PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(directory).map_err(|error| Error::io("read", directory, error))?;
    for entry in entries {
        let path = entry.map_err(|error| Error::io("read", directory, error))?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// What is found in a source, and how many texts of it are SQL.
fn read(source: &str) -> std::result::Result<(Vec<Finding>, usize), proc_macro2::LexError> {
    let mut texts = texts(source)?;
    texts.retain(|(_, text)| is_sql(text));
    let names = |(line, text): &(usize, String)| {
        let line = *line;
        unqualified(text).into_iter().map(move |name| Finding { line, name })
    };
    Ok((texts.iter().flat_map(names).collect(), texts.len()))
}

/// The texts of a source with the lines they begin on.
///
/// # Errors
/// When it is no Rust.
pub(crate) fn texts(source: &str) -> std::result::Result<Vec<(usize, String)>, proc_macro2::LexError> {
    let mut texts = Vec::new();
    literals(source.parse()?, &mut texts);
    Ok(texts)
}

/// The texts of a source with the lines they begin on, but for comments and the modules of unit tests.
fn literals(tokens: TokenStream, into: &mut Vec<(usize, String)>) {
    let mut tokens = tokens.into_iter().peekable();
    let mut is_test = false;
    while let Some(token) = tokens.next() {
        match token {
            // An attribute: documentation is one, too.
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                tokens.next_if(|token| token.to_string() == "!");
                if let Some(TokenTree::Group(group)) = tokens.next() {
                    is_test |= group.stream().to_string().replace(' ', "") == "cfg(test)";
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => is_test = false,
            TokenTree::Group(group) => {
                if !is_test {
                    literals(group.stream(), into);
                }
                is_test &= group.delimiter() != Delimiter::Brace;
            }
            TokenTree::Literal(literal) => {
                let line = literal.span().start().line;
                if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                    into.push((line, text.value()));
                }
            }
            _ => {}
        }
    }
}

/// Prose quotes statements in backticks.
fn is_sql(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_call = |word: &str| {
        ["pg_", "current_"].iter().any(|start| word.starts_with(start)) && text.contains(&format!("{word}("))
    };
    let is_cast = text.match_indices("::").any(|(at, _)| text[at + 2..].starts_with(|c: char| c.is_ascii_lowercase()));
    !text.contains('`') && (is_cast || words.any(|word| WORDS.contains(&word) || is_call(word)))
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// What stands between `'`.
    Text(String),
    Cast,
    /// A parenthesis at the end of a word; of prose it has a space before it.
    Call,
    Other(char),
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = sql.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' => {
                let mut text = String::new();
                while let Some(c) = rest.next() {
                    if c == '\'' && rest.next_if_eq(&'\'').is_none() {
                        break;
                    }
                    text.push(c);
                }
                found.push(Token::Text(text));
            }
            ':' if rest.next_if_eq(&':').is_some() => found.push(Token::Cast),
            // A comment of SQL's, and a command of psql's, which ends with its line.
            '-' if rest.peek() == Some(&'-') => while rest.next_if(|c| *c != '\n').is_some() {},
            '\\' => while rest.next_if(|c| *c != '\n').is_some() {},
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                found.push(Token::Word(word));
                if rest.next_if_eq(&'(').is_some() {
                    found.push(Token::Call);
                }
            }
            c if c.is_whitespace() => {}
            c => found.push(Token::Other(c)),
        }
    }
    found
}

/// Whether what follows the parenthesis after a name makes it that of a query: `WITH a (x, y) AS (SELECT ...)`. A call whose
/// rows are given columns goes on with those (`f(x) AS (y int)`).
fn names_columns(after: &[Token]) -> bool {
    let Some(end) = after.iter().position(|token| !matches!(token, Token::Word(_) | Token::Other(','))) else {
        return false;
    };
    match &after[end..] {
        [Token::Other(')'), Token::Word(word), Token::Other('('), next, ..] if word == "AS" => {
            matches!(next, Token::Other('{')) || matches!(next, Token::Word(word) if word == "SELECT")
        }
        _ => false,
    }
}

/// The names in a statement, or a part of one, that are looked for in the search path.
fn unqualified(sql: &str) -> Vec<String> {
    let tokens = tokens(sql);
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| tokens.get(index));
        let after = tokens.get(index + 1);
        match token {
            // A name for a cast (`'pg_class'::regclass`), or a statement that psql runs later.
            Token::Text(text) if after == Some(&Token::Cast) && text.starts_with("pg_") || is_sql(text) => {
                found.extend(unqualified(text));
            }
            Token::Word(word) if before != Some(&Token::Other('.')) => {
                let is_placeholder = before == Some(&Token::Other('{'));
                let is_schema = after == Some(&Token::Other('.')) || SCHEMAS.contains(&word.as_str());
                let is_lower = word.contains(|c: char| c.is_ascii_lowercase());
                let is_call = after == Some(&Token::Call)
                    && before != Some(&Token::Cast)
                    && !GRAMMAR.contains(&word.as_str())
                    && !matches!(before, Some(Token::Word(word)) if BEFORE_COLUMNS.contains(&word.as_str()));
                let is_call = is_call && !names_columns(&tokens[index + 2..]);
                let is_type = before == Some(&Token::Cast) && !TYPES.contains(&word.as_str());
                if is_lower && !is_placeholder && !is_schema && (is_call || is_type || word.starts_with("pg_")) {
                    found.push(word.clone());
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_search_path_would_be_asked_for_are_found() {
        for (sql, names) in [
            ("SELECT count(*) FROM posts", &["count"][..]),
            ("SELECT pg_catalog.count(*) FROM pg_class c", &["pg_class"]),
            ("SELECT a::text, b::int, CAST(c AS bigint), d::pg_catalog.text FROM t", &["text"]),
            ("SELECT 'pg_class'::pg_catalog.regclass, 'pg_catalog.pg_class'::pg_catalog.regclass", &["pg_class"]),
            ("SELECT pg_catalog.format('SELECT max(id) FROM %I', x)", &["max"]),
            ("SELECT CASE WHEN true THEN $$ SELECT now() $$ END \\gexec", &["now"]),
            ("INSERT INTO t (a) SELECT coalesce(f.a, 'f(x)') FROM {source}({x}) AS f(a) -- now()\n", &[]),
            ("WITH x(a, b) AS (SELECT 1, 2), y(a) AS ({more}) SELECT FROM x, y", &[]),
            ("SELECT FROM json_to_record(a) AS (b int)", &["json_to_record"]),
            ("SELECT extract(epoch FROM pg_catalog.now()) FROM information_schema.columns WHERE a IN (1)", &[]),
        ] {
            assert_eq!(unqualified(sql), names, "{sql}");
        }
    }

    #[test]
    fn only_sql_of_the_tools_is_read() {
        let source = "//! SELECT now()\n/// SELECT now()\nfn f() { q(\"see sd_booted(3)\");\n g!(r#\"SELECT now()\"#) }\n\
            #[cfg(test)]\nmod tests { const A: &str = \"SELECT now()\"; }\nconst B: &str = \"SELECT \\\n  now()\";";
        let (findings, texts) = read(source).unwrap();
        assert_eq!(texts, 2);
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [4, 7]);
    }
}
