//! Load balancers and reverse proxies before the public ports.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Load balancers and reverse proxies that are trusted to say whose connection or request they forward. Without them, a client has
/// the address that its connection comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ProxySettings {
    /// Networks of load balancers that begin every connection with a header of the PROXY protocol, version 1 or 2: on the RTMP and HTTP
    /// ports, and before TLS. A connection of theirs without one is refused, a header from elsewhere is not accepted.
    #[schemars(schema_with = "cidrs_schema")]
    pub proxy_protocol_cidrs: Vec<String>,
    /// Networks of reverse proxies whose header `forwardedHeader` counts on the HTTP ports. It is ignored from elsewhere.
    #[schemars(schema_with = "cidrs_schema")]
    pub forwarded_cidrs: Vec<String>,
    /// Header that the reverse proxies set or append to: `X-Forwarded-For`, or `Forwarded` of RFC 7239. They pass the other one on from
    /// clients, so that it is ignored.
    pub forwarded_header: ForwardedHeader,
}

/// Header that names the client of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ForwardedHeader {
    /// The addresses of the client and of all proxies but the last.
    #[default]
    #[serde(rename = "X-Forwarded-For")]
    XForwardedFor,
    /// The same in the form of RFC 7239.
    Forwarded,
}

/// Returns the schema of a list of networks, which the API server of Kubernetes parses.
pub fn cidrs_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 256,
        "items": {
            "type": "string",
            "format": "cidr",
            "maxLength": 43,
            "pattern": r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$",
        },
    })
}
