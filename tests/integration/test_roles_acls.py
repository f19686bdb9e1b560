"""A relay with no more rights than `init --print` prints: a real role behind SCRAM, a real authorizer. Each right is taken
away in turn; what is missing is named, and when it is given back everything goes on without loss."""
import json
import re
import shlex

import pytest

from harness import system, wire
from integration_checks import wait_records

PRINCIPAL = "User:ferry"


def printed_acls(printed):
    """The arguments of each printed kafka-acls.sh."""
    commands = [shlex.split(line[3:]) for line in printed.splitlines() if line.startswith("-- kafka-acls.sh ")]
    assert commands
    return [command[1:] for command in commands]


@pytest.fixture
def least(secure_shop):
    """A SecureShop, with `apply_acls` and its principal without a single ACL."""
    shop = secure_shop
    port = shop.kafka.port
    shop.use_sasl("SCRAM-SHA-256", "ferry")
    # The printed command names the brokers of the config, where an administrator needs credentials; here they come in
    # through the listener on which they need none.
    shop.apply_acls = lambda printed: [
        shop.kafka.tool("kafka.admin.AclCommand",
                        *(shop.kafka.brokers if word == shop.config["kafka"]["brokers"] else word for word in arguments))
        for arguments in printed_acls(printed)]
    yield shop
    for acl in wire.acls(port, PRINCIPAL):
        wire.delete_acl(port, acl)


def test_the_printed_role_and_acls_are_enough(least):
    """Exactly what is printed: the SQL by psql as superuser, the ACLs by Kafka's own tool. The role may do nothing else."""
    printed = least.init("--print").stdout.decode()
    least.psql("drop table outbox")
    least.psql(printed)
    least.psql(f"alter role {least.role} password '{least.PG_PASSWORD}'")
    least.apply_acls(printed)
    least.drain()
    least.psql("insert into outbox (aggregatetype, aggregateid, type, payload) values ('orders', 'k', 'T', '{}')")
    least.psql("select walferry.emit('orders', 'T', 'k', '{}')")
    least.psql("insert into outbox (aggregatetype, aggregateid, type, partition) values ('orders', 'k', 'T', 99)")
    least.drain()
    assert len(least.events()) == 2 and len(least.quarantined()) == 1
    rights = least.query(f"""select rolsuper or rolcreatedb or rolcreaterole or rolbypassrls as much,
                                    has_table_privilege(rolname, 'outbox', 'insert, update, delete, truncate') as write,
                                    has_database_privilege(rolname, current_database(), 'create') as make
                             from pg_roles where rolname = '{least.role}'""")
    assert rights == [{"much": False, "write": False, "make": False}]
    assert {acl.resource for acl in wire.acls(least.kafka.port, PRINCIPAL)} == {"TransactionalId", "Topic"}
    least.run("status").expect_exit(0)
    # and as docs/operations.md takes them away again
    least.apply_acls(printed.replace(" --add ", " --remove --force "))
    system.wait_for(lambda: not wire.acls(least.kafka.port, PRINCIPAL), 10, "no ACL left")
    least.assert_no_secret_said()


# What a relay that lacks the right says: resource and operation. Describe is there for authorizers in which Write does not
# imply it, as it does in Kafka's own.
LACKING = [("TransactionalId", "Write", ["TransactionalId walferry.{name}", "Write"]),
           ("position", "Read", ["walferry.position.{name}", "Read"]),
           ("position", "Write", ["walferry.position.{name}", "Write"]),
           ("target", "Write", ["{name}.orders.events.v1", "Write"]),
           ("target", "Create", ["{name}.fresh.events.v1", "Create"]),
           ("quarantine", "Write", ["{name}.quarantine", "Write"])]


def acls_of(shop):
    position = f"walferry.position.{shop.name}"
    topics = {position: ["Read", "Write", "DescribeConfigs", "Create"],
              shop.quarantine_topic: ["Write", "DescribeConfigs", "Create"]}
    acls = [wire.Acl("TransactionalId", f"walferry.{shop.name}", "literal", PRINCIPAL, "Write")]
    acls += [wire.Acl("Topic", topic, "literal", PRINCIPAL, operation) for topic, operations in topics.items()
             for operation in operations]
    return acls + [wire.Acl("Topic", f"{shop.name}.", "prefixed", PRINCIPAL, operation)
                   for operation in ("Write", "DescribeConfigs", "Create")]


def find_acl(shop, what, operation):
    names = {"position": f"walferry.position.{shop.name}", "target": f"{shop.name}.", "quarantine": shop.quarantine_topic}
    return next(acl for acl in acls_of(shop)
                if acl.operation == operation and (acl.resource == what or acl.name == names.get(what)))


def take(shop, acl):
    """The broker that answers may hear of it a moment later."""
    wire.delete_acl(shop.kafka.port, acl)
    system.wait_for(lambda: acl not in wire.acls(shop.kafka.port, PRINCIPAL), 10, f"{acl} gone")


@pytest.fixture
def granted(least):
    """The ACLs in place, without the Describe that the others imply; Postgres lets it in as the superuser."""
    least.config["postgres"]["conninfo"] = least.postgres.conninfo(least.db)
    # So that the quarantine topic has a name that the prefix of the others does not cover.
    least.quarantine_topic = f"quarantine.{least.name}"
    least.config["relay"]["quarantine_topic"] = least.quarantine_topic
    for acl in acls_of(least):
        wire.create_acl(least.kafka.port, acl)
    system.wait_for(lambda: set(acls_of(least)) <= set(wire.acls(least.kafka.port, PRINCIPAL)), 10, "ACLs in force")
    return least


def test_describe_is_implied_and_no_other_acl_is_needed(granted):
    granted.drain()
    ids = granted.insert(3)
    granted.psql("insert into outbox (aggregatetype, aggregateid, type) values ('orders', 'k', '')")
    granted.drain()
    granted.assert_exactly_once(ids)
    assert len(granted.quarantined()) == 1


@pytest.mark.parametrize("what, operation, words", LACKING, ids=[f"{w}-{o}" for w, o, _ in LACKING])
def test_a_missing_acl_is_named_and_waited_for(granted, what, operation, words):
    shop = granted
    shop.drain()
    ids = shop.insert(1)
    shop.drain()
    acl = find_acl(shop, what, operation)
    take(shop, acl)
    relay = shop.relay(wait=False)
    ids += shop.insert(2) + shop.insert(1, aggregate="fresh")
    shop.psql("insert into outbox (aggregatetype, aggregateid, type) values ('orders', 'k', '')")
    words = [word.format(name=shop.name).replace(f"{shop.name}.quarantine", shop.quarantine_topic) for word in words]
    event = relay.wait_event("relay.recovering", timeout=40, remedy=lambda text: text and words[0] in text)
    assert event["kind"] in ("retry", "start_over") and relay.running
    assert all(word in event["remedy"] for word in words), event
    assert "authori" in event["error"].lower()
    wire.create_acl(shop.kafka.port, acl)
    wait_records(shop, len(ids), timeout=40)
    assert relay.terminate() == 0
    shop.drain()
    shop.assert_exactly_once(ids)
    assert len(shop.quarantined()) == 1


@pytest.mark.parametrize("what, name", [("TransactionalId", "TransactionalId walferry.{name}"),
                                        ("target", "topic {name}.orders.events.v1")])
def test_an_acl_that_is_taken_from_a_relay_that_runs(granted, what, name):
    relay = granted.relay()
    ids = granted.insert(1)
    wait_records(granted, 1)
    acl = find_acl(granted, what, "Write")
    take(granted, acl)
    ids += granted.insert(2)
    event = relay.wait_event("relay.recovering", timeout=40,
                             remedy=lambda text: text and name.format(name=granted.name) in text)
    assert "Write" in event["remedy"] and relay.running
    wire.create_acl(granted.kafka.port, acl)
    wait_records(granted, 3, timeout=40)
    assert relay.terminate() == 0
    granted.assert_exactly_once(ids)


def test_a_position_topic_that_may_not_be_made_is_named(granted):
    acl = find_acl(granted, "position", "Create")
    take(granted, acl)
    relay = granted.relay(wait=False)
    event = relay.wait_event("relay.recovering", remedy=lambda text: text and "Create" in text)
    assert f"walferry.position.{granted.name}" in event["remedy"]
    wire.create_acl(granted.kafka.port, acl)
    relay.wait_streaming()
    assert relay.terminate() == 0


def test_check_and_status_with_the_rights_of_a_relay(granted):
    """Under an authorizer they read what they may, and name what they may not."""
    granted.drain()
    granted.psql("insert into outbox (aggregatetype, aggregateid, type) values ('orders', 'k', '')")
    granted.drain()
    checks = {line["name"]: line for line in json.loads(granted.run("check", "--json").expect_exit(0).stdout)["checks"]}
    assert checks["rights"]["status"] == "skipped" and "fence" in checks["rights"]["message"]
    assert checks["position"]["status"] == "ok"

    reads = wire.Acl("Topic", granted.quarantine_topic, "literal", PRINCIPAL, "Read")
    run = granted.run("status")
    run.expect_exit(1)
    text = run.stdout.decode()
    assert re.search(rf"^quarantine +MISSING: .*\n +grant Read .*{granted.quarantine_topic}", text, re.M), text
    assert re.search(r"^position +[0-9A-F]+/", text, re.M) and "\nkafka" not in text
    assert "grant Read" in run.find("status.failed")["remedy"]
    wire.create_acl(granted.kafka.port, reads)
    system.wait_for(lambda: granted.run("status").exit_code == 0, 10, "ACL in force")
    assert f"{granted.quarantine_topic}: 1 record\n" in granted.run("status").expect_exit(0).stdout.decode()

    acl = find_acl(granted, "position", "Read")
    take(granted, acl)
    failed = [line for line in json.loads(granted.run("check", "--json").expect_exit(1).stdout)["checks"] if line["status"] == "fail"]
    assert [line["name"] for line in failed] == ["stored position"] and "grant Read" in failed[0]["remedy"]


def test_without_describe_configs_it_runs_and_says_what_it_cannot_check(granted):
    for what in ("position", "target", "quarantine"):
        take(granted, find_acl(granted, what, "DescribeConfigs"))
    granted.drain()
    ids = granted.insert(2)
    run = granted.drain()
    assert "DescribeConfigs" in json.dumps(run.find("kafka.topic_unchecked", topic=f"walferry.position.{granted.name}"))
    granted.assert_exactly_once(ids)


# Postgres


@pytest.fixture
def relaying(secure_shop):
    """The relay's own role over TLS, and Kafka without obstacles."""
    secure_shop.init_by_admin()
    secure_shop.drain()
    return secure_shop


@pytest.mark.parametrize("take, give, words", [
    ("alter role {role} noreplication", "alter role {role} replication", ["REPLICATION", "{role}"]),
    ("alter role {role} nologin", "alter role {role} login", ["{role}", "not permitted to log in"]),
    ("alter role {role} password null", "alter role {role} password '{password}'", ["{role}", "password"]),
    ("revoke connect on database \"{db}\" from public", "grant connect on database \"{db}\" to public",
     ["GRANT CONNECT", "{db}", "{role}"])], ids=["replication", "login", "password", "connect"])
def test_a_right_that_the_role_lacks_ends_the_start_and_names_it(relaying, take, give, words):
    names = {"role": relaying.role, "db": relaying.db, "password": relaying.PG_PASSWORD}
    ids = relaying.insert(1)
    relaying.psql(take.format(**names))
    try:
        run = relaying.run("relay").expect_exit(2)
        event = run.find("relay.failed")
        for word in words:
            assert word.format(**names) in event["error"] + " " + event["remedy"], event
    finally:
        relaying.postgres.psql(give.format(**names))
    relaying.drain()
    relaying.assert_exactly_once(ids)
    relaying.assert_no_secret_said()


def test_a_server_without_an_entry_in_pg_hba_for_it_is_named(relaying):
    postgres = relaying.postgres
    postgres.write_hba([line for line in postgres.hba if "scram" not in line])
    postgres.reload()
    try:
        event = relaying.run("relay").expect_exit(2).find("relay.failed")
        assert "no pg_hba.conf entry" in event["error"] and "pg_hba.conf" in event["remedy"]
    finally:
        postgres.write_hba(postgres.hba)
        postgres.reload()
    relaying.drain()


def test_the_relay_needs_no_right_on_the_tables(relaying):
    relaying.psql(f"revoke all on outbox from {relaying.role}; revoke all on schema walferry from {relaying.role}")
    ids = relaying.insert(2)
    relaying.drain()
    relaying.assert_exactly_once(ids)
