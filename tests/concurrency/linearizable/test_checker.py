"""The checker itself: histories known to be good, and histories known to be bad, each for one reason."""

import random

import checker
import history as h
import pytest
from history import Operation

MS = 1_000_000
A, B, C, D = (n << 16 for n in range(1, 5))


def op(kind, start, end, value=0, outcome=h.YES, result=0, **more):
    """Times in milliseconds; *end* None: the process was killed and nobody knows when."""
    ttl = int(more.pop("ttl", 0) * MS)
    at = more.pop("dead", None)
    last = end if end is not None else at
    return Operation(kind, 0, int(start * MS), h.NEVER if last is None else int(last * MS), end is not None, value,
                     ttl=ttl, outcome=outcome, result=result, **more)  # fmt: skip


def put(start, end, value, **more):
    return op(h.PUT, start, end, value, **more)


def get(start, end, result=0, **more):
    return op(h.GET, start, end, result=result, outcome=h.YES if result else h.NO, **more)


def add(start, end, value, won=True, **more):
    return op(h.ADD, start, end, value, outcome=h.YES if won else h.NO, **more)


def pop(start, end, result=0):
    return op(h.POP, start, end, result=result, outcome=h.YES if result else h.NO)


def delete(start, end, was=True):
    return op(h.DELETE, start, end, outcome=h.YES if was else h.NO)


def incr(start, end, base, result, by=1):
    return op(h.INCR, start, end, base, result=result, extra=by)


def cas(start, end, value, expected, done=True):
    return op(h.CAS, start, end, value, extra=expected, outcome=h.YES if done else h.NO)


def touch(start, end, ttl=0, was=True):
    return op(h.TOUCH, start, end, ttl=ttl, outcome=h.YES if was else h.NO)


def modify(start, end, value, old=0):
    return op(h.MODIFY, start, end, value, result=old)


def versioned(start, end, result, version):
    return op(h.GET_VERSIONED, start, end, result=result, version=version)


def delete_version(start, end, version, done=True):
    return op(h.DELETE_VERSION, start, end, extra=version, outcome=h.YES if done else h.NO)


def get_touch(start, end, result=0, ttl=0):
    return op(h.GET_TOUCH, start, end, result=result, ttl=ttl, outcome=h.YES if result else h.NO)


def incr_present(start, end, result=0, by=1):
    return op(h.INCR_PRESENT, start, end, result=result, extra=by, outcome=h.YES if result else h.NO)


def clear(start, end, **more):
    return op(h.CLEAR, start, end, **more)


def setdefault(start, end, value, result):
    return op(h.SETDEFAULT, start, end, value, result=result)


GOOD = {
    "nothing": [],
    "a clear": [put(0, 1, A), clear(2, 3), get(4, 5), put(6, 7, B), get(8, 9, B)],
    "a clear beside a read": [put(0, 1, A), clear(2, 9), get(3, 4, A), get(5, 6), get(7, 8)],
    "a clear ends what is being put, which nobody finds": [put(0, 9, A), clear(1, 2), get(10, 11)],
    "a clear before what is being put takes effect": [put(0, 9, A), clear(1, 2), get(3, 4), get(10, 11, A)],
    "an add where the clear made room, which ended it, too": [put(0, 1, A), add(2, 9, B), clear(3, 4), get(10, 11)],
    "a clear whose process was killed, or not at all": [put(0, 1, A), clear(2, None, dead=9), get(10, 11, A)],
    "a clear whose process was killed": [put(0, 1, A), clear(2, None, dead=9), get(10, 11)],
    "one after the other": [put(0, 1, A), get(2, 3, A), delete(4, 5), get(6, 7), add(8, 9, B), get(10, 11, B)],
    "a read beside a write sees the old value": [put(0, 1, A), put(2, 9, B), get(3, 4, A), get(5, 6, B)],
    "a write takes effect after a later one began": [put(0, 9, A), put(1, 2, B), get(3, 4, B), get(5, 6, A)],
    "one of two that add at once": [add(0, 9, A), add(1, 8, B, won=False), get(10, 11, A)],
    "two pops, one value": [put(0, 1, A), pop(2, 9, A), pop(3, 8)],
    "pop, add and pop": [put(0, 1, A), pop(2, 9, A), add(2, 9, B), pop(2, 9, B)],
    "counting at once": [incr(0, 9, A, A + 2), incr(0, 9, A, A + 1), incr(0, 9, A, A + 3), get(10, 11, A + 3)],
    "a counter begins anew": [incr(0, 1, A, A + 1), delete(2, 3), incr(4, 5, B, B + 1)],
    "incr of bytes": [put(0, 1, A | h.PADDED), op(h.INCR, 2, 3, B, outcome=h.RAISED), get(4, 5, A | h.PADDED)],
    "cas on the version that is there": [put(0, 1, A, version=7), cas(2, 3, B, 7), cas(4, 5, C, 7, done=False)],
    "cas on absence": [cas(0, 1, A, 0), cas(2, 3, B, 0, done=False), delete(4, 5), cas(6, 7, C, 0)],
    "one of two cas": [put(0, 1, A, version=7), cas(2, 9, B, 7), cas(2, 9, C, 7, done=False), get(10, 11, B)],
    "cas on a version that nobody saw": [put(0, 1, A, version=7), cas(2, 3, B, 8, done=False)],
    "setdefault": [setdefault(0, 1, A, A), setdefault(2, 3, B, A)],
    "modify sees what was there": [modify(0, 1, A), modify(2, 3, B, A), get(4, 5, B)],
    "replace": [op(h.REPLACE, 0, 1, A, outcome=h.NO), put(2, 3, B), op(h.REPLACE, 4, 5, C), get(6, 7, C)],
    "expired": [put(0, 1, A, ttl=10), get(2, 3, A), get(12, 13), add(14, 15, B)],
    "maybe expired": [put(0, 1, A, ttl=10), get(10.2, 10.4), get(10.5, 10.6, A)],
    "touched in time": [put(0, 1, A, ttl=10), touch(2, 3, ttl=100), get(20, 21, A)],
    "made immortal": [put(0, 1, A, ttl=10), touch(2, 3), get(50, 51, A)],
    "touched too late": [put(0, 1, A, ttl=10), touch(12, 13, ttl=100, was=False), get(20, 21)],
    "revived by a touch that looked at the clock before": [
        put(0, 1, A, ttl=10), touch(9, 20, ttl=100), get(12, 13), get(21, 22, A),
    ],
    "a counter keeps its deadline": [put(0, 1, A, ttl=10), incr(2, 3, B, A + 1), get(12, 13)],
    "deleted by its version": [put(0, 1, A, version=7), delete_version(2, 3, 7), get(4, 5), delete_version(6, 7, 7, done=False)],
    "not deleted by a former version": [
        put(0, 1, A, version=7), put(2, 3, B, version=8), delete_version(4, 5, 7, done=False), get(6, 7, B),
    ],
    "one of two that delete a version": [put(0, 1, A, version=7), delete_version(2, 9, 7), delete_version(2, 9, 7, done=False)],
    "a version of what has expired": [put(0, 1, A, version=7, ttl=10), delete_version(12, 13, 7, done=False), get(14, 15)],
    "the version of absence": [put(0, 1, A), delete_version(2, 3, 0, done=False), get(4, 5, A)],
    "got and touched": [put(0, 1, A, ttl=10), get_touch(2, 3, A, ttl=100), get(20, 21, A), get_touch(22, 23, A), get(200, 201, A)],
    "got and touched too late": [put(0, 1, A, ttl=10), get_touch(12, 13), get(20, 21)],
    "counted, and not created": [incr_present(0, 1), incr(2, 3, A, A + 1), incr_present(4, 5, A + 2), get(6, 7, A + 2)],
    "a new counter has a deadline": [op(h.INCR, 0, 1, A, result=A + 1, extra=1, ttl=10), incr(2, 3, B, A + 2), get(12, 13)],
    "killed while deleting a version": [put(0, 1, A, version=7), op(h.DELETE_VERSION, 2, None, extra=7), get(4, 5, A), get(6, 7)],
    "killed while getting and touching": [put(0, 1, A, ttl=10), op(h.GET_TOUCH, 2, None, ttl=100, dead=3), get(50, 51, A)],
    "killed, and it happened": [put(0, None, A), get(5, 6, A)],
    "killed, and it did not": [put(0, None, A), get(5, 6)],
    "killed, and it happened much later": [put(0, None, A), get(5, 6), add(7, 8, B), get(9, 10, A)],
    "killed while counting": [incr(0, 1, A, A + 1), op(h.INCR, 2, None, B, extra=2), incr(4, 5, C, A + 4)],
    "killed while popping": [put(0, 1, A), op(h.POP, 2, None), get(4, 5, A), get(6, 7)],
    "killed while touching": [put(0, 1, A, ttl=10), op(h.TOUCH, 2, None, ttl=100, dead=3), get(50, 51, A)],
    "killed by the time": [put(0, 1, A), put(2, None, B, dead=5), get(6, 7, A), get(8, 9, A)],
}  # fmt: skip

BAD = {
    "a value from before a clear": [put(0, 1, A), clear(2, 3), get(4, 5, A)],
    "a value that comes back after a clear": [put(0, 1, A), clear(2, 9), get(3, 4), get(5, 6, A)],
    "a clear that ends what was put after it": [clear(0, 1), put(2, 3, A), get(4, 5)],
    "a clear that ends what was put before it, later": [put(0, 1, A), clear(2, 3), put(4, 5, B), get(6, 7), get(8, 9, B)],
    "an add that a clear did not make room for": [put(0, 1, A), add(2, 3, B), clear(4, 5)],
    "a version from before a clear": [versioned(1, 2, A, 7), put(0, 1, A), clear(3, 4), cas(5, 6, B, 7)],
    "a stale read": [put(0, 1, A), put(2, 3, B), get(4, 5, A)],
    "a read from the future": [get(0, 1, A), put(2, 3, A)],
    "a read of what nobody wrote": [put(0, 1, A), get(2, 3, B)],
    "new, then old": [put(0, 1, A), put(2, 9, B), get(3, 4, B), get(5, 6, A)],
    "two readers see two orders": [
        put(0, 9, A), put(0, 9, B), get(10, 11, A), get(12, 13, B),
    ],
    "a present key is missed": [put(0, 1, A), put(2, 9, B), get(3, 4)],
    "a lost update": [incr(0, 1, A, A + 1), incr(2, 9, B, A + 2), incr(3, 8, C, A + 2)],
    "a lost put": [put(0, 1, A), get(2, 3)],
    "lost by modify": [put(0, 1, A), modify(2, 9, B, A), modify(3, 8, C, A)],
    "popped twice": [put(0, 1, A), pop(2, 9, A), pop(3, 8, A)],
    "popped and read afterwards": [put(0, 1, A), pop(2, 3, A), get(4, 5, A)],
    "added twice": [add(0, 9, A), add(1, 8, B)],
    "add fails though absent": [put(0, 1, A), delete(2, 3), add(4, 5, B, won=False)],
    "back from the dead": [put(0, 1, A), delete(2, 3), get(4, 5), get(6, 7, A)],
    "deleted twice": [put(0, 1, A), delete(2, 9), delete(3, 8)],
    "deleted though absent": [delete(0, 1)],
    "cas on an old version": [put(0, 1, A, version=7), put(2, 3, B, version=8), cas(4, 5, C, 7)],
    "two cas on one version": [put(0, 1, A, version=7), cas(2, 9, B, 7), cas(2, 9, C, 7)],
    "cas on absence though present": [put(0, 1, A), cas(2, 3, B, 0)],
    "cas fails without a reason": [put(0, 1, A, version=7), cas(2, 3, B, 7, done=False)],
    "replaced though absent": [op(h.REPLACE, 0, 1, A)],
    "setdefault overwrites": [put(0, 1, A), setdefault(2, 3, B, B)],
    "one value of two versions": [put(0, 1, A, version=7), versioned(2, 3, A, 8)],
    "two values of one version": [put(0, 1, A, version=7), put(2, 3, B, version=7)],
    "incr of bytes counts": [put(0, 1, A | h.PADDED), incr(2, 3, B, (A | h.PADDED) + 1)],
    "incr of a number raises": [put(0, 1, A), op(h.INCR, 2, 3, B, outcome=h.RAISED)],
    "expired too soon": [put(0, 1, A, ttl=10), get(8, 9)],
    "expired too late": [put(0, 1, A, ttl=10), get(12, 13, A)],
    "an immortal one expires": [put(0, 1, A), get(1000, 1001)],
    "touch of what is gone": [put(0, 1, A, ttl=10), touch(12, 13, ttl=100)],
    "revived by a touch that came too late": [put(0, 1, A, ttl=10), get(12, 13), touch(14, 20, ttl=99), get(21, 22, A)],
    "touch brings a deleted entry back": [put(0, 1, A), delete(2, 3), touch(2.5, 6), get(7, 8, A)],
    "touch does not last": [put(0, 1, A, ttl=10), touch(2, 3, ttl=100), get(20, 21)],
    "a counter loses its deadline": [put(0, 1, A, ttl=10), incr(2, 3, B, A + 1), get(12, 13, A + 1)],
    "deleted by a former version": [put(0, 1, A, version=7), put(2, 3, B, version=8), delete_version(4, 5, 7)],
    "a version deleted twice": [put(0, 1, A, version=7), delete_version(2, 9, 7), delete_version(3, 8, 7)],
    "deleted by the version of absence": [put(0, 1, A), delete_version(2, 3, 0)],
    "not deleted without a reason": [put(0, 1, A, version=7), delete_version(2, 3, 7, done=False)],
    "deleted by a version, and still there": [put(0, 1, A, version=7), delete_version(2, 3, 7), get(4, 5, A)],
    "one value got, another touched": [put(0, 1, A, ttl=10), put(2, 3, B, ttl=10), get_touch(4, 5, A, ttl=99)],
    "got and not touched": [put(0, 1, A, ttl=10), get_touch(2, 3, A, ttl=100), get(20, 21)],
    "touched though nothing was got": [put(0, 1, A, ttl=10), get_touch(12, 13, ttl=100), get(20, 21, A)],
    "got and touched when it was gone": [put(0, 1, A, ttl=10), get_touch(12, 13, A, ttl=100)],
    "counted what is absent": [incr_present(0, 1, A + 1)],
    "not counted though present": [incr(0, 1, A, A + 1), incr_present(2, 3)],
    "a new counter never expires": [op(h.INCR, 0, 1, A, result=A + 1, extra=1, ttl=10), get(12, 13, A + 1)],
    "a counter gets the deadline of a later call": [
        incr(0, 1, A, A + 1), op(h.INCR, 2, 3, B, result=A + 2, extra=1, ttl=10), get(14, 15),
    ],
    "killed while deleting another version": [
        put(0, 1, A, version=7), put(2, 3, B, version=8), op(h.DELETE_VERSION, 4, None, extra=7, dead=5), get(6, 7),
    ],
    "killed, and it happened twice": [
        put(0, 1, A), op(h.POP, 2, None), get(3, 4), put(5, 6, B), get(7, 8), get(9, 10, B),
    ],
    "killed, and then it did not": [put(0, None, A), get(5, 6, A), get(7, 8)],
    "killed before, and it happened after its death": [put(0, 1, A), put(2, None, B, dead=5), get(6, 7, A), get(8, 9, B)],
    "killed while counting, counted by more": [incr(0, 1, A, A + 1), op(h.INCR, 2, None, B, extra=1), get(4, 5, A + 3)],
    "torn": [put(0, 1, A), op(h.GET, 2, 3, outcome=h.TORN, result=-1)],
    "an error": [op(h.PUT, 0, 1, A, outcome=h.ERROR)],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good(name):
    assert checker.check(GOOD[name])["operations"] == len(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad(name):
    with pytest.raises(checker.NotLinearizable):
        checker.check(BAD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad_among_others(name):
    """What is wrong is found also if calls of other processes are under way all the time, and on another key."""
    others = [op(h.TOUCH, -1, 5000, outcome=h.NO), get(-1, 5000)]
    others += [Operation(h.PUT, 1, t * MS, (t + 3) * MS, True, t + 1 << 16, outcome=h.YES) for t in range(0, 30, 2)]
    with pytest.raises(checker.NotLinearizable):
        checker.check(BAD[name] + others)


def brute_force(operations):
    """Every order that keeps to time, tried: for a handful of completed calls on one key."""

    def explain(state, left):
        if not left:
            return True
        first = min(op.end for op in left)
        for op in left:
            if op.start <= first:
                rest = [other for other in left if other is not op]
                if any(explain(new, rest) for new in checker.effects(state, op, 0)):
                    return True
        return False

    return explain(None, operations)


def test_as_brute_force_says():
    """Random little histories, most of them bad, judged by both."""
    rng = random.Random(5)
    verdicts = []
    for _ in range(4000):
        values, operations = [n << 16 for n in range(1, 8)], []
        for value in values[: rng.randrange(3, 7)]:
            start = rng.randrange(40)
            end = start + rng.randrange(1, 25)
            kind = rng.choice(
                (
                    h.GET,
                    h.PUT,
                    h.ADD,
                    h.REPLACE,
                    h.DELETE,
                    h.POP,
                    h.MODIFY,
                    h.SETDEFAULT,
                    h.INCR,
                    h.TOUCH,
                    h.GET_TOUCH,
                    h.INCR_PRESENT,
                )
            )
            outcome, result = rng.choice((h.YES, h.YES, h.NO)), rng.choice(values[:3])
            if kind in (h.PUT, h.MODIFY, h.SETDEFAULT, h.INCR):
                outcome = h.YES
            if kind == h.MODIFY and rng.random() < 0.5:
                result = 0
            if kind in (h.INCR, h.INCR_PRESENT):
                result += 1
            ttl = 10 if kind in (h.PUT, h.ADD, h.TOUCH, h.GET_TOUCH, h.INCR) and rng.random() < 0.3 else 0
            operations.append(op(kind, start, end, value, outcome, result if outcome == h.YES else 0, extra=1, ttl=ttl))
        expected = brute_force(operations)
        try:
            checker.check(operations)
            verdict = True
        except checker.NotLinearizable:
            verdict = False
        assert verdict == expected, operations
        verdicts.append(verdict)
    assert 100 < verdicts.count(True) < 3900
