//! What no setting can know alone: values that do not go together, what has to wait for a later release, and what an
//! operator should be warned about.

use super::said::Said;
use super::value::show_bytes;
use super::{Config, ConfigError, Upstream};

/// Largest events that the event log holds at least: a client that is a few large events late must not be lapped.
const EVENTS_HELD_MIN: usize = 8;

/// Completes `config`; what is wrong with it as a whole comes back.
pub fn judge(config: &mut Config, said: &Said) -> Vec<ConfigError> {
    let errors = contradictions(config);
    config.unopened_ports =
        vec![("PLASMA_METRICS_PORT", config.metrics_port), ("PLASMA_PPROF_PORT", config.pprof.port)];
    config.warnings = doubts(config, said);
    errors
}

fn contradictions(config: &Config) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    if let (Some(cert), Some(key)) = (&config.tls.cert_file, &config.tls.key_file) {
        errors.push(ConfigError::new(format!(
            "PLASMA_TLS_CERT_FILE={cert:?} with PLASMA_TLS_KEY_FILE={key:?}: not supported yet; allowed is none or \
             one of the two, which leaves the ports plain"
        )));
    }
    let least = config.event_max_bytes.saturating_mul(EVENTS_HELD_MIN);
    if config.history_bytes < least {
        errors.push(ConfigError::new(format!(
            "PLASMA_HISTORY_BYTES={:?}: too small for PLASMA_EVENT_MAX_BYTES={:?}; allowed is at least \
             {EVENTS_HELD_MIN} times that, {}",
            show_bytes(config.history_bytes as u64),
            show_bytes(config.event_max_bytes as u64),
            show_bytes(least as u64)
        )));
    }
    errors
}

fn doubts(config: &Config, said: &Said) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |is: bool, text: &str| {
        if is {
            warnings.push(text.to_owned());
        }
    };
    let redis = config.upstream == Upstream::Redis;
    warn(
        redis && !said.mentions("PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR"),
        "PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR is not set: taken as alive, so Plasma stays up while Redis is \
         down (earlier releases ended)",
    );
    warn(
        redis && config.redis.channels.is_empty(),
        "PLASMA_SUBSCRIBER_REDIS_CHANNELS is not set: nothing is subscribed to, and nothing can be published",
    );
    warn(
        config.tls.cert_file.is_some() != config.tls.key_file.is_some(),
        "only one of PLASMA_TLS_CERT_FILE and PLASMA_TLS_KEY_FILE is set: the ports stay plain",
    );
    warn(
        config.publish.open && config.publish.token.is_some(),
        "PLASMA_PUBLISH_OPEN lets everybody publish: PLASMA_PUBLISH_TOKEN is not asked for",
    );
    warn(
        config.publish.max_bytes < config.event_max_bytes,
        "PLASMA_PUBLISH_MAX_BYTES is below PLASMA_EVENT_MAX_BYTES: the largest events cannot be published over HTTP",
    );
    warnings
}
