//! The cluster of the lab, and those of its regions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use domicile_lab::cluster::SmallCluster;
use domicile_lab::regions::{REGIONS, Region};
use domicile_lab::{Lab, LabError, Places, Result, tools};
use serde_json::json;

/// What a region's own cluster is made of.
#[derive(clap::Args)]
pub(super) struct ClusterArguments {
    /// The region.
    region: String,
    /// Namespaces that are made there, and onboarded.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "tenant-acme,tenant-globex"
    )]
    tenants: Vec<String>,
    /// The folder with `charts`.
    #[arg(long, default_value = ".")]
    repository: PathBuf,
}

/// Which cluster a program is for, and what it is told.
#[derive(clap::Args)]
pub(super) struct ToolArguments {
    /// The cluster of this region (default: the hub).
    #[arg(long)]
    region: Option<String>,
    /// Arguments of the program.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Starts the cluster of a region, and puts its kubeconfig into the hub.
pub(super) fn give(places: &Places, arguments: &ClusterArguments) -> Result<ExitCode> {
    let lab = Lab::open(&places.dir)?;
    let region = Region::named(&arguments.region)?;
    // Programs of the lab run elsewhere.
    let chart = std::path::absolute(arguments.repository.join("charts/domicile"))
        .map_err(LabError::file("resolve", &arguments.repository))?;
    if !chart.exists() {
        let hint = "name the repository with --repository";
        return Err(LabError::missing(chart.display().to_string(), hint));
    }
    let kwok = tools::kwok(&places.cache, &mut |step| println!("{step}"))?;
    let parts = (&*kwok, &*chart);
    let (_, secret) = SmallCluster::for_tenants(&lab.cluster(), region, parts, &arguments.tenants)?;
    let spec = json!({"spec": {"cluster": {
        "kubeconfigSecretRef": {"name": secret}, "tenants": true,
    }}});
    let (name, tenants) = (region.name, arguments.tenants.join(", "));
    println!("{name} has a cluster of its own, with the namespaces {tenants}");
    println!("its pods count as running, and run nothing; its Region shall say so:");
    println!("  domicile-lab kubectl patch region {name} --type merge -p '{spec}'");
    println!("  domicile-lab kubectl --region {name} get secrets -A");
    Ok(ExitCode::SUCCESS)
}

/// The servers of all clusters, and whether each runs: the hub's by their names, those of a region
/// behind its name.
pub(super) fn servers(lab: &Lab) -> Result<BTreeMap<String, bool>> {
    let mut all = lab.cluster().processes()?;
    for region in &REGIONS {
        if let Some(cluster) = SmallCluster::open(lab.space(), region)? {
            let own = cluster.processes().into_iter();
            all.extend(own.map(|(name, runs)| (format!("{}/{name}", region.name), runs)));
        }
    }
    Ok(all)
}

/// Runs kubectl as administrator.
pub(super) fn kubectl(places: &Places, tool: &ToolArguments) -> Result<ExitCode> {
    pass_through(
        places,
        tool,
        |lab| lab.cluster().kubectl(),
        SmallCluster::kubectl,
    )
}

/// Runs helm as administrator.
pub(super) fn helm(places: &Places, tool: &ToolArguments) -> Result<ExitCode> {
    pass_through(places, tool, |lab| lab.cluster().helm(), SmallCluster::helm)
}

fn pass_through(
    places: &Places,
    tool: &ToolArguments,
    hub: fn(&Lab) -> Command,
    own: fn(&SmallCluster) -> Command,
) -> Result<ExitCode> {
    let lab = Lab::open(&places.dir)?;
    let mut command = match &tool.region {
        None => hub(&lab),
        Some(name) => {
            let region = Region::named(name)?;
            let none = || {
                let hint = format!("start it with `domicile-lab cluster {name}`");
                LabError::missing(format!("a cluster of {name}"), hint)
            };
            own(&SmallCluster::open(lab.space(), region)?.ok_or_else(none)?)
        }
    };
    let status = command
        .args(&tool.arguments)
        .status()
        .map_err(LabError::system("start nsenter"))?;
    Ok(u8::try_from(status.code().unwrap_or(1)).map_or(ExitCode::FAILURE, ExitCode::from))
}
