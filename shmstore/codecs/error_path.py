"""The error for a value that cannot be encoded: the path to the unsupported object in it, the cause and the remedy.

The encoder records no path. This module walks the value a second time, in the same order, and only after a failure.
A path is written like Python: ``$`` is the value, then ``.name`` or ``['any key']`` for the value under a dict's
key, ``[3]`` for an element of a list or tuple, ``{Colour}`` for a member of a set (by its type, since members have
no position), ``<key (1, Colour)>`` for a dict's key itself, ``.start`` and so on for the parts of a slice.

No code of the user is called: a ``repr`` could fail, or never end.
"""

from __future__ import annotations

from itertools import chain, repeat

from shmstore._base.calls import DEPTH, NODES
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import imported
from shmstore.codecs import extensions, registry
from shmstore.codecs.unsupported import ENCODE_IT, LIMIT, Unsupported, check_size
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    _Step = tuple[type | None, Any, Any]  # the type of a container, a place in it, and what is there

# By id: the == of a type belongs to its metaclass.
_NATIVE = {id(kind) for kind in (str, float, bool, bytes, type(None))}
_CONTAINERS = {id(kind) for kind in (dict, list, tuple, set, frozenset, slice)}
_OTHERWISE = "convert it first, register() its class, or use codec='pickle' or a codec of your own"

ENDLESS, CROWDED, TOO_LARGE = 2, 3, 4  # enum shms_pack_result in csrc/python/pack.h
_ABOUT_CONTAINERS = {
    CROWDED: ("too many keys or members have the same hash", "store a list of pairs, or use codec='pickle'"),
    TOO_LARGE: (f"it takes more than {LIMIT} bytes (2**32 - 1) with its contents, the limit of msgpack for tuples, sets and "
                "slices", "use lists around the large parts, or store it in parts"),
}  # fmt: skip
_RECORDS = "store x.tolist(), or, with its fields, numpy.array(x, numpy.dtype((numpy.void, x.dtype)), subok=False)"

# A base class, and how to store an object of such a class. The first match counts.
_REMEDIES = {
    "enum.Enum": "store its .value",
    "tuple": "store tuple(x), or x._asdict() of a named tuple",
    "dict": "store dict(x)",
    "list": "store list(x)",
    "set": "store set(x)",
    "frozenset": "store frozenset(x)",
    "str": "store str(x)",
    "int": "store int(x)",
    "float": "store float(x)",
    "bytes": "store bytes(x)",
    "bytearray": "store bytearray(x)",
    "array.array": "store array.array(x.typecode, x)",
    "numpy.ma.MaskedArray": "store x.data and x.mask",
    "numpy.ma.core.MaskedArray": "store x.data and x.mask",
    "numpy.recarray": _RECORDS,
    "numpy.rec.recarray": _RECORDS,
    "numpy.record": "store x.item()",
    "numpy.ndarray": "store numpy.array(x, subok=False)",
    "pandas.DataFrame": "store pandas.DataFrame(x)",
    "pandas.core.frame.DataFrame": "store pandas.DataFrame(x)",
    "pandas.Series": "store pandas.Series(x)",
    "pandas.core.series.Series": "store pandas.Series(x)",
    "pandas.Index": "store pandas.Index(x)",
    "pandas.core.indexes.base.Index": "store pandas.Index(x)",
    "pandas.api.extensions.ExtensionArray": "store list(x)",
    "pandas.core.arrays.base.ExtensionArray": "store list(x)",
    "pyarrow.lib.Scalar": "store x.as_py()",
    "pyarrow.lib.Array": "put it into a table: pyarrow.table({'name': x})",
    "pyarrow.lib.ChunkedArray": "put it into a table: pyarrow.table({'name': x})",
    "msgspec.Struct": "open the store with codec='msgspec', or store msgspec.structs.asdict(x)",
    "generator": "store list(x)",
    "msgpack.ext.Timestamp": "store x.to_datetime()",
    "datetime.tzinfo": "store it as part of a datetime or time",
    "pathlib.PurePath": "store str(x)",
    "pathlib._local.PurePath": "store str(x)",
}


def error_for(value: object, cause: BaseException | None = None, result: int = 0, culprit: object = None) -> CodecError:
    """Return the error for *value*, which the encoder refused with an exception *cause*, or with *result* for a container in it.

    Cost: a Python walk to the first object that cannot be stored.
    """
    if result == ENDLESS:
        return CodecError(
            f"cannot encode $: more than {NODES} objects, counting each reference to one; "
            "store it in parts, or use codec='pickle'"
        )
    try:
        found = first_unsupported(value, culprit, _ABOUT_CONTAINERS.get(result, ("", "")))
    except RuntimeError as error:  # a dict or set changed its size
        if is_foreign(error):
            raise
        found = None
    if found is None:
        return CodecError(f"cannot encode $: {_unknown_cause(cause)}")
    path, why, remedy, part = found
    return CodecError(f"cannot encode {shown(path)}{part}: {why}; {remedy}")


def _unknown_cause(cause: BaseException | None) -> str:
    """Say what may have happened to a value without an unsupported object."""
    if cause is None or isinstance(cause, RuntimeError):
        return "it was changed while it was being encoded; do not let other threads change it meanwhile"
    return f"it cannot be packed ({type(cause).__name__}: {cause}); {_OTHERWISE}"


_KEY = object()  # the place of a dict's key


def first_unsupported(
    value: object, culprit: object = None, about: tuple[str, str] = ("", "")
) -> tuple[list[_Step], str, str, str] | None:
    """Walk in the order of the encoder to the first node that cannot be stored.

    Return the path to it, the cause, the remedy, and the part of the node that is unsupported.
    culprit: a container that is known to be that node, with cause and remedy in *about*.
    """
    path: list[_Step] = []  # one step for each container that the walk is inside of, and one for the node at hand
    walks: list[tuple[type | None, Iterator[tuple[Any, Any]]]] = [(None, iter(((None, value),)))]
    while walks:
        kind, walk = walks[-1]
        for place, node in walk:
            step = kind, place, node
            if id(type(node)) not in _CONTAINERS:
                problem = _problem(node)
                if problem is not None:
                    return [*path, step], *problem
                continue
            if any([node is outer for _, _, outer in path]):
                return [*path, step], "it contains itself", "break the cycle, or use codec='pickle'", ""
            if len(path) == DEPTH:
                return ([*path, step], f"more than {DEPTH} containers nested in one another",
                        "flatten it, or use codec='pickle'", "")  # fmt: skip
            if node is culprit:
                return [*path, step], *about, ""
            path.append(step)
            walks.append((type(node), _children(node)))
            break
        else:
            walks.pop()
            if path:
                path.pop()
    return None


def shown(path: list[_Step]) -> str:
    """Return a path as text. A long path is shortened in the middle."""
    words = [_segment(*step) for step in path]
    if len(words) > 24:
        words = [*words[:8], f" ...{len(words) - 16} more... ", *words[-8:]]
    return "".join(words)


def _children(node: Any) -> Iterator[tuple[Any, Any]]:
    """Iterate over the places and parts of a container. No generator: see _base/foreign.py."""
    kind = type(node)
    if kind is dict:
        return chain.from_iterable(zip(zip(repeat(_KEY), node, strict=False), node.items(), strict=False))
    if kind is slice:
        return iter((("start", node.start), ("stop", node.stop), ("step", node.step)))
    return enumerate(node) if kind is list or kind is tuple else zip(node, node, strict=True)


def _segment(kind: type | None, place: Any, part: Any) -> str:
    if kind is None:
        return "$"
    if kind is dict:
        if place is _KEY:
            return f"<key {brief(part)}>"
        plain = type(place) is str and place.isidentifier() and len(place) < 80
        return f".{place}" if plain else f"[{brief(place)}]"
    if kind is list or kind is tuple:
        return f"[{place}]"
    return f".{place}" if kind is slice else f"{{{brief(place)}}}"


def _problem(node: Any) -> tuple[str, str, str] | None:
    """Return cause, remedy and part if a scalar cannot be stored, else None."""
    kind = type(node)
    if kind is str:
        try:
            node = node.encode()
        except UnicodeEncodeError as error:
            if is_foreign(error):
                raise
            return f"a str with a lone surrogate at {error.start}", ENCODE_IT, ""
    found = (0, None) if kind is int or kind is range or kind is complex or id(kind) in _NATIVE else registry.find(kind)
    if found is None:
        return f"objects of type {type_name(kind)} cannot be stored", _remedy(kind), ""
    try:
        check_size(_payload(node, *found))
    except Unsupported as error:
        return error.cause if error.is_inside else f"{type_name(kind)}: {error.cause}", error.remedy, error.part
    except Exception as error:
        if is_foreign(error):
            raise
        return f"{type_name(kind)}: {error}", _OTHERWISE, ""
    return None


def _payload(node: Any, code: int, encode: Callable[[Any], bytes] | None) -> int:
    """Return the packed size of a leaf in bytes; 0 if it is always small.

    Raises: Unsupported, and what *encode* raises.
    """
    kind = type(node)
    if id(kind) in registry.PARTS:
        size: int = registry.PARTS[id(kind)](node)[1]
        return size
    if encode is not None:
        return len(encode(node))
    if kind is range:
        _check_parts(node.start, node.stop, node.step)
    elif code == extensions.FRACTION:
        _check_parts(node.numerator, node.denominator)
    elif code == extensions.DATETIME or code == extensions.TIME:
        if node.tzinfo is not None:
            registry.zone_of(node.tzinfo)
    elif code == extensions.DECIMAL:
        return len(str(node))
    elif kind is bytes:
        return len(node)
    return node.bit_length() // 8 + 1 if kind is int else 0


def _check_parts(*parts: Any) -> None:
    for part in parts:
        if type(part) is not int:
            raise Unsupported("its numerator or denominator is not an int", "use Fraction(int(n), int(d))")
        size = (part if part >= 0 else ~part).bit_length() // 8 + 1
        if size > extensions.PART:
            raise Unsupported(
                f"a number in it takes {size} bytes, more than {extensions.PART}",
                "store the numbers separately, as ints",
            )


def _remedy(kind: type) -> str:
    if getattr(imported("msgpack"), "ExtType", None) is kind:
        return "extension codes belong to this codec; store bytes that you packed yourself with codec='raw'"
    names = {type_name(base) for base in _mro(kind)}
    for name, remedy in _REMEDIES.items():
        if name in names:
            return remedy
    if any(["__dataclass_fields__" in _DICT.__get__(base) for base in _mro(kind)]):
        return "store dataclasses.asdict(x)"
    return _OTHERWISE


# The attributes of a type as `type` itself returns them, without its metaclass.
_MRO, _DICT, _MODULE, _QUALNAME = [
    type.__dict__[name] for name in ("__mro__", "__dict__", "__module__", "__qualname__")
]


def _mro(kind: type) -> tuple[type, ...]:
    bases: tuple[type, ...] = _MRO.__get__(kind)
    return bases


def type_name(kind: type) -> str:
    """The name of a type as programs import it: ``decimal.Decimal``, but ``dict``."""
    name: str = _QUALNAME.__get__(kind)
    module = _MODULE.__get__(kind)
    return name if module == "builtins" else f"{module}.{name}"


def brief(node: Any, levels: int = 2) -> str:
    """Show a key or a member in a few characters, without calling code of its type."""
    kind = type(node)
    if kind is int and node.bit_length() > 128:
        return f"an int of {node.bit_length()} bits"
    if kind is int or id(kind) in _NATIVE:
        text = repr(node[:40] if kind is str or kind is bytes else node)
        return text if len(text) <= 48 else text[:45] + "..."
    if kind is tuple and levels:
        inside = ", ".join([brief(part, levels - 1) for part in node[:3]])
        return f"({inside}{', ...' if len(node) > 3 else ',' if len(node) == 1 else ''})"
    return str(_QUALNAME.__get__(kind))
