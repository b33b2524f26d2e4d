#!/usr/bin/env python3
"""Computes moves.json from the text of 11-admission.md alone.

Needs cryptography. Usage: python3 moves.py > moves.json
"""

import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from identity import unkeyed
from key_schedule import ed25519_public, schedule


def move(founder_seed, lineage, origin, secret, removed):
    keys = schedule(secret)
    body = b"\x01" + lineage + origin
    body += bytes.fromhex(keys["channel_id"]) + bytes.fromhex(keys["channel_public_key"])
    body += len(removed).to_bytes(2, "big") + b"".join(sorted(removed))
    key = Ed25519PrivateKey.from_private_bytes(founder_seed)
    return {
        "from": origin.hex(),
        "secret": secret.hex(),
        "seed": keys["seed_key"],
        "removed": [peer.hex() for peer in sorted(removed)],
        "move": (body + key.sign(b"bitchat v1 move" + body)).hex(),
    }


if __name__ == "__main__":
    founder, alice, bob = [bytes([n] * 32) for n in range(1, 4)]
    first, second, third = [bytes(range(n, n + 32)) for n in (0, 32, 64)]
    ids = [bytes.fromhex(schedule(secret)["channel_id"]) for secret in (first, second)]
    lineage = unkeyed("bitchat v1 channel lineage", ed25519_public(founder), ids[0], size=32)
    one, other = ed25519_public(alice), ed25519_public(bob)
    print(json.dumps({
        "founder_seed": founder.hex(),
        "lineage": lineage.hex(),
        "moves": [
            move(founder, lineage, ids[0], second, [one]),
            move(founder, lineage, ids[1], third, [one, other]),
        ],
    }, indent=2))
