#!/usr/bin/env python3
"""Computes log.json from the text of 10-log.md alone.

Needs cryptography. Usage: python3 log.py > log.json
"""

import json
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from frames import pack
from key_schedule import derive, ed25519_public, schedule


def h(label, *parts, size=32):
    """H() of 01-key-schedule.md: the same without a key."""
    return derive(b"", label, *parts, size=size)


def sign(seed, message):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def hchacha20(key, nonce):
    """draft-irtf-cfrg-xchacha-03, section 2.2."""
    state = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    state += struct.unpack("<8I", key) + struct.unpack("<4I", nonce)

    def rotate(word, by):
        return (word << by | word >> 32 - by) & 0xFFFFFFFF

    def quarter(a, b, c, d):
        for target, other, last, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[target] = (state[target] + state[other]) & 0xFFFFFFFF
            state[last] = rotate(state[last] ^ state[target], by)

    for _ in range(10):
        for column in range(4):
            quarter(column, column + 4, column + 8, column + 12)
        for at in range(4):
            quarter(at, 4 + (at + 1) % 4, 8 + (at + 2) % 4, 12 + (at + 3) % 4)
    return struct.pack("<8I", *state[:4], *state[12:])


def seal(key, nonce, ad, plain):
    """XChaCha20-Poly1305, the nonce before the ciphertext."""
    inner = ChaCha20Poly1305(hchacha20(key, nonce[:16]))
    return nonce + inner.encrypt(bytes(4) + nonce[16:], plain, ad)


# draft-irtf-cfrg-xchacha-03, section 2.2.1: checked before it is believed.
assert hchacha20(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927")).hex() == (
    "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")


def u64(number):
    return struct.pack(">Q", number)


def case(secret, author_seed, device, says):
    keys = {name: bytes.fromhex(value) for name, value in schedule(secret).items() if isinstance(value, str)}
    channel = keys["channel_id"]
    author = ed25519_public(author_seed)
    label = b"bitchat v1 log chain mark"
    mark = sign(keys["channel_signing_seed"], label + h(label.decode(), channel, author, device))
    chain = h("bitchat v1 log chain id", channel, author, device, size=16)
    previous = h("bitchat v1 log chain start", chain)
    seal_key = derive(keys["read_key"], "bitchat v1 log seal key")
    start = previous
    entries = []
    for number, (clock, nonce, fields) in enumerate(says, 1):
        body = bytes([1]) + pack(fields)
        head = b"\x01" + chain + u64(number) + u64(clock) + previous
        sealed = seal(seal_key, nonce, channel + head, body)
        unsigned = head + struct.pack(">I", len(sealed)) + sealed
        digest = h("bitchat v1 log sealed digest", sealed)
        previous = h("bitchat v1 log entry hash", channel, head, digest)
        signature = sign(author_seed, b"bitchat v1 log entry signature" + previous)
        entries.append({
            "number": number, "clock": clock, "nonce": nonce.hex(), "body": body.hex(),
            "id": fields["id"].hex(), "unix_ms": fields["unix_ms"], "text": fields["text"],
            "after": [{"chain": tip["chain"].hex(), "number": tip["number"]} for tip in fields["after"]],
            "hash": previous.hex(), "bytes": (unsigned + signature).hex(),
            "outline": (head + digest + signature).hex(),
        })
    return {
        "secret": secret.hex(), "author_seed": author_seed.hex(), "device": device.hex(),
        "author": author.hex(), "chain": chain.hex(), "certificate": (b"\x01" + author + device + mark).hex(),
        "start": start.hex(), "seal_key": seal_key.hex(), "entries": entries,
    }


def say(number, unix_ms, text, after=()):
    after = [{"chain": bytes([byte] * 16), "number": at} for byte, at in after]
    return {"id": bytes([number] * 16), "unix_ms": unix_ms, "text": text, "after": after}


if __name__ == "__main__":
    print(json.dumps({"cases": [
        case(bytes(range(32)), b"\x07" * 32, bytes(range(8)), [
            (1, b"\x11" * 24, say(1, 1700000000123, "hello")),
            (7, b"\x12" * 24, say(2, 0, "again ✓", [(3, 1), (4, 70000)])),
        ]),
        case(b"\xff" * 32, b"\x08" * 32, b"\xfe" * 8, [(2**32, b"\x13" * 24, say(9, 2**64 - 1, "x" * 40))]),
    ], "unreadable_bodies": [
        (bytes([1]) + pack(fields)).hex() for fields in (
            say(1, 0, ""),
            say(1, 0, "a", [(3, 0)]),
            say(1, 0, "a", [(3, 2**31 + 1)]),
            say(1, 0, "a", [(3, 2**64 - 1)]),
        )
    ]}, indent=1, ensure_ascii=False))
