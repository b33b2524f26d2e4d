#!/usr/bin/env python3
"""Computes session.json from the text of 01-key-schedule.md, section 1, and 05-session.md alone.

Needs nothing but Python's standard library. Usage: python3 session.py > session.json
"""

import hashlib
import json


def derive(key, label, *parts, size):
    """derive() of 01-key-schedule.md, section 1."""
    state = hashlib.blake2b(key=key, digest_size=size)
    state.update(bytes([len(label)]) + label.encode())
    for part in parts:
        state.update(len(part).to_bytes(4, "big") + part)
    return state.digest()


def counting(first, size):
    return bytes((first + at) % 256 for at in range(size))


def proof(key, handshake_hash, role):
    return derive(key, "bitchat v1 channel proof", handshake_hash, bytes([role]), size=16)


HASH = counting(0, 64)
KEY = counting(100, 32)
DH, KEM = counting(1, 32), counting(33, 32)
OFFER_DH, OFFER_KEM = counting(2, 32), counting(3, 1184)
ANSWER_DH, ANSWER_KEM = counting(4, 32), counting(5, 1088)
NUMBER, GENERATION = 7, 11

secret = derive(
    DH + KEM, "bitchat v1 renewal", HASH, NUMBER.to_bytes(4, "big"), OFFER_DH, OFFER_KEM,
    ANSWER_DH, ANSWER_KEM, GENERATION.to_bytes(8, "big"), size=32,
)

print(json.dumps({
    "about": "A byte string of so many bytes that counts up from a first byte, modulo 256, is written "
             "{\"from\": first, \"bytes\": size}.",
    "proof": {
        "handshake_hash": {"from": 0, "bytes": 64},
        "proof_key": {"from": 100, "bytes": 32},
        "dialler": proof(KEY, HASH, 0).hex(),
        "listener": proof(KEY, HASH, 1).hex(),
    },
    "renewal": {
        "handshake_hash": {"from": 0, "bytes": 64},
        "dh": {"from": 1, "bytes": 32},
        "kem": {"from": 33, "bytes": 32},
        "offer": {"number": NUMBER, "dh": {"from": 2, "bytes": 32}, "kem": {"from": 3, "bytes": 1184}},
        "answer": {"dh": {"from": 4, "bytes": 32}, "kem": {"from": 5, "bytes": 1088}, "generation": GENERATION},
        "secret": secret.hex(),
    },
}, indent=1))
