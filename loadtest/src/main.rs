//! The program: words into a command, the command's findings onto the terminal.

fn main() {}
