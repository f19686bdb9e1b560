# A throw-away Kafka: one KRaft node, broker and controller in one JVM, from the jars on Maven Central. Sourced after
# common.sh; also used by tests/harness/kafka.py, so that there is one place that knows how the broker is set up.
#
#   kafka_fetch                                 downloads the jars once, prints their folder
#   kafka_prepare DIR DIRECT PROXY CTRL ADVERT [FORMAT ARGUMENT...]
#                                               formats DIR/data and writes DIR/server.properties
#   kafka_exec DIR                              becomes the broker (for a caller that wants to own the process)
#   kafka_start DIR                             starts it, waits until it listens, leaves its pid in DIR/kafka.pid
#   kafka_stop DIR                              by process id
#
# $WALFERRY_KAFKA_JVM takes the place of the JVM options that suit a test: a small heap, a compiler that starts fast.
#
# The listener DIRECT is for everybody. PROXY is a second one whose advertised port (ADVERT) may be a TCP proxy's: a client
# that bootstraps there keeps being sent there.

KAFKA_VERSION=${WALFERRY_KAFKA_VERSION:-3.9.1}
KAFKA_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/walferry/kafka-$KAFKA_VERSION

kafka_fetch() { fetch_once "$KAFKA_CACHE" "Kafka $KAFKA_VERSION from Maven Central, about 50 MB" kafka_fill; }

kafka_fill() {
    cat >"$1/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>walferry</groupId><artifactId>test-broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
    mvn -q -B -f "$1/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$1/fetched/libs"
}

kafka_prepare() {
    local dir=$1 direct=$2 proxy=$3 controller=$4 advertised=$5
    shift 5
    kafka_fetch >/dev/null || return 1
    mkdir -p "$dir/data" || return 1
    cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=DIRECT://127.0.0.1:$direct,PROXY://127.0.0.1:$proxy,CONTROLLER://127.0.0.1:$controller
advertised.listeners=DIRECT://127.0.0.1:$direct,PROXY://127.0.0.1:$advertised
listener.security.protocol.map=DIRECT:PLAINTEXT,PROXY:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=DIRECT
log.dirs=$dir/data
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
# So that a test need not wait long until the group misses a member that was killed.
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
# A broker killed with SIGKILL may register again only when its old session is over (default 9 s).
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
PROPERTIES
    # A cluster id is 16 bytes in URL-safe base64; a leading dash would read as an option.
    local id
    id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n')
    kafka_java "$dir" kafka.tools.StorageTool format -t "w${id:1}" -c "$dir/server.properties" "$@" >"$dir/format.log" 2>&1 || {
        cat "$dir/format.log" >&2
        return 1
    }
}

# kafka_java DIR CLASS ARGS...: becomes a JVM with the broker's classes.
kafka_java() {
    (kafka_exec_java "$@")
}

kafka_exec_java() {
    local dir=$1
    shift
    cd "$dir" || return 1
    # shellcheck disable=SC2086 # a list of options
    exec java ${WALFERRY_KAFKA_JVM--Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1} -XX:-UsePerfData \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true \
        -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS -cp "$KAFKA_CACHE/libs/*" "$@"
}

kafka_exec() { kafka_exec_java "$1" kafka.Kafka "$1/server.properties"; }

kafka_start() {
    local dir=$1 pid
    (kafka_exec "$dir") >>"$dir/kafka.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$dir/kafka.pid"
    wait_for_port "$(kafka_port "$dir")" "$pid" 60 && return 0
    tail -20 "$dir/kafka.log" >&2
    return 1
}

kafka_port() { sed -n 's#^listeners=DIRECT://127.0.0.1:\([0-9]*\),.*#\1#p' "$1/server.properties"; }

kafka_stop() {
    [ -f "$1/kafka.pid" ] || return 0
    stop_process "$(cat "$1/kafka.pid")" TERM 15
    rm -f "$1/kafka.pid"
}
