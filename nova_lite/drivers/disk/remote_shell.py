"""Files of another host by shell commands over ssh ([libvirt]remote_filesystem_transport=ssh).

nova-compute runs mkdir, touch, rm and scp there. scp fills the holes of a file and begins anew when
it was cut off, so a shell script is run instead, which needs coreutils and findutils.

What is sent is written to ``<path>.<size>-<time of change>.<random>.part``. A file beside it with
``.at`` behind its name says up to where it is on persistent storage. The next attempt gives what it
finds of the same file a name of its own, so that a receiver whose connection has died, and does not
know it yet, cannot write to a disk that is complete.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from nova_lite.drivers.disk import durable
from nova_lite.drivers.disk.base import RemoteFiles
from nova_lite.drivers.disk.remote_link import Link
from nova_lite.drivers.disk.remote_program import SILENT_S, Program, StoodStill, opened
from nova_lite.errors import DiskError

_NEVER = threading.Event()
_QUICK_S = 120.0
_SILENT_S = SILENT_S
_FLUSH_S = 3600.0  # the last of a disk may be in the other host's memory for long
MIB = 1024**2
# After so many bytes the other host notes how far it is; so long holes do not travel.
_MARK, _GAP = 256 * MIB, 1 * MIB

_MAKE_DIRECTORY = 'mkdir -p -- "$1" && sync -- "$1" "$(dirname -- "$1")"'
_REMOVE = 'rm -rf -- "$1" && { [ ! -d "$(dirname -- "$1")" ] || sync -- "$(dirname -- "$1")"; }'
_EXISTS = '[ -e "$1" ] || [ -L "$1" ] && echo yes || echo no'
_TOUCH = 'touch -- "$1"'
_SEND = 'exec cat -- "$1"'
# $1 path, $2 which file it is, $3 random, $4 bytes, $5 seconds of its change, $6 mode.
_RECEIVE = r"""
set -e
umask 022
part="$1.$2.$3.part" at=0 home=$(dirname -- "$1")
if [ "$(stat -c '%s %.9Y' -- "$1" 2>/dev/null)" = "$4 $5" ]; then
    sync -- "$1" "$home"
    echo there
    exit 0
fi
for old in "$1".*.part; do
    [ -f "$old" ] || continue
    for fd in $(find -L /proc/[0-9]*/fd -maxdepth 1 -samefile "$old" 2>/dev/null); do
        pid=${fd#/proc/}
        kill -9 "${pid%%/*}" 2>/dev/null || :
    done
    case $old in
        "$1.$2".*) [ -e "$part" ] || {
            read -r at <"$old.at" 2>/dev/null || at=0
            mv -f -- "$old" "$part"
            echo "$at" >"$part.at"
        } ;;
    esac
    rm -f -- "$old" "$old.at" "$old.at.new"
done
[ -e "$part" ] || : >"$part"
echo "at ${at:-0}"
while read -r verb from count; do
    case $verb in
        data)
            dd of="$part" ibs=1048576 obs=65536 seek="$from" count="$count" status=none \
                iflag=fullblock,count_bytes oflag=seek_bytes conv=notrunc,nocreat,sparse
            ;;
        mark)
            wait
            { sync -d -- "$part" && echo "$from" >"$part.at.new" &&
                mv -f -- "$part.at.new" "$part.at"; } &
            ;;
        end)
            wait
            truncate -s "$4" -- "$part"
            chmod "$6" -- "$part"
            touch -d "@$5" -- "$part"
            sync -- "$part"
            mv -fT -- "$part" "$1"
            rm -f -- "$part.at" "$part.at.new"
            sync -- "$home"
            echo there
            exit 0
            ;;
    esac
done
echo 'the connection was closed: Connection reset' >&2
exit 1
"""


class ShellFiles(RemoteFiles):
    """See ``base.RemoteFiles``."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def make_directory(self, path: str) -> None:
        self._run(f"make directory {path}", _MAKE_DIRECTORY, path)

    def remove(self, path: str) -> None:
        self._run(f"remove {path}", _REMOVE, path)

    def exists(self, path: str) -> bool:
        return self._run(f"look for {path}", _EXISTS, path) == "yes"

    def touch(self, path: str) -> None:
        self._run(f"make {path}", _TOUCH, path)

    def _run(self, what: str, script: str, *arguments: str) -> str:
        with self._program(script, *arguments) as program:
            try:
                said = program.line()
            except StoodStill as error:
                raise self._link.stood_still(what, error.seconds) from None
            status, complaint = program.end(_QUICK_S)
        if status != 0:
            raise self._link.failed(what, status, complaint)
        return said

    def _program(
        self, script: str, *arguments: str, cancelled: threading.Event = _NEVER
    ) -> Program:
        try:
            return Program(self._link.command(script, *arguments), cancelled, _SILENT_S)
        except FileNotFoundError as error:
            raise self._link.missing(os.path.basename(str(error.filename))) from None

    def send(
        self,
        local: Path,
        remote_path: str,
        *,
        cancelled: threading.Event,
        progress: Callable[[int, int], None],
    ) -> None:
        with opened(local) as fd:
            found = os.fstat(fd)
            seconds, nanoseconds = divmod(found.st_mtime_ns, 10**9)
            arguments = (
                remote_path, f"{found.st_size}-{found.st_mtime_ns}", secrets.token_hex(4),
                str(found.st_size), f"{seconds}.{nanoseconds:09}", f"{found.st_mode & 0o755:o}",
            )  # fmt: skip
            with self._program(_RECEIVE, *arguments, cancelled=cancelled) as program:
                try:
                    there = _feed(program, fd, found.st_size, progress)
                except BrokenPipeError:
                    there = False
                except EOFError:
                    raise DiskError(f"{local} became shorter while it was sent") from None
                except StoodStill as error:
                    what = f"write {remote_path}"
                    raise self._link.stood_still(what, error.seconds) from None
                status, complaint = program.end(_QUICK_S)
        if there and status == 0:
            return
        raise self._link.failed(f"write {remote_path}", status, complaint)

    def fetch(self, remote_path: str, local: Path) -> None:
        what = f"read {remote_path}"
        with durable.made_whole(local) as part:
            with open(part, "wb") as file, self._program(_SEND, remote_path) as program:
                try:
                    for data in program.read():
                        if data.strip(b"\0"):
                            file.write(data)
                        else:
                            file.seek(len(data), os.SEEK_CUR)
                except StoodStill as error:
                    raise self._link.stood_still(what, error.seconds) from None
                file.truncate()
                status, complaint = program.end(_QUICK_S)
            if status != 0:
                raise self._link.failed(what, status, complaint)


def _feed(program: Program, fd: int, size: int, progress: Callable[[int, int], None]) -> bool:
    """Send what the other host does not have yet; returns whether it has all of it then."""
    answer = program.line()
    if answer == "there":
        progress(0, 0)
        return True
    if not answer.startswith("at "):
        return False
    begin = int(answer.removeprefix("at "))
    parts = list(extents(fd, size))
    total = sum(end - start for start, end in parts)
    sent = sum(max(0, min(end, begin) - start) for start, end in parts)
    unmarked = 0
    progress(sent, total)
    for start, end in parts:
        for at in range(max(start, begin), end, _MARK):
            until = min(at + _MARK, end)
            program.write(f"data {at} {until - at}\n".encode())
            for count in program.send(fd, at, until - at):
                sent += count
                progress(sent, total)
            unmarked += until - at
            if unmarked >= _MARK:
                program.write(f"mark {until}\n".encode())
                unmarked = 0
    program.write(b"end\n")
    program.patience_s = _FLUSH_S
    return program.line() == "there"


def extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the parts of a file that are not holes; short holes count as data."""
    start, end = -1, 0
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # a hole up to the end
        until = min(os.lseek(fd, at, os.SEEK_HOLE), size)
        if start >= 0 and at - end >= _GAP:
            yield start, end
            start = at
        elif start < 0:
            start = at
        end = at = until
    if start >= 0:
        yield start, end
