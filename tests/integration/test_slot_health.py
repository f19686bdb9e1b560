"""The slot while the relay runs: what it keeps, the warning before it is lost, and what is said when it is."""
from harness import system
from harness.servers import lsn_number
from integration_checks import assert_refused, ready, wait_acked, wait_records

MB = 1 << 20


def fill(server, megabytes, db="postgres"):
    """So much WAL, of a table that no relay reads. Rows of random text, since others would be compressed."""
    server.psql("create table if not exists filler (n int, t text)", db)
    server.psql(f"insert into filler select n, repeat(md5(n::text), 32) from generate_series(1, {megabytes * 980}) n", db,
                timeout=300)


def test_another_database_writes_200_mb_and_the_slot_keeps_none_of_it(shop):
    shop.postgres.psql(f'create database "{shop.name}_other"')
    try:
        relay = shop.relay()
        shop.insert(3)
        wait_records(shop, 3)
        before = shop.postgres.flush_lsn()
        for _ in range(4):
            fill(shop.postgres, 50, f"{shop.name}_other")
        assert shop.postgres.flush_lsn() - before >= 200 * MB
        wait_acked(shop, shop.postgres.flush_lsn(), 60)
        shop.postgres.value("checkpoint")  # its record of running transactions is where a slot can restart

        def retained():
            return shop.postgres.flush_lsn() - lsn_number(shop.postgres.slot(shop.slot)["restart_lsn"])
        system.wait_for(lambda: retained() < 32 * MB, 40, "the slot lets go of the WAL")
        assert relay.running and relay.count("relay.streaming") == 1
        shop.insert(2)
        wait_records(shop, 5)
        assert relay.terminate() == 0
        shop.assert_exactly_once()
    finally:
        shop.postgres.drop_database(f"{shop.name}_other")


def test_a_slot_at_risk_is_announced_and_its_loss_ends_the_relay(fresh_postgres, make_shop):
    server = fresh_postgres({"max_slot_wal_keep_size": "96MB", "checkpoint_timeout": "1h"})
    shop = ready(make_shop(postgres=server))
    relay = shop.relay()
    shop.insert(3)
    wait_records(shop, 3)
    wait_acked(shop, server.flush_lsn())
    with shop.session() as other:  # a transaction that stays open holds the slot's restart point
        other.run("begin; insert into outbox (aggregatetype, aggregateid, type) values ('orders', 'k', 'T')")
        fill(server, 32)
        server.value("checkpoint")
        assert relay.count("relay.slot_at_risk") == 0
        while server.slot(shop.slot)["safe_wal_size"] > 20 * MB:
            fill(server, 8)
        warned = relay.wait_event("relay.slot_at_risk", timeout=20)
        assert warned["slot"] == shop.slot and int(warned["limit_bytes"]) == 96 * MB
        assert 0 < int(warned["safe_wal_bytes"]) < 24 * MB and int(warned["retained_bytes"]) > 60 * MB
        assert "max_slot_wal_keep_size" in warned["remedy"]
        status = shop.run("status").expect_exit(0).stdout.decode()
        assert "max_slot_wal_keep_size 96.0 MB" in status
        assert relay.count("relay.slot_at_risk") == 1, "once a minute is enough"
        while server.slot(shop.slot)["wal_status"] not in ("unreserved", "lost"):
            fill(server, 16)
        fill(server, 32)
        server.value("checkpoint")
        system.wait_for(lambda: server.slot(shop.slot)["wal_status"] == "lost", 20, "slot lost")
    assert_refused(relay, shop.slot, codes=("slot_invalidated",))
    assert_refused(shop.start("relay"), shop.slot, codes=("slot_invalidated",))


def test_what_was_at_risk_and_is_safe_again_is_said_too(fresh_postgres, make_shop):
    """A limit that is raised needs a reload only: that is the remedy the warning names."""
    server = fresh_postgres({"max_slot_wal_keep_size": "96MB", "checkpoint_timeout": "1h"})
    shop = ready(make_shop(postgres=server))
    relay = shop.relay()
    with shop.session() as other:
        other.run("begin; insert into outbox (aggregatetype, aggregateid, type) values ('orders', 'k', 'T')")
        while server.slot(shop.slot)["safe_wal_size"] > 20 * MB:
            fill(server, 8)
        relay.wait_event("relay.slot_at_risk", timeout=20)
        server.configure({"max_slot_wal_keep_size": "1GB"})
        server.reload()
        relay.wait_event("relay.slot_safe", timeout=20)
        other.run("commit")
    wait_records(shop, 1)
    assert relay.terminate() == 0
    shop.assert_exactly_once()
