"""Becomes another program that dies with its parent: `python -I -S launcher.py OPTIONS… -- PROGRAM ARGUMENT…`.

Run as a script of its own between fork and exec, because neither step is safe inside a process that has threads
(`subprocess`'s `preexec_fn`). Imports the standard library only, and little of it.

Options, all required: `--parent PID` exit unless this is still our parent; `--signal N` sent to us when the parent
dies; `--user NAME` become this user, `-` stays; `--readable yes|no` whether that user can read the program's files.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_READ_SEARCH = 2
_CAP_DAC_OVERRIDE = 1


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def main(arguments: list[str]) -> None:
    """Drop privileges, tie our life to the parent's, and exec. Does not return."""
    split = arguments.index("--")
    options = dict(zip(arguments[0:split:2], arguments[1:split:2], strict=True))
    program = arguments[split + 1 :]
    if options["--user"] != "-":
        _become(options["--user"], _libc(), readable=options["--readable"] == "yes")
    die_with(int(options["--parent"]), int(options["--signal"]))  # after the change of user, which would clear it
    os.execv(program[0], program)  # noqa: S606 - a list of arguments, no shell


def die_with(parent: int, sign: int = signal.SIGKILL) -> None:
    """Let the kernel send us `sign` when our parent process ends, and exit if it already has.

    Linux only; elsewhere a killed parent leaves its children behind.
    """
    libc = _libc()
    if libc is not None:
        libc.prctl(_PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent died before its child began")


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _become(name: str, libc: ctypes.CDLL | None, *, readable: bool) -> None:
    user = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(user.pw_gid)
    if readable or libc is None:
        os.setuid(user.pw_uid)
        return
    # The files lie under a directory that is closed to other users, such as /root. Opening that directory would be
    # for its owner to decide, so the server keeps the one capability that lets it pass, and nothing else of root.
    libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    # Without this, `access` answers as if the capability were not there, and initdb asks it about its own programs.
    libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setuid(user.pw_uid)
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):  # containers commonly have the second one only
        if _keep(libc, capability):
            return


def _keep(libc: ctypes.CDLL, capability: int) -> bool:
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    data = (_CapabilityData * 2)(_CapabilityData(bit, bit, bit), _CapabilityData(0, 0, 0))
    if libc.capset(ctypes.byref(header), ctypes.byref(data)) != 0:
        return False
    return bool(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0)


if __name__ == "__main__":
    main(sys.argv[1:])
