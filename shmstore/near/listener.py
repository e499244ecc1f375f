"""The listener: one process of each host. It removes the copies of keys that were written, and renews the state.

1. It takes the lock. Another listener has it: it ends.
2. It connects and turns tracking on. Then it sends a beat and waits for the answer. Everything that the server has executed
   before the beat was sent is in the stream before the answer, so it is applied by then.
3. It writes the state with a new generation: all copies of former connections are void. Then it sends a beat every H, and for
   each answer it sets valid_until to the time of sending plus the bound. It writes over its own state only.
4. After an error it goes back to 2. A push without keys (FLUSHALL) makes a new generation at once.
5. When no other process has been attached for some seconds, it ends.

DEATH  The state stays until valid_until. Then gets go past the copies, and one of them starts a new listener.
STOP  The same, but the lock stays held. When the listener goes on, it applies what has arrived before it renews the state.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._core import lib
from shmstore._store.keys import KEY_MAX
from shmstore.near import state
from shmstore.near.backing import Address
from shmstore.near.stream import Gap, Stream, is_push
from shmstore.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore._store.leases import Held

__all__ = ["Listener", "main"]

_BEATS = 10  # at least, in the time of the bound
_BEAT = 100_000_000  # ns between two beats at most
_SHORT, _LONG = 0.05, 1.0  # seconds between two attempts to connect
_LOOK = 1.0  # seconds between two looks at who is attached


class Superseded(Exception):
    """Another listener has written the state."""


class Listener:
    def __init__(self, store: Store[Any], held: Held, config: dict[str, Any]) -> None:
        self._store = store
        self._held = held
        self._address = Address(config["kind"], config["options"])
        self._prefixes = [bytes.fromhex(prefix) for prefix in config["prefixes"]]
        self._digest = config["digest"]
        self._bound = config["bound"]  # ns
        self._linger = config["linger"]  # seconds
        self._version = 0  # of the state that this listener has written; 0: none of this connection
        self._generation = 0
        self._valid_until = 0
        self._wanted_at = self._looked_at = time.monotonic()
        self._report: dict[str, Any] = {"pid": os.getpid(), "since": time.time(), "gaps": 0, "invalidations": 0}

    def run(self) -> None:
        delay = _SHORT
        while self._is_wanted():
            self._version = 0
            try:
                stream = Stream(self._address, self._prefixes)
                try:
                    self._report.update(server=stream.server, problem=None)
                    self._follow(stream)
                finally:
                    stream.close()
            except (Superseded, errors.StoreDestroyed, errors.LeaseLost):
                raise
            except Exception as error:  # whatever it is: something may have been missed
                if is_foreign(error):
                    raise
                self._report["gaps"] += 1
                self._report["problem"] = f"{type(error).__name__}: {error}"
                self._tell()
                delay = _SHORT if self._version else min(2 * delay, _LONG)  # longer if it was never followed
                time.sleep(delay * random.uniform(0.5, 1.0))

    def _follow(self, stream: Stream) -> None:
        """Until nobody is attached."""
        beat = min(self._bound // _BEATS, _BEAT)
        sent, answered, due = 0, True, lib.shms_now()
        while self._is_wanted():
            now = lib.shms_now()
            if answered and now >= due:
                sent, answered, due = now, False, now + beat
                stream.send(b"ROLE")
            if not answered and now > sent + 2 * self._bound + _HALF_OPEN:
                raise Gap("the server does not answer")
            item = stream.next(max(due - now, 0) / 1e9 if answered else beat / 1e9)
            if item is None:
                continue
            if is_push(item):
                if item[0] == b"invalidate":
                    self._apply(item[1])
                continue
            if item[0] != b"master":
                raise Gap(f"the server is no master any more: {item[0]!r}")
            answered = True
            self._report["lag"] = (lib.shms_now() - sent) / 1e9
            self._renew(sent + self._bound)

    def _apply(self, keys: Any) -> None:
        if keys is None:
            if self._version:  # otherwise no copy has the generation that is to come
                self._generation = state.new_generation(self._store)
                self._write(self._valid_until)
            self._report["gaps"] += 1
            return
        self._report["invalidations"] += len(keys)
        self._store.delete_many([key for key in keys if len(key) <= KEY_MAX])

    def _renew(self, valid_until: int) -> None:
        if not self._version:
            self._generation = state.new_generation(self._store)
            found = self._store._value_and_version(state.STATE)
            if not self._held.is_held():
                raise Superseded
            self._version = found[1] if found else 0
        self._write(valid_until)
        self._tell()

    def _write(self, valid_until: int) -> None:
        self._version = state.put_state(self._store, [self._digest, self._generation, valid_until], self._version)
        if not self._version:
            raise Superseded
        self._valid_until = valid_until

    def _tell(self) -> None:
        self._store.put(state.REPORT, {**self._report, "beat": time.time()}, ttl=None)

    def _is_wanted(self) -> bool:
        now = time.monotonic()
        if now >= self._looked_at + _LOOK:
            self._looked_at = now
            if any([client.alive is not False and not client.is_me for client in self._store.clients()]):
                self._wanted_at = now
        return bool(self._looked_at <= self._wanted_at + self._linger)


_HALF_OPEN = 1_000_000_000  # ns


def main(config: dict[str, Any]) -> None:
    store: Store[Any] = Store(config["name"], create=False, **config["store"])
    with store:
        try:
            with state.ListenerLock(store, state.LISTENER, timeout=0) as held:
                if held is not None:
                    store.delete(state.STARTING)
                    Listener(store, held, config).run()
        except (
            Superseded,
            errors.StoreDestroyed,
            errors.LeaseLost,
        ) as error:  # another listener is there, or the store is gone
            if is_foreign(error):
                raise


def run() -> None:
    """The program that starting.py starts: its argument is a descriptor to read the configuration from."""
    with open(int(sys.argv[1])) as source:
        config = json.load(source)
    main(config)
