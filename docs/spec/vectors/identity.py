#!/usr/bin/env python3
"""Computes identity.json from the text of 01-key-schedule.md, section 2, alone.

Needs nothing but Python's standard library. Usage: python3 identity.py > identity.json
"""

import base64
import hashlib
import json
import urllib.parse

from key_schedule import ed25519_public


def unkeyed(label, *parts, size):
    """H() of 01-key-schedule.md, section 1."""
    state = hashlib.blake2b(digest_size=size)
    state.update(bytes([len(label)]) + label.encode())
    for part in parts:
        state.update(len(part).to_bytes(4, "big") + part)
    return state.digest()


def peer_id(public):
    """The text form of a public key."""
    checksum = unkeyed("bitchat v1 peer id checksum", public, size=4)
    return base64.b32encode(public + checksum).decode().rstrip("=").lower()


def safety_words(one, other):
    """Twelve groups of five digits."""
    digest = unkeyed("bitchat v1 safety words", *sorted([one, other]), size=60)
    groups = [int.from_bytes(digest[at : at + 5], "big") for at in range(0, 60, 5)]
    return " ".join(f"{group % 100000:05}" for group in groups)


def identity(seed, name):
    """What others see of an identity."""
    public = ed25519_public(seed)
    card = f"bitchat:contact?id={peer_id(public)}&name={urllib.parse.quote(name, safe='-._~:/')}"
    return {
        "seed": seed.hex(),
        "public": public.hex(),
        "peer_id": peer_id(public),
        "name": name,
        "card": card,
    }


if __name__ == "__main__":
    people = [identity(bytes([n] * 32), name) for n, name in [(1, "Alice"), (2, "Zoë & Bob")]]
    words = safety_words(*(bytes.fromhex(person["public"]) for person in people))
    print(json.dumps({"identities": people, "safety_words": words}, indent=2, ensure_ascii=False))
