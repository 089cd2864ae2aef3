//! Connection URIs, percent-encoded (RFC 3986).

use std::fmt::Write as _;

use super::Login;
use crate::names::DatabaseName;

/// `postgresql://user:password@host:port/database?sslmode=require`.
pub(super) fn libpq(host: &str, port: u16, database: &DatabaseName, login: Login<'_>) -> String {
    let Login {
        name: _,
        username,
        password,
    } = login;
    let (user, password) = (encode(username), encode(password));
    let (host, database) = (authority_host(host), encode(database.as_str()));
    format!("postgresql://{user}:{password}@{host}:{port}/{database}?sslmode=require")
}

/// `jdbc:postgresql://host:port/database?user=…&password=…&sslmode=require`.
pub(super) fn jdbc(host: &str, port: u16, database: &DatabaseName, login: Login<'_>) -> String {
    let Login {
        name: _,
        username,
        password,
    } = login;
    let (user, password) = (encode(username), encode(password));
    let (host, database) = (authority_host(host), encode(database.as_str()));
    let query = format!("user={user}&password={password}&sslmode=require");
    format!("jdbc:postgresql://{host}:{port}/{database}?{query}")
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
