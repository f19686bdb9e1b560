"""`walferry status`: what it says agrees with what psql and kcat see; it shows the half that can be reached; it fences
nobody."""
import json
import subprocess

import pytest

from harness import system
from integration_checks import ready, wait_acked, wait_records

pytestmark = pytest.mark.decoder("pgoutput")


def status(shop, exit_code=0, **kwargs):
    run = shop.run("status", "--json", **kwargs)
    assert run.exit_code == exit_code, f"exit code {run.exit_code}\n{run.stdout.decode()}\n{run.log_tail()}"
    found = json.loads(run.stdout)
    assert found["instance"] == shop.name and found["ok"] == (exit_code == 0)
    return found


def test_before_anything_is_there(shop):
    found = status(shop)
    assert found["slot"]["exists"] is False and found["position"]["state"] == "none"
    assert found["instances"] == {"active": 0, "standby": 0, "list": []}
    assert found["quarantine"]["exists"] is False and found["quarantine"]["records"] == 0
    assert found["lag"] == {"bytes": None, "seconds": None}
    assert not any(t.startswith(("walferry.position." + shop.name, shop.name)) for t in shop.kafka.topics())


def test_active_and_standby_instances(shop):
    relay = shop.relay()
    standby = shop.start("relay")
    standby.wait_event("relay.standby")
    preview = shop.start("relay", "--sink", "stdout")  # is neither
    preview.wait_event("preview.streaming")
    shop.insert(3)
    wait_records(shop, 3)
    wait_acked(shop, shop.postgres.flush_lsn())
    found = status(shop)
    row, position = shop.postgres.slot(shop.slot), shop.position()
    slot = found["slot"]
    assert slot["active"] and slot["active_pid"] == row["active_pid"] and slot["holder"] == f"walferry/{shop.name}"
    assert slot["wal_status"] == row["wal_status"] == "reserved"
    assert slot["confirmed_flush_lsn"] == row["confirmed_flush_lsn"] and slot["restart_lsn"] == row["restart_lsn"]
    assert found["instances"]["active"] == 1 and found["instances"]["standby"] == 1
    assert [i["pid"] for i in found["instances"]["list"] if i["state"] == "active"] == [row["active_pid"]]
    for key in ("commit_lsn", "end_lsn", "system_id", "timeline", "complete", "xid"):
        assert found["position"][key] == position[key]
    assert found["lag"] == {"bytes": 0, "seconds": 0}
    assert not relay.count("relay.recovering") and not relay.count("kafka.producer_renewed")
    preview.terminate()
    standby.kill9()
    system.wait_for(lambda: status(shop)["instances"]["standby"] == 0, 20, "standby gone")
    assert relay.terminate() == 0
    found = status(shop)
    assert found["slot"]["active"] is False and found["instances"]["active"] == 0
    shop.assert_exactly_once()


def test_lag_is_what_was_not_published_yet(shop):
    ready(shop)
    before = status(shop)["lag"]["bytes"]
    shop.insert_many(5000, payload_bytes=100)
    found = status(shop)
    assert found["lag"]["bytes"] > before + 5000 * 100 and found["lag"]["seconds"] is None
    assert found["slot"]["retained_bytes"] >= found["lag"]["bytes"]
    shop.drain()
    assert status(shop)["lag"]["bytes"] < 5000 * 100


def test_the_quarantine_is_counted_by_reading_it(shop):
    shop.psql("alter table outbox alter payload type text using payload::text, alter type drop not null")
    ready(shop)
    shop.psql("insert into outbox (aggregatetype, aggregateid, type, payload) values ('orders', 'k', 'T', '{')")
    shop.drain()
    shop.psql("insert into outbox (aggregatetype, aggregateid, type, payload) values ('orders', 'k', 'T', 'x'), "
              "('orders', 'k', null, '{}'), ('orders', 'k', 'T', '{}')")
    shop.drain()
    records = shop.quarantined()
    quarantine = status(shop)["quarantine"]
    assert quarantine["records"] == len(records) == 3 and not quarantine["at_least"]
    assert sum(shop.kafka.end_offsets(shop.quarantine_topic).values()) > 3, "offsets count markers too"
    assert {c["code"]: c["records"] for c in quarantine["codes"]} == {"payload_not_json": 2, "missing_type": 1}
    assert all(c["first"] <= c["last"] for c in quarantine["codes"])
    text = shop.run("status").expect_exit(0).stdout.decode()
    assert f"{shop.quarantine_topic}: 3 records" in text and "payload_not_json" in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_more_quarantined_records_than_are_read(shop):
    shop.kafka.create_topic(shop.quarantine_topic, 1)
    lines = "\n".join("{}" for _ in range(10_500))
    subprocess.run(["kcat", "-b", shop.kafka.brokers, "-P", "-t", shop.quarantine_topic, "-H", "wf_error_code=old"],
                          input=lines.encode(), check=True, timeout=60)
    quarantine = status(shop)["quarantine"]
    assert quarantine["records"] == 10_000 and quarantine["at_least"]
    assert "at least 10000 records" in shop.run("status").stdout.decode()


def test_the_half_that_can_be_reached_is_shown(shop):
    ready(shop)
    port, = system.free_ports(1)
    no_kafka = shop.changed(kafka={"brokers": f"127.0.0.1:{port}"})
    found = status(shop, 1, config=no_kafka)
    assert found["slot"]["exists"] and found["position"] is None and found["quarantine"] is None
    assert found["kafka"]["read"] is False and str(port) in found["kafka"]["error"]

    no_postgres = shop.changed(postgres={"conninfo": shop.postgres.conninfo(shop.db, port=port)})
    found = status(shop, 1, config=no_postgres)
    assert found["slot"] is None and found["instances"] is None and str(port) in found["postgres"]["error"]
    assert found["position"]["end_lsn"] == shop.position()["end_lsn"] and found["quarantine"]["records"] == 0
    text = shop.run("status", config=no_postgres).expect_exit(1).stdout.decode()
    assert "MISSING" in text and "position" in text
