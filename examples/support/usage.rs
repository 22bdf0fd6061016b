//! Errors in the arguments that `clap` cannot express.

use clap::Command;
use clap::error::ErrorKind;

/// Exits as `clap` does, with the usage line of the subcommand and exit code 2.
///
/// * `command`: that of the program, which has parsed its arguments without an error.
pub(crate) fn usage(mut command: Command, message: &str) -> ! {
    let arguments = command.clone().get_matches();
    command.build();
    let subcommand = arguments
        .subcommand_name()
        .and_then(|name| command.find_subcommand_mut(name));
    let error = match subcommand {
        Some(subcommand) => subcommand.error(ErrorKind::MissingRequiredArgument, message),
        None => command.error(ErrorKind::MissingRequiredArgument, message),
    };
    error.exit()
}
