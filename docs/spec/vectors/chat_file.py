#!/usr/bin/env python3
"""Computes chat-file.json from the text of 02-chat-file.md alone.

Needs cryptography. Usage: python3 chat_file.py > chat-file.json
"""

import base64
import hashlib
import json
import urllib.parse

from identity import unkeyed
from key_schedule import ed25519_public, schedule
from moves import move

FOUNDER = ed25519_public(b"\x07" * 32)


def bencode(value):
    """BEP 3."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    entries = sorted((key.encode(), entry) for key, entry in value.items())
    return b"d" + b"".join(bencode(key) + bencode(entry) for key, entry in entries) + b"e"


def checked(label, content):
    """Base32 of the content and its four-byte checksum."""
    state = hashlib.blake2b(digest_size=4)
    state.update(bytes([len(label)]) + label.encode())
    state.update(len(content).to_bytes(4, "big") + content)
    return base64.b32encode(content + state.digest()).decode().rstrip("=").lower()


def link(file, tiers):
    """The link that says the same as the file."""
    channel = file["channel"]
    label = "bitchat v1 channel link checksum"
    parameters = [("v", "1"), ("name", file["name"]), ("kind", channel["kind"])]
    parameters.append(("rotation", channel["rotation"]))
    if "secret" in channel:
        parameters.append(("secret", checked(label, channel["secret"])))
    else:
        parameters.append(("seed", checked(label, channel["seed"] + channel["public"])))
    if "founder" in channel:
        parameters.append(("founder", checked("bitchat v1 peer id checksum", channel["founder"])))
    if "lineage" in channel:
        parameters.append(("lineage", checked(label, channel["lineage"])))
        parameters.append(("admission", channel["admission"]))
    if "move" in channel:
        parameters.append(("move", checked(label, channel["move"])))
    parameters += [("tr", " ".join(tier)) for tier in tiers]
    for host, port in file.get("nodes", []):
        parameters.append(("node", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
    quoted = [f"{key}={urllib.parse.quote(value, safe='-._~:/')}" for key, value in parameters]
    return "bitchat:channel?" + "&".join(quoted)


def case(about, file, tiers):
    """One case of the vectors."""
    return {
        "about": about,
        "file": bencode(file).hex(),
        "link": link(file, tiers),
    }


if __name__ == "__main__":
    secret = bytes(range(32))
    keys = {k: bytes.fromhex(v) for k, v in schedule(secret).items() if isinstance(v, str)}
    infohash = bytes.fromhex(schedule(secret)["infohash"]["0"])
    seeds = {"seed": keys["seed_key"], "public": keys["channel_public_key"]}
    tiers = [
        ["udp://tracker.example:6969/announce", "udp://127.0.0.1:6969/announce"],
        ["https://tracker.example/announce?a=b&c=d"],
    ]
    nodes = [["router.example", 6881], ["2001:db8::1", 6882]]
    common = {"version": 1, "kind": "open"}

    least = {"name": "team", "channel": common | {"rotation": "daily", "secret": secret}}
    full = {
        "announce": tiers[0][0],
        "announce-list": tiers,
        "nodes": nodes,
        "name": "Zoë & friends",
        "infohash": infohash,
        "channel": common | {"rotation": "fixed", "secret": secret, "founder": FOUNDER},
    }
    seeder = full | {"channel": common | seeds | {"rotation": "fixed", "founder": FOUNDER}}
    future = {
        "announce": "http://127.0.0.1:6969/announce",
        "comment": "for a later version",
        "zeta": [{"b": -1, "a": b"\xff\x00"}, []],
        "name": "team",
        "channel": least["channel"] | {"policy": {"a": 0}},
    }
    lineage = unkeyed("bitchat v1 channel lineage", FOUNDER, keys["channel_id"], size=32)
    charter = {"kind": "closed", "founder": FOUNDER, "lineage": lineage, "admission": "tickets"}
    closed = least | {"channel": least["channel"] | charter}
    before = bytes.fromhex(schedule(bytes(range(32, 64)))["channel_id"])
    lineage = unkeyed("bitchat v1 channel lineage", FOUNDER, before, size=32)
    word = bytes.fromhex(move(b"\x07" * 32, lineage, before, secret, [b"\x01" * 32])["move"])
    moved = least | {"channel": closed["channel"] | {"lineage": lineage, "move": word}}
    cases = [
        case("least: a member's file, daily, nowhere to ask", least, []),
        case("full: a member's file, fixed, trackers, nodes, founder", full, tiers),
        case("seeder: the same channel for a seeder", seeder, tiers),
        case("future: unknown keys", future, [[future["announce"]]]),
        case("closed: founder, lineage and policy", closed, []),
        case("moved: a closed channel that took the place of another", moved, []),
    ]
    print(json.dumps({"secret": secret.hex(), "cases": cases}, indent=2))
