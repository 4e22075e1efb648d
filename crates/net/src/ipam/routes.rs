//! The `routes` of a configuration.

use serde_json::Value;

use crate::cni::Route;
use crate::config::Fields;
use crate::error::Result;

/// Reads the field `routes`: objects with `dst` and `gw`, or (as the documents have it) texts.
pub(crate) fn parse(fields: &Fields<'_>) -> Result<Vec<Route>> {
    let mut routes = Vec::new();
    for (index, entry) in fields.list("routes")?.iter().enumerate() {
        let route = match entry {
            Value::String(text) => match text.parse() {
                Ok(dst) => Route::new(dst, None),
                Err(problem) => return Err(fields.error(&format!("routes[{index}]"), problem)),
            },
            Value::Object(map) => object(&fields.entry("routes", index, map))?,
            _ => return Err(fields.error(&format!("routes[{index}]"), "must be an object")),
        };
        routes.push(route);
    }
    Ok(routes)
}

fn object(fields: &Fields<'_>) -> Result<Route> {
    let Some(dst) = fields.cidr("dst")? else {
        return Err(fields.error("dst", "is missing"));
    };
    let gw = fields.addr("gw")?;
    if gw.is_some_and(|gw| gw.is_ipv4() != dst.addr.is_ipv4()) {
        return Err(fields.error("gw", format!("is not of the family of {dst}")));
    }
    Ok(Route {
        dst,
        gw,
        mtu: fields.u32("mtu", 65536)?,
        advmss: fields.u32("advmss", 65536)?,
        priority: fields.u32("priority", u32::MAX)?,
        table: fields.u32("table", u32::MAX)?,
        scope: fields
            .u32("scope", 255)?
            .and_then(|scope| scope.try_into().ok()),
    })
}
