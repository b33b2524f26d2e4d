#!/usr/bin/env python3
"""Computes link.json from the text of 01-key-schedule.md and 04-link.md alone.

Needs the package cryptography. Usage: python3 link.py > link.json
"""

import json

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from key_schedule import derive


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


def hchacha20(key, block):
    """draft-irtf-cfrg-xchacha-03, section 2.2."""

    def words(data):
        return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]

    state = words(b"expand 32-byte k" + key + block)

    def quarter(a, b, c, d):
        for left, right, target, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[left] = (state[left] + state[right]) % 2**32
            mixed = state[target] ^ state[left]
            state[target] = (mixed << turn | mixed >> (32 - turn)) % 2**32

    for _ in range(10):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for column in range(4):
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
    return b"".join(word.to_bytes(4, "little") for word in state[:4] + state[12:])


def mask(suite, key, sample):
    if suite == 1:
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        return encryptor.update(sample)[:5]
    return hchacha20(key, sample)[:5]


def packet(suite, secret, number):
    """A short header with a packet number of two bytes."""
    key = derive(secret, "bitchat v1 packet key")
    iv = derive(secret, "bitchat v1 packet iv", size=12)
    header_key = derive(secret, "bitchat v1 header key")
    header = b"\x41" + bytes.fromhex("e1e2e3e4e5e6e7e8") + (number % 2**16).to_bytes(2, "big")
    payload = b"a payload of some frames"
    nonce = xor(iv, bytes(4) + number.to_bytes(8, "big"))
    aead = AESGCM(key) if suite == 1 else ChaCha20Poly1305(key)
    clear = header + aead.encrypt(nonce, payload, header)
    bits = mask(suite, header_key, clear[13:29])
    first = bytes([clear[0] ^ bits[0] & 0x1F])
    return {
        "suite": suite,
        "secret": secret.hex(),
        "key": key.hex(),
        "iv": iv.hex(),
        "header_key": header_key.hex(),
        "number": number,
        "header": header.hex(),
        "payload": payload.hex(),
        "packet": (first + clear[1:9] + xor(clear[9:11], bits[1:3]) + clear[11:]).hex(),
    }


if __name__ == "__main__":
    # draft-irtf-cfrg-xchacha-03, section 2.2.1.
    out = hchacha20(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927"))
    assert out.hex().startswith("82413b4227b27bfed30e42508a877d73")

    initial, cid = b"\x01" * 32, bytes(range(100, 120))
    secret, fresh = b"\x02" * 32, b"\x03" * 32
    body = b"body"
    print(
        json.dumps(
            {
                "initial": {
                    "initial_key": initial.hex(),
                    "id": cid.hex(),
                    "dialler": derive(initial, "bitchat v1 initial dialler", cid).hex(),
                    "listener": derive(initial, "bitchat v1 initial listener", cid).hex(),
                },
                "packets": [packet(1, secret, 7), packet(2, secret, 0x1_0203_0405)],
                "generations": {
                    "secret": secret.hex(),
                    "next": derive(secret, "bitchat v1 next keys").hex(),
                    "fresh": fresh.hex(),
                    "renewed": derive(secret, "bitchat v1 renewed keys", fresh).hex(),
                },
                "frame": {"body": body.hex(), "bytes": (len(body).to_bytes(4, "big") + body).hex()},
            },
            indent=2,
        )
    )
