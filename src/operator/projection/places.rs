//! Places in a JSON document: found by a path, looked at, and made: pure.

use domicile_core::json_path::{Condition, Step, Test};
use serde_json::{Value, json};

/// One step to one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A field.
    Field(String),
    /// An element.
    At(usize),
}

/// A place: the steps that lead to it.
pub(crate) type Place = Vec<Key>;

/// The places that a path leads to, in the order of the document, each once.
pub(crate) fn find(root: &Value, path: &[Step]) -> Vec<Place> {
    let mut places: Vec<Place> = vec![Vec::new()];
    for step in path {
        let mut next: Vec<Place> = Vec::new();
        for place in places {
            let Some(value) = get(root, &place) else {
                continue;
            };
            for steps in below(value, step) {
                let mut found = place.clone();
                found.extend(steps);
                if !next.contains(&found) {
                    next.push(found);
                }
            }
        }
        places = next;
    }
    places
}

/// What stands at a place.
pub(crate) fn get<'a>(root: &'a Value, place: &[Key]) -> Option<&'a Value> {
    place.iter().try_fold(root, |value, key| match key {
        Key::Field(name) => value.get(name),
        Key::At(at) => value.get(at),
    })
}

/// As [`get`], to be changed.
pub(crate) fn get_mut<'a>(root: &'a mut Value, place: &[Key]) -> Option<&'a mut Value> {
    place.iter().try_fold(root, |value, key| match key {
        Key::Field(name) => value.get_mut(name),
        Key::At(at) => value.get_mut(at),
    })
}

/// What stands below a place at the end of a fixed path.
pub(crate) fn field<'a>(root: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(root, |value, name| value.get(name))
}

/// A place and a fixed path from there.
pub(crate) fn join(place: &[Key], path: &[String]) -> Place {
    let fields = path.iter().cloned().map(Key::Field);
    place.iter().cloned().chain(fields).collect()
}

/// The list at a place; empty when there is none.
pub(crate) fn list<'a>(root: &'a Value, place: &[Key]) -> &'a [Value] {
    let found = get(root, place).and_then(Value::as_array);
    found.map_or(&[], Vec::as_slice)
}

/// Makes what is missing on the way to a place, with `empty` at its end, and answers the first
/// place that was missing. Refuses when something else stands in the way.
pub(crate) fn ensure(root: &mut Value, place: &[Key], empty: &Value) -> Result<Option<Place>, ()> {
    let mut made = None;
    for length in 0..place.len() {
        let (before, key) = (&place[..length], &place[length]);
        let parent = get_mut(root, before).ok_or(())?;
        let last = length + 1 == place.len();
        let fresh = if last { empty.clone() } else { json!({}) };
        match (key, &mut *parent) {
            (Key::Field(name), Value::Object(fields)) => {
                let missing = fields.get(name).is_none_or(Value::is_null);
                if missing {
                    fields.insert(name.clone(), fresh);
                    made = made.or_else(|| Some(place[..=length].to_vec()));
                }
            }
            (Key::At(at), Value::Array(elements)) if elements.len() > *at => {}
            (Key::Field(_) | Key::At(_), _) => return Err(()),
        }
    }
    let same = get(root, place).is_some_and(|value| value.is_array() == empty.is_array());
    if same { Ok(made) } else { Err(()) }
}

/// A JSON pointer.
pub(crate) fn pointer(place: &[Key]) -> String {
    let mut text = String::new();
    for key in place {
        text.push('/');
        match key {
            Key::Field(name) => text.push_str(&name.replace('~', "~0").replace('/', "~1")),
            Key::At(at) => text.push_str(&at.to_string()),
        }
    }
    text
}

/// Whether `live` holds all of `wanted`: servers add defaults.
pub(crate) fn holds(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|live| holds(live, value))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(l, w)| holds(l, w))
        }
        (live, wanted) => live == wanted,
    }
}

fn below(value: &Value, step: &Step) -> Vec<Place> {
    let one = |key: Key| vec![key];
    match step {
        Step::Field(name) => {
            let there = value.get(name).is_some();
            there
                .then(|| one(Key::Field(name.clone())))
                .into_iter()
                .collect()
        }
        Step::Every => children(value).map(|(key, _)| one(key)).collect(),
        Step::Index(at) => {
            let length = value.as_array().map_or(0, Vec::len);
            let at = if *at < 0 { length as i64 + at } else { *at };
            let at = usize::try_from(at).ok().filter(|at| *at < length);
            at.map(|at| one(Key::At(at))).into_iter().collect()
        }
        Step::Anywhere => anywhere(value),
        Step::Where(condition) => children(value)
            .filter(|(_, child)| meets(child, condition))
            .map(|(key, _)| one(key))
            .collect(),
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = (Key, &Value)> + '_> {
    match value {
        Value::Array(elements) => {
            let keyed = |(at, element)| (Key::At(at), element);
            Box::new(elements.iter().enumerate().map(keyed))
        }
        Value::Object(fields) => Box::new(
            fields
                .iter()
                .map(|(name, field)| (Key::Field(name.clone()), field)),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Box::new(std::iter::empty())
        }
    }
}

fn anywhere(value: &Value) -> Vec<Place> {
    let mut places = vec![Vec::new()];
    for (key, child) in children(value) {
        for deeper in anywhere(child) {
            places.push(std::iter::once(key.clone()).chain(deeper).collect());
        }
    }
    places
}

fn meets(value: &Value, condition: &Condition) -> bool {
    let found = field(value, &condition.path);
    let text = found.and_then(Value::as_str);
    match &condition.test {
        Test::Exists => found.is_some(),
        Test::Is(wanted) => text == Some(wanted),
        Test::IsNot(other) => text != Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domicile_core::json_path::parse;

    fn found(root: &Value, path: &str) -> Vec<String> {
        let places = find(root, &parse(path).unwrap());
        places.iter().map(|place| pointer(place)).collect()
    }

    #[test]
    fn a_path_finds_every_place_in_order() {
        let root = json!({ "spec": {
            "containers": [{ "name": "a", "x": 1 }, { "name": "b" }],
            "more": { "containers": [{ "name": "c" }] },
        }});
        assert_eq!(
            found(&root, ".spec.containers[*]"),
            ["/spec/containers/0", "/spec/containers/1"]
        );
        assert_eq!(found(&root, ".spec.containers[-1]"), ["/spec/containers/1"]);
        assert_eq!(found(&root, ".spec.containers[7]"), [] as [&str; 0]);
        assert_eq!(
            found(&root, "..containers[*]"),
            [
                "/spec/containers/0",
                "/spec/containers/1",
                "/spec/more/containers/0"
            ]
        );
        assert_eq!(
            found(&root, ".spec.containers[?(@.name=='b')]"),
            ["/spec/containers/1"]
        );
        assert_eq!(
            found(&root, ".spec.containers[?(@.x)]"),
            ["/spec/containers/0"]
        );
        assert_eq!(found(&root, ".spec.none[*]"), [] as [&str; 0]);
    }

    #[test]
    fn what_is_missing_is_made_and_named() {
        let path = |names: &[&str]| -> Place {
            names
                .iter()
                .map(|name| Key::Field((*name).to_owned()))
                .collect()
        };
        let mut root = json!({ "spec": { "list": [] } });
        let place = path(&["spec", "a", "b"]);
        let made = ensure(&mut root, &place, &json!([])).unwrap().unwrap();
        assert_eq!(pointer(&made), "/spec/a");
        assert_eq!(root["spec"]["a"], json!({ "b": [] }));
        assert_eq!(ensure(&mut root, &place, &json!([])), Ok(None));
        assert_eq!(ensure(&mut root, &place, &json!({})), Err(()));
        assert_eq!(
            ensure(&mut root, &path(&["spec", "list", "x"]), &json!([])),
            Err(())
        );
    }

    #[test]
    fn defaults_of_the_server_do_not_matter() {
        assert!(holds(
            &json!({ "a": 1, "b": [{ "c": 2, "d": 3 }] }),
            &json!({ "b": [{ "c": 2 }] })
        ));
        assert!(!holds(&json!({ "b": [1, 2] }), &json!({ "b": [1] })));
        assert!(!holds(&json!({}), &json!({ "a": null })));
    }
}
