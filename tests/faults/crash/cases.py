"""What victims do when they are killed or stopped: each case is one operation on a store that is set up for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from seccomp_faults import Refusal
from store_setup import MAX_ENTRIES, SIZE, nothing, populate

import shmstore


@dataclass
class Case:
    name: str
    act: Callable[[Any, Any], Any]
    changes: dict[str, list[Any]] = field(default_factory=dict)  # what names may have instead of their old value
    setup: Callable[[Any], Any] = nothing  # in the checking process, after populate(); what it returns is kept
    prepare: Callable[[Any], Any] = nothing  # in the victim, before the operation
    populate: Callable[[Any], None] = populate
    then: Callable[[Any], Any] = nothing  # in the checking process, after a death: what survivors can do
    tidy: Callable[[Any], Any] = nothing  # in the checking process, at the end: it removes what clear() does not
    opens: bool = False  # the operation opens the store itself
    creates: bool = False  # and there is none before
    room: tuple[str, ...] = ()  # entries to delete before others can be written: the store is full
    spare: bool = False  # entries may get larger blocks than they need
    never: tuple[str, ...] = ()  # names that must be absent afterwards: they have expired
    follow: int = 0  # 1: the forked child is the victim
    after: tuple[str, str] | None = None  # another victim dies first: its case, and in which state
    behind: tuple[str, str] | None = None  # another victim stands still meanwhile: likewise
    touches: tuple[str, ...] = ()  # names that it locks and leaves as they are
    timeout: float = 2.0
    reads_only: bool = False
    adds: int = 0  # it adds so much to whatever number is there
    stops: bool = True  # fit for the second mode
    size: int = SIZE
    entries: int = MAX_ENTRIES
    kept: int = 0  # zombies that others still read
    scribble: Callable[[Any], Any] = nothing  # in the checking process, last of all: bytes that no engine wrote
    unread: tuple[str, ...] = ()  # too large to be read thousands of times
    sampled: bool = True  # also by the quick tier
    thin: int = 1  # takes seconds each time: only every so-many-th instruction
    second: bool = False  # only for the third mode: it meets a dead one whoever that was
    backend: str = ""  # of the store; "": whatever is the default
    evicts: bool = False  # the store is a cache
    replaces: bool = False  # the operation leaves the store in another segment (replaced.py)
    refused: tuple[Refusal, ...] = ()  # system calls that fail in the victim
    mended: bool = False  # what scribble() did is undone before all else is verified
    repaired: bool = False  # what scribble() did is for survivors to repair, too
    beginning: Callable[[str], Any] = nothing  # of one that creates: what stands there before
    meanwhile: Callable[[Any], Any] = nothing  # only for the fourth mode: what others do instead of writing everything;
    # what it returns undoes what would keep survivors from their work

    def where(self) -> dict[str, str]:
        return {"backend": self.backend} if self.backend else {}


CASES: dict[str, Case] = {}


def case(name: str, act: Callable[[Any, Any], Any], **changes: Any) -> None:
    CASES[name] = Case(name, act, **changes)


def quiet(name: str, act: Any, **changes: Any) -> None:
    case(name, act, **{"sampled": False, "stops": False, **changes})


# ---- how an operation may end
def raises(kind: type[Exception], call: Callable[..., Any], *arguments: Any) -> str:
    try:
        call(*arguments)
    except kind as error:
        return type(error).__name__
    raise AssertionError(f"expected {kind.__name__}")


def fails(call: Callable[[], Any]) -> str:
    """What is refused, whatever the word for it."""
    try:
        call()
    except (shmstore.ShmStoreError, OSError, ValueError) as error:
        return type(error).__name__
    raise AssertionError("it was not refused")


def tried(call: Callable[[], Any]) -> str:
    """It may be refused, or not."""
    with contextlib.suppress(shmstore.ShmStoreError, KeyError, TypeError, OSError, ValueError, MemoryError):
        call()
    return ""


# In this order: later modules derive cases from those of earlier ones.
# isort: off
import cases_basic  # noqa: E402, F401
import cases_states  # noqa: E402, F401
import cases_processes  # noqa: E402, F401
import cases_waiting  # noqa: E402, F401
import cases_leases  # noqa: E402, F401
import cases_tags  # noqa: E402, F401
import cases_barriers  # noqa: E402, F401
import cases_registry  # noqa: E402, F401
import cases_scribbled  # noqa: E402, F401
import cases_open  # noqa: E402, F401
import cases_posix  # noqa: E402, F401
import cases_evict  # noqa: E402, F401
import cases_resize  # noqa: E402, F401
import cases_spans  # noqa: E402, F401
import cases_moved  # noqa: E402, F401
import cases_raced  # noqa: E402, F401
import cases_repaired  # noqa: E402, F401
