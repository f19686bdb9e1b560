"""TCP proxies in threads, to do to a connection what networks do. One proxy per upstream.

TcpProxy cuts, delays, refuses and swallows. KafkaProxy also reads the framing of what clients send (length int32, then
api_key int16, api_version int16, ...) and can hold back or cut at a single request, such as one EndTxn.
"""
import collections
import socket
import struct
import threading
import time

from .wire import API


class _Link:
    """One client connection and the one to the server that was made for it."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.held = None  # the HeldRequest that keeps the server's side open

    def close(self):
        _close(self.client)
        if self.held is None:
            _close(self.server)


class TcpProxy:
    def __init__(self, target_port, target_host="127.0.0.1"):
        self._target = (target_host, target_port)
        self._lock = threading.Lock()
        self._links = set()
        self._flow = threading.Event()  # clear: a black hole
        self._flow.set()
        self._refusing = False
        self.delay = 0.0  # seconds, for each chunk in each direction
        self.accepted = 0
        self.passed = 0  # bytes, in both directions
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    # What a test does

    def cut(self):
        """Closes every connection, at both ends. New ones are welcome."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()
        return len(links)

    def blackhole(self):
        """Connections stay and are accepted, but nothing passes until heal()."""
        self._flow.clear()

    def refuse(self):
        """Cuts, and closes new connections as soon as they come, until heal()."""
        self._refusing = True
        self.cut()

    def heal(self):
        """Back to passing everything at once. What a black hole swallowed is delivered now, late, as TCP does."""
        self.delay = 0.0
        self._refusing = False
        self._flow.set()

    @property
    def connections(self):
        with self._lock:
            return len(self._links)

    def close(self):
        self._refusing = True
        _close(self._listener)
        self._flow.set()
        self.cut()

    # How it is done

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client):
        self._flow.wait()
        if self._refusing:
            _close(client)
            return
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            _close(client)
            return
        server.settimeout(None)
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(client, server)
        with self._lock:
            self._links.add(link)
            self.accepted += 1
        threading.Thread(target=self._run, args=(self._upstream, link), daemon=True).start()
        threading.Thread(target=self._run, args=(self._downstream, link), daemon=True).start()

    def _run(self, pump, link):
        try:
            pump(link)
        except OSError:
            pass
        finally:
            link.close()
            with self._lock:
                self._links.discard(link)

    def _pass(self, data, target):
        self._flow.wait()
        if self.delay:
            time.sleep(self.delay)
        with self._lock:
            self.passed += len(data)
        target.sendall(data)

    def _upstream(self, link):
        while data := link.client.recv(65536):
            self._pass(data, link.server)

    def _downstream(self, link):
        while data := link.server.recv(65536):
            self._pass(data, link.client)


class HeldRequest:
    """A request that the proxy keeps back. wait() until it was caught, release() to let the broker have it after all."""

    def __init__(self, api_key, cut):
        self.api_key = api_key
        self.cut = cut
        self.caught = threading.Event()
        self.response = None  # the broker's raw answer to a request whose client was cut
        self._go = threading.Event()
        self._answered = threading.Event()
        self._dropped = False

    def wait(self, timeout=30):
        if not self.caught.wait(timeout):
            raise TimeoutError(f"no request with api key {self.api_key} within {timeout} s")
        return self

    def release(self, timeout=10):
        """Sends it to the broker. When the client was cut, waits for the broker's answer, which nobody else sees;
        returns False if the broker has closed the connection meanwhile."""
        self._go.set()
        if not self.cut:
            return True
        self._answered.wait(timeout)
        return self.response is not None

    def error_code(self):
        """Of the answer to an EndTxn or another request whose answer starts with a throttle time: 0 is success."""
        return struct.unpack_from(">h", self.response, 12)[0] if self.response else None

    def drop(self):
        """Never sent."""
        self._dropped = True
        self._go.set()


class KafkaProxy(TcpProxy):
    def __init__(self, target_port, target_host="127.0.0.1"):
        self._plans = []  # requests to wait for
        self._held = []  # requests caught
        self.seen = collections.Counter()  # requests by api key
        super().__init__(target_port, target_host)

    def hold_next(self, api="end_txn", cut=True):
        """Keeps the next such request (a name of wire.API, or a number) back. With cut the client loses that connection
        at that moment while the broker's side stays open: the request is a delayed one of an attempt given up. Without,
        the client waits."""
        held = HeldRequest(API[api] if isinstance(api, str) else api, cut)
        with self._lock:
            self._plans.append(held)
        return held

    def cut_after(self, api="end_txn"):
        """The broker gets the next such request, the client loses its connection instead of seeing the answer."""
        held = self.hold_next(api)
        held._go.set()
        return held

    def heal(self):
        """Also forgets what was planned and not met, and drops what is held."""
        with self._lock:
            plans, self._plans, self._held = self._plans + self._held, [], []
        for plan in plans:
            plan.drop()
        super().heal()

    def close(self):
        self.heal()
        super().close()

    def _take_plan(self, api_key):
        with self._lock:
            for plan in self._plans:
                if plan.api_key == api_key:
                    self._plans.remove(plan)
                    self._held.append(plan)
                    return plan
        return None

    def _upstream(self, link):
        stream = link.client.makefile("rb", buffering=1 << 18)
        while True:
            head = stream.read(4)
            if len(head) < 4:
                return
            body = stream.read(struct.unpack(">i", head)[0])
            api_key, = struct.unpack(">h", body[:2])
            self.seen[api_key] += 1
            plan = self._take_plan(api_key)
            if plan is None:
                self._pass(head + body, link.server)
            elif plan.cut:
                self._hold_without_client(link, head + body, plan)
                return
            else:
                plan.caught.set()
                plan._go.wait()
                if plan._dropped:
                    return
                self._pass(head + body, link.server)

    def _hold_without_client(self, link, frame, plan):
        link.held = plan
        _close(link.client)
        plan.caught.set()
        plan._go.wait()
        try:
            if not plan._dropped:
                link.server.sendall(frame)
                plan._answered.wait(10)
        finally:
            plan._answered.set()
            _close(link.server)

    def _downstream(self, link):
        while data := link.server.recv(65536):
            if link.held is None:
                self._pass(data, link.client)
            elif link.held._go.is_set() and not link.held._dropped:
                link.held.response = data
                link.held._answered.set()
        if link.held is not None:
            link.held._answered.set()


def _close(s):
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    s.close()
