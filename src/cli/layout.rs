//! Order of `--help`: the arguments of a command come first, then the settings that it shares with
//! others.

use clap::{Arg, Command};

/// Arranges the help of a command and its subcommands. New commands need no attribute.
pub(super) fn arrange(program: Command) -> Command {
    let name = program.get_name().to_owned();
    arranged(program, &name)
}

fn arranged(command: Command, path: &str) -> Command {
    let command = command.mut_args(own_heading).mut_subcommands(|child| {
        let path = format!("{path} {}", child.get_name());
        arranged(child, &path)
    });
    if command.has_subcommands() {
        return command;
    }
    // Otherwise, the usage in an error repeats each setting that is set in the environment.
    let usage = command.clone().bin_name(path).render_usage().to_string();
    command.override_usage(usage.trim_start_matches("Usage: ").to_owned())
}

/// Moves an argument that is not a setting to "Arguments" or "Options". Otherwise, it has the
/// heading of the flattened settings before it.
fn own_heading(argument: Arg) -> Arg {
    match (argument.get_env(), argument.get_help_heading()) {
        (None, _) => argument.help_heading(None::<&str>),
        (Some(_), None) => argument.help_heading("Settings"),
        (Some(_), Some(_)) => argument,
    }
}
