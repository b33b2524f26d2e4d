//! TLS by the system's OpenSSL, used as libtorrent uses it: all defaults, no ALPN, the host's name
//! in the greeting even where it is an address. So the greeting is libtorrent's on this system, with
//! whatever its version and its configuration (`openssl.cnf`) make of it.
//!
//! Stricter than libtorrent, which cannot be seen from outside: only names in the certificate's
//! list of names count, not the old common name, and `w*.example` is no wildcard. Sessions are not
//! resumed, as there.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::ssl::{
    self, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslVerifyMode,
};
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509, X509VerifyResult};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::CertificateFault;
use crate::http_fetch::{FetchError, Wire};

/// Results of a verification, of OpenSSL's `x509_vfy.h`.
mod verify_result {
    pub(super) const ISSUER_NOT_FOUND: i32 = 2;
    /// By somebody who only calls himself like an authority that we trust.
    pub(super) const BAD_SIGNATURE: i32 = 7;
    pub(super) const NOT_VALID_YET: i32 = 9;
    pub(super) const EXPIRED: i32 = 10;
    pub(super) const SELF_SIGNED: i32 = 18;
    pub(super) const SELF_SIGNED_IN_CHAIN: i32 = 19;
    pub(super) const ISSUER_NOT_FOUND_HERE: i32 = 20;
    pub(super) const SIGNER_NOT_FOUND: i32 = 21;
    pub(super) const OTHER_NAME: i32 = 62;
    pub(super) const OTHER_ADDRESS: i32 = 64;
}

/// Makes connections secure; clones share one context.
#[derive(Clone)]
pub(in crate::http_fetch) struct Connector {
    /// An OpenSSL that cannot even begin must not stop a node that has other trackers: each HTTPS
    /// tracker fails and says why.
    context: Result<SslContext, ErrorStack>,
}

impl Connector {
    pub(in crate::http_fetch) fn new() -> Self {
        Self { context: context(SslContextBuilder::set_default_verify_paths) }
    }

    pub(in crate::http_fetch) fn trusting(authorities: &[&[u8]]) -> io::Result<Self> {
        let context = context(|builder| {
            for authority in authorities {
                builder.cert_store_mut().add_cert(X509::from_der(authority)?)?;
            }
            Ok(())
        })?;
        Ok(Self { context: Ok(context) })
    }

    /// Makes a connection secure if the other side proves to be `host`, a name or an address.
    pub(in crate::http_fetch) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<Wire, FetchError> {
        let unusable = |error: ErrorStack| FetchError::Tls(error.into());
        let context = self.context.as_ref().map_err(|error| unusable(error.clone()))?;
        let ssl = session(context, host)?;
        let mut stream = SslStream::new(ssl, stream).map_err(unusable)?;
        match Pin::new(&mut stream).connect().await {
            Ok(()) => Ok(Box::new(stream)),
            Err(error) => Err(failure(error, stream.ssl().verify_result())),
        }
    }
}

fn context(
    trust: impl FnOnce(&mut SslContextBuilder) -> Result<(), ErrorStack>,
) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContext::builder(SslMethod::tls_client())?;
    trust(&mut builder)?;
    builder.set_verify(SslVerifyMode::PEER);
    // Some trackers close without a farewell; the response itself tells whether it is whole.
    builder.set_options(SslOptions::IGNORE_UNEXPECTED_EOF);
    Ok(builder.build())
}

fn session(context: &SslContext, host: &str) -> Result<Ssl, FetchError> {
    // OpenSSL takes strings that end with a zero.
    if host.contains('\0') {
        return Err(FetchError::Tls(io::ErrorKind::InvalidInput.into()));
    }
    let new = || {
        let mut ssl = Ssl::new(context)?;
        ssl.set_hostname(host)?;
        let expected = ssl.param_mut();
        expected.set_hostflags(
            X509CheckFlags::NO_PARTIAL_WILDCARDS | X509CheckFlags::NEVER_CHECK_SUBJECT,
        );
        match host.parse::<IpAddr>() {
            Ok(address) => expected.set_ip(address)?,
            Err(_) => expected.set_host(host)?,
        }
        Ok(ssl)
    };
    new().map_err(|error: ErrorStack| FetchError::Tls(error.into()))
}

fn failure(error: ssl::Error, verified: X509VerifyResult) -> FetchError {
    if verified != X509VerifyResult::OK {
        return FetchError::Certificate(fault(verified));
    }
    FetchError::Tls(error.into_io_error().unwrap_or_else(io::Error::other))
}

fn fault(verified: X509VerifyResult) -> CertificateFault {
    match verified.as_raw() {
        verify_result::OTHER_NAME | verify_result::OTHER_ADDRESS => CertificateFault::OtherName,
        verify_result::EXPIRED => CertificateFault::Expired,
        verify_result::NOT_VALID_YET => CertificateFault::NotValidYet,
        verify_result::BAD_SIGNATURE
        | verify_result::ISSUER_NOT_FOUND
        | verify_result::ISSUER_NOT_FOUND_HERE
        | verify_result::SELF_SIGNED
        | verify_result::SELF_SIGNED_IN_CHAIN
        | verify_result::SIGNER_NOT_FOUND => CertificateFault::UnknownIssuer,
        _ => CertificateFault::Other(verified.error_string().to_owned()),
    }
}
