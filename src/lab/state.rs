//! Where the lab keeps its files, and how they are written.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{LabError, Result};

/// The two folders of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// State of the running lab; removed by `down`.
    pub dir: PathBuf,
    /// Built and unpacked programs; kept.
    pub cache: PathBuf,
}

impl Places {
    /// The folders that an environment names: `DOMICILE_LAB_DIR` (default
    /// `/var/lib/domicile-lab`), and `XDG_CACHE_HOME` or `HOME` for the cache (default
    /// `/var/cache`).
    pub fn from_env(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let home = || match set("HOME") {
            Some(home) => home.join(".cache"),
            None => PathBuf::from("/var/cache"),
        };
        Self {
            dir: set("DOMICILE_LAB_DIR").unwrap_or_else(|| PathBuf::from("/var/lib/domicile-lab")),
            cache: set("XDG_CACHE_HOME")
                .unwrap_or_else(home)
                .join("domicile-lab"),
        }
    }
}

/// Writes a file so that a reader sees the old or the new content, never a part.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let draft = PathBuf::from(name);
    let mut file = fs::File::create(&draft).map_err(LabError::file("create", &draft))?;
    file.write_all(content)
        .map_err(LabError::file("write", &draft))?;
    fs::rename(&draft, path).map_err(LabError::file("write", path))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or_default());
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_folders() {
        let places = Places::from_env(|name| match name {
            "HOME" => Some("/home/dev".into()),
            "DOMICILE_LAB_DIR" => Some("/srv/lab".into()),
            _ => None,
        });
        assert_eq!(places.dir, Path::new("/srv/lab"));
        assert_eq!(places.cache, Path::new("/home/dev/.cache/domicile-lab"));
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let places = Places::from_env(|_| Some(OsString::new()));
        assert_eq!(places.dir, Path::new("/var/lib/domicile-lab"));
        assert_eq!(places.cache, Path::new("/var/cache/domicile-lab"));
    }

    #[test]
    fn each_byte_is_two_digits() {
        assert_eq!(hex(&[0, 0x0a, 0xff]), "000aff");
    }
}
