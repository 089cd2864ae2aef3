//! The lines of a `Cargo.toml` that the house cares about.

use std::collections::BTreeMap;

/// A manifest as sections of `key = value` lines; keys keep their dots.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    sections: BTreeMap<String, Vec<(String, String)>>,
}

impl Manifest {
    /// Reads a manifest. A list that spans lines is joined to one value.
    pub(crate) fn parse(text: &str) -> Self {
        let mut manifest = Self::default();
        let (mut section, mut open) = (String::new(), false);
        for line in text
            .lines()
            .map(without_comment)
            .filter(|line| !line.is_empty())
        {
            if !open && line.starts_with('[') {
                line.trim_matches(['[', ']']).clone_into(&mut section);
                manifest.sections.entry(section.clone()).or_default();
                continue;
            }
            let entries = manifest.sections.entry(section.clone()).or_default();
            match (open, line.split_once('='), entries.last_mut()) {
                (false, Some((key, value)), _) => {
                    entries.push((key.trim().to_owned(), value.trim().to_owned()));
                }
                (true, _, Some((_, value))) => value.push_str(line),
                (false, None, _) | (true, _, None) => {}
            }
            let value = entries.last().map_or("", |(_, value)| value.as_str());
            open = value.matches(['[', '{']).count() > value.matches([']', '}']).count();
        }
        manifest
    }

    /// The value of `key` in `section`.
    pub(crate) fn value(&self, section: &str, key: &str) -> Option<&str> {
        let entries = self.sections.get(section)?;
        entries
            .iter()
            .find(|(found, _)| found == key)
            .map(|(_, value)| value.as_str())
    }

    /// The names of all dependencies, of every kind and target; `kind` filters by section name.
    pub(crate) fn dependencies(&self, kind: impl Fn(&str) -> bool) -> Vec<String> {
        let mut names = Vec::new();
        for (section, entries) in self.sections.iter().filter(|(name, _)| kind(name)) {
            if section.ends_with("dependencies") {
                let base = |key: &str| key.split('.').next().unwrap_or(key).to_owned();
                names.extend(entries.iter().map(|(key, _)| base(key)));
            } else if let Some((_, name)) = section.split_once("dependencies.") {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// The items of a list of strings.
    pub(crate) fn list(&self, section: &str, key: &str) -> Vec<String> {
        let items = self
            .value(section, key)
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .split(',');
        let unquoted = items.map(|item| item.trim().trim_matches('"').to_owned());
        unquoted.filter(|item| !item.is_empty()).collect()
    }
}

fn without_comment(line: &str) -> &str {
    line.split_once('#')
        .map_or(line, |(before, _)| before)
        .trim()
}
