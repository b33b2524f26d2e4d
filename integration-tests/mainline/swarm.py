#!/usr/bin/env python3
"""A private Mainline: libtorrent sessions on this machine that know nobody else.

    swarm.py ADDRESS...     127.7.0.1 or fd00:7:0:1::1, say; all of one IP version

Each has an IP address of its own, as most nodes of the real one have: libtorrent and we ourselves
silence an address that asks too much. The first line of output says where they are, in the order of the
addresses, and comes when each knows enough others:

    {"nodes": ["127.7.0.1:20001", ...]}

Then each line of input is a request, and is answered by one line. It ends with its input.

    {"do": "announce", "node": 0, "infohash": "<40 hex>", "within": 20, "port": 4242}
    {"do": "look_up", "node": 0, "infohash": "<40 hex>", "within": 20}
        -> {"asked": 14, "seconds": 0.12, "peers": ["127.0.0.1:4242"]}

`asked`: questions (get_peers) of the look-up; `seconds`: from its start to its end, before the
announces, or null if it has not ended `within` so many seconds: libtorrent waits 15 s for a node that is
no longer there.
"""

import json
import os
import sys
import time

import libtorrent

# Those of each node that it is told of at the start, so many places further on.
NEIGHBOURS = (*range(1, 12), 17, 29, 41, 67, 89)
# With fewer nodes in its table than this, or all there are, a node is not ready.
TABLE_MIN = 8
READY_SECONDS = 30

SETTINGS = {
    "enable_dht": True,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # Nobody outside is ever asked.
    "dht_bootstrap_nodes": "",
    # Loopback addresses are near each other and can have no id that is valid for them.
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_enforce_node_id": False,
    "dht_prefer_verified_node_ids": False,
    "dht_ignore_dark_internet": False,
    # What takes real nodes hours happens here in a second; with the usual 8000 bytes a second answers
    # are left out.
    "dht_upload_rate_limit": 1_000_000,
    # There are many of them in one process.
    "aio_threads": 1,
    "hashing_threads": 1,
    "alert_mask": 0,
}
WATCHED = (
    libtorrent.alert.category_t.dht_log_notification
    | libtorrent.alert.category_t.dht_notification
    | libtorrent.alert.category_t.dht_operation_notification
)


def start(hosts):
    """Starts the sessions and makes each known to some others; with where each is."""
    sessions, addresses, count = [], [], len(hosts)
    for host in hosts:
        session = libtorrent.session({**SETTINGS, "listen_interfaces": spell(host, 0)})
        wait(lambda: session.listen_port() != 0, 5, "a socket")
        sessions.append(session)
        addresses.append((host, session.listen_port()))
    for at, session in enumerate(sessions):
        for step in NEIGHBOURS:
            if step < count:
                session.add_dht_node(addresses[(at + step) % count])
    least = min(TABLE_MIN, count - 1)
    wait(lambda: all(known(it) >= least for it in sessions), READY_SECONDS, "their tables")
    return sessions, addresses


def spell(host, port):
    """An address and a port as one word."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def wait(is_there, seconds, what):
    """Waits for a condition, which libtorrent cannot be asked to tell of."""
    end = time.monotonic() + seconds
    while not is_there():
        if time.monotonic() > end:
            sys.exit(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)


def known(session):
    """Nodes in the routing table."""
    return session.status().dht_nodes


def search(session, infohash, within, begin):
    """Begins a look-up and watches it to its end."""
    target = libtorrent.sha1_hash(bytes.fromhex(infohash))
    session.apply_settings({"alert_mask": WATCHED})
    session.pop_alerts()
    watch = Watch(infohash)
    begin(target)
    end = watch.begun + within
    while not watch.ended and time.monotonic() < end:
        session.wait_for_alert(100)
        for alert in session.pop_alerts():
            watch.take(alert)
    session.apply_settings({"alert_mask": 0})
    return watch.report()


class Watch:
    """What is seen of one look-up."""

    def __init__(self, infohash):
        self.infohash = infohash
        self.begun = time.monotonic()
        self.traversal = None
        self.asked = 0
        self.peers = set()
        self.ended = None

    def take(self, alert):
        """Takes note of an alert, if it is about this look-up."""
        if isinstance(alert, libtorrent.dht_log_alert):
            self.take_log(alert.log_message())
        elif isinstance(alert, libtorrent.dht_get_peers_reply_alert):
            if str(alert.info_hash) == self.infohash:
                self.peers.update(spell(*peer) for peer in alert.peers())

    def take_log(self, line):
        """Takes note of a line of the log: `[NUMBER] NEW target: ...`, `INVOKE`, `DONE`."""
        number, _, rest = line.partition(" ")
        if rest.startswith(f"NEW target: {self.infohash}") and self.traversal is None:
            self.traversal = number
        elif number == self.traversal and rest.startswith("INVOKE"):
            self.asked += 1
        elif number == self.traversal and rest.startswith("get_peers DONE"):
            self.ended = self.ended or time.monotonic()

    def report(self):
        """The answer to the request."""
        seconds = self.ended and round(self.ended - self.begun, 6)
        return {"asked": self.asked, "seconds": seconds, "peers": sorted(self.peers)}


def answer(sessions, request):
    """Does what a line of input asks for."""
    session, infohash = sessions[request["node"]], request["infohash"]
    begin = session.dht_get_peers
    if request["do"] == "announce":
        # Flags 0: the port as it is said here, not the one of the socket.
        begin = lambda target: session.dht_announce(target, request["port"], 0)
    return search(session, infohash, request["within"], begin)


def main():
    """Starts, says where they are, and answers until the input ends."""
    sessions, addresses = start(sys.argv[1:])
    nodes = [spell(*address) for address in addresses]
    print(json.dumps({"nodes": nodes}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(sessions, json.loads(line))), flush=True)
    # Sessions take their time to say good-bye, and nobody is left to hear it.
    os._exit(0)


if __name__ == "__main__":
    main()
