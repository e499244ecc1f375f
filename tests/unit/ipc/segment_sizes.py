"""Options of stores whose segment has a size that is easy to recognise. It is what the kernel is asked for, and what its
limits are about; size= is less, by 140 KiB and 4 KiB for each of max_clients."""

from __future__ import annotations

M = 1 << 20


def of_segment(size: int, clients: int = 2) -> dict[str, int]:
    return {"size": size - 12288 - 131072 - 4096 * clients, "max_clients": clients}


ONE_MIB = of_segment(M)
