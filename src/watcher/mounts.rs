//! Which file systems keep changes to themselves: what another host does there makes no event here. Asks the kernel
//! what a mount is, once a scan; watches and polls nothing.

use std::collections::HashMap;
use std::path::Path;

use rustix::fs::statfs;

/// File systems that are told apart at a time; past that all are asked about anew.
const MAX_MOUNTS: usize = 1024;

/// By the magic numbers of statfs(2).
///
/// Not among them is overlayfs: whoever writes through the mount is heard of, and to write to the layers below it is
/// undefined by its documentation. Nor are disks that one host writes to at a time.
const SILENT: [(u32, &str); 18] = [
    // Servers that others write to as well.
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x7375_7245, "Coda"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0xaad7_aaea, "PanFS"),
    // sshfs, GlusterFS, rclone, virtiofs …; a few such as NTFS-3G are local, but nothing tells them apart.
    (0x6573_5546, "FUSE"),
    // One disk with several hosts at it.
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    // Directories of the host in its guests.
    (0x786f_4256, "VirtualBox"),
    (0xbacb_acbc, "VMware"),
];

/// What each mount was when last asked.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// By device number.
    known: HashMap<u64, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    silent: Option<&'static str>,
    scan: u64,
}

impl Mounts {
    /// Whether what others do on this device, where `path` lies, may go unheard. It is asked once in a scan, since a
    /// device number may come to mean another mount; whatever is new is said.
    pub(super) fn is_silent(&mut self, device: u64, path: &Path, scan: u64) -> bool {
        let before = self.known.get(&device).copied();
        if let Some(known) = before.filter(|known| known.scan == scan) {
            return known.silent.is_some();
        }
        // Of one that can't be asked it is not known that anything goes unheard.
        let silent = statfs(path).ok().and_then(|system| silent_by_type(system.f_type as u32));
        if before.is_none() && self.known.len() >= MAX_MOUNTS {
            self.known.clear();
        }
        self.known.insert(device, Known { silent, scan });
        if let Some(name) = silent
            && before.is_none_or(|before| before.silent != silent)
        {
            tracing::info!(
                "{path:?} is on {name}, which does not tell of changes made by other hosts; it is read every {} s",
                super::rounds::POLL.as_secs()
            );
        }
        silent.is_some()
    }
}

/// Takes the low 32 bits of `f_type`, whose width differs from one architecture to another.
fn silent_by_type(magic: u32) -> Option<&'static str> {
    SILENT.iter().find(|(silent, _)| *silent == magic).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_network_file_systems_from_local_ones() {
        assert_eq!(silent_by_type(0x6969), Some("NFS"));
        assert_eq!(silent_by_type(0x6573_5546), Some("FUSE"));
        // ext4, XFS, btrfs, tmpfs, overlayfs.
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(silent_by_type(local), None, "{local:x}");
        }
    }

    #[test]
    fn remembers_no_more_mounts_than_its_bound() {
        let mut mounts = Mounts::default();
        for device in 0..3 * MAX_MOUNTS as u64 {
            assert!(!mounts.is_silent(device, Path::new("/proc"), 1));
            assert!(mounts.known.len() <= MAX_MOUNTS);
        }
    }

    #[test]
    fn asks_again_in_the_next_scan() {
        let mut mounts = Mounts::default();
        mounts.known.insert(7, Known { silent: Some("NFS"), scan: 1 });
        assert!(mounts.is_silent(7, Path::new("/proc"), 1));
        assert!(!mounts.is_silent(7, Path::new("/proc"), 2));
    }
}
