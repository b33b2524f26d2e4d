//! Datagram -> message.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bencode::{self, Value};
use crate::limits::{
    DHT_DATAGRAM_BYTES_MAX, DHT_NODES_PER_ANSWER_MAX, DHT_PEERS_PER_ANSWER_MAX,
    DHT_TOKEN_BYTES_MAX, DHT_TRANSACTION_BYTES_MAX,
};

use crate::tracker::announcer::Family;

use super::super::node_id::{ID_BYTES, NodeId};
use super::{Body, Contact, DecodeError, Message, Query, Refusal, Request, Response, Want};

/// Bytes of an address and a port in compact form (BEP 5, "Contact Encoding"; BEP 32).
const PEER_V4_BYTES: usize = 6;
const PEER_V6_BYTES: usize = 18;
const NODE_V4_BYTES: usize = ID_BYTES + PEER_V4_BYTES;
const NODE_V6_BYTES: usize = ID_BYTES + PEER_V6_BYTES;

/// Reads one datagram.
///
/// Keys may stand in any order; unknown ones are ignored, and so is what is wrong in an optional one.
///
/// # Errors
///
/// [`DecodeError`]: whatever libtorrent leaves without an answer.
pub fn decode(datagram: &[u8]) -> Result<Message<'_>, DecodeError> {
    if datagram.len() > DHT_DATAGRAM_BYTES_MAX {
        return Err(DecodeError::TooLong);
    }
    let value = bencode::decode(datagram).map_err(|_| DecodeError::NotADictionary)?;
    if value.as_dict().is_none() {
        return Err(DecodeError::NotADictionary);
    }
    let transaction = bytes(&value, b"t").unwrap_or_default();
    if transaction.len() > DHT_TRANSACTION_BYTES_MAX {
        return Err(DecodeError::Transaction);
    }
    let body = match bytes(&value, b"y") {
        Some(b"q") => query(&value),
        Some(b"r") => Body::Response(response(&value)?),
        Some(b"e") => error(&value),
        Some(_) | None => return Err(DecodeError::UnknownKind),
    };
    Ok(Message { transaction, body })
}

fn query<'a>(message: &Value<'a>) -> Body<'a> {
    let Some(name) = bytes(message, b"q") else { return Body::BadQuery(Refusal::Missing("q")) };
    let arguments = match message.get(b"a") {
        Some(arguments) if arguments.as_dict().is_some() => arguments,
        Some(_) | None => return Body::BadQuery(Refusal::Missing("a")),
    };
    match id(arguments, b"id", "id") {
        Ok(id) => {
            let read_only = message.get(b"ro").and_then(Value::as_int).is_some_and(|ro| ro != 0);
            Body::Query(Query { id, read_only, request: request(name, arguments) })
        }
        Err(refusal) => Body::BadQuery(refusal),
    }
}

fn request<'a>(name: &[u8], arguments: &Value<'a>) -> Result<Request<'a>, Refusal> {
    let want = want(arguments);
    match name {
        b"ping" => Ok(Request::Ping),
        b"find_node" => Ok(Request::FindNode { target: id(arguments, b"target", "target")?, want }),
        b"get_peers" => {
            Ok(Request::GetPeers { infohash: id(arguments, b"info_hash", "info_hash")?, want })
        }
        b"announce_peer" => announce_peer(arguments),
        b"sample_infohashes" => {
            Ok(Request::SampleInfohashes { target: id(arguments, b"target", "target")?, want })
        }
        b"get" => Ok(Request::Get { target: id(arguments, b"target", "target")?, want }),
        // Whatever it is: it has a target, so nodes near it will help (libtorrent does so).
        _ => id(arguments, b"target", "target")
            .or_else(|_| id(arguments, b"info_hash", "info_hash"))
            .map(|target| Request::FindNode { target, want })
            .map_err(|_| Refusal::UnknownQuery),
    }
}

fn announce_peer<'a>(arguments: &Value<'a>) -> Result<Request<'a>, Refusal> {
    let infohash = id(arguments, b"info_hash", "info_hash")?;
    let port = arguments.get(b"port").and_then(Value::as_int).ok_or(Refusal::Missing("port"))?;
    let token = bytes(arguments, b"token").ok_or(Refusal::Missing("token"))?;
    let implied = arguments.get(b"implied_port").and_then(Value::as_int).is_some_and(|it| it != 0);
    let port = if implied { None } else { Some(u16::try_from(port).map_err(|_| Refusal::Port)?) };
    Ok(Request::AnnouncePeer { infohash, port, token })
}

fn want(arguments: &Value<'_>) -> Want {
    let mut want = Want::default();
    let named = arguments.get(b"want").and_then(Value::as_list).unwrap_or_default();
    for name in named {
        match name.as_bytes() {
            Some(b"n4") => want.v4 = true,
            Some(b"n6") => want.v6 = true,
            Some(_) | None => {}
        }
    }
    want
}

fn response<'a>(message: &Value<'a>) -> Result<Response<'a>, DecodeError> {
    let values = message.get(b"r").ok_or(DecodeError::NoId)?;
    let id = id(values, b"id", "id").map_err(|_| DecodeError::NoId)?;
    let nodes = |key: &[u8], family| {
        nodes_of(bytes(values, key).unwrap_or_default(), family, DHT_NODES_PER_ANSWER_MAX)
    };
    let nodes = nodes(b"nodes", Family::V4).chain(nodes(b"nodes6", Family::V6)).collect();
    let peers = values.get(b"values").and_then(Value::as_list).unwrap_or_default();
    let peers = peers.iter().filter_map(Value::as_bytes).filter_map(address);
    Ok(Response {
        id,
        nodes,
        peers: peers.take(DHT_PEERS_PER_ANSWER_MAX).collect(),
        token: bytes(values, b"token").filter(|token| token.len() <= DHT_TOKEN_BYTES_MAX),
        seen_as: seen_as(message),
    })
}

fn error<'a>(message: &Value<'a>) -> Body<'a> {
    let list = message.get(b"e").and_then(Value::as_list).unwrap_or_default();
    Body::Error {
        code: list.first().and_then(Value::as_int).unwrap_or_default(),
        text: list.get(1).and_then(Value::as_bytes).unwrap_or_default(),
        seen_as: seen_as(message),
    }
}

fn seen_as(message: &Value<'_>) -> Option<SocketAddr> {
    bytes(message, b"ip").and_then(address)
}

fn bytes<'a>(dictionary: &Value<'a>, key: &[u8]) -> Option<&'a [u8]> {
    dictionary.get(key).and_then(Value::as_bytes)
}

fn id(dictionary: &Value<'_>, key: &[u8], name: &'static str) -> Result<NodeId, Refusal> {
    let bytes = bytes(dictionary, key).ok_or(Refusal::Missing(name))?;
    bytes.try_into().map(NodeId).map_err(|_| Refusal::Invalid(name))
}

/// Takes whole entries, `count` at most; an incomplete last one is ignored.
pub(in crate::dht) fn nodes_of(
    list: &[u8],
    family: Family,
    count: usize,
) -> impl Iterator<Item = Contact> {
    let bytes = match family {
        Family::V4 => NODE_V4_BYTES,
        Family::V6 => NODE_V6_BYTES,
    };
    let native = move |it: &Contact| Family::of(it.address.ip()) == family;
    list.chunks_exact(bytes).take(count).filter_map(contact).filter(native)
}

fn contact(entry: &[u8]) -> Option<Contact> {
    let (id, rest) = entry.split_first_chunk::<ID_BYTES>()?;
    Some(Contact { id: NodeId(*id), address: address(rest)? })
}

fn address(compact: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = compact.split_last_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    if let Ok(ip) = <[u8; PEER_V4_BYTES - 2]>::try_from(ip) {
        return Some((Ipv4Addr::from(ip), port).into());
    }
    <[u8; PEER_V6_BYTES - 2]>::try_from(ip).ok().map(|ip| {
        // An IPv4 address mapped into IPv6 is an IPv4 address.
        SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port)
    })
}
