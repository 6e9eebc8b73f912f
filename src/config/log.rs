//! The log.

use clap::{Args, ValueEnum};

use super::value;

/// The log, on standard error.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub struct LogConfig {
    /// What is logged: error, warn, info, debug, trace, or tracing's filters such as latchkey=debug
    #[arg(long = "log", env = "LATCHKEY_LOG", value_name = "FILTER", default_value = "info", value_parser = value::text)]
    pub filter: String,

    /// How: pretty for people, json for machines, auto decides by whether it is a terminal
    #[arg(
        long = "log-format",
        env = "LATCHKEY_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "auto"
    )]
    pub format: LogFormat,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}
