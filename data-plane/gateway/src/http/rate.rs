//! What a project may still publish, said with every answer to a publish where it is limited (`RateLimit`,
//! `RateLimit-Policy`: draft-ietf-httpapi-ratelimit-headers). It is this node's share of the quota, a bucket that holds
//! a second's worth.

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use highwater_broker::{catalogue::Project, quota::Rate};

use crate::gateway::Door;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// Says so in an answer.
pub fn say(door: &Door, project: &Project, mut response: Response) -> Response {
    if let Some((left, a_second)) = project.usage.publish_left((door.clock)()) {
        let name = Rate::PublishMessages.name();
        let policy = format!("\"{name}\";q={a_second};w=1");
        let now = format!("\"{name}\";r={left};t=1");
        for (header, text) in [(POLICY, policy), (LEFT, now)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                response.headers_mut().insert(header, value);
            }
        }
    }
    response
}
