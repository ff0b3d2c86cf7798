"""TCP connections to a guest that are held while it goes somewhere else, and what they miss.

From outside, through its floating IP, and from another guest of its network, which pings it as
well. The guest of the image tiny-agent echoes what it gets at the port of ssh, which the default
security group lets in.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.guest import Guest
from tests.cloud.support.networks import NAMESPACE, SSH

CONNECT_S = 30
# Holds a connection until its stdin is closed, and says what came back.
CLIENT = """
import json, select, socket, sys, time
address, port, interval = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
connection = socket.create_connection((address, port), float(sys.argv[4]))
sent = echoed = 0
gap, broken, last = 0.0, "", time.monotonic()
print("connected", flush=True)
following = last
try:
    while True:
        pause = max(0, following - time.monotonic())
        readable, _, _ = select.select([connection, sys.stdin], [], [], pause)
        if sys.stdin in readable:
            break
        if connection in readable:
            data = connection.recv(65536)
            if not data:
                raise EOFError("the guest has closed it")
            now = time.monotonic()
            echoed, gap, last = echoed + len(data), max(gap, now - last), now
        if time.monotonic() >= following:
            connection.sendall(b".")
            sent, following = sent + 1, time.monotonic() + interval
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(float(sys.argv[4]))
    while data := connection.recv(65536):
        echoed += len(data)
except (OSError, EOFError) as error:
    broken = str(error)
print(json.dumps({"sent": sent, "echoed": echoed, "gap": gap, "broken": broken}))
"""
ECHO = f"killall dropbear; (nc -ll -p {SSH} -e /bin/cat </dev/null >/dev/null 2>&1 &); echo begun"
LOST = re.compile(r"(\d+) packets transmitted, (\d+) packets received")


@dataclass
class Stream:
    """One connection; filled when it is over.

    ``gap`` is seconds of the longest pause between two echoes, ``broken`` why the connection ended
    by itself, empty where it did not.
    """

    sent: int = 0
    echoed: int = 0
    gap: float = 0.0
    broken: str = ""

    @property
    def whole(self) -> bool:
        """Whether all that was sent came back."""
        return not self.broken and 0 < self.sent == self.echoed


def echo(guest: Guest) -> None:
    """Let the guest echo what it gets."""
    guest.ask(ECHO)


@contextmanager
def held(address: str, interval: float) -> Iterator[Stream]:
    """Hold a connection from outside while the block runs; needs root.

    :param address: of a guest that echoes, on the network ``public``
    :param interval: seconds between two bytes
    """
    stream = Stream()
    client = subprocess.Popen(
        ["ip", "netns", "exec", NAMESPACE, "python3", "-c", CLIENT, address, str(SSH),
         str(interval), str(CONNECT_S)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert client.stdout is not None
        if client.stdout.readline().strip() != "connected":
            raise RuntimeError(f"no connection to {address}: {client.communicate()[1][-500:]}")
        yield stream
        said, _ = client.communicate(timeout=2 * CONNECT_S)
        vars(stream).update(json.loads(said))
    finally:
        client.kill()
        client.wait()


class Neighbour:
    """Another guest, which pings one that echoes, and holds a connection to it.

    :param guest: of the image tiny-agent
    """

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self.lost, self.stream = 0, Stream()

    @contextmanager
    def at(self, address: str, interval: float) -> Iterator[Neighbour]:
        """Do both while the block runs; ``lost`` pings and the ``stream`` (without its gap) are
        known afterwards.

        :param address: a fixed one of the other guest
        :param interval: seconds between two pings, and two bytes
        """
        wait_for(f"{address} echoes to its neighbour", lambda: self._echoes(address), 60)
        numbers = f"while [ -e /tmp/on ]; do printf .; usleep {interval * 1e6:.0f}; done"
        self._guest.ask(
            "rm -f /tmp/pings /tmp/sent /tmp/echoed /tmp/status; touch /tmp/on;"
            f" (ping -i {interval} {address} >/tmp/pings 2>&1 </dev/null &);"
            f" (({numbers} | tee /tmp/sent | nc {address} {SSH} >/tmp/echoed 2>/tmp/status;"
            " echo over >>/tmp/status) </dev/null >/dev/null 2>&1 &); echo begun"
        )
        try:
            yield self
        finally:
            ended = self._guest.ask("cat /tmp/status; echo")
            self._guest.ask("killall -INT ping; rm -f /tmp/on; sleep 2; echo over")
        sent, received = map(int, LOST.findall(self._guest.ask("cat /tmp/pings"))[0])
        self.lost = sent - received
        sizes = self._guest.ask("wc -c </tmp/sent; wc -c </tmp/echoed").split()
        self.stream = Stream(int(sizes[0]), int(sizes[1]), broken=ended.strip())

    def _echoes(self, address: str) -> bool:
        return "yes" in self._guest.ask(f"(echo yes; sleep 1) | nc -w 5 {address} {SSH}; echo")
