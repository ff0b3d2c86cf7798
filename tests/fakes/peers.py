"""Other compute hosts, as ``nova_lite.peers.client.Peers`` reaches them."""

from __future__ import annotations

from nova_lite.errors import PeerUnavailable
from nova_lite.peers.methods import METHODS
from tests.fakes.outgoing import hold


class FakePeers:
    """``answers``: by host and method, what a call returns, or raises if it is an exception, or a
    function of the arguments; a host that is not there does not answer, and one of ``fenced`` is
    said to be dead. ``services``: service versions by host, of others the newest. ``sent``: (host,
    method, arguments) of calls and casts."""

    def __init__(self, **answers):
        self.answers = answers
        self.sent = []
        self.fenced = set()
        self.services = {}

    def call(self, context, host, method, *, version=None, timeout=None, long=None, **arguments):
        answer = self._send(host, method, arguments)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cast(self, context, host, method, *, version=None, **arguments):
        self._send(host, method, arguments)

    def at_least(self, service):
        pass

    def reports(self, context, host, service):
        return self.services.get(host, 74) >= service

    def is_up(self, context, host):
        return host in self.answers

    def is_fenced(self, context, host):
        return host in self.fenced

    def ping(self, host, *, topic="compute", timeout=10.0):
        self._there(host, "ping")
        return 0.001

    def _send(self, host, method, arguments):
        assert set(arguments) == set(METHODS[method].arguments)
        hold(arguments)
        self._there(host, method)
        self.sent.append((host, method, arguments))
        answer = self.answers[host].get(method)
        return answer(arguments) if callable(answer) else answer

    def _there(self, host, method):
        if host not in self.answers:
            raise PeerUnavailable(f"host {host} did not answer {method}")
