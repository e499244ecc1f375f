"""What the checks of ``shmstore doctor`` share: findings, and the files of the machine."""

from __future__ import annotations

import os

from shmstore._base.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore.cli.support.found import Found
    from shmstore.cli.support.objects import Object
    from shmstore.cli.support.segments import Segment

__all__ = ["Finding", "Machine", "note", "ok", "problem", "unread"]


class Finding(Record):
    """The result of a check. ``level``: ok, note (for information) or problem (calls fail); ``fix``: a command."""

    __slots__ = ("level", "topic", "says", "fix")  # in the order of the JSON
    level: str
    topic: str
    says: str
    fix: str  # empty: there is none

    def for_json(self) -> dict[str, Any]:
        """The fields; None if there is no command."""
        return {**self.as_dict(), "fix": self.fix or None}


def ok(topic: str, says: str) -> Finding:
    """There is nothing to fix."""
    return Finding(level="ok", topic=topic, says=says, fix="")


def note(topic: str, says: str, fix: str = "") -> Finding:
    """For information."""
    return Finding(level="note", topic=topic, says=says, fix=fix)


def problem(topic: str, says: str, fix: str) -> Finding:
    """A setting that makes calls fail."""
    return Finding(level="problem", topic=topic, says=says, fix=fix)


def unread(topic: str, what: str, consequence: str = "") -> Finding:
    """The file with the answer is missing, or this process may not read it. That is a note, not an ok."""
    return note(topic, f"{what} cannot be read{consequence and f', so {consequence}'}")


class Machine:
    """The files that describe a machine. A test gives another *root*. What cannot be read is None."""

    def __init__(self, root: str = "") -> None:
        self.root = root
        self.page = os.sysconf("SC_PAGE_SIZE")
        self.uid = os.geteuid()

    def text(self, path: str) -> str | None:
        """A file's content; None if it cannot be read."""
        try:
            with open(self.root + path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """A file that holds one number; None for "max", or if there is none."""
        try:
            return int(self.text(path) or "")
        except ValueError:
            return None

    def memory(self, field: str) -> int | None:
        """A line of /proc/meminfo, in bytes."""
        for line in (self.text("/proc/meminfo") or "").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == f"{field}:" and words[1].isdigit():
                return int(words[1]) * (1024 if words[-1] == "kB" else 1)
        return None

    def capable(self, capability: int) -> bool:
        """Whether this process has a capability, which root in a container may lack."""
        for line in (self.text("/proc/self/status") or "").splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> capability & 1)
        return self.uid == 0

    def link(self, path: str) -> str | None:
        """Where a symbolic link leads."""
        try:
            return os.readlink(self.root + path)
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        return os.path.exists(self.root + path)

    def names(self, path: str) -> list[str]:
        """What is in a directory, sorted; nothing where there is none."""
        try:
            return sorted(os.listdir(self.root + path))
        except OSError:
            return []

    def room(self, path: str) -> tuple[int, int] | None:
        """Size of a file system and what is free in it, in bytes; None if it is not there."""
        try:
            status = os.statvfs(self.root + path)
        except OSError:
            return None
        return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize

    def mounts(self) -> dict[str, tuple[str, str]] | None:
        """Mount points, each with its type and its options; the last one mounted counts."""
        text = self.text("/proc/self/mounts")
        if text is None:
            return None
        found = {}
        for line in text.splitlines():
            words = line.split()
            if len(words) >= 4:
                found[words[1]] = (words[2], words[3])
        return found

    def segments(self) -> list[Segment] | None:
        """The kernel's table."""
        from shmstore.cli.support.segments import Segment
        from shmstore.sysv._proc import TABLE, parse

        text = self.text(TABLE)
        try:
            return None if text is None else [Segment(row) for row in parse(text.encode())]
        except ValueError:
            return None

    def stores(self) -> list[Found] | None:
        """The stores, with what can be read of them."""
        from shmstore.cli.support.found import look

        segments, objects = self.segments(), self.posix_stores()
        if segments is None or objects is None:
            return None
        places: list[Segment | Object] = [*segments, *objects]
        return [found for place in places if (found := look(place)).kind == "store" and not found.gone]

    def posix_stores(self) -> list[Object] | None:
        """The stores in /dev/shm, and unreadable files with the name of a store."""
        from shmstore.cli.support.header import parse_header
        from shmstore.cli.support.objects import objects

        try:
            there = objects(f"{self.root}/dev/shm")
        except OSError:
            return None
        found = []
        for one in there:
            try:
                if parse_header(one.first_page()):
                    found.append(one)
            except OSError:
                if one.name.startswith(b"shmstore-"):
                    found.append(one)
        return found
