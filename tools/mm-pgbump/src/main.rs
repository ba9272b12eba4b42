//! The mm-pgbump binary; everything is in the library beside it.

fn main() -> std::process::ExitCode {
    mm_pgbump::main()
}
