//! No way in: no process of a browser listens on anything that a network could reach.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::session::{Session, quick};
use crate::support::{group_of, processes_of};

/// Inodes of sockets that wait for somebody: TCP in state LISTEN (0A), UDP bound to a port and
/// connected to nobody.
fn waiting_sockets(pid: u32) -> BTreeMap<String, String> {
    let mut waiting = BTreeMap::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let rows = fs::read_to_string(format!("/proc/{pid}/net/{table}")).expect("readable");
        for row in rows.lines().skip(1) {
            let fields: Vec<&str> = row.split_whitespace().collect();
            let (local, remote, state, inode) = (fields[1], fields[2], fields[3], fields[9]);
            let nobody = remote.chars().all(|c| matches!(c, '0' | ':'));
            if (table.starts_with("tcp") && state == "0A") || (table.starts_with("udp") && nobody) {
                waiting.insert(inode.to_owned(), format!("{table} {local}"));
            }
        }
    }
    waiting
}

fn sockets(pid: u32) -> BTreeSet<String> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return BTreeSet::new();
    };
    descriptors
        .flatten()
        .filter_map(|descriptor| {
            let target = fs::read_link(descriptor.path()).ok()?;
            Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn no_process_of_the_browser_listens() {
    let session = Session::linked(quick()).await;
    let processes = group_of(session.chromium.pid());
    assert!(processes.is_superset(&processes_of(&session.dir.0)) && processes.len() >= 3, "{processes:?}");
    let waiting = waiting_sockets(session.chromium.pid());
    // The check sees something: this very test's site listens, in this process.
    assert!(sockets(std::process::id()).iter().any(|inode| waiting.contains_key(inode)));
    for pid in processes {
        let open: Vec<_> = sockets(pid).into_iter().filter_map(|inode| waiting.get(&inode).cloned()).collect();
        assert_eq!(open, Vec::<String>::new(), "process {pid}");
    }
    session.close().await;
}
