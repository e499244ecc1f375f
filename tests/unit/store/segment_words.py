"""The words of a store's segment, by their offsets in layout.h, to be read and overwritten by tests."""

from shmstore import sysv
from shmstore._core import lib

HEADER = {
    "state": 8, "format": 16, "incompatible": 24, "read_compatible": 32, "compatible": 40, "segment_size": 48,
    "hash_key": 72, "name_kind": 160, "clients": 184, "client_size": 196, "due": 208, "slots": 216, "buckets": 224,
    "classes": 248, "pages": 256, "heap": 264, "heap_pages": 272, "page_bits": 280, "pages_high": 1096,
}  # fmt: skip
NAME = 4096
CLIENT_SIZE, RECORDS = 4096, 192
USED_BLOCKS, USED_BYTES = 64 + 8 * 8, 64 + 8 * 9  # in a client slot


class Memory:
    """The words of a store's segment."""

    def __init__(self, store):
        self.attached = sysv.shmat(store.info().id)
        self.bytes = self.attached.memory

    def word(self, offset):
        return int.from_bytes(self.bytes[offset : offset + 8], "little")

    def set(self, offset, value):
        self.bytes[offset : offset + 8] = (value % 2**64).to_bytes(8, "little")

    def header(self, field):
        return self.word(HEADER[field])

    def page(self, index):
        """The offset of the word of a page of the heap."""
        return self.header("pages") + 32 * index

    def page_of(self, name):
        """The offset of the word of the page in which the block of a name lies."""
        return self.page((self.block(name) - self.header("heap")) // 4096)

    def used(self, which):
        """The offset of a used counter of the first client: 0 entries, 1 bytes."""
        return self.header("clients") + (USED_BLOCKS, USED_BYTES)[which]

    def hold(self, name, number):
        """The lock of a name's home bucket, in the name of a client, as a put leaves it whose process ends inside."""
        lock = self.home(name)
        self.set(lock, self.word(lock) | number)
        record = self.header("clients") + (number - 1) * CLIENT_SIZE + RECORDS
        self.set(record, (lock - self.header("slots")) // 64 + 1)

    def home(self, name):
        """The offset of the lock word of a str name's home bucket."""
        raw, at = name.encode(), HEADER["hash_key"]
        hash = lib.shms_hash(raw, len(raw), self.word(at), self.word(at + 8))
        return self.header("slots") + ((hash >> 32) * self.header("buckets") >> 32) * 64

    def slot(self, name):
        """The offset of the slot of a name that is alone in its bucket."""
        (slot,) = [at for at in range(self.home(name) + 8, self.home(name) + 64, 8) if self.word(at)]
        return slot

    def block(self, name):
        return (self.word(self.slot(name)) & 0xFFFFFFFFFF) * 16

    def blocks(self):
        """The offsets of the blocks of all entries."""
        buckets = range(self.header("slots"), self.header("slots") + 64 * self.header("buckets"), 64)
        words = [self.word(slot) for bucket in buckets for slot in range(bucket + 8, bucket + 64, 8)]
        return [(word & 0xFFFFFFFFFF) * 16 for word in words if word]
