//! The `JSONPath` expressions of workload resource mappings, read into steps.

use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The field of that name.
    Field(String),
    /// Every element or field.
    Every,
    /// The element at that place; negative counts from the end.
    Index(i64),
    /// What stands here and everything below it.
    Anywhere,
    /// The elements that meet a condition.
    Where(Condition),
}

/// What a filter asks of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The path from the element to the value that is asked about.
    pub path: Vec<String>,
    /// What the value must be.
    pub test: Test,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// There.
    Exists,
    /// This text.
    Is(String),
    /// Another text, or none.
    IsNot(String),
}

/// An expression that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    at: usize,
    expected: &'static str,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is expected at character {}",
            self.expected,
            self.at + 1
        )
    }
}

impl std::error::Error for PathError {}

/// Reads a path that may lead to several places.
pub fn parse(text: &str) -> Result<Vec<Step>, PathError> {
    let mut reader = Reader {
        chars: text.chars().collect(),
        at: 0,
    };
    reader.take("$");
    let mut steps = Vec::new();
    while !reader.ended() {
        reader.step(&mut steps)?;
    }
    if steps.is_empty() {
        return Err(reader.expected("a field, such as `.spec`,"));
    }
    Ok(steps)
}

/// Reads a Fixed `JSONPath`: fields alone, and so one place.
pub fn fixed(text: &str) -> Result<Vec<String>, PathError> {
    let field = |step| match step {
        Step::Field(name) => Ok(name),
        Step::Every | Step::Index(_) | Step::Anywhere | Step::Where(_) => Err(PathError {
            at: 0,
            expected: "a path of fields alone",
        }),
    };
    parse(text)?.into_iter().map(field).collect()
}

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn step(&mut self, steps: &mut Vec<Step>) -> Result<(), PathError> {
        if self.take("..") {
            steps.push(Step::Anywhere);
            if self.peek() == Some('[') {
                return Ok(());
            }
        } else if self.take("[") {
            let step = self.bracket()?;
            steps.push(step);
            return Ok(());
        } else if !self.take(".") {
            return Err(self.expected("`.` or `[`"));
        }
        if self.take("*") {
            steps.push(Step::Every);
            return Ok(());
        }
        steps.push(Step::Field(self.word()?));
        Ok(())
    }

    fn bracket(&mut self) -> Result<Step, PathError> {
        self.spaces();
        let step = if self.take("*") {
            Step::Every
        } else if self.take("?(") {
            let condition = self.condition()?;
            self.must(")", "`)`")?;
            Step::Where(condition)
        } else if matches!(self.peek(), Some('\'' | '"')) {
            Step::Field(self.quoted()?)
        } else {
            Step::Index(self.number()?)
        };
        self.spaces();
        self.must("]", "`]`")?;
        Ok(step)
    }

    fn condition(&mut self) -> Result<Condition, PathError> {
        self.spaces();
        self.must("@", "`@`")?;
        let mut path = Vec::new();
        loop {
            if self.take("['") || self.take("[\"") {
                self.at -= 1;
                path.push(self.quoted()?);
                self.must("]", "`]`")?;
            } else if self.take(".") {
                path.push(self.word()?);
            } else {
                break;
            }
        }
        self.spaces();
        let is = self.take("==");
        let test = if is || self.take("!=") {
            self.spaces();
            let text = self.quoted()?;
            if is {
                Test::Is(text)
            } else {
                Test::IsNot(text)
            }
        } else {
            Test::Exists
        };
        self.spaces();
        Ok(Condition { path, test })
    }

    fn word(&mut self) -> Result<String, PathError> {
        let mut word = String::new();
        while let Some(next) = self.peek() {
            let escaped = next == '\\' && self.chars.get(self.at + 1).is_some();
            if escaped {
                self.at += 1;
                word.extend(self.peek());
            } else if next.is_alphanumeric() || matches!(next, '_' | '-' | '$') {
                word.push(next);
            } else {
                break;
            }
            self.at += 1;
        }
        if word.is_empty() {
            return Err(self.expected("the name of a field"));
        }
        Ok(word)
    }

    fn quoted(&mut self) -> Result<String, PathError> {
        let Some(quote) = self.peek().filter(|c| matches!(c, '\'' | '"')) else {
            return Err(self.expected("a text in quotes"));
        };
        self.at += 1;
        let mut text = String::new();
        while let Some(next) = self.peek() {
            self.at += 1;
            if next == quote {
                return Ok(text);
            }
            if next == '\\' {
                text.extend(self.peek());
                self.at += 1;
            } else {
                text.push(next);
            }
        }
        Err(self.expected("the end of the quotes"))
    }

    fn number(&mut self) -> Result<i64, PathError> {
        let digit = |c: &&char| c.is_ascii_digit() || **c == '-';
        let digits: String = self.chars[self.at..].iter().take_while(digit).collect();
        let number = digits.parse();
        let number =
            number.map_err(|_| self.expected("a number, `*`, a filter or a name in quotes"))?;
        self.at += digits.len();
        Ok(number)
    }

    fn spaces(&mut self) {
        while self.peek() == Some(' ') {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn ended(&self) -> bool {
        self.at >= self.chars.len()
    }

    fn take(&mut self, text: &str) -> bool {
        let length = text.chars().count();
        let here = self.chars.get(self.at..self.at + length);
        let found = here.is_some_and(|here| here.iter().copied().eq(text.chars()));
        if found {
            self.at += length;
        }
        found
    }

    fn must(&mut self, text: &str, expected: &'static str) -> Result<(), PathError> {
        if self.take(text) {
            Ok(())
        } else {
            Err(self.expected(expected))
        }
    }

    fn expected(&self, expected: &'static str) -> PathError {
        PathError {
            at: self.at,
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> Step {
        Step::Field(name.to_owned())
    }

    #[test]
    fn fixed_paths_are_fields_in_either_spelling() {
        let expected = ["spec", "template", "spec", "volumes"];
        for text in [
            ".spec.template.spec.volumes",
            "$.spec.template.spec.volumes",
            ".spec['template'].spec['volumes']",
            "['spec'][\"template\"]['spec'].volumes",
        ] {
            assert_eq!(fixed(text).unwrap(), expected, "{text}");
        }
        assert_eq!(fixed(".a\\.b.c-d_e").unwrap(), ["a.b", "c-d_e"]);
        assert_eq!(fixed("['a.b/c']").unwrap(), ["a.b/c"]);
    }

    #[test]
    fn a_fixed_path_leads_to_one_place() {
        for text in [
            ".a[*]",
            ".a.*",
            ".a[0]",
            "..a",
            ".a[?(@.b)]",
            "",
            "a",
            ".",
            ".a[",
            ".a['b",
        ] {
            assert!(fixed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_may_lead_to_many() {
        assert_eq!(
            parse(".spec.containers[*]").unwrap(),
            [field("spec"), field("containers"), Step::Every]
        );
        assert_eq!(parse(".a[-1]").unwrap(), [field("a"), Step::Index(-1)]);
        assert_eq!(parse("..b").unwrap(), [Step::Anywhere, field("b")]);
        assert_eq!(parse(".a.*").unwrap(), [field("a"), Step::Every]);
        let condition = |test| {
            let path = vec!["name".to_owned()];
            [field("a"), Step::Where(Condition { path, test })]
        };
        assert_eq!(
            parse(".a[?(@.name==\"x\")]").unwrap(),
            condition(Test::Is("x".to_owned()))
        );
        assert_eq!(
            parse(".a[?( @['name'] != 'x' )]").unwrap(),
            condition(Test::IsNot("x".to_owned()))
        );
        assert_eq!(parse(".a[?(@.name)]").unwrap(), condition(Test::Exists));
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        let error = parse(".spec.containers[0:2]").unwrap_err();
        assert_eq!(error.to_string(), "`]` is expected at character 19");
        assert!(parse(".a[?(@.b > 1)]").is_err());
        assert!(parse("spec").is_err());
    }
}
