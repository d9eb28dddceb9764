//! Which process listens on a port, where the system lets us see it.

use std::fs;
use std::os::unix::ffi::OsStrExt;

/// The process that listens on a TCP port of this machine, in words: `python3 (pid 1234)`. Other users'
/// processes can't be seen without privilege.
pub(super) fn of_port(port: u16) -> Option<String> {
    let sockets = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = sockets.iter().filter_map(|path| fs::read_to_string(path).ok());
    let inodes: Vec<String> = tables.flat_map(|table| listening_inodes(&table, port)).collect();
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let pid = processes().find(|pid| holds_one_of(*pid, &links))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (pid {pid})", name.trim().escape_debug()))
}

/// The inodes of the sockets in a table of the kernel's that listen on a port.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let local_port = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
    rows.filter_map(|row| match row[..] {
        [_, local, _, LISTEN, _, _, _, _, _, inode, ..] if local.ends_with(&local_port) => {
            Some(inode.to_owned())
        }
        _ => None,
    })
    .collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds_one_of(pid: u32, links: &[String]) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets.any(|target| links.iter().any(|link| link.as_bytes() == target.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1F91 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   2: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
";

    #[test]
    fn only_the_listening_socket_on_the_port_counts() {
        assert_eq!(listening_inodes(TABLE, 8081), ["4711"]);
        assert!(listening_inodes(TABLE, 8082).is_empty());
        assert!(listening_inodes("garbage\nmore garbage\n", 8081).is_empty());
    }

    #[test]
    fn this_process_is_found_by_a_port_it_listens_on() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = of_port(listener.local_addr().unwrap().port()).unwrap();
        assert!(holder.ends_with(&format!("(pid {})", std::process::id())), "{holder}");
    }
}
