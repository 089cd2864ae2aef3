//! A server with a tenant whose passwords are as awkward as can be, and the checks of a client.

use std::collections::BTreeMap;
use std::time::Duration;

use domicile_core::connection::{Connection, Home, Login, Rendered, render};
use domicile_core::facts::Epoch;
use domicile_core::names::{Access, DatabaseName, Slot};
use domicile_core::replica::Address;
use domicile_lab::pki::{Authority, Usage};
use domicile_lab::postgres::{
    ADMIN, Binaries, Loopback, Server, ServerSpec, Settings, TlsMaterial,
};
use domicile_providers::{Endpoint, Generic, TenantPlan, scram_verifier};
use secrecy::SecretString;

use crate::programs::Client;
use crate::secret::{Way, folder};

const DATABASE: &str = "acme";

/// The host that the server's certificate names, beside its address.
const NAMED: &str = "localhost";

/// An address at which it listens too, and that its certificate does not name.
const UNNAMED: &str = "127.0.0.1";

/// Logins and passwords: one with each special character that `passwordSecretRef` may give, and
/// one with some that it may not.
const LOGINS: [(Access, &str, &str); 2] = [
    (
        Access::ReadWrite,
        "acme_a",
        r##"a!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~Z9"##,
    ),
    (Access::ReadOnly, "acme_ro_a", r#"@:/?#[]%&+ ="'\ü€%41"#),
];

/// An authority.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ca {
    /// The one that issued the server's certificate.
    Own,
    /// One of the same name that did not.
    Other,
}

/// One attempt of a client.
struct Attempt<'a> {
    client: Client,
    way: Way,
    keys: Option<&'a BTreeMap<String, String>>,
    login: usize,
    host: &'a str,
    /// The servers that the Secret names, where it names several.
    hosts: Option<&'a [Address]>,
    ca_pem: &'a str,
}

/// The address of a server.
pub(crate) fn address(server: &Server) -> Address {
    let (host, port) = (server.address().to_string(), server.port());
    Address { host, port }
}

/// A server of the lab with a certificate of this authority.
fn spec(lab: &Loopback, authority: &Authority, region: &str) -> ServerSpec {
    let mut spec = lab.spec(region).unwrap();
    let address = spec.address.to_string();
    let names = [address.as_str(), NAMED];
    let (cert, key) = authority
        .issue("server", None, &names, &[Usage::Server])
        .unwrap();
    spec.tls = TlsMaterial {
        cert,
        key: key.into(),
        trust: authority.cert_pem().to_owned(),
    };
    spec
}

/// What a client printed before it ended well, or its errors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    LoggedIn(String),
    Refused(String),
}

/// A server, its authority, and another authority. The server lets nobody in without TLS. It ends
/// before its folder is removed.
pub(crate) struct World {
    server: Server,
    lab: Loopback,
    authority: Authority,
    other: Authority,
}

impl World {
    /// Starts the server and makes the tenant, as the operator does.
    pub(crate) fn new() -> Self {
        let settings = Settings {
            fsync: false,
            ..Settings::default()
        };
        let lab = Loopback::new(&Binaries::system().unwrap(), settings).unwrap();
        let authority = Authority::new("Domicile lab, clients").unwrap();
        let mut spec = spec(&lab, &authority, "eu-west");
        let address = spec.address.to_string();
        let listen = format!("{address}, {UNNAMED}");
        spec.settings
            .extra
            .insert("listen_addresses".to_owned(), listen);
        let server = Server::primary(spec).unwrap();
        let world = Self {
            server,
            authority,
            other: Authority::new("Domicile lab, clients").unwrap(),
            lab,
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(world.place());
        world
    }

    /// A standby of the server.
    pub(crate) fn standby(&self) -> Server {
        let spec = spec(&self.lab, &self.authority, "eu-central");
        Server::standby(spec, &self.server).unwrap()
    }

    /// Takes the right to write from the server, as a move does. It goes on answering.
    pub(crate) fn fence(&self) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let fenced = self.provider().fence(Epoch(1)).await;
            fenced.unwrap();
        });
    }

    pub(crate) fn address(&self) -> Address {
        address(&self.server)
    }

    pub(crate) fn ca_pem(&self) -> &str {
        self.authority.cert_pem()
    }

    fn provider(&self) -> Generic {
        let endpoint = Endpoint {
            host: self.server.address().to_string(),
            port: self.server.port(),
            ca_pem: self.authority.cert_pem().to_owned(),
            username: ADMIN.to_owned(),
            password: self.server.spec().passwords.admin.clone(),
            identifiers: Vec::new(),
        };
        Generic::new(endpoint, Duration::from_secs(30)).unwrap()
    }

    async fn place(&self) {
        let provider = self.provider();
        let database = DatabaseName::parse(DATABASE).unwrap();
        let plan = TenantPlan {
            access: LOGINS.map(|(access, ..)| (access, 20)).to_vec(),
            ..TenantPlan::bare("u1".to_owned(), database)
        };
        let verifiers = LOGINS.map(|(access, _, password)| {
            let verifier = scram_verifier(&SecretString::from(password));
            ((access, Slot::A), verifier)
        });
        let verifiers = verifiers.into();
        let made = provider.ensure_tenant(&plan, Epoch(0), &verifiers).await;
        made.unwrap();
    }

    /// Each login works, by name and by address; a server of another authority, and one that the
    /// certificate does not name, are refused for that reason.
    pub(crate) fn verifies(&self, client: Client, way: Way, keys: &BTreeMap<String, String>) {
        self.logs_in(client, way, Some(keys));
        let (unknown, unnamed) = client.refusals();
        let attempt = self.attempt(client, way, Some(keys));
        let said = self.refused(&Attempt {
            ca_pem: self.other.cert_pem(),
            ..attempt
        });
        assert!(said.contains(unknown), "{client:?} {way:?}: {said}");
        let said = self.refused(&Attempt {
            host: UNNAMED,
            ..attempt
        });
        assert!(said.contains(unnamed), "{client:?} {way:?}: {said}");
    }

    /// Each login works, by name and by address.
    pub(crate) fn logs_in(
        &self,
        client: Client,
        way: Way,
        keys: Option<&BTreeMap<String, String>>,
    ) {
        let address = self.server.address().to_string();
        for (login, host) in [(0, NAMED), (1, address.as_str())] {
            let said = self.run(&Attempt {
                login,
                host,
                ..self.attempt(client, way, keys)
            });
            let expected = Outcome::LoggedIn(format!("{} {DATABASE}", LOGINS[login].1));
            assert_eq!(said, expected, "{client:?} {way:?}");
        }
    }

    /// Whether the client logs in when the Secret holds these authorities, in this order.
    pub(crate) fn trusts(
        &self,
        client: Client,
        way: Way,
        keys: &BTreeMap<String, String>,
        authorities: &[Ca],
    ) -> bool {
        let pem = |ca: &Ca| match ca {
            Ca::Own => self.authority.cert_pem(),
            Ca::Other => self.other.cert_pem(),
        };
        let bundle: String = authorities.iter().map(pem).collect();
        let outcome = self.run(&Attempt {
            ca_pem: &bundle,
            ..self.attempt(client, way, Some(keys))
        });
        matches!(outcome, Outcome::LoggedIn(_))
    }

    /// What the client says when the Secret names these servers, in this order.
    pub(crate) fn among(
        &self,
        client: Client,
        (way, keys): (Way, &BTreeMap<String, String>),
        hosts: &[Address],
        ca_pem: &str,
    ) -> Outcome {
        self.run(&Attempt {
            hosts: Some(hosts),
            ca_pem,
            ..self.attempt(client, way, Some(keys))
        })
    }

    /// The client refuses a server that is as it should be; what it says.
    pub(crate) fn is_refused(
        &self,
        client: Client,
        way: Way,
        keys: Option<&BTreeMap<String, String>>,
    ) -> String {
        self.refused(&self.attempt(client, way, keys))
    }

    fn attempt<'a>(
        &'a self,
        client: Client,
        way: Way,
        keys: Option<&'a BTreeMap<String, String>>,
    ) -> Attempt<'a> {
        Attempt {
            client,
            way,
            keys,
            login: 0,
            host: NAMED,
            hosts: None,
            ca_pem: self.authority.cert_pem(),
        }
    }

    fn refused(&self, attempt: &Attempt<'_>) -> String {
        match self.run(attempt) {
            Outcome::Refused(said) => said,
            Outcome::LoggedIn(said) => {
                panic!("{:?} {:?} said {said}", attempt.client, attempt.way)
            }
        }
    }

    fn run(&self, attempt: &Attempt<'_>) -> Outcome {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path()).display().to_string();
        let rendered = self.secret(attempt, &folder);
        let mut command = attempt.client.command(root.path());
        attempt.way.give(&rendered, root.path(), &mut command);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        let password = rendered.data["password"].expose();
        assert!(!format!("{said}{errors}").contains(password));
        if output.status.success() {
            Outcome::LoggedIn(said)
        } else {
            Outcome::Refused(format!("{}: {errors} {said}", output.status))
        }
    }

    fn secret(&self, attempt: &Attempt<'_>, folder: &str) -> Rendered {
        let (_, username, password) = LOGINS[attempt.login];
        let login = Login {
            name: "rw",
            username,
            password,
        };
        render(&Connection {
            host: attempt.host,
            port: self.server.port(),
            hosts: attempt.hosts,
            reads: None,
            database: &DatabaseName::parse(DATABASE).unwrap(),
            read_write: Some(login),
            read_only: None,
            ca_pem: attempt.ca_pem,
            folder,
            home: Home {
                name: "eu-west",
                key: "EU_WEST",
                jurisdiction: "EU",
            },
            serving_key: Some("EU_WEST"),
            keys: attempt.keys,
            region_env: true,
        })
        .unwrap()
    }
}
