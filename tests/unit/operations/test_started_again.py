"""A guest that was powered off for what then fails is started again, as at any other start: its
interfaces are plugged, for what libvirt made of them went with the guest."""

from __future__ import annotations

from nova_lite.errors import HypervisorError, ImageQuotaExceeded
from tests.unit.operations.host import Host
from tests.unit.operations.test_power_failures import RESCUE
from tests.unit.operations.two_cells import TwoCells


def remembering(host):
    """What is plugged and started from now on, in order."""
    done = []
    plug, start = host.vifs.plug, host.hypervisor.start

    def plugs(vif, **more):
        done.append("plug")
        plug(vif, **more)

    def starts(uuid, **more):
        done.append("start")
        start(uuid, **more)

    host.vifs.plug, host.hypervisor.start = plugs, starts
    return done


def test_a_rescue_that_fails(tmp_path):
    """Before there is anything of the rescue system."""
    host = Host(tmp_path)
    host.boot()
    host.set(task_state="rescuing")
    done = remembering(host)

    def definition(uuid):
        raise HypervisorError("no definition")

    host.hypervisor.definition = definition
    host.run("rescue_instance", request="req-rescue", **RESCUE)

    assert (host.look()["guest"], done) == ("RUNNING", ["plug", "start"])


def test_a_move_to_another_cell_whose_image_is_not_taken(tmp_path):
    """Before its interfaces are unplugged."""
    cells = TwoCells(tmp_path)
    cells.copy()
    cells.prep_dest()
    arguments = cells.ready_source()
    cells.source.images.refusal = ImageQuotaExceeded("The image service is full")
    done = remembering(cells.source)

    cells.call("host1", "prep_snapshot_based_resize_at_source", **arguments)

    assert (cells.source.look()["guest"], done) == ("RUNNING", ["plug", "start"])
