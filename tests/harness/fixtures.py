"""The pytest fixtures. One Postgres and one broker serve all tests of a session; each test gets a database, an instance
name and topics of its own, and finds both servers running and both proxies healed.

A test that uses a shop, or the fixture `decoder` itself, runs with each decoder; its id shows which. A test that concerns
one alone says so: @pytest.mark.decoder("pgoutput"). WALFERRY_DECODERS (default "pgoutput,wal2json,none") chooses; "none"
are the tests that have nothing to do with decoders."""
import os

import pytest

from .example import Example
from .inbox import Inbox
from .kafka import Kafka
from .postgres import Postgres, bindir
from .proxy import TcpProxy
from .secure import SecureKafka, SecurePostgres, SecureShop
from .shop import Shop


DECODERS = ("pgoutput", "wal2json")
CHOICES = (*DECODERS, "none")


def chosen():
    names = os.environ.get("WALFERRY_DECODERS", ",".join(CHOICES)).split(",")
    unknown = set(names) - set(CHOICES)
    assert not unknown, f"WALFERRY_DECODERS names {sorted(unknown)}; there are {CHOICES}"
    return names


def has_wal2json():
    """Not the servers of Maven Central."""
    return any(bindir().parent.glob("lib/**/wal2json.so"))


def pytest_configure(config):
    config.addinivalue_line("markers", "decoder(name): with this decoder only")


def pytest_generate_tests(metafunc):
    if "decoder" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("decoder")
        wanted = mark.args if mark else DECODERS
        metafunc.parametrize("decoder", [d for d in chosen() if d in wanted])


def pytest_collection_modifyitems(config, items):
    """What is not chosen is left out."""
    def belongs(item):
        if "decoder" in item.fixturenames:
            return item.callspec.params["decoder"] in DECODERS
        return "none" in chosen()
    if not has_wal2json():
        for item in items:
            if "decoder" in item.fixturenames and item.callspec.params["decoder"] == "wal2json":
                item.add_marker(pytest.mark.skip(reason=f"the Postgres in {bindir()} has no wal2json"))
    left_out = [item for item in items if not belongs(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if belongs(item)]


@pytest.fixture(scope="session")
def session_postgres():
    server = Postgres()
    try:
        yield server.start()
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def session_kafka():
    server = Kafka()
    try:
        yield server.start()
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def session_postgres_proxy(session_postgres):
    proxy = TcpProxy(session_postgres.port)
    yield proxy
    proxy.close()


@pytest.fixture
def postgres(session_postgres):
    session_postgres.ensure_running()
    yield session_postgres
    session_postgres.ensure_running()


@pytest.fixture
def kafka(session_kafka):
    session_kafka.ensure_running()
    yield session_kafka
    session_kafka.proxy.heal()
    session_kafka.ensure_running()


@pytest.fixture
def postgres_proxy(postgres, session_postgres_proxy):
    """A TcpProxy in front of the session's Postgres; use with make_shop(pg_proxy=True)."""
    yield session_postgres_proxy
    session_postgres_proxy.heal()


@pytest.fixture
def make_shop(postgres, kafka, postgres_proxy, decoder):
    """make_shop(**kwargs of Shop): any number in a test, with the test's decoder. pg_proxy, kafka_proxy: the relay goes through the proxy."""
    shops = []

    def make(pg_proxy=False, kafka_proxy=False, **kwargs):
        kwargs.setdefault("postgres", postgres)
        kwargs.setdefault("kafka", kafka)
        kwargs.setdefault("decoder", decoder)
        if pg_proxy:
            kwargs["pg_port"] = postgres_proxy.port
        if kafka_proxy:
            kwargs["brokers"] = kwargs["kafka"].proxy_brokers
        shop = Shop(**kwargs)
        shops.append(shop)
        return shop

    make.shops = shops
    yield make
    kafka.proxy.heal()
    postgres_proxy.heal()
    postgres.ensure_running()
    for shop in reversed(shops):
        shop.close()


@pytest.fixture
def shop(make_shop):
    return make_shop()


@pytest.fixture
def make_inbox(postgres, kafka, postgres_proxy):
    """make_inbox(**kwargs of Inbox): any number in a test. pg_proxy, kafka_proxy: walferry goes through the proxy."""
    shops = []

    def make(pg_proxy=False, kafka_proxy=False, **kwargs):
        if pg_proxy:
            kwargs["pg_port"] = postgres_proxy.port
        if kafka_proxy:
            kwargs["brokers"] = kafka.proxy_brokers
        shops.append(Inbox(postgres, kafka, **kwargs))
        return shops[-1]

    make.shops = shops
    yield make
    kafka.proxy.heal()
    postgres_proxy.heal()
    postgres.ensure_running()
    for shop in shops:
        shop.close()


@pytest.fixture
def make_example(postgres, kafka, decoder):
    """make_example("fleet"): the folder of that name in config/examples/, set up, with the test's decoder."""
    examples = []

    def make(name, **kwargs):
        examples.append(Example(name, postgres, kafka, decoder, **kwargs))
        return examples[-1]

    make.shops = examples
    yield make
    for example in examples:
        example.close()


@pytest.fixture
def inbox(make_inbox):
    return make_inbox()


@pytest.fixture(scope="session")
def session_secure_kafka():
    """walferry, plain and certified may do everything; ferry needs ACLs; the password of changing may be changed."""
    server = SecureKafka({name: SecureShop.KAFKA_PASSWORD for name in ("walferry", "ferry", "changing")},
                         {"plain": SecureShop.KAFKA_PASSWORD}, ("walferry", "plain", "certified", "changing"))
    try:
        yield server.start()
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def session_secure_postgres():
    server = SecurePostgres()
    try:
        server.start().psql("create role by_certificate")
        yield server
    finally:
        server.destroy()


@pytest.fixture
def secure_shop(session_secure_postgres, session_secure_kafka):
    """A SecureShop; both its servers are those of the session."""
    session_secure_postgres.ensure_running()
    session_secure_kafka.ensure_running()
    shop = SecureShop(session_secure_postgres, session_secure_kafka)
    yield shop
    shop.close()


@pytest.fixture
def fresh_postgres():
    """fresh_postgres(settings, **kwargs of Postgres): a server of the test's own, started; for disk images and second clusters."""
    servers = []

    def make(settings=None, **kwargs):
        servers.append(Postgres(settings, **kwargs))
        return servers[-1].start()

    yield make
    for server in servers:
        server.destroy()


@pytest.fixture
def fresh_kafka():
    servers = []

    def make(settings=None):
        servers.append(Kafka(settings))
        return servers[-1].start()

    yield make
    for server in servers:
        server.destroy()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the end of walferry's logs with a failed test."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for value in item.funcargs.values():
            for shop in getattr(value, "shops", [value]):
                for number, run in enumerate(getattr(shop, "runs", [])):
                    report.sections.append((f"walferry run {number}, exit code {run.exit_code}", run.log_tail(60)))
