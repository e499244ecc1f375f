"""Shared memory with the interface of ``multiprocessing.shared_memory``, without its resource tracker.

from shmstore import shared_memory              # instead of: from multiprocessing import shared_memory

block = shared_memory.SharedMemory("results", create=True, size=1 << 20)
names = shared_memory.ShareableList(["a", "b"], name="names")
"""

from shmstore.shared_memory._block import SharedMemory
from shmstore.shared_memory._shareable_list import ShareableList

__all__ = ["ShareableList", "SharedMemory"]
