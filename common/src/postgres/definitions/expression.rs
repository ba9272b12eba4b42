//! Expressions as PostgreSQL writes them. Once it has read its own text, as a restore or an upgrade makes it do, it writes
//! some of them otherwise (observed from 13 to 15, and within each): the cast of an array becomes that of each of its
//! elements, and a conjunction within a conjunction becomes part of that. Both forms are here made the later one, which
//! means the same.

use super::levelled::quoted;

/// A piece of an expression.
enum Item {
    /// A word, a literal, a quoted name, or a character.
    Text(String),
    /// What stands in brackets, by what it is joined (`AND` or `OR`), and the elements when it is an array.
    Group { inner: String, joined: Option<&'static str>, elements: Option<Vec<String>> },
    /// What stands in square brackets, without its commas.
    Square(Vec<String>),
}

impl Item {
    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Text(text) if text == word)
    }

    fn is_space(&self) -> bool {
        matches!(self, Self::Text(text) if text.trim().is_empty())
    }

    fn written(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Group { inner, .. } => format!("({inner})"),
            Self::Square(elements) => format!("[{}]", elements.join(", ")),
        }
    }
}

/// A text whose expressions are written as they are after they have been read once more. Literals and quoted names stay.
pub(super) fn settled(text: &str) -> String {
    // What is open: the bracket, and the pieces before it.
    let mut open: Vec<(char, Vec<Item>)> = Vec::new();
    let mut items = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = length(rest, first);
        let (piece, after) = rest.split_at(length);
        rest = after;
        let closes = |bracket| open.last().is_some_and(|(last, _)| *last == bracket);
        match first {
            '(' | '[' => open.push((first, std::mem::take(&mut items))),
            ')' if closes('(') => {
                let (_, before) = open.pop().unwrap_or_default();
                let group = group(&std::mem::replace(&mut items, before));
                match cast_of_array(&group, rest) {
                    Some((array, after)) => {
                        items.extend([Item::Text("ARRAY".into()), array]);
                        rest = after;
                    }
                    None => items.push(group),
                }
            }
            ']' if closes('[') => {
                let (_, before) = open.pop().unwrap_or_default();
                let inside = std::mem::replace(&mut items, before);
                let element = |part: &[Item]| joined(part, None).trim().to_owned();
                items.push(Item::Square(inside.split(|item| item.is(",")).map(element).collect()));
            }
            _ => items.push(Item::Text(piece.to_owned())),
        }
    }
    // Brackets that nothing closes are no expression's.
    let mut whole = String::new();
    for (bracket, before) in open {
        whole.push_str(&joined(&before, None));
        whole.push(bracket);
    }
    whole + &joined(&items, None)
}

/// How long the piece at the beginning is.
fn length(rest: &str, first: char) -> usize {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    match first {
        '\'' | '"' => quoted(rest, first),
        c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
        c => c.len_utf8(),
    }
}

fn group(items: &[Item]) -> Item {
    let by = |word: &str| items.iter().any(|item| item.is(word));
    let connective = match (by("AND"), by("OR")) {
        (true, false) => Some("AND"),
        (false, true) => Some("OR"),
        _ => None,
    };
    let said: Vec<&Item> = items.iter().filter(|item| !item.is_space()).collect();
    let elements = match said.as_slice() {
        [array, Item::Square(elements)] if array.is("ARRAY") => Some(elements.clone()),
        _ => None,
    };
    Item::Group { inner: joined(items, connective), joined: connective, elements }
}

/// The pieces as one text; those that are joined by `connective` in what is joined by it, too, without their brackets.
fn joined(items: &[Item], connective: Option<&'static str>) -> String {
    let is_end = |item: Option<&Item>| item.is_none_or(|item| connective.is_some_and(|word| item.is(word)));
    let mut text = String::new();
    for (index, item) in items.iter().enumerate() {
        match item {
            Item::Group { inner, joined, .. }
                if connective.is_some()
                    && *joined == connective
                    && is_end(items[..index].iter().rev().find(|item| !item.is_space()))
                    && is_end(items[index + 1..].iter().find(|item| !item.is_space())) =>
            {
                text.push_str(inner);
            }
            _ => text.push_str(&item.written()),
        }
    }
    text
}

/// The array `(ARRAY[a, b])` with the cast `::type[]` that follows it given to each element, and what stands behind that.
fn cast_of_array<'a>(group: &Item, rest: &'a str) -> Option<(Item, &'a str)> {
    let Item::Group { elements: Some(elements), .. } = group else { return None };
    let cast = rest.strip_prefix("::")?;
    let end = cast.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ' ' | '.')))?;
    let after = cast[end..].strip_prefix("[]").filter(|after| !after.starts_with('['))?;
    let elements = elements.iter().map(|element| format!("({element})::{}", &cast[..end])).collect();
    Some((Item::Square(elements), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_otherwise_after_it_was_read_is_the_same() {
        for (first, then) in [
            (
                "CHECK (((val)::text = ANY ((ARRAY['a(]'::character varying, 'b, ''c'::character varying])::text[])))",
                "CHECK (((val)::text = ANY (ARRAY[('a(]'::character varying)::text, ('b, ''c'::character varying)::text])))",
            ),
            (
                " WHERE (((n >= 1) AND (n <= 5)) AND (NOT (a AND b)) AND (x OR y))",
                " WHERE ((n >= 1) AND (n <= 5) AND (NOT (a AND b)) AND (x OR y))",
            ),
            ("(((a) OR (b)) OR (c))", "((a) OR (b) OR (c))"),
        ] {
            assert_eq!(settled(first), then);
            assert_eq!(settled(then), then);
        }
    }

    #[test]
    fn what_means_something_else_stays() {
        for text in [
            "(a AND (b OR c))",
            "((a AND b) OR c)",
            "(NOT (a AND b) AND c)",
            "((x)::text = 'a'::text)",
            "'((a AND b) AND c)' \"((a AND b) AND c)\"",
            "SELECT (ARRAY[1, 2])[1], '{}'::text[], (ARRAY[1])::numeric(4,2)[]",
            "an open ( one ] and ) another [ (a",
            "",
        ] {
            assert_eq!(settled(text), text);
        }
    }
}
