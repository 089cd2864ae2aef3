//! Connection URIs, percent-encoded (RFC 3986).

use std::fmt::Write as _;

use super::Login;
use crate::names::DatabaseName;

/// The parameter of a URI that encrypts and does not verify (ADR 11).
pub(super) const ENCRYPTED: &str = "sslmode=require";

/// How clients of libpq choose among servers: the one that takes writes. One that does not answer
/// is left after five seconds; without that, when the system gives up, after two minutes.
pub(super) const LIBPQ_CHOICE: &str = "&target_session_attrs=read-write&connect_timeout=5";

/// The same for pgjdbc, which leaves one that does not answer after ten seconds by itself.
pub(super) const JDBC_CHOICE: &str = "&targetServerType=primary";

/// `host:port`.
pub(super) fn authority(host: &str, port: u16) -> String {
    format!("{}:{port}", authority_host(host))
}

/// `postgresql://user:password@host:port/database`, for what the caller adds.
pub(super) fn base(authority: &str, database: &DatabaseName, login: Login<'_>) -> String {
    let Login {
        name: _,
        username,
        password,
    } = login;
    let (user, password) = (encode(username), encode(password));
    let database = encode(database.as_str());
    format!("postgresql://{user}:{password}@{authority}/{database}")
}

/// `user=…&password=…`.
pub(super) fn jdbc_login(login: Login<'_>) -> String {
    let Login {
        name: _,
        username,
        password,
    } = login;
    let (user, password) = (encode(username), encode(password));
    format!("user={user}&password={password}")
}

/// `jdbc:postgresql://host:port/database`, for what the caller adds.
pub(super) fn jdbc_base(authority: &str, database: &DatabaseName) -> String {
    format!(
        "jdbc:postgresql://{authority}/{}",
        encode(database.as_str())
    )
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
