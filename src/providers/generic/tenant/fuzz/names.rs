//! Names that would do harm, from a seed.

/// A small generator (`SplitMix64`) whose numbers never change: a seed stands for a spec for ever.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(super) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const PIECES: &[&str] = &[
    "'",
    "''",
    "'''",
    "\"",
    "\"\"",
    "\\",
    "\\\\",
    "\\'",
    "\\\"",
    "$$",
    "$a$",
    "$",
    "--",
    "-- \n",
    "/*",
    "*/",
    "/**/",
    ";",
    "; DROP SCHEMA domicile CASCADE; --",
    "'; DROP ROLE postgres; --",
    "\"; ALTER ROLE x SUPERUSER; --",
    "\\'; DROP ROLE postgres; --",
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\u{a0}",
    "\u{202e}",
    "\u{feff}",
    "\u{2028}",
    "ü",
    "é\u{301}",
    "漢字",
    "🦀",
    "\u{10ffff}",
    "ʼ",
    "＇",
    "＂",
    "E'",
    "U&'",
    "U&\"\\0022\"",
    "B'0",
    "X'",
    "N'",
    "%s",
    "%I",
    "{}",
    "{0}",
    ":'x'",
    "?",
    "@",
    "(",
    ")",
    ",",
    ".",
    "..",
    "::",
    "=",
    "||",
    "&",
    "select",
    "SELECT",
    "table",
    "user",
    "role",
    "public",
    "PUBLIC",
    "current_user",
    "session_user",
    "none",
    "default",
    "null",
    "true",
    "all",
    "pg_",
    "postgres",
    "template1",
    "domicile",
    "a",
    "A",
    "z9",
    "_",
    "0",
    "1e9",
    "0x1f",
    "domicile:",
    "SCRAM-SHA-256$",
];

/// Words that PostgreSQL reads as its own, and that may all be names of databases.
const WORDS: &[&str] = &[
    "select",
    "user",
    "table",
    "null",
    "default",
    "all",
    "order",
    "grant",
    "role",
    "database",
    "schema",
    "from",
    "to",
    "with",
    "current_user",
    "session_user",
    "none",
    "true",
    "end",
    "do",
    "x",
    "a_b",
    "z9",
];

/// Any text, never without a character beside NUL.
pub(super) fn hostile(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..=random.below(6) {
        match random.below(12) {
            0 => text.push(char::from_u32(random.below(0x11_0000) as u32).unwrap_or('\u{fffd}')),
            1 => text.push(char::from(random.below(128) as u8)),
            2 => text.push_str(&random.one_of(PIECES).repeat(1 + random.below(80))),
            _ => text.push_str(random.one_of(PIECES)),
        }
    }
    if text.replace('\0', "").is_empty() {
        text.push('q');
    }
    text
}

/// A text that mostly may be the name of a database.
pub(super) fn database(random: &mut Random) -> String {
    let word = random.one_of(WORDS);
    match random.below(4) {
        0 => hostile(random),
        1 => word.to_owned(),
        2 => format!("{word}_{}", random.next()),
        _ => word.repeat(1 + random.below(9)),
    }
}
