# Installs the Debian packages that are missing, and only those. Sourced after common.sh.

DEPS_BUILD="build-essential cmake file ninja-build pkg-config libpq-dev librdkafka-dev libjansson-dev libcyaml-dev libyaml-dev libmicrohttpd-dev libsystemd-dev libssl-dev uthash-dev libcmocka-dev python3"
DEPS_SERVERS="postgresql-15 postgresql-15-wal2json kcat openssl python3 procps util-linux"
DEPS_PACKAGE="debootstrap docker-compose fish groff lintian mandoc systemd zsh"
DEPS_TEST="python3-pytest python3-jsonschema clang clang-format libclang-rt-dev gcovr prometheus"

# deps_install build|servers|package|test ...
deps_install() {
    local group package wanted="" missing=""
    for group in "$@"; do
        case $group in
            build) wanted+=" $DEPS_BUILD" ;;
            servers) wanted+=" $DEPS_SERVERS" ;;
            package) wanted+=" $DEPS_PACKAGE" ;;
            test) wanted+=" $DEPS_TEST" ;;
            *) die "deps_install: no such group: $group" ;;
        esac
        if [ "$group" = servers ]; then
            deps_java_is_usable || wanted+=" default-jre-headless"
            command -v mvn >/dev/null || wanted+=" maven"
        fi
    done
    for package in $wanted; do
        deps_is_installed "$package" || [[ " $missing " == *" $package "* ]] || missing+=" $package"
    done
    [ -n "$missing" ] || return 0

    command -v apt-get >/dev/null || die "please install:$missing (this machine has no apt-get)"
    local sudo=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "please install, as root: apt-get install$missing"
        sudo=sudo
    fi
    deps_prevent_default_cluster "$sudo"
    say "installing$missing"
    local log
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of packages
    if ! { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing; } >"$log" 2>&1 </dev/null; then
        tail -30 "$log" >&2
        rm -f "$log"
        die "apt-get could not install:$missing"
    fi
    rm -f "$log"
    # For its promtool; the server itself, which Debian starts at once, nobody asked for.
    if [[ " $missing " == *" prometheus "* ]] && [ -d /run/systemd/system ]; then
        $sudo systemctl disable --now prometheus >/dev/null 2>&1 || warn "prometheus was installed and keeps running"
    fi
}

deps_is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

deps_java_is_usable() {
    local major
    major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -1)
    [ "${major:-0}" -ge 17 ] # for Kafka 4
}

# Debian's postgresql package starts a server of its own on port 5432 when it is installed. Nobody asked for one; a machine
# that has Postgres already is left as it is.
deps_prevent_default_cluster() {
    local conf=/etc/postgresql-common/createcluster.conf
    deps_is_installed postgresql-common && return 0
    [ -e "$conf" ] && return 0
    $1 mkdir -p "${conf%/*}" && echo "create_main_cluster = false" | $1 tee "$conf" >/dev/null
}
