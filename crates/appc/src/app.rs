//! How an app is run (specification, aci.md, "app").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::check::{At, Check, absolute_path, each, no_nul, required, unique};
use crate::json::{Extra, nullable};
use crate::{Environment, Error, Isolators, MountPoint, Port};

/// Annotations or labels that a user gave to an app or a pod; written in the order of the keys.
pub type UserMap = BTreeMap<String, String>;

/// The execution details of an image, or what a pod puts in their place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// The executable and its arguments. May be empty or start with a relative path, as in images
    /// converted from Docker's: who runs the app completes it.
    #[serde(default, deserialize_with = "nullable")]
    pub exec: Vec<String>,
    /// A name, a number, or an absolute path in the root whose owner is meant.
    pub user: String,
    /// As `user`, for the group.
    pub group: String,
    /// Further group numbers.
    #[serde(
        rename = "supplementaryGIDs",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub supplementary_gids: Vec<u32>,
    /// Programs to run before the start and after the end, at most one each.
    #[serde(
        rename = "eventHandlers",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub event_handlers: Vec<EventHandler>,
    /// The absolute directory to start in; `/` when absent or empty.
    #[serde(
        rename = "workingDirectory",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub working_directory: Option<String>,
    /// Environment variables.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Environment::none"
    )]
    pub environment: Environment,
    /// What confines the app.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Isolators::none"
    )]
    pub isolators: Isolators,
    /// Where outside data is expected; names are unique.
    #[serde(
        rename = "mountPoints",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub mount_points: Vec<MountPoint>,
    /// Ports it listens on; names are unique.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ports: Vec<Port>,
    /// Annotations that a user gave, without rules.
    #[serde(
        rename = "userAnnotations",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "UserMap::is_empty"
    )]
    pub user_annotations: UserMap,
    /// Labels that a user gave, without rules.
    #[serde(
        rename = "userLabels",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "UserMap::is_empty"
    )]
    pub user_labels: UserMap,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

/// When an event handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventName {
    /// Before the app starts; it must end first.
    PreStart,
    /// After the app ended.
    PostStop,
}

/// A program that runs at a turn of the app's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventHandler {
    /// When.
    pub name: EventName,
    /// The executable and its arguments.
    pub exec: Vec<String>,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

impl App {
    /// An app that runs as root.
    pub fn new(exec: Vec<String>) -> Self {
        App {
            exec,
            user: "0".to_owned(),
            group: "0".to_owned(),
            ..App::default()
        }
    }

    /// The directory to start in.
    pub fn working_directory(&self) -> &str {
        self.working_directory
            .as_deref()
            .filter(|dir| !dir.is_empty())
            .unwrap_or("/")
    }

    /// The event handler for an event.
    pub fn event_handler(&self, name: EventName) -> Option<&EventHandler> {
        self.event_handlers.iter().find(|h| h.name == name)
    }

    /// Checks an app that was put together in memory.
    pub fn validate(&self) -> Result<(), Error> {
        self.check(&At::root().field("app"))
    }
}

impl EventName {
    /// The word in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            EventName::PreStart => "pre-start",
            EventName::PostStop => "post-stop",
        }
    }
}

impl Check for App {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        arguments(&self.exec, &at.field("exec"))?;
        required(&self.user, &at.field("user"))?;
        required(&self.group, &at.field("group"))?;
        let handlers = at.field("eventHandlers");
        unique(&self.event_handlers, &handlers, |h| h.name.as_str())?;
        each(&self.event_handlers, &handlers)?;
        if let Some(dir) = self
            .working_directory
            .as_deref()
            .filter(|dir| !dir.is_empty())
        {
            absolute_path(dir, &at.field("workingDirectory"))?;
        }
        self.environment.check(&at.field("environment"))?;
        self.isolators.check(&at.field("isolators"))?;
        let points = at.field("mountPoints");
        unique(&self.mount_points, &points, |m| &m.name)?;
        each(&self.mount_points, &points)?;
        let ports = at.field("ports");
        unique(&self.ports, &ports, |p| &p.name)?;
        each(&self.ports, &ports)
    }
}

impl Check for EventHandler {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        let exec = at.field("exec");
        if self.exec.is_empty() {
            return Err(exec.fail("must not be empty"));
        }
        arguments(&self.exec, &exec)
    }
}

/// Arguments that the kernel can take.
fn arguments(exec: &[String], at: &At<'_>) -> Result<(), Error> {
    if let Some(program) = exec.first() {
        required(program, &at.index(0))?;
    }
    exec.iter()
        .enumerate()
        .try_for_each(|(i, word)| no_nul(word, &at.index(i)))
}
