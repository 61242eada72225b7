//! Why a handshake failed, in words for the person who has to do something about it.

use rustls::{AlertDescription, CertificateError, Error};
use std::fmt;
use std::io;

/// What a failed handshake means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The peer's certificate comes from another authority.
    Stranger,
    /// A certificate is over, or a clock is wrong.
    Expired,
    /// The peer is not who it should be, or its certificate may not be used for this.
    Impostor,
    /// The other side does not take our certificate.
    Unwelcome,
    /// The other side does not speak TLS 1.3 and HTTP/2.
    Protocol,
}

impl Refusal {
    /// What an error of a handshake means; `None` when it is not about TLS.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        match error.get_ref()?.downcast_ref::<Error>()? {
            Error::InvalidCertificate(fault) => Some(match fault {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Stranger,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                _ => Self::Impostor,
            }),
            Error::AlertReceived(AlertDescription::CertificateExpired) => Some(Self::Expired),
            Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::NoApplicationProtocol) => Some(Self::Protocol),
            Error::AlertReceived(_) => Some(Self::Unwelcome),
            Error::NoCertificatesPresented => Some(Self::Impostor),
            _ => Some(Self::Protocol),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stranger => "its certificate is from another authority: is this the controller of your fleet?",
            Self::Expired => "a certificate is not valid at this time: compare the clocks of both machines, or enroll again",
            Self::Impostor => "it is not a controller of your fleet",
            Self::Unwelcome => "it does not take the certificate of this side: enroll or log in again",
            Self::Protocol => "it does not speak TLS 1.3 with HTTP/2: is this the port of a Roadstead controller?",
        })
    }
}
