"""The agent, composed as the real one is, with stand-ins for the rest of the cloud.

Their state is below [DEFAULT]state_path, so that it outlives the process. What is not named here is
the real thing: the journal, the image cache, disks as files, the key of nova.conf.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nova_lite.composition import Composition
from tests.fakes.cinder import local_cinder
from tests.fakes.clock import QUICK
from tests.fakes.cloud import FakeImageSource, FakePlacement, Ledger
from tests.fakes.conductor import FakeConductor
from tests.fakes.hypervisor import FakeHypervisor
from tests.fakes.ledger_ports import FakePorts
from tests.fakes.manila import DirectoryShares, FakeManila, FakeShareDrivers
from tests.fakes.peers import FakePeers
from tests.fakes.vif import FakeVifDriver
from tests.fakes.volume_driver import FakeHostConnector, FakeVolumeDrivers, FileVolumes


def stand_ins(host: Path, cloud: Path | None = None, name: str = "host1") -> dict[str, Any]:
    """Parts for ``Composition``, by name.

    :param host: the directory of what is on the host: volumes and shares that it has connected
    :param cloud: the directory of what is not; by default the host's
    :param name: [DEFAULT]host
    """
    cloud = cloud or host
    ledger = Ledger(cloud / "cloud.json")
    (cloud / "images").mkdir(parents=True, exist_ok=True)
    return {
        "pace": QUICK,
        "hypervisor": FakeHypervisor(),
        "conductor": FakeConductor(cloud / "conductor.json", ledger),
        "peers": FakePeers(),
        "placement": FakePlacement(ledger),
        "ports": FakePorts(ledger),
        "cinder": local_cinder(ledger),
        "manila": FakeManila(ledger),
        "image_store": FakeImageSource(cloud / "images"),
        "vif_driver": FakeVifDriver(),
        "volumes": FakeVolumeDrivers(FileVolumes(host, cloud)),
        "shares": FakeShareDrivers(DirectoryShares(host, cloud)),
        "connector": FakeHostConnector(name),
    }


class FakeAgent:
    """An agent in this process: its parts, its tools, and an engine that works with them.

    :param conf: a ConfigOpts
    :param replaced: parts in place of the stand-ins
    """

    def __init__(self, conf: Any, **replaced: Any) -> None:
        around = stand_ins(Path(conf.state_path), name=conf.host)
        self.parts = Composition(conf, **{**around, **replaced})
        self.hypervisor, self.conductor = self.parts.hypervisor, self.parts.conductor
        self.tools = self.parts.toolbox(self.hypervisor.facts(), "node", 1)
        self.engine = self.parts.engine(self.tools)
