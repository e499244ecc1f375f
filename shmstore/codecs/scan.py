"""The walks of the C files of this name: over a value to be packed, and over packed bytes to be unpacked.

The codec uses the compiled pair. This one says the same of every object (a test compares them). The verdicts and the
limits are explained in ``csrc/scan.h`` and ``csrc/scan_packed.h``.
"""

from __future__ import annotations

from shmstore._foreign import is_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

DEPTH = 256  # containers inside one another; a scalar alone has depth 0
NODES = 1 << 27
LAST_NESTED = 4  # extension codes 1 to 4 hold one packed array
COPIES = 8
FREE_COPIES = 64 << 20

BLOB_SIZE = 64 << 10

PLAIN, EXTENDED, REFUSED, ENDLESS, BLOB = range(5)
SOUND, TIMESTAMP, MALFORMED, DEEP, TOO_MANY_COPIES = range(5)

# By id: the hash and == of a type belong to its metaclass, which may be anybody's. The types never go away.
_SCALARS = {id(t) for t in (str, float, bool, bytes, type(None))}
_NEVER = (int, list, tuple, bytes, str, dict)


def _parts(node: Any) -> Iterator[Any] | None:
    """Return what a container holds, in the order in which it is packed; None for anything else."""
    kind = type(node)
    if kind is dict:
        return iter([part for item in node.items() for part in item])
    if kind is slice:
        return iter((node.start, node.stop, node.step))
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        elements: Iterator[Any] = iter(node)
        return elements
    return None


def scan(value: object) -> int:
    """Say how *value* can be packed: PLAIN, EXTENDED, REFUSED, ENDLESS or BLOB.

    Cost: a Python loop over every node; 50 times the compiled one.
    """
    if type(value) is bytes and len(value) >= BLOB_SIZE:
        return BLOB
    try:
        return _walk(value)
    except RuntimeError as error:  # another thread changed a dict or a set under the walk
        if is_foreign(error):
            raise
        return REFUSED


def _walk(value: object) -> int:
    worst = PLAIN
    nodes = 0
    around: list[Iterator[Any]] = [iter((value,))]
    while around:
        for node in around[-1]:
            nodes += 1
            if nodes > NODES:
                return ENDLESS
            kind = type(node)
            if id(kind) in _SCALARS:
                continue
            if kind is int:
                if not -(2**63) <= node < 2**64:
                    worst = EXTENDED
                continue
            if kind is not list and kind is not dict:
                worst = EXTENDED
            inside = _parts(node)
            if inside is not None:
                if len(around) > DEPTH:
                    return REFUSED
                around.append(inside)
                break
            if kind is bytearray or kind is memoryview or derives_from_builtin(kind):
                return REFUSED
        else:
            around.pop()
    return worst


def derives_from_builtin(kind: type) -> bool:
    """Tell whether a type derives from one that msgpack knows; its metaclass is not asked."""
    mro = type.__dict__["__mro__"].__get__(kind)
    return any([base is known for base in mro for known in _NEVER])


def scan_packed(packed: bytes) -> int:
    """Say whether *packed* is one msgpack object within the limits: SOUND or TIMESTAMP if it is.

    Cost: a Python loop over every item; 50 times the compiled one.
    """
    copies = len(packed) * COPIES + FREE_COPIES
    verdict = SOUND
    at = 0
    frames = [(1, len(packed), True)]  # items still to come, end of their bytes, must they fill them exactly
    while frames:
        left, end, exact = frames.pop()
        if left == 0:
            if exact and at != end:
                return MALFORMED
            continue
        frames.append((left - 1, end, exact))
        head = _header(packed, at, end)
        if head is None:
            return MALFORMED
        at, size, items, extension = head
        exact = False
        if extension:
            code = packed[at]
            if code == 0xFF:
                verdict = TIMESTAMP
            if not 1 <= code <= LAST_NESTED:
                at += size
                continue
            if size > copies:
                return TOO_MANY_COPIES
            copies -= size
            end, exact = at + size, True
            head = _header(packed, at + 1, end)
            if head is None or head[2] < 0 or _is_map(packed[at + 1]):
                return MALFORMED
            at, size, items, _ = head
        elif items < 0:
            at += size
            continue
        if items > end - at:
            return MALFORMED
        if len(frames) > DEPTH:
            return DEEP
        frames.append((items, end, exact))
    return verdict


_SIZES = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SIZES.update({0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8})
_WIDTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_WIDTHS.update({0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4})


def _is_map(tag: int) -> bool:
    return 0x80 <= tag < 0x90 or tag >= 0xDE


def _header(packed: bytes, at: int, end: int) -> tuple[int, int, int, bool] | None:
    """Return (behind the header, bytes that follow, items that follow or -1, is it an extension)."""
    if at >= end:
        return None
    tag = packed[at]
    at += 1
    if tag < 0x80 or tag >= 0xE0:
        return at, 0, -1, False
    if tag < 0xA0:
        return at, 0, (tag & 15) * (2 if tag < 0x90 else 1), False
    size = tag & 31 if tag < 0xC0 else _SIZES.get(tag, -1)
    extension = 0xC7 <= tag <= 0xC9 or 0xD4 <= tag <= 0xD8
    if 0xD4 <= tag <= 0xD8:
        size = (1 << (tag - 0xD4)) + 1
    elif size < 0:
        width = _WIDTHS.get(tag)
        if width is None or width > end - at:
            return None
        size = int.from_bytes(packed[at : at + width], "big")
        at += width
        if tag >= 0xDC:
            return at, 0, size * (2 if tag >= 0xDE else 1), False
        size += extension
    if size > end - at:
        return None
    return at, size, -1, extension
