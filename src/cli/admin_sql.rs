//! `admin-sql REGION/SERVER`: the SQL that makes Domicile's login, for a superuser to read and run.

use domicile_core::admin::{MAINTENANCE_DATABASE, admin_sql};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::Value;

use crate::args::AdminSqlArgs;
use crate::client::call;
use crate::error::CliError;
use crate::json::{items, text};
use crate::kinds::Kind;
use crate::output::Outcome;
use crate::session::Session;

/// Prints the SQL for the login that the server's admin Secret names.
///
/// # Errors
/// When the server is not one of the region's, or its Secret cannot be read or names no login.
pub async fn run(session: &mut Session<'_>, args: &AdminSqlArgs) -> Result<Outcome, CliError> {
    let (region, server) = split(&args.server)?;
    let object = session.get(Kind::Region, region).await?;
    let (namespace, name) = secret_of(&object, server)?;
    let api: Api<Secret> = Api::namespaced(session.client.clone(), &namespace);
    let hint = "or give the login's name with --role";
    let doing = format!("read Secret {namespace}/{name} ({hint})");
    let Some(found) = call(doing, api.get_opt(&name)).await? else {
        let message = format!("Secret {namespace}/{name} does not exist; make it, {hint}");
        return Err(CliError::Usage(message));
    };
    let username = found.data.and_then(|mut data| data.remove("username"));
    let role = username
        .and_then(|bytes| String::from_utf8(bytes.0).ok())
        .unwrap_or_default();
    if role.is_empty() {
        let message = format!("Secret {namespace}/{name} has no key username; add it, {hint}");
        return Err(CliError::Usage(message));
    }
    Ok(Outcome::text(render(&args.server, &role)))
}

/// Prints the SQL for a login that the command line names; needs no cluster.
///
/// # Errors
/// When the server is not given as `REGION/SERVER`.
pub fn offline(args: &AdminSqlArgs) -> Result<Outcome, CliError> {
    split(&args.server)?;
    let role = args.role.clone().unwrap_or_default();
    Ok(Outcome::text(render(&args.server, &role)))
}

fn render(server: &str, role: &str) -> String {
    let visible = role.replace(char::is_control, " ");
    format!(
        "-- {server}: run once as superuser in database {MAINTENANCE_DATABASE} \
         of the primary, then\n\
         -- set the password of {visible} to that of the admin Secret: \\password\n{}",
        admin_sql(role)
    )
}

fn split(server: &str) -> Result<(&str, &str), CliError> {
    let parts = server
        .split_once('/')
        .filter(|(region, name)| !region.is_empty() && !name.is_empty() && !name.contains('/'));
    parts.ok_or_else(|| CliError::Usage(format!("{server:?} must be REGION/SERVER")))
}

fn secret_of(region: &Value, server: &str) -> Result<(String, String), CliError> {
    let servers = items(region, "/spec/databaseServers");
    let Some(found) = servers.iter().find(|entry| text(entry, "/name") == server) else {
        let names: Vec<String> = servers.iter().map(|entry| text(entry, "/name")).collect();
        let message = format!(
            "the region has no server {server:?}; it has: {}",
            names.join(", ")
        );
        return Err(CliError::Usage(message));
    };
    let namespace = match text(found, "/adminSecretRef/namespace") {
        namespace if namespace.is_empty() => domicile_api::meta::NAMESPACE.to_owned(),
        namespace => namespace,
    };
    Ok((namespace, text(found, "/adminSecretRef/name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_named_on_the_command_line_needs_no_cluster() {
        let args = AdminSqlArgs {
            server: "eu/main".into(),
            role: Some("dom\n--x".into()),
        };
        let text = offline(&args).unwrap().text;
        assert!(text.contains("CREATE ROLE \"dom\n--x\" LOGIN"), "{text}");
        assert!(text.starts_with("-- eu/main: "), "{text}");
        assert!(text.contains("password of dom --x to"), "{text}");
    }

    #[test]
    fn the_secret_is_the_servers_own() {
        let region = serde_json::json!({"spec": {"databaseServers": [
            {"name": "main", "adminSecretRef": {"name": "a"}},
            {"name": "b", "adminSecretRef": {"name": "c", "namespace": "n"}}]}});
        let default = (domicile_api::meta::NAMESPACE.to_owned(), "a".to_owned());
        assert_eq!(secret_of(&region, "main").unwrap(), default);
        assert_eq!(
            secret_of(&region, "b").unwrap(),
            ("n".to_owned(), "c".to_owned())
        );
        assert!(
            secret_of(&region, "x")
                .unwrap_err()
                .to_string()
                .contains("main, b")
        );
        assert!(split("eu").is_err() && split("eu/").is_err() && split("a/b/c").is_err());
    }
}
