//! What stands for the cluster's DNS and its proxies, which the lab has not: the test reads where a
//! Service leads, and logs in there as a client that knows the server by the Service's name.

use std::collections::BTreeMap;
use std::time::Duration;

use domicile_core::names::DatabaseName;
use domicile_providers::{Endpoint, Generic};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use secrecy::SecretString;

use super::world::{SPACE, World};

pub(super) fn services(world: &World) -> Api<Service> {
    Api::namespaced(world.running.admin.clone(), SPACE)
}

pub(super) fn service(world: &World, name: &str) -> Option<Service> {
    let api = services(world);
    world.running.block_on(api.get_opt(name)).unwrap()
}

pub(super) fn all_slices(world: &World) -> Api<EndpointSlice> {
    Api::namespaced(world.running.admin.clone(), SPACE)
}

pub(super) fn slices(world: &World, service: &str) -> Vec<EndpointSlice> {
    slices_of(world, &all_slices(world), service)
}

/// The slices of a Service in any cluster.
pub(super) fn slices_of(
    world: &World,
    api: &Api<EndpointSlice>,
    service: &str,
) -> Vec<EndpointSlice> {
    let of = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    world.running.block_on(api.list(&of)).unwrap().items
}

pub(super) fn addresses(world: &World, service: &str) -> Vec<String> {
    led_to(slices(world, service))
}

/// The addresses that slices lead to.
pub(super) fn led_to(slices: Vec<EndpointSlice>) -> Vec<String> {
    let slices = slices.into_iter();
    let endpoints = slices.flat_map(|slice| slice.endpoints.unwrap_or_default());
    endpoints.flat_map(|one| one.addresses).collect()
}

/// Logs in where the slice leads, as a client that verifies the Service's name against the
/// authorities of the Secret, and wants a server that takes writes.
pub(super) fn logs_in_by_name(
    world: &World,
    service: &str,
    data: &BTreeMap<String, String>,
) -> bool {
    named(world, service, data, &data["host"])
}

pub(super) fn named(
    world: &World,
    service: &str,
    data: &BTreeMap<String, String>,
    name: &str,
) -> bool {
    let slice = slices(world, service).remove(0);
    logs_in_at(world, slice, data, name)
}

/// As [`named`], by a slice of any cluster.
pub(super) fn logs_in_at(
    world: &World,
    slice: EndpointSlice,
    data: &BTreeMap<String, String>,
    name: &str,
) -> bool {
    let port = slice.ports.unwrap()[0].port.unwrap();
    let host = slice.endpoints.unwrap()[0].addresses[0].clone();
    let server = server(&host, u16::try_from(port).unwrap(), data).named(name);
    log_in(world, &server, data)
}

pub(super) fn reaches(world: &World, host: &str, data: &BTreeMap<String, String>) -> bool {
    log_in(world, &server(host, 5432, data), data)
}

fn server(host: &str, port: u16, data: &BTreeMap<String, String>) -> Generic {
    let endpoint = Endpoint {
        host: host.to_owned(),
        port,
        ca_pem: data["certificates"].clone(),
        username: data["username"].clone(),
        password: SecretString::from(data["password"].clone()),
        identifiers: Vec::new(),
    };
    Generic::new(endpoint, Duration::from_secs(10)).unwrap()
}

fn log_in(world: &World, server: &Generic, data: &BTreeMap<String, String>) -> bool {
    let database = DatabaseName::parse(&data["database"]).unwrap();
    let password = SecretString::from(data["password"].clone());
    let login = server.can_log_in(&database, &data["username"], &password);
    world
        .running
        .block_on(login)
        .is_ok_and(|login| login.writable)
}
