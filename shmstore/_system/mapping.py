"""Memory that cannot be used once its mapping has ended: what System V attachments and POSIX mappings share."""

from __future__ import annotations

from shmstore._base.foreign import is_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from shmstore._base.calls import Memory

__all__ = ["Mapped"]


class Mapped:
    """One mapping of this process, from the call that makes it to the call that ends it.

    ``memory`` is a memoryview of the whole mapping. No view or slice of it can outlive the mapping: the call that ends
    it fails while one is in use, and ends ``memory`` itself. A mapping without references ends with its last view. As a
    context manager, it returns the memory, and ends the mapping.
    """

    __slots__ = ("__weakref__", "_owner", "address", "memory", "readonly", "size")

    def __init__(self, owner: Memory) -> None:
        self._owner = owner
        self.address, self.size, self.readonly = owner.address, owner.size, owner.readonly
        self.memory = owner.view()

    def _release(self) -> int | None:
        """End the memory and the mapping: 0 or -errno; None if it has ended before.

        Raises: BufferError while the memory is in use. Then nothing changes.
        """
        return self._owner.end(self, "memory")

    def _end(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> memoryview:
        return self.memory

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owner.ended:
            return
        try:
            self._end()
        except BufferError as in_use:
            if error is None or is_foreign(in_use):
                raise  # else the traceback itself holds the slice, and the mapping goes with it
