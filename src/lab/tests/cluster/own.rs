//! The cluster of a region, as a person at the command line makes it.

use std::path::Path;
use std::process::{Command, Output};

use domicile_lab::Lab;

const ROLLOUT: &str = "rollout status -n tenant-x deployment/app --timeout=60s";

pub(crate) fn a_region_gets_a_cluster_of_its_own(lab: &Lab, dir: &Path) {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let give = [
        "cluster",
        "eu-west",
        "--tenants",
        "tenant-x",
        "--repository",
    ];
    let none = run(dir, &["kubectl", "--region", "eu-west", "get", "nodes"]);
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(said.contains("domicile-lab cluster eu-west"), "{said}");

    let nowhere = run(dir, &[&give[..], &["/nowhere"]].concat());
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(
        said.contains("/nowhere") && said.contains("--repository"),
        "{said}"
    );
    // From the folder of the lab's crate: a relative path is that of the caller.
    let told = well(run(dir, &[&give[..], &["../.."]].concat()));
    assert!(told.contains(r#""name":"eu-west-cluster""#), "{told}");
    let twice = run(dir, &[&give[..], &[chart]].concat());
    let said = String::from_utf8_lossy(&twice.stderr).into_owned();
    assert!(said.contains("has a cluster already"), "{said}");

    let own = |words: &str| {
        let mut all = vec!["kubectl", "--region", "eu-west"];
        all.extend(words.split(' '));
        well(run(dir, &all))
    };
    own("create deployment app -n tenant-x --image local.test/nothing:1 --replicas 2");
    assert!(own(ROLLOUT).contains("successfully rolled out"));
    let secret = ["get", "secret", "-n", "domicile-system", "eu-west-cluster"];
    let text = lab.kubectl(&[&secret[..], &["-o", "jsonpath={.data.kubeconfig}"]].concat());
    assert!(!text.unwrap().stdout.is_empty());
    let may =
        "auth can-i create secrets -n tenant-x --as system:serviceaccount:domicile-system:domicile";
    assert_eq!(own(may).trim(), "yes");
    let status = well(run(dir, &["status"]));
    assert!(status.contains("eu-west/kwok"), "{status}");
}

fn run(dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(super::PROGRAM);
    command.arg("--dir").arg(dir).args(words).output().unwrap()
}

fn well(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}
