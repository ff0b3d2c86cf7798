# Horizon's local_settings.py: on loopback, for people and tests on this machine only.
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
LOCAL_PATH = "@HORIZON@"
STATIC_ROOT = "@HORIZON@/static"
SECRET_KEY = "@ADMIN_PASSWORD@"
# Made once by "compress", as compiling the stylesheets at each first look takes seconds.
COMPRESS_OFFLINE = True
COMPRESS_ENABLED = True
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
OPENSTACK_HOST = "127.0.0.1"
OPENSTACK_KEYSTONE_URL = "@KEYSTONE_URL@"
OPENSTACK_API_VERSIONS = {"identity": 3, "image": 2, "volume": 3}
CONSOLE_TYPE = "VNC"
TIME_ZONE = "UTC"
