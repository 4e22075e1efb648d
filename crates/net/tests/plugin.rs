//! The built-in types as CNI plugins.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::os::fd::AsRawFd;

use common::{Pod, World, ip, listen, talk};
use serde_json::{Value, json};

fn call(world: &World, pod: &Pod, command: &str, conf: &Value) -> (u8, Value) {
    let netns = format!("/proc/{}/fd/{}", std::process::id(), pod.netns.as_raw_fd());
    let environment = |name: &str| {
        Some(match name {
            "CNI_COMMAND" => command.to_owned(),
            "CNI_CONTAINERID" => pod.uuid.clone(),
            "CNI_IFNAME" => "eth0".to_owned(),
            "CNI_NETNS" => netns.clone(),
            _ => return None,
        })
    };
    let answer = net::plugin(None, environment, conf.to_string().as_bytes(), &world.paths);
    (
        answer.status,
        serde_json::from_str(&answer.output).unwrap_or_default(),
    )
}

#[test]
fn add_check_and_del_of_each_type() {
    let world = World::new();
    for (kind, more) in [
        ("ptp", json!({ "ipMasq": true })),
        (
            "bridge",
            json!({ "bridge": "rkt5", "isGateway": true, "ipMasq": true }),
        ),
        ("macvlan", json!({ "master": "up0" })),
    ] {
        let pod = world.pod(&format!("container-{kind}"));
        let mut conf = json!({
            "cniVersion": "1.0.0", "name": "n", "type": kind,
            "ipam": { "type": "host-local", "subnet": "10.4.0.0/24" },
        });
        conf.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (status, result) = call(&world, &pod, "ADD", &conf);
        assert_eq!(status, 0, "{kind}: {result}");
        let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
        assert!(address.starts_with("10.4.0.") && address.ends_with("/24"));
        assert!(pod.inside(|| ip("addr show dev eth0")).contains(&address));
        let addr = address.split('/').next().unwrap();
        if kind != "macvlan" {
            let listener = pod.inside(|| listen(&format!("{addr}:80")));
            talk(
                &listener,
                format!("{addr}:80").parse().unwrap(),
                |connect| connect(),
            );
        }
        conf.as_object_mut()
            .unwrap()
            .insert("prevResult".to_owned(), result);
        assert_eq!(
            call(&world, &pod, "CHECK", &conf),
            (0, Value::Null),
            "{kind}"
        );
        pod.inside(|| ip(&format!("addr del {address} dev eth0")));
        let (status, error) = call(&world, &pod, "CHECK", &conf);
        assert_eq!(status, 1);
        assert!(error["msg"].as_str().unwrap().contains(&address), "{error}");
        // Also without the result, and twice.
        conf.as_object_mut().unwrap().remove("prevResult");
        for _ in 0..2 {
            assert_eq!(call(&world, &pod, "DEL", &conf), (0, Value::Null), "{kind}");
        }
        assert_eq!(world.leases(), Vec::<String>::new());
    }
    ip("link del rkt5");
    assert_eq!(world.leftovers(), "");
}

#[test]
fn errors_are_objects_with_the_specifications_codes() {
    let world = World::new();
    let pod = world.pod("c");
    let (status, versions) = call(&world, &pod, "VERSION", &json!({}));
    assert_eq!(
        (status, versions["cniVersion"].as_str()),
        (0, Some("1.1.0"))
    );
    for (conf, code) in [
        (
            json!({ "cniVersion": "7.0.0", "name": "n", "type": "ptp" }),
            1,
        ),
        (
            json!({ "cniVersion": "1.0.0", "name": "n", "type": "nonsense" }),
            7,
        ),
        (
            json!({ "cniVersion": "1.0.0", "name": "n", "type": "ptp" }),
            7,
        ),
        (json!([]), 6),
    ] {
        let (status, error) = call(&world, &pod, "ADD", &conf);
        assert_eq!(
            (status, error["code"].as_u64()),
            (1, Some(code)),
            "{conf}: {error}"
        );
    }
}
