//! `--port`: forwarded ports of pods, and the limit of a pod's networks.

use std::net::TcpListener;

use e2e::{Aci, Lab, Rkt, Running, fixtures, until};
use serde_json::json;

/// An image that serves TCP on 8000 and 8001… and echoes UDP on 5300.
fn image(ports: serde_json::Value) -> Aci {
    fixtures::probe().app("ports", ports)
}

fn tcp() -> serde_json::Value {
    json!([{ "name": "www", "protocol": "tcp", "port": 8000 }])
}

/// Asks for `pong` from the far host, or (`near`) from the host itself.
fn pong(lab: &Lab, near: bool, address: &str, port: u16) -> bool {
    let script = format!("exec 3<>/dev/tcp/{address}/{port} && head -c 4 <&3");
    let command = match near {
        true => lab.host("bash", &["-c", &script]),
        false => lab.far("bash", &["-c", &script]),
    };
    lab.finish(command).stdout == "pong"
}

#[test]
fn a_port_leads_into_the_pod_from_afar_and_from_the_host() {
    let (rkt, lab) = (Rkt::new(), Lab::new());
    let image = rkt.fetch(&image(tcp()));
    let (mut pod, uuid) = rkt.start_pod_in(
        &lab,
        &[
            "--port=www:8888",
            &image,
            "--exec=/probe",
            "--",
            "serve",
            "8000",
        ],
    );
    pod.await_stdout("ready");
    assert!(pong(&lab, false, Lab::HOST, 8888));
    assert!(pong(&lab, true, "127.0.0.1", 8888));
    // It is held: what wants it while the pod runs is told so, and no pod is made.
    let args = [
        "run",
        "--port=www:8888",
        &image,
        "--exec=/probe",
        "--",
        "true",
    ];
    rkt.run_in(&lab, &args).refused(&["8888", "in use"]);
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    rkt.run_in(&lab, &args).expect(0);
    lab.assert_clean();
    rkt.assert_clean();
}

#[test]
fn ranges_addresses_and_udp() {
    let (rkt, lab) = (Rkt::new(), Lab::new());
    let ports = json!([
        { "name": "many", "protocol": "tcp", "port": 8000, "count": 5 },
        { "name": "talk", "protocol": "udp", "port": 5300 },
    ]);
    let image = rkt.fetch(&image(ports));
    let flags = ["--port=many:192.0.2.2:9000", "--port=talk:5353"];
    let run = [
        &flags[..],
        &[
            &image,
            "--exec=/probe",
            "--name=a",
            "--",
            "serve",
            "8004",
            "---",
        ],
    ]
    .concat();
    let run = [
        &run[..],
        &[&image, "--exec=/probe", "--name=b", "--", "echo", "5300"],
    ]
    .concat();
    let (mut pod, uuid) = rkt.start_pod_in(&lab, &run);
    until(std::time::Duration::from_secs(20), "both apps", || {
        pod.stdout().matches("ready").count() == 2
    });
    assert!(pong(&lab, false, Lab::HOST, 9004));
    assert!(!pong(&lab, false, Lab::HOST, 9005), "beyond the range");
    assert!(!pong(&lab, true, "127.0.0.1", 9004), "another address");
    let ask = "exec 3<>/dev/udp/192.0.2.2/5353 && echo hello >&3 && head -n 1 <&3";
    let answer = lab
        .finish(lab.far("timeout", &["10", "bash", "-c", ask]))
        .expect(0);
    assert_eq!(answer.stdout, "hello\n");
    assert!(pod.try_status().is_none());
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    rkt.run_in(&lab, &["run", "--port=many:65534", &image])
        .refused(&["many", "65534"]);
    lab.assert_clean();
    rkt.assert_clean();
}

#[test]
fn socket_activated_ports_are_their_activators() {
    let (rkt, lab) = (Rkt::new(), Lab::new());
    let ports =
        json!([{ "name": "www", "protocol": "tcp", "port": 8000, "socketActivated": true }]);
    let image = rkt.fetch(&image(ports));
    // The activator listens already; the pod starts all the same, and no rule is made.
    let _activator = Running::start(lab.host("busybox", &["nc", "-l", "-p", "8888"]));
    until(std::time::Duration::from_secs(20), "the activator", || {
        lab.run("busybox", "netstat -ltn").contains(":8888")
    });
    let args = ["--port=www:8888", &image, "--exec=/probe", "--", "sleep"];
    let (pod, uuid) = rkt.start_pod_in(&lab, &args);
    let rules = lab.run("nft", "list ruleset");
    assert!(
        !rules.contains("8888") && !rules.contains("chain ports"),
        "{rules}"
    );
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    lab.assert_clean();
    rkt.assert_clean();
}

#[test]
fn a_port_of_the_host_that_is_taken_ends_the_start_before_the_pod() {
    let rkt = Rkt::new();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let image = rkt.fetch(&image(tcp()));
    let flag = format!("--port=www:{port}");
    let output = rkt.run(&["run", &flag, &image, "--exec=/probe", "--", "lines", "1"]);
    let output = output.refused(&[&port.to_string(), "in use"]);
    assert!(!output.stdout.contains("out 0"), "{}", output.all());
    rkt.run(&["run", "--net=none", &flag, &image])
        .refused(&["ports can only be forwarded"]);
    rkt.assert_clean();
}

/// The pod's limit, in both directions. That it is no more holds on any machine; how close it
/// comes is for `cargo xtask bench net`.
#[test]
fn a_pods_bandwidth_is_limited() {
    const LIMIT: f64 = 80e6;
    let (rkt, lab) = (Rkt::new(), Lab::new());
    let limited = fixtures::with_program(fixtures::probe(), "/usr/bin/iperf3")
        .dir("/tmp", 0o1777)
        .isolator(
            "resource/network-bandwidth",
            json!({ "default": true, "limit": "10M" }),
        );
    let image = rkt.fetch(&limited);
    let (mut pod, uuid) = rkt.start_pod_in(
        &lab,
        &[&image, "--exec=/usr/bin/iperf3", "--", "-s", "--forceflush"],
    );
    pod.await_stdout("listening");
    assert!(!pod.stderr().contains("not applied"), "{}", pod.stderr());
    let address = rkt.ip(&uuid);
    for direction in [&[][..], &["-R"]] {
        let args = [&["-c", &address, "-t", "3", "-J"], direction].concat();
        let output = lab.finish(lab.host("iperf3", &args)).expect(0);
        let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
        let rate = json["end"]["sum_received"]["bits_per_second"]
            .as_f64()
            .unwrap();
        println!(
            "FIGURE iperf3 {direction:?}: {:.3} of the limit",
            rate / LIMIT
        );
        assert!(
            rate < LIMIT * 1.05 && rate > LIMIT / 4.0,
            "{direction:?}: {rate}"
        );
    }
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    lab.assert_clean();
    rkt.assert_clean();
}

/// The ports of an image of a registry have the names that the original made for them.
#[test]
fn ports_of_docker_images_have_names() {
    use e2e::oci::{Layout, OciImage};
    let (rkt, lab) = (Rkt::new(), Lab::new());
    let image = OciImage::probe(&["serve", "8000"], &[])
        .field("ExposedPorts", json!({"8000/tcp": {}, "53/udp": {}}));
    let mut layout = Layout::new(rkt.path("layout"));
    layout.add(&image, "it");
    let id = rkt.ok(&["fetch", "--full", &layout.reference("it")]);
    let (mut pod, uuid) = rkt.start_pod_in(&lab, &["--port=8000-tcp:8888", id.trim()]);
    pod.await_stdout("ready");
    assert!(pong(&lab, false, Lab::HOST, 8888));
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    rkt.run_in(&lab, &["run", "--port=80-tcp:8888", id.trim()])
        .refused(&["80-tcp"]);
    lab.assert_clean();
    rkt.assert_clean();
}
