//! The names that a service binding gives to what it adds to a workload.

/// The variable that tells a workload where its bindings are.
pub const ROOT: &str = "SERVICE_BINDING_ROOT";

/// Where they are unless the workload says otherwise.
pub const DEFAULT_ROOT: &str = "/bindings";

/// What the field manager of every binding begins with.
pub const MANAGER_PREFIX: &str = "domicile-binding-";

/// What every annotation of a binding begins with.
pub const ANNOTATION_PREFIX: &str = "binding.domicile.dev/";

/// What the volume of every binding begins with.
const VOLUME_PREFIX: &str = "binding-";

/// The names of one binding, by its UID: no two bindings share one, and a new binding of an old
/// name takes nothing over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    uid: String,
}

impl Names {
    /// The names of the binding with this UID.
    pub fn of(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
        }
    }

    /// The names of the binding that a volume of this name is of, when it may be one's.
    pub fn of_volume(volume: &str) -> Option<Self> {
        let uid = volume.strip_prefix(VOLUME_PREFIX)?;
        let dashes = [8, 13, 18, 23];
        let fits = |(at, c): (usize, char)| {
            (c == '-') == dashes.contains(&at) && (c == '-' || c.is_ascii_hexdigit())
        };
        // Users have volumes of such names, too: a UID has this form.
        let is_uid = uid.len() == 36 && uid.char_indices().all(fits);
        is_uid.then(|| Self::of(uid))
    }

    /// The field manager that owns what it adds.
    pub fn manager(&self) -> String {
        format!("{MANAGER_PREFIX}{}", self.uid)
    }

    /// The volume.
    pub fn volume(&self) -> String {
        format!("{VOLUME_PREFIX}{}", self.uid)
    }

    /// The annotation on the workload that says that it is bound.
    pub fn mark(&self) -> String {
        format!("{ANNOTATION_PREFIX}{}", self.uid)
    }

    /// The annotation on the pods that holds what the entry `entry` of the Secret is replaced by.
    pub fn entry(&self, entry: &str) -> String {
        format!("{ANNOTATION_PREFIX}{entry}-{}", self.uid)
    }
}

/// Whether a binding may have this name: it becomes a folder.
pub fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    (1..=253).contains(&name.len()) && name.chars().all(allowed) && name != "." && name != ".."
}

/// The folder of the binding `name` below `root`.
pub fn folder(root: &str, name: &str) -> String {
    format!("{}/{name}", root.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_fits_where_it_is_used() {
        let names = Names::of("0a1b2c3d-0000-4000-8000-0123456789ab");
        assert!(names.manager().len() <= 128);
        assert!(names.volume().len() <= 63);
        for annotation in [names.mark(), names.entry("provider"), names.entry("secret")] {
            let (_, name) = annotation.split_once('/').unwrap();
            assert!(name.len() <= 63, "{annotation}");
        }
    }

    #[test]
    fn a_volume_tells_its_binding_and_one_of_a_user_none() {
        let names = Names::of("0a1b2c3d-0000-4000-8000-0123456789ab");
        assert_eq!(Names::of_volume(&names.volume()), Some(names));
        let odd = "binding-0a1b2c3d-0000-4000-8000-0123456789_b";
        for other in ["binding-", "binding-cache", "0a1b2c3d", odd] {
            assert_eq!(Names::of_volume(other), None, "{other}");
        }
    }

    #[test]
    fn a_name_is_a_folder_and_no_way_out() {
        let longest = "a".repeat(253);
        for good in ["a", "acme-db.1", "1", longest.as_str()] {
            assert!(is_name(good), "{good}");
        }
        let long = "a".repeat(254);
        for bad in ["", ".", "..", "a/b", "A", "a_b", long.as_str()] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_root_may_end_with_a_stroke() {
        assert_eq!(folder("/bindings", "db"), "/bindings/db");
        assert_eq!(folder("/bindings/", "db"), "/bindings/db");
        assert_eq!(folder("/", "db"), "/db");
    }
}
