//! A host with firewalld: it keeps its rules, and lets pods of networks with the type `firewall`
//! through.

use std::fs;
use std::time::Duration;

use e2e::{Lab, Rkt, Running, fixtures, until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(40);

/// The host's firewalld, with a system bus of its own.
struct Firewalld<'a> {
    lab: &'a Lab,
    _daemons: [Running; 2],
}

impl<'a> Firewalld<'a> {
    /// Starts both on the host, whose commands find the bus from then on.
    fn start(rkt: &Rkt, lab: &'a mut Lab) -> Self {
        let (socket, settings) = (rkt.path("bus"), rkt.path("bus.conf"));
        let text = format!(
            r#"<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
            <allow receive_sender="*"/></policy></busconfig>"#,
            socket.display()
        );
        fs::write(&settings, text).unwrap();
        let conf = rkt.path("firewalld");
        fs::create_dir(&conf).unwrap();
        lab.set(
            "DBUS_SYSTEM_BUS_ADDRESS",
            &format!("unix:path={}", socket.display()),
        );
        let flag = format!("--config-file={}", settings.display());
        let bus = lab.host("dbus-daemon", &[&flag, "--nofork", "--nopidfile"]);
        let bus = Running::start(bus);
        until(LIMIT, "the bus", || socket.exists());
        let flags = [
            "--nofork",
            "--nopid",
            &format!("--system-config={}", conf.display()),
            &format!("--log-file={}", rkt.path("firewalld.log").display()),
        ];
        let daemon = Running::start(lab.host("firewalld", &flags));
        let lab: &Lab = lab;
        until(LIMIT, "firewalld", || {
            lab.finish(lab.host("firewall-cmd", &["--state"])).code == 0
        });
        Self {
            lab,
            _daemons: [bus, daemon],
        }
    }

    fn rules(&self) -> String {
        self.lab.run("nft", "list table inet firewalld")
    }

    fn trusted(&self) -> String {
        self.lab
            .run("firewall-cmd", "--zone=trusted --list-sources")
            .trim()
            .to_owned()
    }
}

fn network(rkt: &Rkt, name: &str, subnet: &str, more: &str) {
    let dir = rkt.local_config().join("net.d");
    fs::create_dir_all(&dir).unwrap();
    let conf = format!(
        r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{{"type":"ptp","ipMasq":true,
            "ipam":{{"type":"host-local","subnet":"{subnet}","routes":[{{"dst":"0.0.0.0/0"}}]}}}}{more}]}}"#
    );
    fs::write(dir.join(format!("10-{name}.conflist")), conf).unwrap();
}

/// What a pod of the network hears from the far host.
fn heard(rkt: &Rkt, lab: &Lab, net: &str, image: &str) -> String {
    let ask = format!("nc -w 5 {} 80 </dev/null; true", Lab::FAR);
    let net = format!("--net={net}");
    let args = ["run", &net, image, "--exec=/bin/sh", "--", "-c", &ask];
    rkt.run_in(lab, &args).expect(0).all()
}

fn pong_from_afar(lab: &Lab) -> bool {
    let ask = format!("exec 3<>/dev/tcp/{}/8888 && head -c 4 <&3", Lab::HOST);
    lab.finish(lab.far("timeout", &["10", "bash", "-c", &ask]))
        .stdout
        == "pong"
}

#[test]
fn firewalld_keeps_its_rules_and_is_told_about_pods() {
    let (rkt, mut lab) = (Rkt::new(), Lab::new());
    let firewalld = Firewalld::start(&rkt, &mut lab);
    let lab = firewalld.lab;
    network(&rkt, "e2e-fw-plain", "10.93.0.0/24", "");
    network(
        &rkt,
        "e2e-fw-told",
        "10.94.0.0/24",
        r#",{"type":"firewall"}"#,
    );
    let image = rkt.fetch(&fixtures::probe().port("www", "tcp", 8000));
    let client = rkt.fetch(&fixtures::busybox());
    let probe = fixtures::program("probe");
    let _far = Running::start(lab.far(probe.to_str().unwrap(), &["serve", "80"]));
    let before = firewalld.rules();

    // Forwarded ports pass; firewalld refuses what pods begin themselves, until it is told.
    let serve = ["--exec=/probe", "--", "serve", "8000"];
    let start = |net: &str, more: &[&str]| {
        let args = [&[net], more, &[&image], &serve].concat();
        rkt.start_pod_in(lab, &args)
    };
    let (mut plain, plain_uuid) = start("--net=e2e-fw-plain", &["--port=www:8888"]);
    plain.await_stdout("ready");
    assert!(pong_from_afar(lab));
    assert_eq!(firewalld.rules(), before);
    assert!(!heard(&rkt, lab, "e2e-fw-plain", &client).contains("pong"));
    let (told, told_uuid) = start("--net=e2e-fw-told", &[]);
    assert_eq!(
        firewalld.trusted(),
        format!("{}/32", rkt.ip(&told_uuid)),
        "while the pod lives"
    );
    assert!(heard(&rkt, lab, "e2e-fw-told", &client).contains("pong"));

    // A killed pod's address is taken back by the collector.
    told.signal(Signal::KILL);
    told.finish();
    rkt.await_state(&told_uuid, "exited");
    rkt.run_in(lab, &["gc", "--grace-period=0s"]).expect(0);
    assert_eq!(firewalld.trusted(), "");
    assert!(!firewalld.rules().contains("10.94."));

    // Its reload makes all its rules anew, and none of rkt's go.
    lab.run("firewall-cmd", "--reload");
    assert!(pong_from_afar(lab));
    rkt.run_in(lab, &["stop", &plain_uuid]).expect(0);
    plain.finish();
    assert_eq!(firewalld.rules(), before);

    // What it refuses ends the start.
    network(
        &rkt,
        "e2e-fw-told",
        "10.94.0.0/24",
        r#",{"type":"firewall","firewalldZone":"nowhere"}"#,
    );
    rkt.run_in(lab, &["run", "--net=e2e-fw-told", &client])
        .refused(&["firewall", "nowhere"]);
    rkt.run_in(lab, &["gc", "--grace-period=0s"]).expect(0);
    lab.assert_clean();
    rkt.assert_clean();
}

#[test]
fn without_firewalld_it_is_only_needed_where_it_is_named() {
    let (rkt, mut lab) = (Rkt::new(), Lab::new());
    lab.set(
        "DBUS_SYSTEM_BUS_ADDRESS",
        &format!("unix:path={}", rkt.path("no-bus").display()),
    );
    let image = rkt.fetch(&fixtures::busybox());
    let run = ["run", "--net=e2e-fw-none", &image, "--exec=/bin/true"];
    for (more, works) in [
        (r#",{"type":"firewall"}"#, true),
        (r#",{"type":"firewall","backend":"iptables"}"#, true),
        (r#",{"type":"firewall","backend":"firewalld"}"#, false),
    ] {
        network(&rkt, "e2e-fw-none", "10.95.0.0/24", more);
        let output = rkt.run_in(&lab, &run);
        match works {
            true => drop(output.expect(0)),
            false => drop(output.refused(&["firewalld", "not running"])),
        }
    }
    lab.assert_clean();
    rkt.assert_clean();
}
