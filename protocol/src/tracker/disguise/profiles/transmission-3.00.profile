# Transmission 3.00 as packaged by Debian 12, from a capture of its announces.
# One `key = value` a line; protocol/src/tracker/disguise/mod.rs explains each key.

name = Transmission 3.00
default-weight = 0

# 20 bytes; the last one makes the sum of the base-36 digits a multiple of 36.
peer-id-prefix = -TR3000-
peer-id-alphabet = 0123456789abcdefghijklmnopqrstuvwxyz
peer-id-check = sum

# In UDP announces the same number.
key-bits = 31
key-digits = 0123456789abcdef
key-padded = no
key-scope = session

request-line = GET {target} HTTP/1.1
query = info_hash={info_hash}&peer_id={peer_id}&port={port}&uploaded=0&downloaded=0&left={left}&numwant={numwant}&key={key}&compact=1&supportcrypto=1&event={event}&trackerid={trackerid}&ipv6={ipv6}
escape-literal = 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~
escape-digits = 0123456789abcdef
# It sends the tracker's own word back raw; what could split the request or begin a fragment is not here.
trackerid-literal = !"$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefghijklmnopqrstuvwxyz{|}~

# In this order and case, as libcurl writes them.
header = Host: {host}
header = Authorization: Basic {authorization}
header = User-Agent: Transmission/3.00
header = Accept: */*
header = Accept-Encoding: deflate, gzip, br, zstd
header = Referer: {referer}

# libcurl uses a connection again that was idle for at most 118 seconds.
http-families = ipv6-first
http-keep-alive = 118
http-timeout = 90
http-idle-timeout = 90
# libcurl follows without end; this is our bound.
redirects-max = 10

# One connect request for all torrents that need it, waited for a minute and the beat of its timer; over IPv4 alone.
udp-connect-shared = yes
udp-families = ipv4
udp-url-option = no
udp-timeouts = 62
udp-connection-lifetime = 60

# A magnet link whose metadata never came: 2^63 - 1.
left = 9223372036854775807
numwant = 80
numwant-stopped = 0

every-tier = yes

interval-default = 600
interval-min = 120
# After 2 failures 322 to 355 s were seen, later ones are its published table.
retry = 20 300+60 900+60 1800+60 3600+60 7200+60
retry-udp = 20 300+60 900+60 1800+60 3600+60 7200+60
retry-refused = 20 300+60 900+60 1800+60 3600+60 7200+60
stopped-to = asked
stopped-timeout = 5
tick = 1000
# Torrents of one start were seen 0.4 to 1 s apart.
start-spacing = 400+600

# Its own port, else one of those from which it draws when told to.
ports = 51413 49152-65535

# No `v` in its DHT messages.
dht-transactions = tagged
dht-queries = classic
dht-bootstrap-mark = no
dht-implied-port = no
dht-seed = no
dht-token-bytes = 8
dht-answers-ip = no
dht-answers-port = no
dht-secure-ids = no
dht-one-id = yes
dht-announce-interval = 1680
dht-announce-gap = 4
dht-announce-nodes = 8
dht-refresh-interval = 15
lan-announce = no
