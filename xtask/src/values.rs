//! Values that completions offer: releases of the catalogue, which are known when this is built, and restore points, which
//! the shell asks mm-backup for.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command};
use clap_complete::Shell;
use mm_common::Result;
use mm_common::mattermost::catalogue::Catalogue;

/// Verbs of mm-backup that take a restore point.
const TAKE_A_POINT: &str = "verify restore copy export unpin";

/// The command with what may be written for a flag. Only for completions: a tool takes more.
pub(crate) fn offered(tool: Command) -> Result<Command> {
    if tool.get_name() != "mm-path" {
        return Ok(tool);
    }
    let catalogue = Catalogue::embedded()?;
    let newest = catalogue.lines().filter_map(|line| catalogue.releases_of(line).next_back());
    let mut targets: Vec<String> = newest.map(|release| release.version.to_string()).collect();
    targets.extend(["latest-esr".to_owned(), "latest".to_owned()]);
    targets.reverse();
    let values = move |argument: Arg| argument.value_parser(PossibleValuesParser::new(targets.clone()));
    Ok(tool.mut_arg("to", values))
}

/// What a shell adds to the completions of a tool.
pub(crate) fn asked(name: &str, shell: Shell, text: &str) -> String {
    if name != "mm-backup" {
        return text.to_owned();
    }
    match shell {
        Shell::Bash => bash(text),
        Shell::Zsh => zsh(text),
        Shell::Fish => fish(text),
        _ => text.to_owned(),
    }
}

fn bash(text: &str) -> String {
    let own = format!(
        r#"
# Restore points, where a verb takes one: those of the store that is named, or of the host's own.
_mm__backup__points() {{
    _mm__backup "$@"
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} store=() verb='' at
    [[ $current != -* && $before != --* ]] || return 0
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${{COMP_WORDS[at]}} in --to | --store) store=(--to "${{COMP_WORDS[at + 1]}}") ;; esac
        [[ " {TAKE_A_POINT} " != *" ${{COMP_WORDS[at]}} "* ]] || verb=${{COMP_WORDS[at]}}
    done
    [ -n "$verb" ] || return 0
    COMPREPLY+=($(compgen -W "latest $(mm-backup list --document none --format human "${{store[@]}}" 2>/dev/null \
        | sed -n 's/^\([0-9]\{{8\}}T[^ ]*\) .*/\1/p')" -- "$current"))
}}

"#
    );
    match text.split_once("\nif [[ \"${BASH_VERSINFO[0]}\"") {
        Some((head, rest)) => {
            let rest = rest.replace("complete -F _mm__backup ", "complete -F _mm__backup__points ");
            format!("{head}{own}if [[ \"${{BASH_VERSINFO[0]}}\"{rest}")
        }
        None => text.to_owned(),
    }
}

fn zsh(text: &str) -> String {
    let own = r#"
# Restore points of the store that is named, or of the host's own.
(( $+functions[_mm-backup__points] )) ||
_mm-backup__points() {
    local -a store points
    (( ${+opt_args[--to]} )) && store=(--to ${(Q)opt_args[--to]})
    points=(latest ${(f)"$(mm-backup list --document none --format human $store 2>/dev/null | sed -n 's/^\([0-9]\{8\}T[^ ]*\) .*/\1/p')"})
    compadd -a points
}

"#;
    let text: Vec<String> = text
        .lines()
        .map(|line| {
            if line.trim_start().starts_with("':") && line.contains(":id -- ") {
                line.replace(":_default'", ":_mm-backup__points'")
            } else {
                line.to_owned()
            }
        })
        .collect();
    let text = text.join("\n") + "\n";
    match text.split_once("\n_mm-backup() {") {
        Some((head, rest)) => format!("{head}\n{own}_mm-backup() {{{rest}"),
        None => text,
    }
}

fn fish(text: &str) -> String {
    let points = r"(mm-backup list --document none --format human 2>/dev/null | string match -r '^[0-9]{8}T\S+')";
    format!("{text}complete -c mm-backup -n \"__fish_seen_subcommand_from {TAKE_A_POINT}\" -f -a \"latest {points}\"\n")
}
