//! The search for a tenant's bytes where they must not be.

use std::io::{ErrorKind, Read};

const CHUNK: usize = 1 << 20;

/// Whether the bytes of `input` contain `marker`, also across the limits of reads.
/// Errors: what reading yields. An empty marker is never found.
pub fn contains(mut input: impl Read, marker: &[u8]) -> std::io::Result<bool> {
    if marker.is_empty() {
        return Ok(false);
    }
    let mut window = Vec::with_capacity(CHUNK + marker.len());
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = match input.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        window.extend_from_slice(chunk.get(..length).unwrap_or_default());
        if find(&window, marker) {
            return Ok(true);
        }
        let keep = window.len().saturating_sub(marker.len() - 1);
        window.drain(..keep);
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else {
        return false;
    };
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(needle) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Yields one byte per read, so that each marker lies across reads.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    #[test]
    fn a_marker_is_found_wherever_it_lies() {
        assert!(contains(Dripping(b"xxeu-eu-acme"), b"eu-acme").unwrap());
        assert!(contains(&b"eu-acme"[..], b"eu-acme").unwrap());
        let mut large = vec![b'e'; CHUNK - 3];
        large.extend_from_slice(b"eu-acme");
        assert!(contains(&large[..], b"eu-acme").unwrap());
    }

    #[test]
    fn bytes_without_the_marker_do_not_match() {
        assert!(!contains(Dripping(b"eu-acm eu-globex"), b"eu-acme").unwrap());
        assert!(!contains(&b"anything"[..], b"").unwrap());
    }
}
