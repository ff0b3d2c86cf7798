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
        now = time.monotonic()
        echoed, gap, last = echoed + len(data), max(gap, now - last), now
except (OSError, EOFError) as error:
    gap, broken = max(gap, time.monotonic() - last), str(error)
print(json.dumps({"sent": sent, "echoed": echoed, "gap": gap, "broken": broken}))
"""
ECHO = f"killall dropbear; (nc -ll -p {SSH} -e /bin/cat </dev/null >/dev/null 2>&1 &); echo begun"
# Pings $1 and holds a connection to it, a ping and a byte each $2 seconds ($3 microseconds). In the
# background the function is in a subshell: by itself it would keep the stdout that is waited for.
BEGIN = f"""
killall ping nc 2>/dev/null; rm -f /tmp/on; sleep 1
rm -f /tmp/pings /tmp/sent /tmp/echoed /tmp/status; touch /tmp/on
(ping -i $2 $1 >/tmp/pings 2>&1 </dev/null &)
send() {{ while [ -e /tmp/on ]; do printf .; usleep $1; done | tee /tmp/sent; }}
talk() {{ send $2 | nc $1 {SSH} >/tmp/echoed 2>/tmp/status; echo over >>/tmp/status; }}
( (talk $1 $3) </dev/null >/dev/null 2>&1 &)
echo begun
"""
# Lets both end; says in the end whether the connection had ended before.
END = """
ended=$(cat /tmp/status); killall -INT ping; rm -f /tmp/on
for n in $(seq 30); do grep -q over /tmp/status && break; sleep 1; done
wc -c </tmp/sent; wc -c </tmp/echoed; cat /tmp/pings
echo "ended: $ended"
"""
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
        """Do both while the block runs; afterwards ``lost`` pings are known (one may be on its
        way) and the ``stream``, without its gap.

        :param address: a fixed one of the other guest
        :param interval: seconds between two pings, and two bytes
        """
        wait_for(f"{address} echoes to its neighbour", lambda: self._echoes(address), 60)
        arguments = f"{address} {interval} {interval * 1e6:.0f}"
        self._guest.ask(f"set -- {arguments}; {BEGIN}")
        yield self
        said = self._guest.ask(END)
        sent, echoed = map(int, said.split()[:2])
        self.stream = Stream(sent, echoed, broken=said.rpartition("ended: ")[2].strip())
        transmitted, received = map(int, LOST.findall(said)[0])
        self.lost = transmitted - received

    def _echoes(self, address: str) -> bool:
        return "yes" in self._guest.ask(f"(echo yes; sleep 1) | nc -w 5 {address} {SSH}; echo")
