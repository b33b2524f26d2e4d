#!/usr/bin/env python3
"""Computes pair.json from the text of 01-key-schedule.md, sections 1, 2 and 6, alone.

Needs nothing but Python's standard library. Usage: python3 pair.py > pair.json
"""

import hashlib
import json

from key_schedule import derive, ed25519_public

P = 2**255 - 19


def x25519(scalar, u):
    """RFC 7748, section 5: the Montgomery ladder."""
    k = int.from_bytes(scalar, "little") & (2**254 - 8) | 2**254
    x1 = int.from_bytes(u, "little") & (2**255 - 1)
    x2, z2, x3, z3 = 1, 0, x1, 1
    for bit in reversed(range(255)):
        swap = k >> bit & 1
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb = d * a, c * b
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        e = a * a - b * b
        x2, z2 = a * a * b * b % P, e * (a * a + 121665 * e) % P
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, -1, P) % P).to_bytes(32, "little")


def dh_scalar(seed):
    """The X25519 half of an identity: the scalar of its Ed25519 key."""
    return hashlib.sha512(seed).digest()[:32]


def dh_public(public):
    """RFC 7748, section 4.1: u = (1 + y) / (1 - y)."""
    y = int.from_bytes(public, "little") & (2**255 - 1)
    return ((1 + y) * pow(1 - y, -1, P) % P).to_bytes(32, "little")


def secret(own_seed, their_public):
    own_public = ed25519_public(own_seed)
    agreed = x25519(dh_scalar(own_seed), dh_public(their_public))
    return derive(agreed, "bitchat v1 pair channel secret", *sorted([own_public, their_public]))


if __name__ == "__main__":
    # RFC 7748, section 5.2, first vector: the ladder is checked before it is believed.
    k = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    u = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert x25519(k, u).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    one, other = bytes([1] * 32), bytes(range(32))
    both = {secret(one, ed25519_public(other)), secret(other, ed25519_public(one))}
    assert len(both) == 1
    print(json.dumps({"one_seed": one.hex(), "other_seed": other.hex(), "secret": both.pop().hex()}, indent=2))
