//! See the library.

fn main() -> std::process::ExitCode {
    stand_in::main()
}
