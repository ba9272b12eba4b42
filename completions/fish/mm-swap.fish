# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mm_swap_global_optspecs
    string join \n archive= private require-backup= no-backup no-start start-timeout= install= document= state-dir= dry-run service= stop-command= start-command= accept= lock-wait= v/verbose q/quiet format= h/help V/version
end

function __fish_mm_swap_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mm_swap_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mm_swap_using_subcommand
    set -l cmd (__fish_mm_swap_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mm-swap -n "__fish_mm_swap_needs_command" -l archive -d 'Install this release tarball instead of the one that the document names' -r -F
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l require-backup -d 'Let the restore point be up to AGE old (90m, 24h, 2d) [default: made in this hop]' -r
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l start-timeout -d 'Seconds a started server may take to get healthy, migrations included' -r
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l private -d 'Listen on a loopback port only and send neither mail nor push messages, until the next public start'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l no-backup -d 'Go without a restore point: a migrated database could not be put back'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l no-start -d 'Do not start the new server'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -s V -l version -d 'Print version'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -f -a "stage" -d 'Unpack the next release beside the install root while the old server runs, for the run that follows'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -f -a "run" -d 'Exchange the installed release for the one that the document or --archive names'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -f -a "rollback" -d 'Go back to the release before the last swap'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -f -a "recover" -d 'Finish or undo what a killed run has left'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -f -a "publish" -d 'Let a server that runs privately serve its users again'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -f -a "status" -d 'Say what is installed, staged, retired and interrupted'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -f -a "prune" -d 'Remove retired releases but the newest'
complete -c mm-swap -n "__fish_mm_swap_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -l archive -d 'Unpack this release tarball instead of the one that the document names' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand stage" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l archive -d 'Install this release tarball instead of the one that the document names' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l require-backup -d 'Let the restore point be up to AGE old (90m, 24h, 2d) [default: made in this hop]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l start-timeout -d 'Seconds a started server may take to get healthy, migrations included' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l private -d 'Listen on a loopback port only and send neither mail nor push messages, until the next public start'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l no-backup -d 'Go without a restore point: a migrated database could not be put back'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l no-start -d 'Do not start the new server'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l to -d 'Target release: the one before the last swap that was not rolled back yet. Needed only for a second hop: without it, a rollback that is done already is not followed by another one' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l start-timeout -d 'Seconds a started server may take to get healthy, migrations included' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l database -d 'Where the schema has changed, put the database back too, PostgreSQL\'s own upgrade in the same hop included; what was written since is lost'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -l start-timeout -d 'Seconds a started server may take to get healthy, migrations included' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -l start-timeout -d 'Seconds a started server may take to get healthy, migrations included' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand publish" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -l keep -d 'How many retired releases to keep' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand help; and not __fish_seen_subcommand_from stage run rollback recover publish status prune help" -f -a "stage" -d 'Unpack the next release beside the install root while the old server runs, for the run that follows'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand help; and not __fish_seen_subcommand_from stage run rollback recover publish status prune help" -f -a "run" -d 'Exchange the installed release for the one that the document or --archive names'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand help; and not __fish_seen_subcommand_from stage run rollback recover publish status prune help" -f -a "rollback" -d 'Go back to the release before the last swap'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand help; and not __fish_seen_subcommand_from stage run rollback recover publish status prune help" -f -a "recover" -d 'Finish or undo what a killed run has left'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand help; and not __fish_seen_subcommand_from stage run rollback recover publish status prune help" -f -a "publish" -d 'Let a server that runs privately serve its users again'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand help; and not __fish_seen_subcommand_from stage run rollback recover publish status prune help" -f -a "status" -d 'Say what is installed, staged, retired and interrupted'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand help; and not __fish_seen_subcommand_from stage run rollback recover publish status prune help" -f -a "prune" -d 'Remove retired releases but the newest'
complete -c mm-swap -n "__fish_mm_swap_using_subcommand help; and not __fish_seen_subcommand_from stage run rollback recover publish status prune help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
