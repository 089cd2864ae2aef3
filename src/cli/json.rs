//! Reading objects as the API server shows them, so that a status of another version, or with a
//! word that this CLI does not know, is still shown rather than refused.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde_json::Value;

/// The value at `pointer`, or null.
pub fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// The text, number or boolean at `pointer` as text; empty when there is none.
pub fn text(value: &Value, pointer: &str) -> String {
    plain(at(value, pointer))
}

/// A scalar as text; empty for null; anything else as JSON.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// The items of the list at `pointer`; none when there is no list.
pub fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).as_array().map_or(&[], Vec::as_slice)
}

/// The object's name.
pub fn name(object: &Value) -> String {
    text(object, "/metadata/name")
}

/// The object's namespace, when it has one.
pub fn namespace(object: &Value) -> Option<String> {
    at(object, "/metadata/namespace")
        .as_str()
        .map(str::to_owned)
}

/// The condition of type `kind`, or null.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = items(object, "/status/conditions");
    conditions
        .iter()
        .find(|c| text(c, "/type") == kind)
        .unwrap_or(&Value::Null)
}

/// Whether the condition of type `kind` has this status.
pub fn is(object: &Value, kind: &str, status: &str) -> bool {
    text(condition(object, kind), "/status") == status
}

/// How long ago `time` was: `12s`, `3m`, `5h` or `9d`. Empty when `time` is not a time.
pub fn age(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else {
        return String::new();
    };
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// From `start` to `end`, in seconds: `0.4s`, `64s`. Empty when either is not a time.
pub fn lasted(start: &str, end: &str) -> String {
    let (Ok(start), Ok(end)) = (start.parse::<Timestamp>(), end.parse::<Timestamp>()) else {
        return String::new();
    };
    let seconds = end.duration_since(start).as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.1}s")
    } else {
        format!("{seconds:.0}s")
    }
}

/// A time in whole seconds; anything else as it is.
pub fn moment(time: &str) -> String {
    let rounded = time.parse::<Timestamp>().and_then(|time| {
        let down = TimestampRound::new()
            .smallest(Unit::Second)
            .mode(RoundMode::Trunc);
        time.round(down)
    });
    rounded.map_or_else(|_| time.to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        assert_eq!(age("2026-01-01T23:59:01Z", now), "59s");
        assert_eq!(age("2026-01-01T23:48:00Z", now), "12m");
        assert_eq!(age("2025-10-01T00:00:00Z", now), "93d");
        assert_eq!(age("2026-01-03T00:00:00Z", now), "0s");
        assert_eq!(age("soon", now), "");
        assert_eq!(
            lasted("2026-01-01T00:00:00Z", "2026-01-01T00:01:04Z"),
            "64s"
        );
    }
}
