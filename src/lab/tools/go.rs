//! Programs that are built from Go modules. Each wrapper module pins every version by its
//! `go.sum`; `go install` cannot build these, because they need replace directives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{
    ETCD_VERSION, HELM_VERSION, KUBERNETES_VERSION, KWOK_VERSION, cache_key, cached, remove_folder,
};
use crate::error::{LabError, Result};
use crate::process::{installed, run_ok};

const BUILD_LIMIT: Duration = Duration::from_mins(40);

/// A wrapper module and what to build from it.
pub(super) struct GoModule {
    name: &'static str,
    version: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    tools_go: &'static str,
    linker_flags: String,
    /// Package and the name of its program.
    programs: &'static [(&'static str, &'static str)],
}

/// etcd.
pub(super) fn etcd() -> GoModule {
    GoModule {
        name: "etcd",
        version: ETCD_VERSION,
        go_mod: include_str!("../modules/etcd/go.mod"),
        go_sum: include_str!("../modules/etcd/go.sum"),
        tools_go: include_str!("../modules/etcd/tools.go"),
        linker_flags: String::new(),
        programs: &[("go.etcd.io/etcd/server/v3", "etcd")],
    }
}

/// Kubernetes with its node programs and kubectl.
pub(super) fn kubernetes() -> GoModule {
    let (major, rest) = KUBERNETES_VERSION
        .split_once('.')
        .unwrap_or((KUBERNETES_VERSION, ""));
    let minor = rest.split('.').next().unwrap_or_default();
    // Without these, clients see version v0.0.0.
    let flags: Vec<_> = [
        "k8s.io/component-base/version",
        "k8s.io/client-go/pkg/version",
    ]
    .iter()
    .map(|package| {
        format!(
            "-X {package}.gitVersion=v{KUBERNETES_VERSION} -X {package}.gitMajor={major} \
                 -X {package}.gitMinor={minor}"
        )
    })
    .collect();
    GoModule {
        name: "kubernetes",
        version: KUBERNETES_VERSION,
        go_mod: include_str!("../modules/controlplane/go.mod"),
        go_sum: include_str!("../modules/controlplane/go.sum"),
        tools_go: include_str!("../modules/controlplane/tools.go"),
        linker_flags: flags.join(" "),
        programs: &[
            ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            (
                "k8s.io/kubernetes/cmd/kube-controller-manager",
                "kube-controller-manager",
            ),
            ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
            ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
            ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
            ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ],
    }
}

/// Helm.
pub(super) fn helm() -> GoModule {
    GoModule {
        name: "helm",
        version: HELM_VERSION,
        go_mod: include_str!("../modules/helm/go.mod"),
        go_sum: include_str!("../modules/helm/go.sum"),
        tools_go: include_str!("../modules/helm/tools.go"),
        linker_flags: format!("-X helm.sh/helm/v4/internal/version.version=v{HELM_VERSION}"),
        programs: &[("helm.sh/helm/v4/cmd/helm", "helm")],
    }
}

/// kwok, which fakes nodes and pods.
pub(super) fn kwok() -> GoModule {
    GoModule {
        name: "kwok",
        version: KWOK_VERSION,
        go_mod: include_str!("../modules/kwok/go.mod"),
        go_sum: include_str!("../modules/kwok/go.sum"),
        tools_go: include_str!("../modules/kwok/tools.go"),
        linker_flags: String::new(),
        programs: &[("sigs.k8s.io/kwok/cmd/kwok", "kwok")],
    }
}

impl GoModule {
    /// The cache folder whose `bin` holds the programs.
    pub(super) fn ensure(&self, cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        let inputs = [self.go_mod, self.go_sum, self.tools_go, &self.linker_flags];
        let key = cache_key(self.name, self.version, &inputs);
        cached(cache, &key, |draft| {
            need_go()?;
            self.build(draft, progress)
        })
    }

    fn build(&self, draft: &Path, progress: &mut dyn FnMut(&str)) -> Result<()> {
        let (source, bin) = (draft.join("source"), draft.join("bin"));
        for folder in [&source, &bin] {
            fs::create_dir(folder).map_err(LabError::file("create", folder))?;
        }
        for (name, text) in [
            ("go.mod", self.go_mod),
            ("go.sum", self.go_sum),
            ("tools.go", self.tools_go),
        ] {
            let file = source.join(name);
            fs::write(&file, text).map_err(LabError::file("write", &file))?;
        }
        for (package, program) in self.programs {
            progress(&format!("building {program} {} (once)", self.version));
            let mut command = Command::new("go");
            command.args(["build", "-trimpath", "-ldflags"]);
            command.arg(format!("-s -w {}", self.linker_flags).trim_end());
            command.arg("-o").arg(bin.join(program)).arg(package);
            command
                .current_dir(&source)
                .env("CGO_ENABLED", "0")
                .env("GOWORK", "off")
                .env("GOFLAGS", "-mod=readonly");
            run_ok(&mut command, BUILD_LIMIT)?;
        }
        remove_folder(&source)
    }
}

fn need_go() -> Result<()> {
    // `go --version` fails, but it shows that there is one.
    if installed("go")? {
        return Ok(());
    }
    Err(LabError::missing(
        "go",
        "install Go 1.26 or newer; it builds Kubernetes, Helm and kwok",
    ))
}
