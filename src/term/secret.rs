use std::io::{self, BufRead, IsTerminal, Write};

/// The longest line that is read.
const MOST_BYTES: usize = 64 << 10;

/// Asks a person on the terminal for a line; `None` where stdin is no terminal.
pub fn ask(prompt: &str) -> io::Result<Option<String>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    show(prompt)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Asks a person on the terminal for a line that nobody is to see; `None` where stdin is no terminal.
///
/// Errors: [`io::ErrorKind::Unsupported`] where a terminal cannot hide what is typed.
pub fn ask_secret(prompt: &str) -> io::Result<Option<String>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    hidden(prompt)
}

fn show(prompt: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{prompt}: ")?;
    stderr.flush()
}

#[cfg(not(unix))]
fn hidden(_: &str) -> io::Result<Option<String>> {
    let why = "what is typed cannot be hidden here: give it on stdin";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

#[cfg(unix)]
fn hidden(prompt: &str) -> io::Result<Option<String>> {
    let stdin = io::stdin();
    let quiet = Quiet::new(&stdin)?;
    show(prompt)?;
    let line = read_keys(&stdin);
    drop(quiet);
    show_end()?;
    match line? {
        Typed::Line(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")),
        Typed::Interrupt => {
            // The terminal is as it was: now the signal may do what it does.
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT)?;
            Err(io::ErrorKind::Interrupted.into())
        }
    }
}

#[cfg(unix)]
fn show_end() -> io::Result<()> {
    writeln!(io::stderr())
}

/// A terminal that shows nothing of what is typed and gives each key at once, until this is dropped.
#[cfg(unix)]
struct Quiet<'a> {
    terminal: &'a io::Stdin,
    before: rustix::termios::Termios,
}

#[cfg(unix)]
impl<'a> Quiet<'a> {
    fn new(terminal: &'a io::Stdin) -> io::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        // An interrupt must come as a key, or it would leave the terminal as it is now.
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

#[cfg(unix)]
impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = rustix::termios::tcsetattr(self.terminal, rustix::termios::OptionalActions::Now, &self.before);
    }
}

/// What was typed.
#[cfg(unix)]
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    Line(Vec<u8>),
    Interrupt,
}

#[cfg(unix)]
fn read_keys(terminal: &io::Stdin) -> io::Result<Typed> {
    let mut line = Vec::new();
    loop {
        let mut key = [0];
        if rustix::io::read(terminal, &mut key)? == 0 {
            return Ok(Typed::Line(line));
        }
        if let Some(typed) = take_key(key[0], &mut line)? {
            return Ok(typed);
        }
    }
}

/// Takes one key as a terminal's line editor would; gives what was typed when that was the last.
#[cfg(unix)]
fn take_key(key: u8, line: &mut Vec<u8>) -> io::Result<Option<Typed>> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const ERASE: [u8; 2] = [8, 127];
    const KILL: u8 = 21;
    match key {
        b'\n' | b'\r' | END => return Ok(Some(Typed::Line(std::mem::take(line)))),
        INTERRUPT => return Ok(Some(Typed::Interrupt)),
        KILL => line.clear(),
        key if ERASE.contains(&key) => {
            // A letter may have several bytes; those after its first begin with the bits 10.
            while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
        }
        _ if line.len() >= MOST_BYTES => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is too long")),
        key => line.push(key),
    }
    Ok(None)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Typed {
        let mut line = Vec::new();
        keys.iter()
            .find_map(|key| take_key(*key, &mut line).expect("it is short"))
            .expect("the line ends")
    }

    #[test]
    fn keys_make_a_line_as_a_terminal_does() {
        let line = |text: &str| Typed::Line(text.as_bytes().to_vec());
        assert_eq!(typed(b"secret\n"), line("secret"));
        assert_eq!(typed(b"sx\x7fecrez\x08t\r"), line("secret"));
        assert_eq!(typed("aé\x7fb\n".as_bytes()), line("ab"));
        assert_eq!(typed(b"wrong\x15right\x04"), line("right"));
        assert_eq!(typed(b"\x7f\n"), line(""));
        assert_eq!(typed(b"sec\x03"), Typed::Interrupt);
    }
}
