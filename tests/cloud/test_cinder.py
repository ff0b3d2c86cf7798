"""The real Cinder keeps what the agent relies on, and what its stand-in in other tests promises."""

from __future__ import annotations

import pytest

from nova_lite.clients.cinder import Cinder
from nova_lite.clients.session import Sessions
from nova_lite.conf import load
from nova_lite.wire.context import RequestContext
from tests.cloud.support.volumes import Volumes
from tests.contract.volume_service import VolumeServiceContract

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only]


@pytest.fixture(autouse=True)
def no_leaks():
    """Nothing here is about a host."""


class TestRealCinder(VolumeServiceContract):
    @pytest.fixture(scope="class")
    def cinder(self, cloud, node):
        """The client with the credentials of the host's agent."""
        directory = cloud.state / "etc" / node
        files = [directory / "nova.conf", directory / "nova.local.conf"]
        options = [word for file in files for word in ("--config-file", str(file))]
        conf = load.load(options, "test")
        return Cinder(Sessions(conf), conf)

    @pytest.fixture
    def context(self, api):
        """The user whose token comes along with a request."""
        return RequestContext(
            {
                "auth_token": api.connection.auth_token,
                "project_id": api.connection.current_project_id,
                "request_id": "req-00000000-0000-0000-0000-000000000001",
            }
        )

    @pytest.fixture(scope="class")
    def spare(self):
        """Plain volumes that earlier tests have left as they were."""
        return []

    @pytest.fixture
    def make_volume(self, api, cinder, context, spare, module_garbage):
        volumes = Volumes(api, module_garbage.later)
        made = []

        def make(**values):
            if not values and spare:
                made.append(spare.pop())
            else:
                made.append(volumes.create("ceph", **values))
            return made[-1]

        yield make
        spare += [volume for volume in made if volumes.status(volume) == "available"]
