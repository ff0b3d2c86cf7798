"""Who gets a config drive, and the operator's data on it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from nova_lite.configdrive import options
from nova_lite.errors import InvalidConfiguration
from nova_lite.model.server import Flavor, Image, Server


def server(config_drive: bool = False, **properties: str) -> Server:
    image = Image("image", properties=properties)
    flavor = Flavor("f", "1", 1, 128, 1)
    return Server("u", "d", "n", "n", flavor, image, config_drive=config_drive)


def api(path: str | None = None, providers: tuple[str, ...] = ("StaticJSON",)) -> SimpleNamespace:
    return SimpleNamespace(vendordata_providers=providers, vendordata_jsonfile_path=path)


@pytest.mark.parametrize(
    ("made", "force", "wanted"),
    [
        (server(), False, False),
        (server(config_drive=True), False, True),
        (server(), True, True),
        (server(img_config_drive="mandatory"), False, True),
        (server(img_config_drive="optional"), False, False),
    ],
)
def test_required(made, force, wanted):
    """User, image and operator may each want a drive."""
    assert options.required(made, force) is wanted


def test_no_drive_is_forced_upon_a_server_that_was_built_before():
    """Its guest has no such disk; what its user asked for holds."""
    assert options.required(server(), True, launched=True) is False
    assert options.required(server(config_drive=True), False, launched=True) is True


def test_static_vendor_data(tmp_path):
    """The file's object is passed on; without a file it is empty, without provider absent."""
    path = tmp_path / "vendor.json"
    path.write_text(json.dumps({"a": 1}))

    assert options.vendor_static(api(str(path))) == {"a": 1}
    assert options.vendor_static(api()) == {}
    assert options.vendor_static(api(str(path), ())) is None


@pytest.mark.parametrize("text", ["not json", "[1]"])
def test_bad_vendor_data_file(tmp_path, text):
    """A file that holds no JSON object is named."""
    path = tmp_path / "vendor.json"
    path.write_text(text)
    with pytest.raises(InvalidConfiguration, match="vendor.json"):
        options.vendor_static(api(str(path)))


def test_missing_vendor_data_file():
    """So is one that is not there."""
    with pytest.raises(InvalidConfiguration, match="/no/such/file"):
        options.vendor_static(api("/no/such/file"))


def test_unknown_providers_are_refused():
    """What cannot be done is not silently left out."""
    with pytest.raises(InvalidConfiguration, match="OtherJSON is unknown"):
        options.vendor_static(api(providers=("StaticJSON", "DynamicJSON", "OtherJSON")))
