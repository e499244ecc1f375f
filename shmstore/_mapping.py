"""Memory that cannot be used once its mapping has ended: what System V attachments and POSIX mappings share."""

from __future__ import annotations

from _weakref import ref  # weakref itself costs a millisecond of import

from shmstore._core import ffi
from shmstore._foreign import is_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

__all__ = ["Mapped"]


class Mapped:
    """Hold one mapping of this process, from the call that made it to the one that ends it.

    ``memory`` is a memoryview of all of it. No view of it, nor a slice of one, can outlive the mapping: who
    would end it is refused while any is in use, and ends ``memory`` itself. A mapping that is dropped ends
    with its last view. As a context manager it gives the memory, and ends the mapping.
    """

    __slots__ = ("__weakref__", "_exporter", "_mapping", "address", "memory", "readonly", "size")

    def __init__(self, address: Any, size: int, readonly: bool, unmap: Callable[[Any], Any]) -> None:
        mapping = ffi.gc(ffi.cast("char *", address), unmap)
        exporter = ffi.buffer(mapping, size)
        self.address = int(ffi.cast("uintptr_t", address))
        self.size = size
        self.readonly = readonly
        self._mapping = [mapping]  # emptied by the one who unmaps
        # Slices hold the exporter, but do not count as exports of the view that they were cut from: only the
        # exporter's end shows that nobody looks at the memory any more.
        self._exporter = ref(exporter)
        self.memory = self._view(exporter)

    def _view(self, exporter: Any) -> memoryview:
        return memoryview(exporter).toreadonly() if self.readonly else memoryview(exporter)

    def _release(self) -> Any:
        """End the memory and give what is to be unmapped by the caller; None if another thread was faster.

        Raises: BufferError while somebody looks at the memory, and then all stays as it is.
        """
        self.memory.release()  # BufferError if somebody holds its buffer
        exporter = self._exporter()
        if exporter is not None:
            self.memory = self._view(exporter)
            raise BufferError(f"{self!r} stays: a slice of its memory is still in use")
        try:
            mapping = self._mapping.pop()
        except IndexError as error:
            if is_foreign(error):
                raise
            return None
        ffi.gc(mapping, None)
        return mapping

    def _end(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> memoryview:
        return self.memory

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._mapping:
            return
        try:
            self._end()
        except BufferError as refusal:
            if error is None or is_foreign(refusal):
                raise  # else the traceback itself holds the slice, and the mapping goes with it
