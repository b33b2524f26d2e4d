#!/usr/bin/env python3
"""Computes handshake.json from the text of 01-key-schedule.md and 03-handshake.md alone.

Needs the packages cryptography and kyber-py. Usage: python3 handshake.py > handshake.json
"""

import hashlib
import hmac
import ipaddress
import json

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kyber_py.ml_kem import ML_KEM_768

from key_schedule import derive, ed25519_public, schedule

VERSION = bytes.fromhex("b17c4a01")
KEYS = schedule(bytes(range(32)))


def unkeyed(label, *parts, size):
    """H() of 01-key-schedule.md, section 1."""
    state = hashlib.blake2b(digest_size=size)
    state.update(bytes([len(label)]) + label.encode())
    for part in parts:
        state.update(len(part).to_bytes(4, "big") + part)
    return state.digest()


# Section 1: the gate.


def first_packet(unix, nonce, addressee):
    tag_key, initial_key = (bytes.fromhex(KEYS[name]) for name in ("gate_tag_key", "gate_initial_key"))
    slot = (unix // 60).to_bytes(8, "big")
    cid = nonce + derive(tag_key, "bitchat v1 first packet", nonce, slot, size=12)
    token_key = derive(initial_key, "bitchat v1 first packet token", cid)
    token = ChaCha20Poly1305(token_key).encrypt(bytes(12), addressee, cid)
    return {
        "unix": unix,
        "nonce": nonce.hex(),
        "addressee": addressee.hex(),
        "id": cid.hex(),
        "token": token.hex(),
    }


def address(ip, port):
    ip = ipaddress.ip_address(ip)
    sixteen = ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed
    return b"\0" + sixteen + port.to_bytes(2, "big")


def identity(peer):
    return b"\1" + unkeyed("bitchat v1 addressee identity", peer, size=18)


# Section 3: Noise, following the words of the framework's specification, revision 34.


class Symmetric:
    def __init__(self, name):
        self.h = self.ck = name.encode().ljust(64, b"\0")
        self.key = None

    def hkdf(self, material, count):
        temp, outputs = hmac.new(self.ck, material, "blake2b").digest(), [b""]
        for n in range(1, count + 1):
            outputs.append(hmac.new(temp, outputs[-1] + bytes([n]), "blake2b").digest())
        return outputs[1:]

    def mix_hash(self, data):
        self.h = hashlib.blake2b(self.h + data).digest()

    def mix_key(self, material):
        self.ck, key = self.hkdf(material, 2)
        self.key, self.nonce = key[:32], 0

    def mix_key_and_hash(self, material):
        self.ck, temp_hash, key = self.hkdf(material, 3)
        self.mix_hash(temp_hash)
        self.key, self.nonce = key[:32], 0

    def seal(self, plain):
        nonce = bytes(4) + self.nonce.to_bytes(8, "little")
        self.nonce += 1
        sealed = ChaCha20Poly1305(self.key).encrypt(nonce, plain, self.h)
        self.mix_hash(sealed)
        return sealed

    def derive(self, label):
        return derive(self.ck, label, self.h)


def scalar(seed):
    """The X25519 form of an Ed25519 seed."""
    return hashlib.sha512(seed).digest()[:32]


def x25519_public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agree(secret, public):
    private = X25519PrivateKey.from_private_bytes(secret)
    return private.exchange(X25519PublicKey.from_public_bytes(public))


def handshake(case):
    given = {name: bytes.fromhex(value) for name, value in case.items()}
    s_i, s_r = given["dialler_identity_seed"], given["listener_identity_seed"]
    e_i, e_r = given["dialler_ephemeral"], given["listener_ephemeral"]
    seed = given["dialler_kem_seed"]
    state = Symmetric("Noise_XXhfs+psk0_25519+MLKEM768_ChaChaPoly_BLAKE2b")
    state.mix_hash(given["prologue"])

    # -> psk, e, e1
    state.mix_key_and_hash(given["psk"])
    first = x25519_public(e_i)
    state.mix_hash(first)
    state.mix_key(first)
    encapsulation_key, decapsulation_key = ML_KEM_768._keygen_internal(seed[:32], seed[32:])
    first += state.seal(encapsulation_key)
    first += state.seal(given["payload_1"])

    # <- e, ee, ekem1
    second = x25519_public(e_r)
    state.mix_hash(second)
    state.mix_key(second)
    state.mix_key(agree(e_r, x25519_public(e_i)))
    kem_secret, ciphertext = ML_KEM_768._encaps_internal(
        encapsulation_key, given["listener_kem_randomness"]
    )
    assert ML_KEM_768.decaps(decapsulation_key, ciphertext) == kem_secret
    second += state.seal(ciphertext)
    state.mix_key(kem_secret)
    handshake_dialler = state.derive("bitchat v1 handshake dialler")
    handshake_listener = state.derive("bitchat v1 handshake listener")

    # <- s, es
    third = state.seal(ed25519_public(s_r))
    state.mix_key(agree(e_i, x25519_public(scalar(s_r))))
    third += state.seal(given["payload_3"])

    # -> s, se
    fourth = state.seal(ed25519_public(s_i))
    state.mix_key(agree(e_r, x25519_public(scalar(s_i))))
    fourth += state.seal(b"")

    suite = given["payload_3"][:1]
    split = [key[:32] for key in state.hkdf(b"", 2)]
    traffic = [derive(key, "bitchat v1 traffic", suite, state.h) for key in split]
    return case | {
        "flight_1": first.hex(),
        "flight_2": second.hex(),
        "flight_3": third.hex(),
        "flight_4": fourth.hex(),
        "handshake_secret_dialler": handshake_dialler.hex(),
        "handshake_secret_listener": handshake_listener.hex(),
        "handshake_hash": state.h.hex(),
        "traffic_secret_dialler": traffic[0].hex(),
        "traffic_secret_listener": traffic[1].hex(),
    }


# Ephemeral keys: what the program's generator gives from the seeds 01..01 and 02..02.
DIALLER = bytes.fromhex(
    "023f37203a2476c42566a61cc55c3ca875dbb4cc41c0deb789f8e7bf88183638"
    "1ecc3686b60ee3b84b6c7d321d70d5c06e9dac63a4d0a79d731b17c0d04d030d"
    "01274dd1ee5216c204fb698daea45b52e98b6f0fdd046dcc3a86bb079e36f024"
)
LISTENER = bytes.fromhex(
    "f6a12ca8ffc30a66ca140ccc7276336115819361186d3f535dd99f8eaaca8fce"
    "7f82dd63f4f75c33da444b72372be3aa43c0027a076bf9675eb7932695d127a4"
)

if __name__ == "__main__":
    listener = b"\x22" * 32
    case = {
        "prologue": (b"bitchat v1" + VERSION).hex(),
        "psk": KEYS["gate_psk"],
        "dialler_identity_seed": (b"\x11" * 32).hex(),
        "dialler_ephemeral": DIALLER[:32].hex(),
        "dialler_kem_seed": DIALLER[32:].hex(),
        "listener_identity_seed": listener.hex(),
        "listener_ephemeral": LISTENER[:32].hex(),
        "listener_kem_randomness": LISTENER[32:].hex(),
        "payload_1": (b"\2\1\2" + b"parameters of the dialler").hex(),
        "payload_3": (b"\1" + b"parameters of the listener").hex(),
    }
    gate = {name: KEYS[f"gate_{name}"] for name in ("tag_key", "initial_key")}
    noon = 1_767_268_800
    first_packets = [
        first_packet(noon, DIALLER[:8], address("198.51.100.7", 6881)),
        first_packet(noon + 59, LISTENER[:8], address("2001:db8::7", 51413)),
        first_packet(noon + 60, DIALLER[:8], identity(ed25519_public(listener))),
    ]
    print(
        json.dumps(
            {"gate": gate, "first_packets": first_packets, "handshake": handshake(case)}, indent=2
        )
    )
