"""Is a history of calls on several hosts what a near cache promises?

A call is (host, kind, key, value, began, ended). Each key has one writer, which writes 1, 2, 3, ...; 0: absent. So a value says which
write it is of.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate
from typing import Any

Call = tuple[int, str, str, int, int, int]


def problems(calls: list[Call], bound: int) -> list[str]:
    """*bound* in ns: a read that began later than that after the end of a write must not return an older value."""
    found = []
    by_key: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_key[call[2]].append(call)
    for key, of_key in by_key.items():
        writes = [call for call in of_key if call[1] == "write"]
        began = {call[3]: call[4] for call in writes}
        written = _Highest([(call[5], call[3]) for call in writes])
        for host in {call[0] for call in of_key}:
            seen = _Highest([(call[5], call[3]) for call in of_key if call[0] == host])
            for call in of_key:
                if call[0] != host or call[1] != "read":
                    continue
                _, _, _, value, start, end = call
                if value and (value not in began or began[value] > end):
                    found.append(f"{key}: {value} was read on host {host} before it was written")
                if value < (newest := written.before(start - bound)):
                    late = min(other[5] for other in writes if other[3] > value)
                    found.append(
                        f"{key}: host {host} read {value} {(start - late) / 1e9:.3f} s after a newer one; {newest} was due"
                    )
                if value < (newest := seen.before(start)):
                    found.append(f"{key}: host {host} read {value} after it had read or written {newest}")
    return found


class _Highest:
    """The highest value among the calls that had ended before a time."""

    def __init__(self, ended: list[tuple[int, int]]) -> None:
        ended.sort()
        self._times = [time for time, _ in ended]
        self._values = list(accumulate((value for _, value in ended), max))

    def before(self, time: int) -> Any:
        at = bisect_left(self._times, time)
        return self._values[at - 1] if at else 0
