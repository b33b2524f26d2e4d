# Transmission 4.1.0 beta 2 as packaged by Debian 13, from a capture of its announces.
# One `key = value` a line; protocol/src/tracker/disguise/mod.rs explains each key.

name = Transmission 4.1.0-beta2
default-weight = 0

# 20 bytes; the last one makes the sum of the base-36 digits a multiple of 36.
peer-id-prefix = -TR410B-
peer-id-alphabet = 0123456789abcdefghijklmnopqrstuvwxyz
peer-id-check = sum

# In UDP announces the same number.
key-bits = 32
key-digits = 0123456789ABCDEF
key-padded = yes
key-scope = channel

request-line = GET {target} HTTP/1.1
query = info_hash={info_hash}&peer_id={peer_id}&port={port}&uploaded=0&downloaded=0&left={left}&numwant={numwant}&key={key}&compact=1&supportcrypto=1&event={event}&trackerid={trackerid}
escape-literal = 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~
escape-digits = 0123456789ABCDEF
# It sends the tracker's own word back raw; what could split the request or begin a fragment is not here.
trackerid-literal = !"$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefghijklmnopqrstuvwxyz{|}~

# In this order and case, as libcurl writes them.
header = Host: {host}
header = Authorization: Basic {authorization}
header = User-Agent: Transmission/4.1.0-beta.2
header = Accept: */*
header = Accept-Encoding: deflate, gzip, br, zstd
header = Referer: {referer}

# libcurl uses a connection again that was idle for at most 118 seconds.
http-families = both
http-keep-alive = 118
http-timeout = 45
http-idle-timeout = 45
# libcurl follows without end; this is our bound.
redirects-max = 10

# One connect request for all torrents that need it, waited for half a minute and the beat of its timer.
udp-connect-shared = yes
udp-families = both
udp-url-option = no
udp-timeouts = 36
udp-connection-lifetime = 45

# A magnet link whose metadata never came: 2^63 - 1.
left = 9223372036854775807
numwant = 80
numwant-stopped = 0

every-tier = yes

interval-default = 600
interval-min = 120
# Refused or silent over UDP: nothing within 838 s after the second failure, so the third step.
# No connection: 20 s, then 317 s were seen, later ones are its published table.
retry = 20 300+60 900+60 1800+60 3600+60 7200+60
retry-udp = 20 900+60 1800+60 3600+60 7200+60
retry-refused = 20 900+60 1800+60 3600+60 7200+60
stopped-to = announced
stopped-timeout = 5
tick = 500
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
lan-announce = yes
lan-hex = upper
lan-cookie = alphanumeric 12
# Every minute a look at what is due after 300 s.
lan-rhythm = together 60 300
lan-voices = interface
lan-hops = 1
