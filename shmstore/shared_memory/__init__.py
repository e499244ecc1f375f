"""Shared memory with the interface of ``multiprocessing.shared_memory``, without its resource tracker.

>>> from shmstore import shared_memory  # instead of: from multiprocessing import shared_memory
>>> block = shared_memory.SharedMemory(create=True, size=1 << 20)
>>> block.buf[:5] = b"hello"
>>> other = shared_memory.SharedMemory(block.name)  # in this process or in another one
>>> bytes(other.buf[:5])
b'hello'
>>> other.close()
>>> block.close()
>>> block.unlink()
"""

from shmstore.shared_memory._block import SharedMemory
from shmstore.shared_memory._shareable_list import ShareableList

__all__ = ["ShareableList", "SharedMemory"]
