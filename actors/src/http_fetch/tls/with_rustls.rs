//! TLS by rustls over ring: nothing on the system is needed or can weaken it.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use super::CertificateFault;
use crate::http_fetch::{FetchError, Wire};

/// Makes connections secure; clones share the sessions to resume.
#[derive(Clone)]
pub(in crate::http_fetch) struct Connector(TlsConnector);

impl Connector {
    pub(in crate::http_fetch) fn new() -> Self {
        Self::with(RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()))
    }

    pub(in crate::http_fetch) fn trusting(authorities: &[&[u8]]) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(CertificateDer::from(*authority)).map_err(io::Error::other)?;
        }
        Ok(Self::with(roots))
    }

    fn with(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring offers TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// Makes a connection secure if the other side proves to be `host`, a name or an address.
    pub(in crate::http_fetch) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<Wire, FetchError> {
        let bad_name = |error| FetchError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error));
        let name = ServerName::try_from(host.to_owned()).map_err(bad_name)?;
        let stream = self.0.connect(name, stream).await.map_err(failure)?;
        Ok(Box::new(stream))
    }
}

fn failure(error: io::Error) -> FetchError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    if let Some(Error::InvalidCertificate(cause)) = cause {
        return FetchError::Certificate(fault(cause));
    }
    FetchError::Tls(error)
}

fn fault(error: &CertificateError) -> CertificateFault {
    use CertificateError as E;
    if matches!(error, E::NotValidForName | E::NotValidForNameContext { .. }) {
        CertificateFault::OtherName
    } else if matches!(error, E::Expired | E::ExpiredContext { .. }) {
        CertificateFault::Expired
    } else if matches!(error, E::NotValidYet | E::NotValidYetContext { .. }) {
        CertificateFault::NotValidYet
    } else if matches!(error, E::UnknownIssuer | E::BadSignature) || is_authority(error) {
        // A bad signature: by somebody who only calls himself like an authority that we trust.
        CertificateFault::UnknownIssuer
    } else {
        CertificateFault::Other(error.to_string())
    }
}

/// Whether the certificate says that it is an authority's, which is refused before any issuer is
/// looked for. So it is with most that sign themselves: `openssl req -x509` makes such ones.
fn is_authority(error: &CertificateError) -> bool {
    // The type of this error belongs to a crate that rustls does not show.
    matches!(error, CertificateError::Other(cause) if format!("{cause:?}").contains("CaUsedAsEndEntity"))
}
