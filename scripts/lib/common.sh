# What every script here shares: where the repository is, free ports, temp folders, and stopping processes by their ids.
# Sourced, never run. Defines functions and ROOT; sets no traps.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PYTHON=/usr/bin/python3 # Debian's: a pyenv python on PATH would lack Debian's pytest

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
    warn "${0##*/}: $*"
    exit 1
}

# Prints COUNT free loopback ports. They lie below the ephemeral range (32768 and up), so that no outgoing connection takes
# one while its server is being restarted.
free_ports() {
    "$PYTHON" - "${1:-1}" <<'PY'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randint(15000, 32000)))
        held.append(s)
    except OSError:
        s.close()
print(*[s.getsockname()[1] for s in held])
PY
}

# A temp folder that the postgres user can enter too. It lies in RAM-or-disk as TMPDIR says.
make_temp_dir() {
    local dir
    dir=$(mktemp -d "${TMPDIR:-/tmp}/walferry-${1:-run}.XXXXXX") && chmod 755 "$dir" && printf '%s\n' "$dir"
}

process_alive() { [ -n "${1:-}" ] && kill -0 "$1" 2>/dev/null && [ "$(ps -o stat= -p "$1" | cut -c1)" != Z ]; }

# stop_process PID [SIGNAL [SECONDS]]: the signal first, SIGKILL when it did not help in time.
stop_process() {
    local pid=${1:-} signal=${2:-TERM} seconds=${3:-10} i
    process_alive "$pid" || return 0
    kill -CONT "$pid" 2>/dev/null
    kill "-$signal" "$pid" 2>/dev/null
    for ((i = 0; i < seconds * 20; i++)); do
        process_alive "$pid" || return 0
        sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null
    for ((i = 0; i < 100; i++)); do
        process_alive "$pid" || return 0
        sleep 0.05
    done
    warn "process $pid does not end"
    return 1
}

# wait_for_port PORT PID SECONDS: true once something listens there, false when the process ended or the time is over.
wait_for_port() {
    local port=$1 pid=$2 seconds=${3:-30} i
    for ((i = 0; i < seconds * 20; i++)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return 0
        process_alive "$pid" || return 1
        sleep 0.05
    done
    return 1
}

# fetch_once FOLDER WHAT FILL: prints FOLDER, a cache that is filled when it is first needed: FILL WORK has to make
# WORK/fetched. What it prints is a log, shown when three attempts were in vain.
fetch_once() {
    local folder=$1 what=$2 fill=$3 work attempt
    if [ -f "$folder/complete" ]; then
        printf '%s\n' "$folder"
        return 0
    fi
    warn "fetching $what (once)"
    mkdir -p "${folder%/*}" || return 1
    work=$(mktemp -d "${folder%/*}/fetch.XXXXXX") || return 1
    for attempt in 1 2 3; do
        if "$fill" "$work" >"$work/log" 2>&1 </dev/null && touch "$work/fetched/complete"; then
            # A second fetcher may have been faster; its folder is as good as ours.
            mv -T "$work/fetched" "$folder" 2>/dev/null
            rm -rf "$work"
            [ -f "$folder/complete" ] && printf '%s\n' "$folder"
            return
        fi
        sleep "$attempt"
    done
    tail -20 "$work/log" >&2
    rm -rf "$work"
    return 1
}

now_ms() { date +%s%3N; }
seconds_since() { awk -v a="$1" -v b="$(now_ms)" 'BEGIN { printf "%.1f s", (b - a) / 1000 }'; }
