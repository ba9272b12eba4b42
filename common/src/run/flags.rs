//! What to say of a flag that a verb does not have.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

use crate::contract::near;

/// The next step after an unknown flag: the verb that has it, or the flag that may have been meant.
pub(super) fn hint(error: &Error, tool: &Command) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    let word = word.split('=').next().unwrap_or(word);
    let known = known(tool);
    let having = |flag: &str| {
        let of: Vec<&str> = known.iter().filter(|(_, known)| known == flag).map(|(of, _)| of.as_str()).collect();
        of.join(", ")
    };
    let of = having(word);
    if !of.is_empty() {
        return Some(format!("{word} is a flag of {of}"));
    }
    // What is near among the flags of this verb has been said.
    if error.get(ContextKind::SuggestedArg).is_some() {
        return None;
    }
    let near = near::nearest(word, known.iter().map(|(_, flag)| flag.as_str()))?;
    Some(format!("{near}, a flag of {}, may be meant", having(near)))
}

/// Every flag of the tool and its verbs, with whose it is.
fn known(tool: &Command) -> Vec<(String, String)> {
    let name = tool.get_name();
    let flags = |of: String, command: &Command| -> Vec<(String, String)> {
        let visible = command.get_arguments().filter(|argument| !argument.is_hide_set());
        visible.filter_map(|argument| Some((of.clone(), format!("--{}", argument.get_long()?)))).collect()
    };
    let mut all = flags(name.to_owned(), tool);
    for verb in tool.get_subcommands() {
        all.extend(flags(format!("{name} {}", verb.get_name()), verb));
    }
    all
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn a_flag_of_another_verb_and_a_mistyped_one_are_told() {
        let flag = |name: &'static str| Arg::new(name).long(name).num_args(0);
        let tool = Command::new("mm-x")
            .arg(flag("stop"))
            .subcommand(Command::new("undo").arg(flag("database")))
            .subcommand(Command::new("list"));
        let said = |words: &[&str]| {
            let error = tool.clone().try_get_matches_from(words).unwrap_err();
            hint(&error, &tool)
        };
        assert_eq!(said(&["mm-x", "list", "--database"]).as_deref(), Some("--database is a flag of mm-x undo"));
        assert_eq!(
            said(&["mm-x", "list", "--databse=1"]).as_deref(),
            Some("--database, a flag of mm-x undo, may be meant")
        );
        assert_eq!(said(&["mm-x", "undo", "--databse"]), None, "clap has said it");
        assert_eq!(said(&["mm-x", "list", "--nothing-like-it"]), None);
        assert_eq!(said(&["mm-x", "unknown"]), None);
    }
}
