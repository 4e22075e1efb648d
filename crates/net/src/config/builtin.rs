//! The networks that rkt brings along (networking-overview, "Builtin networks").

/// Name of the file and its content; later files of the user's with the same network's name win.
pub(super) const NETWORKS: [(&str, &str); 2] = [
    (
        "99-default-restricted.conf",
        r#"{
    "cniVersion": "0.1.0",
    "name": "default-restricted",
    "type": "ptp",
    "ipMasq": false,
    "ipam": {
        "type": "host-local",
        "subnet": "172.31.0.0/16"
    }
}
"#,
    ),
    (
        "99-default.conf",
        r#"{
    "cniVersion": "0.1.0",
    "name": "default",
    "type": "ptp",
    "ipMasq": true,
    "ipam": {
        "type": "host-local",
        "subnet": "172.16.28.0/24",
        "routes": [
            { "dst": "0.0.0.0/0" }
        ]
    }
}
"#,
    ),
];
