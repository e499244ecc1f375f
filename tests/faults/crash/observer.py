"""A process that attaches after each death. For each pickled (names, writes, timeout, backend) on stdin: opens the store anew, reads
every name, writes what it is told to, reads that back, closes; answers with what it read and what went wrong."""

import ctypes
import gc
import logging
import pickle
import signal
import sys
import time

import store_setup

import shmstore

ctypes.CDLL(None).prctl(1, signal.SIGKILL)
gc.disable()
logging.getLogger("shmstore").setLevel(logging.ERROR)
key = sys.argv[1]
requests, answers = sys.stdin.buffer, sys.stdout.buffer
while True:
    try:
        names, writes, timeout, where = pickle.load(requests)
    except EOFError:
        break
    failed, read, longest = [], {}, 0.0
    try:
        store = shmstore.Store(key, create=False, timeout=timeout, decoders=(store_setup.Own(),), **where)
        for name in names:
            began = time.monotonic()
            read[name] = store.get(name)
            longest = max(longest, time.monotonic() - began)
        refused = {}
        for name, value in writes.items():
            try:
                store.put(name, value)
            except shmstore.LockTimeout as error:
                refused[name] = str(error)
                continue
            if store.get(name) != value:
                failed.append(f"{name}: another value than was just put")
        store.close()
    except Exception as error:
        failed.append(f"the process that attached later: {type(error).__name__}: {error}")
    pickle.dump((read, refused if not failed else {}, failed, longest), answers)
    answers.flush()
