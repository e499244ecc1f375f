"""Processes in namespaces of their own that do what a test tells them: forked, so that any user can be one.

What a process may do to its own life is in Actor.do_...: run in that process, asked for by the test.
"""

from __future__ import annotations

import ctypes
import errno
import multiprocessing.connection
import os
import signal
import struct
import sys
import threading
import time
import traceback

import shmstore
from shmstore._core import ffi, lib

LIBC = ctypes.CDLL(None, use_errno=True)
NAMESPACES = {
    "time": 0x80,
    "mount": 0x20000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
MS_PRIVATE_REC = 1 << 18 | 1 << 14
MNT_DETACH = 2
SYS_EXIT = 60 if os.uname().machine == "x86_64" else 93
# docs/format.md has these offsets: header fields, then of a client's entry.
HASH_KEY, CLIENTS, CLIENT_SIZE, SLOTS, BUCKETS, RECORDS = 72, 184, 196, 216, 224, 192


class NotAllowed(Exception):
    """This machine or this user does not let us, and why."""


def system(call, *arguments):
    if LIBC[call](*arguments) != 0:
        code = ctypes.get_errno()
        if code in (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.ENOSPC):
            raise NotAllowed(f"{call} is not allowed here: {os.strerror(code)}")
        raise OSError(code, f"{call}: {os.strerror(code)}")


def unshare(*names):
    system("unshare", sum(NAMESPACES[name] for name in names))


def mount_proc(options=b""):
    """In a mount namespace of one's own: a /proc for the pid namespace one is in."""
    system("mount", b"none", b"/", None, ctypes.c_ulong(MS_PRIVATE_REC), None)
    system("mount", b"proc", b"/proc", b"proc", ctypes.c_ulong(0), options)


def hide_proc():
    system("mount", b"none", b"/", None, ctypes.c_ulong(MS_PRIVATE_REC), None)
    system("mount", b"none", b"/proc", b"tmpfs", ctypes.c_ulong(0), None)


def memory_of(store):
    size = ffi.new("uint64_t *")
    start = lib.shms_memory(store._handle, size)
    return ffi.buffer(start, size[0])


def hold(store, name):
    """Lock the name's home bucket, record first, as a put does that never goes on."""
    memory, raw = memory_of(store), name.encode()
    number = next(client.number for client in store.clients() if client.is_me)
    hash = lib.shms_hash(raw, len(raw), *struct.unpack_from("<QQ", memory, HASH_KEY))
    home = (hash >> 32) * struct.unpack_from("<Q", memory, BUCKETS)[0] >> 32
    entry = (
        struct.unpack_from("<Q", memory, CLIENTS)[0] + (number - 1) * struct.unpack_from("<I", memory, CLIENT_SIZE)[0]
    )
    lock = struct.unpack_from("<Q", memory, SLOTS)[0] + home * 64
    struct.pack_into("<Q", memory, entry + RECORDS, home + 1)
    assert struct.unpack_from("<H", memory, lock)[0] == 0
    struct.pack_into("<H", memory, lock, number)


def set_start_time(store, pid, ticks):
    """Of the first client with this process id."""
    memory = memory_of(store)
    entry = struct.unpack_from("<Q", memory, CLIENTS)[0]
    while struct.unpack_from("<I", memory, entry)[0] & 0x3FFFFF != pid:
        entry += struct.unpack_from("<I", memory, CLIENT_SIZE)[0]
    struct.pack_into("<Q", memory, entry + 8, ticks)


class Actor:
    """A process with a handle on the store. *namespaces* are its own; *before* runs in it first."""

    def __init__(self, key, *namespaces, before=None, offset=0.0, uid=None, attach=True, **options):
        self.key, self.options, self.store = key, options, None
        self.mine, theirs = multiprocessing.connection.Pipe()
        pid = self.child = os.fork()
        if pid:
            theirs.close()
            self.pid = self.hear()  # as this process sees it
            self.answer()
            return
        try:
            self.mine.close()
            self.mine = theirs
            os.setpgid(0, 0)
            self.enter(namespaces, offset)
            if before:
                before()
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                LIBC.prctl(4, 1)  # PR_SET_DUMPABLE: its /proc belongs to it
            if attach:
                self.store = shmstore.Store(key, **options)
            self.mine.send((True, None))
            while True:
                name, arguments = self.mine.recv()
                try:
                    answer = (True, getattr(self, f"do_{name}")(*arguments))
                except Exception as error:
                    answer = (False, error)
                self.mine.send(answer)
        except EOFError:
            pass
        except NotAllowed as error:
            self.mine.send((False, error))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(0)

    def enter(self, namespaces, offset):
        """In the child. Process ids and time are new only for children: then the child is the grandchild."""
        if "mount" not in namespaces and "pid" in namespaces:
            namespaces = (*namespaces, "mount")
        try:
            if namespaces:
                unshare(*namespaces)
            if "time" in namespaces:
                whole = int(offset // 1)
                with open("/proc/self/timens_offsets", "w") as file:
                    file.write(f"boottime {whole} {int((offset - whole) * 1e9)}\n")
            if not {"pid", "time"} & set(namespaces):
                self.mine.send((True, os.getpid()))
                return
            told, tell = os.pipe()
            pid = os.fork()
        except NotAllowed as error:
            self.mine.send((False, error))
            os._exit(0)
        except OSError as error:
            self.mine.send((False, NotAllowed(f"these namespaces are not allowed here: {error}")))
            os._exit(0)
        if pid:
            self.mine.send((True, pid))
            self.mine.close()
            os.close(tell)
            os.waitpid(pid, 0)
            os._exit(0)
        os.close(tell)
        os.read(told, 1)  # what the middle one says comes first
        if "pid" in namespaces:
            mount_proc()

    # ---- the test's side

    def hear(self):
        good, answer = self.mine.recv()
        if not good:
            self.end()
            raise answer
        return answer

    answer = hear

    def tell(self, name, *arguments):
        self.mine.send((name, arguments))

    def ask(self, name, *arguments, seconds=300):
        self.tell(name, *arguments)
        return self.get(seconds)

    def get(self, seconds=300):
        assert self.mine.poll(seconds), "no answer"
        good, answer = self.mine.recv()
        if not good:
            raise answer
        return answer

    def kill(self, reap=True):
        os.kill(self.pid, signal.SIGKILL)
        if self.child != self.pid or reap:
            os.waitpid(self.child, 0)  # the middle one ends with it
            self.child = 0
        else:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def end(self):
        if self.child:
            for pid in (getattr(self, "pid", self.child), self.child):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            os.waitpid(self.child, 0)
            self.child = 0
        self.mine.close()

    # ---- what it does

    def do_call(self, method, *arguments):
        return getattr(self.store, method)(*arguments)

    def do_timed(self, method, *arguments):
        """Seconds that the call took, and what came of it."""
        began = time.monotonic()
        answer = getattr(self.store, method)(*arguments)
        return time.monotonic() - began, answer

    def do_hold(self, name):
        hold(self.store, name)

    def do_others(self):
        """Of the other clients: is it alive?"""
        return [client.alive for client in self.store.clients() if not client.is_me]

    def do_recover_within(self, seconds):
        """How long it took until recover() found somebody."""
        began = time.monotonic()
        while not self.store.recover():
            if time.monotonic() - began > seconds:
                return None
            time.sleep(0.05)
        return time.monotonic() - began

    def do_pid(self):
        return os.getpid()

    def do_exec(self):
        self.mine.send((True, None))
        os.execv("/bin/sleep", ["sleep", "60"])

    def do_fork(self):
        """A child that inherits everything and never calls the store; it ends with its process group."""
        pid = os.fork()
        if pid == 0:
            LIBC.prctl(1, 0)  # nobody kills it when its parent dies
            signal.pause()
        return pid

    def do_clone(self):
        """The same past the C library, whose handlers do not run then."""
        pid = LIBC.syscall(56, int(signal.SIGCHLD), 0, 0, 0, 0)
        if pid == 0:
            LIBC.pause()
        return pid

    def do_close_descriptors(self):
        """As daemons do, to all that they did not open."""
        os.closerange(max(3, self.mine.fileno() + 1), 256)
        if self.mine.fileno() > 3:
            os.closerange(3, self.mine.fileno())

    def do_use(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.store.incr("used")
            time.sleep(0.1)

    def do_leader_exits(self):
        """The main thread goes; another one goes on answering."""

        def answer():
            while True:
                name, arguments = self.mine.recv()
                self.mine.send((True, getattr(self, f"do_{name}")(*arguments)))

        self.mine.send((True, None))
        threading.Thread(target=answer, daemon=True).start()
        LIBC.syscall(SYS_EXIT, 0)
