# bash completion for walferry(1)

_walferry() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command="" options i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            relay | replay | inbox | init | check | status | dlq | position | drop | explain)
                command=${COMP_WORDS[i]}
                break
                ;;
        esac
    done
    case $before in
        --log-format)
            mapfile -t COMPREPLY < <(compgen -W "text json" -- "$word")
            return
            ;;
        --until)
            [[ $command == dlq ]] || mapfile -t COMPREPLY < <(compgen -W "now" -- "$word")
            return
            ;;
        --state)
            mapfile -t COMPREPLY < <(compgen -W "open replayed discarded" -- "$word")
            return
            ;;
        --sink)
            mapfile -t COMPREPLY < <(compgen -W "kafka stdout" -- "$word")
            return
            ;;
        --source)
            mapfile -t COMPREPLY < <(compgen -W "slot table" -- "$word")
            return
            ;;
        --dry-run) [[ $command == dlq || $command == replay ]] || return ;;
        --admin | --confirm | --reason | --id | --type | --code | --since | --from-topic | --limit | --max-per-second | \
            --from | --to | --topic | --topic-suffix) return ;;
    esac
    options="--help --log-format"
    case $command in
        "") options="--help --version --log-format" ;;
        relay) options+=" --until --sink --dry-run --snapshot --adopt-slot" ;;
        replay) options+=" --from --to --source --type --topic --topic-suffix --sink --dry-run --again --max-per-second --json" ;;
        inbox) options+=" --until-end" ;;
        init) options+=" --print --admin --snapshot" ;;
        check) options+=" --json" ;;
        status) options+=" --json --lost" ;;
        dlq)
            options+=" --id --type --code --since --until --state --all --from-topic --limit --max-per-second --dry-run --confirm --json"
            ;;
        position) options+=" --confirm --reason --json" ;;
        drop) options+=" --confirm" ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "relay replay inbox init check status dlq position drop explain" -- "$word")
    elif [[ $command == dlq && $before != dlq ]]; then
        mapfile -t COMPREPLY < <(compgen -W "list show replay discard" -- "$word")
    elif [[ $command == position && $before != position ]]; then
        mapfile -t COMPREPLY < <(compgen -W "show history set" -- "$word")
    elif [[ $command != explain ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$word"; compgen -f -X '!*.y*ml' -- "$word")
    fi
} && complete -F _walferry walferry
