//! `cargo xtask demo`: the getting-started guide, done and checked in one go.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{Compression, Rkt, fixtures};

use crate::{Result, build, setup};

const LIMIT: Duration = Duration::from_secs(20);

/// Builds, runs, asks, stops, collects; an error as soon as something is not as it should be.
pub(crate) fn run() -> Result<()> {
    setup::run(&["demo"])?;
    println!("Building rkt and the hello web server …");
    let programs = build::release(&["rkt", "hello"])?;
    let start = Instant::now();
    let demo = Demo {
        rkt: Rkt::of(programs.join("rkt")),
    };

    let image = demo.rkt.path("hello-0.0.1-linux-amd64.aci");
    fixtures::hello_with(&programs.join("hello"))
        .write(&image, Compression::Gzip)
        .map_err(|e| format!("cannot write {}: {e}", image.display()))?;
    println!("Packed {}\n", image.display());

    let (mut pod, uuid) = demo.start(&image.display().to_string())?;
    let told = demo.talk_and_stop(&uuid);
    let ended = demo.end(&mut pod);
    told?;
    let log = ended?;
    let status = demo.show(&["status", &uuid])?;
    demand("state=exited", &status)?;
    demand("request from", &log)?;
    demo.show(&["rm", &uuid])?;
    let list = demo.show(&["list", "--no-legend"])?;
    if !list.is_empty() {
        return Err(format!("the pod is still listed: {list}"));
    }
    explain(start.elapsed());
    Ok(())
}

struct Demo {
    rkt: Rkt,
}

impl Demo {
    /// `rkt run` in the background, until its pod is ready.
    fn start(&self, image: &str) -> Result<(Child, String)> {
        let file = self.rkt.path("uuid");
        let save = format!("--uuid-file-save={}", file.display());
        println!("# rkt --insecure-options=image run {image} &");
        let mut command = self.rkt.command(&["run", &save, image]);
        let output = fs::File::create(self.rkt.path("log"))
            .map_err(|e| format!("cannot create a log: {e}"))?;
        let errors = output.try_clone().map_err(|e| e.to_string())?;
        let spawned = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn();
        let mut pod = spawned.map_err(|e| format!("cannot execute rkt: {e}"))?;
        let end = Instant::now() + LIMIT;
        let uuid = loop {
            match fs::read_to_string(&file) {
                Ok(text) if text.trim().len() == 36 => break text.trim().to_owned(),
                _ if Instant::now() > end => return Err("no pod after 20 s".to_owned()),
                _ => {}
            }
            if let Ok(Some(status)) = pod.try_wait() {
                return Err(format!("rkt run: {status}: {}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        self.call(&["status", "--wait-ready=20s", &uuid])?;
        Ok((pod, uuid))
    }

    /// What a user does with the running pod.
    fn talk_and_stop(&self, uuid: &str) -> Result<()> {
        let list = self.show(&["list"])?;
        demand("example.com/hello:0.0.1", &list)?;
        demand("running", &list)?;
        let address = list
            .split("ip4=")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        let address = address
            .ok_or("no address in the list")?
            .trim_end_matches(',');
        println!("$ curl http://{address}:5000/");
        let page = get(address)?;
        println!("{page}");
        if page != "hello\n" {
            return Err(format!("not the page that was expected: {page:?}"));
        }
        demand("state=running", &self.show(&["status", uuid])?)?;
        self.show(&["stop", uuid]).map(drop)
    }

    /// The end of `rkt run`; what the app and rkt have written.
    fn end(&self, pod: &mut Child) -> Result<String> {
        let end = Instant::now() + LIMIT;
        loop {
            match pod.try_wait() {
                Ok(Some(status)) => {
                    let log = self.log();
                    println!("[rkt run has ended: {status}; the pod wrote:]\n{log}");
                    return Ok(log);
                }
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
                _ => {
                    let _ = pod.kill();
                    return Err(format!("the pod did not end: {}", self.log()));
                }
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.rkt.path("log")).unwrap_or_default()
    }

    fn call(&self, args: &[&str]) -> Result<String> {
        let mut command: Command = self.rkt.command(args);
        let output = command
            .output()
            .map_err(|e| format!("cannot execute rkt: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "rkt {}: {}: {text}{stderr}",
            args.join(" "),
            output.status
        ))
    }

    fn show(&self, args: &[&str]) -> Result<String> {
        println!("# rkt {}", args.join(" "));
        let text = self.call(args)?;
        println!("{text}");
        Ok(text)
    }
}

fn demand(word: &str, text: &str) -> Result<()> {
    if text.contains(word) {
        Ok(())
    } else {
        Err(format!("{word:?} is missing in: {text}"))
    }
}

/// The page at `/`, as soon as somebody listens.
fn get(address: &str) -> Result<String> {
    let end = Instant::now() + LIMIT;
    let mut stream = loop {
        match TcpStream::connect((address, 5000)) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > end => return Err(format!("{address}:5000: {error}")),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let mut answer = String::new();
    let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n");
    asked
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(|e| format!("{address}:5000: {e}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    demand("200 OK", head)?;
    Ok(body.to_owned())
}

fn explain(took: Duration) {
    println!(
        "What you saw ({:.2} s): an image file went into a content-addressed store; `rkt run` made a pod of it\n\
         and became the pod's main process: no daemon was involved. The pod had its own pid, mount, ipc, uts\n\
         and network namespaces and an address of the default network, where the host asked it for a page.\n\
         `rkt stop` ended it, its exit status was recorded, and `rkt rm` removed the last trace of it.",
        took.as_secs_f64()
    );
}
