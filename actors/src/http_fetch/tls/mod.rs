//! TLS to a tracker, by one of two libraries, chosen when the program is built.
//!
//! | feature `tls-openssl` | library | trusts | its greeting (ClientHello) is |
//! |---|---|---|---|
//! | off | rustls, part of the program | Mozilla's list, part of the program | no BitTorrent client's |
//! | on | the system's OpenSSL | what the system trusts | that of libtorrent with the same OpenSSL |
//!
//! Both check the certificate and the name in it, and call what is wrong by the same words. Each is
//! a `Connector`: `new`, `trusting`, `connect`.

#[cfg(feature = "tls-openssl")]
mod with_openssl;
#[cfg(not(feature = "tls-openssl"))]
mod with_rustls;

#[cfg(feature = "tls-openssl")]
pub(super) use self::with_openssl::Connector;
#[cfg(not(feature = "tls-openssl"))]
pub(super) use self::with_rustls::Connector;

/// Why a tracker's certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// None of its names is the one that was asked for. They are not repeated: a stranger wrote them.
    #[error("it is for another name")]
    OtherName,
    /// Its time is over by our clock, or that of an authority above it.
    #[error("it has expired, or the clock of this machine is wrong")]
    Expired,
    /// Its time has not come by our clock, or that of an authority above it.
    #[error("it is not valid yet, or the clock of this machine is wrong")]
    NotValidYet,
    /// No chain leads from it to an authority that we trust; it may have signed itself.
    #[error("no authority that we trust has issued it")]
    UnknownIssuer,
    /// Anything else, in the library's words.
    #[error("{0}")]
    Other(String),
}
