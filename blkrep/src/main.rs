//! The program `blkrep`.

use std::process::ExitCode;

fn main() -> ExitCode {
    blkrep::cli::main()
}
