//! The process group of one browser, told from a later one that got the same number.

use std::fs;

/// A browser's process group, named by the process that leads it and by when that process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) pid: u32,
    /// In the kernel's ticks since boot.
    pub(crate) started: u64,
}

impl Group {
    /// The group that this running process leads.
    pub(crate) fn led_by(pid: u32) -> Option<Self> {
        Some(Self { pid, started: Stat::of(pid)?.started })
    }

    /// Whether the process that leads it is there, be it as a zombie: as long as it is, its number is nobody else's.
    pub(crate) fn is_led(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.started == self.started)
    }

    /// Whether any process of it is alive. The kernel gives a number to no other process while a group has it, so members
    /// without the process that led them are still its own; a leader that started at another time is somebody else's.
    pub(crate) fn lives(&self) -> bool {
        match Stat::of(self.pid) {
            Some(stat) if stat.started != self.started => false,
            Some(stat) if stat.state != 'Z' => true,
            Some(_) | None => has_members(self.pid),
        }
    }
}

fn has_members(group: u32) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return true }; // unknown: rather one signal too many to nobody
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Stat::of)
        .any(|stat| stat.group == group && stat.state != 'Z')
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    group: u32,
    started: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `pid (name) state parent group …`, the start as the 22nd field; the name may hold blanks and brackets.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line[line.rfind(')')? + 1..].split_whitespace();
        let state = fields.next()?.chars().next()?;
        let group = fields.nth(1)?.parse().ok()?;
        let started = fields.nth(16)?.parse().ok()?;
        Some(Self { state, group, started })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_group_lives_as_long_as_its_processes_and_is_no_later_one_of_the_same_number() {
        let mut child = Command::new("sleep").arg("600").process_group(0).spawn().expect("sleep exists everywhere");
        let group = Group::led_by(child.id()).expect("it runs");
        assert!(group.lives() && group.is_led());
        let other = Group { started: group.started + 1, ..group };
        assert!(!other.lives() && !other.is_led(), "another process of this number");
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        assert!(!group.lives() && !group.is_led());
    }

    #[test]
    fn a_group_without_its_leader_still_lives() {
        // The shell ends at once and leaves a sleeper in its group.
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & read wait"]).process_group(0).stdin(std::process::Stdio::piped());
        let mut shell = command.spawn().expect("a shell");
        let group = Group::led_by(shell.id()).expect("it waits for its input");
        let pid = rustix::process::Pid::from_child(&shell);
        while !has_members_beside(&group) {
            std::thread::yield_now();
        }
        drop(shell.stdin.take());
        shell.wait().expect("our own child");
        assert!(group.lives() && !group.is_led());
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).expect("the sleeper");
        while group.lives() {
            std::thread::yield_now();
        }
    }

    fn has_members_beside(group: &Group) -> bool {
        let entries = fs::read_dir("/proc").expect("there is one");
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| *id != group.pid).filter_map(Stat::of).any(|stat| stat.group == group.pid)
    }

    #[test]
    fn fields_are_read_behind_the_name() {
        let rest = "0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99";
        assert_eq!(
            Stat::parse(&format!("12 (a) b) S 1 10 10 {rest}")),
            Some(Stat { state: 'S', group: 10, started: 4711 })
        );
        for broken in ["", "12 (x", "12 (x) S", "12 (x) S 1 10 10"] {
            assert_eq!(Stat::parse(broken), None, "{broken}");
        }
    }
}
