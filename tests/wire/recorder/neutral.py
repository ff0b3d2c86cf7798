"""A recorded exchange without secrets, and without what belongs to the machine it is from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from nova_lite.wire import confidential

SECRET, TOKEN, TRACEBACK = "SECRET", "TOKEN", "TRACEBACK"

# Keys whose value is a secret wherever they are, in text as well; user data and files are what
# tests have made up.
SECRET_KEYS = re.compile(
    r"^(_context_auth_token|auth_token|admin_?pass(word)?|new_pass|rescue_password|access_key|"
    r"auth_password|discovery_auth_password|keyring|password(_\d+)?|secret|vtpm_secret_value|"
    r"passphrase)$"
)
TOKEN_KEYS = re.compile(r"^(token|console_token)$")
TRACEBACK_KEYS = re.compile(r"^(tb|exc_tb|traceback)$")
FERNET = re.compile(r"gAAAA[\w-]{20,}=*")
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*KEY-----", re.S)
# Of a database or a broker: a CellMapping, within a RequestSpec, has both.
URL_PASSWORD = re.compile(r"(://[^:/@\s\"]*:)[^@/\s\"]+@")
TRACEBACK_TEXT = re.compile(r"Traceback \(most recent call last\):.*", re.S)
SHORTEST = 8  # characters of a secret that is looked for in other places, too


# Of these a part is secret at most, and the rest is worth recording.
PARTLY = {
    "user_data", "injected_files", "connection_info", "connection_info_json", "transport_url",
    "database_connection",
}  # fmt: skip


def neutral(record: dict[str, Any], machine: Machine) -> dict[str, Any]:
    """A copy in which nothing is secret.

    :param record: of a file, with ``request`` and ``replies``
    """
    found: dict[str, str] = {}
    made = _cleaned(record, None, found)
    # A console's token is also the result of a call, and part of a URL.
    for value, word in sorted(found.items(), key=lambda pair: -len(pair[0])):
        made = _in_texts(made, lambda text, value=value, word=word: text.replace(value, word))
    return _in_texts(made, machine.neutral)


class Machine:
    """What shows which machine a message was recorded on.

    :param state: directory of the cloud
    :param secrets: its passwords, which no message should have
    :param hosts: names of compute services; those other than ``node1`` ... get such names
    """

    def __init__(
        self, state: str = "", secrets: Iterable[str] = (), hosts: Iterable[str] = ()
    ) -> None:
        self._words = dict.fromkeys(secrets, SECRET)
        if state:
            self._words[state] = "/var/lib/cloud"
        others = sorted(host for host in set(hosts) if not re.fullmatch(r"node\d+", host))
        self._hosts = {host: f"node{number}" for number, host in enumerate(others, 11)}

    def neutral(self, text: str) -> str:
        for word, other in self._words.items():
            text = text.replace(word, other)
        for host, other in self._hosts.items():
            text = re.sub(rf"(?<![\w-]){re.escape(host)}(?![\w-])", other, text)
        return text


def _cleaned(value: Any, key: str | None, found: dict[str, str]) -> Any:
    word = _word(key) if value else None
    if word is not None and not isinstance(value, dict):
        if word == TRACEBACK:
            return [TRACEBACK] if isinstance(value, list) else TRACEBACK
        if isinstance(value, str) and len(value) >= SHORTEST:
            found[value] = word
        return word
    if isinstance(value, dict):
        return {name: _cleaned(item, name, found) for name, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, None, found) for item in value]
    return _cleaned_text(value, found) if isinstance(value, str) else value


def _cleaned_text(text: str, found: dict[str, str]) -> str:
    """JSON within JSON (connection info, failures) is looked into."""
    if text[:1] in ("{", "["):
        try:
            inner = json.loads(text)
        except ValueError:
            inner = None
        if isinstance(inner, (dict, list)):
            cleaned = _cleaned(inner, None, found)
            # Not encoded anew where nothing was found: spaces would change.
            return text if cleaned == inner else json.dumps(cleaned)
    text = PRIVATE_KEY.sub(SECRET, FERNET.sub(TOKEN, text))
    text = URL_PASSWORD.sub(rf"\1{SECRET}@", text)
    return TRACEBACK_TEXT.sub(TRACEBACK, text)


def _word(key: str | None) -> str | None:
    if key is None:
        return None
    if key in confidential.NAMES - PARTLY or SECRET_KEYS.match(key):
        return SECRET
    if TOKEN_KEYS.match(key):
        return TOKEN
    return TRACEBACK if TRACEBACK_KEYS.match(key) else None


def _in_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {change(name): _in_texts(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_texts(item, change) for item in value]
    return change(value) if isinstance(value, str) else value
