//! Made files in the forms that Docker, Kubernetes and Go give them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::PathBuf;

use sluice_spans::Texts;
use tempfile::TempDir;

use super::*;

const ID: &str = "3f4a1c9be0d24f6f8f5b7a6c1d2e3f405162738495a6b7c8d9e0f1a2b3c4d5e6";

/// A folder like `/proc`.
fn proc(cgroup: &str, mountinfo: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("self")).unwrap();
    fs::create_dir_all(folder.path().join("sys/kernel")).unwrap();
    fs::write(folder.path().join("self/cgroup"), cgroup.replace("ID", ID)).unwrap();
    fs::write(folder.path().join("self/mountinfo"), mountinfo.replace("ID", ID)).unwrap();
    fs::write(folder.path().join("sys/kernel/hostname"), "edge-7\n").unwrap();
    folder
}

fn value(found: &Pairs, name: &str) -> Option<String> {
    found.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

#[test]
fn the_containers_id_is_in_the_name_of_its_control_group() {
    for cgroup in [
        "12:memory:/docker/ID\n",
        "0::/system.slice/docker-ID.scope\n",
        "1:name=systemd:/\n11:cpu:/kubepods/besteffort/pod0e7d4a2c-1111-2222-3333-444455556666/ID\n",
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0e7d.slice/cri-containerd-ID.scope\n",
        "0::/kubepods.slice/kubepods-pod0e7d.slice/crio-ID.scope/container\n",
        "0::/system.slice/containerd.service/kubepods-burstable-pod0e7d.slice:cri-containerd:ID\n",
        "0::/machine.slice/libpod-ID.scope\n",
    ] {
        assert_eq!(container_id(proc(cgroup, "").path()).as_deref(), Some(ID), "{cgroup}");
    }
}

#[test]
fn where_the_control_group_has_no_name_dockers_files_tell() {
    let line = |root: &str| format!("678 655 254:1 {root} /etc/hostname rw,relatime - ext4 /dev/vda1 rw\n");
    let of = |root: &str| container_id(proc("0::/\n", &line(root)).path());
    assert_eq!(of("/var/lib/docker/containers/ID/hostname").as_deref(), Some(ID));
    // These are of the sandbox that the containers of a pod share.
    assert_eq!(of("/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/ID/hostname"), None);
    assert_eq!(of("/containers/storage/overlay-containers/ID/userdata/hostname"), None);
    assert_eq!(of("/var/lib/kubelet/pods/0e7d/containers/ID/hostname"), None);
}

#[test]
fn what_is_no_container_has_no_id() {
    let short = &ID[1..];
    for cgroup in
        ["0::/\n", "0::/user.slice/user-1000.slice\n", "", "nonsense", "0::/machine.slice/crio-conmon-ID.scope"]
    {
        assert_eq!(container_id(proc(cgroup, "").path()), None, "{cgroup}");
    }
    assert_eq!(container_id(proc(&format!("0::/docker/{short}"), "").path()), None);
    assert_eq!(container_id(Path::new("/nowhere")), None);
}

/// The files of a downward API volume.
fn podinfo() -> (TempDir, Facts) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let facts = Facts {
        env: Vec::new(),
        files: vec![("k8s.pod.name".to_owned(), file("name", "shop-0\n"))],
        pod_labels: Some(file("labels", "app=\"shop\"\nteam.example.com/tier=\"a \\\"b\\\" \\u00fc\\x41\\n\"")),
        pod_annotations: Some(file(
            "annotations",
            "kubernetes.io/config.seen=\"2026-11-21T10:00:00.1Z\"\nempty=\"\"\n",
        )),
    };
    (folder, facts)
}

#[test]
fn the_downward_api_tells_of_the_pod() {
    let (_folder, facts) = podinfo();
    let found = find(&facts, proc("0::/\n", "").path()).unwrap();
    assert_eq!(value(&found, "host.name").as_deref(), Some("edge-7"));
    assert_eq!(value(&found, "k8s.pod.name").as_deref(), Some("shop-0"));
    assert_eq!(value(&found, "k8s.pod.label.app").as_deref(), Some("shop"));
    assert_eq!(value(&found, "k8s.pod.label.team.example.com/tier").as_deref(), Some("a \"b\" üA\n"));
    let seen = value(&found, "k8s.pod.annotation.kubernetes.io/config.seen");
    assert_eq!(seen.as_deref(), Some("2026-11-21T10:00:00.1Z"));
    assert_eq!(value(&found, "k8s.pod.annotation.empty").as_deref(), Some(""));
}

#[test]
fn a_file_that_is_missing_or_broken_is_told_with_its_place() {
    let (folder, facts) = podinfo();
    let wrong = |facts: &Facts| find(facts, proc("", "").path()).unwrap_err();
    for (text, line) in
        [("app=shop", 1), ("app=\"shop\"\nbroken", 2), ("a=\"\\q\"", 1), ("a=\"b\"c\"", 1), ("a=\"\\ud800\"", 1)]
    {
        fs::write(folder.path().join("labels"), text).unwrap();
        assert!(
            wrong(&facts).ends_with(&format!("labels:{line}: `key=\"value\"` is expected here")),
            "{}",
            wrong(&facts)
        );
    }
    fs::write(folder.path().join("labels"), vec![b'x'; FILE_BYTES as usize + 1]).unwrap();
    assert!(wrong(&facts).ends_with("has more than 1048576 bytes"));
    fs::remove_file(folder.path().join("labels")).unwrap();
    assert!(wrong(&facts).starts_with("cannot read "), "{}", wrong(&facts));
    let folder = Facts { pod_labels: Some(folder.path().to_owned()), ..facts };
    assert!(wrong(&folder).ends_with("it is not a regular file"));
}

#[test]
fn a_table_follows_its_files_and_a_broken_file_leaves_it_as_it_was() {
    let (folder, facts) = podinfo();
    let hosts = Hosts::default();
    let live = hosts.open("wasm/p", &facts).unwrap();
    assert!(Arc::ptr_eq(&live, &hosts.open("wasm/p", &facts).unwrap()), "one for all versions");
    let app = || {
        let keys: Texts = ["k8s.pod.label.app"].iter().collect();
        String::from_utf8(live.now().look_up("value", &keys, 100).unwrap().values.bytes).unwrap()
    };
    let outcome = || hosts.refresh().remove(0).outcome;
    assert_eq!((outcome(), app().as_str()), (None, "shop"), "nothing has changed");
    fs::write(folder.path().join("labels"), "app=\"till\"").unwrap();
    assert_eq!((outcome(), app().as_str()), (Some(Ok(())), "till"));
    fs::write(folder.path().join("labels"), "app").unwrap();
    assert!(outcome().unwrap().unwrap_err().contains("labels:1:"));
    assert_eq!((outcome(), app().as_str()), (None, "till"), "told once");
    fs::write(folder.path().join("labels"), "app=\"shop\"").unwrap();
    assert_eq!((outcome(), app().as_str()), (Some(Ok(())), "shop"));
    drop(live);
    assert!(hosts.refresh().is_empty(), "nobody has it any more");
}

#[test]
fn the_machine_is_known_and_only_the_variables_that_are_allowed() {
    let of = |env: &[&str]| {
        find(&Facts { env: env.iter().map(ToString::to_string).collect(), ..Facts::default() }, Path::new(PROC))
    };
    let found = of(&["CARGO_PKG_NAME", "SLUICE_NOT_SET"]).unwrap();
    assert_eq!(value(&found, "os.type").as_deref(), Some("linux"));
    let uname = std::process::Command::new("uname").arg("-n").output().unwrap();
    assert_eq!(value(&found, "host.name").as_deref(), Some(String::from_utf8(uname.stdout).unwrap().trim()));
    assert!(value(&found, "host.arch").is_some());
    // Set by cargo for every test.
    assert_eq!(value(&found, "env.CARGO_PKG_NAME").as_deref(), Some("sluice"));
    assert_eq!((value(&found, "env.SLUICE_NOT_SET"), value(&found, "env.PATH")), (None, None));
    let twice = of(&["CARGO_PKG_NAME", "CARGO_PKG_NAME"]).unwrap();
    assert!(table(&twice).unwrap_err().contains("env.CARGO_PKG_NAME"));
}
