//! The `rkt` command.
//!
//! This is stage0: it reads the command line, finds or imports images, makes pods, and ends in
//! executing stage1. The work is in the crates of the workspace; the files below `commands` are
//! one subcommand each, and only they print.

mod cli;
mod commands;
mod context;
mod copy_up;
mod failure;
mod images;
mod launch;
mod manifest;
mod mapped;
mod measured;
mod mutable;
mod output;
mod podfiles;
mod private_users;
mod remote;
mod rootless;
mod selinux;
mod signed;
mod stage1;

fn main() -> std::process::ExitCode {
    cli::main()
}
