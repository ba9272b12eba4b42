//! The limit of requests (`RateLimitSettings`), one for all clients: they all come from this machine.

use std::sync::Mutex;
use std::time::Instant;

use serde_json::Value;

use crate::config::Config;
use crate::http::Response;

/// How many requests may still come at once, and when that was so.
#[derive(Default)]
pub(crate) struct Rate {
    left: Mutex<Option<(f64, Instant)>>,
}

impl Rate {
    /// The refusal of a request that is one too many.
    pub(crate) fn refusal(&self, config: &Config) -> Option<Response> {
        let number = |key: &str| config.get("RateLimitSettings", key).and_then(Value::as_f64);
        let (per_second, burst) = (number("PerSec")?, number("MaxBurst")? + 1.0);
        if !config.on("RateLimitSettings", "Enable") {
            return None;
        }
        let mut left = self.left.lock().ok()?;
        let (before, since) = left.unwrap_or((burst, Instant::now()));
        let now = (before + since.elapsed().as_secs_f64() * per_second).min(burst);
        *left = Some((if now < 1.0 { now } else { now - 1.0 }, Instant::now()));
        let seconds = |requests: f64| (requests.max(0.0) / per_second).ceil().to_string();
        (now < 1.0).then(|| {
            Response::new(429, "text/plain; charset=utf-8", "limit exceeded\n")
                .with("Retry-After", seconds(1.0 - now))
                .with("X-Ratelimit-Limit", burst.to_string())
                .with("X-Ratelimit-Remaining", "0")
                .with("X-Ratelimit-Reset", seconds(burst - now))
                .with("X-Content-Type-Options", "nosniff")
        })
    }
}
