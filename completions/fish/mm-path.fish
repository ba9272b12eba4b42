complete -c mm-path -l to -d 'Where to go: a version (10.6.1), a line (10.6: its newest release), latest or latest-esr' -r
complete -c mm-path -l policy -d 'Which releases to stop at [default: esr]' -r -f -a "esr\t'The newest dot release of each extended support line, and the required stops'
minor\t'The newest dot release of every feature line'
direct\t'Only the required stops'"
complete -c mm-path -l via -d 'Stop at this version or line; may be given more than once' -r
complete -c mm-path -l avoid -d 'Never stop at this version or line; may be given more than once' -r
complete -c mm-path -l postgres -d 'Be on this PostgreSQL major at the end' -r
complete -c mm-path -l edition -d 'Be on this edition from the first hop on [default: the installed one; on paper team]' -r -f -a "team\t'Team Edition (`Build Enterprise Ready: false`)'
enterprise\t'Enterprise Edition, licensed or not'"
complete -c mm-path -l cache -d 'With --check: directory that mm-fetch keeps releases in' -r -F
complete -c mm-path -l store -d 'With --check: directory of the restore points [default: that of the document, or of mm-backup]' -r -F
complete -c mm-path -l catalogue -d 'Add the releases, rules and notes of FILE to the catalogue; `none` plans with the built-in one alone' -r -F
complete -c mm-path -l assume-like -d 'Plan a release that the catalogue does not know as if it were of this line' -r
complete -c mm-path -l run -d 'With --resume, --status or --close: the run with this identifier [default: the last one]' -r
complete -c mm-path -l from -d 'Plan on paper: the release to start from' -r
complete -c mm-path -l from-edition -d 'Plan on paper: the installed edition [default: that of --edition]' -r -f -a "team\t'Team Edition (`Build Enterprise Ready: false`)'
enterprise\t'Enterprise Edition, licensed or not'"
complete -c mm-path -l from-postgres -d 'Plan on paper: the PostgreSQL version that the server uses' -r
complete -c mm-path -l from-mysql -d 'Plan on paper: the MySQL version that the server uses' -r
complete -c mm-path -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'
dot\t'A picture for Graphviz: the path, and the jumps that were rejected'
mermaid\t'The same picture for Mermaid'"
complete -c mm-path -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-path -l document -d 'Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read' -r -F
complete -c mm-path -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-path -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-path -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-path -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-path -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-path -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-path -l check -d 'Look into database, configuration and host for what will break on the way'
complete -c mm-path -l brief -d 'In the table for people, the hops and what stands in their way alone'
complete -c mm-path -l hops -d 'The releases to stop at alone, one a line'
complete -c mm-path -l notes -d 'The upgrade notes alone: what to do before, what to look at after, what to tell your users'
complete -c mm-path -l catalogue-status -d 'Say how old the catalogue of releases is and what it knows of each supported line, then end'
complete -c mm-path -l resume -d 'Give the document that the last run goes on with: finished hops are folded, what is left is planned'
complete -c mm-path -l status -d 'Tell how far the last run is, also while it is under way, and what is installed'
complete -c mm-path -l follow -d 'With --status: tell it again whenever it changes, until the run has ended'
complete -c mm-path -l close -d 'End the last run: what it has pinned is released'
complete -c mm-path -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-path -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-path -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-path -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-path -s V -l version -d 'Print version'
