# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mm_backup_global_optspecs
    string join \n to= jobs= stop leave-stopped freeze no-data no-database whole-cluster exclude= rehash pin-all start-timeout= keep-last= keep-daily= keep-weekly= keep-monthly= keep-yearly= prometheus= install= document= state-dir= dry-run service= stop-command= start-command= accept= lock-wait= v/verbose q/quiet format= h/help V/version
end

function __fish_mm_backup_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mm_backup_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mm_backup_using_subcommand
    set -l cmd (__fish_mm_backup_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mm-backup -n "__fish_mm_backup_needs_command" -l to -d 'Directory of the restore points; also --store' -r -F
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l jobs -d 'Threads and processes to work with [default: as many as there are processors, at most 4]' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l exclude -d 'Leave out what matches: `*` within a name, `**` across directories; below the install root, or absolute' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l start-timeout -d 'Seconds a server that is started again may take to get healthy' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l keep-last -d 'Keep the newest N restore points' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l keep-daily -d 'Keep the newest one of each of the last N days that have one' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l keep-weekly -d 'Keep the newest one of each of the last N weeks that have one' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l keep-monthly -d 'Keep the newest one of each of the last N months that have one' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l keep-yearly -d 'Keep the newest one of each of the last N years that have one' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l prometheus -d 'Write age, size, duration and success of this run to FILE, in Prometheus\' text format' -r -F
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l stop -d 'Stop the service first and start it again afterwards: nothing is written after the snapshot'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l leave-stopped -d 'With --stop: leave it stopped for the next tool of the pipeline (when this one succeeds)'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l freeze -d 'With --stop: while nobody writes, only copy the database within its cluster; `mm-backup complete` makes the dump from the copy when the server serves again'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l no-data -d 'Leave out the uploaded files'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l no-database -d 'Leave out the database'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l whole-cluster -d 'Also every other database of the cluster that the server\'s is in: what a major upgrade of the cluster needs'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l rehash -d 'Read every file again, even where size, times and inode say that it has not changed'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l pin-all -d 'In an upgrade: keep the restore points of every hop from retention, and not only the first and the newest'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -s V -l version -d 'Print version'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -f -a "create" -d 'Make a restore point (the default)'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -f -a "complete" -d 'Store the database of a frozen restore point: the dump is made from the frozen copy'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -f -a "list" -d 'Show the restore points'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -f -a "verify" -d 'Prove a restore point: hash every file again, read the dump to its end'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -f -a "restore" -d 'Restore: everything, or what the flags name'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -f -a "copy" -d 'Make a private copy of the site from a restore point and start it: a server of its own that reaches nobody'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -f -a "export" -d 'Write a restore point to standard output as one tar stream'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -f -a "unpin" -d 'Let retention take a restore point that an upgrade has pinned: its way back is given up'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -f -a "prune" -d 'Remove restore points that the --keep flags do not keep'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -f -a "recover" -d 'Undo a restore that was cut off, or finish it where only its last step was missing'
complete -c mm-backup -n "__fish_mm_backup_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l exclude -d 'Leave out what matches: `*` within a name, `**` across directories; below the install root, or absolute' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l start-timeout -d 'Seconds a server that is started again may take to get healthy' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l keep-last -d 'Keep the newest N restore points' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l keep-daily -d 'Keep the newest one of each of the last N days that have one' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l keep-weekly -d 'Keep the newest one of each of the last N weeks that have one' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l keep-monthly -d 'Keep the newest one of each of the last N months that have one' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l keep-yearly -d 'Keep the newest one of each of the last N years that have one' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l prometheus -d 'Write age, size, duration and success of this run to FILE, in Prometheus\' text format' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l to -d 'Directory of the restore points; also --store' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l jobs -d 'Threads and processes to work with [default: as many as there are processors, at most 4]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l stop -d 'Stop the service first and start it again afterwards: nothing is written after the snapshot'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l leave-stopped -d 'With --stop: leave it stopped for the next tool of the pipeline (when this one succeeds)'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l freeze -d 'With --stop: while nobody writes, only copy the database within its cluster; `mm-backup complete` makes the dump from the copy when the server serves again'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l no-data -d 'Leave out the uploaded files'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l no-database -d 'Leave out the database'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l whole-cluster -d 'Also every other database of the cluster that the server\'s is in: what a major upgrade of the cluster needs'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l rehash -d 'Read every file again, even where size, times and inode say that it has not changed'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l pin-all -d 'In an upgrade: keep the restore points of every hop from retention, and not only the first and the newest'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l to -d 'Directory of the restore points; also --store' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l jobs -d 'Threads and processes to work with [default: as many as there are processors, at most 4]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand complete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l max-age -d 'Fail (4) unless there is a whole one that is not older than this, such as 26h: for monitoring' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l to -d 'Directory of the restore points; also --store' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l jobs -d 'Threads and processes to work with [default: as many as there are processors, at most 4]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l latest -d 'Show the newest whole one alone'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l to -d 'Directory of the restore points; also --store' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l jobs -d 'Threads and processes to work with [default: as many as there are processors, at most 4]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l restore -d 'Also restore the dump into a throw-away server and compare every table and every definition'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l run -d 'Go back to the state before an upgrade run: its identifier, or `last`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l path -d 'Restore one file or directory, by its absolute path or relative to the install root' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l into -d 'Restore files below DIR instead of into place' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l into-database -d 'Restore the dump into this empty database instead of into place; with --config, the dump of the configuration\'s own database, if it has one. Everybody on the machine can see a password in it: `?passfile=FILE` names a file with it' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l start-timeout -d 'Seconds a server that is started again may take to get healthy' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l to -d 'Directory of the restore points; also --store' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l jobs -d 'Threads and processes to work with [default: as many as there are processors, at most 4]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l files -d 'Restore the files'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l config -d 'Restore the configuration: the directory `config`, what it names elsewhere, and what starts the service'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l database -d 'Restore the database'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l stop -d 'Stop the service for it and start it again afterwards; without this flag, a running service is refused (5)'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l leave-stopped -d 'With --stop: leave it stopped'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l into -d 'Make the copy in DIR, which is not there yet, and start it; start it again where it is there' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l stop -d 'Stop the copy in DIR: its server and its database' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l remove -d 'Stop the copy in DIR and remove it: its files and its database, and nothing else' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l start-timeout -d 'Seconds a server that is started again may take to get healthy' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l to -d 'Directory of the restore points; also --store' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l jobs -d 'Threads and processes to work with [default: as many as there are processors, at most 4]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l keep-sessions -d 'Leave sessions, tokens, OAuth apps and webhooks valid: whoever has them on the original can use them on the copy'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l with-plugins -d 'Let plugins run in the copy, with all that their settings name'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand copy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l to -d 'Directory of the restore points; also --store' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l jobs -d 'Threads and processes to work with [default: as many as there are processors, at most 4]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l to -d 'Directory of the restore points; also --store' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l jobs -d 'Threads and processes to work with [default: as many as there are processors, at most 4]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand unpin" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l keep-last -d 'Keep the newest N restore points' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l keep-daily -d 'Keep the newest one of each of the last N days that have one' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l keep-weekly -d 'Keep the newest one of each of the last N weeks that have one' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l keep-monthly -d 'Keep the newest one of each of the last N months that have one' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l keep-yearly -d 'Keep the newest one of each of the last N years that have one' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l to -d 'Directory of the restore points; also --store' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l jobs -d 'Threads and processes to work with [default: as many as there are processors, at most 4]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l start-timeout -d 'Seconds a server that is started again may take to get healthy' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l to -d 'Directory of the restore points; also --store' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l jobs -d 'Threads and processes to work with [default: as many as there are processors, at most 4]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand help; and not __fish_seen_subcommand_from create complete list verify restore copy export unpin prune recover help" -f -a "create" -d 'Make a restore point (the default)'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand help; and not __fish_seen_subcommand_from create complete list verify restore copy export unpin prune recover help" -f -a "complete" -d 'Store the database of a frozen restore point: the dump is made from the frozen copy'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand help; and not __fish_seen_subcommand_from create complete list verify restore copy export unpin prune recover help" -f -a "list" -d 'Show the restore points'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand help; and not __fish_seen_subcommand_from create complete list verify restore copy export unpin prune recover help" -f -a "verify" -d 'Prove a restore point: hash every file again, read the dump to its end'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand help; and not __fish_seen_subcommand_from create complete list verify restore copy export unpin prune recover help" -f -a "restore" -d 'Restore: everything, or what the flags name'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand help; and not __fish_seen_subcommand_from create complete list verify restore copy export unpin prune recover help" -f -a "copy" -d 'Make a private copy of the site from a restore point and start it: a server of its own that reaches nobody'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand help; and not __fish_seen_subcommand_from create complete list verify restore copy export unpin prune recover help" -f -a "export" -d 'Write a restore point to standard output as one tar stream'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand help; and not __fish_seen_subcommand_from create complete list verify restore copy export unpin prune recover help" -f -a "unpin" -d 'Let retention take a restore point that an upgrade has pinned: its way back is given up'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand help; and not __fish_seen_subcommand_from create complete list verify restore copy export unpin prune recover help" -f -a "prune" -d 'Remove restore points that the --keep flags do not keep'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand help; and not __fish_seen_subcommand_from create complete list verify restore copy export unpin prune recover help" -f -a "recover" -d 'Undo a restore that was cut off, or finish it where only its last step was missing'
complete -c mm-backup -n "__fish_mm_backup_using_subcommand help; and not __fish_seen_subcommand_from create complete list verify restore copy export unpin prune recover help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mm-backup -n "__fish_seen_subcommand_from verify restore copy export unpin" -f -a "latest (mm-backup list --document none --format human 2>/dev/null | string match -r '^[0-9]{8}T\S+')"
