# qBittorrent 5.1.0 (libtorrent 2.0.11) as packaged by Debian 13, from a capture of its announces.
# One `key = value` a line. docs: protocol/src/tracker/disguise/mod.rs

name = qBittorrent 5.1.0

# 20 bytes: this prefix, the rest drawn from this alphabet; nothing in it is ever escaped.
peer-id-prefix = -qB5100-
peer-id-alphabet = 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!()*-._~

# The announce key: 32 bits, in HTTP as 8 of these digits.
key-digits = 0123456789ABCDEF

# What stands for itself in a query; everything else becomes % and two of these digits.
escape-literal = 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!()*-._~
escape-digits = 0123456789abcdef

# A pair whose placeholder has no value is left out.
query = info_hash={info_hash}&peer_id={peer_id}&port={port}&uploaded=0&downloaded=0&left={left}&corrupt=0&key={key}&event={event}&numwant={numwant}&compact=1&no_peer_id=1&supportcrypto=1&redundant=0&trackerid={trackerid}

# In this order and case; a line whose placeholder has no value is left out.
header = Host: {host}
header = User-Agent: qBittorrent/5.1.0
header = Accept-Encoding: gzip
header = Authorization: Basic {authorization}
header = Connection: close

# A magnet link whose metadata never came: not a seed, and never complete.
left = 16384
numwant = 200
numwant-stopped = 0

# UDP trackers: the path and query follow the announce (BEP 41).
udp-url-option = yes

# A tracker of every tier, the first that works of each.
every-tier = yes

# Seconds.
interval-default = 1800
interval-min = 300
retry-first = 5
retry-max = 3600
http-timeout = 30
http-idle-timeout = 10
stopped-timeout = 5
udp-timeout = 10
udp-connection-lifetime = 60

# The n-th failure in a row waits retry-first * (1 + n * n * this / 100) seconds, rounded down.
retry-growth-percent = 250

redirects-max = 5
