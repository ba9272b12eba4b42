complete -c mm-rehearse -l to -d 'release to arrive at (as mm-path takes it)' -r
complete -c mm-rehearse -l store -d 'where the restore points are (as mm-backup takes it) [default: that of mm-backup: MM_STORE, or /var/backups/mattermost]' -r -F
complete -c mm-rehearse -l point -d 'the restore point [default: the newest one of the installed version and database]' -r
complete -c mm-rehearse -l install -d 'install root of the server that the restore point is of; needed where the store has several' -r -F
complete -c mm-rehearse -l policy -d 'esr, minor or direct [default: esr]' -r
complete -c mm-rehearse -l postgres -d 'PostgreSQL major to be on at the end' -r
complete -c mm-rehearse -l edition -d 'team or enterprise, from the first hop on [default: the installed one]' -r
complete -c mm-rehearse -l work -d 'where the copy is built; needs room for it and for a restore point a hop [default: /var/lib/mm-tools/rehearsal]' -r -F
complete -c mm-rehearse -l flag -d 'hand FLAG to those verbs of TOOL that know it; can be repeated: --flag mm-fetch=--mirror=URL' -r
complete -c mm-rehearse -l shared-cluster -d 'as mm-upgrade has it; the restore point has to hold the other databases of the cluster too (mm-backup --whole-cluster), which are always rehearsed when it does'
complete -c mm-rehearse -l keep -d 'leave the copy running, and say where it is; the next rehearsal removes it'
complete -c mm-rehearse -s h -l help -d 'Print help (see more with \'--help\')'
