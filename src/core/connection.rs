//! The content of a tenant's Secret, from facts: Service Binding keys, the user's templates and the
//! region variables.
//!
//! The keys of Service Binding say `sslmode=require`, because libpq verifies only against a CA
//! *file*, which a string cannot carry; `sslmode` (`verify-full`) and `certificates` are what a
//! client needs to verify the server. Templates have variables that verify, a few for the ways in
//! which drivers take an authority (ADR 27); they add nothing to a Secret that does not use them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::names::DatabaseName;
use crate::replica::Address;

mod sensitive;
mod template;
mod uri;

pub use sensitive::Sensitive;
pub use template::Problem;
pub use uri::password_in;

/// The HTTP header that names the serving region, as told to workloads.
pub const REGION_HEADER: &str = "X-Region";

/// The key of the authority's certificate.
const CERTIFICATES: &str = "certificates";

/// Most bytes of a Secret's key.
const MAX_KEY_BYTES: usize = 253;

/// All that the Secret's content depends on. The epoch is not part of it, so that a Secret whose
/// credentials still hold does not roll workloads.
pub struct Connection<'a> {
    /// The address of the server that takes writes now.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// All servers that may take writes in turn, the one that does now first, for clients that find
    /// it in a list by themselves; absent where the Secret tells of that one alone.
    pub hosts: Option<&'a [Address]>,
    /// The replica that those who only read are led to; that server itself when absent.
    pub reads: Option<&'a Address>,
    /// The tenant's database.
    pub database: &'a DatabaseName,
    /// The login with all rights, when the placement asks for one.
    pub read_write: Option<Login<'a>>,
    /// The login that reads only, when the placement asks for one.
    pub read_only: Option<Login<'a>>,
    /// The CA certificate of the server, PEM.
    pub ca_pem: &'a str,
    /// The folder in which workloads have the Secret's keys as files, if they have.
    pub folder: &'a str,
    /// The tenant's home: what `region.*` means in templates and `DATABASE_REGION`. It does not
    /// change when the tenant moves, so no variable of a workload changes its name.
    pub home: Home<'a>,
    /// `spec.key` of the region that serves now, the value of the region header; absent where the
    /// Secret does not tell it, since it must stay the same when the tenant moves.
    pub serving_key: Option<&'a str>,
    /// `spec.connection.keys`; when absent, the default keys for the logins that there are.
    pub keys: Option<&'a BTreeMap<String, String>>,
    /// Whether `spec.connection.include` has `RegionEnv`.
    pub region_env: bool,
}

impl Connection<'_> {
    /// Where writes go, and where the reading login leads.
    fn places(&self) -> (At<'_>, At<'_>) {
        let one = At {
            host: self.host,
            port: self.port,
            list: &[],
            database: self.database,
        };
        let writes = At {
            list: self.hosts.unwrap_or_default(),
            ..one
        };
        let reads = self.reads.map_or(one, |replica| At {
            host: &replica.host,
            port: replica.port,
            ..one
        });
        (writes, reads)
    }
}

/// A database on a server.
#[derive(Clone, Copy)]
struct At<'a> {
    host: &'a str,
    port: u16,
    /// The servers that a client finds it among; none where it is alone.
    list: &'a [Address],
    database: &'a DatabaseName,
}

impl At<'_> {
    /// The server alone, in a URI that every client reads.
    fn uri_base(&self, login: Login<'_>) -> String {
        let authority = uri::authority(self.host, self.port);
        uri::base(&authority, self.database, login)
    }

    fn uri(&self, login: Login<'_>) -> String {
        format!("{}?sslmode=require", self.uri_base(login))
    }

    /// All servers, in a URI that clients read as libpq does.
    fn libpq_uri(&self, login: Login<'_>, verified: &str) -> String {
        let base = uri::base(&self.authorities(), self.database, login);
        let choice = self.choice(uri::LIBPQ_CHOICE);
        format!("{base}?{verified}{choice}")
    }

    fn jdbc_url(&self, login: Login<'_>) -> String {
        let parameters = uri::jdbc_login(login);
        self.jdbc(&format!("{parameters}&sslmode=require"))
    }

    fn jdbc(&self, parameters: &str) -> String {
        let base = uri::jdbc_base(&self.authorities(), self.database);
        let choice = self.choice(uri::JDBC_CHOICE);
        format!("{base}?{parameters}{choice}")
    }

    /// The parameters by which a client chooses, where it has a choice.
    fn choice(&self, parameters: &'static str) -> &'static str {
        if self.list.len() > 1 { parameters } else { "" }
    }

    fn authorities(&self) -> String {
        if self.list.is_empty() {
            return uri::authority(self.host, self.port);
        }
        let each = self.list.iter();
        let each: Vec<String> = each
            .map(|one| uri::authority(&one.host, one.port))
            .collect();
        each.join(",")
    }
}

/// A login role and its password. Has no `Debug`: it holds a secret.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The name of the entry of `spec.roles`: what stands before the dot in templates.
    pub name: &'a str,
    /// The role's name on the server.
    pub username: &'a str,
    /// Its password in clear text.
    pub password: &'a str,
}

/// The tenant's home region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home<'a> {
    /// The `Region`'s name.
    pub name: &'a str,
    /// Its `spec.key`.
    pub key: &'a str,
    /// Its `spec.jurisdiction`.
    pub jurisdiction: &'a str,
}

/// The content of the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Key to value, as the Secret's `data` before base64.
    pub data: BTreeMap<String, Sensitive>,
    /// The keys that workloads get as environment variables: those of the templates and of
    /// `RegionEnv`.
    pub variables: BTreeSet<String>,
}

impl Rendered {
    /// The content as bytes that differ whenever a key, a value or the set of variables differs:
    /// what a content hash is taken of. Holds secrets.
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, value) in &self.data {
            for part in [key.as_str(), value.expose()] {
                bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
                bytes.extend_from_slice(part.as_bytes());
            }
            bytes.push(u8::from(self.variables.contains(key)));
        }
        bytes
    }
}

/// A template of `spec.connection.keys` that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderError {
    /// The entry's key as written, a template itself.
    pub entry: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl RenderError {
    /// The path of the field in the resource.
    pub fn field(&self) -> String {
        format!("spec.connection.keys[{:?}]", self.entry)
    }
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field(), self.problem)
    }
}

impl std::error::Error for RenderError {}

/// Renders the Secret's content, or the first template that is wrong, in the order of keys.
pub fn render(facts: &Connection<'_>) -> Result<Rendered, RenderError> {
    let mut data = binding_keys(facts);
    let mut variables = BTreeSet::new();
    if facts.region_env {
        for (key, value) in region_variables(facts) {
            data.insert(key.to_owned(), Sensitive::new(value));
            variables.insert(key.to_owned());
        }
    }
    let values = template_variables(facts);
    let defaults;
    let keys = if let Some(keys) = facts.keys {
        keys
    } else {
        defaults = default_keys(facts);
        &defaults
    };
    let mut written: BTreeMap<String, &str> = BTreeMap::new();
    for (entry, value) in keys {
        let fail = |problem| RenderError {
            entry: entry.clone(),
            problem,
        };
        let key = template::expand_name(entry, &values).map_err(fail)?;
        check_key(&key).map_err(fail)?;
        let value = template::expand(value, &values).map_err(fail)?;
        if let Some(other) = written.insert(key.clone(), entry) {
            return Err(fail(Problem::DuplicateKey {
                key,
                other: other.to_owned(),
            }));
        }
        if data.insert(key.clone(), Sensitive::new(value)).is_some() {
            return Err(fail(Problem::ReservedKey(key)));
        }
        variables.insert(key);
    }
    Ok(Rendered { data, variables })
}

/// The keys that a placement gets when it names none, for the logins that it has.
fn default_keys(facts: &Connection<'_>) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    if let Some(login) = facts.read_write {
        // Who asks for a list has clients that read one.
        let form = facts.hosts.map_or("uri", |_| "libpq-uri");
        let uri = format!("{{{{ {}.{form} }}}}", login.name);
        keys.insert("DATABASE_URL".to_owned(), uri.clone());
        keys.insert("DATABASE_URL_{{ region.key }}".to_owned(), uri);
    }
    if let Some(login) = facts.read_only {
        let uri = format!("{{{{ {}.uri }}}}", login.name);
        keys.insert("DATABASE_REPLICA_URL".to_owned(), uri);
    }
    keys
}

fn check_key(key: &str) -> Result<(), Problem> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let special = key == "." || key.starts_with("..");
    if key.is_empty() || key.len() > MAX_KEY_BYTES || special || !key.chars().all(allowed) {
        return Err(Problem::BadKeyName(key.to_owned()));
    }
    Ok(())
}

fn binding_keys(facts: &Connection<'_>) -> BTreeMap<String, Sensitive> {
    let mut data = BTreeMap::new();
    let (writes, reads) = facts.places();
    let mut put = |key: &str, value: String| {
        data.insert(key.to_owned(), Sensitive::new(value));
    };
    put("type", "postgresql".into());
    put("provider", "domicile".into());
    put("host", facts.host.into());
    put("port", facts.port.to_string());
    put("database", facts.database.to_string());
    put("sslmode", "verify-full".into());
    put(CERTIFICATES, facts.ca_pem.into());
    if let Some(login) = facts.read_write.or(facts.read_only) {
        put("username", login.username.into());
        put("password", login.password.into());
        put("uri", writes.uri(login));
        put("jdbc-url", writes.jdbc_url(login));
        if facts.hosts.is_some() {
            put("libpq-uri", writes.libpq_uri(login, uri::ENCRYPTED));
        }
    }
    if let Some(login) = facts.read_only {
        put("host-ro", reads.host.into());
        put("port-ro", reads.port.to_string());
        put("username-ro", login.username.into());
        put("password-ro", login.password.into());
        put("uri-ro", reads.uri(login));
    }
    data
}

fn region_variables<'a>(facts: &Connection<'a>) -> Vec<(&'static str, &'a str)> {
    let mut variables = vec![("DATABASE_REGION", facts.home.key)];
    if let Some(serving_key) = facts.serving_key {
        variables.push(("REGION_HEADER_NAME", REGION_HEADER));
        variables.push(("REGION_HEADER_VALUE", serving_key));
    }
    variables
}

fn template_variables(facts: &Connection<'_>) -> template::Variables {
    let mut values = template::Variables::default();
    values.public("region.name", facts.home.name);
    values.public("region.key", facts.home.key);
    values.public("region.jurisdiction", facts.home.jurisdiction);
    values.secret("ca", facts.ca_pem);
    let ca_file = format!("{}/{CERTIFICATES}", facts.folder);
    values.public("ca-file", &ca_file);
    let by_file = uri::verified_by_file(&ca_file);
    let by_text = uri::verified_by_text(facts.ca_pem);
    let (writes, reads) = facts.places();
    let logins = [(facts.read_write, writes), (facts.read_only, reads)];
    let given = logins
        .into_iter()
        .filter_map(|(login, at)| Some((login?, at)));
    for (login, at) in given {
        let base = at.uri_base(login);
        let mut put = |variable: &str, value: &str| {
            values.secret(&format!("{}.{variable}", login.name), value);
        };
        put("password", login.password);
        put("uri", &at.uri(login));
        put("uri-base", &base);
        put("uri-file", &format!("{base}?{by_file}"));
        put("libpq-uri", &at.libpq_uri(login, uri::ENCRYPTED));
        put("libpq-uri-file", &at.libpq_uri(login, &by_file));
        put("jdbc-url", &at.jdbc_url(login));
        put("datasource-url", &at.jdbc(&by_text));
        put("datasource-url-file", &at.jdbc(&by_file));
        let mut put = |variable: &str, value: &str| {
            values.public(&format!("{}.{variable}", login.name), value);
        };
        put("host", at.host);
        put("port", &at.port.to_string());
        put("database", at.database.as_str());
        put("username", login.username);
    }
    values
}

#[cfg(test)]
mod tests;
