"""Shut a freshly forked process in: own namespaces, everything read-only but a small scratch, no capability, limits, filter.

It runs inside the root that bubblewrap made (``bubble``), as an unprivileged user, and needs no exec, so that what the parent
has imported stays imported. Linux only; the calls are those of unshare(2), mount(2), mount_setattr(2), capset(2), prctl(2).
"""

import contextlib
import ctypes
import errno
import os
import resource
import socket
import struct
from dataclasses import dataclass

import pyseccomp

_libc = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000
_NEWPID, _NEWNET, _NEWTIME = 0x20000000, 0x40000000, 0x80
_NOSUID, _NODEV, _NOEXEC, _REC, _PRIVATE = 2, 4, 8, 16384, 1 << 18
_PDEATHSIG, _CAPBSET_DROP, _NO_NEW_PRIVS = 1, 24, 38
SCRATCH = ("/job", "/tmp", "/dev/shm")

# What no notebook needs, by the names that libseccomp knows on every architecture.
DENIED = [
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "unshare",
    "setns",
    "keyctl",
    "add_key",
    "request_key",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "memfd_create",
    "memfd_secret",
    "shmget",
    "shmat",
    "shmctl",
    "semget",
    "msgget",
    "mq_open",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "settimeofday",
    "clock_settime",
    "clock_settime64",
    "adjtimex",
    "clock_adjtime",
    "clock_adjtime64",
    "acct",
    "quotactl",
    "quotactl_fd",
    "open_by_handle_at",
    "name_to_handle_at",
    "personality",
    "fanotify_init",
    "iopl",
    "ioperm",
    "modify_ldt",
    "vhangup",
    "sethostname",
    "setdomainname",
    "syslog",
    "setsid",
    "landlock_create_ruleset",
]  # setsid: every session is a scheduling group of its own; sixty of them would starve the neighbour


@dataclass(frozen=True)
class Limits:
    """What one submission may take."""

    memory_mb: int = 2500  # address space that a process may add to what it begins with
    tree_mb: int = 2500  # memory of all its processes
    processes: int = 64
    file_mb: int = 32
    scratch_mb: int = 64
    cpu_seconds: int = 600
    files: int = 256


def confine(line: socket.socket, visible: list[str], limits: Limits, inside: bool = True) -> None:
    """Enter isolation; returns in the confined process, which is number 2 of its own process tree.

    Args:
        line: the one descriptor that stays open.
        visible: what must stay in sight, so that no scratch covers it.
        limits: what it may take.
        inside: False: limits and the filter alone, where bubblewrap has made a root for this one process.
    """
    _die_with_parent()
    close_but(line.fileno())
    begins_with = _address_space()
    if inside:
        _own_user()
        _check(_libc.unshare(_NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS | _NEWCGROUP), "unshare")
        _leave_to_child()
        _cover(visible, limits.scratch_mb)
        os.chdir("/job")
        _drop_capabilities()
        _leave_to_child()  # number 1 only reaps: signals then work for number 2 as everywhere
        os.setsid()
    _limit(limits, begins_with)
    _check(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _filter()


def close_but(kept: int) -> None:
    """Close every descriptor but one; 0, 1 and 2 lead nowhere."""
    null = os.open("/dev/null", os.O_RDWR)
    for each in (0, 1, 2):
        os.dup2(null, each)
    os.closerange(3, kept)
    os.closerange(kept + 1, 1 << 16)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _die_with_parent() -> None:
    _libc.prctl(_PDEATHSIG, 9, 0, 0, 0)


def _own_user() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _check(_libc.unshare(_NEWUSER), "a user namespace")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _leave_to_child() -> None:
    """Fork; the parent waits, reaps what is left to it, and ends with the child."""
    child = os.fork()
    if child == 0:
        _die_with_parent()
        return
    os.closerange(3, 1 << 16)
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _mount(kind: str | None, target: str, flags: int, data: str | None = None) -> None:
    source, named = (kind.encode(),) * 2 if kind else (None, None)
    _check(
        _libc.mount(source, target.encode(), named, flags, data.encode() if data else None), f"mount {target}"
    )


def _cover(visible: list[str], megabytes: int) -> None:
    _mount(None, "/", _REC | _PRIVATE)
    try:
        _mount("proc", "/proc", _NOSUID | _NODEV | _NOEXEC, "subset=pid")
    except OSError:
        _mount("tmpfs", "/proc", _NOSUID | _NODEV, "size=4k")
    read_only = struct.pack("QQQQ", 1 | _NOSUID, 0, 0, 0)  # of everything below; devices stay devices
    _check(_libc.syscall(442, -100, b"/", 0x8000, read_only, 32), "mount_setattr")
    for place in SCRATCH:
        if os.path.isdir(place) and not any(path.startswith(f"{place}/") for path in visible):
            _mount("tmpfs", place, _NOSUID | _NODEV, f"size={megabytes}m,nr_inodes=4k,mode=1777")


def _drop_capabilities() -> None:
    for capability in range(64):
        _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    libcap = struct.pack("Ii", 0x20080522, 0)
    _check(_libc.capset(libcap, bytes(24)), "capset")


def _address_space() -> int:
    """Bytes; torch with CUDA reserves gigabytes of it when it is imported, and uses few."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _limit(limits: Limits, begins_with: int) -> None:
    most = {
        resource.RLIMIT_AS: begins_with + (limits.memory_mb << 20),
        resource.RLIMIT_NPROC: limits.processes,
        resource.RLIMIT_FSIZE: limits.file_mb << 20,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_NOFILE: limits.files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for what, value in most.items():
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))


def _filter() -> None:
    """Denied calls and sockets other than unix ones fail with EPERM; a clone that wants namespaces too; clone3 is not there."""
    denied = pyseccomp.ERRNO(errno.EPERM)
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in DENIED:
        with contextlib.suppress(OSError):  # a name that this libseccomp does not know yet
            rules.add_rule(denied, name)
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for flag in (_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET, _NEWTIME):
        rules.add_rule(denied, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    for name in ("socket", "socketpair"):
        rules.add_rule(denied, name, pyseccomp.Arg(0, pyseccomp.NE, socket.AF_UNIX))
    rules.load()
