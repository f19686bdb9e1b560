# fish completion for walferry(1)

set -l commands relay inbox init check status dlq drop explain
set -l none "not __fish_seen_subcommand_from $commands"

complete -c walferry -f
complete -c walferry -n $none -a relay -d 'stream the outbox to Kafka'
complete -c walferry -n $none -a inbox -d 'hand events from Kafka to SQL handlers'
complete -c walferry -n $none -a init -d 'create outbox, functions, publication, slot and topics'
complete -c walferry -n $none -a check -d 'every precondition, with what to do where one fails'
complete -c walferry -n $none -a status -d 'slot, position, lag, who is active, quarantine'
complete -c walferry -n $none -a dlq -d "list, show, replay or discard the inbox's dead letters"
complete -c walferry -n $none -a drop -d 'remove slot, publication and position of an instance that is gone'
complete -c walferry -n $none -a explain -d 'what a refusal or error code means and what to do'
complete -c walferry -n $none -l version -d 'print the version'
complete -c walferry -l help -d 'print help'
complete -c walferry -l log-format -x -a 'text json' -d 'form of the log on stderr'

complete -c walferry -n '__fish_seen_subcommand_from relay inbox init check status dlq drop' -k -a '(__fish_complete_suffix .yaml)'
complete -c walferry -n '__fish_seen_subcommand_from relay' -l until -x -a now -d 'leave once everything up to there is published'
complete -c walferry -n '__fish_seen_subcommand_from relay' -l sink -x -a 'kafka stdout' -d 'where records go'
complete -c walferry -n '__fish_seen_subcommand_from relay' -l dry-run -x -d 'print the first N events, then leave'
complete -c walferry -n '__fish_seen_subcommand_from relay' -l adopt-slot -d 'go on from a slot without a stored position'
complete -c walferry -n '__fish_seen_subcommand_from inbox' -l until-end -d 'leave once what is in the topics is handled'
complete -c walferry -n '__fish_seen_subcommand_from init' -l print -d 'print SQL, topics and ACLs instead'
complete -c walferry -n '__fish_seen_subcommand_from init' -l admin -x -d 'connection for tables, functions, role and publication'
complete -c walferry -n '__fish_seen_subcommand_from check status' -l json -d 'one JSON object'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -a 'list show replay discard'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l id -x -d 'one letter'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l type -x -d 'letters of this type, exact or with *'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l code -x -d 'letters with this error code'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l since -x -d 'that failed first at this time or later'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l until -x -d 'that failed first before this time'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l state -x -a 'open replayed discarded' -d 'list these letters'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l all -d 'list letters of any state, or discard every open one'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l from-topic -x -d 'replay the letters of this dead-letter topic'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l limit -x -d 'try N letters at most'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l max-per-second -x -d 'no more messages a second'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l dry-run -d 'say what would be done'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l confirm -x -d 'as many letters are to be discarded'
complete -c walferry -n '__fish_seen_subcommand_from dlq' -l json -d 'JSON instead of text'
complete -c walferry -n '__fish_seen_subcommand_from drop' -l confirm -x -d 'the name in the config'
