//! The result of a command of the program, and assertions about it.

use serde_json::Value;

/// The result of a command.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code, or `None` after a signal.
    pub code: Option<i32>,
    /// Lines that name the changed stores. `out` does not contain them.
    pub changed: String,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Arguments of the command.
    pub words: String,
}

impl Outcome {
    /// Asserts success and an empty standard error, and returns the output.
    #[track_caller]
    pub fn done(&self) -> &str {
        assert_eq!(
            (self.code, self.err.as_str()),
            (Some(0), ""),
            "latchkey {}: {self:?}",
            self.words
        );
        &self.out
    }

    /// Asserts success and that standard error holds only this note, and returns the output.
    #[track_caller]
    pub fn done_with(&self, note: &str) -> &str {
        let expected = format!("latchkey: {note}\n");
        assert_eq!(
            (self.code, self.err.as_str()),
            (Some(0), expected.as_str()),
            "latchkey {}: {self:?}",
            self.words
        );
        &self.out
    }

    /// Asserts success and returns the output, parsed as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.done()).unwrap()
    }

    /// Asserts this exit code and an empty output, and returns the only line of standard error.
    #[track_caller]
    pub fn refused(&self, code: i32) -> &str {
        assert_eq!(
            (self.code, self.out.as_str()),
            (Some(code), ""),
            "latchkey {}: {self:?}",
            self.words
        );
        let line = self
            .err
            .strip_suffix('\n')
            .unwrap_or_else(|| panic!("{self:?}"));
        assert!(!line.contains('\n'), "more than one line: {line}");
        line.strip_prefix("latchkey: ")
            .unwrap_or_else(|| panic!("no prefix \"latchkey: \": {line}"))
    }
}
