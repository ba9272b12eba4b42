//! Another of the tools, run by one of them on the same installation.

use std::path::PathBuf;
use std::time::Duration;

use super::Common;
use crate::contract::error::{Context as _, Result};
use crate::machine::command::Cmd;
use crate::machine::{checkpoint, files};

/// A restored database is as large as the one that was dumped: hours are possible, for ever is not.
pub const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// The tool of this name from beside this program. It ends with this one: nobody but this one waits for it.
///
/// # Errors
/// When the directory of this program cannot be found.
pub fn beside(name: &str) -> Result<Cmd> {
    let own = std::env::current_exe().context(|| "cannot find the directory of this program".to_owned())?;
    let program: PathBuf = files::parent(&own)?.join(name);
    let program = if program.is_file() { program.to_string_lossy().into_owned() } else { name.to_owned() };
    Ok(checkpoint::hand_on(Cmd::new(program).limit(LIMIT).ends_with_us()))
}

impl Common {
    /// The flags with which another tool works on the same installation, but for its root.
    pub fn of_installation(&self) -> Vec<String> {
        let state = self.state_dir.as_ref().map(|path| path.display().to_string());
        let all = [
            ("--state-dir", state),
            ("--service", self.service.clone()),
            ("--stop-command", self.stop_command.clone()),
            ("--start-command", self.start_command.clone()),
        ];
        all.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?])).flatten().collect()
    }
}
