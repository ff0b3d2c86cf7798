"""What nova.conf says about config drives: who gets one, and the operator's own data on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nova_lite.errors import InvalidConfiguration
from nova_lite.model.server import Server


def required(server: Server, force_config_drive: bool) -> bool:
    """Whether a server that is being built gets a config drive.

    Its user, its image (``img_config_drive=mandatory``) or the operator may want it.

    :param force_config_drive: [DEFAULT]force_config_drive
    """
    by_image = server.image.properties.get("img_config_drive") == "mandatory"
    return server.config_drive or by_image or force_config_drive


def vendor_static(api: Any) -> Mapping[str, Any] | None:
    """The operator's vendor data for every guest; None when its provider is off.

    :param api: values of [api]: ``vendordata_providers``, ``vendordata_jsonfile_path``
    :raises InvalidConfiguration: the file cannot be read, or a provider is not supported
    """
    if "DynamicJSON" in api.vendordata_providers:
        raise InvalidConfiguration(
            "[api]vendordata_providers: DynamicJSON is not supported: take it out, or run "
            "nova-compute on this host"
        )
    if "StaticJSON" not in api.vendordata_providers:
        return None
    if not api.vendordata_jsonfile_path:
        return {}
    try:
        content = json.loads(Path(api.vendordata_jsonfile_path).read_bytes())
    except (OSError, ValueError) as exc:
        raise InvalidConfiguration(
            f"[api]vendordata_jsonfile_path={api.vendordata_jsonfile_path} cannot be read: {exc}"
        ) from exc
    if not isinstance(content, dict):
        raise InvalidConfiguration(
            f"[api]vendordata_jsonfile_path={api.vendordata_jsonfile_path} holds no JSON object"
        )
    return content
