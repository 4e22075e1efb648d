//! `rkt net list` and `rkt net show`.

use e2e::{Lab, Rkt, fixtures};

#[test]
fn networks_are_listed_with_their_addresses_and_pods() {
    let (rkt, lab) = (Rkt::new(), Lab::new());
    let dir = rkt.local_config().join("net.d");
    std::fs::create_dir(&dir).unwrap();
    let chain = r#"{"cniVersion":"1.0.0","name":"shown","plugins":[
        {"type":"ptp","ipam":{"type":"host-local","ranges":[[{"subnet":"10.82.0.0/24"}],[{"subnet":"fd82::/64"}]]}},
        {"type":"tuning"},{"type":"nowhere-to-be-found"}]}"#;
    std::fs::write(
        dir.join("10-shown.conflist"),
        chain.replace(r#",{"type":"nowhere-to-be-found"}"#, ""),
    )
    .unwrap();
    let image = rkt.fetch(&fixtures::probe());
    let (pod, uuid) = rkt.start_pod_in(
        &lab,
        &[
            "--net=shown:IP=10.82.0.9",
            &image,
            "--exec=/probe",
            "--",
            "sleep",
        ],
    );

    let list = rkt.ok(&["net", "list"]);
    let lines: Vec<Vec<&str>> = list
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0][..3], ["NAME", "TYPE", "SUBNETS"]);
    assert_eq!(
        lines[1][..5],
        ["shown", "ptp,tuning", "10.82.0.0/24,fd82::/64", "2", "1"],
        "{list}"
    );
    assert!(lines[1][5].ends_with("net.d/10-shown.conflist"));
    assert_eq!(
        lines[2][..3],
        ["default-restricted", "ptp", "172.31.0.0/16"]
    );
    assert_eq!(lines[3][..3], ["default", "ptp", "172.16.28.0/24"]);
    assert!(lines[3].ends_with(&["built", "in"]), "{list}");
    assert_eq!(rkt.ok(&["net", "list", "--no-legend"]).lines().count(), 3);

    let show = rkt.ok(&["net", "show", "shown"]);
    for line in [
        "name=shown",
        "cniVersion=1.0.0",
        "plugins=ptp, tuning",
        "ipam=host-local",
    ] {
        assert!(show.lines().any(|l| l == line), "{line}: {show}");
    }
    let of_pod: Vec<&str> = show.lines().filter(|line| line.contains(&uuid)).collect();
    assert_eq!(of_pod.len(), 3, "two addresses and a pod: {show}");
    assert!(
        of_pod[2].contains("eth0") && of_pod[2].contains("IP=10.82.0.9"),
        "{show}"
    );

    let json = rkt.json(&["net", "show", "--format=json", "shown"]);
    assert_eq!(json["addresses"][0]["address"], "10.82.0.9");
    assert_eq!(json["addresses"][0]["container"], uuid.as_str());
    assert_eq!(json["pods"][0]["uuid"], uuid.as_str());
    assert_eq!(json["plugins"][1]["type"], "tuning");
    assert_eq!(
        rkt.json(&["net", "list", "--format=json"])[2]["builtIn"],
        true
    );

    rkt.ok(&["stop", &uuid]);
    pod.finish();
    let json = rkt.json(&["net", "show", "--format=json", "shown"]);
    assert_eq!(
        (
            json["addresses"].as_array().unwrap().len(),
            json["pods"].as_array().unwrap().len()
        ),
        (0, 0)
    );
    // A plugin that is nowhere is shown as such, and refused when a pod wants it.
    std::fs::write(dir.join("10-shown.conflist"), chain).unwrap();
    let show = rkt.ok(&["net", "show", "shown"]);
    assert!(show.contains("nowhere-to-be-found (not found)"), "{show}");
    rkt.run_in(&lab, &["run", "--net=shown", &image])
        .refused(&["nowhere-to-be-found", "no such plugin"]);
    lab.assert_clean();
    rkt.assert_clean();
}

#[test]
fn what_is_not_there_or_broken_is_said() {
    let rkt = Rkt::new();
    rkt.run(&["net", "show", "elsewhere"])
        .refused(&["elsewhere", "default-restricted"]);
    rkt.run(&["net", "show"]).refused(&["exactly one name"]);
    let dir = rkt.local_config().join("net.d");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("10-bad.conf"), r#"{"name":"bad","type":7}"#).unwrap();
    rkt.run(&["net", "list"])
        .refused(&["10-bad.conf", "type", "must be a string"]);
    let long = format!(r#"{{"name":"{}","type":"ptp"}}"#, "n".repeat(200));
    std::fs::write(dir.join("10-bad.conf"), long).unwrap();
    rkt.run(&["net", "list"])
        .refused(&["10-bad.conf", "longer than 128 bytes"]);
    std::fs::remove_file(dir.join("10-bad.conf")).unwrap();
    let image = rkt.fetch(&fixtures::probe());
    let name = format!("--net={}", "n".repeat(200));
    rkt.run(&["run", &name, &image]).refused(&["not found"]);
    rkt.assert_clean();
    let help = rkt.ok(&["help", "net", "show"]);
    assert!(help.contains("net show NAME"), "{help}");
}
