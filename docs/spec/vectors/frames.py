#!/usr/bin/env python3
"""Computes frames.json from the text of 05-session.md, 06-mesh.md, 07-whisper.md, 10-log.md and 11-admission.md alone.

Needs nothing but Python's standard library. Usage: python3 frames.py > frames.json
"""

import ipaddress
import json
import struct


def pack(value):
    """MessagePack, shortest forms; `bytes` are bin, `dict`s keep their order."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, bytes):
        size = len(value)
        head = b"\xc4" + bytes([size]) if size < 256 else b"\xc5" + struct.pack(">H", size)
        return head + value
    if isinstance(value, int):
        for limit, code, form in ((256, b"\xcc", ">B"), (65536, b"\xcd", ">H"), (2**32, b"\xce", ">I")):
            if value < 128:
                return bytes([value])
            if value < limit:
                return code + struct.pack(form, value)
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        data = value.encode()
        return (bytes([0xA0 | len(data)]) if len(data) < 32 else b"\xd9" + bytes([len(data)])) + data
    if isinstance(value, list):
        assert len(value) < 16
        return bytes([0x90 | len(value)]) + b"".join(map(pack, value))
    assert len(value) < 16
    return bytes([0x80 | len(value)]) + b"".join(pack(key) + pack(it) for key, it in value.items())


def show(value):
    """The same for readers of JSON."""
    if isinstance(value, bytes):
        return {"bin": value.hex()}
    if isinstance(value, list):
        return [show(it) for it in value]
    if isinstance(value, dict):
        return {key: show(it) for key, it in value.items()}
    return value


def run(byte, count):
    return bytes([byte] * count)


def address(ip, port):
    return ipaddress.ip_address(ip).packed + struct.pack(">H", port)


RED = run(5, 32)
CERTIFICATE = b"\x01" + run(16, 32) + run(17, 8) + run(18, 64)
FRAMES = [
    ("hello", 1, {
        "version": 1, "name": "Ada ✓", "incarnation": run(1, 8), "capabilities": 0,
        "observed": address("93.184.216.34", 6881), "proofs": [run(2, 16), run(3, 16)],
    }),
    ("hello that says little", 1, {
        "version": 1, "name": "", "incarnation": run(0xFF, 8), "capabilities": 2**64 - 1,
        "observed": None, "proofs": [],
    }),
    ("shared channels", 2, {"proofs": [run(4, 16)]}),
    ("rename", 3, {"name": "Bob"}),
    ("peers", 4, {
        "channel": RED, "full": True,
        "added": [{"peer": run(6, 32), "addresses": [address("2a00::1", 51413), address("10.0.0.7", 6881)]}],
        "removed": [run(7, 32)],
    }),
    ("whisper", 5, {"id": run(8, 16), "unix_ms": 1700000000123, "text": "hello"}),
    ("delivered", 6, {"ids": [run(8, 16), run(9, 16)]}),
    ("renew offer", 7, {"number": 1, "dh": run(10, 32), "kem": run(11, 1184)}),
    ("renew answer", 8, {"number": 1, "dh": run(12, 32), "kem": run(13, 1088), "generation": 4}),
    ("renew confirm", 9, {"number": 1}),
    ("have", 10, {
        "channel": RED, "full": True, "again": False,
        "chains": [{"chain": run(14, 16), "base": 2, "head": 70000, "tip": run(15, 8)}],
    }),
    ("have again", 10, {"channel": RED, "full": False, "again": True, "chains": []}),
    ("want", 11, {"channel": RED, "chain": run(14, 16), "from": 3, "bytes": 131072}),
    ("entries", 12, {
        "channel": RED, "more": True, "chains": [CERTIFICATE],
        "entries": [run(19, 173), run(20, 300)],
    }),
    ("fork", 13, {"channel": RED, "chain": CERTIFICATE, "first": run(21, 161), "second": run(22, 161)}),
    ("tickets", 20, {"channel": RED, "tickets": [run(14, 170)]}),
    ("refused", 21, {"channel": RED, "code": 3, "text": "ask alice"}),
    ("let in", 22, {"channel": RED}),
    ("moved", 23, {"channel": RED, "move": run(23, 227), "key": run(24, 32)}),
    ("invite", 24, {"file": run(23, 300), "tickets": [run(14, 170), run(14, 170)]}),
    ("invite answer", 25, {"channel": RED, "accepted": True}),
]

if __name__ == "__main__":
    print(json.dumps({
        "about": "Bodies of frames: the kind byte, then one MessagePack map of the fields in this order. "
                 "{\"bin\": hex} is a byte string.",
        "frames": [
            {"name": name, "kind": kind, "fields": show(fields), "hex": (bytes([kind]) + pack(fields)).hex()}
            for name, kind, fields in FRAMES
        ],
    }, indent=1, ensure_ascii=False))
