"""What nova.conf says about config drives: who gets one, and the operator's own data on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nova_lite.errors import InvalidConfiguration
from nova_lite.model.server import Server

STATIC, DYNAMIC = "StaticJSON", "DynamicJSON"
PROVIDERS = frozenset({STATIC, DYNAMIC})


def required(server: Server, force_config_drive: bool, *, launched: bool = False) -> bool:
    """Whether a server has a config drive, or gets one when it is built.

    Its user, its image (``img_config_drive=mandatory``) or the operator may want it.

    :param force_config_drive: [DEFAULT]force_config_drive
    :param launched: whether the server was built before; no drive is forced upon it any more
    """
    by_image = server.image.properties.get("img_config_drive") == "mandatory"
    return server.config_drive or by_image or (force_config_drive and not launched)


def vendor_static(api: Any) -> Mapping[str, Any] | None:
    """The operator's vendor data for every guest; None when its provider is off.

    :param api: values of [api]: ``vendordata_providers``, ``vendordata_jsonfile_path``
    :raises InvalidConfiguration: the file cannot be read, or there is no such provider
    """
    unknown = set(api.vendordata_providers) - PROVIDERS
    if unknown:
        raise InvalidConfiguration(
            f"[api]vendordata_providers: {', '.join(sorted(unknown))} is unknown: use StaticJSON "
            "and DynamicJSON"
        )
    if STATIC not in api.vendordata_providers:
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
