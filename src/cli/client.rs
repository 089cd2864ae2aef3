//! The way to the API server, with a deadline on every call.

use std::future::Future;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::args::Global;
use crate::error::CliError;

/// Longest time that one call may take.
pub const CALL_DEADLINE: Duration = Duration::from_secs(15);

/// A client for the cluster that the flags name, and the namespace that its context names.
///
/// # Errors
/// When there is no usable configuration.
pub async fn connect(global: &Global) -> Result<(Client, String), CliError> {
    let mut config = configuration(global).await?;
    // The library would retry for minutes, and would wait for an answer without end.
    config.default_retry = false;
    config.connect_timeout = Some(CALL_DEADLINE);
    config.read_timeout = Some(CALL_DEADLINE);
    if let Some(user) = &global.user {
        config.auth_info.impersonate = Some(user.clone());
    }
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| CliError::Config(error.to_string()))?;
    Ok((client, namespace))
}

/// The answer of one call, or an error that says what was being done.
///
/// # Errors
/// When the call fails or takes longer than [`CALL_DEADLINE`].
pub async fn call<T>(
    doing: impl Into<String>,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CliError> {
    let doing = doing.into();
    match tokio::time::timeout(CALL_DEADLINE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(CliError::Kube {
            doing,
            source: Box::new(source),
        }),
        Err(_) => Err(CliError::Deadline {
            doing,
            seconds: CALL_DEADLINE.as_secs(),
        }),
    }
}

async fn configuration(global: &Global) -> Result<Config, CliError> {
    let options = KubeConfigOptions {
        context: global.context.clone(),
        ..Default::default()
    };
    let config_error = |error: &dyn std::error::Error| CliError::Config(error.to_string());
    let kubeconfig = match &global.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map_err(|error| config_error(&error))?,
        None if global.context.is_some() => {
            Kubeconfig::read().map_err(|error| config_error(&error))?
        }
        None => return Config::infer().await.map_err(|error| config_error(&error)),
    };
    let loaded = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    loaded.map_err(|error| config_error(&error))
}
