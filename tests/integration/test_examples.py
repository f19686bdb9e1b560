"""config/examples/: from a business transaction to its effect, through relay, broker and inbox, with the files as they
stand there. Ports, and the decoder, come from the environment."""
import os
import re
import subprocess
import time

import pytest

from harness import system, walferry


def wait_until(condition, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


@pytest.fixture
def fleet(make_example):
    return make_example("fleet")


@pytest.fixture
def orders(make_example):
    return make_example("orders")


VEHICLE = "select status, km from fleet.vehicles where id = '{}'"
RENTAL = "select status, paid from fleet.rentals where id = '{}'"
CHARGES = "select kind, amount from accounting.charges where rental = '{}' order by kind"


def test_the_fleet_reacts(fleet):
    relay, inbox = fleet.relay(), fleet.inbox()

    fleet.psql("select fleet.reserve('r-1', 'van-1', 'ada', 3)")
    wait_until(lambda: fleet.rows(CHARGES.format("r-1")) == [("initial", 240)])
    assert fleet.rows(VEHICLE.format("van-1")) == [("rented", 0)]

    fleet.psql("select accounting.receive_payment('p-1', 'r-1', 240)")
    wait_until(lambda: fleet.rows(RENTAL.format("r-1")) == [("reserved", 240)])

    fleet.psql("select fleet.complete('r-1', 4, 210)")
    wait_until(lambda: fleet.rows(VEHICLE.format("van-1")) == [("available", 210)])
    assert fleet.rows(CHARGES.format("r-1")) == [("extra_days", 80), ("initial", 240), ("kilometres", 63)]
    assert fleet.rows(RENTAL.format("r-1")) == [("charged", 240)]

    fleet.psql("select accounting.receive_payment('p-1', 'r-1', 240)")  # the bank says it twice
    fleet.psql("select accounting.receive_payment('p-2', 'r-1', 143)")
    wait_until(lambda: fleet.rows(RENTAL.format("r-1")) == [("settled", 383)])

    fleet.psql("select fleet.schedule_maintenance('m-1', 'car-1')")
    wait_until(lambda: fleet.rows(VEHICLE.format("car-1")) == [("blocked", 0)])
    fleet.psql("select fleet.complete_maintenance('m-1', 'car-1')")
    wait_until(lambda: fleet.rows(VEHICLE.format("car-1")) == [("available", 0)])

    assert relay.terminate() == 0 and inbox.terminate() == 0
    fleet.settle()
    assert fleet.letters() == []
    types = [r["event"]["type"] for r in fleet.records("fleet.rentals")]
    assert sorted(types) == sorted(["RentalReserved", "RentalCompleted", "RentalSettled"] + 3 * ["PaymentReceived"] +
                                   3 * ["RentalCharged"])
    types = [r["event"]["type"] for r in fleet.records("fleet.vehicles")]
    assert sorted(types) == ["MaintenanceCompleted", "MaintenanceScheduled", "VehicleReleased", "VehicleReleased"]


def test_what_the_fleet_ignores_and_what_it_does_not_know(fleet):
    fleet.psql("select walferry.emit('vehicles', 'MaintenanceEstimated', 'car-1', '{}')")
    fleet.psql("select walferry.emit('vehicles', 'MaintenancePostponed', 'car-1', '{}')")
    fleet.psql("select walferry.emit('vehicles', 'WheelStolen', 'car-1', '{}')")
    fleet.settle()
    assert [(l["type"], l["code"], (l["details"] or {}).get("sqlstate")) for l in fleet.letters()] == [
        ("MaintenancePostponed", "handler_failed", "20000"), ("WheelStolen", "unmatched_type", None)]


def fleet_state(fleet):
    return [fleet.rows(f"select * from {table} order by 1, 2") for table in
            ("fleet.vehicles", "fleet.rentals", "accounting.charges", "accounting.payments")]


def events_of_handlers(fleet):
    return sorted(fleet.rows("select type, aggregateid, payload::text, causation_id from outbox "
                             "where causation_id is not null"))


@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
def test_a_kill_in_the_middle_and_duplicates_change_nothing(fleet, moment):
    for n in range(4):
        fleet.psql(f"select fleet.reserve('r-{n}', '{('van-1', 'van-2', 'car-1', 'bike-1')[n]}', 'ada', 2)")
    relay = fleet.relay()
    fleet.inbox(failpoint=f"inbox.{moment}=kill@2").expect_exit(-9)
    for n in range(4):
        fleet.psql(f"select fleet.complete('r-{n}', 2, 10)")
        fleet.psql(f"select accounting.receive_payment('p-{n}', 'r-{n}', 200)")
    relay.kill9()
    fleet.settle()
    inbox = fleet.inbox()
    assert sorted(fleet.rows("select rental, kind, amount from accounting.charges")) == sorted(
        [("r-0", "initial", 160), ("r-1", "initial", 160), ("r-2", "initial", 90), ("r-3", "initial", 24),
         ("r-0", "kilometres", 3), ("r-1", "kilometres", 3), ("r-2", "kilometres", 2)])
    assert {r[0] for r in fleet.rows("select status from fleet.rentals")} == {"settled"}
    assert {r[0] for r in fleet.rows("select km from fleet.vehicles where id <> 'car-2'")} == {10}
    assert fleet.rows("select count(*) from outbox where type = 'RentalCharged'") == [(7,)]

    state, events = fleet_state(fleet), events_of_handlers(fleet)
    inbox.wait_event("inbox.streaming")
    for topic in ("fleet.rentals", "fleet.vehicles"):
        fleet.send_again(topic)
    inbox.kill9()
    fleet.settle()
    assert (fleet_state(fleet), events_of_handlers(fleet)) == (state, events)
    assert fleet.letters() == []


@pytest.fixture
def no_standby(postgres):
    """Commits are flushed, and so published, and nobody else sees them: they wait for a standby that is not there, until
    the function that this is is called. walferry's own do not wait."""
    def end():
        postgres.psql("alter system reset synchronous_standby_names")
        postgres.psql("select pg_reload_conf()")
    postgres.psql("alter system set synchronous_standby_names = 'nobody'; select pg_reload_conf()")
    try:
        yield end
    finally:
        end()


def test_events_that_are_faster_than_their_transactions(fleet, no_standby):
    fleet.env["PGOPTIONS"] = "-c synchronous_commit=local"
    fleet.relay()
    inbox = fleet.inbox()
    inbox.wait_event("inbox.streaming")
    with fleet.postgres.session("fleet") as application:
        application.send("select fleet.reserve('r-1', 'van-1', 'ada', 3)")
        wait_until(lambda: fleet.rows(CHARGES.format("r-1")) == [("initial", 240)])
        assert fleet.rows(RENTAL.format("r-1")) == [], "charged already, and not to be seen yet"
        no_standby()
        application.wait()
        fleet.postgres.psql("alter system set synchronous_standby_names = 'nobody'; select pg_reload_conf()")
        application.send("select fleet.complete('r-1', 3, 100)")
        waits = "select count(*) from pg_stat_activity where datname = 'fleet' and wait_event = 'transactionid'"
        wait_until(lambda: fleet.psql(waits) == "1")
        assert fleet.rows(RENTAL.format("r-1")) == [("reserved", 0)]
        no_standby()
        application.wait()
    wait_until(lambda: fleet.rows(RENTAL.format("r-1")) == [("charged", 0)])
    assert fleet.letters() == []


ORDER = "select status, reason from sales.orders where id = '{}'"


def stock(orders):
    return dict(orders.rows("select product, quantity from warehouse.stock"))


def test_an_order_goes_its_way(orders):
    relay, inbox = orders.relay(), orders.inbox()
    orders.psql("""select sales.create_order('o-1', '{"apple": 3, "pear": 1}')""")
    wait_until(lambda: orders.rows(ORDER.format("o-1")) == [("confirmed", None)])
    assert stock(orders) == {"apple": 97, "pear": 49, "quince": 3}

    orders.psql("""select sales.create_order('o-2', '{"apple": 1, "quince": 4}')""")
    wait_until(lambda: orders.rows(ORDER.format("o-2")) == [("rejected", 'not enough of: ["quince"]')])
    assert stock(orders) == {"apple": 97, "pear": 49, "quince": 3}, "all or nothing"
    assert orders.letters() == [], "not enough is an answer, not a failure"

    orders.psql("select sales.cancel_order('o-1')")
    wait_until(lambda: stock(orders) == {"apple": 100, "pear": 50, "quince": 3})
    assert relay.terminate() == 0 and inbox.terminate() == 0
    orders.settle()
    assert orders.rows(ORDER.format("o-1")) == [("cancelled", None)]

    created = {r["key"]: r for r in orders.records("orders.events.v1") if r["event"]["type"] == "OrderCreated"}
    answers = {(r["key"], "returned" in r["event"]["payload"]): r for r in orders.records("inventory.events.v1")}
    assert len(answers) == 3
    for key in ("o-1", "o-2"):
        answer = answers[key, False]
        assert answer["event"]["type"] == ("InventoryAdjusted" if key == "o-1" else "InventoryRejected")
        assert answer["headers"]["correlation_id"] == created[key]["headers"]["correlation_id"] == key
        assert answer["headers"]["causation_id"] == created[key]["headers"]["id"]
        assert answer["event"]["causation_id"] == created[key]["event"]["id"]


def test_an_order_that_cannot_be_handled_is_a_dead_letter(orders):
    orders.psql("""select sales.create_order('o-1', '{"unicorn": 1, "apple": 1}');
                   select sales.create_order('o-2', '{"apple": 2}');
                   select sales.cancel_order('o-1')""")
    orders.settle()
    letter, = orders.letters()
    assert (letter["code"], letter["type"], letter["details"]["sqlstate"], letter["details"]["detail"]) == (
        "handler_failed", "OrderCreated", "23503", "unicorn")
    assert letter["attempts"] == 1
    assert stock(orders)["apple"] == 98, "its neighbour was handled, and nothing of it stays"
    parked, = orders.query("select convert_from(key, 'UTF8') as key from walferry.inbox_parked")
    assert parked["key"] == "o-1", "the cancellation waits behind it"


def test_an_answer_that_is_faster_than_its_order(orders, no_standby):
    orders.env["PGOPTIONS"] = "-c synchronous_commit=local"
    orders.relay()
    inbox = orders.inbox()
    with orders.postgres.session("orders") as application:
        application.send("""select sales.create_order('o-1', '{"apple": 3}')""")
        inbox.wait_event("inbox.event_failed", type="InventoryAdjusted")
        assert orders.rows(ORDER.format("o-1")) == []
        no_standby()
        application.wait()
    wait_until(lambda: orders.rows(ORDER.format("o-1")) == [("confirmed", None)])
    assert orders.letters() == []


@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
def test_orders_survive_a_kill_and_duplicates(orders, moment):
    for n in range(10):
        orders.psql(f"""select sales.create_order('o-{n}', '{{"apple": 2, "pear": {n % 3 + 1}}}')""")
    relay = orders.relay()
    orders.inbox(failpoint=f"inbox.{moment}=kill@2").expect_exit(-9)
    for n in range(10, 20):
        orders.psql(f"""select sales.create_order('o-{n}', '{{"apple": 2, "quince": 1}}')""")
    relay.kill9()
    orders.settle()
    state = stock(orders), sorted(orders.rows("select * from sales.orders"))
    assert state[0] == {"apple": 100 - 26, "pear": 50 - 19, "quince": 0}
    assert [status for _, status, _ in state[1]].count("confirmed") == 13
    answers = len(orders.records("inventory.events.v1"))
    assert answers == 20
    for topic in ("orders.events.v1", "inventory.events.v1"):
        orders.send_again(topic)
    orders.settle()
    assert (stock(orders), sorted(orders.rows("select * from sales.orders"))) == state
    assert orders.psql("select count(*) from outbox") == "40", "20 orders and their answers"
    assert orders.letters() == []


def test_the_steps_of_the_readme(make_example, postgres, kafka, tmp_path):
    """Both blocks of "The examples", by a shell; of the servers' ports and of how long one waits they know nothing."""
    section = (system.ROOT / "README.md").read_text().split("### The examples\n")[1].split("\n## ")[0]
    set_up, use = re.findall(r"^```sh\n(.*?)^```", section, re.S | re.M)
    orders = make_example("orders", set_up=False)
    set_up = re.sub("^export .*", " ".join(["export", *(f"{k}={v}" for k, v in orders.env.items())]), set_up)
    await_answers = """until [ "$(psql -XAtq -U postgres -d orders -c "SELECT (SELECT count(*) FROM sales.orders WHERE status <> 'created')
      + (SELECT count(*) FROM walferry.inbox_dead_letters)")" = %d ]; do sleep 0.1; done
      """
    first, last, printed = re.split(r"^sleep \d.*$", use, flags=re.M)
    script = "set -e\n" + set_up + first + await_answers % 3 + last + await_answers % 4 + printed + "kill %1 %2; wait"
    (tmp_path / "walferry").symlink_to(walferry.binary())
    env = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["timeout", "90", "bash", "-m", "-c", script.replace("/tmp/", f"{tmp_path}/")],
                          cwd=system.ROOT, env=env, text=True, capture_output=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for line in ("o-1 | confirmed | ", 'o-2 | rejected  | not enough of: ["quince"]', "o-3 | created   | ",
                 "o-3 | confirmed | ", "dead letters: 1 (1 replayed)"):
        assert line in said, f"{line!r} is not in:\n{said}"
    assert said.count("correlation_id=o-") == 3 and said.count("causation_id=") == 3
