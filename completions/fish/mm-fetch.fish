# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mm_fetch_global_optspecs
    string join \n edition= arch= cache= mirror= offline jobs= sha256= keyring= ca= bundle= from-bundle= catalogue= connect-timeout= answer-timeout= stall-timeout= retries= retry-wait= retry-wait-max= max-bytes= max-entries= max-file-bytes= max-unpacked-bytes= format= install= document= state-dir= dry-run service= stop-command= start-command= accept= lock-wait= v/verbose q/quiet h/help V/version
end

function __fish_mm_fetch_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mm_fetch_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mm_fetch_using_subcommand
    set -l cmd (__fish_mm_fetch_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l edition -d 'Edition of the releases [default: that of the document, or of the installation]' -r -f -a "team\t'Team Edition (`Build Enterprise Ready: false`)'
enterprise\t'Enterprise Edition, licensed or not'"
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l arch -d 'Processor the releases are for: amd64 or arm64 [default: this machine\'s]' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l cache -d 'Directory that keeps what was fetched' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l mirror -d 'Take the releases from here: an address or a directory with VERSION/mattermost-team-VERSION-linux-amd64.tar.gz' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l jobs -d 'Downloads at the same time' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l sha256 -d 'Trust this digest; with VERSION= in front where more than one release is fetched. May be given more than once' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l keyring -d 'Verify the detached OpenPGP signature of every release, against the keys in FILE in place of Mattermost\'s own' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l ca -d 'Trust the certificate authorities in FILE (PEM) beside the host\'s; also a server\'s own self-signed certificate, made with basicConstraints=CA:FALSE' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l bundle -d 'Put everything that a host without internet needs into DIR' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l from-bundle -d 'Take the releases from a directory that --bundle made; implies --offline' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l catalogue -d 'Add the releases of FILE to the catalogue; `none` uses the built-in one alone [default: what mm-path was given]' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l connect-timeout -d 'Seconds to reach a server: name, connection, TLS' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l answer-timeout -d 'Seconds from the request to the head of the answer (a proxy that scans files takes long)' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l stall-timeout -d 'Seconds in which less than 1 KiB a second came in, before the connection is given up' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l retries -d 'Failures in a row, without progress between them, before a download is given up' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l retry-wait -d 'Seconds before the first new attempt; doubled for each further one' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l retry-wait-max -d 'Most seconds to wait before an attempt, also when the server asks for more' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l max-bytes -d 'Most bytes of a tarball' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l max-entries -d 'Most entries in a tarball' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l max-file-bytes -d 'Most bytes of one file in a tarball' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l max-unpacked-bytes -d 'Most bytes of all files in a tarball' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l accept -d 'Go on although the check with this id failed; can be repeated' -r -f -a "archiving\t''
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
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l offline -d 'Use no network: only the cache, a mirror that is a directory, or a bundle'
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -s V -l version -d 'Print version'
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -a "refresh" -d 'Read what Mattermost has published since these tools were built into the catalogue of this machine'
complete -c mm-fetch -n "__fish_mm_fetch_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l from -d 'Read this instead of what Mattermost publishes: a page\'s address, a saved page, or a directory of them; can be repeated. Of a packager\'s file (`arm64.sha256 = "..."`) the digests for ARM count, of which Mattermost publishes none, under the name of the file' -r
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l ca -d 'Trust the certificate authorities in FILE (PEM) beside the host\'s; also a server\'s own self-signed certificate, made with basicConstraints=CA:FALSE' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l accept -d 'Go on although the check with this id failed; can be repeated' -r -f -a "archiving\t''
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
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand refresh" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand help; and not __fish_seen_subcommand_from refresh help" -f -a "refresh" -d 'Read what Mattermost has published since these tools were built into the catalogue of this machine'
complete -c mm-fetch -n "__fish_mm_fetch_using_subcommand help; and not __fish_seen_subcommand_from refresh help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
