# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mm_upgrade_global_optspecs
    string join \n to= store= install= policy= postgres= postgres-target= edition= runs= window= rehearsal= announce= on-failure= watch= public shared-cluster accept= flag= dry-run format= follow version h/help
end

function __fish_mm_upgrade_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mm_upgrade_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mm_upgrade_using_subcommand
    set -l cmd (__fish_mm_upgrade_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l to -d 'release to arrive at (as mm-path takes it)' -r
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l store -d 'where restore points go (as mm-backup takes it) [default: that of mm-backup: MM_STORE, or /var/backups/mattermost]' -r -F
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l install -d 'install root [default: MM_INSTALL, or /opt/mattermost]' -r -F
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l policy -d 'esr, minor or direct [default: esr]' -r
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l postgres -d 'PostgreSQL major to be on at the end' -r
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l postgres-target -d 'the database moves to the server that FILE names (as mm-pgbump move --target takes it), in the hop that needs it' -r -F
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l edition -d 'team or enterprise, from the first hop on [default: the installed one]' -r
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l runs -d 'where links to the runs are kept [default: /var/lib/mm-tools/runs]' -r -F
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l window -d 'begin no hop that is not expected to end inside this time of day (local time)' -r
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l rehearsal -d 'plan with the times of a rehearsal (rehearsal.json of mm-rehearse) instead of estimates' -r -F
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l announce -d 'called with an event: begin, hop FROM TO, done VERSION, failed MESSAGE, rolled-back VERSION' -r
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l on-failure -d 'stop: stay where it is, without users while its verification has not passed; publish: let them in all the same; rollback: back to the start [default: stop]' -r
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l watch -d 'watch the server for so long at the end [default: 300]' -r
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l accept -d 'go on although this check failed; for all six tools; can be repeated' -r
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l flag -d 'hand FLAG to those verbs of TOOL that know it; can be repeated: --flag mm-fetch=--mirror=URL' -r
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l format -d 'with status: human or json [default: human]' -r
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l public -d 'let users in during the hops in between as well'
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l shared-cluster -d 'other applications\' databases in the PostgreSQL cluster may be stopped and upgraded with it; the restore point of that hop holds them too'
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l dry-run -d 'with run: print what would be done, change nothing'
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l follow -d 'with status: tell it again whenever it changes'
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -l version -d 'release of these tools and day of their catalogue'
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -f -a "run" -d 'plan, check, download everything, record a baseline, then hop by hop: restore point, database, swap, verify'
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -f -a "resume" -d 'go on with the last run after a kill, a power cut or a corrected fault'
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -f -a "rollback" -d 'bring back the state before the last run, from its first restore point (what was written since is lost)'
complete -c mm-upgrade -n "__fish_mm_upgrade_needs_command" -f -a "status" -d 'what the last run has done and where it stands, also while it is under way'
complete -c mm-upgrade -n "__fish_mm_upgrade_using_subcommand run" -s h -l help -d 'Print help'
complete -c mm-upgrade -n "__fish_mm_upgrade_using_subcommand resume" -s h -l help -d 'Print help'
complete -c mm-upgrade -n "__fish_mm_upgrade_using_subcommand rollback" -s h -l help -d 'Print help'
complete -c mm-upgrade -n "__fish_mm_upgrade_using_subcommand status" -s h -l help -d 'Print help'
