"""What systemd is told (sd_notify): a datagram socket in its place, and real servers behind the relay."""
import os
import socket
import time

import pytest

from harness import system
from harness.walferry import Walferry, tool


class Listener:
    """The socket that NOTIFY_SOCKET names. env: for the relay; seen: (seconds, {NAME: value}) of each message so far."""

    def __init__(self, watchdog_ms=None):
        self.dir = system.temp_dir("notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.dir / "notify"))
        self.env = {"NOTIFY_SOCKET": self.dir / "notify"}
        if watchdog_ms:
            self.env["WATCHDOG_USEC"] = watchdog_ms * 1000
        self.seen = []

    def read(self, timeout=0.05):
        """Whatever has come, waiting for the first at most so long."""
        self.socket.settimeout(timeout)
        try:
            while True:
                text = self.socket.recv(65536).decode()
                self.seen.append((time.monotonic(), dict(line.split("=", 1) for line in text.splitlines())))
                self.socket.settimeout(0.001)
        except TimeoutError:
            return self.seen

    def values(self, name):
        self.read()
        return [message[name] for _, message in self.seen if name in message]

    def wait(self, name, matches=lambda value: True, timeout=20):
        try:
            return system.wait_for(lambda: next((v for v in self.values(name) if matches(v)), None), timeout)
        except TimeoutError:
            raise AssertionError(f"no such {name} within {timeout} s: {[message for _, message in self.seen]}") from None

    def close(self):
        self.socket.close()
        system.remove_dir(self.dir)


@pytest.fixture
def listen():
    listeners = []

    def make(**kwargs):
        listeners.append(Listener(**kwargs))
        return listeners[-1]

    yield make
    for listener in listeners:
        listener.close()


def test_a_relay_tells_when_it_streams_how_far_it_is_and_when_it_leaves(shop, listen):
    systemd = listen(watchdog_ms=1000)
    relay = shop.relay(env=systemd.env)
    systemd.wait("READY")
    shop.insert(3)
    flushed = relay.wait_event("position.committed", records=3)["end_lsn"]
    systemd.wait("STATUS", lambda status: status == f"streaming, published up to {flushed}")
    systemd.wait("WATCHDOG")
    assert relay.terminate() == 0
    systemd.read()
    told = [message for _, message in systemd.seen]
    assert told[0]["STATUS"] == "starting" and "READY" not in told[0]
    ready = [n for n, message in enumerate(told) if "READY" in message]
    stopping = [n for n, message in enumerate(told) if "STOPPING" in message]
    assert len(ready) == 1 and told[ready[0]]["STATUS"].startswith("streaming, published up to ")
    assert stopping and stopping[0] > ready[0]
    assert told[-1] == {"STOPPING": "1", "STATUS": "done"}


def test_a_standby_is_ready(shop, listen):
    shop.relay()
    systemd = listen()
    standby = shop.relay(wait=False, env=systemd.env)
    standby.wait_event("relay.standby")
    systemd.wait("READY")
    assert systemd.values("STATUS")[-1] == "standby: another instance holds the slot"
    assert standby.terminate() == 0


def test_a_relay_whose_servers_are_away_is_ready_and_says_what_it_waits_for(shop, listen):
    """Else a machine whose Kafka comes up late would find the unit failed at boot."""
    systemd = listen()
    port, = system.free_ports(1)
    config = shop.changed(postgres={"conninfo": f"host=127.0.0.1 port={port} dbname=x user=x"})
    relay = shop.start("relay", config=config, env=systemd.env)
    systemd.wait("READY")
    assert systemd.values("STATUS")[-1].startswith("recovering: ")
    assert str(port) in systemd.values("STATUS")[-1]
    assert relay.terminate() == 0


def test_a_refused_relay_is_never_ready_and_leaves_its_reason(shop, listen):
    systemd = listen()
    shop.drain()
    shop.postgres.drop_slot(shop.slot)
    shop.run(env=systemd.env).expect_refused("slot_missing")
    assert systemd.values("READY") == []
    assert systemd.values("STATUS")[-1].startswith("refused, slot_missing: ")
    assert systemd.values("STOPPING") == ["1"]


def test_a_main_loop_that_hangs_starves_the_watchdog(shop, listen):
    """While it hangs the process is alive: threads run, the slot is held. Only the watchdog tells."""
    systemd = listen(watchdog_ms=400)
    shop.drain()
    pause = shop.dir / "pause"
    relay = shop.relay(env=systemd.env, failpoint=f"publisher.after_begin=pause:{pause}")
    systemd.wait("WATCHDOG")
    shop.insert(1)
    system.wait_for(pause.exists, 20, "the pause")
    time.sleep(0.5)  # its last step before the pause may be told yet
    hung = len(systemd.values("WATCHDOG"))
    assert systemd.read(timeout=1.2) and len(systemd.values("WATCHDOG")) == hung  # three times what systemd would wait
    assert relay.running
    os.unlink(pause)
    system.wait_for(lambda: len(systemd.values("WATCHDOG")) > hung + 1, 20, "the watchdog being fed again")
    assert relay.terminate() == 0


def test_an_idle_relay_and_one_that_waits_feed_it_in_time(shop, listen):
    systemd = listen(watchdog_ms=1000)
    relay = shop.relay(env=systemd.env)
    standby_systemd = listen(watchdog_ms=1000)
    standby = shop.relay(wait=False, env=standby_systemd.env)
    standby.wait_event("relay.standby")
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        systemd.read()
        standby_systemd.read()
    for listener in (systemd, standby_systemd):
        times = [at for at, message in listener.seen if "WATCHDOG" in message]
        assert len(times) >= 3 and max(b - a for a, b in zip(times, times[1:])) < 1
    assert standby.terminate() == 0
    assert relay.terminate() == 0


def test_an_inbox_tells_how_its_partitions_do(listen):
    systemd = listen(watchdog_ms=1000)
    with Walferry("stopped", binary_path=tool("inbox_pages"), env=systemd.env) as inbox:
        systemd.wait("READY")
        assert systemd.values("STATUS")[-1] == ("streaming, 2 partitions, 6 events handled, 1 backing off, 1 stopped: "
                                                "fleet.rentals [0], topic_recreated: the record at offset 99 is another one")
        systemd.wait("WATCHDOG")
        assert inbox.terminate() == 0
    assert systemd.values("STOPPING") and systemd.values("STATUS")[-1] == "done"


def test_without_a_listener_nothing_is_different(shop):
    relay = shop.relay(env={"NOTIFY_SOCKET": "/nonexistent/notify"})
    shop.insert(2)
    system.wait_for(lambda: len(shop.record_ids()) == 2, 20, "both events")
    assert relay.terminate() == 0
    shop.assert_exactly_once()
