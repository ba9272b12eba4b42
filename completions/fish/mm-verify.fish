# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mm_verify_global_optspecs
    string join \n url= sample= files= cache= no-sessions user= password-file= token-file= browser= screenshots= strict only= skip= junit= prometheus= format= install= document= state-dir= dry-run service= stop-command= start-command= accept= lock-wait= v/verbose q/quiet h/help V/version
end

function __fish_mm_verify_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mm_verify_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mm_verify_using_subcommand
    set -l cmd (__fish_mm_verify_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mm-verify -n "__fish_mm_verify_needs_command" -l url -d 'Base address of the server [default: the private address of this hop, else the listen address; the site URL where the server itself speaks TLS]' -r
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l sample -d 'How many real users to look as; those with unread channels, guests and several teams come first' -r
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l files -d 'Which uploaded files to look for on disk: a sample of 2,000, or all; with all the files of the release are hashed too, as in a hop, whatever was hashed before' -r -f -a "sample\t'So many that a loss of all shows'
all\t'Each'"
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l cache -d 'Directory that mm-fetch keeps releases in: the files of the release are compared with its list there, where no upgrade has kept one' -r -F
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l user -d 'Look as this account instead of sampled users' -r
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l password-file -d 'File that holds the password of --user' -r -F
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l token-file -d 'File that holds a session token or personal access token to look with' -r -F
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l browser -d 'Look with a real browser: auto (where Chromium or Chrome is installed), no, or the address of a WebDriver' -r
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l screenshots -d 'Directory for pictures of what the browser shows [default: screenshots/VERSION in the state directory]' -r -F
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l only -d 'Make only this check, or those of this area (the part before the dot); can be given more than once' -r
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l skip -d 'Do not make this check, or those of this area; can be given more than once' -r
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l junit -d 'Write the checks to FILE as JUnit XML' -r -F
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l prometheus -d 'Write the checks to FILE in the Prometheus text format (for the textfile collector)' -r -F
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l accept -d 'Go on although the check with this id failed; can be repeated' -r -f -a "archiving\t''
bound-services\t''
checksums\t''
collation\t''
column-options\t''
connections\t''
damaged-files\t''
database\t''
databases\t''
date-moved\t''
definitions\t''
digest-changed\t''
disk\t''
document-digest\t''
duplicates\t''
extensions\t''
foreign-code\t''
frozen-copy\t''
indexes\t''
invalid-indexes\t''
jump\t''
libraries\t''
locales\t''
log-directory\t''
missing-uploads\t''
move-clock\t''
move-configuration\t''
move-encoding\t''
move-extensions\t''
move-left-behind\t''
move-leftovers\t''
move-network\t''
move-newer\t''
move-nodes\t''
move-replicas\t''
move-rights\t''
move-roles\t''
move-server\t''
move-space\t''
move-target\t''
move-tls\t''
move-version\t''
mysql-case\t''
mysql-case-clash\t''
mysql-engine\t''
mysql-extra-tables\t''
mysql-json\t''
mysql-long\t''
mysql-nul\t''
mysql-null\t''
mysql-schema\t''
mysql-search\t''
mysql-storage\t''
mysql-tls\t''
mysql-unit\t''
mysql-value\t''
other-databases\t''
other-host\t''
outside\t''
packages\t''
prepared\t''
primary\t''
programs\t''
readable\t''
references\t''
rehearsal\t''
release-gone\t''
replication\t''
rollback\t''
settings\t''
start-conf\t''
store-owner\t''
superuser\t''
superuser-objects\t''
tablespaces\t''
target\t''
unsigned\t''
user-code\t''"
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l no-sessions -d 'Do not put short-lived sessions and a temporary user into the database'
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l strict -d 'A check that could not be made, or was skipped, counts as failed'
complete -c mm-verify -n "__fish_mm_verify_needs_command" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-verify -n "__fish_mm_verify_needs_command" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-verify -n "__fish_mm_verify_needs_command" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-verify -n "__fish_mm_verify_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-verify -n "__fish_mm_verify_needs_command" -s V -l version -d 'Print version'
complete -c mm-verify -n "__fish_mm_verify_needs_command" -f -a "run" -d 'Make the checks (the default)'
complete -c mm-verify -n "__fish_mm_verify_needs_command" -f -a "baseline" -d 'Make the checks and store them, so that old faults are not blamed on the upgrade'
complete -c mm-verify -n "__fish_mm_verify_needs_command" -f -a "watch" -d 'Keep looking for a while after the upgrade; ends with 4 as soon as the server gets worse'
complete -c mm-verify -n "__fish_mm_verify_needs_command" -f -a "repair" -d 'Apply the documented fix for the known aftermath of a jump'
complete -c mm-verify -n "__fish_mm_verify_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l url -d 'Base address of the server [default: the private address of this hop, else the listen address; the site URL where the server itself speaks TLS]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l sample -d 'How many real users to look as; those with unread channels, guests and several teams come first' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l files -d 'Which uploaded files to look for on disk: a sample of 2,000, or all; with all the files of the release are hashed too, as in a hop, whatever was hashed before' -r -f -a "sample\t'So many that a loss of all shows'
all\t'Each'"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l cache -d 'Directory that mm-fetch keeps releases in: the files of the release are compared with its list there, where no upgrade has kept one' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l user -d 'Look as this account instead of sampled users' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l password-file -d 'File that holds the password of --user' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l token-file -d 'File that holds a session token or personal access token to look with' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l browser -d 'Look with a real browser: auto (where Chromium or Chrome is installed), no, or the address of a WebDriver' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l screenshots -d 'Directory for pictures of what the browser shows [default: screenshots/VERSION in the state directory]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l only -d 'Make only this check, or those of this area (the part before the dot); can be given more than once' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l skip -d 'Do not make this check, or those of this area; can be given more than once' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l junit -d 'Write the checks to FILE as JUnit XML' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l prometheus -d 'Write the checks to FILE in the Prometheus text format (for the textfile collector)' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l accept -d 'Go on although the check with this id failed; can be repeated' -r -f -a "archiving\t''
bound-services\t''
checksums\t''
collation\t''
column-options\t''
connections\t''
damaged-files\t''
database\t''
databases\t''
date-moved\t''
definitions\t''
digest-changed\t''
disk\t''
document-digest\t''
duplicates\t''
extensions\t''
foreign-code\t''
frozen-copy\t''
indexes\t''
invalid-indexes\t''
jump\t''
libraries\t''
locales\t''
log-directory\t''
missing-uploads\t''
move-clock\t''
move-configuration\t''
move-encoding\t''
move-extensions\t''
move-left-behind\t''
move-leftovers\t''
move-network\t''
move-newer\t''
move-nodes\t''
move-replicas\t''
move-rights\t''
move-roles\t''
move-server\t''
move-space\t''
move-target\t''
move-tls\t''
move-version\t''
mysql-case\t''
mysql-case-clash\t''
mysql-engine\t''
mysql-extra-tables\t''
mysql-json\t''
mysql-long\t''
mysql-nul\t''
mysql-null\t''
mysql-schema\t''
mysql-search\t''
mysql-storage\t''
mysql-tls\t''
mysql-unit\t''
mysql-value\t''
other-databases\t''
other-host\t''
outside\t''
packages\t''
prepared\t''
primary\t''
programs\t''
readable\t''
references\t''
rehearsal\t''
release-gone\t''
replication\t''
rollback\t''
settings\t''
start-conf\t''
store-owner\t''
superuser\t''
superuser-objects\t''
tablespaces\t''
target\t''
unsigned\t''
user-code\t''"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l no-sessions -d 'Do not put short-lived sessions and a temporary user into the database'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l strict -d 'A check that could not be made, or was skipped, counts as failed'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l url -d 'Base address of the server [default: the private address of this hop, else the listen address; the site URL where the server itself speaks TLS]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l sample -d 'How many real users to look as; those with unread channels, guests and several teams come first' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l files -d 'Which uploaded files to look for on disk: a sample of 2,000, or all; with all the files of the release are hashed too, as in a hop, whatever was hashed before' -r -f -a "sample\t'So many that a loss of all shows'
all\t'Each'"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l cache -d 'Directory that mm-fetch keeps releases in: the files of the release are compared with its list there, where no upgrade has kept one' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l user -d 'Look as this account instead of sampled users' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l password-file -d 'File that holds the password of --user' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l token-file -d 'File that holds a session token or personal access token to look with' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l browser -d 'Look with a real browser: auto (where Chromium or Chrome is installed), no, or the address of a WebDriver' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l screenshots -d 'Directory for pictures of what the browser shows [default: screenshots/VERSION in the state directory]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l only -d 'Make only this check, or those of this area (the part before the dot); can be given more than once' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l skip -d 'Do not make this check, or those of this area; can be given more than once' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l junit -d 'Write the checks to FILE as JUnit XML' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l prometheus -d 'Write the checks to FILE in the Prometheus text format (for the textfile collector)' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l accept -d 'Go on although the check with this id failed; can be repeated' -r -f -a "archiving\t''
bound-services\t''
checksums\t''
collation\t''
column-options\t''
connections\t''
damaged-files\t''
database\t''
databases\t''
date-moved\t''
definitions\t''
digest-changed\t''
disk\t''
document-digest\t''
duplicates\t''
extensions\t''
foreign-code\t''
frozen-copy\t''
indexes\t''
invalid-indexes\t''
jump\t''
libraries\t''
locales\t''
log-directory\t''
missing-uploads\t''
move-clock\t''
move-configuration\t''
move-encoding\t''
move-extensions\t''
move-left-behind\t''
move-leftovers\t''
move-network\t''
move-newer\t''
move-nodes\t''
move-replicas\t''
move-rights\t''
move-roles\t''
move-server\t''
move-space\t''
move-target\t''
move-tls\t''
move-version\t''
mysql-case\t''
mysql-case-clash\t''
mysql-engine\t''
mysql-extra-tables\t''
mysql-json\t''
mysql-long\t''
mysql-nul\t''
mysql-null\t''
mysql-schema\t''
mysql-search\t''
mysql-storage\t''
mysql-tls\t''
mysql-unit\t''
mysql-value\t''
other-databases\t''
other-host\t''
outside\t''
packages\t''
prepared\t''
primary\t''
programs\t''
readable\t''
references\t''
rehearsal\t''
release-gone\t''
replication\t''
rollback\t''
settings\t''
start-conf\t''
store-owner\t''
superuser\t''
superuser-objects\t''
tablespaces\t''
target\t''
unsigned\t''
user-code\t''"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l no-sessions -d 'Do not put short-lived sessions and a temporary user into the database'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l strict -d 'A check that could not be made, or was skipped, counts as failed'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand baseline" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l for -d 'How long to look, such as 30m' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l every -d 'How often to look, such as 30s' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l url -d 'Base address of the server [default: the private address of this hop, else the listen address; the site URL where the server itself speaks TLS]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l sample -d 'How many real users to look as; those with unread channels, guests and several teams come first' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l files -d 'Which uploaded files to look for on disk: a sample of 2,000, or all; with all the files of the release are hashed too, as in a hop, whatever was hashed before' -r -f -a "sample\t'So many that a loss of all shows'
all\t'Each'"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l cache -d 'Directory that mm-fetch keeps releases in: the files of the release are compared with its list there, where no upgrade has kept one' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l user -d 'Look as this account instead of sampled users' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l password-file -d 'File that holds the password of --user' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l token-file -d 'File that holds a session token or personal access token to look with' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l browser -d 'Look with a real browser: auto (where Chromium or Chrome is installed), no, or the address of a WebDriver' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l screenshots -d 'Directory for pictures of what the browser shows [default: screenshots/VERSION in the state directory]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l only -d 'Make only this check, or those of this area (the part before the dot); can be given more than once' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l skip -d 'Do not make this check, or those of this area; can be given more than once' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l junit -d 'Write the checks to FILE as JUnit XML' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l prometheus -d 'Write the checks to FILE in the Prometheus text format (for the textfile collector)' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l accept -d 'Go on although the check with this id failed; can be repeated' -r -f -a "archiving\t''
bound-services\t''
checksums\t''
collation\t''
column-options\t''
connections\t''
damaged-files\t''
database\t''
databases\t''
date-moved\t''
definitions\t''
digest-changed\t''
disk\t''
document-digest\t''
duplicates\t''
extensions\t''
foreign-code\t''
frozen-copy\t''
indexes\t''
invalid-indexes\t''
jump\t''
libraries\t''
locales\t''
log-directory\t''
missing-uploads\t''
move-clock\t''
move-configuration\t''
move-encoding\t''
move-extensions\t''
move-left-behind\t''
move-leftovers\t''
move-network\t''
move-newer\t''
move-nodes\t''
move-replicas\t''
move-rights\t''
move-roles\t''
move-server\t''
move-space\t''
move-target\t''
move-tls\t''
move-version\t''
mysql-case\t''
mysql-case-clash\t''
mysql-engine\t''
mysql-extra-tables\t''
mysql-json\t''
mysql-long\t''
mysql-nul\t''
mysql-null\t''
mysql-schema\t''
mysql-search\t''
mysql-storage\t''
mysql-tls\t''
mysql-unit\t''
mysql-value\t''
other-databases\t''
other-host\t''
outside\t''
packages\t''
prepared\t''
primary\t''
programs\t''
readable\t''
references\t''
rehearsal\t''
release-gone\t''
replication\t''
rollback\t''
settings\t''
start-conf\t''
store-owner\t''
superuser\t''
superuser-objects\t''
tablespaces\t''
target\t''
unsigned\t''
user-code\t''"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l no-sessions -d 'Do not put short-lived sessions and a temporary user into the database'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l strict -d 'A check that could not be made, or was skipped, counts as failed'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l fix -d 'Apply this repair, or `all` that are needed; can be given more than once' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l url -d 'Base address of the server [default: the private address of this hop, else the listen address; the site URL where the server itself speaks TLS]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l sample -d 'How many real users to look as; those with unread channels, guests and several teams come first' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l files -d 'Which uploaded files to look for on disk: a sample of 2,000, or all; with all the files of the release are hashed too, as in a hop, whatever was hashed before' -r -f -a "sample\t'So many that a loss of all shows'
all\t'Each'"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l cache -d 'Directory that mm-fetch keeps releases in: the files of the release are compared with its list there, where no upgrade has kept one' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l user -d 'Look as this account instead of sampled users' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l password-file -d 'File that holds the password of --user' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l token-file -d 'File that holds a session token or personal access token to look with' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l browser -d 'Look with a real browser: auto (where Chromium or Chrome is installed), no, or the address of a WebDriver' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l screenshots -d 'Directory for pictures of what the browser shows [default: screenshots/VERSION in the state directory]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l only -d 'Make only this check, or those of this area (the part before the dot); can be given more than once' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l skip -d 'Do not make this check, or those of this area; can be given more than once' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l junit -d 'Write the checks to FILE as JUnit XML' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l prometheus -d 'Write the checks to FILE in the Prometheus text format (for the textfile collector)' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l accept -d 'Go on although the check with this id failed; can be repeated' -r -f -a "archiving\t''
bound-services\t''
checksums\t''
collation\t''
column-options\t''
connections\t''
damaged-files\t''
database\t''
databases\t''
date-moved\t''
definitions\t''
digest-changed\t''
disk\t''
document-digest\t''
duplicates\t''
extensions\t''
foreign-code\t''
frozen-copy\t''
indexes\t''
invalid-indexes\t''
jump\t''
libraries\t''
locales\t''
log-directory\t''
missing-uploads\t''
move-clock\t''
move-configuration\t''
move-encoding\t''
move-extensions\t''
move-left-behind\t''
move-leftovers\t''
move-network\t''
move-newer\t''
move-nodes\t''
move-replicas\t''
move-rights\t''
move-roles\t''
move-server\t''
move-space\t''
move-target\t''
move-tls\t''
move-version\t''
mysql-case\t''
mysql-case-clash\t''
mysql-engine\t''
mysql-extra-tables\t''
mysql-json\t''
mysql-long\t''
mysql-nul\t''
mysql-null\t''
mysql-schema\t''
mysql-search\t''
mysql-storage\t''
mysql-tls\t''
mysql-unit\t''
mysql-value\t''
other-databases\t''
other-host\t''
outside\t''
packages\t''
prepared\t''
primary\t''
programs\t''
readable\t''
references\t''
rehearsal\t''
release-gone\t''
replication\t''
rollback\t''
settings\t''
start-conf\t''
store-owner\t''
superuser\t''
superuser-objects\t''
tablespaces\t''
target\t''
unsigned\t''
user-code\t''"
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l list -d 'Say which repairs there are and which of them this server needs'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l no-sessions -d 'Do not put short-lived sessions and a temporary user into the database'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l strict -d 'A check that could not be made, or was skipped, counts as failed'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand repair" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand help; and not __fish_seen_subcommand_from run baseline watch repair help" -f -a "run" -d 'Make the checks (the default)'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand help; and not __fish_seen_subcommand_from run baseline watch repair help" -f -a "baseline" -d 'Make the checks and store them, so that old faults are not blamed on the upgrade'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand help; and not __fish_seen_subcommand_from run baseline watch repair help" -f -a "watch" -d 'Keep looking for a while after the upgrade; ends with 4 as soon as the server gets worse'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand help; and not __fish_seen_subcommand_from run baseline watch repair help" -f -a "repair" -d 'Apply the documented fix for the known aftermath of a jump'
complete -c mm-verify -n "__fish_mm_verify_using_subcommand help; and not __fish_seen_subcommand_from run baseline watch repair help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
