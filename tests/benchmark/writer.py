"""A program for guests that writes to so many MiB of its memory each second, and does nothing else.

What a page holds is another thing each time, so that no hypervisor can leave it out. It is an ELF
for x86-64 Linux of 268 bytes, and needs no library: small images have no compiler and no Python.
"""

from __future__ import annotations

import struct

MIB, PAGE = 1 << 20, 4096
TICKS = 50  # a second; it sleeps until the next one
NANOSECONDS = 10**9
LOAD = 0x400000
HEADERS = 64 + 56  # of the file, and of its one segment


def program(mib_s: int, mib: int) -> bytes:
    """The file.

    :param mib_s: MiB per second, as counted in pages of which 8 bytes are written
    :param mib: size of the memory that is written to, over and over
    """
    code = _code(max(1, mib_s * MIB // PAGE // TICKS), mib * MIB)
    entry, size = LOAD + HEADERS, HEADERS + len(code)
    file = struct.pack(
        "<4s5B7x2HI3QI6H", b"\x7fELF", 2, 1, 1, 0, 0, 2, 62, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<2I6Q", 1, 5, 0, LOAD, LOAD, size, size, PAGE)
    return file + segment + code


def _code(pages: int, size: int) -> bytes:
    """
    :param pages: to be written in each tick
    :param size: bytes
    """
    return b"".join((
        b"\xb8\x09\0\0\0",  # mov eax, 9 (mmap)
        b"\x31\xff",  # xor edi, edi
        b"\xbe", struct.pack("<I", size),  # mov esi, size
        b"\xba\x03\0\0\0",  # mov edx, 3 (read, write)
        b"\x41\xba\x22\0\0\0",  # mov r10d, 0x22 (private, anonymous)
        b"\x49\x83\xc8\xff",  # or r8, -1
        b"\x45\x31\xc9",  # xor r9d, r9d
        b"\x0f\x05",  # syscall
        b"\x49\x89\xc4",  # mov r12, rax: the first page
        b"\x49\x89\xc5",  # mov r13, rax: the next one
        b"\x4c\x8d\xb0", struct.pack("<I", size),  # lea r14, [rax + size]: the end
        b"\x48\x83\xec\x20",  # sub rsp, 32: a timespec
        b"\xb8\xe4\0\0\0",  # mov eax, 228 (clock_gettime)
        b"\xbf\x01\0\0\0",  # mov edi, 1 (monotonic)
        b"\x48\x89\xe6",  # mov rsi, rsp
        b"\x0f\x05",  # syscall
        b"\x31\xdb",  # xor ebx, ebx: pages written
        b"\xb9", struct.pack("<I", pages),  # tick: mov ecx, pages
        b"\x48\xff\xc3",  # page: inc rbx
        b"\x49\x89\x5d\x00",  # mov [r13], rbx
        b"\x49\x81\xc5", struct.pack("<I", PAGE),  # add r13, 4096
        b"\x4d\x39\xf5",  # cmp r13, r14
        b"\x72\x03",  # jb +3
        b"\x4d\x89\xe5",  # mov r13, r12
        b"\xff\xc9",  # dec ecx
        b"\x75\xe6",  # jnz page
        b"\x48\x8b\x44\x24\x08",  # mov rax, [rsp + 8]
        b"\x48\x05", struct.pack("<I", NANOSECONDS // TICKS),  # add rax, a tick
        b"\x48\x3d", struct.pack("<I", NANOSECONDS),  # cmp rax, a second
        b"\x7c\x0a",  # jl +10
        b"\x48\x2d", struct.pack("<I", NANOSECONDS),  # sub rax, a second
        b"\x48\xff\x04\x24",  # inc qword [rsp]
        b"\x48\x89\x44\x24\x08",  # mov [rsp + 8], rax
        b"\xb8\xe6\0\0\0",  # mov eax, 230 (clock_nanosleep)
        b"\x89\xfe",  # mov esi, edi (1: until)
        b"\x48\x89\xe2",  # mov rdx, rsp
        b"\x45\x31\xd2",  # xor r10d, r10d
        b"\x0f\x05",  # syscall
        b"\xeb\xae",  # jmp tick
    ))  # fmt: skip


def shell(mib_s: int, mib: int, path: str = "/writer") -> str:
    """A script that makes the program and leaves it running, for a shell with printf alone."""
    octal = "".join(f"\\{byte:03o}" for byte in program(mib_s, mib))
    # A line may not be too long for a guest agent's request.
    chunks = [octal[at : at + 400] for at in range(0, len(octal), 400)]
    writes = "; ".join(
        f"printf '{chunk}' {'>' if not number else '>>'}{path}"
        for number, chunk in enumerate(chunks)
    )
    return f"{writes}; chmod 755 {path}; {path} </dev/null >/dev/null 2>&1 &"
