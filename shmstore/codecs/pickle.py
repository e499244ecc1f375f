"""The codec that stores nearly every Python object, and trusts everybody who can write to the store.

.. warning::

   **Loading a pickle runs the code that it names.** Whoever may write to the store can make every process
   that reads it with this codec do anything that the process may do: delete files, start programs, send data
   away. A store's mode is 0600 unless another was asked for, so "whoever" means every program of the same
   user, and everybody whom a wider ``mode`` or ``owner="any"`` lets in. No check of the bytes makes this
   safe.

So it is never a default and never chosen by what lies in the store: a handle reads pickles only if it was
opened with ``codec="pickle"`` or ``decoders=("pickle",)``. Classes are stored by name; the reader must be
able to import them, and a changed class gets the old one's state.
"""

from __future__ import annotations

from shmstore.codecs.explain import type_name
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["PROTOCOL", "decode", "encode", "name"]

name = "pickle"

PROTOCOL = 5  # every supported Python reads it; a newer default would shut older readers out


def encode(obj: object) -> bytes:
    """Return *obj* pickled.

    Raises: CodecError from whatever pickling raised.
    """
    import pickle

    try:
        return pickle.dumps(obj, PROTOCOL)
    except MemoryError:
        raise
    except Exception as error:
        raise CodecError(
            f"cannot encode $: an object of type {type_name(type(obj))} does not pickle: {error}; "
            "leave out what cannot be pickled (open files, locks, lambdas, local classes)"
        ) from error


def decode(data: bytes) -> Any:
    """Load the pickle *data*, which runs whatever it asks for: see the warning above.

    Raises: CodecError from whatever loading raised.
    """
    import pickle

    try:
        return pickle.loads(data)
    except Exception as error:
        raise CodecError(
            f"cannot decode: the pickle of {len(data)} bytes does not load: {type(error).__name__}: {error}; "
            "its classes must be importable here, as they were when it was written"
        ) from error
