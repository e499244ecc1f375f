"""Packages that some types come from. They are imported when such a value is met, and never otherwise."""

from __future__ import annotations

from shmstore._base.foreign import is_foreign
from shmstore._base.imports import imported
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["need"]


def need(package: str, extra: str) -> Any:
    """Import *package* to read a value of its types.

    Raises: CodecError saying what to install.
    """
    try:
        return imported(package) or __import__(package)
    except ImportError as error:
        if is_foreign(error):
            raise
        raise CodecError(
            f"cannot decode: the value needs {package}, which cannot be imported here ({error}); "
            f"pip install 'shmstore[{extra}]'"
        ) from error
