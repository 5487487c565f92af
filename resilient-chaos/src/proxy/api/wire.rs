//! JSON of the HTTP API.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::proxy::error::Invalid;
use crate::proxy::toxic::{Direction, Effect, Toxic, TransferRate};
use crate::proxy::{Proxy, ProxyError};

/// Longest time in milliseconds: 30 days. It includes 2^31 - 1, which scripts use for "forever".
const MOST_MS: u64 = 30 * 24 * 3600 * 1000;
const MOST_US: u64 = MOST_MS * 1000;

/// The types of toxics, each with its attributes and their maximum.
const KINDS: [(&str, &[(&str, u64)]); 8] = [
    ("latency", &[("latency", MOST_MS), ("jitter", MOST_MS)]),
    ("bandwidth", &[("rate", i64::MAX as u64)]),
    ("slow_close", &[("delay", MOST_MS)]),
    ("timeout", &[("timeout", MOST_MS)]),
    ("reset_peer", &[("timeout", MOST_MS)]),
    ("slicer", &[("average_size", i64::MAX as u64), ("size_variation", i64::MAX as u64), ("delay", MOST_US)]),
    ("limit_data", &[("bytes", i64::MAX as u64)]),
    ("noop", &[]),
];

/// The types of toxics, for messages.
pub(in crate::proxy) fn kinds() -> String {
    KINDS.map(|(kind, _)| kind).join(", ")
}

/// Parses a body. The content type does not matter, as in Toxiproxy.
pub(super) fn parse<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, ProxyError> {
    serde_json::from_slice(body).map_err(|error| ProxyError::InvalidBody { reason: error.to_string() })
}

pub(super) fn proxy(proxy: &Proxy) -> Value {
    json!({
        "name": proxy.name(),
        "listen": proxy.address().to_string(),
        "upstream": proxy.upstream(),
        "enabled": proxy.is_enabled(),
        "toxics": proxy.toxics().iter().map(toxic).collect::<Vec<_>>(),
    })
}

pub(super) fn toxic(toxic: &Toxic) -> Value {
    json!({
        "name": toxic.name(),
        "type": toxic.effect().kind(),
        "stream": toxic.direction().as_str(),
        "toxicity": toxic.share(),
        "attributes": attributes(toxic.effect()),
    })
}

fn attributes(effect: &Effect) -> Map<String, Value> {
    let ms = |time: Duration| json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let fields = match *effect {
        Effect::Latency { latency, jitter } => vec![("latency", ms(latency)), ("jitter", ms(jitter))],
        Effect::Bandwidth { rate } => vec![("rate", json!(rate.as_bytes() / 1000))],
        Effect::SlowClose { delay } => vec![("delay", ms(delay))],
        Effect::Timeout { timeout } | Effect::ResetPeer { timeout } => vec![("timeout", ms(timeout))],
        Effect::Slicer { average_size, size_variation, delay } => vec![
            ("average_size", json!(average_size)),
            ("size_variation", json!(size_variation)),
            ("delay", json!(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX))),
        ],
        Effect::LimitData { bytes } => vec![("bytes", json!(bytes))],
        Effect::Noop => vec![],
    };
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The effect of a type, with the `given` attributes. Missing attributes are as in `base`, or 0.
fn effect(kind: &str, given: &Map<String, Value>, base: &Map<String, Value>) -> Result<Effect, Unsuitable> {
    let known = KINDS.iter().find(|(name, _)| *name == kind);
    let (kind, known) = known.ok_or(Unsuitable::Kind)?;
    if let Some(name) = given.keys().find(|name| known.iter().all(|(known, _)| known != name)) {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let known = if names.is_empty() { "no attributes".to_owned() } else { names.join(", ") };
        let name = name.chars().take(100).collect();
        return Err(Unsuitable::Value(Invalid::UnknownAttribute { name, kind, known }));
    }
    let integer = |name: &'static str| {
        let most = known.iter().find(|(known, _)| *known == name).map_or(0, |(_, most)| *most);
        let value = given.get(name).filter(|value| !value.is_null()).or_else(|| base.get(name));
        let Some(value) = value else { return Ok(0) };
        value.as_u64().filter(|value| *value <= most).ok_or_else(|| {
            let value = value.to_string().chars().take(100).collect();
            Unsuitable::Value(Invalid::Attribute { name: name.to_owned(), value, most })
        })
    };
    let ms = |name| integer(name).map(Duration::from_millis);
    let size = |name| integer(name).map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    Ok(match *kind {
        "latency" => Effect::Latency { latency: ms("latency")?, jitter: ms("jitter")? },
        "bandwidth" => Effect::Bandwidth { rate: TransferRate::kilobytes(integer("rate")?) },
        "slow_close" => Effect::SlowClose { delay: ms("delay")? },
        "timeout" => Effect::Timeout { timeout: ms("timeout")? },
        "reset_peer" => Effect::ResetPeer { timeout: ms("timeout")? },
        "slicer" => Effect::Slicer {
            average_size: size("average_size")?,
            size_variation: size("size_variation")?,
            delay: integer("delay").map(Duration::from_micros)?,
        },
        "limit_data" => Effect::LimitData { bytes: integer("bytes")? },
        _ => Effect::Noop,
    })
}

/// Why there is no effect.
enum Unsuitable {
    Kind,
    Value(Invalid),
}

impl Unsuitable {
    fn of(self, name: &str, kind: &str) -> ProxyError {
        match self {
            Self::Kind => ProxyError::InvalidType { kind: kind.chars().take(100).collect() },
            Self::Value(reason) => {
                ProxyError::InvalidToxic { name: name.chars().take(100).collect(), reason }
            }
        }
    }
}

/// A toxic to create. As in Toxiproxy, `null` counts as missing, and other fields are ignored.
#[derive(Deserialize)]
pub(super) struct NewToxic {
    name: Option<String>,
    r#type: Option<String>,
    stream: Option<String>,
    toxicity: Option<f64>,
    attributes: Option<Map<String, Value>>,
}

impl TryFrom<NewToxic> for Toxic {
    type Error = ProxyError;

    fn try_from(json: NewToxic) -> Result<Self, ProxyError> {
        let direction = match json.stream {
            None => Direction::default(),
            Some(stream) if stream.eq_ignore_ascii_case("upstream") => Direction::Upstream,
            Some(stream) if stream.eq_ignore_ascii_case("downstream") => Direction::Downstream,
            Some(stream) => {
                return Err(ProxyError::InvalidStream { stream: stream.chars().take(100).collect() });
            }
        };
        let kind = json.r#type.unwrap_or_default();
        let name = json.name.filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| format!("{kind}_{}", direction.as_str()));
        let effect = effect(&kind, &json.attributes.unwrap_or_default(), &Map::new())
            .map_err(|reason| reason.of(&name, &kind))?;
        let toxic = Self::new(effect).with_direction(direction).named(name);
        Ok(match json.toxicity {
            Some(toxicity) => toxic.toxicity(toxicity),
            None => toxic,
        })
    }
}

/// A change of a toxic. Its type and its direction cannot change, so that these fields are ignored, as in Toxiproxy.
#[derive(Deserialize)]
pub(super) struct ToxicChange {
    toxicity: Option<f64>,
    attributes: Option<Map<String, Value>>,
}

impl ToxicChange {
    pub(super) fn apply(self, toxic: Toxic) -> Result<Toxic, ProxyError> {
        let kind = toxic.effect().kind();
        let given = self.attributes.unwrap_or_default();
        let effect = effect(kind, &given, &attributes(toxic.effect()))
            .map_err(|reason| reason.of(&toxic.name(), kind))?;
        // The JSON of an effect is rounded to its units, so that an effect without a change must not pass through it.
        let toxic = if given.values().all(Value::is_null) { toxic } else { toxic.with_effect(effect) };
        Ok(match self.toxicity {
            Some(toxicity) => toxic.toxicity(toxicity),
            None => toxic,
        })
    }
}

/// A change of a proxy.
#[derive(Deserialize)]
pub(super) struct ProxyChange {
    pub(super) listen: Option<String>,
    pub(super) upstream: Option<String>,
    pub(super) enabled: Option<bool>,
}
