//! Connection URIs, percent-encoded (RFC 3986).

use std::fmt::Write as _;

use super::Login;
use crate::names::DatabaseName;

/// `postgresql://user:password@host:port/database`, for what the caller adds.
pub(super) fn base(host: &str, port: u16, database: &DatabaseName, login: Login<'_>) -> String {
    let Login {
        name: _,
        username,
        password,
    } = login;
    let (user, password) = (encode(username), encode(password));
    let (host, database) = (authority_host(host), encode(database.as_str()));
    format!("postgresql://{user}:{password}@{host}:{port}/{database}")
}

/// `jdbc:postgresql://host:port/database?user=…&password=…&sslmode=require`.
pub(super) fn jdbc(host: &str, port: u16, database: &DatabaseName, login: Login<'_>) -> String {
    let Login {
        name: _,
        username,
        password,
    } = login;
    let (user, password) = (encode(username), encode(password));
    let base = jdbc_base(host, port, database);
    format!("{base}?user={user}&password={password}&sslmode=require")
}

/// `jdbc:postgresql://host:port/database`, for what the caller adds.
pub(super) fn jdbc_base(host: &str, port: u16, database: &DatabaseName) -> String {
    let (host, database) = (authority_host(host), encode(database.as_str()));
    format!("jdbc:postgresql://{host}:{port}/{database}")
}

/// Parameters that libpq and pgjdbc read alike: verify against the authority in the file `path`.
pub(super) fn verified_by_file(path: &str) -> String {
    format!("sslmode=verify-full&sslrootcert={}", encode(path))
}

/// Parameters of pgjdbc: verify against the first certificate in `ca_pem`, which they carry. The
/// factory reads one certificate, and only where the text begins with it.
pub(super) fn verified_by_text(ca_pem: &str) -> String {
    let factory = "org.postgresql.ssl.SingleCertValidatingFactory";
    let certificate = encode(first_certificate(ca_pem));
    format!("sslmode=verify-full&sslfactory={factory}&sslfactoryarg={certificate}")
}

fn first_certificate(pem: &str) -> &str {
    const END: &str = "-----END CERTIFICATE-----";
    let from = pem.find("-----BEGIN CERTIFICATE-----").unwrap_or(0);
    let rest = &pem[from..];
    rest.find(END).map_or(rest, |at| &rest[..at + END.len()])
}

/// The password in a URI that `base` began for this user; none when it is not one.
pub fn password_in(uri: &str, username: &str) -> Option<String> {
    let (userinfo, _) = uri.strip_prefix("postgresql://")?.split_once('@')?;
    let encoded = userinfo
        .strip_prefix(&encode(username))?
        .strip_prefix(':')?;
    decode(encoded)
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let (digits, behind) = after.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

fn authority_host(host: &str) -> String {
    // A colon is only ever part of an IPv6 address, which stands in brackets.
    if host.contains(':') {
        format!("[{host}]")
    } else {
        encode(host)
    }
}

/// Everything but the unreserved characters is encoded, so that the text means the same in each
/// part of a URI.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
