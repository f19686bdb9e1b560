"""What is served over HTTP, asked from outside: pages, limits, and whether readiness follows the wire and Kafka."""
import concurrent.futures
import contextlib
import http.client
import json
import re
import socket
import subprocess
import threading
import time

import pytest

from harness import system
from harness.servers import lsn_number
from harness.walferry import Walferry, tool
from integration_checks import assert_ends_whole, ready, said, wait_acked, wait_records

DASHBOARDS = system.ROOT / "config" / "dashboards"


def served(shop, listen="127.0.0.1:0", **sections):
    """A config with HTTP on a free port."""
    return shop.changed(http={"listen": listen}, **sections)


def port_of(run):
    return run.wait_event("http.listening")["port"]


def request(run, path, method="GET", headers=None, body=None, host="127.0.0.1"):
    """(status, headers, text)"""
    connection = http.client.HTTPConnection(host, port_of(run), timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def get_json(run, path):
    status, _, text = request(run, path)
    return status, json.loads(text)


def metrics(run, instance="shop"):
    """{'walferry_lag_seconds': 0.0, 'walferry_relay_state{state="standby"}': 1.0, ...}; the label name is checked and
    left out. The page is one that promtool takes."""
    status, headers, text = request(run, "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
    assert checked.returncode == 0 and not checked.stdout + checked.stderr, checked.stdout + checked.stderr
    samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, label, rest, value = re.fullmatch(r'(\w+)\{name="([^"]*)",?([^}]*)\} (\S+)', line).groups()
            assert label.startswith(instance), line
            samples[name + ("{" + rest + "}" if rest else "")] = float(value)
    return samples


def wait_ready(run, timeout=30):
    system.wait_for(lambda: request(run, "/readyz")[0] == 200, timeout, "ready")


def wait_not_ready(run, reason, timeout=20):
    """The page, once it says so."""
    def look():
        status, page = get_json(run, "/readyz")
        return page if status == 503 and page["reason"] == reason else None
    try:
        page = system.wait_for(look, timeout, f"not ready: {reason}")
    except TimeoutError as e:
        raise AssertionError(f"{e}; it is {get_json(run, '/readyz')}") from None
    assert page["ready"] is False
    assert get_json(run, "/healthz")[0] == 200, "waiting is all that would help"
    return page


# Pages


def test_the_pages_tell_what_the_servers_say(shop):
    shop.config["postgres"]["conninfo"] += " password=geheim-4711"
    run = shop.relay(config=served(shop))
    shop.insert(3)
    shop.insert(2)
    shop.insert(1, type="")  # to the quarantine
    wait_records(shop, 5)
    wait_acked(shop, shop.postgres.flush_lsn())
    acked = shop.confirmed_flush()
    values = system.wait_for(lambda: (v := metrics(run))["walferry_slot_confirmed_flush_lsn"] >= acked and v, 15,
                             "the slot is read again")

    assert values["walferry_ready"] == 1
    assert [k for k, v in values.items() if k.startswith("walferry_relay_state") and v] == \
        ['walferry_relay_state{state="streaming"}']
    assert values["walferry_events_published_total"] == 6
    assert values["walferry_transactions_published_total"] == 3
    assert values["walferry_events_quarantined_total"] == 1
    assert values['walferry_quarantined_by_code_total{code="missing_type"}'] == 1
    assert values["walferry_published_bytes_total"] > 500
    assert values["walferry_end_to_end_seconds_count"] == 3
    assert 0 < values["walferry_end_to_end_seconds_sum"] < 60
    assert values["walferry_kafka_commit_seconds_count"] == values["walferry_kafka_transactions_total"] >= 3
    assert values["walferry_generations_total"] == 1
    assert values["walferry_lag_seconds"] == 0 and values["walferry_unpublished_events"] == 0
    assert values["walferry_queue_bytes"] == 0 and values["walferry_queue_limit_bytes"] == 14 << 20
    position = shop.position()
    assert values["walferry_position_commit_lsn"] == lsn_number(position["commit_lsn"])
    row = shop.postgres.slot(shop.slot)
    assert acked <= values["walferry_slot_confirmed_flush_lsn"] <= lsn_number(row["confirmed_flush_lsn"])
    assert values["walferry_lag_bytes"] == values["walferry_server_wal_lsn"] - values["walferry_slot_confirmed_flush_lsn"]
    assert values["walferry_slot_restart_lsn"] <= lsn_number(row["restart_lsn"])
    assert values["walferry_slot_retained_bytes"] == values["walferry_server_wal_lsn"] - values["walferry_slot_restart_lsn"]
    assert values[f'walferry_slot_wal_status{{status="{row["wal_status"]}"}}'] == 1
    assert abs(values["walferry_slot_read_timestamp_seconds"] - time.time()) < 10
    assert abs(values["process_start_time_seconds"] - time.time()) < 60
    assert values["process_resident_memory_bytes"] > 1 << 20

    status, page = get_json(run, "/status")
    assert status == 200 and page["name"] == shop.name and page["state"] == "streaming" and page["ready"] is True
    assert page["position"]["commit_lsn"] == position["commit_lsn"]
    assert page["slot"]["name"] == shop.slot and lsn_number(page["slot"]["confirmed_flush_lsn"]) >= acked
    assert page["published"]["events"] == 6 and page["quarantined"] == {"missing_type": 1}
    assert page["last_error"] is None and page["lag"]["seconds"] == 0
    assert request(run, "/readyz")[0] == 200
    assert get_json(run, "/healthz")[1]["alive"] is True
    status, _, index = request(run, "/")
    for path in ["/metrics", "/healthz", "/readyz", "/status"]:
        assert path in index
        text = request(run, path)[2]
        assert "geheim" not in text and "password" not in text and "dbname" not in text
    assert "geheim" not in said(run)


def test_the_retained_wal_has_its_limit(shop):
    shop.psql("alter system set max_slot_wal_keep_size = '1500MB'")
    shop.postgres.reload()
    try:
        run = shop.relay(config=served(shop))
        values = system.wait_for(lambda: (v := metrics(run)).get("walferry_slot_wal_keep_limit_bytes") and v, 15, "limit")
        assert values["walferry_slot_wal_keep_limit_bytes"] == 1500 << 20
        wal = shop.postgres.slot(shop.slot)["safe_wal_size"]
        assert abs(values["walferry_slot_safe_wal_bytes"] - wal) < 64 << 20
        before = values["walferry_slot_retained_bytes"]
        shop.psql("create table noise (n int)")
        with shop.session() as held:  # holds restart_lsn back
            held.run("begin; insert into noise values (1);")
            shop.psql("insert into noise select n from generate_series(1, 20000) n")
            system.wait_for(lambda: metrics(run)["walferry_slot_retained_bytes"] > before + 500_000, 15, "more is retained")
    finally:
        shop.psql("alter system reset max_slot_wal_keep_size")
        shop.postgres.reload()


def test_dashboard_and_alerts_use_only_metrics_that_exist(shop, inbox_pages):
    shop.psql("alter system set max_slot_wal_keep_size = '10GB'")
    shop.postgres.reload()
    shop.config["postgres"] |= {"replay": {}, "create": True}
    shop.config["relay"]["after_publish"] = "mark"
    shop.psql("alter table outbox add column published_at timestamptz")
    try:
        run = shop.relay(config=served(shop))
        shop.insert(1, type="")
        system.wait_for(lambda: metrics(run).get("walferry_replay_slot_since_timestamp_seconds"), 15, "the held-back slot")
        mark = run.mark()
        shop.postgres.terminate_slot_user(shop.slot)
        run.wait_streaming(after=mark)
        system.wait_for(lambda: metrics(run).get("walferry_slot_safe_wal_bytes"), 15, "the slot's row")
        system.wait_for(lambda: metrics(run)["walferry_events_quarantined_total"], 15, "a quarantined row")
        exists = {name.split("{")[0] for served_by in (run, inbox_pages("held_up")) for name in metrics(served_by)}
    finally:
        shop.psql("alter system reset max_slot_wal_keep_size")
        shop.postgres.reload()
    alerts = (DASHBOARDS / "alerts.yaml").read_text()
    dashboard = json.loads((DASHBOARDS / "walferry.json").read_text())
    expressions = re.findall(r"^ +expr: (?:\|\n((?: {10}.*\n)+)|(.*))", alerts, re.M)
    texts = [a or b for a, b in expressions]
    assert len(texts) == alerts.count("- alert:")
    texts += [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", [])]
    used = {name for text in texts for name in re.findall(r"\b(?:walferry|process)_\w+", text)}
    assert len(used) > 20 and used <= exists, used - exists
    # and all that is served is in the reference
    reference = (system.ROOT / "docs" / "operations.md").read_text()
    missing = {re.sub("_(bucket|sum|count)$", "", name) for name in exists} - set(re.findall(r"`(\w+)", reference))
    assert not missing, f"not in docs/operations.md: {missing}"
    for anchor in re.findall(r"runbook: docs/operations.md#([a-z-]+)", alerts):
        headings = {h.lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)", reference, re.M)}
        assert anchor in headings, f"no heading for #{anchor}"


def test_the_alert_rules_are_valid_and_fire_as_they_should():
    for command in (["check", "rules", DASHBOARDS / "alerts.yaml"],
                    ["test", "rules", system.ROOT / "tests" / "integration" / "alerts_test.yaml"]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    alerts = (DASHBOARDS / "alerts.yaml").read_text()
    tested = (system.ROOT / "tests" / "integration" / "alerts_test.yaml").read_text()
    for name in re.findall(r"- alert: (\w+)", alerts):
        assert re.search(rf"alertname: {name}\n +eval_time: \w+\n +exp_alerts:\n +- exp_labels", tested), f"{name} never fires"


@contextlib.contextmanager
def many_readers(run):
    stop = threading.Event()

    def read(path):
        count = 0
        while not stop.is_set():
            status, _, text = request(run, path)
            assert status in (200, 503) and text
            count += 1
        return count
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, path) for path in ("/metrics", "/status", "/readyz", "/healthz")]
        try:
            yield
        finally:
            stop.set()
        assert all(reader.result() > 5 for reader in readers)


def test_pages_while_events_flow_and_generations_change(shop):
    """Many readers, a busy relay, a walsender that is ended: also run under ThreadSanitizer."""
    run = shop.relay(config=served(shop))
    with many_readers(run):
        shop.insert_many(3000)
        mark = run.mark()
        shop.postgres.terminate_slot_user(shop.slot)
        run.wait_streaming(60, after=mark)
        shop.insert_many(3000)
        wait_records(shop, 6000, 60)
    values = metrics(run)
    recoveries = [v for k, v in values.items() if k.startswith("walferry_recoveries_total")]
    assert values["walferry_generations_total"] == 2 and sum(recoveries) == 1
    assert_ends_whole(shop, run)


# The inbox


@pytest.fixture
def inbox_pages():
    """Serves what an inbox that is in some trouble reports: "held_up" or "stopped"."""
    with contextlib.ExitStack() as running:
        yield lambda trouble: running.enter_context(Walferry(trouble, binary_path=tool("inbox_pages")))


def test_the_inbox_tells_events_partitions_and_times(inbox_pages):
    run = inbox_pages("held_up")
    values = metrics(run)
    assert values["walferry_ready"] == 1 and values['walferry_inbox_state{state="streaming"}'] == 1
    assert values['walferry_inbox_events_total{type="RentalReserved",outcome="processed"}'] == 3
    assert values['walferry_inbox_events_total{type="RentalReserved",outcome="dead_lettered"}'] == 0
    odd = r'type="Odd \"type\" \\ of\nevent*"'
    assert values["walferry_inbox_events_total{" + odd + ',outcome="dead_lettered"}'] == 1
    assert values['walferry_inbox_events_total{type="",outcome="dead_lettered"}'] == 1
    assert values["walferry_inbox_retries_total{" + odd + "}"] == 1
    assert values['walferry_inbox_dead_letters_total{code="unmatched"}'] == 1
    assert values['walferry_inbox_handler_seconds_sum{type="RentalReserved"}'] == 0.0045
    assert values["walferry_inbox_batch_messages_total"] == 6 and values["walferry_inbox_batch_seconds_count"] == 1
    second = 'topic="fleet.rentals",partition="1"'
    assert values["walferry_inbox_partition_state{" + second + ',state="backing_off"}'] == 1
    assert values["walferry_inbox_lag_messages{" + second + "}"] == 7
    assert 5 <= values["walferry_inbox_lag_seconds{" + second + "}"] < 60
    assert values['walferry_recoveries_total{kind="retry"}'] == 1
    status, page = get_json(run, "/readyz")
    assert status == 200 and [p["code"] for p in page["held_up"]] == ["retries_exhausted"]
    assert get_json(run, "/healthz") == (200, {"name": "shop", "alive": True, "inbox_thread_step_seconds_ago": 0})
    status, page = get_json(run, "/status")
    assert status == 200 and page["group"] == "accounting" and len(page["partitions"]) == 2
    assert page["last_error"]["error"] == "connection refused"
    assert run.terminate() == 0


def test_an_inbox_with_a_stopped_partition_is_alive_and_not_ready(inbox_pages):
    run = inbox_pages("stopped")
    page = wait_not_ready(run, "partition_stopped")
    assert page["error"] == "fleet.rentals [0], topic_recreated: the record at offset 99 is another one"
    assert {p["state"] for p in page["held_up"]} == {"stopped", "backing_off"}
    values = metrics(run)
    assert values["walferry_ready"] == 0
    first = 'topic="fleet.rentals",partition="0"'
    assert values["walferry_inbox_partition_state{" + first + ',state="stopped"}'] == 1
    assert "walferry_inbox_lag_messages{" + first + "}" not in values
    assert run.terminate() == 0


def served_inbox(inbox, **values):
    """It listens elsewhere than a relay of the same config would."""
    return inbox.changed(**values) | {"http": {"listen": "192.0.2.1:1", "inbox_listen": "127.0.0.1:0"}}


def wait_values(run, matches):
    return system.wait_for(lambda: (v := metrics(run, "inbox")) and matches(v) and v, 20, "the metrics")


SOMETIMES = """create or replace function app.on_event(e jsonb) returns void language plpgsql as $$ begin
  if e->>'payload' = 'bad' then raise exception 'no way'; end if;
  if e->>'payload' = 'busy' then raise exception 'busy' using errcode = '40001'; end if;
  insert into app.seen (id) values (e->>'id');
end $$"""


def test_a_running_inbox_counts_what_it_does(inbox):
    inbox.psql(SOMETIMES)
    run = inbox.start(config=served_inbox(inbox, handlers=[{"type": "Happened", "call": "app.on_event"}]))
    wait_ready(run)
    ids = inbox.produce("a", "b", "bad", partition=0)
    inbox.produce({"id": ids[0], "payload": "again"}, partition=1)
    inbox.produce("c", type="Other", partition=1)
    values = wait_values(run, lambda v: sum(n for k, n in v.items() if k.startswith("walferry_inbox_events_total")) == 5)
    events = {k: n for k, n in values.items() if k.startswith("walferry_inbox_events_total") and n}
    assert events == {
        'walferry_inbox_events_total{type="Happened",outcome="processed"}': 2,
        'walferry_inbox_events_total{type="Happened",outcome="duplicate"}': 1,
        'walferry_inbox_events_total{type="Happened",outcome="dead_lettered"}': 1,
        'walferry_inbox_events_total{type="",outcome="dead_lettered"}': 1}
    assert values['walferry_inbox_dead_letters_total{code="handler_failed"}'] == 1
    assert values['walferry_inbox_handler_seconds_count{type="Happened"}'] == 2
    assert values["walferry_inbox_batch_messages_total"] >= values["walferry_inbox_batch_seconds_count"] > 0
    assert values["walferry_ready"] == 1 and values['walferry_inbox_state{state="streaming"}'] == 1
    wait_values(run, lambda v: [v[f'walferry_inbox_next_offset{{topic="{inbox.topic}",partition="{n}"}}'] for n in range(3)]
                == [3, 2, 0])
    status, page = get_json(run, "/status")
    assert status == 200 and page["group"] == inbox.group and page["lag"] == {"messages": 0, "seconds": 0}
    assert page["events"] == 5
    assert run.terminate() == 0


def test_pages_while_events_flow_through_an_inbox(inbox):
    """Many readers, a busy inbox, a session that is ended: also run under ThreadSanitizer."""
    run = inbox.start(config=served_inbox(inbox))
    with many_readers(run):
        wait_ready(run)
        inbox.produce(*range(1000), partition=0)
        mark = run.mark()
        inbox.psql("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'walferry/%'")
        inbox.produce(*range(1000), partition=1)
        run.wait_event("inbox.streaming", after=mark, timeout=60)
        system.wait_for(lambda: len(inbox.seen()) == 2000, 60, "all events")
    assert sum(v for k, v in metrics(run, "inbox").items() if k.startswith("walferry_recoveries_total")) >= 1
    assert run.terminate() == 0


def test_a_partition_that_backs_off_is_named_and_the_inbox_is_ready(inbox):
    inbox.psql(SOMETIMES)
    slow = {"max_attempts": 9, "backoff_ms": 60000, "backoff_max_ms": 60000}
    run = inbox.start(config=served_inbox(inbox, retry=slow))
    wait_ready(run)
    inbox.produce("busy", "b", partition=2)
    inbox.produce("c", partition=1)
    page = system.wait_for(lambda: (p := get_json(run, "/readyz")[1])["held_up"] and p, 20, "backing off")
    assert page["ready"] is True
    partition, = page["held_up"]
    assert (partition["partition"], partition["state"], partition["attempts"]) == (2, "backing_off", 1)
    assert partition["code"] and "busy" in partition["error"]
    place = f'{{topic="{inbox.topic}",partition="2"}}'
    values = wait_values(run, lambda v: v["walferry_inbox_lag_seconds" + place] > 1)
    assert values['walferry_inbox_retries_total{type="*"}'] == 1
    assert run.terminate() == 0


def test_a_stopped_partition_makes_a_running_inbox_not_ready(inbox):
    inbox.produce(*range(5), partition=0)
    inbox.drain()
    inbox.produce(*range(5), partition=0)
    inbox.kafka.delete_records(inbox.topic, {0: 8})
    run = inbox.start(config=served_inbox(inbox))
    page = wait_not_ready(run, "partition_stopped")
    assert page["state"] == "streaming" and "offset_deleted" in page["error"]
    values = metrics(run, "inbox")
    assert values[f'walferry_inbox_partition_state{{topic="{inbox.topic}",partition="0",state="stopped"}}'] == 1
    assert run.terminate() == 0


def test_a_running_inbox_names_the_server_that_is_away(make_inbox, kafka, postgres_proxy):
    inbox = make_inbox(pg_proxy=True, kafka_proxy=True)
    run = inbox.start(config=served_inbox(inbox))
    wait_ready(run)
    postgres_proxy.refuse()
    inbox.produce("a", partition=0)
    page = wait_not_ready(run, "postgres_away")
    assert page["error"] and page["state"] == "recovering"
    values = metrics(run, "inbox")
    assert values["walferry_ready"] == 0 and values['walferry_recoveries_total{kind="retry"}'] >= 1
    postgres_proxy.heal()
    wait_ready(run)
    kafka.proxy.refuse()
    assert wait_not_ready(run, "kafka_away")["error"]
    kafka.proxy.heal()
    wait_ready(run, 60)
    assert run.terminate() == 0


# Requests that are not taken


def raw(run, data):
    """What comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port_of(run)), 10) as s:
        s.sendall(data)
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
        return answer


def test_requests_have_limits(shop):
    """No servers needed: nothing answers at these ports, and HTTP is up all the same."""
    down = f"host=127.0.0.1 port={system.free_ports(1)[0]} dbname=x user=x"
    run = shop.start(config=served(shop, postgres={"conninfo": down}))
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, _ = request(run, "/metrics", method)
        assert status == 405 and headers["Allow"] == "GET, HEAD", method
    assert request(run, "/metrics", "POST", body=b"x" * 100_000)[0] == 405
    status, headers, text = request(run, "/metrics", "HEAD")
    assert status == 200 and text == "" and int(headers["Content-Length"]) > 1000
    assert request(run, "/nothing")[0] == 404
    assert request(run, "/metrics/")[0] == 404
    assert request(run, "/readyz?verbose=1")[0] == 503
    assert request(run, "/metrics", headers={"Content-Length": "5"}, body=b"hello")[0] == 413
    assert b" 413 " in raw(run, b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    assert b" 414 " in raw(run, b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n").split(b"\r\n")[0]
    assert b" 431 " in raw(run, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n").split(b"\r\n")[0]
    assert b" 400 " in raw(run, b"GET / HTTP/1.1\r\n\r\n").split(b"\r\n")[0]  # no Host
    assert get_json(run, "/healthz")[0] == 200
    assert run.terminate() == 0


def test_connections_have_limits(shop):
    down = f"host=127.0.0.1 port={system.free_ports(1)[0]} dbname=x user=x"
    run = shop.start(config=served(shop, postgres={"conninfo": down}))
    port = port_of(run)
    held = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(100)]
    try:
        def closed():
            count = 0
            for s in held:
                s.setblocking(False)
                try:
                    count += s.recv(1) == b""
                except BlockingIOError:
                    pass
                except ConnectionError:
                    count += 1
            return count
        system.wait_for(lambda: closed() >= 60, 5, "what is above the limit is closed")
        system.wait_for(lambda: closed() == 100, 20, "silent connections are closed")
        assert get_json(run, "/healthz")[0] == 200
        assert run.terminate(10) == 0
    finally:
        for s in held:
            s.close()


def test_a_port_that_is_taken_is_a_config_error(shop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        run = shop.run(config=served(shop, listen)).expect_exit(2)
        event = run.find("relay.failed")
        assert listen in event["error"] and "in use" in event["error"] and event["remedy"]
    run = shop.run(config=served(shop, "192.0.2.1:0")).expect_exit(2)
    assert "192.0.2.1:0" in run.find("relay.failed")["error"]
    run = shop.run(config=served(shop, "no-such-host.invalid:0")).expect_exit(2)
    assert "no-such-host.invalid" in run.find("relay.failed")["error"]


def test_an_ipv6_address_is_written_in_brackets(shop):
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    run = shop.start(config=served(shop, "[::1]:0"))
    event = run.wait_event("http.listening")
    assert event["address"] == "::1" and event["port"] > 0
    assert request(run, "/", host="::1")[0] == 200
    assert run.terminate() == 0


# Readiness follows the servers


def test_servers_that_are_away_at_the_start_are_named(make_shop, kafka, postgres_proxy):
    shop = make_shop(pg_proxy=True, kafka_proxy=True)
    postgres_proxy.refuse()
    run = shop.start(config=served(shop))
    page = wait_not_ready(run, "postgres_away")
    assert page["error"] and page["state"] == "recovering"
    assert "walferry_slot_exists" not in metrics(run)
    kafka.proxy.refuse()
    postgres_proxy.heal()
    page = wait_not_ready(run, "kafka_away", 30)
    assert page["error"]
    values = metrics(run)  # the slot is looked at all the same
    assert values["walferry_slot_exists"] == 0 and "walferry_lag_seconds" not in values
    kafka.proxy.heal()
    wait_ready(run, 40)
    assert metrics(run)["walferry_ready"] == 1


def test_a_cut_connection_to_postgres_and_a_frozen_server(make_shop, postgres, postgres_proxy):
    shop = make_shop(pg_proxy=True)
    run = shop.relay(config=served(shop))
    shop.insert(2)
    wait_records(shop, 2)
    wait_ready(run)
    postgres_proxy.refuse()
    page = wait_not_ready(run, "postgres_away", 10)
    assert page["error"] and page["state"] == "recovering"
    values = metrics(run)
    assert values["walferry_ready"] == 0 and values['walferry_relay_state{state="recovering"}'] == 1
    assert not {k for k in values if k.startswith(("walferry_position_", "walferry_received_", "walferry_queue_"))}
    assert "walferry_lag_seconds" not in values
    assert time.time() - values["walferry_slot_read_timestamp_seconds"] < 60
    status = get_json(run, "/status")[1]
    assert status["position"] is None and status["last_error"]["kind"] == "retry"
    postgres_proxy.heal()
    wait_ready(run)
    assert metrics(run)['walferry_recoveries_total{kind="retry"}'] >= 1

    postgres.sigstop()
    try:
        wait_not_ready(run, "postgres_away", 20)
    finally:
        postgres.sigcont()
    wait_ready(run)
    shop.insert(2)
    wait_records(shop, 4)


def test_a_frozen_broker_idle_and_busy(make_shop, kafka):
    shop = make_shop()
    run = shop.relay(config=served(shop))
    shop.insert(2)
    wait_records(shop, 2)
    wait_acked(shop, shop.postgres.flush_lsn())
    wait_ready(run)
    kafka.sigstop()
    try:
        page = wait_not_ready(run, "kafka_away", 15)
        assert page["error"]
    finally:
        kafka.sigcont()
    wait_ready(run, 15)
    kafka.sigstop()
    try:
        shop.insert(3)
        wait_not_ready(run, "kafka_away", 15)
        values = system.wait_for(lambda: (v := metrics(run)).get("walferry_lag_seconds", 0) > 1 and v, 15, "lag")
        assert values["walferry_unpublished_events"] == 3
    finally:
        kafka.sigcont()
    wait_ready(run, 60)
    wait_records(shop, 5)
    assert_ends_whole(shop, run)


@pytest.mark.decoder("pgoutput")
def test_a_relay_that_looks_for_refused_records_is_ready_and_makes_steps(shop):
    """Each of them is refused alone, which takes a new producer; Kafka answers all the while."""
    shop.kafka.create_topic(shop.topic(), 1, message_timestamp_after_max_ms=3600000)
    shop.psql("alter table outbox add column occurred_at timestamptz")
    ready(shop)
    shop.psql("insert into outbox (aggregatetype, aggregateid, type, payload, occurred_at) "
              "select 'orders', 'k', 'T', '{}', now() + interval '1 day' from generate_series(1, 600)")
    run = shop.relay(config=served(shop))
    wait_ready(run)
    deadline = time.monotonic() + 60
    while metrics(run)["walferry_events_quarantined_total"] < 600:
        status, page = get_json(run, "/readyz")
        assert status == 200 or page["state"] == "recovering", page  # after the first refusal
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_broker_that_is_cut_off_while_nothing_is_published(make_shop, kafka):
    shop = make_shop(kafka_proxy=True)
    run = shop.relay(config=served(shop))
    wait_ready(run)
    holder = shop.postgres.slot(shop.slot)["active_pid"]
    kafka.proxy.refuse()
    wait_not_ready(run, "kafka_away", 15)
    assert shop.postgres.slot(shop.slot)["active_pid"] == holder, "idle, the slot is kept"
    kafka.proxy.heal()
    wait_ready(run, 20)
    assert shop.postgres.slot(shop.slot)["active_pid"] == holder
    assert metrics(run)["walferry_generations_total"] == 1


def test_a_standby_is_healthy_and_not_ready(shop):
    first = shop.relay(config=served(shop))
    shop.insert(2)
    wait_records(shop, 2)
    second = shop.relay(config=served(shop), wait=False)
    second.wait_event("relay.standby")
    page = wait_not_ready(second, "standby")
    assert page["error"] is None
    assert request(first, "/readyz")[0] == 200
    values = metrics(second)
    assert values['walferry_relay_state{state="standby"}'] == 1
    assert not {k for k in values if k.startswith(("walferry_position_", "walferry_lag_seconds", "walferry_queue_"))}
    assert values["walferry_slot_exists"] == 1 and values["walferry_slot_confirmed_flush_lsn"] > 0
    assert abs(values["walferry_slot_read_timestamp_seconds"] - time.time()) < 10
    first.kill9()
    wait_ready(second)
    assert metrics(second)["walferry_position_lsn"] > 0
