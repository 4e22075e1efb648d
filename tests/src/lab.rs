//! A small network for tests of networks: a "host" in a network namespace of its own, whose uplink
//! leads to a "far host" in another. Commands run in either; the machine's own network is left
//! alone.

use std::process::{Child, Command, Stdio};

use crate::process::{LIMIT, Output, Running};
use crate::wait::until;

/// The network. Its namespaces go with it.
#[derive(Debug)]
pub struct Lab {
    host: Child,
    far: Child,
    /// Variables of the host's commands.
    variables: Vec<(String, String)>,
}

impl Lab {
    /// The host's address on the uplink.
    pub const HOST: &str = "192.0.2.2";
    /// The far host's, which has no route to pods.
    pub const FAR: &str = "192.0.2.1";
    /// The host's IPv6 address on the uplink.
    pub const HOST6: &str = "2001:db8:f::2";

    /// A host `up0` and a far host `far0` at the two ends of a cable.
    pub fn new() -> Self {
        let lab = Self {
            host: holder(),
            far: holder(),
            variables: Vec::new(),
        };
        let far = lab.far.id();
        for line in [
            "link set lo up".to_owned(),
            format!("link add up0 type veth peer name far0 netns {far}"),
            "addr add 192.0.2.2/24 dev up0".to_owned(),
            "addr add 2001:db8:f::2/64 dev up0 nodad".to_owned(),
            "link set up0 up".to_owned(),
        ] {
            lab.ip(&line);
        }
        for line in [
            "link set lo up",
            "addr add 192.0.2.1/24 dev far0",
            "addr add 2001:db8:f::1/64 dev far0 nodad",
            "link set far0 up",
        ] {
            let words: Vec<_> = line.split(' ').collect();
            Running::start(lab.far("ip", &words)).finish().expect(0);
        }
        lab
    }

    /// Gives the host's commands a variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// A command on the host.
    pub fn host(&self, program: &str, args: &[&str]) -> Command {
        let mut command = inside(&self.host, program, args);
        command.envs(self.variables.iter().cloned());
        command
    }

    /// A command on the far host.
    pub fn far(&self, program: &str, args: &[&str]) -> Command {
        inside(&self.far, program, args)
    }

    /// The same command, but on the host.
    pub fn wrap(&self, command: &Command) -> Command {
        let mut wrapped = self.host("env", &[]);
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                let mut pair = name.to_owned();
                pair.push("=");
                pair.push(value);
                wrapped.arg(pair);
            }
        }
        wrapped.arg(command.get_program()).args(command.get_args());
        wrapped
    }

    /// Runs a program on the host to its end, which must be a good one; its stdout.
    #[track_caller]
    pub fn run(&self, program: &str, line: &str) -> String {
        let words: Vec<_> = line.split_whitespace().collect();
        self.finish(self.host(program, &words)).expect(0).stdout
    }

    /// `ip` on the host.
    #[track_caller]
    pub fn ip(&self, line: &str) -> String {
        self.run("ip", line)
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn finish(&self, command: Command) -> Output {
        Running::start(command).finish()
    }

    /// A path to the host's network namespace.
    pub fn host_netns(&self) -> String {
        format!("/proc/{}/ns/net", self.host.id())
    }

    /// Another network namespace, for a container: a process that holds it.
    pub fn container(&self) -> Container {
        Container(holder())
    }

    /// Panics if an interface or a rule of pods is left on the host. The kernel removes dead
    /// namespaces in its own time, so this waits for it.
    #[track_caller]
    pub fn assert_clean(&self) {
        until(LIMIT, "interfaces and rules of pods to go", || {
            let links = self.ip("-o link");
            let links = links.contains(": veth") || links.contains(": rifb");
            !links && !self.run("nft", "list ruleset").contains(" rkt ")
        });
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        end(&mut self.host);
        end(&mut self.far);
    }
}

/// A network namespace of somebody else's container.
#[derive(Debug)]
pub struct Container(Child);

impl Container {
    /// A path to the namespace.
    pub fn netns(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// A command inside.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        inside(&self.0, program, args)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

fn end(holder: &mut Child) {
    let _ = holder.kill();
    let _ = holder.wait();
}

/// A process in a network namespace of its own.
fn holder() -> Child {
    let child = Command::new("unshare")
        .args(["--net", "sleep", "infinity"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("unshare");
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    until(LIMIT, "a network namespace", || {
        let theirs = namespace(&child.id().to_string());
        theirs.is_some() && theirs != namespace("self")
    });
    child
}

fn inside(holder: &Child, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/proc/{}/ns/net", holder.id()))
        .arg("--")
        .arg(program)
        .args(args);
    command
}
