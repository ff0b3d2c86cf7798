"""The one table of errors: what each means to the user, to the API and to the operation engine.

A row is a class. ``nova_name`` is the exception name that nova-api and nova-conductor know (module
``nova.exception``), ``code`` its HTTP meaning, ``verdict`` what a failed boot does with it, and
``expected`` whether it is somebody's mistake (logged in one line) rather than ours (traceback).
Messages name the thing and the remedy and never hold a secret.
"""

# ruff: noqa: F403  the rooms of the table make one module to all who import it

from nova_lite.errors.base import *
from nova_lite.errors.control_plane import *
from nova_lite.errors.evacuation import *
from nova_lite.errors.hypervisor import *
from nova_lite.errors.images import *
from nova_lite.errors.live_migration import *
from nova_lite.errors.moves import *
from nova_lite.errors.network import *
from nova_lite.errors.requests import *
from nova_lite.errors.shares import *
from nova_lite.errors.volumes import *
