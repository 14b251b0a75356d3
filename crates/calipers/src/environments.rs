//! `calipers env`.

use std::process::ExitCode;

use calipers::workers::Environment;
use calipers::workers::environment::{Host, Installing, State, ensure, list, remove};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::Message;
use crate::arguments::{EnvAction, EnvArguments};
use crate::study::cancel_on_interrupt;

/// Carries the action out.
pub fn run(arguments: &EnvArguments) -> Result<ExitCode, Message> {
    let host = Host::detect().map_err(|error| error.to_string())?;
    match &arguments.action {
        EnvAction::List => {
            for (environment, state) in list(&host) {
                print_state(environment, &state);
            }
        }
        EnvAction::Install { names } => {
            let chosen = if names.is_empty() { Environment::ALL.to_vec() } else { named(names)? };
            let cancelled = cancel_on_interrupt()?;
            for environment in chosen {
                let bar = ProgressBar::new(0);
                if let Ok(style) = ProgressStyle::with_template(
                    "{prefix} [{bar:30}] {pos}/{len} packages, {elapsed} {wide_msg}",
                ) {
                    bar.set_style(style);
                }
                let mut progress = |installing: &Installing<'_>| {
                    bar.set_prefix(installing.title);
                    bar.set_length(installing.packages_total as u64);
                    bar.set_position(installing.packages_done as u64);
                    bar.set_message(installing.phase.title());
                };
                let interpreter = ensure(environment, &host, &mut progress, &cancelled);
                bar.finish_and_clear();
                let interpreter = interpreter.map_err(|error| error.to_string())?;
                println!(
                    "{}: ready, Python {} at {}",
                    environment.title(),
                    interpreter.python,
                    interpreter.program.display()
                );
            }
        }
        EnvAction::Remove { names } => {
            for environment in named(names)? {
                let bytes = remove(environment, &host).map_err(|error| error.to_string())?;
                println!("{}: {} freed", environment.title(), HumanBytes(bytes));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn named(names: &[String]) -> Result<Vec<Environment>, Message> {
    names
        .iter()
        .map(|name| {
            Environment::from_name(name).ok_or_else(|| {
                let known = Environment::ALL.map(Environment::name).join(", ");
                format!("there is no environment `{name}`\nhint: there are {known}")
            })
        })
        .collect()
}

fn print_state(environment: Environment, state: &State) {
    let name = environment.name();
    match state {
        State::Own { program } => {
            println!("{name:<12} your own: {} ({})", program.display(), environment.variable());
        }
        State::Installed(installed) => {
            let versions: Vec<String> =
                installed.versions.iter().map(|(package, version)| format!("{package} {version}")).collect();
            println!("{name:<12} installed: {}, Python {}", HumanBytes(installed.bytes), installed.python);
            println!("{:<12} {}", "", versions.join(", "));
            println!("{:<12} {}", "", installed.folder.display());
        }
        State::Partial { folder } => {
            println!("{name:<12} half installed, begun again on the next use: {}", folder.display());
        }
        State::Missing => println!("{name:<12} not installed; made on first use"),
    }
}
