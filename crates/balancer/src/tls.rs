//! Certificates by name, and the predefined security policies.
//!
//! Source: "Security policies for your Application Load Balancer". Differs from AWS: TLS 1.0 and 1.1, RSA key exchange,
//! CBC suites and finite-field Diffie-Hellman are in no policy here, whatever its name promises to old clients: the TLS
//! library does not have them. A policy offers the part of its list that is left, and says so when described.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SupportedProtocolVersion};

/// Bytes of a certificate chain that are taken at most (AWS: 2 MiB for the chain).
pub const CHAIN_BYTES_MAXIMUM: usize = 2 * 1024 * 1024;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not PEM, or no certificate in it.
    #[error("the certificate is not a PEM-encoded X.509 certificate")]
    Certificate,
    /// Not PEM, or encrypted, or of an unknown kind.
    #[error("the private key is not a PEM-encoded, unencrypted private key")]
    PrivateKey,
    /// They do not belong together, or the algorithm is not known.
    #[error("the private key does not match the certificate")]
    Mismatch(#[source] rustls::Error),
}

/// A certificate with its key, ready to serve.
pub struct Certificate {
    /// Its ARN.
    pub arn: Arc<str>,
    /// The names that it is good for, in lower case; `*.example.com` for one label.
    pub names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("arn", &self.arn)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads PEM texts; `names` are those of the certificate's subject.
    pub fn from_pem(
        arn: &str,
        names: Vec<String>,
        certificate: &[u8],
        chain: &[u8],
        private_key: &[u8],
    ) -> Result<Self, CertificateError> {
        let read = |pem: &[u8]| {
            CertificateDer::pem_slice_iter(pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| CertificateError::Certificate)
        };
        let mut certificates = read(certificate)?;
        if certificates.is_empty() {
            return Err(CertificateError::Certificate);
        }
        certificates.extend(read(chain)?.into_iter().map(CertificateDer::into_owned));
        let private_key =
            PrivateKeyDer::from_pem_slice(private_key).map_err(|_| CertificateError::PrivateKey)?;
        let key = CertifiedKey::from_der(certificates, private_key, &provider::default_provider())
            .map_err(CertificateError::Mismatch)?;
        let names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(Self { arn: arn.into(), names, key: Arc::new(key) })
    }
}

/// Chooses by the name that the client asks for: an exact name, then a wildcard, then the default certificate.
#[derive(Debug)]
struct ByName {
    exact: BTreeMap<String, Arc<Certificate>>,
    wildcard: BTreeMap<String, Arc<Certificate>>,
    default: Arc<Certificate>,
}

impl ByName {
    fn new(certificates: &[Arc<Certificate>]) -> Option<Self> {
        let default = Arc::clone(certificates.first()?);
        let (mut exact, mut wildcard) = (BTreeMap::new(), BTreeMap::new());
        // The default certificate, and earlier ones, win where names meet.
        for certificate in certificates.iter().rev() {
            for name in &certificate.names {
                match name.strip_prefix("*.") {
                    Some(parent) => wildcard.insert(parent.to_owned(), Arc::clone(certificate)),
                    None => exact.insert(name.clone(), Arc::clone(certificate)),
                };
            }
        }
        Some(Self { exact, wildcard, default })
    }

    fn find(&self, name: &str) -> &Arc<Certificate> {
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.exact
            .get(&name)
            .or_else(|| parent.and_then(|parent| self.wildcard.get(parent)))
            .unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificate = hello.server_name().map_or(&self.default, |name| self.find(name));
        Some(Arc::clone(&certificate.key))
    }
}

/// A predefined security policy as it acts here.
#[derive(Clone, Debug)]
pub struct SecurityPolicy {
    /// Its name.
    pub name: &'static str,
    /// `TLSv1.2`, `TLSv1.3`: what is offered.
    pub protocols: &'static [&'static str],
    /// Whether SHA-256/384 suites with RSA and ECDSA certificates of TLS 1.2 are offered.
    pub suites: Vec<&'static str>,
}

const BOTH: &[&str] = &["TLSv1.2", "TLSv1.3"];
const TLS13: &[&str] = &["TLSv1.3"];
const TLS12: &[&str] = &["TLSv1.2"];

/// Names of the policies, with the versions that are left of them.
const POLICIES: &[(&str, &[&str])] = &[
    ("ELBSecurityPolicy-2016-08", TLS12),
    ("ELBSecurityPolicy-FS-1-2-2019-08", TLS12),
    ("ELBSecurityPolicy-FS-1-2-Res-2019-08", TLS12),
    ("ELBSecurityPolicy-FS-1-2-Res-2020-10", TLS12),
    ("ELBSecurityPolicy-TLS-1-2-2017-01", TLS12),
    ("ELBSecurityPolicy-TLS-1-2-Ext-2018-06", TLS12),
    ("ELBSecurityPolicy-TLS13-1-2-2021-06", BOTH),
    ("ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", BOTH),
    ("ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", BOTH),
    ("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", BOTH),
    ("ELBSecurityPolicy-TLS13-1-3-2021-06", TLS13),
];

/// AWS's name of a cipher suite, as OpenSSL writes it for TLS 1.2.
fn suite_name(suite: CipherSuite) -> Option<&'static str> {
    Some(match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        _ => return None,
    })
}

/// The policies that there are, with what each offers.
pub fn security_policies() -> Vec<SecurityPolicy> {
    POLICIES
        .iter()
        .map(|(name, protocols)| SecurityPolicy { name, protocols, suites: suites_of(protocols) })
        .collect()
}

fn suites_of(protocols: &[&str]) -> Vec<&'static str> {
    let suites = provider::ALL_CIPHER_SUITES.iter().filter(|suite| {
        let version = if suite.tls13().is_some() { "TLSv1.3" } else { "TLSv1.2" };
        protocols.contains(&version)
    });
    suites.filter_map(|suite| suite_name(suite.suite())).collect()
}

/// What a TLS listener serves with. `None` where the policy is unknown or there is no certificate.
pub fn server_config(
    policy: &str,
    certificates: &[Arc<Certificate>],
    alpn: &[&str],
) -> Option<Arc<ServerConfig>> {
    let (_, protocols) = POLICIES.iter().find(|(name, _)| *name == policy)?;
    let versions: Vec<&'static SupportedProtocolVersion> =
        [("TLSv1.3", &rustls::version::TLS13), ("TLSv1.2", &rustls::version::TLS12)]
            .into_iter()
            .filter(|(name, _)| protocols.contains(name))
            .map(|(_, version)| version)
            .collect();
    let mut provider: CryptoProvider = provider::default_provider();
    provider.cipher_suites.retain(|suite| suite_name(suite.suite()).is_some());
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .ok()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName::new(certificates)?));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    // No early data: a request in it could be replayed.
    config.max_early_data_size = 0;
    Some(Arc::new(config))
}

/// What the balancer speaks TLS to targets with: their certificates are not checked, as AWS documents for targets.
pub fn target_config(alpn: &[&str]) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(provider::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let mut config = match builder.with_safe_default_protocol_versions() {
        Ok(builder) => builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth(),
        Err(error) => unreachable!("the provider has suites for every version: {error}"),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Takes any certificate, but checks that the target holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &rustls::pki_types::ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
