"""The words of a store's segment, by their offsets in layout.h, to be read and overwritten by tests."""

from shmstore import sysv
from shmstore._core import lib

HEADER = {
    "state": 8, "format": 16, "incompatible": 24, "read_compatible": 32, "compatible": 40, "segment_size": 48,
    "hash_key": 72, "name_kind": 160, "clients": 184, "client_size": 196, "due": 208, "slots": 216, "buckets": 224,
    "arenas": 256, "heap": 264,
}  # fmt: skip
NAME = 4096
ARENA = {"lock": 0, "counter": 8, "base": 16, "end": 24, "top": 32, "used": 56, "blocks": 64, "fl_map": 256}


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

    def arena(self, field):
        return self.header("arenas") + ARENA[field]

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
