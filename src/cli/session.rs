//! What every verb that talks to a cluster has at hand.

use jiff::Timestamp;
use kube::Client;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::args::Global;
use crate::client::{call, connect};
use crate::error::CliError;
use crate::kinds::Kind;
use crate::output::Format;

/// Where progress goes and answers come from.
pub trait Terminal {
    /// Whether a person is there to answer.
    fn interactive(&self) -> bool;
    /// Shows one line beside the output.
    fn say(&mut self, line: &str);
    /// Asks and waits for one line.
    ///
    /// # Errors
    /// When no line can be read.
    fn ask(&mut self, question: &str) -> std::io::Result<String>;
}

/// One run of the CLI.
pub struct Session<'a> {
    /// The cluster.
    pub client: Client,
    /// The namespace of placements.
    pub namespace: String,
    /// Placements of all namespaces.
    pub all_namespaces: bool,
    /// The format of the output.
    pub format: Format,
    /// When the command began.
    pub now: Timestamp,
    /// The person, if there is one.
    pub terminal: &'a mut dyn Terminal,
}

impl<'a> Session<'a> {
    /// Connects as the flags say.
    ///
    /// # Errors
    /// When there is no usable configuration.
    pub async fn open(
        global: &Global,
        now: Timestamp,
        terminal: &'a mut dyn Terminal,
    ) -> Result<Self, CliError> {
        let (client, own_namespace) = connect(global).await?;
        Ok(Self {
            client,
            namespace: global.namespace.clone().unwrap_or(own_namespace),
            all_namespaces: global.all_namespaces,
            format: global.output,
            now,
            terminal,
        })
    }

    /// One object, as the API server shows it.
    ///
    /// # Errors
    /// When it does not exist or cannot be read.
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Value, CliError> {
        let api = kind.api(&self.client, Some(&self.namespace));
        let doing = format!("read {}/{name}", kind.word());
        let found = call(doing, api.get_opt(name)).await?;
        let missing = || CliError::NotFound {
            kind: kind.name(),
            plural: kind.plural(),
            name: name.to_owned(),
            place: match kind {
                Kind::TenantPlacement => format!(" in namespace {}", self.namespace),
                Kind::Region | Kind::FailoverPolicy | Kind::FailoverOperation => String::new(),
            },
        };
        found.map(as_json).ok_or_else(missing)
    }
}

/// The object as JSON, without the bookkeeping of field managers.
pub fn as_json(mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    serde_json::to_value(object).unwrap_or_default()
}
