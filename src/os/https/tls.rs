//! TLS by rustls, as ureq's own connector does it, but for the clock that judges certificates:
//! ureq's is always the system's, which may be wrong.

use std::fmt;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme, StreamOwned,
};
use ureq::Error;
use ureq::tls::{PemItem, parse_pem};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use super::{CertificatesError, TrustedCertificates};
use crate::os::clock::Clock;
use crate::time::UtcMillis;

/// Puts TLS over connections to `https://`.
#[derive(Debug)]
pub(in crate::os) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Certificates are judged at the time of `clock`.
    pub(in crate::os) fn new(
        trusted: &TrustedCertificates,
        clock: Clock,
    ) -> Result<Self, CertificatesError> {
        let roots = roots(trusted)?;
        let config = ClientConfig::builder_with_details(provider(), Arc::new(Now(clock)))
            .with_protocol_versions(ALL_VERSIONS)
            .map_err(|_| CertificatesError::Unusable)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Certificates are kept, to be judged when the time is known.
    pub(in crate::os) fn judged_later(
        trusted: &TrustedCertificates,
    ) -> Result<(Self, Arc<JudgedLater>), CertificatesError> {
        let judge =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots(trusted)?), provider());
        let later = Arc::new(JudgedLater {
            judge: judge.build().map_err(|_| CertificatesError::Unusable)?,
            shown: Mutex::default(),
        });
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(ALL_VERSIONS)
            .map_err(|_| CertificatesError::Unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&later) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        Ok((Self(Arc::new(config)), later))
    }
}

impl<In: Transport> Connector<In> for Tls {
    type Out = Either<In, Encrypted>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let name = ServerName::try_from(bare.unwrap_or(host))
            .map_err(|_| Error::Tls("the host's name is none that a certificate can have"))?;
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name.to_owned())?;
        let clock = Arc::clone(&details.current_time);
        let mut below = TransportAdapter::new(transport.boxed(), clock);
        below.set_timeout(details.timeout);
        connection.complete_io(&mut below)?;
        Ok(Some(Either::B(Encrypted {
            stream: StreamOwned::new(connection, below),
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
        })))
    }
}

/// A connection with TLS.
pub(in crate::os) struct Encrypted {
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    buffers: LazyBuffers,
}

impl Transport for Encrypted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.get_mut().set_timeout(timeout);
        let read = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Encrypted")
            .field(self.stream.sock.inner())
            .finish()
    }
}

/// A clock, as rustls asks for it.
#[derive(Debug)]
struct Now(Clock);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        unix_time(self.0.utc_now())
    }
}

/// Takes the chain that the server shows, and checks at once that the server has its key: the
/// handshake's signatures. The chain itself is judged by [`JudgedLater::judge`].
#[derive(Debug)]
pub(in crate::os) struct JudgedLater {
    judge: Arc<WebPkiServerVerifier>,
    shown: Mutex<Option<Shown>>,
}

#[derive(Debug)]
struct Shown {
    server: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
}

impl JudgedLater {
    /// Whether the chain of the last handshake is good at `utc`.
    pub(in crate::os) fn judge(&self, utc: UtcMillis) -> Result<(), rustls::Error> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown
            .as_ref()
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        let at = unix_time(utc).ok_or(rustls::Error::FailedToGetCurrentTime)?;
        let intermediates = &shown.intermediates;
        self.judge
            .verify_server_cert(&shown.server, intermediates, &shown.name, &[], at)
            .map(|_| ())
    }
}

impl ServerCertVerifier for JudgedLater {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let owned = |certificate: &CertificateDer<'_>| certificate.clone().into_owned();
        let shown = Shown {
            server: owned(end_entity),
            intermediates: intermediates.iter().map(owned).collect(),
            name: server_name.to_owned(),
        };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(trusted: &TrustedCertificates) -> Result<RootCertStore, CertificatesError> {
    let TrustedCertificates::Pem(pem) = trusted else {
        return Ok(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        });
    };
    let mut certificates = Vec::new();
    for (i, item) in parse_pem(pem).enumerate() {
        let item = item.map_err(|_| CertificatesError::Broken(i + 1))?;
        if let PemItem::Certificate(certificate) = item {
            certificates.push(CertificateDer::from(certificate.der().to_vec()));
        }
    }
    if certificates.is_empty() {
        return Err(CertificatesError::None);
    }
    let mut roots = RootCertStore::empty();
    // With none that can be used no server is trusted, and recording goes on.
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}

fn unix_time(utc: UtcMillis) -> Option<UnixTime> {
    let millis = u64::try_from(utc.0).ok()?;
    Some(UnixTime::since_unix_epoch(Duration::from_millis(millis)))
}
