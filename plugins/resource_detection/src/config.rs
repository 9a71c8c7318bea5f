//! The processor's keys: the Collector's, and those of two detectors of our own.

use std::collections::BTreeMap;

use sluice_sdk::prelude::*;
use sluice_sdk::serde::de::IgnoredAny;

use crate::{Detector, Fact, ResourceDetection};

/// The Collector's detectors that ask somebody over a network, or know one vendor's machines.
const COLLECTORS: [&str; 32] = [
    "akamai",
    "aks",
    "alibaba_ecs",
    "azure",
    "azurecontainerapps",
    "consul",
    "digitalocean",
    "dynatrace",
    "ec2",
    "ecs",
    "eks",
    "elastic_beanstalk",
    "elasticbeanstalk",
    "gce",
    "gcp",
    "gke",
    "heroku",
    "hetzner",
    "ibmcloud_classic",
    "ibmcloud_vpc",
    "k8s_api",
    "k8snode",
    "kubeadm",
    "lambda",
    "nova",
    "openshift",
    "openstack",
    "oraclecloud",
    "scaleway",
    "tencent_cvm",
    "upcloud",
    "vultr",
];

impl Fact {
    /// A fact that is called like its attribute.
    fn plain(name: &str) -> Self {
        Self { attribute: name.to_owned(), name: name.to_owned() }
    }
}

/// What a detector sets, and whether it does so unless told otherwise.
const SYSTEM: &[(&str, bool)] = &[("host.name", true), ("os.type", true), ("host.arch", false)];
const DOCKER: &[(&str, bool)] = &[("os.type", true)];
const CONTAINER: &[(&str, bool)] = &[("container.id", true)];

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default = "only_env")]
    detectors: Vec<String>,
    #[serde(default = "yes", rename = "override")]
    overrides: bool,
    #[serde(default)]
    attributes: Vec<String>,
    #[serde(default)]
    env: EnvConfig,
    #[serde(default)]
    system: SystemConfig,
    #[serde(default)]
    docker: DetectorConfig,
    #[serde(default)]
    container: DetectorConfig,
    #[serde(default)]
    k8s_downward_api: DownwardConfig,
    // Nobody is waited for, and what is known follows its files: there is nothing to bound, repeat or refresh.
    #[serde(rename = "timeout")]
    _timeout: Option<IgnoredAny>,
    #[serde(rename = "retry")]
    _retry: Option<IgnoredAny>,
    #[serde(rename = "refresh_interval")]
    _refresh_interval: Option<IgnoredAny>,
    #[serde(rename = "fail_on_missing_metadata")]
    _fail_on_missing_metadata: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvConfig {
    allowlist: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SystemConfig {
    #[serde(default)]
    hostname_sources: Vec<String>,
    #[serde(default)]
    resource_attributes: BTreeMap<String, Switch>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DetectorConfig {
    #[serde(default)]
    resource_attributes: BTreeMap<String, Switch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    enabled: bool,
}

/// The host reads the files: it takes their paths, and the names of the variables, from these keys.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DownwardConfig {
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    pod_labels: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    pod_annotations: Option<String>,
    #[serde(default)]
    annotations: Vec<String>,
}

fn only_env() -> Vec<String> {
    vec!["env".to_owned()]
}

fn yes() -> bool {
    true
}

impl Config {
    pub(crate) fn read(self) -> Result<ResourceDetection, Vec<ConfigError>> {
        let mut problems = Vec::new();
        for (i, source) in self.system.hostname_sources.iter().enumerate() {
            if source != "os" {
                let known = ["dns", "cname", "lookup"].contains(&source.as_str());
                let what = if known { "is not supported yet" } else { "is unknown" };
                let message = format!("the host name source `{source}` {what}: there is `os`, the kernel's");
                problems.push(ConfigError::new(format!("system.hostname_sources[{i}]"), message));
            }
        }
        let mut switched = |known: &[(&'static str, bool)], block: &str, switches: &BTreeMap<String, Switch>| {
            for (name, switch) in switches {
                if switch.enabled && known.iter().all(|(known, _)| known != name) {
                    let list: Vec<_> = known.iter().map(|(known, _)| format!("`{known}`")).collect();
                    let message = format!("the attribute `{name}` is not supported yet: there are {}", list.join(", "));
                    problems.push(ConfigError::new(format!("{block}.resource_attributes.{name}"), message));
                }
            }
            let on = |&&(name, default): &&(&str, bool)| switches.get(name).map_or(default, |switch| switch.enabled);
            Detector::Facts(known.iter().filter(on).map(|(name, _)| Fact::plain(name)).collect())
        };
        let system = switched(SYSTEM, "system", &self.system.resource_attributes);
        let docker = switched(DOCKER, "docker", &self.docker.resource_attributes);
        let container = switched(CONTAINER, "container", &self.container.resource_attributes);
        let downward = self.k8s_downward_api.read(&mut problems);
        let mut detectors = Vec::new();
        for (i, name) in self.detectors.iter().enumerate() {
            detectors.push(match name.trim() {
                "env" => Detector::Env(self.env.allowlist.clone()),
                "system" => system.clone(),
                "docker" => docker.clone(),
                "container" => container.clone(),
                "k8s_downward_api" => downward.clone(),
                name => {
                    let what = if COLLECTORS.contains(&name) { "is not supported yet" } else { "is unknown" };
                    let known = "there are `env`, `system`, `docker`, `container` and `k8s_downward_api`";
                    let message = format!("the detector `{name}` {what}: {known}");
                    problems.push(ConfigError::new(format!("detectors[{i}]"), message));
                    continue;
                }
            });
        }
        if self.detectors.is_empty() {
            problems.push(ConfigError::new("detectors", "at least one detector is needed"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let allowed = Some(self.attributes).filter(|allowed| !allowed.is_empty());
        Ok(ResourceDetection::new(detectors, self.overrides, allowed))
    }
}

impl DownwardConfig {
    fn read(self, problems: &mut Vec<ConfigError>) -> Detector {
        let mut facts = Vec::new();
        for (attribute, variable) in self.env {
            facts.push(Fact { attribute, name: format!("env.{variable}") });
        }
        facts.extend(self.files.keys().map(|name| Fact::plain(name)));
        for (what, file, keys) in
            [("label", self.pod_labels, self.labels), ("annotation", self.pod_annotations, self.annotations)]
        {
            if file.is_none() && !keys.is_empty() {
                let message = format!("`pod_{what}s` is missing, the file that they are in");
                problems.push(ConfigError::new(format!("k8s_downward_api.{what}s"), message));
            }
            facts.extend(keys.iter().map(|key| Fact::plain(&format!("k8s.pod.{what}.{key}"))));
        }
        Detector::Facts(facts)
    }
}
