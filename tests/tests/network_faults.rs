//! Networks that do not work: what a person is told, and that nothing is left.

use e2e::{Lab, Rkt, fixtures};

fn write(rkt: &Rkt, name: &str, text: &str) {
    let dir = rkt.local_config().join("net.d");
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
}

#[test]
fn a_start_that_cannot_have_its_network_leaves_nothing() {
    let (rkt, lab) = (Rkt::new(), Lab::new());
    let image = rkt.fetch(&fixtures::probe());
    write(
        &rkt,
        "e2e-rubbish",
        "#!/bin/sh\n[ $CNI_COMMAND = DEL ] || echo rubbish\n",
    );
    write(
        &rkt,
        "e2e-zero",
        "#!/bin/sh\n[ $CNI_COMMAND = DEL ] || echo '{\"code\":11,\"msg\":\"try again\"}'\n",
    );
    for (conf, words) in [
        (
            r#"{"name":"x","type":"e2e-rubbish"}"#,
            ["e2e-rubbish", "not JSON"],
        ),
        (
            r#"{"name":"x","type":"e2e-zero"}"#,
            ["e2e-zero", "try again"],
        ),
        (
            r#"{"name":"x","type":"macvlan","master":"nowhere0"}"#,
            ["nowhere0", "No such device"],
        ),
        (
            r#"{"name":"x","type":"ptp","ipam":{"type":"host-local","subnet":"10.0.0.1/24"}}"#,
            ["10-x.conf", "ipam.subnet"],
        ),
        (r#"{"name":"x","type":"ptp"}"#, ["10-x.conf", "ipam"]),
    ] {
        write(&rkt, "10-x.conf", conf);
        let output = rkt.run_in(
            &lab,
            &[
                "run",
                "--net=default,x",
                &image,
                "--exec=/probe",
                "--",
                "lines",
                "1",
            ],
        );
        let output = output.refused(&words);
        assert!(
            !output.stdout.contains("out 0"),
            "no app may start: {}",
            output.all()
        );
        lab.assert_clean();
    }
    rkt.assert_clean();
}

/// Killed while it starts and while it ends, over and over; one collection each time.
#[test]
fn killed_pods_leave_no_rule_interface_or_lease() {
    let (rkt, lab) = (Rkt::new(), Lab::new());
    write(
        &rkt,
        "10-x.conf",
        r#"{"name":"e2e-killed","type":"bridge","bridge":"rktk","isGateway":true,"ipMasq":true,
            "ipam":{"type":"host-local","subnet":"10.84.0.0/24"}}"#,
    );
    let served = fixtures::probe().port("www", "tcp", 8000);
    let image = rkt.fetch(&served);
    let args = [
        "run",
        "--net=e2e-killed,default",
        "--port=www:8888",
        &image,
        "--exec=/probe",
        "--",
        "true",
    ];
    for round in 0..20_u64 {
        let pod = e2e::Running::start(lab.wrap(&rkt.command(&args)));
        std::thread::sleep(std::time::Duration::from_millis(round * 7 % 90));
        pod.signal(rustix::process::Signal::KILL);
        pod.finish();
    }
    rkt.run_in(&lab, &["gc", "--grace-period=0s"]).expect(0);
    rkt.run_in(&lab, &["gc", "--grace-period=0s"]).expect(0);
    lab.assert_clean();
    assert!(
        !lab.ip("-o link").contains("rktk"),
        "the bridge goes with its last pod"
    );
    let leases = std::fs::read_dir("/var/lib/cni/networks/e2e-killed")
        .into_iter()
        .flatten()
        .flatten();
    let left: Vec<_> = leases
        .map(|e| e.file_name())
        .filter(|n| n.to_string_lossy().starts_with("10."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    rkt.assert_clean();
    let _ = std::fs::remove_dir_all("/var/lib/cni/networks/e2e-killed");
}
