#!/usr/bin/env python3
"""Computes tickets.json from the text of 11-admission.md alone.

Needs cryptography. Usage: python3 tickets.py > tickets.json
"""

import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from identity import unkeyed
from key_schedule import ed25519_public


def ticket(lineage, issuer_seed, invitee, flags, expires):
    issuer = ed25519_public(issuer_seed)
    body = b"\x01" + lineage + invitee + issuer + bytes([flags]) + expires.to_bytes(8, "big")
    key = Ed25519PrivateKey.from_private_bytes(issuer_seed)
    return {
        "issuer_seed": issuer_seed.hex(),
        "invitee": invitee.hex(),
        "flags": flags,
        "expires": expires,
        "ticket": (body + key.sign(b"bitchat v1 ticket" + body)).hex(),
    }


if __name__ == "__main__":
    seeds = [bytes([n] * 32) for n in range(1, 5)]
    founder, alice, bob, keeper = map(ed25519_public, seeds)
    first = bytes(range(32))
    lineage = unkeyed("bitchat v1 channel lineage", founder, first, size=32)
    print(json.dumps({
        "founder": founder.hex(),
        "first_channel": first.hex(),
        "lineage": lineage.hex(),
        "tickets": [
            ticket(lineage, seeds[0], alice, 1, 0),
            ticket(lineage, seeds[1], bob, 0, 2000000000),
            ticket(lineage, seeds[0], keeper, 2, 0),
        ],
    }, indent=2))
