#!/usr/bin/env python3
"""Computes key-schedule.json from the text of 01-key-schedule.md alone.

Needs nothing but Python's standard library. Usage: python3 key_schedule.py > key-schedule.json
"""

import hashlib
import json


def derive(key, label, *parts, size=32):
    """derive() of 01-key-schedule.md, section 1."""
    state = hashlib.blake2b(key=key, digest_size=size)
    state.update(bytes([len(label)]) + label.encode())
    for part in parts:
        state.update(len(part).to_bytes(4, "big") + part)
    return state.digest()


def ed25519_public(seed):
    """The public key of a seed: RFC 8032, section 5.1.5, in affine coordinates."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def add(left, right):
        (x1, y1), (x2, y2) = left, right
        product = d * x1 * x2 * y1 * y2
        x3 = (x1 * y2 + x2 * y1) * pow(1 + product, -1, p) % p
        y3 = (y1 * y2 + x1 * x2) * pow(1 - product, -1, p) % p
        return x3, y3

    base_y = 4 * pow(5, -1, p) % p
    square = (base_y**2 - 1) * pow(d * base_y**2 + 1, -1, p) % p
    base_x = pow(square, (p + 3) // 8, p)
    if base_x**2 % p != square:
        base_x = base_x * pow(2, (p - 1) // 4, p) % p
    if base_x % 2 == 1:
        base_x = p - base_x

    scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    scalar = scalar & (2**254 - 8) | 2**254
    result, doubled = (0, 1), (base_x, base_y)
    for bit in range(255):
        if scalar >> bit & 1:
            result = add(result, doubled)
        doubled = add(doubled, doubled)
    x, y = result
    return (y | (x & 1) << 255).to_bytes(32, "little")


def schedule(secret):
    """Every value that derives from a channel secret."""
    seed_key = derive(secret, "bitchat v1 channel seed key")
    signing_seed = derive(secret, "bitchat v1 channel signing seed")
    rendezvous = derive(seed_key, "bitchat v1 channel rendezvous key")

    def infohash(label, epoch):
        return derive(rendezvous, label, epoch.to_bytes(8, "big"), size=20)

    def infohashes(label):
        return {str(epoch): infohash(label, epoch).hex() for epoch in (0, 1, 20000, 20781)}

    values = {
        "secret": secret,
        "read_key": derive(secret, "bitchat v1 channel read key"),
        "member_proof_key": derive(secret, "bitchat v1 channel member proof key"),
        "channel_signing_seed": signing_seed,
        "channel_public_key": ed25519_public(signing_seed),
        "seed_key": seed_key,
        "channel_id": derive(seed_key, "bitchat v1 channel id"),
        "gate_tag_key": derive(seed_key, "bitchat v1 gate tag key"),
        "gate_initial_key": derive(seed_key, "bitchat v1 gate initial key"),
        "gate_psk": derive(seed_key, "bitchat v1 gate handshake psk"),
        "proof_key": derive(seed_key, "bitchat v1 channel proof key"),
        "rendezvous_key": rendezvous,
    }
    case = {name: value.hex() for name, value in values.items()}
    case["infohash"] = infohashes("bitchat v1 channel infohash")
    case["lan_infohash"] = infohashes("bitchat v1 channel lan infohash")
    case["overlap_margin"] = {
        peer.hex(): int.from_bytes(
            derive(rendezvous, "bitchat v1 channel overlap margin", peer, size=8), "big"
        )
        % 3600
        for peer in (bytes([1] * 32), bytes(range(32)))
    }
    return case


if __name__ == "__main__":
    # RFC 8032, section 7.1, test 1: the curve arithmetic above is checked before it is believed.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert ed25519_public(seed).hex() == public
    secrets = [bytes(32), bytes(range(32)), b"\xff" * 32]
    print(json.dumps({"cases": [schedule(secret) for secret in secrets]}, indent=2))
