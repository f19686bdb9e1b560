"""docs/events/retry-and-dlq.md: its blocks, run as a user would."""
import os
import re
import subprocess

from harness import walferry
from harness.system import ROOT

GUIDE = (ROOT / "docs" / "events" / "retry-and-dlq.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", GUIDE, re.S | re.M)


def blocks(language):
    return [text for found, text in BLOCKS if found == language]


def dlq(example, line):
    """A line of the guide, in the folder of the example; what it prints."""
    command = re.sub(r"\s*#.*", "", line).removeprefix("$ ").replace("walferry", walferry.binary(), 1)
    env = os.environ | {k: str(v) for k, v in example.env.items()}
    return subprocess.run(["sh", "-c", command], cwd=example.path.parent, env=env, text=True, capture_output=True)


def test_the_way_of_a_unicorn(make_example):
    orders = make_example("orders")
    orders.psql("""select sales.create_order('o-1', '{"unicorn": 1, "apple": 1}'); select sales.cancel_order('o-1');
                   select walferry.emit('orders', 'OrderShipped', 'o-9', '{}')""")
    orders.settle()
    block, = blocks("")
    command, head, row = block.splitlines()
    listed = dlq(orders, command).stdout.splitlines()
    assert listed[0] == head
    telling = [0, 2, 3, 4, 5, 6, 7]  # all but when it failed
    wanted = [row.split()[i] for i in telling]
    wanted[1] = re.match(r"orders.events.v1/\d@0", listed[1].split()[2])[0]  # the server's hash decides the partition
    assert [listed[1].split()[i] for i in telling] == wanted and listed[1].endswith(row[-30:])

    queries = blocks("sql")
    assert len(queries) == 1 and orders.psql(queries[0]) == ""
    retention, = re.findall(r"`(DELETE FROM [^`]*)`", GUIDE)
    orders.psql(retention)

    replay, discard = [line for text in blocks("sh") for line in text.splitlines()]
    assert dlq(orders, replay).returncode == 1, "still no unicorn"
    orders.psql("insert into warehouse.stock values ('unicorn', 1)")
    done = dlq(orders, replay)
    assert done.returncode == 0 and "parked behind them: 1 (1 replayed)" in done.stdout, done.stdout + done.stderr
    assert dlq(orders, discard).returncode == 2
    assert dlq(orders, discard.split("#")[0] + " --confirm 1").returncode == 0
    states = orders.psql("select string_agg(state, ' ' order by id) from walferry.inbox_dead_letters")
    assert states == "replayed discarded"
    orders.settle()
    assert orders.psql("select status from sales.orders") == "cancelled"
    assert orders.psql("select quantity from warehouse.stock where product = 'unicorn'") == "1"
