//! `latchkey reference`: what `--help` says, as pages. `docs/reference/settings.md`, `docs/reference/cli.md` and `docs/reference/latchkey.1` are made by it.

use std::fmt::Write as _;

use clap::{Arg, Command, ValueEnum};
use clap_mangen::Man;

use super::{Failure, serve_command};

/// A page.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Page {
    /// Every command, as Markdown
    Commands,
    /// A man page (troff)
    Man,
    /// Every setting, as Markdown
    Settings,
}

pub(super) fn page(page: Page, mut program: Command) -> Result<Vec<u8>, Failure> {
    program.build();
    match page {
        Page::Commands => Ok(commands(&program).into_bytes()),
        Page::Man => man(program).map_err(|error| Failure::Failed(error.to_string())),
        Page::Settings => Ok(settings().into_bytes()),
    }
}

fn settings() -> String {
    let mut text = "# Settings\n\n<!-- Made by `latchkey reference settings`. -->\n\n\
        Every setting is a variable of the environment, a line in a `.env` file in the working directory, and a flag of `latchkey serve`.\n\
        Flags win over the environment, the environment wins over `.env`. `latchkey config` prints what is in force; [.env.example](../../.env.example)\n\
        is a file to begin with. A name that begins with `LATCHKEY_` and is none of these is an error.\n"
        .to_owned();
    let mut heading = None;
    for argument in serve_command().get_arguments() {
        let Some(name) = argument.get_env().and_then(|name| name.to_str()) else {
            continue;
        };
        if argument.get_help_heading() != heading {
            heading = argument.get_help_heading();
            let title = heading.unwrap_or("Others");
            let _ = write!(
                text,
                "\n## {title}\n\n| variable | flag | default | what it is |\n|---|---|---|---|\n"
            );
        }
        let default = values(
            argument
                .get_default_values()
                .iter()
                .map(|value| value.to_string_lossy().into_owned()),
        );
        let flag = argument.get_long().unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{name}` | `--{flag} {}` | {default} | {} |",
            value_name(argument),
            help(argument)
        );
    }
    text
}

fn commands(program: &Command) -> String {
    let mut text = "# Commands\n\n<!-- Made by `latchkey reference commands`. -->\n\n\
        Commands take the [settings](settings.md) of their parts as flags and from the environment, too; `--help` lists them.\n\
        Exit codes: 0 done, 1 refused or failed (a sentence on standard error says why), 2 wrong arguments or settings.\n"
        .to_owned();
    for command in leaves(program) {
        let own: Vec<&Arg> = own_arguments(&command).collect();
        let usage: Vec<String> = own.iter().map(|argument| usage(argument)).collect();
        let line = [command.get_bin_name().unwrap_or_default().to_owned()]
            .into_iter()
            .chain(usage);
        let _ = write!(
            text,
            "\n## {}\n\n",
            command.get_bin_name().unwrap_or_default()
        );
        let _ = write!(text, "```\n{}\n```\n\n", line.collect::<Vec<_>>().join(" "));
        let _ = writeln!(
            text,
            "{}.",
            command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default()
        );
        if !own.is_empty() {
            text.push_str("\n| argument | what it is |\n|---|---|\n");
        }
        for argument in own {
            let _ = writeln!(text, "| `{}` | {} |", usage_bare(argument), help(argument));
        }
        if let Some(more) = command.get_after_help() {
            let _ = write!(text, "\n{more}\n");
        }
        let headings = headings(&command);
        if !headings.is_empty() {
            let _ = write!(text, "\nSettings: {}.\n", headings.join(", "));
        }
    }
    text
}

/// One page for all: what belongs to a command stands under its name.
fn man(program: Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let leaves = leaves(&program);
    let main = Man::new(program)
        .title("LATCHKEY")
        .date("")
        .source("latchkey")
        .manual("Latchkey");
    main.render_title(&mut page)?;
    main.render_name_section(&mut page)?;
    main.render_synopsis_section(&mut page)?;
    main.render_description_section(&mut page)?;
    for command in leaves {
        let name = command.get_bin_name().unwrap_or_default().to_owned();
        page.extend(format!(".SH {}\n", name.to_uppercase()).into_bytes());
        page.extend(
            format!(
                "{}.\n",
                command
                    .get_about()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            )
            .into_bytes(),
        );
        // Of settings, one list is enough.
        let brief = name != "latchkey serve";
        let command = command.mut_args(|argument| {
            let hidden = brief && argument.get_env().is_some();
            argument.hide(hidden)
        });
        Man::new(command).render_options_section(&mut page)?;
    }
    Ok(page)
}

/// The commands that do something, in the order of `--help`.
fn leaves(command: &Command) -> Vec<Command> {
    let mut all = Vec::new();
    for child in command
        .get_subcommands()
        .filter(|child| child.get_name() != "help")
    {
        if child.has_subcommands() {
            all.extend(leaves(child))
        } else {
            all.push(child.clone())
        }
    }
    all
}

fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let general = ["help", "version"];
    command.get_arguments().filter(move |argument| {
        argument.get_env().is_none()
            && !general.contains(&argument.get_id().as_str())
            && !argument.is_hide_set()
    })
}

fn headings(command: &Command) -> Vec<String> {
    let mut headings: Vec<String> = Vec::new();
    for argument in command
        .get_arguments()
        .filter(|argument| argument.get_env().is_some())
    {
        let heading = argument.get_help_heading().unwrap_or_default().to_owned();
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings
}

fn usage(argument: &Arg) -> String {
    let bare = usage_bare(argument);
    if argument.is_required_set() {
        bare
    } else {
        format!("[{bare}]")
    }
}

fn usage_bare(argument: &Arg) -> String {
    match (argument.get_long(), argument.get_action().takes_values()) {
        (Some(long), true) => format!("--{long} {}", value_name(argument)),
        (Some(long), false) => format!("--{long}"),
        (None, _) => value_name(argument),
    }
}

fn value_name(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    names
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The whole explanation in a cell of a table, with the words that can be chosen.
fn help(argument: &Arg) -> String {
    let text = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let text = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|");
    let possible = argument.get_possible_values();
    if argument.get_env().is_some() || possible.is_empty() || !argument.get_action().takes_values()
    {
        return text;
    }
    format!(
        "{text} ({})",
        values(possible.iter().map(|value| value.get_name().to_owned()))
    )
}

fn values(values: impl Iterator<Item = String>) -> String {
    values
        .map(|value| format!("`{value}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
