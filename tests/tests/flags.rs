//! Every flag that the original's commands took is taken, hidden and deprecated ones too.

use e2e::Rkt;

const STAGE1: &str =
    "--stage1-url=x --stage1-path=x --stage1-name=x --stage1-hash=x --stage1-from-dir=x";
const APP: &str = "--exec=x --working-dir=/ --readonly-rootfs=true --mount=volume=V,target=/p --user=1 --group=1 \
                   --supplementary-gids=1,2 --name=x --annotation=k=v --user-annotation=k=v --user-label=k=v \
                   --environment=k=v --stdin=null --stdout=log --stderr=log";
const ISOLATORS: &str = "--memory=1M --cpu=500m --cpu-shares=5 --caps-retain=CAP_KILL --caps-remove=CAP_KILL \
                         --seccomp=mode=retain,read --oom-score-adj=5";
const DEPRECATED: &str = "--cap-retain=CAP_KILL --cap-remove=CAP_KILL --store-only --no-store";
const NETWORK: &str = "--net=none --dns=8.8.8.8 --dns-search=x --dns-opt=x --dns-domain=x \
                       --hosts-entry=1.1.1.1=x --hostname=h";
const POD: &str = "--port=a:80 --inherit-env --no-overlay --private-users --set-env=k=v --set-env-file=f \
                   --pull-policy=new --pod-manifest=f --volume=v,kind=empty --signature=f";
const GLOBAL: &str = "--debug --dir=/x --system-config=x --local-config=x --user-config=x --insecure-options=image \
                      --trust-keys-from-https --cpuprofile=x --memprofile=x";

/// Commands, with what they need before their flags, and the flags.
fn table() -> Vec<(&'static str, Vec<&'static str>)> {
    let of = |groups: &[&'static str]| -> Vec<&'static str> {
        groups.iter().flat_map(|g| g.split_whitespace()).collect()
    };
    vec![
        (
            "run image",
            of(&[
                STAGE1,
                APP,
                ISOLATORS,
                DEPRECATED,
                NETWORK,
                POD,
                "--net --interactive --mds-register --uuid-file-save=f --ipc=auto",
            ]),
        ),
        (
            "prepare image",
            of(&[STAGE1, APP, ISOLATORS, DEPRECATED, POD, "--quiet"]),
        ),
        (
            "run-prepared uuid",
            of(&[NETWORK, "--net --interactive --mds-register --ipc=auto"]),
        ),
        (
            "fetch image",
            of(&["--signature=f --store-only --no-store --full --pull-policy=new"]),
        ),
        (
            "image fetch image",
            of(&["--signature=f --store-only --no-store --full --pull-policy=new"]),
        ),
        ("enter", of(&["--app=a"])),
        ("attach", of(&["--app=a --mode=list"])),
        ("list", of(&["--no-legend --full --format=json"])),
        (
            "status",
            of(&["--wait --wait=5s --wait-ready --wait-ready=5s --format=json --uuid-file=f"]),
        ),
        ("stop", of(&["--force --uuid-file=f"])),
        ("rm", of(&["--uuid-file=f"])),
        (
            "gc",
            of(&["--grace-period=5s --expire-prepared=5s --mark-only"]),
        ),
        (
            "cat-manifest",
            of(&["--pretty-print --pretty-print=false --uuid-file=f"]),
        ),
        ("export", of(&["--app=a --overwrite"])),
        (
            "image list",
            of(&["--fields=id --sort=name --order=asc --no-legend --full --format=json"]),
        ),
        ("image gc", of(&["--grace-period=5s"])),
        ("image export", of(&["--overwrite"])),
        ("image extract", of(&["--rootfs-only --overwrite"])),
        ("image render", of(&["--rootfs-only --overwrite"])),
        ("image cat-manifest", of(&["--pretty-print=false"])),
        (
            "trust",
            of(&["--prefix=x --root --skip-fingerprint-review --insecure-allow-http"]),
        ),
        ("config", of(&["--pretty-print=false"])),
        (
            "app sandbox",
            of(&[
                STAGE1,
                NETWORK,
                "--uuid-file-save=f --no-overlay --port=name:tcp:80::80 --annotation=k=v \
                 --user-annotation=k=v --user-label=k=v",
            ]),
        ),
        (
            "app add uuid image",
            of(&[
                APP,
                ISOLATORS,
                "--mnt-volume=name=n,kind=host,source=/s,target=/t,readOnly=true",
            ]),
        ),
        ("app start", of(&["--app=a"])),
        ("app stop", of(&["--app=a"])),
        ("app rm", of(&["--app=a"])),
        ("app exec", of(&["--app=a"])),
        ("app list", of(&["--no-legend"])),
        ("app status", of(&["--app=a --format=json"])),
        ("version", of(&[GLOBAL])),
    ]
}

#[test]
fn every_flag_of_every_command_is_known() {
    let rkt = Rkt::new();
    for (command, flags) in table() {
        let words: Vec<&str> = command.split(' ').collect();
        for flag in flags {
            let asked = rkt.run(&[&words[..], &[flag, "--help"]].concat());
            assert_eq!(asked.code, 0, "{command} {flag}: {}", asked.all());
            assert!(asked.stdout.starts_with("NAME:"), "{}", asked.all());
        }
        let unknown = rkt.run(&[&words[..], &["--no-such-flag", "--help"]].concat());
        assert_eq!(unknown.code, 254, "{command}: {}", unknown.all());
    }
}

/// They still do what they did, and say what takes their place.
#[test]
fn deprecated_flags_work_and_warn() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&e2e::fixtures::probe());
    let run = |flags: &[&str]| {
        let words = ["--exec=/probe", "--", "report"];
        rkt.run(
            &[
                &["run", "--net=none"],
                &flags[..1],
                &[&image],
                &flags[1..],
                &words,
            ]
            .concat(),
        )
    };
    for (flags, advice) in [
        (&["--store-only"][..], "--pull-policy"),
        (&["--no-overlay", "--cap-retain=CAP_KILL"], "--caps-retain"),
        (&["--no-overlay", "--cap-remove=CAP_KILL"], "--caps-remove"),
    ] {
        let output = run(flags).expect(0);
        assert!(output.stderr.contains(advice), "{}", output.all());
        let held = output.report()["status"]["CapEff"]
            .as_str()
            .unwrap()
            .to_owned();
        let held = u64::from_str_radix(&held, 16).unwrap();
        let kill = 1 << 5;
        match flags.last() {
            Some(&"--cap-retain=CAP_KILL") => assert_eq!(held, kill),
            Some(&"--cap-remove=CAP_KILL") => assert_eq!(held & kill, 0),
            _ => assert_eq!(held & kill, kill),
        }
    }
    rkt.assert_clean();
}
