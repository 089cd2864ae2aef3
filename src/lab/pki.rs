//! Certificates for the lab: one authority per purpose, made fresh for each lab.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::error::{LabError, Result};

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// TLS server.
    Server,
    /// TLS client.
    Client,
}

/// A certificate authority with its private key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    cert_pem: String,
    key_pem: String,
}

impl Authority {
    /// Makes an authority with the common name `cn` and a new P-256 key.
    pub fn new(cn: &str) -> Result<Self> {
        let failed = |source| LabError::Certificate {
            name: cn.to_owned(),
            source,
        };
        let params = authority_params(cn).map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let cert_pem = params.self_signed(&key).map_err(failed)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            cert_pem,
            key_pem,
        })
    }

    /// Loads the authority that [`Authority::new`] made under `cn`, from its two PEM texts.
    pub fn load(cn: &str, cert_pem: &str, key_pem: &str) -> Result<Self> {
        let failed = |source| LabError::Certificate {
            name: cn.to_owned(),
            source,
        };
        let key = KeyPair::from_pem(key_pem).map_err(failed)?;
        let issuer = Issuer::new(authority_params(cn).map_err(failed)?, key);
        Ok(Self {
            issuer,
            cert_pem: cert_pem.to_owned(),
            key_pem: key_pem.to_owned(),
        })
    }

    /// The authority's certificate.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The authority's private key (PKCS #8).
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Issues a certificate and its key (PKCS #8), both PEM. A `san` that reads as an IP address
    /// becomes an address, any other a DNS name.
    pub fn issue(
        &self,
        cn: &str,
        org: Option<&str>,
        sans: &[&str],
        usages: &[Usage],
    ) -> Result<(String, String)> {
        self.issue_as(cn, org, sans, usages, |_| {})
    }

    /// A server's certificate whose time was over long before it was made, and its key.
    pub fn issue_expired(&self, cn: &str, sans: &[&str]) -> Result<(String, String)> {
        self.issue_as(cn, None, sans, &[Usage::Server], |params| {
            params.not_after = date_time_ymd(2020, 1, 1);
            params.not_before = date_time_ymd(2019, 1, 1);
        })
    }

    fn issue_as(
        &self,
        cn: &str,
        org: Option<&str>,
        sans: &[&str],
        usages: &[Usage],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<(String, String)> {
        let failed = |source| LabError::Certificate {
            name: cn.to_owned(),
            source,
        };
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, cn);
        if let Some(org) = org {
            params
                .distinguished_name
                .push(DnType::OrganizationName, org);
        }
        for san in sans {
            let name = match san.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*san).try_into().map_err(failed)?),
            };
            params.subject_alt_names.push(name);
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages
            .iter()
            .map(|usage| match usage {
                Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
                Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
            })
            .collect();
        change(&mut params);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

fn authority_params(cn: &str) -> std::result::Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, cn);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    Ok(params)
}

/// Makes a signing key that no certificate belongs to; returns (private, public), both PEM.
pub fn signing_key() -> Result<(String, String)> {
    let key = KeyPair::generate().map_err(|source| LabError::Certificate {
        name: "signing key".to_owned(),
        source,
    })?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reloaded_authority_issues_under_the_same_name() {
        let authority = Authority::new("lab ca").unwrap();
        let again = Authority::load("lab ca", authority.cert_pem(), authority.key_pem()).unwrap();
        assert_eq!(again.cert_pem(), authority.cert_pem());
        let (cert, key) = again
            .issue("db", None, &["10.77.0.1", "db.lab.test"], &[Usage::Server])
            .unwrap();
        assert!(cert.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn a_name_that_is_no_name_is_refused() {
        let authority = Authority::new("lab ca").unwrap();
        assert!(
            authority
                .issue("db", None, &["näme"], &[Usage::Server])
                .is_err()
        );
    }
}
