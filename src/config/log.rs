//! Settings of the log.

use clap::{Args, ValueEnum};

use super::value;

/// Log on standard error.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub struct LogConfig {
    /// Level of the log: error, warn, info, debug, trace, or tracing's filters such as
    /// latchkey=debug
    #[arg(long = "log", env = "LATCHKEY_LOG", value_name = "FILTER", default_value = "info", value_parser = value::text)]
    pub filter: String,

    /// Format of the log: pretty for people, json for machines, auto for pretty on a terminal and
    /// json elsewhere
    #[arg(
        long = "log-format",
        env = "LATCHKEY_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "auto"
    )]
    pub format: LogFormat,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object for each line.
    Json,
    /// Text for people.
    Pretty,
}
