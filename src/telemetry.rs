//! The log: pretty for people on a terminal, JSON lines for machines, always on standard error.
//!
//! What is logged never holds a token, a password, a key or a body: those are types that do not print, and handlers
//! hand none of them to a log line.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::config::{ConfigError, LogConfig, log::LogFormat};

/// Starts the log of this process. Calling it again changes nothing.
///
/// # Errors
/// When the filter is not one.
pub fn start(config: &LogConfig) -> Result<(), ConfigError> {
    let filter = filter(&config.filter).ok_or_else(|| {
        let wrong = format!("is {:?}, which is not a filter", config.filter);
        ConfigError::new("LATCHKEY_LOG", &wrong, "a level such as info, or filters such as latchkey=debug")
    })?;
    let json = match config.format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Pretty => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    // Where, and never what: a panic's message may hold anything.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic: the request was answered with 500");
    }));
    // An error means that a log is there already, as in a test.
    let _ = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    };
    Ok(())
}

/// tracing takes a lone word for the name of a module, so that a misspelt level would silence the log.
fn filter(text: &str) -> Option<EnvFilter> {
    let plain = |word: &&str| !word.contains(['=', '[']);
    let levels = text.split(',').map(str::trim).filter(plain).all(|word| word.parse::<LevelFilter>().is_ok());
    // The web server announces its threads; whoever wants to read that asks for actix_server=info.
    EnvFilter::try_new(format!("actix_server=warn,{text}")).ok().filter(|_| levels)
}
