"""Is a history linearizable? One key at a time, since a set of keys is linearizable if each of them is (Herlihy and
Wing's locality; "P-compositionality" in Lowe's words).

The search is Wing and Gong's with Lowe's memoisation, run forwards through the events of a key in the order of time. It
keeps all *configurations* that explain what was seen so far: the state of the key, and which of the calls under way
have taken effect. A call takes effect as late as possible: when its response must be explained, or that of another call
that cannot be without it. So between responses nothing is explored, and at a quiescent moment, where no call is under
way, what is left is a few states, most often one. Time and memory follow the number of calls that overlap, not the
length of the history.

Two things keep the number of configurations small without losing any explanation. A call that changes nothing (a read,
a condition that did not hold) takes effect at the first state that explains it. Configurations that are equal are one.

The call of a process that was killed may have taken effect at any time from its invocation on, or not at all. Where it
is known when the process was dead, it is not later than that: nobody completes a dead process's call.

CLEAR  The keys are in a namespace that is cleared, or all have a tag that is evicted. So a clear is an operation on each key, and
leaves nothing there. What a call stores counts as stored when the call began. So if a clear overlaps the call, the clear
may have ended what it stored.

EXPIRY  Each call reads the clock at some moment between invocation and response, and for the one who set the time to
live this is all that is known of the deadline, too. So a state carries the earliest and the latest deadline, and a
call may find the entry alive if it began before the latest, and gone if it ended after the earliest. Nothing is
concluded from what another call found: touch() may revive an entry that expired between its look at the clock and its
store.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate

import history as h
from history import Operation

SLACK = 50  # ns: a time to live is given as a float, and processors agree on the time but nearly
FOR_EVER = (h.NEVER, h.NEVER)
STORES = (h.PUT, h.ADD, h.REPLACE, h.CAS, h.INCR, h.SETDEFAULT, h.MODIFY)
MOST = 200_000  # configurations looked at for one response

State = tuple[int, int, int] | None  # value, earliest deadline, latest deadline; None: absent


class NotLinearizable(Exception):
    """What cannot be explained, with what was under way."""


class TooHard(Exception):
    """Too many calls overlap: nothing is known of this history."""


def deadline(op: Operation) -> tuple[int, int]:
    return (op.start + op.ttl - SLACK, op.end + op.ttl + SLACK) if op.ttl else FOR_EVER


def effects(state: State, op: Operation, expected: int) -> list[State]:
    """The states that a completed call may leave behind, given what it answered; none: this cannot be its place.

    *expected*: the value that the version a cas() or delete() asked for belongs to; 0: it asked for absence."""
    kind, yes = op.kind, op.outcome == h.YES
    if state is None:
        alive, gone = False, True
    else:
        alive, gone = op.start < state[2], op.end >= state[1]
    if kind <= h.CONTAINS:
        if not yes:
            return [state] if gone else []
        return [state] if alive and (kind == h.CONTAINS or state[0] == op.result) else []
    if kind == h.PUT:
        return [(op.value, *deadline(op))]
    if kind == h.CLEAR:
        return [None]
    if kind == h.CAS:
        if yes:
            met = alive and state[0] == expected if expected else gone
            return [(op.value, *deadline(op))] if met else []
        return [state] if (alive if not expected else gone or state[0] != expected) else []
    if kind == h.ADD:
        if yes:
            return [(op.value, *deadline(op))] if gone else []
        return [state] if alive else []
    if kind == h.REPLACE:
        if yes:
            return [(op.value, *deadline(op))] if alive else []
        return [state] if gone else []
    if kind in (h.INCR, h.INCR_PRESENT):
        if op.outcome == h.RAISED:
            return [state] if alive and state[0] & h.PADDED else []
        if op.outcome == h.NO:
            return [state] if gone and kind == h.INCR_PRESENT else []
        found = []
        if alive and not state[0] & h.PADDED and state[0] + op.extra == op.result:
            found.append((op.result, state[1], state[2]))
        if gone and kind == h.INCR and op.value + op.extra == op.result:
            found.append((op.result, *deadline(op)))
        return found
    if kind == h.DELETE_VERSION:
        if yes:
            return [None] if alive and state[0] == expected else []
        kept = [state] if not expected or (alive and state[0] != expected) else []
        return [*kept, None] if gone else kept
    if kind == h.DELETE:
        if yes:
            return [None] if alive else []
        return [None] if gone else []
    if kind == h.POP:
        if yes:
            return [None] if alive and state[0] == op.result else []
        return [state] if gone else []
    if kind == h.SETDEFAULT:
        if op.result == op.value:
            return [(op.value, *FOR_EVER)] if gone else []
        return [state] if alive and state[0] == op.result else []
    if kind in (h.TOUCH, h.GET_TOUCH):
        if yes:
            return [(state[0], *deadline(op))] if alive and (kind == h.TOUCH or state[0] == op.result) else []
        return [state] if gone else []
    assert kind == h.MODIFY
    if op.result:
        return [(op.value, state[1], state[2])] if alive and state[0] == op.result else []
    return [(op.value, *FOR_EVER)] if gone else []


def effects_untold(state: State, op: Operation, expected: int) -> list[State]:
    """The same for the call of a killed process, which gave no answer."""
    kind = op.kind
    alive = state is not None and op.start < state[2]
    gone = state is None or op.end >= state[1]
    new = (op.value, *deadline(op))
    if kind == h.PUT:
        return [new]
    if kind in (h.DELETE, h.POP, h.CLEAR):
        return [None]
    if kind == h.DELETE_VERSION:
        return [None] if gone or state[0] == expected else []
    if kind == h.CAS:
        return [new] if (alive and state[0] == expected if expected else gone) else []
    if kind in (h.ADD, h.SETDEFAULT):
        return [new] if gone else []
    if kind == h.REPLACE:
        return [new] if alive else []
    if kind in (h.TOUCH, h.GET_TOUCH):
        return [(state[0], *deadline(op))] if alive else []
    found: list[State] = []
    if kind in (h.INCR, h.INCR_PRESENT):
        if alive and not state[0] & h.PADDED:
            found.append((state[0] + op.extra, state[1], state[2]))
        if gone and kind == h.INCR:
            found.append((op.value + op.extra, *deadline(op)))
    elif kind == h.MODIFY:
        if alive:
            found.append((op.value, state[1], state[2]))
        if gone:
            found.append((op.value, *FOR_EVER))
    return found


def changes_nothing(op: Operation) -> bool:
    kind = op.kind
    if kind <= h.CONTAINS:
        return True
    if kind in (h.CAS, h.ADD, h.REPLACE, h.TOUCH, h.GET_TOUCH, h.POP):
        return op.outcome == h.NO
    if kind in (h.INCR, h.INCR_PRESENT):
        return op.outcome != h.YES
    return kind == h.SETDEFAULT and op.result != op.value


class Key:
    """The search for one key."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        # Nothing is to be explained of a read that nobody got the answer of.
        self.operations = [op for op in operations if op.completed or op.kind > h.CONTAINS]
        self.value_of_version = self.versions()
        self.overlap_a_clear = self.find_overlapping()
        self.under_way: dict[int, Operation] = {}  # by bit
        self.free_bits = [1 << i for i in range(64)]
        self.configurations: set[tuple[State, int]] = {(None, 0)}
        self.widest = 0  # calls under way at once
        self.most = 0  # configurations at once

    def versions(self) -> dict[int, int]:
        """Version -> value, as seen: they belong to each other once and for all."""
        values: dict[int, int] = {}
        versions: dict[int, int] = {}
        for op in self.operations:
            if op.outcome >= h.TORN:
                raise NotLinearizable(f"no answer at all: {op}")
            if op.version and op.completed:
                value = op.value if op.kind == h.PUT else op.result
                if (
                    values.setdefault(op.version, value) != value
                    or versions.setdefault(value, op.version) != op.version
                ):
                    raise NotLinearizable(f"version and value belong to others, too: {op}")
        return values

    def find_overlapping(self) -> set[int]:
        """Those that store something, and have a clear beside them: by their id()."""
        clears = sorted((op.start, op.end) for op in self.operations if op.kind == h.CLEAR)
        latest = list(accumulate((end for _, end in clears), max))
        found = set()
        for op in self.operations:
            began = bisect_right(clears, (op.end, h.NEVER))  # so many clears began before its end
            if began and latest[began - 1] >= op.start and op.kind in STORES:
                found.add(id(op))
        return found

    def told(self, state: State, op: Operation) -> list[State]:
        """What the call may leave behind."""
        after = (effects if op.completed else effects_untold)(state, op, self.expected(op))
        return [*after, None] if after and id(op) in self.overlap_a_clear else after

    def expected(self, op: Operation) -> int:
        # A version that nobody saw belongs to no state: no value is -1.
        asks = op.kind in (h.CAS, h.DELETE_VERSION) and op.extra
        return self.value_of_version.get(op.extra, -1) if asks else 0

    def check(self) -> None:
        events = [(op.start, 0, i) for i, op in enumerate(self.operations)]
        events += [(op.end, 1, i) for i, op in enumerate(self.operations) if op.end < h.NEVER]
        events.sort()  # of the same nanosecond an invocation comes first: they overlap
        bits: dict[int, int] = {}
        self.reads = 0
        for _, is_response, i in events:
            op = self.operations[i]
            if not is_response:
                if not self.free_bits:
                    raise TooHard(f"more than 64 calls at once: {op}")
                bit = bits[i] = self.free_bits.pop()
                self.under_way[bit] = op
                if op.completed and changes_nothing(op):
                    self.reads |= bit
                self.widest = max(self.widest, len(self.under_way))
                continue
            bit = bits.pop(i)
            self.respond(op, bit)
            self.most = max(self.most, len(self.configurations))
            self.reads &= ~bit
            del self.under_way[bit]
            self.free_bits.append(bit)

    def respond(self, op: Operation, bit: int) -> None:
        """Keep what explains this response, with the call taken off the list. A death explains itself: the call has
        taken effect by now or never does."""
        after: set[tuple[State, int]] = set()
        is_read = bool(self.reads & bit)
        if not op.completed:
            after.update((state, done & ~bit) for state, done in self.configurations)
        if len(self.under_way) == 1:  # the common case, without the search
            for state, done in self.configurations:
                after.update((new, 0) for new in ([state] if done else self.told(state, op)))
        else:
            todo = list(self.configurations)
            seen = set(todo)
            while todo:
                if len(seen) > MOST:
                    raise TooHard(f"{len(self.under_way)} calls overlap {op}")
                state, done = todo.pop()
                done = self.absorb(state, done)
                if done & bit:
                    after.add((state, done & ~bit))
                    continue
                if not is_read:
                    after.update((new, done) for new in self.told(state, op))
                for other, call in self.under_way.items():
                    if other == bit or (done | self.reads) & other:
                        continue
                    for new in self.told(state, call):
                        following = new, done | other
                        if following not in seen:
                            seen.add(following)
                            todo.append(following)
        if not after:
            raise NotLinearizable(self.story(op))
        self.configurations = after

    def absorb(self, state: State, done: int) -> int:
        """Calls that change nothing take effect at the first state that explains them."""
        for bit, call in self.under_way.items():
            if self.reads & bit and not done & bit and effects(state, call, self.expected(call)):
                done |= bit
        return done

    def story(self, op: Operation) -> str:
        lines = [f"no order explains {op}", "states that would be possible before it:"]
        lines += [f"  {state and hex(state[0])} {state and state[1:]}" for state, _ in list(self.configurations)[:5]]
        lines += ["under way:", *(f"  {call}" for call in self.under_way.values())]
        before = [o for o in self.operations if o.start <= op.end][-24:]
        return "\n".join([*lines, "begun last before its response:", *(f"  {o}" for o in before)])


def check(operations: Iterable[Operation]) -> dict[str, int]:
    """Raise NotLinearizable or TooHard; else figures."""
    keys: dict[int, list[Operation]] = {}
    operations = sorted(operations, key=lambda op: op.start)
    every = {op.key for op in operations if op.kind != h.CLEAR}
    for op in operations:
        for key in every if op.kind == h.CLEAR else (op.key,):
            keys.setdefault(key, []).append(op)
    count = widest = most = 0
    for key in sorted(keys):
        search = Key(keys[key])
        search.check()
        count += len(keys[key])
        widest, most = max(widest, search.widest), max(most, search.most)
    return {"operations": count, "keys": len(keys), "overlapping": widest, "configurations": most}
