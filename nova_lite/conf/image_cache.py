"""Options of [image_cache]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "image_cache"

OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "manager_interval",
        default=2400,
        deprecated_group="DEFAULT",
        deprecated_name="image_cache_manager_interval",
        min=-1,
        help="Seconds between two looks at the image cache; 0: 60 s, -1: never.",
    ),
    cfg.StrOpt(
        "subdirectory_name",
        default="_base",
        deprecated_group="DEFAULT",
        deprecated_name="image_cache_subdirectory_name",
        help="Directory of cached images, relative to instances_path.",
    ),
    cfg.BoolOpt(
        "remove_unused_base_images",
        default=True,
        deprecated_group="DEFAULT",
        help="Remove cached images that no server on this host uses.",
    ),
    cfg.IntOpt(
        "remove_unused_original_minimum_age_seconds",
        default=24 * 3600,
        deprecated_group="DEFAULT",
        help="Unused images younger than this stay in the cache.",
    ),
    cfg.IntOpt(
        "remove_unused_resized_minimum_age_seconds",
        default=3600,
        deprecated_group="libvirt",
        help="Unused resized copies (made by old releases) younger than this stay in the cache.",
    ),
]
