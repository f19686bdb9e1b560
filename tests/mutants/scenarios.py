"""For each mutant the run that shows it. A scenario takes a Lab with any binary, brings it to the one moment that matters by
fail points and the proxy, and judges from outside: Broken is raised only by a judgement, never by a failed set-up.

Rows are inserted before walferry starts, so that its first Kafka transaction holds them. Should it hold idle progress
instead (a keepalive came first), the run is thrown away and walferry started once more."""
import contextlib
import signal

from chaos.ledger import Ledger
from chaos.verify import Sampler, check_inbox
from harness import system
from harness.postgres import lsn_number


ATTEMPTS = 10


class Broken(AssertionError):
    """A guarantee does not hold."""


class Lab:
    def __init__(self, make_shop, binary):
        self._make_shop, self._binary = make_shop, str(binary)
        self._pauses = 0

    def shop(self, **kwargs):
        """A shop whose relay was there before: slot, position and topics exist, two rows are delivered and acked."""
        shop = self._make_shop(**kwargs)
        run = self.start(shop)
        run.wait_streaming()
        shop.insert(2)
        system.wait_for(lambda: len(shop.record_ids()) == 2, 30, "first rows delivered")
        if run.terminate() != 0:
            raise RuntimeError(run.log_tail())
        self.drain(shop)
        return shop

    def start(self, shop, *args, **kwargs):
        return shop.start("relay", *args, binary_path=self._binary, **kwargs)

    def start_paused(self, shop, name, records, others=""):
        """Starts a relay that pauses at this fail point in its first Kafka transaction, with so many records at the broker,
        committed and not; returns it and the file it waits for."""
        for _ in range(ATTEMPTS):
            file = self.pause(shop)
            run = self.start(shop, failpoint=f"{name}=pause:{file}{others}")
            reached(file)
            with contextlib.suppress(TimeoutError):
                system.wait_for(lambda: len(shop.record_ids("read_uncommitted")) >= records, 5, "records at the broker")
                return run, file
            run.kill9()
        raise RuntimeError(f"no pause with {records} records at the broker")

    def kill_after_commit(self, shop, records):
        """Starts a relay that is killed when its first transaction, of what is in the outbox now, is committed."""
        for _ in range(ATTEMPTS):
            self.start(shop, failpoint="publisher.after_commit=kill").expect_exit(-signal.SIGKILL, 30)
            if len(shop.record_ids()) >= records:
                return
        raise RuntimeError(f"no commit with {records} records")

    def drain(self, shop):
        return shop.drain(binary_path=self._binary)

    def pause(self, shop):
        """A file for a fail point's pause."""
        self._pauses += 1
        return shop.dir / f"pause{self._pauses}"


class InboxLab:
    """The same for the inbox: a topic of one partition, and a handler that keeps books."""

    def __init__(self, make_inbox, binary):
        self._make_inbox, self._binary = make_inbox, str(binary)

    def ledger(self):
        return Ledger(self._make_inbox(sql=Ledger.SQL, partitions=1))

    def start(self, ledger, **kwargs):
        return ledger.inbox.start(binary_path=self._binary, **kwargs)

    def judge(self, ledger):
        ledger.inbox.drain(binary_path=self._binary)
        problems = check_inbox(ledger)
        if problems:
            raise Broken("; ".join(problems))


def reached(*files, timeout=30):
    """Waits until a fail point pauses at one of the files; returns that one."""
    return system.wait_for(lambda: next((f for f in files if f.exists()), None), timeout, f"a pause at {files}")


def release(*files):
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            file.unlink()


def judge_exactly_once(shop):
    try:
        shop.assert_exactly_once()
    except AssertionError as wrong:
        raise Broken(str(wrong)) from None


def ack_before_commit(lab):
    """Everything is produced, nothing committed, and the server is asked meanwhile how far it was acknowledged."""
    shop = lab.shop()
    shop.insert(3)
    run, _ = lab.start_paused(shop, "publisher.after_position", records=5)
    sampler = Sampler(shop)
    try:
        with contextlib.suppress(TimeoutError):
            system.wait_for(lambda: sampler.sample() and sampler.problems, 3, "an ack ahead")
        if sampler.problems:
            raise Broken(sampler.problems[0])
    finally:
        sampler.stop()
    run.kill9()
    lab.drain(shop)
    judge_exactly_once(shop)


def no_dedupe(lab):
    """Committed in Kafka, not acknowledged: the server sends it again."""
    shop = lab.shop()
    shop.insert(3)
    lab.kill_after_commit(shop, records=5)
    lab.drain(shop)
    judge_exactly_once(shop)


def position_before_init(lab):
    """A is about to commit while B takes over. B either fences A first, or has read a position that A then overtakes."""
    shop = lab.shop()
    shop.insert(3)
    a, a_paused = lab.start_paused(shop, "publisher.after_produce", records=5)
    shop.postgres.terminate_slot_user(shop.slot)

    b_paused = lab.pause(shop), lab.pause(shop)
    b = lab.start(shop, failpoint=f"relay.after_producer_init=pause:{b_paused[0]},"
                                  f"relay.after_position_read=pause:{b_paused[1]}")
    reached(*b_paused)
    release(a_paused)
    # Either A's transaction is committed, or A has learnt that it was fenced and gives up.
    system.wait_for(lambda: not a.running or len(shop.record_ids()) == 5, 30, "A's end")
    system.wait_for(lambda: release(*b_paused) or b.find("relay.streaming"), 30, "B goes on")
    shop.insert(2)
    system.wait_for(lambda: len(set(shop.record_ids())) == 7, 30, "B publishes")
    a.close()
    if b.terminate() != 0:
        raise RuntimeError(b.log_tail())
    lab.drain(shop)
    judge_exactly_once(shop)


def covered_by_end_lsn(lab):
    """The commit record of the second transaction starts exactly where that of the first, the last published, ended: its
    row was written before. Whatever else the server writes to its WAL in between spoils it; then once more."""
    shop = lab.shop()
    probe = shop.name + "_probe"
    shop.psql(f"create publication {probe} for table outbox; select pg_create_logical_replication_slot('{probe}', 'pgoutput')")
    lab.drain(shop)
    for _ in range(ATTEMPTS):
        with shop.session() as second:
            second.run("begin")
            second.run("insert into outbox (aggregatetype, aggregateid, type) values ('orders', 'late', 'T')")
            shop.insert(1)
            lab.kill_after_commit(shop, records=len(shop.outbox_ids()))
            second.run("commit")
        (_, first_end), (second_commit, _) = commits(shop, probe)[-2:]
        lab.drain(shop)
        judge_exactly_once(shop)
        if first_end == second_commit:
            return
    raise RuntimeError(f"no two commit records were neighbours in {ATTEMPTS} attempts")


def commits(shop, probe):
    """(commit LSN, end LSN) of each transaction since the last call, as pgoutput sends them."""
    rows = shop.psql(f"select encode(data, 'hex') from pg_logical_slot_get_binary_changes('{probe}', null, null, "
                     f"'proto_version', '1', 'publication_names', '{probe}')").split()
    frames = [bytes.fromhex(row) for row in rows]
    return [(int.from_bytes(f[2:10], "big"), int.from_bytes(f[10:18], "big")) for f in frames if f[:1] == b"C"]


def no_new_producer(lab):
    """The EndTxn of a first transaction is held up, its connection cut; librdkafka sends another, and the commit returns OK.
    A second transaction is open, its records produced, when the delayed EndTxn reaches the broker after all."""
    shop = lab.shop(kafka_proxy=True)
    proxy = shop.kafka.proxy
    shop.insert(3)
    produced = lab.pause(shop)
    run, committing = lab.start_paused(shop, "publisher.after_position", records=5,
                                       others=f",publisher.after_produce=pause:{produced}@2")
    shop.insert(3)  # queued behind the first transaction: whatever follows it holds these
    wait_received(shop)
    held = proxy.hold_next("end_txn", cut=True)
    release(committing)
    held.wait(30)
    reached(produced)
    if len(shop.record_ids()) != 5:
        raise RuntimeError("the first commit did not go through by its second EndTxn")
    system.wait_for(lambda: len(shop.record_ids("read_uncommitted")) == 8, 15, "the second's records are at the broker")
    if not held.release():
        raise RuntimeError("the broker closed the connection of the delayed EndTxn")
    if held.error_code() == 0:  # committed: that takes the broker a moment
        system.wait_for(lambda: len(shop.record_ids()) == 8, 15, "the open transaction was committed")
    run.kill9()
    proxy.heal()
    lab.drain(shop)
    judge_exactly_once(shop)


def wait_received(shop):
    """Until the relay has reported as received what is committed now."""
    target = shop.postgres.flush_lsn()

    def received():
        lsn = shop.postgres.value("select write_lsn from pg_stat_replication r join pg_replication_slots s "
                                  f"on s.active_pid = r.pid where s.slot_name = '{shop.slot}'")
        return lsn and lsn_number(lsn) >= target
    system.wait_for(received, 15, "received by the relay")


def shop_that_deletes(lab):
    shop = lab.shop()
    lab.drain(shop)
    shop.psql("delete from outbox")
    shop.config["relay"]["after_publish"] = "delete"
    return shop


def judge_deleted(lab, shop, ids):
    """All of them are published, each once, and gone."""
    lab.drain(shop)
    published = [i for i in shop.record_ids() if i in ids]
    if len(published) != len(ids) or set(published) != set(ids):
        raise Broken(f"{len(published)} records of {len(ids)} rows")
    if shop.outbox_ids():
        raise Broken(f"{len(shop.outbox_ids())} rows published and not deleted")


def tidied_before_commit(lab):
    """Everything is produced and nothing committed; then comes the end."""
    shop = shop_that_deletes(lab)
    ids = shop.insert(3)
    run, _ = lab.start_paused(shop, "publisher.after_position", records=5)
    with contextlib.suppress(TimeoutError):
        system.wait_for(lambda: not shop.outbox_ids(), 2, "rows deleted")
    run.kill9()
    gone = set(ids) - shop.outbox_ids() - set(shop.record_ids())
    if gone:
        raise Broken(f"{len(gone)} rows deleted and not published")
    judge_deleted(lab, shop, ids)


def acked_before_tidied(lab):
    """Published, about to be deleted; the server is asked meanwhile how far it was acknowledged, and then comes the end."""
    shop = shop_that_deletes(lab)
    ids = shop.insert(3)
    end = shop.postgres.flush_lsn()
    paused = lab.pause(shop)
    run = lab.start(shop, failpoint=f"tidy.before_statement=pause:{paused}")
    reached(paused)
    with contextlib.suppress(TimeoutError):
        system.wait_for(lambda: shop.confirmed_flush() >= end, 3, "an ack")
    run.kill9()
    judge_deleted(lab, shop, ids)


def covered_not_tidied(lab):
    """Published and not deleted when the end comes: the server sends those rows again."""
    shop = shop_that_deletes(lab)
    ids = shop.insert(3)
    lab.kill_after_commit(shop, records=5)
    judge_deleted(lab, shop, ids)


def passed_over_tidied(lab):
    """An operator passes over three rows, and the slot is still before them when what came behind them is published."""
    shop = shop_that_deletes(lab)
    passed = shop.insert(3)
    shop.run("position", "set", shop.psql("select pg_current_wal_lsn()"), "--confirm", shop.name,
             failpoint="reposition.after_store=kill")
    shop.insert(2)
    lab.kill_after_commit(shop, records=4)
    lab.drain(shop)
    gone = set(passed) - shop.outbox_ids() - set(shop.record_ids())
    if gone:
        raise Broken(f"{len(gone)} rows deleted and not published")


def inbox_offset_outside_transaction(lab):
    """A handler is under way when walferry is killed, and then its backend is ended. What was to be one transaction is
    undone, or not all of it."""
    ledger = lab.ledger()
    ledger.inbox.produce(*range(5))
    with ledger.gate() as gate:
        run = lab.start(ledger)
        backend = gate.wait_for_handler()
        run.kill9()
        gate.terminate(backend)
    lab.judge(ledger)


def inbox_no_compare_and_swap(lab):
    """A is about to send its transaction, and hangs until the group has given its partition to B, which handles that event,
    makes the next a dead letter and goes on. Then A sends it, and should the offset move back, all of that is done again.
    (Of effects the marks see to it that there are no two; a dead letter has none.)"""
    ledger = lab.ledger()
    ledger.inbox.produce("first", {"payload": {"poison": True}}, "last")
    pause = ledger.inbox.dir / "pause"
    a = lab.start(ledger, failpoint=f"inbox.before_commit=pause:{pause}")
    reached(pause)
    a.sigstop()
    b = lab.start(ledger)
    ledger.wait_handled(2)
    if ledger.letter_places() != [(0, 1)]:
        raise RuntimeError(b.log_tail())
    release(pause)
    a.sigcont()
    system.wait_for(lambda: a.find("inbox.displaced") or ledger.inbox.offsets() != {0: 3} or len(ledger.letter_places()) > 1,
                    30, "A's transaction")
    for run in (a, b):
        if run.terminate() != 0:
            raise RuntimeError(run.log_tail())
    lab.judge(ledger)


def inbox_mark_without_source(lab):
    """Two outboxes that number their events alike."""
    ledger = lab.ledger()
    ledger.inbox.produce({"id": "1", "source": "one", "payload": 1}, {"id": "1", "source": "other", "payload": 1})
    lab.judge(ledger)
