complete -c mm-fetch -l edition -d 'Edition of the releases [default: that of the document, or of the installation]' -r -f -a "team\t'Team Edition (`Build Enterprise Ready: false`)'
enterprise\t'Enterprise Edition, licensed or not'"
complete -c mm-fetch -l arch -d 'Processor the releases are for: amd64 or arm64 [default: this machine\'s]' -r
complete -c mm-fetch -l cache -d 'Directory that keeps what was fetched' -r -F
complete -c mm-fetch -l mirror -d 'Take the releases from here: an address or a directory with VERSION/mattermost-team-VERSION-linux-amd64.tar.gz' -r
complete -c mm-fetch -l jobs -d 'Downloads at the same time' -r
complete -c mm-fetch -l sha256 -d 'Trust this digest; with VERSION= in front where more than one release is fetched. May be given more than once' -r
complete -c mm-fetch -l keyring -d 'Verify the detached OpenPGP signature of every release, against the keys in FILE in place of Mattermost\'s own' -r -F
complete -c mm-fetch -l ca -d 'Trust the certificate authorities in FILE (PEM) beside the host\'s; also a server\'s own self-signed certificate, made with basicConstraints=CA:FALSE' -r -F
complete -c mm-fetch -l bundle -d 'Put everything that a host without internet needs into DIR' -r -F
complete -c mm-fetch -l from-bundle -d 'Take the releases from a directory that --bundle made; implies --offline' -r -F
complete -c mm-fetch -l catalogue -d 'Add the releases of FILE to the catalogue; `none` uses the built-in one alone [default: what mm-path was given]' -r -F
complete -c mm-fetch -l connect-timeout -d 'Seconds to reach a server: name, connection, TLS' -r
complete -c mm-fetch -l answer-timeout -d 'Seconds from the request to the head of the answer (a proxy that scans files takes long)' -r
complete -c mm-fetch -l stall-timeout -d 'Seconds in which less than 1 KiB a second came in, before the connection is given up' -r
complete -c mm-fetch -l retries -d 'Failures in a row, without progress between them, before a download is given up' -r
complete -c mm-fetch -l retry-wait -d 'Seconds before the first new attempt; doubled for each further one' -r
complete -c mm-fetch -l retry-wait-max -d 'Most seconds to wait before an attempt, also when the server asks for more' -r
complete -c mm-fetch -l max-bytes -d 'Most bytes of a tarball' -r
complete -c mm-fetch -l max-entries -d 'Most entries in a tarball' -r
complete -c mm-fetch -l max-file-bytes -d 'Most bytes of one file in a tarball' -r
complete -c mm-fetch -l max-unpacked-bytes -d 'Most bytes of all files in a tarball' -r
complete -c mm-fetch -l format -d 'What to write to standard output' -r -f -a "auto\t'A table on a terminal, the document elsewhere'
json\t'The document'
human\t'A table for people'"
complete -c mm-fetch -l install -d 'Install root of the Mattermost server [default: that of the document, or /opt/mattermost]' -r -F
complete -c mm-fetch -l document -d 'Read the document from FILE; `-` is standard input, and it must be there' -r -F
complete -c mm-fetch -l state-dir -d 'Directory for journal, lock and baselines [default: /var/lib/mm-tools]' -r -F
complete -c mm-fetch -l service -d 'Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]' -r
complete -c mm-fetch -l stop-command -d 'Command that stops the server, for `--service command`' -r
complete -c mm-fetch -l start-command -d 'Command that starts the server, for `--service command`' -r
complete -c mm-fetch -l accept -d 'Go on although the check with this id failed; can be repeated' -r
complete -c mm-fetch -l lock-wait -d 'Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]' -r
complete -c mm-fetch -l offline -d 'Use no network: only the cache, a mirror that is a directory, or a bundle'
complete -c mm-fetch -l dry-run -d 'Say what would be done, change nothing'
complete -c mm-fetch -s v -l verbose -d 'Say on stderr what is done'
complete -c mm-fetch -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c mm-fetch -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mm-fetch -s V -l version -d 'Print version'
