"""What Redis has no single command for, as scripts: each runs as one step, and is sent once, as a write."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["cas", "incr", "persist"]

_CAS = b"""\
local found = redis.call('GET', KEYS[1])
if not found or redis.sha1hex(found) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], unpack(ARGV, 3))
return 1"""

# The sum is returned as text: a script's numbers have 53 bits.
_INCR = b"""\
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('INCRBY', KEYS[1], ARGV[1])
  return redis.call('GET', KEYS[1])
end
if ARGV[2] == '' then return false end
if ARGV[2] == 'overflow' then return redis.error_reply('ERR increment or decrement would overflow') end
redis.call('SET', KEYS[1], ARGV[2], unpack(ARGV, 3))
return ARGV[2]"""

_PERSIST = b"""\
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('PERSIST', KEYS[1])
return 1"""


def cas(raw: bytes, version: int, body: bytes, life: tuple[Any, ...]) -> tuple[Any, ...]:
    return "EVAL", _CAS, 1, raw, f"{version:040x}", body, *life


def incr(raw: bytes, by: int, initial: int, create: bool, life: tuple[Any, ...]) -> tuple[Any, ...]:
    first = initial + by
    text = str(first) if -(2**63) <= first < 2**63 else "overflow"
    return "EVAL", _INCR, 1, raw, by, text if create else "", *life


def persist(raw: bytes) -> tuple[Any, ...]:
    return "EVAL", _PERSIST, 1, raw
