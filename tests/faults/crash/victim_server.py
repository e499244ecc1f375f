"""Forks a victim for each line on stdin, and prints its process id. A victim waits at the gate (a descriptor) until
it is traced, tells by SIGUSR1 and SIGUSR2 where its operation begins and ends, and leaves what it returned, or raised,
in a file that is named in the line. Nobody waits for victims, so they leave no zombies.

This process has the module loaded and no store open, but between the lines "hold" and "let go": victims that are to meet
a dead process inherit that handle, because opening the store would put things in order before."""

import ctypes
import gc
import logging
import os
import signal
import sys

import cases
import seccomp_faults

import shmstore
from shmstore._core import lib


def live(case, key, gate, answer, inherited):
    signal.alarm(120)  # should it hang when nobody looks
    if case.opens:
        store = None
    elif inherited is not None:
        store = inherited
        lib.shms_configure(store._handle, int(case.timeout * 1e9), 0, lib.SHMS_CODEC_MSGPACK)
        store._revalidate()  # takes a place of its own
    else:
        store = shmstore.Store(key, create=False, timeout=case.timeout, **case.where())
    context = case.prepare(store)
    seccomp_faults.install(case.refused)
    os.read(gate, 1)
    me = os.getpid()
    os.kill(me, signal.SIGUSR1)
    try:
        result = case.act(key if store is None else store, context)
    except (shmstore.ShmStoreError, AssertionError, KeyError) as error:
        result = error
    os.kill(os.getpid(), signal.SIGUSR2)
    with open(f"{answer}.tmp", "w") as file:
        file.write(f"{type(result).__name__} {result}")
    os.rename(f"{answer}.tmp", answer)
    os._exit(0)


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # who traces sees it all the same
    logging.getLogger("shmstore").setLevel(logging.ERROR)
    libc = ctypes.CDLL(None)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no victim_server without its test
    libc.prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what victims fork becomes our child in the end
    gate = int(sys.argv[1])
    key = sys.argv[2]
    gc.freeze()
    gc.disable()
    print(os.getpid(), flush=True)
    store = None
    for line in sys.stdin:
        name, answer, backend = line.rstrip("\n").split("\t")
        if name == "hold":
            store = shmstore.Store(key, create=False, **({"backend": backend} if backend else {}))
        elif name == "let go":
            store.close()
            store = None
        if name in ("hold", "let go"):
            print(0, flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            try:
                live(cases.CASES[name], key, gate, answer, store)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(3)
        print(pid, flush=True)


main()
