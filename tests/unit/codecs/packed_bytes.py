"""MessagePack bytes that no packer writes, and values nested as deep as asked."""

import struct


def ext(code, payload):
    """An extension with a 32-bit length."""
    return b"\xc9" + struct.pack(">Ib", len(payload), code) + payload


def array(elements):
    return b"\xdd" + struct.pack(">I", len(elements)) + b"".join(elements)


def mapping(keys):
    """A map of these packed keys to None."""
    return b"\xdf" + struct.pack(">I", len(keys)) + b"".join(key + b"\xc0" for key in keys)


def nested(wrap, levels, inner=()):
    value = wrap(*inner)
    for _ in range(levels - 1):
        value = wrap(value)
    return value


def wrap_list(*parts):
    return list(parts)


def wrap_tuple(*parts):
    return parts


def wrap_set(*parts):
    return frozenset(parts)


def wrap_slice(part=None):
    return slice(part)


def wrap_dict(part=None):
    return {"k": part}
