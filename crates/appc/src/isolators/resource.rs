//! Requests and limits of resources (specification, ace.md, "Resource Isolators").

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check::At;
use crate::json::{is_false, nullable};
use crate::{Error, Quantity};

/// A request and a limit, in the resource's base units.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// True for the resources that come by device or interface: the limit is for all of them.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_false"
    )]
    pub default: bool,
    /// The least that is guaranteed; the limit when absent (see [`Resource::request`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Quantity>,
    /// The most that can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Quantity>,
}

impl Resource {
    /// A resource with the same request and limit, as `--memory` and `--cpu` set it.
    pub fn exactly(amount: Quantity) -> Self {
        Resource {
            default: false,
            request: Some(amount.clone()),
            limit: Some(amount),
        }
    }

    /// A limit for all devices or interfaces.
    pub fn limited_everywhere(limit: Quantity) -> Self {
        Resource {
            default: true,
            request: None,
            limit: Some(limit),
        }
    }

    /// What is guaranteed: the request, or the limit where there is none.
    pub fn request(&self) -> Option<&Quantity> {
        self.request.as_ref().or(self.limit.as_ref())
    }

    /// CPU and memory: request and limit, without `default`.
    pub(super) fn guaranteed(value: &Value, at: &At<'_>) -> Result<Self, Error> {
        let resource: Resource = super::read(value, at)?;
        if resource.default {
            return Err(at.field("default").fail("must be false for this resource"));
        }
        resource.signs(at)?;
        Ok(resource)
    }

    /// Bandwidth and operations: a limit by default for all, without request.
    pub(super) fn limit_only(value: &Value, at: &At<'_>) -> Result<Self, Error> {
        let resource: Resource = super::read(value, at)?;
        if !resource.default {
            return Err(at.field("default").fail("must be true for this resource"));
        }
        if resource.request.is_some() {
            return Err(at
                .field("request")
                .fail("is not supported by this resource"));
        }
        resource.signs(at)?;
        Ok(resource)
    }

    fn signs(&self, at: &At<'_>) -> Result<(), Error> {
        let zero = Quantity::from_value(0);
        for (field, amount) in [("request", &self.request), ("limit", &self.limit)] {
            if amount.as_ref().is_some_and(|amount| *amount < zero) {
                return Err(at.field(field).fail("must not be negative"));
            }
        }
        Ok(())
    }
}
