complete -c mm-report -l format -r -f -a "markdown\t''
html\t''"
complete -c mm-report -s h -l help -d 'Print help (see more with \'--help\')'
