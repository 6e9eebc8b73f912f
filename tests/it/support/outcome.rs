//! The result of a command of the program, and assertions about it.

use serde_json::Value;

/// The result of a command.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    /// The lines that name what was changed, which `out` does not have.
    pub changed: String,
    pub out: String,
    pub err: String,
    /// Its arguments.
    pub words: String,
}

impl Outcome {
    /// Returns its output, if it succeeded and standard error is empty.
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

    /// Returns its output, if it succeeded and standard error holds only this note.
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

    /// Returns its output, parsed as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.done()).unwrap()
    }

    /// The one line with which it refused, with this exit code and without having printed anything else.
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
        assert!(!line.contains('\n'), "more than a line: {line}");
        line.strip_prefix("latchkey: ")
            .unwrap_or_else(|| panic!("who says that? {line}"))
    }
}
