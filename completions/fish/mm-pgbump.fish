# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mm_pgbump_global_optspecs
    string join \n to= cluster= method= jobs= keep-port leave-stopped shared-cluster require-backup= target= replace no-backup install= document= state-dir= dry-run service= stop-command= start-command= accept= lock-wait= v/verbose q/quiet format= h/help V/version
end

function __fish_mm_pgbump_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mm_pgbump_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mm_pgbump_using_subcommand
    set -l cmd (__fish_mm_pgbump_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l to -d 'PostgreSQL major to reach [default: what the next hop needs]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l cluster -d 'Refuse to touch any cluster but this one, such as 13/main' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l method -d 'How the data is brought over [default: clone where the file system can, else upgrade]' -r -f -a "dump\t'Dump and restore: slow, rebuilds every index, and believes its own restore whatever it says'
upgrade\t'`pg_upgrade`, copying the files'
link\t'`pg_upgrade`, sharing the files: no way back once the new cluster has started'
clone\t'`pg_upgrade`, copying by reflink where the file system can'"
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l jobs -d 'Processes for `pg_upgrade`; helps with several databases or tablespaces only' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l require-backup -d 'The restore point of the document must not be older than this, such as 24h' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l target -d 'move, check: the file (mode 600) that names the server to move to, or fd:N for an open descriptor. Line 1: the data source for the configuration. Line 2, if any: an administrator\'s, who makes what is not there' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l keep-port -d 'Each cluster keeps its port, and the configuration of the server is repointed'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l leave-stopped -d 'Leave the service stopped for the next tool'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l shared-cluster -d 'Other databases in the cluster may be upgraded (and stopped) with it; the restore point has to hold them too (mm-backup create --whole-cluster)'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l replace -d 'move, check: a database of that name that holds something is renamed to `NAME_mm_before_TIME` and kept'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l no-backup -d 'Go on without a restore point'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -s V -l version -d 'Print version'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -f -a "run" -d 'Upgrade the cluster when it is needed (default)'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -f -a "check" -d 'Say what would stand in the way, and try the way back; the server may run'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -f -a "move" -d 'Carry the database into another PostgreSQL server (--target), prove every row, and point the configuration at it; the old database stays as it is'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -f -a "recover" -d 'Finish or undo an interrupted run, and nothing more'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -f -a "rollback" -d 'Switch back to the old cluster; after a move, point the server at the old database again'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -f -a "drop-old" -d 'Drop the old cluster, once mm-verify is content with the new one'
complete -c mm-pgbump -n "__fish_mm_pgbump_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l to -d 'PostgreSQL major to reach [default: what the next hop needs]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l cluster -d 'Refuse to touch any cluster but this one, such as 13/main' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l method -d 'How the data is brought over [default: clone where the file system can, else upgrade]' -r -f -a "dump\t'Dump and restore: slow, rebuilds every index, and believes its own restore whatever it says'
upgrade\t'`pg_upgrade`, copying the files'
link\t'`pg_upgrade`, sharing the files: no way back once the new cluster has started'
clone\t'`pg_upgrade`, copying by reflink where the file system can'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l jobs -d 'Processes for `pg_upgrade`; helps with several databases or tablespaces only' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l require-backup -d 'The restore point of the document must not be older than this, such as 24h' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l target -d 'move, check: the file (mode 600) that names the server to move to, or fd:N for an open descriptor. Line 1: the data source for the configuration. Line 2, if any: an administrator\'s, who makes what is not there' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l keep-port -d 'Each cluster keeps its port, and the configuration of the server is repointed'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l leave-stopped -d 'Leave the service stopped for the next tool'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l shared-cluster -d 'Other databases in the cluster may be upgraded (and stopped) with it; the restore point has to hold them too (mm-backup create --whole-cluster)'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l replace -d 'move, check: a database of that name that holds something is renamed to `NAME_mm_before_TIME` and kept'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l no-backup -d 'Go on without a restore point'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l to -d 'PostgreSQL major to reach [default: what the next hop needs]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l cluster -d 'Refuse to touch any cluster but this one, such as 13/main' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l method -d 'How the data is brought over [default: clone where the file system can, else upgrade]' -r -f -a "dump\t'Dump and restore: slow, rebuilds every index, and believes its own restore whatever it says'
upgrade\t'`pg_upgrade`, copying the files'
link\t'`pg_upgrade`, sharing the files: no way back once the new cluster has started'
clone\t'`pg_upgrade`, copying by reflink where the file system can'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l jobs -d 'Processes for `pg_upgrade`; helps with several databases or tablespaces only' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l require-backup -d 'The restore point of the document must not be older than this, such as 24h' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l target -d 'move, check: the file (mode 600) that names the server to move to, or fd:N for an open descriptor. Line 1: the data source for the configuration. Line 2, if any: an administrator\'s, who makes what is not there' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l keep-port -d 'Each cluster keeps its port, and the configuration of the server is repointed'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l leave-stopped -d 'Leave the service stopped for the next tool'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l shared-cluster -d 'Other databases in the cluster may be upgraded (and stopped) with it; the restore point has to hold them too (mm-backup create --whole-cluster)'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l replace -d 'move, check: a database of that name that holds something is renamed to `NAME_mm_before_TIME` and kept'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l no-backup -d 'Go on without a restore point'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l to -d 'PostgreSQL major to reach [default: what the next hop needs]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l cluster -d 'Refuse to touch any cluster but this one, such as 13/main' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l method -d 'How the data is brought over [default: clone where the file system can, else upgrade]' -r -f -a "dump\t'Dump and restore: slow, rebuilds every index, and believes its own restore whatever it says'
upgrade\t'`pg_upgrade`, copying the files'
link\t'`pg_upgrade`, sharing the files: no way back once the new cluster has started'
clone\t'`pg_upgrade`, copying by reflink where the file system can'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l jobs -d 'Processes for `pg_upgrade`; helps with several databases or tablespaces only' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l require-backup -d 'The restore point of the document must not be older than this, such as 24h' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l target -d 'move, check: the file (mode 600) that names the server to move to, or fd:N for an open descriptor. Line 1: the data source for the configuration. Line 2, if any: an administrator\'s, who makes what is not there' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l keep-port -d 'Each cluster keeps its port, and the configuration of the server is repointed'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l leave-stopped -d 'Leave the service stopped for the next tool'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l shared-cluster -d 'Other databases in the cluster may be upgraded (and stopped) with it; the restore point has to hold them too (mm-backup create --whole-cluster)'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l replace -d 'move, check: a database of that name that holds something is renamed to `NAME_mm_before_TIME` and kept'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l no-backup -d 'Go on without a restore point'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand move" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l to -d 'PostgreSQL major to reach [default: what the next hop needs]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l cluster -d 'Refuse to touch any cluster but this one, such as 13/main' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l method -d 'How the data is brought over [default: clone where the file system can, else upgrade]' -r -f -a "dump\t'Dump and restore: slow, rebuilds every index, and believes its own restore whatever it says'
upgrade\t'`pg_upgrade`, copying the files'
link\t'`pg_upgrade`, sharing the files: no way back once the new cluster has started'
clone\t'`pg_upgrade`, copying by reflink where the file system can'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l jobs -d 'Processes for `pg_upgrade`; helps with several databases or tablespaces only' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l require-backup -d 'The restore point of the document must not be older than this, such as 24h' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l target -d 'move, check: the file (mode 600) that names the server to move to, or fd:N for an open descriptor. Line 1: the data source for the configuration. Line 2, if any: an administrator\'s, who makes what is not there' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l keep-port -d 'Each cluster keeps its port, and the configuration of the server is repointed'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l leave-stopped -d 'Leave the service stopped for the next tool'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l shared-cluster -d 'Other databases in the cluster may be upgraded (and stopped) with it; the restore point has to hold them too (mm-backup create --whole-cluster)'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l replace -d 'move, check: a database of that name that holds something is renamed to `NAME_mm_before_TIME` and kept'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l no-backup -d 'Go on without a restore point'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l to -d 'PostgreSQL major to reach [default: what the next hop needs]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l cluster -d 'Refuse to touch any cluster but this one, such as 13/main' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l method -d 'How the data is brought over [default: clone where the file system can, else upgrade]' -r -f -a "dump\t'Dump and restore: slow, rebuilds every index, and believes its own restore whatever it says'
upgrade\t'`pg_upgrade`, copying the files'
link\t'`pg_upgrade`, sharing the files: no way back once the new cluster has started'
clone\t'`pg_upgrade`, copying by reflink where the file system can'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l jobs -d 'Processes for `pg_upgrade`; helps with several databases or tablespaces only' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l require-backup -d 'The restore point of the document must not be older than this, such as 24h' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l target -d 'move, check: the file (mode 600) that names the server to move to, or fd:N for an open descriptor. Line 1: the data source for the configuration. Line 2, if any: an administrator\'s, who makes what is not there' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l keep-port -d 'Each cluster keeps its port, and the configuration of the server is repointed'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l leave-stopped -d 'Leave the service stopped for the next tool'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l shared-cluster -d 'Other databases in the cluster may be upgraded (and stopped) with it; the restore point has to hold them too (mm-backup create --whole-cluster)'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l replace -d 'move, check: a database of that name that holds something is renamed to `NAME_mm_before_TIME` and kept'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l no-backup -d 'Go on without a restore point'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l to -d 'PostgreSQL major to reach [default: what the next hop needs]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l cluster -d 'Refuse to touch any cluster but this one, such as 13/main' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l method -d 'How the data is brought over [default: clone where the file system can, else upgrade]' -r -f -a "dump\t'Dump and restore: slow, rebuilds every index, and believes its own restore whatever it says'
upgrade\t'`pg_upgrade`, copying the files'
link\t'`pg_upgrade`, sharing the files: no way back once the new cluster has started'
clone\t'`pg_upgrade`, copying by reflink where the file system can'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l jobs -d 'Processes for `pg_upgrade`; helps with several databases or tablespaces only' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l require-backup -d 'The restore point of the document must not be older than this, such as 24h' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l target -d 'move, check: the file (mode 600) that names the server to move to, or fd:N for an open descriptor. Line 1: the data source for the configuration. Line 2, if any: an administrator\'s, who makes what is not there' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l force -d 'Also without a successful mm-verify in the document'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l keep-port -d 'Each cluster keeps its port, and the configuration of the server is repointed'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l leave-stopped -d 'Leave the service stopped for the next tool'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l shared-cluster -d 'Other databases in the cluster may be upgraded (and stopped) with it; the restore point has to hold them too (mm-backup create --whole-cluster)'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l replace -d 'move, check: a database of that name that holds something is renamed to `NAME_mm_before_TIME` and kept'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l no-backup -d 'Go on without a restore point'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand drop-old" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand help; and not __fish_seen_subcommand_from run check move recover rollback drop-old help" -f -a "run" -d 'Upgrade the cluster when it is needed (default)'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand help; and not __fish_seen_subcommand_from run check move recover rollback drop-old help" -f -a "check" -d 'Say what would stand in the way, and try the way back; the server may run'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand help; and not __fish_seen_subcommand_from run check move recover rollback drop-old help" -f -a "move" -d 'Carry the database into another PostgreSQL server (--target), prove every row, and point the configuration at it; the old database stays as it is'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand help; and not __fish_seen_subcommand_from run check move recover rollback drop-old help" -f -a "recover" -d 'Finish or undo an interrupted run, and nothing more'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand help; and not __fish_seen_subcommand_from run check move recover rollback drop-old help" -f -a "rollback" -d 'Switch back to the old cluster; after a move, point the server at the old database again'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand help; and not __fish_seen_subcommand_from run check move recover rollback drop-old help" -f -a "drop-old" -d 'Drop the old cluster, once mm-verify is content with the new one'
complete -c mm-pgbump -n "__fish_mm_pgbump_using_subcommand help; and not __fish_seen_subcommand_from run check move recover rollback drop-old help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
