//! Networks of ordinary users' pods, through `pasta`, and ports that lead to them. The host is a
//! lab's.

use std::fs;
use std::process::Command;

use e2e::{Aci, Lab, Running, fixtures, through, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::rootless::{LIMIT, User, shell};

/// A host with a way out, over a gateway that is not there: the far host is a neighbour.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.ip("route add default via 192.0.2.9");
    lab
}

/// Starts a pod on the lab's host and waits until an app has said `word`.
#[track_caller]
fn start(user: &User, lab: &Lab, word: &str, args: &[&str]) -> (Running, String) {
    let start = |args: &[&str]| Running::start(lab.wrap(&user.command(args)));
    let (mut pod, uuid) = user.rkt.start_pod_by(&["run"], args, start);
    pod.await_stdout(word);
    (pod, uuid)
}

/// Those of the user's pods that run.
fn pastas(user: &User) -> String {
    let command = format!("^/usr/bin/pasta.*{}", user.rkt.data().display());
    let output = Command::new("pgrep").args(["-f", &command]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// What a command on the lab's host (`near`) or the far host prints.
fn said(lab: &Lab, near: bool, words: &[&str]) -> String {
    let words = [&["10"], words].concat();
    let command = match near {
        true => lab.host("timeout", &words),
        false => lab.far("timeout", &words),
    };
    lab.finish(command).stdout
}

#[test]
fn a_pod_reaches_others_and_not_the_hosts_own() {
    let (user, lab) = (User::new(65_536), lab());
    let image = user.fetch(&fixtures::busybox());
    let pages = user.rkt.path("pages");
    fs::create_dir(&pages).unwrap();
    fs::write(pages.join("page"), "a page\n").unwrap();
    fs::write(pages.join("large"), vec![b'x'; 4_000_000]).unwrap();
    let serve = |address| ["httpd", "-f", "-p", address, "-h", pages.to_str().unwrap()];
    let _far = Running::start(lab.far("busybox", &serve("8080")));
    let _own = Running::start(lab.host("busybox", &serve("8081")));
    until(LIMIT, "the servers", || {
        let page =
            |near, address| said(&lab, near, &["busybox", "wget", "-qO-", address]) == "a page\n";
        page(true, "http://192.0.2.1:8080/page") && page(true, "http://127.0.0.1:8081/page")
    });
    let script = "get() { busybox timeout 5 busybox wget -q -O - http://$1; }; get 192.0.2.1:8080/page; \
        get 192.0.2.1:8080/large | wc -c; get 127.0.0.1:8081/page || echo loopback is its own; \
        get 192.0.2.9:8081/page || echo no way by the gateway; \
        busybox ip addr show eth0 | grep -c 'inet 192.0.2.2/'; ls /sys/class/net | tr '\n' ' '; echo; \
        echo up; exec sleep 1000";
    let (pod, uuid) = start(&user, &lab, "up", &shell(&image, script));
    let list = user.ok(&["list", "--no-legend"]);
    assert!(list.contains("default:ip4=192.0.2.2"), "{list}");
    let status = user.ok(&["status", &uuid]);
    assert!(
        status.contains("networks=default:ip4=192.0.2.2"),
        "{status}"
    );
    user.stop(&uuid);
    let output = pod.finish();
    let wanted = [
        "a page",
        "4000000",
        "loopback is its own",
        "no way by the gateway",
        "1",
        "eth0 lo ",
        "up",
    ];
    assert_eq!(output.app_lines(), wanted, "{}", output.all());
    until(LIMIT, "pasta's end", || pastas(&user).is_empty());
    user.assert_clean();
}

/// An image that serves TCP on 8000 and the ports after it, where it speaks first, echoes UDP on
/// 5300, and says so of 38 for SCTP.
fn image() -> Aci {
    let ports = json!([
        { "name": "many", "protocol": "tcp", "port": 8000, "count": 5 },
        { "name": "talk", "protocol": "udp", "port": 5300 },
        { "name": "streams", "protocol": "sctp", "port": 38 },
    ]);
    fixtures::probe().app("ports", ports)
}

#[test]
fn ports_lead_into_the_pod_from_afar_and_from_the_host() {
    let (user, lab) = (User::new(65_536), lab());
    let image = user.fetch(&image());
    let serve = ["--exec=/probe", "--name=a", "--", "serve", "8004", "---"];
    let echo = ["--exec=/probe", "--name=b", "--", "echo", "5300"];
    let flags = ["--port=many:9000", "--port=talk:5353"];
    let args = [&flags[..], &[&image], &serve, &[&image], &echo].concat();
    let (mut pod, uuid) = start(&user, &lab, "ready", &args);
    until(LIMIT, "both apps", || {
        pod.stdout().matches("ready").count() == 2
    });
    let pong = |near, address: &str, port: u16| {
        let script = format!("exec 3<>/dev/tcp/{address}/{port} && head -c 4 <&3");
        said(&lab, near, &["bash", "-c", &script]) == "pong"
    };
    let echoes = |near, address: &str| {
        let ask = format!("exec 3<>/dev/udp/{address}/5353 && echo hello >&3 && head -n 1 <&3");
        said(&lab, near, &["bash", "-c", &ask]) == "hello\n"
    };
    for (near, address) in [
        (false, Lab::HOST),
        (false, Lab::HOST6),
        (true, "127.0.0.1"),
        (true, "::1"),
        (true, Lab::HOST),
    ] {
        assert!(pong(near, address, 9004), "tcp {address}, near: {near}");
        assert!(echoes(near, address), "udp {address}, near: {near}");
    }
    assert!(!pong(false, Lab::HOST, 9005), "beyond the range");
    assert!(!pong(false, Lab::HOST, 9003), "nobody listens in the pod");
    // More at once than are taken in one go, each with an answer of its own.
    let crowd =
        "for n in $(seq 100); do (exec 3<>/dev/tcp/192.0.2.2/9004 && head -c 4 <&3) & done; wait";
    let answers = said(&lab, false, &["bash", "-c", crowd]);
    assert_eq!(answers, "pong".repeat(100));
    assert!(pod.try_status().is_none());
    // What wants the port while the pod runs is told so.
    let again = [
        "run",
        "--port=many:9004",
        &image,
        "--exec=/probe",
        "--",
        "true",
    ];
    let run = |args: &[&str]| lab.finish(lab.wrap(&user.command(args)));
    run(&again).refused(&["9004", "in use"]);
    user.stop(&uuid);
    pod.finish();
    // And has it at once when the pod has ended.
    run(&again).expect(0);
    until(LIMIT, "pasta's end", || pastas(&user).is_empty());
    user.assert_clean();
}

#[test]
fn a_port_of_one_address_is_that_addresss_alone() {
    let (user, lab) = (User::new(0), lab());
    let pages = fixtures::busybox().port("www", "tcp", 80);
    let image = user.fetch(&pages);
    // What the pod's loopback has stays there.
    let script = "mkdir /www; cd /www; busybox head -c 30000000 /dev/zero > large; \
        busybox httpd -p 127.0.0.1:81; busybox httpd -p 80; echo up; exec sleep 1000";
    let args = [&["--port=www:127.0.0.1:8080"][..], &shell(&image, script)].concat();
    let (pod, uuid) = start(&user, &lab, "up", &args);
    let get = |near, host: &str| {
        let url = format!("busybox wget -q -O - http://{host}:8080/large | wc -c");
        said(&lab, near, &["sh", "-c", &url]).trim().to_owned()
    };
    until(LIMIT, "the server", || get(true, "127.0.0.1") == "30000000");
    assert_eq!(get(true, Lab::HOST), "0");
    assert_eq!(get(false, Lab::HOST), "0");
    user.stop(&uuid);
    pod.finish();
    user.assert_clean();
}

/// However the pod ends, what connects it ends with it.
#[test]
fn a_killed_pods_network_goes_with_it() {
    let (user, lab) = (User::new(65_536), lab());
    let image = user.fetch(&fixtures::busybox().port("www", "tcp", 80));
    let script = shell(&image, "echo up; exec sleep 1000");
    let args = [&["--port=www:8080"], &script[..]].concat();
    let (pod, uuid) = start(&user, &lab, "up", &args);
    assert_ne!(pastas(&user), "");
    let listens = || lab.run("busybox", "netstat -ltn").contains(":8080");
    assert!(listens());
    let status = user.ok(&["status", &uuid]);
    let pid = status.lines().find_map(|l| l.strip_prefix("pid="));
    let parent = e2e::parent_of(pid.unwrap()).parse().unwrap();
    kill_process(Pid::from_raw(parent).unwrap(), Signal::KILL).unwrap();
    pod.finish();
    until(LIMIT, "the end of what connected it", || {
        pastas(&user).is_empty() && !listens()
    });
    user.assert_clean();
}

/// What an ordinary user's network is not, and what it wants.
#[test]
fn networks_that_an_ordinary_user_cannot_have() {
    let (user, lab) = (User::new(65_536), lab());
    let image = user.fetch(&image());
    let command = |flags: &[&str]| {
        lab.wrap(
            &user.command(&[&["run"], flags, &[&image, "--exec=/probe", "--", "true"]].concat()),
        )
    };
    let run = |flags: &[&str]| lab.finish(command(flags));
    run(&["--net=other"]).refused(&["--net=none", "--net=host"]);
    run(&["--port=streams:1038"]).refused(&["TCP or UDP"]);
    run(&["--port=many:80"]).refused(&["80", "1024"]);
    run(&["--port=many:192.0.2.77:8080"]).refused(&["192.0.2.77", "not an address"]);
    // What limits a pod's interfaces limits those that rkt makes.
    let limit = json!({ "default": true, "limit": "1M" });
    let limited = fixtures::probe().isolator("resource/network-bandwidth", limit);
    let limited = user.fetch(&limited);
    let strict = ["run", "--strict-isolators", &limited, "--exec=/probe"];
    lab.finish(lab.wrap(&user.command(&[&strict[..], &["--", "true"]].concat())))
        .refused(&["resource/network-bandwidth", "cannot be applied"]);
    // On a host without it.
    let inner = command(&[]);
    let hide = "mount --bind /dev/null /usr/bin/pasta; exec \"$@\"";
    let without = through("unshare", &["--mount", "sh", "-c", hide, "sh"], &inner);
    let output = Running::start(without).finish();
    output.refused(&["/usr/bin/pasta", "passt", "--net=none"]);
    // On a host that has no way out.
    lab.ip("route del default");
    run(&[]).refused(&["pasta", "interface", "--net=none"]);
    assert_eq!(pastas(&user), "");
    user.assert_clean();
}
