//! The order of `--help`: a command's own arguments come first, the settings that it shares with others come last.

use clap::{Arg, Command};

/// Arranges the help of a command and of all commands below it. The rule is applied to the whole tree, so that a new
/// command follows it without an attribute.
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
    // Without it, the usage of an error repeats each setting of the environment.
    let usage = command.clone().bin_name(path).render_usage().to_string();
    command.override_usage(usage.trim_start_matches("Usage: ").to_owned())
}

/// Moves an argument that is no setting to "Arguments" or "Options". The heading of flattened settings goes over to all
/// arguments after them.
fn own_heading(argument: Arg) -> Arg {
    match (argument.get_env(), argument.get_help_heading()) {
        (None, _) => argument.help_heading(None::<&str>),
        (Some(_), None) => argument.help_heading("Settings"),
        (Some(_), Some(_)) => argument,
    }
}
