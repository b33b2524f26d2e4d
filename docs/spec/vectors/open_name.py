#!/usr/bin/env python3
"""Computes open-name.json from the text of 01-key-schedule.md, section 5, alone.

Needs argon2-cffi (pip install argon2-cffi). Usage: python3 open_name.py > open-name.json
"""

import hashlib
import json

from argon2.low_level import Type, hash_secret_raw


def secret(typed, passphrase):
    """The channel secret of an open channel."""
    name = typed.strip()[1:].lower().encode()
    label = b"bitchat v1 open channel salt"
    salt = hashlib.blake2b(bytes([len(label)]) + label, digest_size=16).digest()
    password = len(name).to_bytes(4, "big") + name + passphrase.encode()
    return hash_secret_raw(
        password, salt, time_cost=2, memory_cost=64 * 1024, parallelism=1, hash_len=32, type=Type.ID
    )


if __name__ == "__main__":
    typed = [("#team", ""), ("#Team", "correct horse"), ("#zoë-山田", ""), ("#teamx", "")]
    cases = [
        {"typed": name, "passphrase": phrase, "secret": secret(name, phrase).hex()}
        for name, phrase in typed
    ]
    print(json.dumps({"cases": cases}, indent=2, ensure_ascii=False))
