# libtorrent 2.0.8 with its own defaults, as packaged by Debian 12, from a capture of its announces.
# One `key = value` a line; protocol/src/tracker/disguise/mod.rs explains each key.

name = libtorrent 2.0.8
default-weight = 0

# 20 bytes; nothing in them is ever escaped.
peer-id-prefix = -LT0100-
peer-id-alphabet = 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!()*-._~
peer-id-check = none

# In UDP announces the same number.
key-bits = 32
key-digits = 0123456789ABCDEF
key-padded = yes
key-scope = channel

request-line = GET {target} HTTP/1.1
query = info_hash={info_hash}&peer_id={peer_id}&port={port}&uploaded=0&downloaded=0&left={left}&corrupt=0&key={key}&event={event}&numwant={numwant}&compact=1&no_peer_id=1&supportcrypto=1&redundant=0&trackerid={trackerid}
escape-literal = 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!()*-._~
escape-digits = 0123456789abcdef
trackerid-literal = 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!()*-._~

# In this order and case.
header = Host: {host}
header = User-Agent: libtorrent/2.0.8.0
header = Accept-Encoding: gzip
header = Authorization: Basic {authorization}
header = Connection: close

http-families = both
http-keep-alive = 0
http-timeout = 30
http-idle-timeout = 10
redirects-max = 5

# One connect request an attempt, never repeated; the first attempt waits longer.
udp-connect-shared = no
udp-families = both
udp-url-option = yes
udp-timeouts = 22 10
udp-connection-lifetime = 60

# A magnet link whose metadata never came: not a seed, and never complete.
left = 16384
numwant = 200
numwant-stopped = 0

every-tier = no

interval-default = 1800
interval-min = 300
# 5 + 12.5 * n * n, rounded down, at most an hour. A refusal without a time: none seen within 900 s.
retry = 17 55 117 205 317 455 617 805 1017 1255 1517 1805 2117 2455 2817 3205 3600
retry-udp = 17 55 117 205 317 455 617 805 1017 1255 1517 1805 2117 2455 2817 3205 3600
retry-refused = 1800
stopped-to = answered
stopped-timeout = 5
tick = 1000
# Its torrents start at once; ours must not, or one burst would show how many channels there are.
start-spacing = 200+800

# The first that is free.
ports = 6881 6882 6883 6884 6885 6886 6887 6888 6889 6890 6891

dht-version = 4c540208
dht-transactions = random 2
# `get_peers` for everything, also to join (marked `bs`) and to keep the table fresh.
dht-queries = get-peers
dht-bootstrap-mark = yes
dht-implied-port = yes
dht-seed = yes
dht-token-bytes = 4
dht-answers-ip = yes
dht-answers-port = yes
dht-secure-ids = yes
dht-one-id = no
dht-announce-interval = 900
dht-announce-gap = 4
dht-announce-nodes = 8
dht-refresh-interval = 5
lan-announce = yes
lan-hex = lower
lan-cookie = hex
# Each torrent every 300 s, the others between; three packets, 2 and 4 s apart.
lan-rhythm = in-turn 300 2 4
lan-voices = address
lan-hops = 32
