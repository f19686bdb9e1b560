"""The image, as the Dockerfile makes it, in file systems of our own: no Docker is needed. What an engine would add (layers,
cgroups) is not tried here."""
import json

import pytest

from harness import system, walferry

from . import dockerfile, roots

pytestmark = pytest.mark.skipif(roots.why_not() is not None, reason=str(roots.why_not()))


@pytest.fixture(scope="module")
def image():
    made = dockerfile.Image(system.ROOT / "Dockerfile", system.ROOT)
    yield made
    made.close()


def test_it_runs_as_a_user_that_is_not_root(image):
    assert image.user == f"{roots.UID}:{roots.UID}"
    assert image.entrypoint == ["/usr/bin/walferry"]
    done = image.root.run(*image.entrypoint, *image.command, cwd=image.workdir, uid=roots.UID)
    assert done.stdout.startswith("walferry ") and "usage:" in done.stdout


def test_it_holds_what_it_takes_to_run_and_nothing_to_build_with(image):
    installed = image.root.run("dpkg-query", "-W", "-f", "${Package}\n").stdout.split()
    assert {"walferry", "librdkafka1", "libpq5", "ca-certificates"} <= set(installed)
    assert not [name for name in installed if name.endswith("-dev") or name in ("gcc", "cmake", "make")]
    missing = [line for line in image.root.run("ldd", "/usr/bin/walferry").stdout.splitlines() if "not found" in line]
    assert not missing
    assert not list((image.root.dir / "var/lib/apt/lists").glob("*Packages*"))
    assert not list((image.root.dir / "tmp").iterdir())
    assert {"org.opencontainers.image.title", "org.opencontainers.image.licenses"} <= set(image.labels)


def test_it_trusts_the_authorities_that_debian_trusts(image):
    assert (image.root.dir / "etc/ssl/certs/ca-certificates.crt").stat().st_size > 100_000


def assert_healthy(image, port):
    """By the health check of the compose file, in the image."""
    test = next(json.loads(line.partition("test: ")[2]) for line in (system.ROOT / "docker-compose.yml").read_text().splitlines()
                if "/readyz" in line)
    assert test.pop(0) == "CMD" and "/9464 " in test[-1]
    test[-1] = test[-1].replace("/9464 ", f"/{port} ")
    system.wait_for(lambda: image.root.run(*test, uid=roots.UID, check=False).returncode == 0, 10, f"{test} says that it is well")


def test_the_services_of_the_compose_file_work_in_it(image, fresh_postgres, kafka):
    """init, then relay, with the config that the compose file mounts, on a root file system that cannot be written to."""
    postgres = fresh_postgres()
    postgres.psql("create role walferry superuser login")
    postgres.psql("create database shop owner walferry")
    config = (system.ROOT / "config/compose/shop.yaml").read_text().replace("0.0.0.0:9464", "127.0.0.1:0")
    (image.root.dir / "etc/walferry/shop.yaml").write_text(config)
    env = {"PGHOST": "127.0.0.1", "PGPORT": postgres.port, "KAFKA_BROKERS": kafka.brokers}
    program = image.root.walferry()
    walferry.run("init", "/etc/walferry/shop.yaml", env=env, binary_path=program).expect_exit(0)
    with walferry.Walferry("relay", "/etc/walferry/shop.yaml", env=env, binary_path=program) as relay:
        port = relay.wait_event("http.listening")["port"]
        relay.wait_streaming()
        assert_healthy(image, port)
        status = open(f"/proc/{relay.pid}/status").read()
        assert f"Uid:\t{roots.UID}\t{roots.UID}" in status
        wanted = postgres.psql("select walferry.emit('orders', 'OrderPlaced', '4711', '{}')", "shop").strip()
        assert wanted
        found = system.wait_for(lambda: kafka.consume_format("orders.events.v1", "%k %h"), 30, "the event in the topic")
        assert len(found) == 1 and found[0].startswith("4711 ")
        assert relay.terminate() == 0
