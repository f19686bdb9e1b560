"""A broker and a Postgres that let nobody in without TLS and credentials, and the certificates for both.

The tests' own administration stays on plain loopback listeners (the broker's DIRECT, where ANONYMOUS is a super user; the
role postgres), so that everything of Kafka and Postgres works here too. What walferry may use are the others.
"""
import os
import subprocess

from . import system
from .kafka import Kafka
from .postgres import Postgres
from .shop import Shop


class Certificates:
    """Two authorities in a folder: `ca` has signed everything but `stranger`, which is of `other`. Every server
    certificate is for localhost and 127.0.0.1, but `wronghost`; `expired` was valid until yesterday; `client` and
    `stranger` are for CN certified."""

    def __init__(self, folder):
        self.dir = folder
        folder.mkdir()
        folder.chmod(0o755)
        for authority in ("ca", "other"):
            self._openssl("req", "-x509", *_NEW_KEY, "-nodes", "-keyout", f"{authority}.key", "-out", f"{authority}.pem",
                          "-days", "30", "-subj", f"/CN=walferry tests {authority}")
        for name, subject, san, days, authority in (
                ("server", "localhost", _LOOPBACK, 30, "ca"), ("expired", "localhost", _LOOPBACK, -1, "ca"),
                ("wronghost", "elsewhere.example", "DNS:elsewhere.example", 30, "ca"),
                ("client", "certified", "DNS:certified", 30, "ca"), ("stranger", "certified", "DNS:certified", 30, "other")):
            self._openssl("req", "-new", *_NEW_KEY, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                          "-subj", f"/CN={subject}", "-addext", f"subjectAltName={san}")
            self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey",
                          f"{authority}.key", "-CAcreateserial", "-copy_extensions", "copyall", "-days", str(days), "-out", f"{name}.pem")
            # Kafka's PEM keystores hold key and chain in one file.
            (folder / f"{name}.keystore.pem").write_text((folder / f"{name}.key").read_text() +
                                                         (folder / f"{name}.pem").read_text())

    def __getitem__(self, name):
        """The path of a file: certificates["ca.pem"]."""
        return self.dir / name

    def encrypted_key(self, name, password):
        """The path of a copy of a key that needs a password."""
        path = self.dir / f"{name}.encrypted.key"
        self._openssl("pkcs8", "-topk8", "-in", f"{name}.key", "-out", str(path), "-passout", f"pass:{password}")
        return path

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True, check=True)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
_LOOPBACK = "DNS:localhost,IP:127.0.0.1"


class SecureKafka(Kafka):
    """Listeners besides DIRECT: sasl (SASL_SSL: SCRAM-SHA-256, SCRAM-SHA-512, PLAIN), sasl_plain (the same without TLS),
    mtls (client certificates), tls (server certificate alone), wronghost and expired (the same, each with that
    certificate). Nobody but super_users may do anything without an ACL. The principals are the SASL user names; that of
    a client certificate is its CN."""

    LISTENERS = {"sasl": "SASL_SSL", "sasl_plain": "SASL_PLAINTEXT", "mtls": "SSL", "tls": "SSL", "wronghost": "SSL",
                 "expired": "SSL"}

    def __init__(self, scram_users, plain_users, super_users):
        """scram_users and plain_users: {name: password}; super_users: names, CNs of client certificates among them."""
        self.scram_users, self.plain_users, self.super_users = scram_users, plain_users, super_users
        super().__init__(format_arguments=[word for name, password in scram_users.items() for mechanism in ("256", "512")
                                           for word in ("--add-scram",
                                                        f"SCRAM-SHA-{mechanism}=[name={name},password={password}]")])
        self.certificates = Certificates(self.dir / "certificates")
        self.ports = dict(zip(self.LISTENERS, system.free_ports(len(self.LISTENERS))))
        self.configure(self._settings())

    def _settings(self):
        with open(self.dir / "server.properties") as properties:
            old = dict(line.rstrip("\n").split("=", 1) for line in properties if "=" in line)
        own = [f"{name.upper()}://localhost:{port}" for name, port in self.ports.items()]
        settings = {
            "listeners": ",".join([old["listeners"], *own]),
            "advertised.listeners": ",".join([old["advertised.listeners"], *own]),
            "listener.security.protocol.map": ",".join(
                [old["listener.security.protocol.map"], *(f"{n.upper()}:{p}" for n, p in self.LISTENERS.items())]),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": ";".join(f"User:{name}" for name in ("ANONYMOUS", *self.super_users)),
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]*).*$/$1/",
        }
        plain = " ".join(f'user_{name}="{password}"' for name, password in self.plain_users.items())
        for name, protocol in self.LISTENERS.items():
            prefix = f"listener.name.{name}."
            certificate = name if name in ("wronghost", "expired") else "server"
            settings |= {prefix + "ssl.keystore.type": "PEM", prefix + "ssl.truststore.type": "PEM",
                         prefix + "ssl.keystore.location": self.certificates[f"{certificate}.keystore.pem"],
                         prefix + "ssl.truststore.location": self.certificates["ca.pem"],
                         prefix + "ssl.client.auth": "required" if name == "mtls" else "none"}
            if not protocol.startswith("SASL"):
                continue
            settings[prefix + "sasl.enabled.mechanisms"] = "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN"
            for mechanism in ("256", "512"):
                settings[f"{prefix}scram-sha-{mechanism}.sasl.jaas.config"] = (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;")
            settings[prefix + "plain.sasl.jaas.config"] = (
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {plain};")
        return settings

    def listener(self, name):
        """host:port of a listener."""
        return f"localhost:{self.ports[name]}"

    def set_scram_password(self, name, password):
        """For new connections; those that are open stay so."""
        self.tool("kafka.admin.ConfigCommand", "--bootstrap-server", self.brokers, "--alter", "--entity-type", "users",
                  "--entity-name", name, "--add-config", f"SCRAM-SHA-256=[password={password}]")

    def consume_as(self, listener, properties, topic):
        """Payloads of a topic, through kcat on a listener with librdkafka properties: what an application sees."""
        options = [word for each in properties for word in ("-X", each)]
        done = subprocess.run(["kcat", "-b", self.listener(listener), "-C", "-t", topic, "-o", "beginning", "-e", "-q",
                               "-X", "isolation.level=read_committed", *options],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise RuntimeError(f"kcat -t {topic}: {done.stderr.strip()}")
        return done.stdout.splitlines()


class SecurePostgres(Postgres):
    """Lets the role postgres in from loopback, and everybody else with TLS only: a role in by_certificate by its client
    certificate, the others by SCRAM."""

    def __init__(self):
        super().__init__({"ssl": "on", "password_encryption": "scram-sha-256"})
        self.certificates = Certificates(self.dir / "certificates")
        self.use_certificate("server")
        self.configure({"ssl_cert_file": self._file("crt"), "ssl_key_file": self._file("key"),
                        "ssl_ca_file": self.certificates["ca.pem"]})
        self.hba = ["host all postgres 127.0.0.1/32 trust", "hostssl all +by_certificate 127.0.0.1/32 cert",
                    "hostssl all all 127.0.0.1/32 scram-sha-256"]
        self.write_hba(self.hba)

    def _file(self, kind):
        return self.data / f"server.{kind}"

    def use_certificate(self, name):
        """Takes effect with reload() or the next start."""
        for kind, source in (("crt", f"{name}.pem"), ("key", f"{name}.key")):
            path = self._file(kind)
            path.unlink(missing_ok=True)
            path.touch(0o600)
            path.write_text(self.certificates[source].read_text())
            self.give(path)

    def give(self, path):
        """A file for the user that the server runs as."""
        owner = self.data.stat()
        import os
        os.chown(path, owner.st_uid, owner.st_gid)

    def write_hba(self, lines):
        """Takes effect with reload() or the next start."""
        (self.data / "pg_hba.conf").write_text("\n".join(lines) + "\n")


class SecureShop(Shop):
    """A Shop whose relay has a role of its own, and reaches both servers with TLS. The passwords are words that stand
    nowhere else: what says one of them gives a secret away."""

    PG_PASSWORD, KAFKA_PASSWORD, KEY_PASSWORD = "Geheim-pg-8d1f", "Geheim-kafka-5a7e", "Geheim-key-c34b"
    SECRETS = (PG_PASSWORD, KAFKA_PASSWORD, KEY_PASSWORD)

    def __init__(self, postgres, kafka):
        super().__init__(postgres, kafka)
        self.role = f"relay_{self.name}"
        self.use_postgres(f"password={self.PG_PASSWORD}")
        self.use_sasl("SCRAM-SHA-256", "walferry")

    def use_postgres(self, more="", role=None, certificates="ca.pem", host="host=localhost", sslmode="verify-full"):
        self.config["postgres"]["conninfo"] = (
            f"{host} port={self.postgres.port} dbname={self.db} user={role or self.role} sslmode={sslmode} "
            f"sslrootcert={self.postgres.certificates[certificates]} {more}")

    def use_kafka(self, listener, *properties):
        self.config["kafka"]["brokers"] = self.kafka.listener(listener)
        self.config["kafka"]["properties"] = list(properties)

    def use_sasl(self, mechanism, user, password=KAFKA_PASSWORD):
        self.use_kafka("sasl", *self.tls("sasl_ssl"), f"sasl.mechanism={mechanism}", f"sasl.username={user}",
                       f"sasl.password={password}")

    def tls(self, protocol="ssl", authority="ca.pem"):
        return f"security.protocol={protocol}", f"ssl.ca.location={self.kafka.certificates[authority]}"

    def with_certificate(self, name="client", key=None):
        certificates = self.kafka.certificates
        return (f"ssl.certificate.location={certificates[f'{name}.pem']}",
                f"ssl.key.location={key or certificates[f'{name}.key']}")

    def create_role(self, role=None):
        self.psql(f"create role {role or self.role} login replication password '{self.PG_PASSWORD}'")

    def init_by_admin(self, **kwargs):
        """walferry init, for a role that is there and has a password."""
        self.create_role()
        self.init("--admin", self.postgres.conninfo(self.db), **kwargs)

    def assert_no_secret_said(self):
        for run in self.runs:
            said = "\n".join(run.lines) + run.stdout.decode(errors="replace")
            for secret in self.SECRETS:
                assert secret not in said, f"{secret} is said by {run.command}"

    def close(self):
        super().close()
        if self.postgres.running:
            self.postgres.psql(f"drop role if exists {self.role}")
