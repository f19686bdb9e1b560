"""Kafka's admin requests over a plain socket: a JVM tool would need two seconds for each. One broker, loopback, no TLS.

Versions are the highest before each request's flexible format, known to brokers 2.x to 4.x.
Source: https://kafka.apache.org/protocol
"""
import collections
import socket
import struct
import time

API = {"produce": 0, "fetch": 1, "list_offsets": 2, "metadata": 3, "offset_commit": 8, "find_coordinator": 10, "create_topics": 19,
       "delete_topics": 20, "delete_records": 21, "init_producer_id": 22, "add_partitions_to_txn": 24, "end_txn": 26,
       "describe_acls": 29, "create_acls": 30, "delete_acls": 31, "describe_configs": 32, "create_partitions": 37, "incremental_alter_configs": 44}

ERRORS = {3: "UNKNOWN_TOPIC_OR_PARTITION", 5: "LEADER_NOT_AVAILABLE", 6: "NOT_LEADER_OR_FOLLOWER", 7: "REQUEST_TIMED_OUT", 17: "INVALID_TOPIC_EXCEPTION",
          36: "TOPIC_ALREADY_EXISTS", 37: "INVALID_PARTITIONS", 40: "INVALID_CONFIG", 41: "NOT_CONTROLLER"}


class KafkaError(Exception):
    def __init__(self, code, message=""):
        super().__init__(f"{ERRORS.get(code, code)} {message or ''}".strip())
        self.code = code


class _Writer:
    def __init__(self):
        self.data = bytearray()

    def put(self, fmt, *values):
        self.data += struct.pack(">" + fmt, *values)
        return self

    def string(self, text):
        if text is None:
            return self.put("h", -1)
        raw = text.encode()
        self.put("h", len(raw))
        self.data += raw
        return self

    def array(self, items, write):
        if items is None:
            return self.put("i", -1)
        self.put("i", len(items))
        for item in items:
            write(item)
        return self


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def get(self, fmt):
        values = struct.unpack_from(">" + fmt, self.data, self.at)
        self.at += struct.calcsize(">" + fmt)
        return values[0] if len(values) == 1 else values

    def string(self):
        length = self.get("h")
        if length < 0:
            return None
        raw = self.data[self.at:self.at + length]
        self.at += length
        return raw.decode()

    def array(self, read):
        return [read() for _ in range(max(0, self.get("i")))]


def call(port, api, version, body, timeout=15):
    request = _Writer().put("hhi", API[api], version, 1).string("walferry-tests")
    request.data += body.data
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(struct.pack(">i", len(request.data)) + request.data)
        size, = struct.unpack(">i", _exactly(s, 4))
        reader = _Reader(_exactly(s, size))
    reader.get("i")  # correlation id
    return reader


def _exactly(s, count):
    data = bytearray()
    while len(data) < count:
        chunk = s.recv(count - len(data))
        if not chunk:
            raise ConnectionError("the broker closed the connection")
        data += chunk
    return bytes(data)


def _check(code, message=None):
    if code != 0:
        raise KafkaError(code, message)


def metadata(port, timeout=15):
    """(brokers {id: (host, port)}, topics {name: partition count}); a topic whose partitions lack a leader counts 0."""
    r = call(port, "metadata", 4, _Writer().put("i?", -1, False), timeout)
    r.get("i")
    brokers = {}
    for _ in range(r.get("i")):
        node = r.get("i")
        brokers[node] = (r.string(), r.get("i"))
        r.string()
    cluster = r.string()
    r.get("i")
    topics = {}
    for _ in range(r.get("i")):
        code = r.get("h")
        name = r.string()
        r.get("?")
        leaders = []
        for _ in range(r.get("i")):
            error, _, leader = r.get("hii")
            r.array(lambda: r.get("i"))
            r.array(lambda: r.get("i"))
            leaders.append(error == 0 and leader >= 0)
        topics[name] = len(leaders) if code == 0 and all(leaders) else 0
    return brokers, topics, cluster


def create_topic(port, name, partitions=1, config=None):
    w = _Writer()

    def topic(_):
        w.string(name).put("ih", partitions, 1).put("i", 0)
        w.array(list((config or {}).items()), lambda kv: w.string(kv[0]).string(str(kv[1])))
    w.array([name], topic).put("i?", 15000, False)
    r = call(port, "create_topics", 2, w)
    r.get("i")
    for _ in range(r.get("i")):
        r.string()
        _check(r.get("h"), r.string())


def delete_topic(port, name):
    w = _Writer()
    w.array([name], w.string).put("i", 15000)
    r = call(port, "delete_topics", 1, w)
    r.get("i")
    for _ in range(r.get("i")):
        r.string()
        _check(r.get("h"))


def create_partitions(port, name, total):
    w = _Writer()
    w.array([name], lambda n: w.string(n).put("ii", total, -1)).put("i?", 15000, False)
    r = call(port, "create_partitions", 0, w)
    r.get("i")
    for _ in range(r.get("i")):
        r.string()
        _check(r.get("h"), r.string())


def alter_config(port, topic, config):
    """Sets the given configs of a topic; a value of None goes back to the default."""
    w = _Writer()

    def resource(name):
        w.put("b", 2).string(name)
        w.array(list(config.items()),
                lambda kv: w.string(kv[0]).put("b", 1 if kv[1] is None else 0).string(None if kv[1] is None else str(kv[1])))
    w.array([topic], resource).put("?", False)
    r = call(port, "incremental_alter_configs", 0, w)
    r.get("i")
    for _ in range(r.get("i")):
        _check(r.get("h"), r.string())
        r.get("b")
        r.string()


def describe_config(port, topic):
    w = _Writer()
    w.array([topic], lambda n: w.put("b", 2).string(n).put("i", -1)).put("?", False)
    r = call(port, "describe_configs", 1, w)
    r.get("i")
    found = {}
    for _ in range(r.get("i")):
        _check(r.get("h"), r.string())
        r.get("b")
        r.string()
        for _ in range(r.get("i")):
            name, value = r.string(), r.string()
            r.get("?b?")
            r.array(lambda: (r.string(), r.string(), r.get("b")))
            found[name] = value
    return found


# A topic that was just made: its metadata are there before its leader answers.
_NOT_YET = (3, 5, 6)


def offsets(port, topic, partitions, timestamp=-1, committed=False, timeout=15):
    """{partition: offset} at a timestamp (-1 the end, -2 the start); committed: the end a read_committed reader sees."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return _offsets(port, topic, partitions, timestamp, committed)
        except KafkaError as e:
            if e.code not in _NOT_YET or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _offsets(port, topic, partitions, timestamp, committed):
    w = _Writer().put("ib", -1, 1 if committed else 0)
    w.array([topic], lambda n: w.string(n).array(range(partitions), lambda p: w.put("iq", p, timestamp)))
    r = call(port, "list_offsets", 2, w)
    r.get("i")
    found = {}
    for _ in range(r.get("i")):
        r.string()
        for _ in range(r.get("i")):
            partition, code, _, offset = r.get("ihqq")
            _check(code)
            found[partition] = offset
    return found


def delete_records(port, topic, before):
    """before: {partition: offset}; records below are gone (-1: all)."""
    w = _Writer()
    w.array([topic], lambda n: w.string(n).array(list(before.items()), lambda po: w.put("iq", *po))).put("i", 15000)
    r = call(port, "delete_records", 0, w)
    r.get("i")
    for _ in range(r.get("i")):
        r.string()
        for _ in range(r.get("i")):
            _, _, code = r.get("iqh")
            _check(code)


def commit_offset(port, group, topic, partition, offset, text=""):
    """As somebody who is no member of the group."""
    w = _Writer().string(group).put("i", -1).string("").put("q", -1)
    w.array([topic], lambda t: w.string(t).array([partition], lambda p: w.put("iq", p, offset).string(text)))
    r = call(port, "offset_commit", 2, w)
    for _ in range(r.get("i")):
        r.string()
        for _ in range(r.get("i")):
            _check(r.get("ih")[1])


RESOURCES = {2: "Topic", 3: "Group", 4: "Cluster", 5: "TransactionalId"}
OPERATIONS = {3: "Read", 4: "Write", 5: "Create", 6: "Delete", 8: "Describe", 10: "DescribeConfigs", 12: "IdempotentWrite"}
PATTERNS = {3: "literal", 4: "prefixed"}
_ANY, _ALLOW = 1, 3


class Acl(collections.namedtuple("Acl", "resource name pattern principal operation")):
    """Allows an operation from any host: Acl("Topic", "t", "literal", "User:u", "Write")."""

    def write(self, w):
        by_name = {name: number for names in (RESOURCES, PATTERNS, OPERATIONS) for number, name in names.items()}
        w.put("b", by_name[self.resource]).string(self.name).put("b", by_name[self.pattern])
        return w.string(self.principal).string("*").put("bb", by_name[self.operation], _ALLOW)


def acls(port, principal):
    w = _Writer().put("b", _ANY).string(None).put("b", _ANY).string(principal).string(None).put("bb", _ANY, _ANY)
    r = call(port, "describe_acls", 1, w)
    r.get("i")
    _check(r.get("h"), r.string())
    found = []
    for _ in range(r.get("i")):
        resource, name, pattern = RESOURCES[r.get("b")], r.string(), PATTERNS[r.get("b")]
        for _ in range(r.get("i")):
            who, _, operation, _ = r.string(), r.string(), OPERATIONS[r.get("b")], r.get("b")
            found.append(Acl(resource, name, pattern, who, operation))
    return sorted(found)


def create_acl(port, acl):
    r = call(port, "create_acls", 1, acl.write(_Writer().put("i", 1)))
    r.get("ii")
    _check(r.get("h"), r.string())


def delete_acl(port, acl):
    r = call(port, "delete_acls", 1, acl.write(_Writer().put("i", 1)))
    r.get("ii")
    _check(r.get("h"), r.string())
