//! Apps that come and go while the pod runs (proposal "App-level API").

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Signal, kill_process};
use rustix::termios::Winsize;
use sandbox::Context;
use sandbox::root::Root;

use crate::control::{Addition, Asker, Received, Request};
use crate::plan::AppPlan;
use crate::pod::attach_volume;
use crate::running::{App, NotStarted, State};
use crate::status::FAILED_TO_START;
use crate::supervise::Supervisor;

/// Apps that were added and never started, and the volumes of all that were added.
#[derive(Default)]
pub(crate) struct Additions {
    waiting: Vec<AppPlan>,
    volumes: BTreeMap<String, Vec<PathBuf>>,
}

impl Supervisor {
    /// Does what entrypoints ask, and answers what can be answered at once.
    pub(crate) fn obey(&mut self) {
        let Some(control) = &mut self.control else {
            return;
        };
        for Received {
            request,
            fds,
            asker,
        } in control.receive()
        {
            match request {
                Request::Add => asker.answer(self.add(fds)),
                Request::Start(app) => self.start_app(&app, asker),
                Request::Stop(app) => self.stop_app(&app, asker),
                Request::Remove(app) => asker.answer(self.remove_app(&app)),
                Request::Resize(app, rows, columns) => {
                    asker.answer(self.resize(&app, rows, columns));
                }
            }
        }
    }

    fn find(&self, app: &str) -> Option<usize> {
        self.apps.iter().position(|a| a.plan.name == app)
    }

    fn add(&mut self, fds: Vec<OwnedFd>) -> Result<(), String> {
        if !self.mutable {
            return Err("the pod is not mutable".into());
        }
        let (plan, mounts) = Addition::receive(fds)?;
        let name = plan.name.clone();
        let waits = self.additions.waiting.iter().any(|p| p.name == name);
        if waits || self.find(&name).is_some() {
            return Err(format!("app {name:?} is in the pod already"));
        }
        let root = Root::open(Path::new("/")).map_err(|e| e.to_string())?;
        let volumes = self.additions.volumes.entry(name).or_default();
        for (place, mount) in mounts {
            attach_volume(&root, &place, mount).map_err(|e| e.to_string())?;
            volumes.push(place);
        }
        self.additions.waiting.push(plan);
        Ok(())
    }

    /// Starts an app that was added, or again one that ended. One that runs already is as asked.
    fn start_app(&mut self, name: &str, asker: Asker) {
        if let Some(n) = self.find(name)
            && self.apps[n].state != State::Exited
        {
            return asker.answer(Ok(()));
        }
        if self.stop.is_some() {
            return asker.answer(Err("the pod is being stopped".into()));
        }
        let again = self.find(name).map(|n| self.take(n).plan);
        let waiting = self.additions.waiting.iter().position(|p| p.name == name);
        let plan = again.or_else(|| waiting.map(|n| self.additions.waiting.swap_remove(n)));
        let Some(plan) = plan else {
            return asker.answer(Err(format!("app {name:?} is not in the pod")));
        };
        match self.launch(plan) {
            Ok(mut app) => {
                app.starter = Some(asker);
                self.apps.push(app);
            }
            Err(failed) => {
                // As of one whose program cannot be executed.
                if let Err(error) = self.status.exited(&failed.plan.name, FAILED_TO_START) {
                    self.complain(&error);
                }
                asker.answer(Err(failed.error.to_string()));
                self.additions.waiting.push(failed.plan);
            }
        }
    }

    /// Takes an app out, once what it wrote is passed on.
    fn take(&mut self, n: usize) -> App {
        let mut app = self.apps.swap_remove(n);
        for (source, sink) in app.sources.iter_mut().zip(&mut self.sinks) {
            if let Some(source) = source.take() {
                source.finish(sink, &mut self.log);
            }
        }
        app
    }

    fn launch(&mut self, plan: AppPlan) -> Result<App, Box<NotStarted>> {
        if let Err(error) = self.status.forget(&plan.name) {
            return Err(Box::new(NotStarted { plan, error }));
        }
        let app = App::start(plan, self.debug, &mut self.log)?;
        match app.release(&self.status) {
            Ok(()) => Ok(app),
            Err(error) => Err(app.give_up(error)),
        }
    }

    fn stop_app(&mut self, name: &str, asker: Asker) {
        let Some(n) = self.find(name) else {
            return asker.answer(Err(format!("app {name:?} is not running")));
        };
        let app = &mut self.apps[n];
        if app.state == State::Exited {
            return asker.answer(Err(format!("app {name:?} is not running")));
        }
        app.stoppers.push(asker);
        if app.deadline.is_none() {
            app.deadline = Some(Instant::now() + self.stop_timeout);
            // An app that is gone meanwhile is what was wanted.
            let _ = kill_process(app.pid, Signal::TERM);
            let _ = kill_process(app.pid, Signal::CONT);
        }
    }

    fn remove_app(&mut self, name: &str) -> Result<(), String> {
        if let Some(n) = self.find(name) {
            if self.apps[n].state != State::Exited {
                return Err(format!("app {name:?} is running"));
            }
            self.take(n);
        }
        self.additions.waiting.retain(|plan| plan.name != name);
        for place in self.additions.volumes.remove(name).unwrap_or_default() {
            unmount(&place, UnmountFlags::DETACH)
                .context("unmount", place.display())
                .map_err(|e| e.to_string())?;
        }
        self.status.forget(name).map_err(|e| e.to_string())
    }

    fn resize(&self, app: &str, rows: u16, columns: u16) -> Result<(), String> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let app = self.find(app).map(|n| &self.apps[n]);
        match app.is_some_and(|app| app.attachable.resize(size)) {
            true => Ok(()),
            false => Err("there is no such terminal".into()),
        }
    }
}
