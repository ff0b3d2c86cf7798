"""What nova 34 makes of network info (tests/data/network_data), against ours of the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nova_lite.configdrive.interfaces import interfaces
from nova_lite.configdrive.network_data import network_data
from nova_lite.wire import network_info

DATA = Path(__file__).parents[2] / "data" / "network_data" / "recorded.json"
RECORDED = {recorded["case"]: recorded for recorded in json.loads(DATA.read_text())}


@pytest.mark.parametrize("case", RECORDED)
def test_network_data_is_as_recorded(case):
    """Links, networks, routes and name servers."""
    recorded = RECORDED[case]
    vifs = network_info.load(json.dumps(recorded["network_info"]))

    assert network_data(vifs) == recorded["network_data"]


@pytest.mark.parametrize("case", RECORDED)
def test_injected_configuration_is_as_recorded(case):
    """Line by line; comments and empty lines configure nothing."""
    recorded = RECORDED[case]
    vifs = network_info.load(json.dumps(recorded["network_info"]))

    assert lines(interfaces(vifs)) == lines(recorded["injected"])


def lines(text):
    return text and [
        line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")
    ]
