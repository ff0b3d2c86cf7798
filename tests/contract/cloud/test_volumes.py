"""The stand-ins of Cinder keep what the agent relies on of a real one."""

from __future__ import annotations

import pytest

from nova_lite.clients.cinder import Cinder
from nova_lite.clients.session import Sessions
from nova_lite.wire.context import RequestContext
from tests.contract.volume_service import VolumeServiceContract
from tests.fakes.cinder import FakeCinder, local_cinder
from tests.fakes.cloud import Ledger
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import HttpCloud


class TestStandIns(VolumeServiceContract):
    @pytest.fixture(params=["over HTTP", "on a ledger"])
    def cinder(self, request, tmp_path):
        if request.param == "on a ledger":
            yield local_cinder(Ledger(tmp_path / "cloud.json"))
            return
        cloud = HttpCloud()
        cloud.tokens["alice-token"] = "alice"
        FakeCinder(cloud)
        user = cloud.credentials("nova")
        conf = read_conf(
            tmp_path,
            {"cinder": user, "service_user": {**user, "send_service_user_token": "true"}},
        )
        yield Cinder(Sessions(conf), conf)
        cloud.close()

    @pytest.fixture
    def context(self):
        return RequestContext({"auth_token": "alice-token", "request_id": "req-1"})

    @pytest.fixture
    def make_volume(self, cinder, context):
        return lambda **values: cinder.create_volume(context, 1, **values)["id"]
