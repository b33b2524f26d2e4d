//! Wrong answers over HTTP.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{VENOM, compact};

/// What an HTTP tracker does to whoever asks it.
#[derive(Debug, Clone)]
pub enum HttpFault {
    /// Bytes that are no HTTP.
    Garbage,
    /// A page for people, with the status 200.
    Html,
    /// A refusal whose reason commands the terminal.
    Venom,
    /// A redirect to the same address.
    RedirectToItself,
    /// A small body that becomes 64 MiB.
    GzipBomb,
    /// A `Content-Length` beyond the body, then the end of the connection.
    CutShort,
    /// Not one byte, on a connection that stays.
    Silence,
    /// A head without end.
    EndlessHead,
    /// Ten thousand peers, the asking node and port 0 among them, and these first.
    TenThousandPeers(Vec<SocketAddr>),
}

/// Reads a request and answers it; the connection, if it is to stay.
pub(super) fn mistreat(mut stream: TcpStream, fault: &HttpFault) -> io::Result<TcpStream> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let request = read_request(&mut stream)?;
    match fault {
        HttpFault::Garbage => stream.write_all(&[VENOM, &[0x80; 500]].concat())?,
        HttpFault::Html => respond(&mut stream, "", b"<html><body>Welcome!</body></html>")?,
        HttpFault::Venom => {
            let head = format!("d14:failure reason{}:", VENOM.len());
            respond(&mut stream, "", &[head.as_bytes(), VENOM, b"e"].concat())?;
        }
        HttpFault::RedirectToItself => {
            let at = stream.local_addr()?;
            write!(stream, "HTTP/1.1 302 Found\r\nLocation: http://{at}/announce\r\n\r\n")?;
        }
        HttpFault::GzipBomb => {
            respond(&mut stream, "Content-Encoding: gzip\r\n", &gzip_bomb()?)?;
        }
        HttpFault::CutShort => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nd8:interval")?;
        }
        HttpFault::Silence => return Ok(stream),
        HttpFault::EndlessHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            // A megabyte, far beyond what a node reads, and no end to it.
            for line in 0..20_000 {
                write!(stream, "X-Header-{line}: and so on, without an end\r\n")?;
            }
        }
        HttpFault::TenThousandPeers(first) => {
            respond(&mut stream, "", &ten_thousand_peers(first, &request))?;
        }
    }
    stream.shutdown(Shutdown::Write)?;
    // Until the other side has closed too: data that nobody read would make the end a reset.
    stream.read_to_end(&mut Vec::new())?;
    Ok(stream)
}

fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}

fn respond(stream: &mut TcpStream, headers: &str, body: &[u8]) -> io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)
}

fn gzip_bomb() -> io::Result<Vec<u8>> {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        bomb.write_all(&[b'd'; 1024 * 1024])?;
    }
    bomb.finish()
}

/// A bencoded answer. Those that are nobody are on loopback, at the port for discarding.
fn ten_thousand_peers(first: &[SocketAddr], request: &str) -> Vec<u8> {
    let port = request.split("&port=").nth(1).and_then(|rest| rest.split('&').next());
    let asking = port.and_then(|port| port.parse().ok()).unwrap_or(0);
    let oneself = SocketAddr::from((Ipv4Addr::LOCALHOST, asking));
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let nobody = (0..=u8::MAX).flat_map(|c| {
        (0..=u8::MAX).map(move |d| SocketAddr::from((Ipv4Addr::new(127, 1, c, d), 9)))
    });
    let list = first.iter().copied().chain([oneself, nowhere, oneself]).chain(nobody);
    let compact: Vec<u8> = list.take(10_000).flat_map(compact).collect();
    let head = format!("d8:intervali1800e5:peers{}:", compact.len());
    [head.as_bytes(), &compact, b"e"].concat()
}
