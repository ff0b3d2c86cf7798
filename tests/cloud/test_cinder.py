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

    @pytest.fixture
    def make_volume(self, api, cinder, context, garbage):
        volumes = Volumes(api, lambda undo: None)  # some tests delete theirs themselves

        def make(**values):
            volume = volumes.create("ceph", **values)
            garbage.later(lambda: cinder.delete_volume(context, volume))
            return volume

        return make
