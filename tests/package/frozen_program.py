"""What test_frozen.py packs into a program: something of each part of the package that is imported when it is needed."""

import contextlib
import datetime
import io
import os
import sys
import uuid
from decimal import Decimal
from multiprocessing import freeze_support, get_context

import shmstore
from shmstore.cli import main


def read_in_child(store, pipe):
    pipe.send(store["plain"])


def values(store):
    plain = ("tuple", 1, {2}, 2**70, uuid.UUID(int=1), Decimal("1.5"), datetime.timedelta(1), datetime.date(2026, 1, 2))
    store["plain"] = plain
    print(store["plain"] == plain, store.get_versioned("plain")[0] == plain)
    try:
        import numpy
    except ImportError:
        print("no numpy")
    else:
        store["array"] = numpy.arange(10.0)
        print(store["array"].sum())
    print(store.info().mode, store.stats().entries, [client.is_me for client in store.clients()], store.check())
    for wrong in (lambda: store.put("object", object()), lambda: shmstore.Store("absent", create=False)):
        try:
            wrong()
        except shmstore.ShmStoreError as error:
            print(type(error).__name__)


def other_codecs(name):
    for codec in ("msgspec", "pickle", "raw"):
        try:
            with shmstore.Store(name, codec=codec, decoders=("pickle",)) as store:
                store[codec] = b"bytes"
                print(codec, store[codec])
        except (ImportError, shmstore.ShmStoreError) as error:
            print(codec, error)


def blocks():
    block = shmstore.SharedMemory(create=True, size=100)
    block.buf[0] = 7
    again = shmstore.SharedMemory(block.name)
    several = shmstore.ShareableList([1, "two"])
    print(again.buf[0], list(several))
    several.shm.unlink()
    again.close()
    block.unlink()
    block.close()


def command_line(name):
    for words in (["get", name, "plain"], ["keys", name], ["ls", "--json"], ["doctor", "--json"], ["check", name]):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = main(words)
        print(words[0], code if words[0] != "doctor" else code in (0, 1), len(out.getvalue()) > 0)


def run(name):
    with shmstore.open(name, size="1M") as store:
        values(store)
        other_codecs(name)
        ours, theirs = get_context("spawn").Pipe()
        child = get_context("spawn").Process(target=read_in_child, args=(store, theirs))
        child.start()
        print("child", ours.recv() == store["plain"])
        child.join()
        blocks()
        command_line(name)
        store.destroy()
    with shmstore.open(shmstore.PRIVATE, backend="posix", size="1M") as private:
        private["k"] = 1
        if os.fork() == 0:
            os._exit(0 if private["k"] == 1 else 1)
        print("fork", os.wait()[1])


if __name__ == "__main__":
    freeze_support()
    run(sys.argv[1])
